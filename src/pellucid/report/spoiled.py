"""The table of corruptions: the first metric by kind and severity, and errors against a baseline."""

from dataclasses import dataclass, replace

from pellucid.data.corrupt import PICTURES
from pellucid.report import chart, number, records
from pellucid.report.read import Run


@dataclass(frozen=True)
class View:
    """Part of section 4.

    Args:
        sentences: what the numbers are, and the mean corruption error where there is a baseline.
        columns: severities, the mean, perhaps the error.
        curves: the metric by severity, from home itself on, of each kind that was measured at several.
    """

    sentences: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    curves: tuple[chart.Plot, ...] = ()


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
    kinds, baseline = found["kinds"], found.get("baseline")
    severities = list(next(iter(kinds.values()))["values"])
    unit = number.unit_of(found["metric"], [found["clean"], *(v for row in kinds.values() for v in row["values"].values())])
    rows = [
        (
            number.title(kind),
            [*(unit.value(row["values"].get(s)) for s in severities), unit.value(row["mean"]), number.fixed(row.get("error"))],
        )
        for kind, row in kinds.items()
    ]
    means = [[v for row in kinds.values() if (v := row["values"].get(s)) is not None] for s in severities]
    last = [unit.value(sum(m) / len(m)) if m else number.MISSING for m in means]
    rows.append(("mean", [*last, unit.value(found["mean"]), number.fixed(found.get("mce"))]))
    columns = [*(f"severity {s}" for s in severities), "mean", f"error / {baseline}"]
    end = len(columns) if baseline else -1
    sentences = [f"{number.title(found['metric']).capitalize()} of corrupted copies of home; of home itself {unit.value(found['clean'])}."]
    if baseline:
        every = f"all {'15 ' if any(kind in PICTURES for kind in kinds) else ''}kinds and five severities"
        over = every if found.get("complete") else "the kinds and severities measured"
        mce, relative = number.fixed(found.get("mce")), number.fixed(found.get("relative_mce"))
        sentences.append(f"Mean corruption error against {baseline} over {over}: {mce} (relative {relative}); 1 is as bad as {baseline}.")
    curves = _curves(found) if len(severities) > 1 else ()
    return View(tuple(sentences), tuple(columns[:end]), tuple((kind, tuple(cells[:end])) for kind, cells in rows), curves)


def _curves(found: records.Corruption) -> tuple[chart.Plot, ...]:
    """A small chart for each kind, all on the axes of all."""
    clean, metric = found["clean"], number.title(found["metric"])
    told = {kind: [(float(s), v) for s, v in row["values"].items() if v is not None] for kind, row in found["kinds"].items()}
    every = [clean, *(v for points in told.values() for _, v in points)]
    known = [v for v in every if v is not None and number.real(v)]
    steps = sorted({step for points in told.values() for step, _ in points})
    if not known or not steps or clean is None:
        return ()
    axes = (chart.axis("severity", [0.0, *steps], whole=True), chart.axis(metric, known, zero=True))
    return tuple(_curve(i, kind, points, clean, axes) for i, (kind, points) in enumerate(told.items()) if points)


def _curve(i: int, kind: str, points: list[chart.Point], clean: float, axes: tuple[chart.Axis, chart.Axis]) -> chart.Plot:
    name, (severity, metric) = number.title(kind), axes
    line = [(0.0, clean), *points]
    titles = ["home", *(f"severity {step:g}: {number.fixed(value)}" for step, value in points)]
    level = chart.Series("home", [(severity.low, clean), (severity.high, clean)], "random")
    desc = f"{metric.name} {number.fixed(clean)} at home, {number.fixed(points[-1][1])} at severity {points[-1][0]:g}."
    return chart.plot(f"spoiled-{i}", name, desc, axes, [level, chart.Series(name, line, "c1", titles)], chart.SMALL)
