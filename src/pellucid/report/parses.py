"""Written sequences: how many are right by category, length and depth, what is wrong with the others, and some of them word by word."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pellucid.metrics.sequences import first_wrong
from pellucid.report import chart, number, records
from pellucid.report.read import Run

OPEN = 3  # sets whose charts and errors are unfolded
TABLE = 8  # rows of a table that is not folded
WHOLE = 60  # columns of an example that is shown whole, and around the first wrong word of a longer one:
BEFORE, AFTER = 8, 40
END, NOTHING = "⟨end⟩", "∅"
LABEL = 20  # letters of a label that stands on one line
STYLES = 6  # lines that can be told apart
SHARE = chart.Axis("exact match", 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), ("0%", "25%", "50%", "75%", "100%"))
MEANINGS = {
    "no end": "it ran to its limit without an end",
    "cut short": "right as far as it goes, but the target goes on",
    "too long": "the whole target, and then more",
    "wrong order": "the same conjuncts in another order: the same meaning",
    "wrong word": "the target's structure with a wrong word in it",
    "wrong structure": "anything else",
}


@dataclass(frozen=True)
class SetRow:
    """One set, counted; texts are empty where a column says nothing of it."""

    name: str
    n: str
    value: str
    interval: str
    by_ids: str
    means: tuple[str, ...]
    unknown: str
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Bar:
    """A share with its interval, in per cent; `width` is None where there is none."""

    label: str
    value: str
    n: str
    title: str
    width: float | None
    low: float
    reach: float


@dataclass(frozen=True)
class Bars:
    """Shares one below the other, in groups with headings."""

    title: str
    spoken: str
    groups: tuple[tuple[str, tuple[Bar, ...]], ...]

    @property
    def long(self) -> bool:
        """Whether a label needs more than one line."""
        return any(len(bar.label) > LABEL for _, group in self.groups for bar in group)


@dataclass(frozen=True)
class Scope:
    """What is drawn of one set, or of several as one."""

    name: str
    note: str
    categories: Bars | None
    lengths: Bars | None
    depths: chart.Plot | None
    open: bool


@dataclass(frozen=True)
class Pair:
    """A word of the target over one of the output; `tone` is empty where they are alike, `first` at the first that is wrong, else `off`."""

    target: str
    made: str
    tone: str = ""


@dataclass(frozen=True)
class WrongView:
    """One error: all its words, or those around the first wrong one, and then all of them besides."""

    found: records.WrongSequence
    place: str
    score: str
    shown: tuple[Pair, ...]
    before: int
    after: int
    whole: tuple[Pair, ...]
    spoken: str
    more: str


@dataclass(frozen=True)
class ParsesView:
    """The section.

    Args:
        brief: what stands for the rows of all sets where those are folded: all that are shown as one, and the others.
    """

    sets: tuple[SetRow, ...]
    brief: tuple[SetRow, ...]
    means: tuple[str, ...]
    has_ids: bool
    same_by_ids: bool
    has_unknown: bool
    kinds: tuple[tuple[str, str], ...]
    scopes: tuple[Scope, ...]
    wrong: tuple[tuple[str, str, tuple[WrongView, ...], bool], ...]


def view(run: Run) -> ParsesView | None:
    """What the template draws; None where the run wrote no sequences."""
    found = run.parses
    if not found or not found["sets"]:
        return None
    sets, together, unit = found["sets"], found.get("together"), found.get("score_unit", "")
    kinds = _named(kind for one in sets.values() for kind in one["errors"])
    means = _named(name for one in (*sets.values(), *([together] if together else [])) for name in _means(one))
    rows = tuple(_row(name, one, means, kinds) for name, one in sets.items())
    by_ids = [(one["right"], ids) for one in sets.values() if (ids := one.get("right_by_ids")) is not None]
    differs = any(right != ids for right, ids in by_ids)
    wrong = [(name, one["n"] - one["right"], one["examples"]) for name, one in sets.items() if one["examples"]]
    total = (_total(together, sets, means, kinds),) if together else ()
    apart = tuple(row for row in rows if together and row.name not in together["sets"])
    folded = len(rows) > TABLE and bool(total)
    return ParsesView(
        rows if folded else rows + total,
        apart + total if folded else (),
        tuple("mean of kinds" if name == "all" else name for name in means),
        differs,
        bool(by_ids) and not differs,
        any(one.get("unknown") for one in sets.values()),
        tuple((kind, MEANINGS.get(kind, "")) for kind in kinds),
        tuple(_scopes(sets, together)),
        tuple(
            (name, number.count(count), tuple(_wrong(one, unit) for one in some), len(wrong) <= OPEN or i == 0)
            for i, (name, count, some) in enumerate(wrong)
        ),
    )


def _named(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


# ---- tables -------------------------------------------------------------------------------------------------------


def _means(found: records.Sequences) -> Mapping[str, records.KindsMean]:
    """The groups of categories, where there is more than one category to be averaged."""
    return found["groups"] if len(found["categories"]) > 1 else {}


def _row(name: str, found: records.SequenceSet, means: Sequence[str], kinds: Sequence[str]) -> SetRow:
    ids, known = found.get("right_by_ids"), _means(found)
    return SetRow(
        name,
        number.count(found["n"]),
        number.percent(_share(found)),
        _interval(found),
        "" if ids is None or not found["n"] else number.percent(ids / found["n"]),
        tuple(number.percent(known[mean]["mean"]) if mean in known else "" for mean in means),
        number.count(found["unknown"]) if found.get("unknown") else "",
        tuple(number.count(found["errors"].get(kind, 0)) for kind in kinds),
    )


def _total(found: records.TogetherSets, sets: Mapping[str, records.SequenceSet], means: Sequence[str], kinds: Sequence[str]) -> SetRow:
    """The sets that are shown as one; its errors are theirs."""
    parts = [sets[name] for name in found["sets"] if name in sets]
    errors = {kind: sum(part["errors"].get(kind, 0) for part in parts) for kind in kinds}
    ids = [part.get("right_by_ids") for part in parts]
    whole = {
        **found,
        "right_by_ids": None if None in ids else sum(count or 0 for count in ids),
        "unknown": sum(part.get("unknown", 0) for part in parts),
        "errors": errors,
    }
    return _row(f"{len(found['sets'])} sets together", cast(records.SequenceSet, whole), means, kinds)


def _share(found: records.Counted) -> float | None:
    return min(1.0, max(0.0, found["right"] / found["n"])) if found["n"] > 0 else None


def _interval(found: records.Counted) -> str:
    return number.Unit(100.0, 1).interval(found.get("low"), found.get("high"))


# ---- charts -------------------------------------------------------------------------------------------------------


def _scopes(sets: Mapping[str, records.SequenceSet], together: records.TogetherSets | None) -> Iterable[Scope]:
    """All as one where no two sets share a category, and each set that this does not show."""
    joint = together["sets"] if together else []
    apart = together is not None and sum(len(sets[name]["categories"]) for name in joint if name in sets) == len(together["categories"])
    every: dict[str, records.Sequences] = {f"{len(joint)} sets together": together} if together else {}
    every |= {name: one for name, one in sets.items() if not (apart and name in joint)}
    for i, (name, one) in enumerate(every.items()):
        categories = _categories(one) if len(one["categories"]) > 1 else None
        lengths = _bars("By words of the target", [("", {_span(part): part for part in one["lengths"]})]) if one["lengths"] else None
        note = f"{number.percent(_share(one))} of {number.count(one['n'])}"
        yield Scope(name, note, categories, lengths, _depths(one, i), len(every) <= OPEN or i == 0)


def _span(part: records.OfLength) -> str:
    return f"{part['least']}\u2013{part['most']}" if part["most"] > part["least"] else f"{part['least']}"


def _categories(found: records.Sequences) -> Bars:
    """The best first in each group; what no group holds comes last."""
    left, groups = dict(found["categories"]), []
    for name, group in found["groups"].items():
        kinds = {kind: left.pop(kind) for kind in group["kinds"] if name != "all" and kind in left}
        if kinds:
            groups.append(
                (f"{name.capitalize()}: {len(kinds)} {'kind' if len(kinds) == 1 else 'kinds'}, mean {number.percent(group['mean'])}", kinds)
            )
    groups += [("Other" if groups else "", left)] if left else []
    return _bars("By category", [(heading, _sorted(some)) for heading, some in groups])


def _sorted(found: Mapping[str, records.Counted]) -> dict[str, records.Counted]:
    return {name.replace("_", " "): found[name] for name in sorted(found, key=lambda name: (-(_share(found[name]) or 0.0), name))}


def _bars(title: str, groups: Sequence[tuple[str, Mapping[str, records.Counted]]]) -> Bars:
    told = [f"{label} {number.percent(_share(one))}" for _, some in groups for label, one in some.items()]
    return Bars(
        title, f"Exact match: {', '.join(told)}.", tuple((name, tuple(_bar(k, v) for k, v in some.items())) for name, some in groups)
    )


def _bar(label: str, found: records.Counted) -> Bar:
    share, interval = _share(found), _interval(found)
    low, high = (min(1.0, max(0.0, x)) if interval and x is not None else 0.0 for x in (found.get("low"), found.get("high")))
    title = f"{label}: {number.count(found['right'])} of {number.count(found['n'])} right{', ' if interval else ''}{interval}"
    width = None if share is None else round(100 * share, 2)
    return Bar(
        label, number.percent(share), number.count(found["n"]), title, width, round(100 * low, 2), round(100 * max(0.0, high - low), 2)
    )


def _depths(found: records.Sequences, index: int) -> chart.Plot | None:
    """A line for each category that has depths."""
    lines, told = [], []
    for i, (name, parts) in enumerate(list(found["depths"].items())[:STYLES]):
        points = [(float(part["depth"]), share) for part in parts if (share := _share(part)) is not None]
        spoken = [f"{name.replace('_', ' ')} of depth {x:g}: {number.percent(y)}" for x, y in points]
        if points:
            lines.append(chart.Series(name.replace("_", " "), points, f"c{i + 1}", spoken))
            told += [spoken[0], spoken[-1]]
    if not lines:
        return None
    depths = chart.axis("depth of the recursion", [x for line in lines for x, _ in line.points], whole=True)
    return chart.plot(f"depths-{index}", "By depth of the recursion", "; ".join(told), (depths, SHARE), lines)


# ---- errors -------------------------------------------------------------------------------------------------------


def aligned(target: Sequence[str], made: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Words of both side by side, None where one has none: all alike before the first wrong one, then with the fewest changes."""
    start = first_wrong(target, made)
    if start is None:
        return list(zip(target, made, strict=True))
    tail = 0
    while tail < min(len(target), len(made)) - start and target[-1 - tail] == made[-1 - tail]:
        tail += 1
    middle = _fewest(target[start : len(target) - tail], made[start : len(made) - tail])
    return [*zip(target[:start], made, strict=False), *middle, *((word, word) for word in target[len(target) - tail :])]


def _fewest(target: Sequence[str], made: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Levenshtein's alignment; words stand opposite each other rather than opposite nothing."""
    costs = [list(range(len(made) + 1))]  # of what is left of the target by what is left of the output, from their ends
    for word in reversed(target):
        before, row = costs[-1], [costs[-1][0] + 1]
        for k, other in enumerate(reversed(made)):
            row.append(min(before[k] + (word != other), before[k + 1] + 1, row[k] + 1))
        costs.append(row)
    pairs: list[tuple[str | None, str | None]] = []
    i, k = len(target), len(made)
    while i or k:
        if i and k and costs[i][k] == costs[i - 1][k - 1] + (target[-i] != made[-k]):
            pairs.append((target[-i], made[-k]))
            i, k = i - 1, k - 1
        elif i and costs[i][k] == costs[i - 1][k] + 1:
            pairs.append((target[-i], None))
            i -= 1
        else:
            pairs.append((None, made[-k]))
            k -= 1
    return pairs


def _pairs(target: Sequence[str], made: Sequence[str], cut: bool) -> tuple[Pair, ...]:
    """All columns; the one behind the end of the shorter says so.

    Args:
        cut: the output has no end, or words followed that are not kept.
    """
    columns, tones = aligned(target, made), iter(("first",))
    ends = [max((i for i, column in enumerate(columns) if column[side] is not None), default=-1) + 1 for side in (0, 1)]
    found = []
    for i, (wanted, said) in enumerate(columns):
        tone = "" if wanted == said else next(tones, "off")
        gap = NOTHING if tone == "first" else ""
        found.append(Pair(_word(wanted, gap, i == ends[0]), _word(said, gap, i == ends[1] and not cut), tone))
    return tuple(found)


def _word(word: str | None, gap: str, end: bool) -> str:
    return word if word is not None else END if end else gap


def _wrong(found: records.WrongSequence, unit: str) -> WrongView:
    target, made, more = found["target"], found["made"], max(0, found.get("more", 0))
    pairs = _pairs(target, made, more > 0 or found["kind"] == "no end")
    first = next((i for i, pair in enumerate(pairs) if pair.tone), 0)
    start, stop = (0, len(pairs)) if len(pairs) <= WHOLE else (max(0, first - BEFORE), min(len(pairs), first + AFTER))
    at = pairs[first] if pairs else Pair("", "")
    place = _place(first, len(target)) if any(pair.tone for pair in pairs) else ""
    score = found.get("score")
    return WrongView(
        found,
        place,
        f"{unit or 'score'} {number.significant(score, 3)}" if number.real(score) else "",
        pairs[start:stop],
        start,
        len(pairs) - stop,
        pairs if (start, stop) != (0, len(pairs)) else (),
        f"Target: {' '.join(target)}. Written: {' '.join(made)}. First wrong: {place or 'none'}, {_said(at.made)} for {_said(at.target)}.",
        number.count(more) if more else "",
    )


def _said(word: str) -> str:
    return "nothing" if word in ("", NOTHING) else word


def _place(first: int, num_words: int) -> str:
    return f"word {first + 1} of {num_words}" if first < num_words else f"after the last of {num_words}"
