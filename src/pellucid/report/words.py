"""Explained examples: each word with its colour, each method with its degradation curve."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pellucid.errors import BadData
from pellucid.report import chart, film, heat, maps, matrix, meanings, number, records, summary

STRONGEST = 0.72  # opacity at the largest relevance
FAINTEST, LINED = 0.06, 0.2  # shares of it from which a word is coloured, and underlined where against
TOP_WORDS = 3
LEAST = math.log(0.0005)  # log-probability below which a probability would be written 0.0%
THINGS = {"patch": "patches", "frame": "frames", "word": "words"}  # what relevance is of, and what that is in
OF = {"patch": "picture", "frame": "clip", "word": "text"}
CLOSING = frozenset(".,;:!?)]}%…\u201d\u2019")  # no space before these


@dataclass(frozen=True)
class Word:
    """A word to be drawn: `sign` is pos, neg or empty, `alpha` the opacity of its colour."""

    text: str
    sign: str
    alpha: float
    title: str
    lined: bool = False
    glued: bool = False


@dataclass(frozen=True)
class MethodView:
    """What one method says of one example; `signed` where it speaks against a word, too."""

    name: str
    signed: bool
    words: tuple[Word, ...]
    most_for: tuple[tuple[str, str], ...]
    most_against: tuple[tuple[str, str], ...]
    gap: str
    note: str
    curve: chart.Plot | None
    area: str
    random_area: str
    checks: tuple[meanings.CheckView, ...] = ()
    map: maps.Map | None = None


@dataclass(frozen=True)
class Column:
    """One map of a picture under its title, a method's or a label's name; `facts` says more of it, `beside` has the same at more sites."""

    title: str
    facts: str
    method: MethodView
    beside: tuple[tuple[str, MethodView], ...] = ()

    @property
    def checks(self) -> tuple[tuple[meanings.CheckView, tuple[str, ...]], ...]:
        """Every check, and its value at every site."""
        sites = [{c.name: c for c in one.checks} for one in (self.method, *(one for _, one in self.beside))]
        every = {name: check for checks in reversed(sites) for name, check in checks.items()}
        order = dict.fromkeys(name for checks in sorted(sites, key=len, reverse=True) for name in checks)
        return tuple((every[name], tuple(checks[name].value if name in checks else "" for checks in sites)) for name in order)


@dataclass(frozen=True)
class PhotoView:
    """A picture and its maps in rows; a row has a name where columns are labels.

    Args:
        coarse: its pixels are few and shown as they are.
        flow: maps of one method at each site, from below to above.
        boxes: what was asked about, and where, where that is a box; `outlines` the lines around it, where it is a region.
        caption: what was read beside it.
    """

    source: str
    coarse: bool
    rows: tuple[tuple[str, tuple[Column, ...]], ...]
    flow: tuple[tuple[str, maps.Map], ...] = ()
    flow_title: str = ""
    boxes: tuple[tuple[str, maps.Box], ...] = ()
    outlines: tuple[tuple[str, tuple[maps.Box, ...]], ...] = ()
    caption: str = ""

    @property
    def sites(self) -> tuple[str, ...]:
        """Those that columns have beside the first."""
        return tuple(dict.fromkeys(site for _, columns in self.rows for column in columns for site, _ in column.beside))


@dataclass(frozen=True)
class ExampleView:
    """One explained example; of a picture, all that was asked about it, as of an output every word of which was asked about.

    Args:
        text: what was read, where matrices stand below it, or beside a picture.
        clip: its frames, of a clip, where they were kept; its methods then have no words of their own.
    """

    set: str
    id: str
    prediction: str
    label: str
    right: bool | None
    score: str
    methods: tuple[MethodView, ...]
    answer: str = ""
    side_by_side: heat.Heat | None = None
    flow: heat.Heat | None = None
    photo: PhotoView | None = None
    text: str = ""
    matrices: tuple[matrix.Matrix, ...] = ()
    clip: film.Film | None = None


class SiteView(NamedTuple):
    """A site beside the first, what its units are, and all examples together there."""

    site: str
    things: str
    together: summary.SummaryView | None


@dataclass(frozen=True)
class ExplainedView:
    """Section 8 of a report, and the whole of an explanation page; `checks` are those that some explanation carries."""

    site: str
    score_unit: str
    examples: tuple[ExampleView, ...]
    has_curves: bool
    has_gaps: bool
    shown: str
    passes: str
    summary: summary.SummaryView | None
    checks: tuple[tuple[str, str], ...]
    of_pictures: bool = False
    of_boxes: bool = False
    of_regions: bool = False
    of_words: bool = False
    of_matrices: bool = False
    of_quality: bool = False
    of_films: bool = False
    thing: str = "word"
    beside: tuple[SiteView, ...] = ()

    @property
    def sides(self) -> tuple[str, str]:
        """What orange and blue mean: a value is lowered or raised, an answer spoken against or for."""
        return ("lowers the score", "raises it") if self.score_unit == "value" else ("against the prediction", "for it")

    @property
    def things(self) -> str:
        """What relevance is of, all of them."""
        return THINGS[self.thing]

    @property
    def has_blanks(self) -> bool:
        """Whether there are patches of which nothing is told."""
        columns = [column for e in self.examples if e.photo for _, columns in e.photo.rows for column in columns]
        return any(c.method.map is not None and c.method.map.untold is not None and c.method.map.untold.any() for c in columns)


def coloured(words: Sequence[str], relevance: Sequence[float | None]) -> tuple[Word, ...]:
    """The words with opacity proportional to the size of their relevance, colour by its sign.

    Raises:
        ValueError: not one number per word.
    """
    if len(words) != len(relevance):
        raise ValueError(f"{len(relevance)} numbers for {len(words)} words")
    known = [r if r is not None and math.isfinite(r) else 0.0 for r in relevance]
    largest = max((abs(r) for r in known), default=0.0) or 1.0
    return tuple(_coloured(w, r, k / largest) for w, r, k in zip(words, relevance, known, strict=True))


def _coloured(text: str, relevance: float | None, share: float) -> Word:
    shown = abs(share) >= FAINTEST
    sign = ("pos" if share > 0 else "neg") if shown else ""
    alpha, told = round(STRONGEST * abs(share), 3) if shown else 0.0, f"{text}: {number.signed_significant(relevance)}"
    return Word(text, sign, alpha, told, share <= -LINED, text[:1] in CLOSING)


def _tops(words: Sequence[str], relevance: Sequence[float | None], sign: int) -> tuple[tuple[str, str], ...]:
    known = [(sign * r, w) for w, r in zip(words, relevance, strict=True) if r is not None and math.isfinite(r) and sign * r > 0]
    largest = max((abs(r) for r in relevance if r is not None and math.isfinite(r)), default=0.0)
    known = [(r, w) for r, w in known if r >= FAINTEST * largest]
    best = sorted(known, key=lambda pair: -pair[0])[:TOP_WORDS]
    return tuple((word, number.signed_significant(sign * value)) for value, word in best)


def view(explanations: records.Explanations, source: str) -> ExplainedView:
    """What the templates draw.

    Raises:
        BadData: a relevance that does not fit its words; the message names source, example and method.
    """
    explanations = _pictures_first(explanations)
    unit, examples = explanations.get("score_unit", ""), []
    for i, group in enumerate(_groups(explanations["examples"])):
        examples.append(_example(group, f"example-{i + 1}", unit, source))
    methods = [m for e in explanations["examples"] for m in e["methods"].values()]
    of_pictures = bool(examples) and all(example.photo for example in examples)
    clips = [example for example in examples if example.clip]
    thing = "patch" if of_pictures else "frame" if len(clips) == len(examples) > 0 else "word"
    things = THINGS[thing]
    together = explanations.get("summary")
    overall = together.get("checks", {}).values() if together else ()
    names = dict.fromkeys(name for checks in (*overall, *(m.get("checks") or {} for m in methods)) for name in checks)
    return ExplainedView(
        explanations.get("site", ""),
        unit,
        tuple(examples),
        any(m.curve for m in _drawn(examples)),
        any(m.get("gap") is not None for m in methods),
        _shown(len(explanations["examples"]), explanations.get("num", 0), len(examples), OF[thing]),
        explanations.get("passes", ""),
        summary.view(together, things),
        tuple((number.title(name), meanings.title(name, things)) for name in names if meanings.title(name)),
        of_pictures,
        any(example.photo and example.photo.boxes for example in examples),
        any(example.photo and example.photo.outlines for example in examples),
        any(example.methods and not example.clip for example in examples),
        any(example.matrices for example in examples),
        any(isinstance(e["prediction"], Mapping) and "quality" in e["prediction"] for e in explanations["examples"]),
        any(example.clip and example.clip.rows for example in examples),
        thing,
        tuple(SiteView(site, things, summary.view(told, things)) for site, things, told in _beside(explanations)),
    )


def _pictures_first(explanations: records.Explanations) -> records.Explanations:
    """The same, told at the site of a picture, where the first site has none and another has."""
    rows, first = explanations["examples"], explanations.get("site", "")
    told = (rows[0].get("beside") or {}) if rows and not rows[0].get("picture") else {}
    site = next((name for name, one in told.items() if one.get("picture")), "")
    if not site:
        return explanations
    turned: list[Any] = []
    for row in rows:
        beside = dict(row.get("beside") or {})
        over = beside.pop(site)
        turned.append({**row, **over, "beside": {first: {"words": row["words"], "methods": row["methods"]}, **beside}})
    summaries = {first: explanations.get("summary"), **(explanations.get("beside") or {})}
    changed = {"site": site, "summary": summaries.pop(site, None), "beside": summaries, "examples": turned}
    return {**explanations, **changed}  # type: ignore[typeddict-item]


def _beside(explanations: records.Explanations) -> list[tuple[str, str, records.Summary | None]]:
    """Each site beside the first, what its units are, and all examples together."""
    told = explanations.get("beside") or {}
    kinds = {site: _things(one, {}) for row in explanations["examples"] for site, one in (row.get("beside") or {}).items()}
    return [(site, things, told.get(site)) for site, things in kinds.items()]


def _things(over: Mapping[str, Any], example: Mapping[str, Any]) -> str:
    """What relevance is of."""
    return "patches" if over.get("picture") else "frames" if example.get("film") else "words"


def _drawn(examples: Sequence[ExampleView]) -> list[MethodView]:
    """Every method that is drawn by itself, over words or a picture."""
    over = [column.method for e in examples if e.photo for _, columns in e.photo.rows for column in columns]
    return [*over, *(method for e in examples for method in e.methods)]


def _groups(examples: Sequence[records.Explained]) -> list[list[records.Explained]]:
    """Examples, those next to each other that are about one picture, or about one output, together."""
    found: list[list[records.Explained]] = []
    for example in examples:
        last = found[-1][0] if found else None
        if last is not None and (_one_picture(last, example) or matrix.together(last, example)):
            found[-1].append(example)
        else:
            found.append([example])
    return found


def _one_picture(last: records.Explained, example: records.Explained) -> bool:
    alike = (last.get("set"), last["id"]) == (example.get("set"), example["id"])
    return bool(alike and example.get("picture") and list(last["methods"]) == list(example["methods"]))


def _shown(here: int, num: int, groups: int, thing: str) -> str:
    """`2 explained examples`, `100 of 1,000 explained examples`, `5 explanations of 3 pictures`."""
    if groups < here:
        told = f"{number.count(here)} explanations of {number.count(groups)} {thing}{'s' if groups != 1 else ''}"
        return told + (f", {number.count(num)} in all" if num > here else "")
    count = f"{number.count(here)} of {number.count(num)}" if num > here else number.count(here)
    return f"{count} explained example{'s' if max(here, num) != 1 else ''}"


def _example(group: Sequence[records.Explained], ident: str, unit: str, source: str) -> ExampleView:
    example, several = group[0], len(group) > 1
    found, photo = example.get("flow"), _photo(group, ident, unit, source)
    matrices = matrix.views(group, unit, source) if several and not photo else ()
    by_itself = not photo and not matrices
    methods = [*example["methods"].items(), *_named_at(example)] if by_itself else []
    clip = film.view(example.get("film"), dict(methods), f"{source}: example {example['id']!r}") if not photo else None
    label = example.get("label")
    return ExampleView(
        example.get("set", ""),
        example["id"],
        _value(example["prediction"]),
        "" if label is None or any(m.corrected for m in matrices) else _value(label),
        _right(example),
        "" if several else _score(example.get("score"), unit),
        tuple(_method(name, m, example, f"{ident}-{k + 1}", source) for k, (name, m) in enumerate(methods)),
        "" if several else _answer(example),
        heat.side_by_side(example["methods"], example["words"]) if by_itself and not clip else None,
        heat.flow(found, example["words"], f"{source}: example {example['id']!r}") if by_itself and found else None,
        photo,
        " ".join(example["words"]) if matrices and not clip else example.get("caption") or "" if photo else "",
        matrices,
        clip,
    )


def _named_at(example: records.Explained) -> list[tuple[str, records.Relevance]]:
    """The methods at further sites of the same words, named by these."""
    told = (example.get("beside") or {}).items()
    return [(f"{name} at {site}", m) for site, one in told if one["words"] == example["words"] for name, m in one["methods"].items()]


def _right(example: records.Explained) -> bool | None:
    prediction, label = example["prediction"], example.get("label")
    return prediction == label if isinstance(prediction, str) and label is not None else None


def _answer(example: records.Explained) -> str:
    """What was explained, where that is not the prediction."""
    prediction, label, answer = example["prediction"], example.get("label"), example.get("answer")
    if answer is None or answer in (str(prediction), _value(prediction)):
        return ""
    return "the label" if answer == label and " " in answer else answer


def _photo(group: Sequence[records.Explained], ident: str, unit: str, source: str) -> PhotoView | None:
    """The maps of one picture: of one answer a row of methods; of several a row for each method, its columns the answers."""
    picture = group[0].get("picture")
    if not picture:
        return None
    where = f"{source}: example {group[0]['id']!r}"
    told = [_value(e["answer"]) if e.get("answer") is not None else "the likeliest" for e in group]
    rows = []
    for k, name in enumerate(group[0]["methods"]):
        columns = []
        for j, (example, answer) in enumerate(zip(group, told, strict=True)):
            method = _method(name, example["methods"][name], example, f"{ident}-{k + 1}-{j + 1}", source)
            several = len(group) > 1
            beside = _also(example, name, f"{ident}-{k + 1}-{j + 1}", source)
            facts = _score(example.get("score"), unit) if several else ""
            columns.append(Column(answer if several else method.name, facts, method, beside))
        rows.append((number.title(name), tuple(columns)))
    if len(group) == 1:
        rows = [("", tuple(column for _, columns in rows for column in columns))]
    flow, title = _flow(group[0], where)
    seen = maps.checked(picture, where)[0]
    each = [(answer, example.get("picture") or records.Picture(grid=[])) for example, answer in zip(group, told, strict=True)]
    boxes = tuple((answer, box) for answer, one in each if (box := maps.box_of(one, where)))
    outlines = tuple((answer, lines) for answer, one in each if (lines := maps.outline_of(one, where)))
    title += f" of {told[0]}" if title and len(group) > 1 else ""
    return PhotoView(seen, maps.coarse(seen), tuple(rows), flow, title, boxes, outlines, group[0].get("caption") or "")


def _also(example: records.Explained, name: str, ident: str, source: str) -> tuple[tuple[str, MethodView], ...]:
    """What the method says of the same answer at further sites."""
    found = []
    for k, (site, one) in enumerate((example.get("beside") or {}).items()):
        if name in one["methods"]:
            place = one.get("picture")
            over: Any = {**example, **one, "picture": {**(example.get("picture") or {}), **place} if place else None}
            found.append((site, _method(name, one["methods"][name], over, f"{ident}-{k + 1}", source)))
    return tuple(found)


def _flow(example: records.Explained, where: str) -> tuple[tuple[tuple[str, maps.Map], ...], str]:
    """The maps of one method at each site, and what they are."""
    found, picture = example.get("flow"), example.get("picture")
    if not found or not picture or not found.get("grids"):
        return (), ""
    grids = found["grids"] or []
    if not len(grids) == len(found["sites"]) == len(found["relevance"]):
        raise BadData(
            f"{where}: flow has {len(found['sites'])} sites, {len(grids)} grids and {len(found['relevance'])} rows; explain it again"
        )
    spans = found.get("spans") or [[1.0, 1.0]] * len(grids)
    drawn = []
    for site, grid, span, row in zip(found["sites"], grids, spans, found["relevance"], strict=False):
        names = [f"{i // grid[-1]},{i % grid[-1]}" for i in range(len(row))] if grid and grid[-1] else []
        drawn.append((site, maps.view({**picture, "grid": grid, "span": span}, site, names, row, where)))
    return tuple(drawn), f"Information flow ({number.title(found.get('method', ''))})"


def _method(name: str, method: records.Relevance, example: records.Explained, ident: str, source: str) -> MethodView:
    words, relevance = example["words"], method["relevance"]
    try:
        marked = coloured(words, relevance)
    except ValueError as error:
        raise BadData(f"{source}: example {example['id']!r}, method {name!r}: {error}; explain it again") from None
    found, gap, picture = method.get("degradation"), method.get("gap"), example.get("picture")
    things = _things(example, example)
    title, where = number.title(name), f"{source}: example {example['id']!r}, method {name!r}"
    return MethodView(
        number.title(name),
        any(r is not None and r < 0 for r in relevance),
        marked if things == "words" else (),
        _tops(words, relevance, 1),
        _tops(words, relevance, -1),
        "" if gap is None else number.percent(gap),
        method.get("note") or "",
        _curve(found, f"Degradation, {number.title(name)}", ident) if found else None,
        number.fixed(found["area"]) if found else "",
        number.fixed(found.get("random_area")) if found and found.get("random_area") is not None else "",
        meanings.line(method.get("checks") or {}, things),
        maps.view(picture, title, words, relevance, where) if picture else None,
    )


def _curve(found: records.Degradation, title: str, ident: str) -> chart.Plot:
    orders = {"random": found["random"], "least": found["least_first"], "most": found["most_first"]}
    known = [v for values in orders.values() for v in values if v is not None]
    axes = (chart.unit_axis("share removed"), chart.axis("score", known))
    series = [chart.Series(name, _points(found["fractions"], values), name) for name, values in orders.items()]
    desc = f"Score as more is removed. Area between least first and most first: {number.fixed(found['area'])}."
    return chart.plot(ident, title, desc, axes, series, chart.SMALL)


def _points(xs: Sequence[float], ys: Sequence[float | None]) -> list[chart.Point]:
    return [(x, math.nan if y is None else y) for x, y in zip(xs, ys, strict=False)]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "none"
    return number.significant(value) if isinstance(value, float) else str(value)


def _score(score: float | None, unit: str) -> str:
    if score is None:
        return ""
    if unit == "log-probability" and score > LEAST:
        return f"probability {number.percent(math.exp(min(score, 0.0)))}"
    if unit == "log-probability":
        return f"log-probability {number.significant(score)}"
    return f"score {number.significant(score)}"
