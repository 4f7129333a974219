"""Judged pictures: quality against the scores, by kind and level of distortion, and the pairs most misjudged with both their pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.errors import BadData
from pellucid.report import chart, maps, number, rated
from pellucid.report.read import Run

SOURCE = "results/qualities.json"
OPEN = 3  # sets that are unfolded
COLOURS = 6  # kinds that are told apart in a chart
QUARTER, MOST_QUARTERS = 0.25, 10
FRAME = chart.Frame(440.0, 330.0)


@dataclass(frozen=True)
class KindRow:
    """One kind of distortion, written out."""

    kind: str
    n: str
    srocc: str
    plcc: str
    rmse: str
    residual: str


@dataclass(frozen=True)
class LevelRow:
    """One level of distortion, written out."""

    level: str
    n: str
    label: str
    quality: str


@dataclass(frozen=True)
class MissView:
    """A misjudged pair; `lean` says by how much and to which side."""

    id: str
    what: str
    label: str
    quality: str
    lean: str
    image: str
    reference: str


@dataclass(frozen=True)
class SetView:
    """One set; `label` is what its labels are called, `legend` names the kinds whose dots have their own colours and shapes, by style."""

    name: str
    label: str
    note: str
    plot: chart.Plot | None
    legend: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    drawn: str
    kinds: tuple[KindRow, ...]
    levels: tuple[LevelRow, ...]
    misses: tuple[MissView, ...]
    preferences: str
    open: bool


@dataclass(frozen=True)
class QualitiesView:
    """The section; `label` is what the labels of all sets are called."""

    sets: tuple[SetView, ...]
    label: str
    has_weak: bool
    has_scores: bool
    has_kinds: bool
    has_misses: bool
    has_preferences: bool


def view(run: Run) -> QualitiesView | None:
    """What the template draws; None where the run judged no pictures.

    Raises:
        BadData: a picture that is none, or a curve that is not made of points.
    """
    found = run.qualities["sets"] if run.qualities else {}
    if not found:
        return None
    sets = tuple(_set(name, one, i) for i, (name, one) in enumerate(found.items()))
    return QualitiesView(
        sets,
        " or ".join(dict.fromkeys(one.label for one in sets if one.plot)),
        any(one.get("weak") for one in found.values()),
        any(one.plot for one in sets),
        any(one.kinds for one in sets),
        any(one.misses for one in sets),
        any(one.preferences for one in sets),
    )


def _set(name: str, found: rated.Qualities, index: int) -> SetView:
    where = f"{SOURCE}: {name}"
    points = [p for p in found["points"] if math.isfinite(p["label"]) and math.isfinite(p["quality"])]
    label = "weak label" if found.get("weak") else "score"
    kinds = list(dict.fromkeys(p.get("kind", "") for p in sorted(points, key=lambda p: p.get("kind", ""))))
    apart = 1 < len(kinds) <= COLOURS
    styles = {kind: f"c{i + 1}" if apart else "c1" for i, kind in enumerate(kinds)}
    numbers = found["numbers"]
    told = {"SROCC": "srocc", "PLCC": "plcc_5", "RMSE": "rmse_5"}
    spreads = [s for p in points if (s := p.get("spread")) is not None and s > 0]
    facts = [(title, number.fixed(numbers[metric])) for title, metric in told.items() if metric in numbers]
    facts += [("mean spread of predictions", number.significant(sum(spreads) / len(spreads), 2))] if spreads else []
    more = f"{number.count(len(points))} of {number.count(found['n'])} pairs are drawn" if len(points) < found["n"] else ""
    return SetView(
        name,
        label,
        f"{number.count(found['n'])} pairs" if found["n"] else f"{number.count((found.get('preferences') or {'n': 0})['n'])} preferences",
        _plot(name, index, points, styles, label, _curve(found, where)) if points else None,
        tuple((kind or "no kind", style) for kind, style in styles.items()) if apart else (),
        tuple(facts),
        more,
        tuple(_kind(kind, row) for kind, row in sorted(found["kinds"].items(), key=lambda pair: _hardest(pair[1]))),
        tuple(_level(row) for row in found["levels"]),
        tuple(_miss(one, label, where) for one in found["misses"]),
        _preferences(found.get("preferences")),
        index < OPEN,
    )


def _hardest(row: rated.Kind) -> tuple[bool, float]:
    """Kinds of low rank correlation first, those without one last."""
    srocc = row["srocc"]
    return (srocc is None or not math.isfinite(srocc), srocc or 0.0)


def _curve(found: rated.Qualities, where: str) -> list[chart.Point]:
    curve = found.get("curve") or []
    if not all(len(point) == 2 for point in curve):
        raise BadData(f"{where}: its curve is not made of points with two numbers; evaluate the run again")
    return [(point[0], point[1]) for point in curve]


def _plot(
    name: str, index: int, points: Sequence[rated.Rated], styles: dict[str, str], label: str, curve: Sequence[chart.Point]
) -> chart.Plot:
    """Label across, quality up; the line of equality, the fitted curve, and a dot for each pair."""
    x = _axis(f"{label} (1 = as good as the reference)", [p["label"] for p in points])
    y = _axis("predicted quality", [p["quality"] for p in points])
    low, high = max(x.low, y.low), min(x.high, y.high)
    series = [chart.Series("", [(low, low), (high, high)], "guide")] if low < high else []
    series += [chart.Series("", [point for point in curve if x.low <= point[0] <= x.high], "fit")] if curve else []
    by_style: dict[str, list[rated.Rated]] = {}
    for point in points:
        by_style.setdefault(styles[point.get("kind", "")], []).append(point)
    for style, some in sorted(by_style.items()):
        dots = [_title(point, label) for point in some]
        series.append(chart.Series("", [(p["label"], p["quality"]) for p in some], style, dots, joined=False))
    desc = f"{len(points)} pairs of {name}: {label} across, predicted quality up; both are better where higher."
    return chart.plot(f"quality-{index}", f"Predicted quality by {label} on {name}", desc, (x, y), series, FRAME)


def _axis(name: str, values: Sequence[float]) -> chart.Axis:
    """0 to 1 and as many quarters beyond as the values need; of values far beyond, round numbers."""
    low, high = math.floor(min(0.0, *values) / QUARTER), math.ceil(max(1.0, *values) / QUARTER)
    if high - low > MOST_QUARTERS:
        return chart.axis(name, values)
    ticks = tuple(i * QUARTER for i in range(low, high + 1))
    return chart.Axis(
        name,
        ticks[0],
        ticks[-1],
        ticks,
        tuple(number.fixed(tick, 2) if i % 2 == 0 else "" for i, tick in zip(range(low, high + 1), ticks, strict=True)),
    )


def _title(point: rated.Rated, label: str) -> str:
    told = f"{point['id']}: {label} {number.fixed(point['label'])}, quality {number.fixed(point['quality'])}"
    spread = point.get("spread")
    return told + (f" ± {number.significant(spread, 2)}" if spread else "") + (f", {what}" if (what := _what(point)) else "")


def _what(point: rated.Rated) -> str:
    kind, level = number.title(point.get("kind", "")), point.get("level")
    return f"{kind}{', ' if kind else ''}level {level}" if level is not None else kind


def _kind(kind: str, row: rated.Kind) -> KindRow:
    return KindRow(
        number.title(kind),
        number.count(row["n"]),
        number.fixed(row["srocc"]),
        number.fixed(row["plcc_5"]),
        number.fixed(row["rmse_5"]),
        number.signed(row.get("residual")),
    )


def _level(row: rated.Level) -> LevelRow:
    return LevelRow(str(row["level"]), number.count(row["n"]), number.fixed(row["label"]), number.fixed(row["quality"]))


def _miss(found: rated.Misjudged, label: str, where: str) -> MissView:
    for role in (found["image"], found["reference"]):
        if not maps.SOURCE.fullmatch(role):
            raise BadData(f"{where}: a picture of {found['id']!r} is no PNG or JPEG as base64 data; evaluate the run again")
    side = "too good" if found["over"] > 0 else "too bad"
    return MissView(
        found["id"],
        _what(found),
        f"{label} {number.fixed(found['label'])}",
        f"quality {number.fixed(found['quality'])}",
        f"{number.fixed(abs(found['over']), 2)} {side}",
        found["image"],
        found["reference"],
    )


def _preferences(found: rated.Preferences | None) -> str:
    if not found:
        return ""
    told = f"{number.percent(found['agreement'])} of {number.count(found['decided'])} decided preferences"
    return told + (f" ({number.count(found['n'])} in all)" if found["n"] > found["decided"] else "")
