"""The table of corruptions: a run's metrics by kind and severity, and errors of the first against a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pellucid.data.corrupt import PICTURES
from pellucid.report import chart, number, records
from pellucid.report.read import Run

LEVEL = "random"  # style of what is at home
Measured = records.Corruption | records.SpoiledBeside


@dataclass(frozen=True)
class View:
    """Part of section 4.

    Args:
        sentences: what the numbers are, and the mean corruption error where there is a baseline.
        columns: severities, the mean, perhaps the error; of several metrics one after the other.
        curves: the metrics by severity, from home itself on, of each kind that was measured at several.
        legend: the metrics, as curves have them.
    """

    sentences: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    curves: tuple[chart.Plot, ...] = ()
    legend: tuple[chart.Curve, ...] = ()


def without_copies(run: Run) -> Run:
    """The run without its corrupted sets, which `view` tells: up to 95 of them would bury all else."""
    found = run.shift.get("corruption") if run.shift else None
    if not run.shift or not found:
        return run
    names = tuple(f"{run.shift['home']}/{kind}-" for kind in found["kinds"])
    sets = {name: one for name, one in run.shift["sets"].items() if not name.startswith(names)}
    return replace(run, shift={**run.shift, "sets": sets})


def view(run: Run) -> View | None:
    """What corrupted copies of home cost; None where none were measured."""
    found = run.shift.get("corruption") if run.shift else None
    if not found or not found["kinds"]:
        return None
    baseline, several = found.get("baseline"), _metrics(found)
    severities = list(next(iter(found["kinds"].values()))["values"])
    parts, units = [], [_unit(name, one) for name, one in several.items()]
    for (name, one), unit in zip(several.items(), units, strict=True):
        prefix = f"{number.title(name)}, " if len(several) > 1 else ""
        parts.append(([f"{prefix}{column}" for column in (*(f"severity {s}" for s in severities), "mean")], _cells(one, severities, unit)))
        if baseline and one is found:
            errors = [*(row.get("error") for row in found["kinds"].values()), found.get("mce")]
            parts.append(([f"error / {baseline}"], [[number.fixed(error)] for error in errors]))
    cells = [tuple(cell for _, rows in parts for cell in rows[i]) for i in range(len(found["kinds"]) + 1)]
    names = [*map(number.title, found["kinds"]), "mean"]
    clean = " and ".join(unit.value(one["clean"]) for one, unit in zip(several.values(), units, strict=True))
    told = " and ".join(map(number.title, several))
    sentences = [f"{told[:1].upper()}{told[1:]} of corrupted copies of home; of home itself {clean}."]
    if baseline:
        sentences.append(_against(found, baseline))
    curves = _curves(several) if len(severities) > 1 else ()
    legend = tuple(curve for curve in curves[0].curves if curve.style != LEVEL) if curves and len(several) > 1 else ()
    columns = tuple(column for some, _ in parts for column in some)
    return View(tuple(sentences), columns, tuple(zip(names, cells, strict=True)), curves, legend)


def _metrics(found: records.Corruption) -> dict[str, Measured]:
    """What was measured, by the metric's name, the first first."""
    return {found["metric"]: found, **(found.get("beside") or {})}


def _unit(metric: str, found: Measured) -> number.Unit:
    return number.unit_of(metric, [found["clean"], *(v for row in found["kinds"].values() for v in row["values"].values())])


def _cells(found: Measured, severities: Sequence[str], unit: number.Unit) -> list[list[str]]:
    """One metric's values of each kind, and at last their means."""
    kinds = found["kinds"].values()
    rows = [[*(unit.value(row["values"].get(s)) for s in severities), unit.value(row["mean"])] for row in kinds]
    means = [[v for row in kinds if (v := row["values"].get(s)) is not None] for s in severities]
    return [*rows, [*(unit.value(sum(m) / len(m)) if m else number.MISSING for m in means), unit.value(found["mean"])]]


def _against(found: records.Corruption, baseline: str) -> str:
    every = f"all {'15 ' if any(kind in PICTURES for kind in found['kinds']) else ''}kinds and five severities"
    over = every if found.get("complete") else "the kinds and severities measured"
    mce, relative = number.fixed(found.get("mce")), number.fixed(found.get("relative_mce"))
    return f"Mean corruption error against {baseline} over {over}: {mce} (relative {relative}); 1 is as bad as {baseline}."


def _curves(several: Mapping[str, Measured]) -> tuple[chart.Plot, ...]:
    """A small chart for each kind, all on the axes of all."""
    rows = [row for one in several.values() for row in one["kinds"].values()]
    every = [*(one["clean"] for one in several.values()), *(v for row in rows for v in row["values"].values())]
    known = [v for v in every if v is not None and number.real(v)]
    steps = sorted({float(s) for row in rows for s, v in row["values"].items() if v is not None})
    if not known or not steps or any(one["clean"] is None for one in several.values()):
        return ()
    name = ", ".join(map(number.title, several))
    axes = (chart.axis("severity", [0.0, *steps], whole=True), chart.axis(name, known, zero=True))
    kinds = next(iter(several.values()))["kinds"]
    drawn = (_curve(i, kind, several, axes) for i, kind in enumerate(kinds))
    return tuple(plot for plot in drawn if plot)


def _curve(i: int, kind: str, several: Mapping[str, Measured], axes: tuple[chart.Axis, chart.Axis]) -> chart.Plot | None:
    levels, lines, told = [], [], []
    for k, (metric, one) in enumerate(several.items()):
        points = [(float(s), v) for s, v in one["kinds"][kind]["values"].items() if v is not None]
        clean = one["clean"] or 0.0
        if points:
            name = number.title(metric if len(several) > 1 else kind)
            titles = ["home", *(f"severity {step:g}: {number.fixed(value)}" for step, value in points)]
            levels.append(chart.Series("home", [(axes[0].low, clean), (axes[0].high, clean)], LEVEL))
            lines.append(chart.Series(name, [(0.0, clean), *points], f"c{k + 1}", titles))
            step, last = points[-1]
            told.append(f"{number.title(metric)} {number.fixed(clean)} at home, {number.fixed(last)} at severity {step:g}.")
    return chart.plot(f"spoiled-{i}", number.title(kind), " ".join(told), axes, [*levels, *lines], chart.SMALL) if lines else None
