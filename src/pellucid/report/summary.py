"""All explained examples together: methods by checks, and how far the methods agree."""

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.report import meanings, number, records


@dataclass(frozen=True)
class Column:
    """One check; `mark` says which way is better."""

    name: str
    mark: str
    title: str


@dataclass(frozen=True)
class Cell:
    """One mean, its interval, and whether none in its column is better."""

    text: str
    interval: str
    best: bool
    title: str


@dataclass(frozen=True)
class Pair:
    """How far two methods agree; `sign` and `alpha` colour it."""

    text: str
    sign: str
    alpha: float


@dataclass(frozen=True)
class SummaryView:
    """The block above the examples."""

    n: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    methods: tuple[str, ...]
    pairs: tuple[tuple[str, tuple[Pair, ...]], ...]
    has_best: bool
    things: str = "words"


def view(found: records.Summary | None, things: str = "words") -> SummaryView | None:
    """What the template draws; None where there is nothing to tell."""
    if not found:
        return None
    checks, times = found.get("checks") or {}, found.get("ms_per_example") or {}
    methods = list(dict.fromkeys([*checks, *times]))
    pairs = _pairs(found.get("agreement"))
    names = [n for n in dict.fromkeys(name for row in checks.values() for name in row) if n != "agreement" or not pairs]
    columns = [Column(number.title(n), meanings.MARKS[meanings.of(n).better], meanings.title(n, things)) for n in names]
    cells = [_check(name, [checks.get(m, {}).get(name) for m in methods], found["n"]) for name in names]
    if times:
        columns.append(Column("ms per example", meanings.MARKS["smaller"], "processor time of one explanation, without its checks"))
        cells.append(_times(methods, [times.get(m) for m in methods]))
    rows = tuple((number.title(m), tuple(column[i] for column in cells)) for i, m in enumerate(methods))
    if not columns and not pairs:
        return None
    best = any(cell.best for column in cells for cell in column)
    return SummaryView(
        number.count(found["n"]), tuple(columns), rows if columns else (), tuple(name for name, _ in pairs), pairs, best, things
    )


def _check(name: str, found: Sequence[records.Checked | None], n: int) -> list[Cell]:
    means = [f["mean"] if f else None for f in found]
    best, digits = meanings.best(means, meanings.of(name).better), _digits(means)
    top = None if best is None else number.fixed(best, digits)  # whatever is written alike is equally good

    def cell(one: records.Checked | None) -> Cell:
        if one is None:
            return Cell("", "", False, "not checked")
        low, high, count = one.get("low"), one.get("high"), one.get("n", n)
        span = f"[{number.fixed(low, digits)}, {number.fixed(high, digits)}]" if number.real(low) and number.real(high) else ""
        told = f"{number.count(count)} of {number.count(n)} examples" if count != n else f"{number.count(n)} examples"
        text = number.fixed(one["mean"], digits)
        return Cell(text, span, text == top, told)

    return [cell(one) for one in found]


def _digits(values: Sequence[records.Number]) -> int:
    """Decimals that tell the values of a column apart."""
    largest = max((abs(v) for v in values if v is not None and number.real(v)), default=0.0)
    return 0 if largest >= 1000 else 1 if largest >= 100 else 2 if largest >= 10 else 3 if largest >= 0.01 else 5


def _times(methods: Sequence[str], values: Sequence[records.Number]) -> list[Cell]:
    """Milliseconds; random numbers, which explain nothing, do not compete."""
    best = meanings.best([v for m, v in zip(methods, values, strict=True) if m != "random"], "smaller")
    return [
        Cell("" if v is None else number.significant(v, 2), "", m != "random" and v is not None and v == best, "")
        for m, v in zip(methods, values, strict=True)
    ]


def _pairs(found: records.Agreement | None) -> tuple[tuple[str, tuple[Pair, ...]], ...]:
    if not found or len(found["methods"]) < 2:
        return ()
    names = [number.title(m) for m in found["methods"]]
    return tuple(
        (name, tuple(Pair("", "", 0.0) if i == k else _pair(value) for k, value in enumerate(row)))
        for i, (name, row) in enumerate(zip(names, found["spearman"], strict=False))
    )


def _pair(value: records.Number) -> Pair:
    if value is None or not number.real(value):
        return Pair(number.MISSING, "", 0.0)
    return Pair(number.fixed(value, 2), "pos" if value > 0 else "neg", round(0.72 * min(1.0, abs(value)), 2))
