"""The sections about confidence and data: reliability, detection, leaks, shortened examples."""

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.data.leaks import counts
from pellucid.report import chart, number, records
from pellucid.report.read import Run

LARGEST_DOT = 6.0
RECALL = 0.95


@dataclass(frozen=True)
class Reliability:
    """One set of section 5."""

    name: str
    plot: chart.Plot
    ece: str
    after: str
    temperature: str
    lean: str


def reliability(run: Run) -> list[Reliability] | None:
    """Section 5: a plot per set that has calibration."""
    sets = run.shift["sets"] if run.shift else {}
    known = [(name, s["calibration"]) for name, s in sets.items() if s.get("calibration")]
    return [_reliability(name, c, i) for i, (name, c) in enumerate(known) if c] or None


def _reliability(name: str, found: records.Calibration, index: int) -> Reliability:
    bins = [b for b in found["bins"] if b["n"] and number.real(b["confidence"]) and number.real(b["accuracy"])]
    points = [(b["confidence"] or 0.0, b["accuracy"] or 0.0) for b in bins]
    largest = max((b["n"] for b in bins), default=1)
    sizes = [1.5 + (LARGEST_DOT - 1.5) * (b["n"] / largest) ** 0.5 for b in bins]
    dots = [
        f"confidence {number.percent(c)}, accuracy {number.percent(a)}, {number.count(b['n'])} examples"
        for (c, a), b in zip(points, bins, strict=True)
    ]
    series = [chart.Series("", [(0.0, 0.0), (1.0, 1.0)], "guide"), chart.Series(name, points, "c1", dots, sizes)]
    ece, after = number.fixed(found["ece"]), found.get("ece_after")
    desc = f"Expected calibration error {ece}" + (f", {number.fixed(after)} after temperature." if after is not None else ".")
    plot = chart.plot(f"reliability-{index}", f"Reliability on {name}", desc, _squares("confidence", "accuracy"), series, chart.SQUARE)
    temperature = found.get("temperature")
    written = "" if temperature is None else number.fixed(temperature, 2)
    return Reliability(name, plot, ece, "" if after is None else number.fixed(after), written, _lean(points, [b["n"] for b in bins]))


def _squares(x: str, y: str) -> tuple[chart.Axis, chart.Axis]:
    return chart.unit_axis(x), chart.unit_axis(y)


def _lean(points: Sequence[chart.Point], counts: Sequence[int]) -> str:
    """On which side of the diagonal most examples are."""
    gap = sum(n * (c - a) for (c, a), n in zip(points, counts, strict=True)) / max(1, sum(counts))
    if abs(gap) < 0.005:
        return "confidence matches accuracy on average"
    return f"{'overconfident' if gap > 0 else 'underconfident'} by {number.fixed(abs(gap) * 100, 1)} points on average"


# ---- detection ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DetectorRow:
    """One method on one set."""

    method: str
    auroc: str
    aupr: str
    far95: str
    best: bool


@dataclass(frozen=True)
class DetectedSet:
    """One set of section 6."""

    name: str
    n: str
    base_rate: str
    rows: tuple[DetectorRow, ...]
    best: str
    plot: chart.Plot | None


@dataclass(frozen=True)
class DetectionView:
    """Section 6."""

    home: str
    positive: str
    sets: tuple[DetectedSet, ...]


def detection(run: Run) -> DetectionView | None:
    """Section 6: every method on every set, and the curve of the best."""
    found = run.detection
    if not found or not found["sets"]:
        return None
    sets = tuple(_detected(name, s, i) for i, (name, s) in enumerate(found["sets"].items()))
    return DetectionView(found["home"], found["positive"], sets)


def _detected(name: str, found: records.Detected, index: int) -> DetectedSet:
    known = {m: d["auroc"] for m, d in found["methods"].items() if d["auroc"] is not None and number.real(d["auroc"])}
    best = max(known, key=lambda m: known[m]) if known else ""
    rows = tuple(
        DetectorRow(
            number.title(m),
            number.fixed(d["auroc"]),
            number.fixed(d["aupr"]),
            number.percent(d["far95"]),
            known.get(m) == known.get(best, -1.0),
        )
        for m, d in found["methods"].items()
    )
    rate = next((d["base_rate"] for d in found["methods"].values() if number.real(d.get("base_rate"))), None)
    written = number.percent(rate) if rate is not None else ""
    plot = _roc(name, found["methods"], best, index) if best else None
    return DetectedSet(name, number.count(found["n"]), written, rows, number.title(best), plot)


def _roc(name: str, methods: dict[str, records.Detector], best: str, index: int) -> chart.Plot | None:
    """The best method in front, the others pale behind it, the 95% threshold marked."""
    curves = {m: [(p[0], p[1]) for p in d.get("roc", []) if len(p) == 2] for m, d in methods.items()}
    if not curves[best]:
        return None
    far = methods[best]["far95"]
    others = [chart.Series(number.title(m), points, "other") for m, points in curves.items() if m != best and points]
    front = chart.Series(number.title(best), curves[best], "c1")
    mark = [chart.Series("", [(far, RECALL)], "c1", [f"95% found at {number.percent(far)} false alarms"], [3.5])] if far is not None else []
    series = [chart.Series("", [(0.0, 0.0), (1.0, 1.0)], "guide"), *others, front, *mark]
    desc = (
        f"Best method {number.title(best)}, AUROC {number.fixed(methods[best]['auroc'])}, {number.percent(far)} false alarms at 95% found."
    )
    return chart.plot(f"roc-{index}", f"Telling {name} from home", desc, _squares("false alarms", "found"), series, chart.SQUARE)


# ---- data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataRow:
    """One set of section 7; empty where a file says nothing of it.

    Args:
        leaked: rows that the training set answers: where labels are known, those of the same label.
        contradicted: texts that have another label in the training set.
    """

    name: str
    n: str
    exact: str
    near: str
    leaked: bool
    contradicted: bool
    truncated: str


@dataclass(frozen=True)
class DataView:
    """Section 7."""

    train: str
    rows: tuple[DataRow, ...]
    examples: tuple[tuple[str, records.LeakedRow], ...]
    has_leaks: bool
    has_labels: bool
    has_truncated: bool
    clean: bool


def data(run: Run) -> DataView | None:
    """Section 7: repeated rows and shortened examples, by set."""
    leaks = run.leaks["sets"] if run.leaks else {}
    truncated = run.environment.get("truncated") or {}
    names = list(dict.fromkeys([*leaks, *truncated]))
    if not names:
        return None
    rows = tuple(_data_row(name, leaks.get(name), truncated.get(name)) for name in names)
    examples = tuple((name, row) for name, found in leaks.items() for row in found.get("examples", []))
    train = number.count(run.leaks["train"]) if run.leaks else ""
    labels = any("same_label" in found for found in leaks.values())
    clean = not any(found["exact"] or found["near"] for found in leaks.values())
    return DataView(train, rows, examples, bool(leaks), labels, bool(truncated), clean)


def _data_row(name: str, found: records.Leaked | None, truncated: float | None) -> DataRow:
    share = "" if truncated is None else number.percent(truncated)
    if found is None:
        return DataRow(name, "", "", "", False, False, share)
    answered = found.get("same_label", found["exact"]) + found.get("near_same_label", found["near"])
    return DataRow(name, number.count(found["n"]), *counts(found), answered > 0, found.get("other_label", 0) > 0, share)
