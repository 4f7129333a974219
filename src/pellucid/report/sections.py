"""What each section of a report shows, or None where the run has nothing to show there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.report import chart, number, records
from pellucid.report.read import Run

MODEL_FIELDS = ("model", "encoder", "backbone", "pretrained", "weights")
SMOOTH_FROM = 30  # points from which a loss curve is drawn smoothed over its raw self


# ---- setting ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """Section 2: what was run, where, and how to run it again."""

    recipe: str
    task: str
    model: str
    facts: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, str], ...]
    command: str


def setting(run: Run) -> Setting:
    """Always there: a run has a recipe."""
    env, task = run.environment, run.recipe.get("task")
    settings = task if isinstance(task, dict) else {}
    model = next((str(settings[k]) for k in MODEL_FIELDS if isinstance(settings.get(k), (str, int))), "")
    name = str(run.recipe.get("recipe") or run.name)
    kind = env.get("task") or (task if isinstance(task, str) else "")
    return Setting(
        name,
        number.title(kind),
        model,
        tuple(_facts(env)),
        tuple(flat(run.recipe)),
        env.get("command") or f"pellucid train {name} --out runs/again",
    )


def _facts(env: records.Environment) -> list[tuple[str, str]]:
    parameters, commit = env.get("num_parameters"), env.get("commit")
    shown = {
        "training time": number.duration(env["train_time_s"]) if number.real(env.get("train_time_s")) else "",
        "parameters": number.count(parameters) if parameters is not None else "",
        "seed": "" if env.get("seed") is None else str(env["seed"]),
        "processes": "" if env.get("processes") is None else str(env["processes"]),
        "pellucid": env.get("pellucid", ""),
        "torch": env.get("torch", ""),
        "python": env.get("python", ""),
        "commit": commit[:12] if commit else "",
    }
    return [(name, value) for name, value in shown.items() if value]


def flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every value of nested mappings by dotted name; an empty mapping says so."""
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", _plain(value)))
    return found


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(v) for v in value) or "none"
    return "none" if value is None or value == {} else str(value)


# ---- learning -----------------------------------------------------------------------------------------------------


def learning(run: Run) -> list[chart.Plot] | None:
    """Section 3: loss and its parts by step, each dev metric by epoch, the learning rate."""
    train = _lines(run.logged, "train/", "step")
    dev = _lines(run.logged, "dev/", "epoch")
    rate = _points(run.logged, "step", "lr")
    plots = [_loss_plot(train)] if train else []
    plots += [_dev_plot(name, points, i) for i, (name, points) in enumerate(dev.items())]
    if len(rate) > 1:
        axes = (
            chart.axis("step", [p[0] for p in rate], zero=True, whole=True),
            chart.axis("learning rate", [p[1] for p in rate], zero=True),
        )
        line = [chart.Series("learning rate", chart.thinned(rate), "c3")]
        highest = max(p[1] for p in rate)
        plots.append(chart.plot("rate", "Learning rate", f"Highest {number.significant(highest)}.", axes, line))
    return plots or None


def _lines(logged: Sequence[Mapping[str, Any]], prefix: str, x: str) -> dict[str, list[chart.Point]]:
    names = list(dict.fromkeys(key for row in logged for key in row if key.startswith(prefix)))
    found = {name.removeprefix(prefix): _points(logged, x, name) for name in names}
    return {name: points for name, points in found.items() if points}


def _points(logged: Sequence[Mapping[str, Any]], x: str, y: str) -> list[chart.Point]:
    """Finite values in order; of a step logged twice (a resumed run) the later counts."""
    rows = {row.get(x, row["step"]): row[y] for row in logged if number.real(row.get(y))}
    return sorted((float(k), float(v)) for k, v in rows.items() if number.real(k))


def _loss_plot(lines: dict[str, list[chart.Point]]) -> chart.Plot:
    everything = [p for points in lines.values() for p in points]
    axes = (
        chart.axis("step", [p[0] for p in everything], zero=True, whole=True),
        chart.axis("training loss", [p[1] for p in everything], zero=True),
    )
    series: list[chart.Series] = []
    for i, (name, points) in enumerate(lines.items()):
        style = f"c{i % 6 + 1}"
        if len(points) >= SMOOTH_FROM:
            series.append(chart.Series("", chart.thinned(points), f"{style} faint"))
            points = chart.smoothed(points)
        series.append(chart.Series(number.title(name), chart.thinned(points), style))
    first = next(iter(lines.values()))
    desc = f"From {number.significant(first[0][1])} at step {first[0][0]:g} to {number.significant(first[-1][1])} at step {first[-1][0]:g}."
    return chart.plot("loss", "Training loss", desc, axes, series)


def _dev_plot(name: str, points: list[chart.Point], index: int) -> chart.Plot:
    unit = number.unit_of(name, [p[1] for p in points])
    y_name = f"Dev {number.title(name)}" + (f" ({unit.mark})" if unit.mark else "")
    axes = (chart.axis("epoch", [p[0] for p in points], whole=True), chart.axis(y_name, [p[1] for p in points], scale=unit.scale))
    dots = [f"epoch {x:g}: {unit.value(y)}" for x, y in points]
    desc = "; ".join(dots[-8:]) + "."
    return chart.plot(f"dev-{index}", y_name, desc, axes, [chart.Series(number.title(name), points, "c2", dots)])


# ---- home and elsewhere -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One metric of one set, written out; `tone` is worse, better or empty."""

    value: str
    interval: str
    change: str
    change_interval: str
    tone: str


@dataclass(frozen=True)
class SetRow:
    """One row of the home and shift table."""

    name: str
    n: str
    is_home: bool
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class ShiftView:
    """Section 4."""

    home: str
    metrics: tuple[str, ...]
    rows: tuple[SetRow, ...]
    bars: tuple[chart.Rows, ...]
    has_changes: bool
    noun: str


def shifted(run: Run) -> ShiftView | None:
    """Section 4: every measured set, home first; sets that only `evaluate` saw have no interval."""
    home = run.shift["home"] if run.shift else ""
    sets: dict[str, Any] = dict(run.evaluate["sets"]) if run.evaluate else {}
    sets = {**(run.shift["sets"] if run.shift else {}), **{k: v for k, v in sets.items() if not run.shift or k not in run.shift["sets"]}}
    if not sets:
        return None
    ordered = {**({home: sets[home]} if home in sets else {}), **sets}
    measured = list(dict.fromkeys(m for s in ordered.values() for m in s["metrics"]))
    main = [m for m in (run.shift.get("headlines") if run.shift else None) or measured[:1] if m in measured]
    metrics = list(dict.fromkeys((*main, *measured)))
    units = {m: number.unit_of(m, [s["metrics"][m]["value"] for s in ordered.values() if m in s["metrics"]]) for m in metrics}
    table = tuple(
        SetRow(name, number.count(s["n"]), name == home, tuple(_cell(s["metrics"].get(m), units[m], name == home) for m in metrics))
        for name, s in ordered.items()
    )
    changes = any(cell and cell.change for row in table for cell in row.cells)
    names = tuple(number.title(m) for m in metrics)
    bars = tuple(drawn for m in main if (drawn := _bars(ordered, m, units[m], home)))
    return ShiftView(home, names, table, bars, changes, units[metrics[0]].noun if metrics else "")


def _cell(found: records.Shifted | None, unit: number.Unit, is_home: bool) -> Cell | None:
    if found is None:
        return None
    change = found.get("drop")
    written = "" if is_home or change is None else unit.change(change)
    low, high = found.get("drop_low"), found.get("drop_high")
    clear = low is None or high is None or low > 0 or high < 0
    tone = ""
    if written and clear and change:
        tone = "better" if (change > 0) == found["higher_is_better"] else "worse"
    span = unit.interval(low, high) if written else ""
    return Cell(unit.value(found["value"]), unit.interval(found.get("low"), found.get("high")), written, span, tone)


def _bars(sets: Mapping[str, Any], metric: str, unit: number.Unit, home: str) -> chart.Rows | None:
    found = {
        name: s["metrics"][metric] for name, s in sets.items() if metric in s["metrics"] and number.real(s["metrics"][metric]["value"])
    }
    if not found:
        return None
    ends = [m.get(key) for m in found.values() for key in ("value", "low", "high")]
    name = number.title(metric) + (f" ({unit.mark})" if unit.mark else "")
    x = chart.axis(name, [e for e in ends if e is not None], zero=True, scale=unit.scale)
    lines = [
        chart.Row(
            set_name,
            [
                chart.Item(
                    m["value"],
                    f"{set_name}: {unit.value(m['value'])} {unit.interval(m.get('low'), m.get('high'))}".strip(),
                    m.get("low"),
                    m.get("high"),
                )
            ],
            unit.value(m["value"]),
            set_name == home,
        )
        for set_name, m in found.items()
    ]
    desc = "; ".join(line.items[0].title for line in lines) + "."
    return chart.rows(
        f"sets-{metric}", f"{number.title(metric)} by set".capitalize(), desc, x, lines, found[home]["value"] if home in found else None
    )


# ---- comparison ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CompareCell:
    """One number of the comparison, and whether none in its column is better."""

    text: str
    best: bool


@dataclass(frozen=True)
class CompareView:
    """The models side by side."""

    metric: str
    home: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[CompareCell, ...]], ...]
    has_changes: bool
    dots: chart.Rows | None
    noun: str


def compared(run: Run) -> CompareView | None:
    """The comparison of section 4, where the run made one."""
    found = run.comparison
    if not found or not found["rows"]:
        return None
    higher = run.higher_is_better(found["metric"])
    unit = number.unit_of(found["metric"], [v for row in found["rows"] for v in row["values"].values()])
    columns = [[row["values"].get(c) for row in found["rows"]] for c in found["columns"]]
    changes = [row.get("mean_drop") for row in found["rows"]]
    has_changes = any(number.real(c) for c in changes)
    written = [_column(values, unit.value, higher) for values in columns]
    if has_changes:
        written.append(_column(changes, unit.change, higher))
    lines = tuple((row["name"], tuple(column[i] for column in written)) for i, row in enumerate(found["rows"]))
    return CompareView(
        number.title(found["metric"]), found["home"], tuple(found["columns"]), lines, has_changes, _dots(found, unit), unit.noun
    )


def _column(values: Sequence[float | None], write: Any, higher: bool) -> list[CompareCell]:
    known = [v for v in values if v is not None and number.real(v)]
    best = (max if higher else min)(known) if len(known) > 1 else None
    return [CompareCell(write(v), v is not None and v == best) for v in values]


def _dots(found: records.Comparison, unit: number.Unit) -> chart.Rows | None:
    known = [v for row in found["rows"] for v in row["values"].values() if v is not None and number.real(v)]
    if not known:
        return None
    name = number.title(found["metric"]) + (f" ({unit.mark})" if unit.mark else "")
    lines = [
        chart.Row(
            c, [chart.Item(row["values"].get(c), f"{row['name']} on {c}: {unit.value(row['values'].get(c))}") for row in found["rows"]]
        )
        for c in found["columns"]
    ]
    desc = " ".join("; ".join(item.title for item in line.items) + "." for line in lines)
    return chart.rows("models", "The models on each set", desc, chart.axis(name, known, scale=unit.scale), lines)
