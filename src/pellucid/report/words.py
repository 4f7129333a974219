"""Explained examples: each word with its colour, each method with its degradation curve."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.errors import BadData
from pellucid.report import chart, heat, meanings, number, records, summary

STRONGEST = 0.72  # opacity at the largest relevance
FAINTEST, LINED = 0.06, 0.2  # shares of it from which a word is coloured, and underlined where against
TOP_WORDS = 3
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


@dataclass(frozen=True)
class ExampleView:
    """One explained example."""

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
    return Word(
        text, sign, round(STRONGEST * abs(share), 3) if shown else 0.0, f"{text}: {signed(relevance)}", share <= -LINED, text[:1] in CLOSING
    )


def signed(value: float | None) -> str:
    """Two significant digits with the sign written."""
    text = number.significant(value, 2)
    return "+" + text if value is not None and value > 0 else text


def _tops(words: Sequence[str], relevance: Sequence[float | None], sign: int) -> tuple[tuple[str, str], ...]:
    known = [(sign * r, w) for w, r in zip(words, relevance, strict=True) if r is not None and math.isfinite(r) and sign * r > 0]
    largest = max((abs(r) for r in relevance if r is not None and math.isfinite(r)), default=0.0)
    known = [(r, w) for r, w in known if r >= FAINTEST * largest]
    best = sorted(known, key=lambda pair: -pair[0])[:TOP_WORDS]
    return tuple((word, signed(sign * value)) for value, word in best)


def view(explanations: records.Explanations, source: str) -> ExplainedView:
    """What the templates draw.

    Raises:
        BadData: a relevance that does not fit its words; the message names source, example and method.
    """
    examples = []
    unit = explanations.get("score_unit", "")
    for i, example in enumerate(explanations["examples"]):
        examples.append(_example(example, f"example-{i + 1}", unit, source))
    methods = [m for e in explanations["examples"] for m in e["methods"].values()]
    together = explanations.get("summary")
    overall = together.get("checks", {}).values() if together else ()
    names = dict.fromkeys(name for checks in (*overall, *(m.get("checks") or {} for m in methods)) for name in checks)
    return ExplainedView(
        explanations.get("site", ""),
        unit,
        tuple(examples),
        any(m.get("degradation") for m in methods),
        any(m.get("gap") is not None for m in methods),
        _shown(len(examples), explanations.get("num", 0)),
        explanations.get("passes", ""),
        summary.view(together),
        tuple((number.title(name), meanings.title(name)) for name in names if meanings.title(name)),
    )


def _shown(here: int, num: int) -> str:
    """`2 explained examples`, `100 of 1,000 explained examples`."""
    count = f"{number.count(here)} of {number.count(num)}" if num > here else number.count(here)
    return f"{count} explained example{'s' if max(here, num) != 1 else ''}"


def _example(example: records.Explained, ident: str, unit: str, source: str) -> ExampleView:
    prediction, label, answer = example["prediction"], example.get("label"), example.get("answer")
    exact = isinstance(prediction, str) and label is not None
    found = example.get("flow")
    return ExampleView(
        example.get("set", ""),
        example["id"],
        _value(prediction),
        "" if label is None else _value(label),
        prediction == label if exact else None,
        _score(example.get("score"), unit),
        tuple(_method(name, m, example, f"{ident}-{k + 1}", source) for k, (name, m) in enumerate(example["methods"].items())),
        "" if answer is None or answer in (str(prediction), _value(prediction)) else answer,
        heat.side_by_side(example["methods"], example["words"]),
        heat.flow(found, example["words"], f"{source}: example {example['id']!r}") if found else None,
    )


def _method(name: str, method: records.Relevance, example: records.Explained, ident: str, source: str) -> MethodView:
    words, relevance = example["words"], method["relevance"]
    try:
        marked = coloured(words, relevance)
    except ValueError as error:
        raise BadData(f"{source}: example {example['id']!r}, method {name!r}: {error}; explain it again") from None
    found = method.get("degradation")
    gap = method.get("gap")
    return MethodView(
        number.title(name),
        any(r is not None and r < 0 for r in relevance),
        marked,
        _tops(words, relevance, 1),
        _tops(words, relevance, -1),
        "" if gap is None else number.percent(gap),
        method.get("note") or "",
        _curve(found, f"Degradation, {number.title(name)}", ident) if found else None,
        number.fixed(found["area"]) if found else "",
        number.fixed(found.get("random_area")) if found and found.get("random_area") is not None else "",
        meanings.line(method.get("checks") or {}),
    )


def _curve(found: records.Degradation, title: str, ident: str) -> chart.Plot:
    orders = {"random": found["random"], "least": found["least_first"], "most": found["most_first"]}
    known = [v for values in orders.values() for v in values if v is not None]
    axes = (chart.unit_axis("share of words removed"), chart.axis("score", known))
    series = [chart.Series(name, _points(found["fractions"], values), name) for name, values in orders.items()]
    desc = f"Score as words are removed. Area between least first and most first: {number.fixed(found['area'])}."
    return chart.plot(ident, title, desc, axes, series, chart.SMALL)


def _points(xs: Sequence[float], ys: Sequence[float | None]) -> list[chart.Point]:
    return [(x, math.nan if y is None else y) for x, y in zip(xs, ys, strict=False)]


def _value(value: Any) -> str:
    return number.significant(value) if isinstance(value, float) else str(value)


def _score(score: float | None, unit: str) -> str:
    if score is None:
        return ""
    if unit == "log-probability":
        return f"probability {number.percent(math.exp(min(score, 0.0)))}"
    return f"score {number.significant(score)}"
