"""Where things go in a chart: scales, ticks, paths, in the units of an SVG view box. The templates draw them."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pellucid.report import number

Point = tuple[float, float]
MOST_POINTS = 240  # a line holds no more than the eye can tell apart


@dataclass(frozen=True)
class Axis:
    """One direction of a chart, in the data's units; `labels` has one text per tick."""

    name: str
    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """One line.

    Args:
        style: CSS classes; `c1` to `c6` differ in colour and in dashes.
        dots: also mark each point, with these tooltips.
        sizes: radius of each dot; all alike where empty.
        joined: draw the line; else only the dots.
    """

    name: str
    points: Sequence[Point]
    style: str = "c1"
    dots: Sequence[str] = ()
    sizes: Sequence[float] = ()
    joined: bool = True


@dataclass(frozen=True)
class Dot:
    """A marked point, in pixels."""

    x: float
    y: float
    size: float
    title: str


@dataclass(frozen=True)
class Curve:
    """A line, in pixels."""

    name: str
    style: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in pixels."""

    at: float
    label: str


@dataclass(frozen=True)
class Frame:
    """A chart's outer size and what its edges leave for tick labels, in view box units."""

    width: float = 440.0
    height: float = 240.0
    left: float = 46.0
    right: float = 12.0
    top: float = 10.0
    bottom: float = 38.0


SQUARE = Frame(200.0, 200.0, 32.0, 8.0, 8.0, 36.0)
SMALL = Frame(240.0, 120.0, 40.0, 8.0, 8.0, 22.0)


@dataclass(frozen=True)
class Plot:
    """Everything a template needs to draw lines over two axes."""

    ident: str
    title: str
    desc: str
    frame: Frame
    x_name: str
    y_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...]


def nice_ticks(low: float, high: float, most: int = 5) -> tuple[float, ...]:
    """At most `most` + 1 round numbers (1, 2 or 5 times a power of ten) that cover `low` to `high`."""
    if not high > low:
        low, high = low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(float(f"{i * step:.12g}") for i in range(first, last + 1))


def axis(name: str, values: Iterable[float], zero: bool = False, whole: bool = False, scale: float = 1.0) -> Axis:
    """An axis from round number to round number that holds all values.

    Args:
        zero: begins at zero, or ends there if all are negative.
        whole: leaves fractions unlabelled, for steps and epochs.
        scale: factor on the numbers shown.
    """
    found = [v * scale for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(found), max(found)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    ticks = nice_ticks(low, high)
    if whole:
        ticks = tuple(t for t in ticks if t == int(t) and low <= t <= high) or (low,)
        return Axis(name, low / scale, high / scale, tuple(t / scale for t in ticks), _labels(ticks))
    return Axis(name, ticks[0] / scale, ticks[-1] / scale, tuple(t / scale for t in ticks), _labels(ticks))


def _labels(ticks: Sequence[float]) -> tuple[str, ...]:
    if ticks and max(abs(t) for t in ticks) < 1e-3:
        return tuple(number.significant(t, 1) for t in ticks)
    digits = max((len(f"{t:.10g}".partition(".")[2]) for t in ticks if "e" not in f"{t:.10g}"), default=0)
    return tuple(f"{'' if t >= 0 else number.MINUS}{abs(t):,.{digits}f}" for t in ticks)


UNIT_TICKS, UNIT_LABELS = (0.0, 0.25, 0.5, 0.75, 1.0), ("0", "", "0.5", "", "1")


def unit_axis(name: str) -> Axis:
    """Nought to one."""
    return Axis(name, 0.0, 1.0, UNIT_TICKS, UNIT_LABELS)


def place(axis: Axis, start: float, end: float, value: float) -> float:
    """Pixels of a value, where the axis runs from `start` to `end`; the middle where all values are one."""
    span = axis.high - axis.low
    share = (value - axis.low) / span if span else 0.5
    return round(start + share * (end - start), 1)


def plot(ident: str, title: str, desc: str, axes: tuple[Axis, Axis], series: Sequence[Series], frame: Frame = Frame()) -> Plot:
    """Lines over two axes.

    Args:
        ident: unique in its page.
        desc: what a reader who cannot see the chart should know.
    """
    x, y = axes
    right, bottom = frame.width - frame.right, frame.height - frame.bottom

    def at(point: Point) -> Point:
        return place(x, frame.left, right, point[0]), place(y, bottom, frame.top, point[1])

    def curve(line: Series) -> Curve:
        spots = [at(p) if number.real(p[0]) and number.real(p[1]) else None for p in line.points]
        sizes = line.sizes or [2.5] * len(spots)
        dots = tuple(Dot(*s, size, text) for s, size, text in zip(spots, sizes, line.dots, strict=False) if s)
        return Curve(line.name, line.style, path_of(spots) if line.joined else "", dots)

    return Plot(
        ident,
        title,
        desc,
        frame,
        x.name,
        y.name,
        tuple(Tick(place(x, frame.left, right, t), label) for t, label in zip(x.ticks, x.labels, strict=True)),
        tuple(Tick(place(y, bottom, frame.top, t), label) for t, label in zip(y.ticks, y.labels, strict=True)),
        tuple(curve(s) for s in series),
    )


def path_of(spots: Sequence[Point | None]) -> str:
    """SVG path data through the points, broken where one is missing."""
    parts, pen = [], "M"
    for spot in spots:
        if spot is not None:
            parts.append(f"{pen}{spot[0]:g} {spot[1]:g}")
        pen = "M" if spot is None else "L"
    return "".join(parts)


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """The points, or means of so many even groups of them."""
    if len(points) <= most:
        return list(points)
    edges = [round(i * len(points) / most) for i in range(most + 1)]
    groups = [points[a:b] for a, b in itertools.pairwise(edges)]
    return [(sum(p[0] for p in g) / len(g), sum(p[1] for p in g) / len(g)) for g in groups]


def smoothed(points: Sequence[Point], keep: float = 0.9) -> list[Point]:
    """A running mean that forgets; unbiased at the start (Kingma & Ba's correction)."""
    mean, weight, line = 0.0, 0.0, []
    for x, y in points:
        mean, weight = keep * mean + (1 - keep) * y, keep * weight + (1 - keep)
        line.append((x, mean / weight))
    return line


# ---- rows: one line per set ---------------------------------------------------------------------------------------

SHAPES = ("circle", "square", "triangle", "diamond", "cross")
ROW, LABEL_CHARS = 26.0, 14


@dataclass(frozen=True)
class Item:
    """One value in a row, in the data's units; `low` and `high` draw a whisker where given."""

    value: float | None
    title: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """A labelled row of values; `note` stands at its right end."""

    label: str
    items: Sequence[Item]
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Spot:
    """One value, in pixels."""

    x: float
    low: float | None
    high: float | None
    title: str
    shape: str
    style: str


@dataclass(frozen=True)
class Drawn:
    """One row, in pixels; `span` joins its outermost values."""

    label: str
    short: str
    y: float
    note: str
    strong: bool
    spots: tuple[Spot, ...]
    span: tuple[float, float] | None


@dataclass(frozen=True)
class Rows:
    """Everything a template needs to draw values row by row; `zero` is where bars begin, `guide` a line of reference."""

    ident: str
    title: str
    desc: str
    frame: Frame
    x_name: str
    x_ticks: tuple[Tick, ...]
    rows: tuple[Drawn, ...]
    zero: float
    guide: float | None


def shortened(label: str, most: int = LABEL_CHARS) -> str:
    """The label, its end cut off where it is long."""
    return label if len(label) <= most else label[: most - 1].rstrip() + "…"


def rows(ident: str, title: str, desc: str, x: Axis, lines: Sequence[Row], guide: float | None = None) -> Rows:
    """One row per line, values along one axis.

    Args:
        guide: value at which a dashed line runs through all rows.
    """
    notes = max((len(line.note) for line in lines), default=0)
    labels = max((len(shortened(line.label)) for line in lines), default=0)
    frame = Frame(360.0, ROW * len(lines) + 44, 14 + 7.6 * labels, 12 + 7.8 * notes, 6.0, 38.0)
    right = frame.width - frame.right

    def px(value: float | None) -> float | None:
        return place(x, frame.left, right, value) if value is not None and math.isfinite(value) else None

    def drawn(i: int, line: Row) -> Drawn:
        spots = []
        for k, item in enumerate(line.items):
            at = px(item.value)
            if at is not None:
                spots.append(Spot(at, px(item.low), px(item.high), item.title, SHAPES[k % len(SHAPES)], f"c{k % 6 + 1}"))
        span = (min(s.x for s in spots), max(s.x for s in spots)) if len(spots) > 1 else None
        return Drawn(line.label, shortened(line.label), frame.top + ROW * (i + 0.5), line.note, line.strong, tuple(spots), span)

    ticks = tuple(Tick(place(x, frame.left, right, t), label) for t, label in zip(x.ticks, x.labels, strict=True))
    zero = place(x, frame.left, right, min(max(0.0, x.low), x.high))
    return Rows(ident, title, desc, frame, x.name, ticks, tuple(drawn(i, r) for i, r in enumerate(lines)), zero, px(guide))
