"""A paper's table: every cell trained over seeds, measured on every set, printed beside what was claimed."""

import importlib
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

import numpy as np

from pellucid import checkpoint, recipe, run
from pellucid import study as studies
from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage
from pellucid.paper import LEFT_OUT, Cell, Study, Table
from pellucid.shift import matrix
from pellucid.shift.corruption import set_name
from pellucid.train.loop import Progress


@dataclass(frozen=True)
class Wanted:
    """Which part of a table.

    Args:
        only: a text that a cell's group, training set or model contains; empty takes all.
        num_seeds: the first so many of the table's seeds; 0 takes all.
        runs: folder of the runs.
    """

    only: str = ""
    num_seeds: int = 0
    runs: pathlib.Path = pathlib.Path("runs/tables")


def find(name: str) -> Table | Study:
    """The table or study that a recipe file of the package defines.

    Raises:
        BadUsage: there is none.
    """
    if name not in recipe.places():
        raise BadUsage(f"no table {name!r}" + nearest(name, recipe.places()))
    module = importlib.import_module(f"pellucid.recipes.{name}")
    makes = getattr(module, "table", None) or getattr(module, "study", None)
    if makes is None:
        raise BadUsage(f"{name} has recipes but no table; `pellucid list recipes` names them")
    return makes()


def measure(name: str, wanted: Wanted, train: bool, watch: Callable[[Progress], None], say: Callable[[str], None]) -> dict[str, Any]:
    """Numbers of every wanted cell and seed that has been run; with `train`, after running those that have not.

    Raises:
        BadData: nothing has been run.
    """
    table = find(name)
    if isinstance(table, Study):
        found = studies.measure(table, wanted.runs / name, wanted.only, train, watch, say)
        if not found:
            raise BadData(f"no runs of table {name!r} in {wanted.runs}; add --run to train them")
        return {"name": name, "title": table.title, "notes": table.notes, "main": table.main, "sets": found}
    rows = []
    for cell, seed in _jobs(table, wanted):
        folder = wanted.runs / name / f"{cell.train}-{cell.model}-{seed}".replace(" ", "_").replace("/", "_")
        if not (folder / "results" / "shift.json").exists():
            if not train:
                continue
            say(f"{cell.group}: {cell.model} on {cell.train}, seed {seed}")
            one = replace(cell.recipe, loop=replace(cell.recipe.loop, seed=seed))
            one = _resplit(one, seed) if cell.resplit else one
            if cell.first:
                one = replace(one, init=str(_before(cell.first, wanted.runs / name, watch, say)))
            trained = run.train(one, folder, watch=watch, measure=False)
            trained.shift(corrupt=cell.corrupt, site="last" if one.outliers else None, resamples=200)
        rows += _rows(cell, seed, folder, table.metrics)
    if not rows:
        raise BadData(f"no runs of table {name!r} in {wanted.runs}; add --run to train them")
    return {"name": name, "title": table.title, "notes": table.notes, "rows": rows}


def _resplit(one: recipe.Recipe, seed: int) -> recipe.Recipe:
    """The recipe with the parts of its sets drawn by another seed."""
    dev, tests = one.dev and replace(one.dev, seed=seed), {name: replace(d, seed=seed) if d.part else d for name, d in one.tests.items()}
    return replace(one, train=replace(one.train, seed=seed), dev=dev, tests=tests)


def _before(first: recipe.Recipe, runs: pathlib.Path, watch: Callable[[Progress], None], say: Callable[[str], None]) -> pathlib.Path:
    """The folder of what a cell starts from, trained once."""
    folder = runs / first.name.replace(":", "-")
    if not (folder / "results" / "evaluate.json").exists():
        say(f"first {first.name}")
        run.train(first, folder, watch=watch)
    return folder


def _jobs(table: Table, wanted: Wanted) -> Iterator[tuple[Cell, int]]:
    seeds = table.seeds[: wanted.num_seeds or None]
    cells = [c for c in table.cells if wanted.only.lower() in f"{c.group} {c.train} {c.model}".lower()]
    if not cells:
        raise BadUsage(f"--only {wanted.only}: no such cell; there are {', '.join(dict.fromkeys(c.group for c in table.cells))}")
    return ((cell, seed) for seed in seeds for cell in cells if not cell.fixed or seed == table.seeds[0])


def _rows(cell: Cell, seed: int, folder: pathlib.Path, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """What a run is worth by each metric that it has; corruption and detection are told with the first."""
    shift = json.loads((folder / "results" / "shift.json").read_text())
    known = list(shift["sets"][shift["home"]]["metrics"])
    first, *others = [name for name in metrics or known[:1] if name in known]
    return [_row(cell, seed, folder, first), *({**_row(cell, seed, folder, name), "corruption": {}, "detection": {}} for name in others)]


def _row(cell: Cell, seed: int, folder: pathlib.Path, metric: str) -> dict[str, Any]:
    results = folder / "results"
    shift = json.loads((results / "shift.json").read_text())
    found = json.loads((results / "detection.json").read_text()) if (results / "detection.json").exists() else {"sets": {}}
    environment = json.loads((results / "environment.json").read_text())
    spoiled = shift.get("corruption") or {"kinds": {}}
    copies = {set_name(shift["home"], kind, int(s)) for kind, told in spoiled["kinds"].items() for s in told["values"]}
    plain = {name: row for name, row in shift["sets"].items() if name not in copies}
    detection = {s: {m: {k: v[k] for k in ("auroc", "far95")} for m, v in row["methods"].items()} for s, row in found["sets"].items()}
    return {
        "group": cell.group,
        "train": cell.train,
        "model": cell.model,
        "seed": seed,
        "fixed": cell.fixed,
        "metric": metric,
        "home": shift["home"],
        "values": {name: _number(row["metrics"][metric]["value"]) for name, row in plain.items()},
        "sizes": {name: row["n"] for name, row in plain.items()},
        "ece": {name: row["calibration"]["ece"] for name, row in plain.items() if row["calibration"]},
        "corruption": {kind: told["values"] for kind, told in spoiled["kinds"].items()},
        "detection": {name: detection[name] for name in cell.recipe.outliers if name in detection},
        "claims": dict(cell.recipe.claims),
        "train_time_s": environment["train_time_s"],
    }


def _number(value: float | None) -> float:
    """A correlation that is not defined (a model that says the same of all) counts as 0."""
    return 0.0 if value is None else value


# ---- printing ---------------------------------------------------------------------------------------------------------


def write(found: dict[str, Any], folder: pathlib.Path) -> None:
    """Writes `NAME.json` and `NAME.md`."""
    checkpoint.write_json(folder / f"{found['name']}.json", found)
    (folder / f"{found['name']}.md").write_text(markdown(found) + "\n", encoding="utf-8")


def markdown(found: dict[str, Any]) -> str:
    """A table per group: models by sets, mean and spread over seeds, the drop, and a verdict in words; then detection."""
    if "sets" in found:
        return studies.markdown(found["title"], found["notes"], found["main"], found["sets"])
    rows = found["rows"]
    lines = [f"# {found['title']}", "", found["notes"], ""] if found["notes"] else [f"# {found['title']}", ""]
    for group in dict.fromkeys(r["group"] for r in rows):
        of_group = [r for r in rows if r["group"] == group]
        lines += [f"## {group}", ""]
        for train, metric in dict.fromkeys((r["train"], r["metric"]) for r in of_group):
            lines += _one_table([r for r in of_group if (r["train"], r["metric"]) == (train, metric)], train)
        main = [r for r in of_group if r["metric"] == of_group[0]["metric"]]
        lines += _together(main) or _matrices(main)
    return "\n".join([*lines, *_corruption(rows), *_detection(rows)])


def _one_table(rows: list[dict[str, Any]], train: str) -> list[str]:
    sets, home, metric = list(rows[0]["values"]), rows[0]["home"], rows[0]["metric"]
    away = [s for s in sets if s != home]
    seeds = len({r["seed"] for r in rows})
    sizes = ", ".join(f"{s} {rows[0]['sizes'][s]}" for s in sets)
    claimed = any(r["claims"] for r in rows)
    head = [f"trained on {train}", *(f"{s}{' (home)' if s == home else ''}" for s in sets), *(["mean drop"] if away else [])]
    lines = ["| " + " | ".join(head + (["claimed"] if claimed else [])) + " |", "|---" * (len(head) + claimed) + "|"]
    drops: dict[str, float] = {}
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = [r for r in rows if r["model"] == model]
        cells = [_spread([100 * r["values"][s] for r in mine if s in r["values"]]) for s in sets]
        drop = [100 * (np.mean([r["values"][s] for s in away if s in r["values"]]) - r["values"][home]) for r in mine] if away else []
        drops[model] = float(np.mean(drop)) if drop else 0.0
        claims = [", ".join(f"{k} {v}" for k, v in mine[0]["claims"].items())] if claimed else []
        fewer = f" ({len(mine)} of {seeds} seeds)" if len(mine) < seeds and not mine[0].get("fixed") else ""
        lines.append("| " + " | ".join([model + fewer, *cells, *([_spread(drop, sign=True)] if away else []), *claims]) + " |")
    return [
        *lines,
        "",
        f"{metric} x 100, mean ± standard deviation of {seeds} seed{'s' * (seeds > 1)}; test rows: {sizes}.",
        *_verdict(rows, away, home, drops),
    ]


def _together(rows: list[dict[str, Any]]) -> list[str]:
    """The mean over what was trained on, where each training set leaves out what it is tested on: one set of that name for all."""
    trains = list(dict.fromkeys(r["train"] for r in rows))
    if len(trains) < 2 or any(list(r["values"]) != [LEFT_OUT] for r in rows):
        return []
    lines = [f"| {len(trains)} splits | mean | median | least and most |", "|---|---|---|---|"]
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = {t: fmean(r["values"][LEFT_OUT] for r in rows if r["train"] == t and r["model"] == model) for t in trains}
        values = [100 * value for value in mine.values()]
        lines.append(f"| {model} | {fmean(values):.1f} | {median(values):.1f} | {min(values):.1f} to {max(values):.1f} |")
    return [*lines, "", f"{rows[0]['metric']} x 100 of the splits, each the mean of its seeds.", ""]


def _matrices(rows: list[dict[str, Any]]) -> list[str]:
    """Train domains by test domains, one matrix a model, where a group has several of both."""
    if len({r["train"] for r in rows}) < 2:
        return []
    lines = ["Train domains by test domains, mean ± half the 95% interval over seeds:", ""]
    for model in dict.fromkeys(r["model"] for r in rows):
        values: dict[tuple[str, str], list[float]] = {}
        for row in (r for r in rows if r["model"] == model):
            for test, value in row["values"].items():
                values.setdefault((row["train"], test), []).append(value)
        lines += [f"*{model}*", "", matrix.markdown(matrix.matrix(values))]
    return lines


def _spread(values: list[float], sign: bool = False) -> str:
    if not values:
        return ""  # not measured on this set
    mean = f"{np.mean(values):+.1f}" if sign else f"{np.mean(values):.1f}"
    return f"{mean} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else mean


def _verdict(rows: list[dict[str, Any]], away: list[str], home: str, drops: dict[str, float]) -> list[str]:
    """Where the first model, the pretrained one, does not win, in words."""
    models = list(dict.fromkeys(r["model"] for r in rows))
    lost = []
    for name in [home, *away]:
        of_model = {m: [100 * r["values"][name] for r in rows if r["model"] == m and name in r["values"]] for m in models}
        means = {m: fmean(values) for m, values in of_model.items() if values}
        first = means[models[0]]
        lost += [f"{m} is better on {name} ({mean:.1f} against {first:.1f})" for m, mean in means.items() if mean > first]
    if away:
        lost += [
            f"{m} loses less away ({drops[m]:+.1f} against {drops[models[0]]:+.1f})" for m in models[1:] if drops[m] > drops[models[0]]
        ]
    if len(models) < 2:
        return [""]
    return [
        "",
        f"**Where {models[0]} does not win:** {'; '.join(lost)}." if lost else f"{models[0]} is best on every set and loses least away.",
        "",
    ]


def _corruption(rows: list[dict[str, Any]]) -> list[str]:
    """Kinds of corruption by models, a table for each set, means over severities and seeds."""
    lines: list[str] = []
    for train in dict.fromkeys(r["train"] for r in rows if r.get("corruption")):
        mine = [r for r in rows if r["train"] == train and r.get("corruption")]
        models, kinds = list(dict.fromkeys(r["model"] for r in mine)), mine[0]["corruption"]
        severities = ", ".join(next(iter(kinds.values())))
        lines += [f"Corrupted {train}, {mine[0]['metric']} x 100, mean of severities {severities}", ""]
        lines += ["| " + " | ".join(["kind", *models]) + " |", "|---" * (len(models) + 1) + "|"]
        seen = {m: [[100 * fmean(r["corruption"][k].values()) for k in kinds] for r in mine if r["model"] == m] for m in models}
        for i, kind in enumerate(kinds):
            lines.append(f"| {kind.replace('_', ' ')} | " + " | ".join(_spread([row[i] for row in seen[m]]) for m in models) + " |")
        lines += ["| **mean** | " + " | ".join(_spread([fmean(row) for row in seen[m]]) for m in models) + " |", ""]
    return ["## Corruption", "", *lines] if lines else []


def _detection(rows: list[dict[str, Any]]) -> list[str]:
    told = [r for r in rows if r["detection"]]
    if not told:
        return []
    lines = [
        "## Detection",
        "",
        "AUROC / FAR95, mean over seeds. FAR95: share of home alarmed when 95% of the other set is caught; 0.95 is chance.",
        "",
    ]
    for home in dict.fromkeys(r["train"] for r in told):
        mine = [r for r in told if r["train"] == home]
        sets = list(mine[0]["detection"])
        lines += ["| " + " | ".join([f"home {home}", "score", *sets]) + " |", "|---" * (len(sets) + 2) + "|"]
        for model in dict.fromkeys(r["model"] for r in mine):
            of_model = [r for r in mine if r["model"] == model]
            for method in next(iter(of_model[0]["detection"].values())):
                numbers = [[np.mean([r["detection"][s][method][k] for r in of_model]) for k in ("auroc", "far95")] for s in sets]
                lines.append(f"| {model} | {method} | " + " | ".join(f"{a:.3f} / {f:.3f}" for a, f in numbers) + " |")
        lines.append("")
    return lines
