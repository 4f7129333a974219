"""Results as plain tables for the terminal; no cell is ever cut."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

WIDEST = 4  # metrics side by side
COLUMNS = 8  # of numbers, in a line of 80 letters
SHORT = {"max_softmax": "softmax", "mahalanobis": "Mahal.", "nearest_neighbours": "kNN"}


def figure(value: float | None, sign: bool = False) -> str:
    """Three decimals; n/a where there is no number."""
    return "n/a" if value is None or value != value else f"{value:{'+' if sign else ''}.3f}"


def grid(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of text cells under a title, if any."""
    table = Table(*head, title=title or None, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        table.add_row(*row)
    return table


def measured(sets: Mapping[str, Any]) -> Table:
    """Sets by metrics, or, where those are too many for a line, metrics by sets."""
    metrics = list(next(iter(sets.values()))["metrics"])
    if len(metrics) > WIDEST:
        head = ["", *(f"{name} ({row['n']})" for name, row in sets.items())]
        return grid("", head, [[m, *(figure(row["metrics"][m]["value"]) for row in sets.values())] for m in metrics])
    rows = [[name, str(row["n"]), *(figure(m["value"]) for m in row["metrics"].values())] for name, row in sets.items()]
    return grid("", ["set", "n", *metrics], rows)


def shift(found: Mapping[str, Any]) -> list[Table]:
    """Sets by metrics: the first with its interval and the drop from home; then corruptions by severity, where they were measured.

    Of a run with several headlines these alone, with their drops; there is no room for intervals, which the page has.
    """
    every = list(next(iter(found["sets"].values()))["metrics"])
    main = found.get("headlines") or every[:1]
    others = every[1:WIDEST] if len(main) == 1 else []
    spoiled = found.get("corruption")
    away = {name: row for name, row in found["sets"].items() if not (spoiled and _is_corrupted(name, found))}
    rows = []
    for name, row in away.items():
        ece = figure(row["calibration"]["ece"]) if row["calibration"] else ""
        told = [cell for m in main for cell in _dropped(row["metrics"][m], name == found["home"], len(main) == 1)]
        rest = [figure(row["metrics"][m]["value"]) for m in others]
        rows.append([name, str(row["n"]), *told, *rest, ece])
    head = ["set", "n", *(cell for m in main for cell in (m, *(["95%"] if len(main) == 1 else []), "drop")), *others, "ECE"]
    return [grid("", head, rows), *(corruption(spoiled) if spoiled else [])]


def _dropped(found: Mapping[str, Any], at_home: bool, whole: bool) -> list[str]:
    interval = [f"[{figure(found['low'])}, {figure(found['high'])}]"] if whole else []
    return [figure(found["value"]), *interval, "home" if at_home else figure(found["drop"], sign=True)]


def _is_corrupted(name: str, found: Mapping[str, Any]) -> bool:
    return any(name.startswith(f"{found['home']}/{kind}-") for kind in found["corruption"]["kinds"])


def corruption(found: Mapping[str, Any]) -> list[Table]:
    """The first metric by kind and severity, its mean, and the error as a share of the baseline's; then those beside it.

    Where few severities were measured and no errors, the metrics stand side by side in one table.
    """
    several = {found["metric"]: found, **(found.get("beside") or {})}
    severities = list(next(iter(found["kinds"].values()))["values"])
    if len(several) == 1 or found["baseline"] or len(several) * (len(severities) + 1) > COLUMNS:
        beside = [{"baseline": None, **one, "metric": name} for name, one in (found.get("beside") or {}).items()]
        return [_spoiled(one) for one in (found, *beside)]
    parts = [_cells(one, severities) for one in several.values()]
    head = [f"{name} {severity}" for name in several for severity in (*severities, "mean")]
    rows = [[kind, *(cell for part in parts for cell in part[kind])] for kind in parts[0]]
    clean = ", ".join(f"{name} {figure(one['clean'])}" for name, one in several.items())
    return [grid(f"{' and '.join(several)} under corruption (clean {clean})", ["corruption", *head], rows)]


def _cells(found: Mapping[str, Any], severities: Sequence[str]) -> dict[str, list[str]]:
    """By kind and for their mean the values of one metric, and their mean."""
    rows = {kind: [*(figure(row["values"][s]) for s in severities), figure(row["mean"])] for kind, row in found["kinds"].items()}
    known = [[v for r in found["kinds"].values() if (v := r["values"][s]) is not None] for s in severities]
    return {**rows, "mean": [*(figure(fmean(some) if some else None) for some in known), figure(found["mean"])]}


def _spoiled(found: Mapping[str, Any]) -> Table:
    severities = list(next(iter(found["kinds"].values()))["values"])
    against = [f"error / {found['baseline']}"] if found["baseline"] else []
    errors = {kind: row.get("error") for kind, row in found["kinds"].items()} | {"mean": found.get("mce")}
    cells = _cells(found, severities)
    rows = [[kind, *told, *([figure(errors[kind])] if against else [])] for kind, told in cells.items()]
    title = f"{found['metric']} under corruption (clean {figure(found['clean'])})"
    if against:
        which = "" if found["complete"] else ", of the kinds and severities measured"
        title += f"; mean corruption error {figure(found['mce'])}, relative {figure(found['relative_mce'])}{which}"
    return grid(title, ["corruption", *severities, "mean", *against], rows)


def detection(found: Mapping[str, Any]) -> list[Table]:
    """Sets by methods, AUROC and FAR95; out of distribution is the positive class."""
    head = ["set", "n", *(SHORT.get(m, m) for m in next(iter(found["sets"].values()))["methods"])]
    titles = {"auroc": f"told from {found['home']}: AUROC (1 is perfect)", "far95": "FAR95 (0 is perfect, 0.95 is chance)"}
    return [
        grid(title, head, [[n, str(row["n"]), *(figure(m[key]) for m in row["methods"].values())] for n, row in found["sets"].items()])
        for key, title in titles.items()
    ]


def explanation(console: Console, record: Mapping[str, Any], unit: str) -> None:
    """One example: a line about it, then for each method its checks and the coloured words, or its map, then the layers."""
    from pellucid.explain import mosaic, render

    told = f"{record['set']} {record['id']}: {_named(record['prediction'])} ({unit} {record['score']:.3f})"
    asked = f", explained as {record['answer']}" if record["answer"] not in (None, record["prediction"]) else ""
    labelled = f", labelled {_named(record['label'])}" if record["label"] is not None else ""
    console.print(told + labelled + asked, highlight=False, style="bold", markup=False)
    if "picture" in record:
        console.print(mosaic.maps(record, console.width))
        blank = any(None in one["relevance"] for one in record["methods"].values())
        where = "patches by row,column from the left upper corner" + ("; of blank ones nothing is told" if blank else "")
        console.print(render.legend([], [], unit), f"[dim]{where}[/dim]", highlight=False)
        if "flow" in record:
            console.print(mosaic.flow(record, console.width))
    else:
        _over_words(console, record, unit)
        if "flow" in record:
            console.print(render.flow(record["words"], record["flow"], console.width))
    for site, other in record.get("beside", {}).items():
        console.print(f"the same at {site}", highlight=False, style="bold", markup=False)
        if "picture" in other:
            console.print(mosaic.maps({**record, **other}, console.width))
        else:
            _over_words(console, other, unit)


def _over_words(console: Console, record: Mapping[str, Any], unit: str) -> None:
    """For each method its checks and the coloured words."""
    from pellucid.explain import render

    for name, one in record["methods"].items():
        curve = one["degradation"]
        area = f"  area {curve['area']:+.3f}, at random {curve['random_area']:+.3f}" if curve else ""
        gap = f"  gap {one['gap']:+.1%}" if one["gap"] is not None else ""
        console.print(f"  {name}{area}{gap}", highlight=False)
        console.print("   ", render.coloured(record["words"], one["relevance"]))
        if one["checks"]:
            console.print("   ", render.checks(one["checks"]))
    if record["methods"]:
        console.print("   ", render.legend(record["words"], next(iter(record["methods"].values()))["relevance"], unit))


def matrices(console: Console, records: Sequence[Mapping[str, Any]]) -> None:
    """All that was asked of one text: a line about it, then for each method the answers below each other over the words."""
    from pellucid.explain import render

    first = records[0]
    labelled = f", labelled {_named(first['label'])}" if first["label"] is not None else ""
    console.print(f"{first['set']} {first['id']}: {_named(first['prediction'])}{labelled}", highlight=False, style="bold", markup=False)
    for name in first["methods"]:
        rows = [(record["answer"], record["methods"][name]["relevance"]) for record in records]
        console.print(f"  {name}", highlight=False)
        console.print(Padding(render.matrix(rows, first["words"], console.width - 4), (0, 0, 0, 4)))


def _named(value: Any) -> str:
    """A label, several in a row, or numbers by name."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {figure(number) if isinstance(number, float) else number}" for name, number in value.items())
    return (", ".join(map(str, value)) or "none") if isinstance(value, (list, tuple)) else str(value)
