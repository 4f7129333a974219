"""Results as plain tables for the terminal; no cell is ever cut."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

WIDEST = 4  # metrics side by side
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
    """Sets by metrics: the first with its interval and the drop from home; then corruptions by severity, where they were measured."""
    first, *others = list(next(iter(found["sets"].values()))["metrics"])[:WIDEST]
    spoiled = found.get("corruption")
    away = {name: row for name, row in found["sets"].items() if not (spoiled and _is_corrupted(name, found))}
    rows = []
    for name, row in away.items():
        main = row["metrics"][first]
        drop = "home" if name == found["home"] else figure(main["drop"], sign=True)
        ece = figure(row["calibration"]["ece"]) if row["calibration"] else ""
        interval = f"[{figure(main['low'])}, {figure(main['high'])}]"
        rest = [figure(row["metrics"][m]["value"]) for m in others]
        rows.append([name, str(row["n"]), figure(main["value"]), interval, drop, *rest, ece])
    return [grid("", ["set", "n", first, "95%", "drop", *others, "ECE"], rows), *([corruption(spoiled)] if spoiled else [])]


def _is_corrupted(name: str, found: Mapping[str, Any]) -> bool:
    return any(name.startswith(f"{found['home']}/{kind}-") for kind in found["corruption"]["kinds"])


def corruption(found: Mapping[str, Any]) -> Table:
    """The first metric by kind and severity, its mean, and the error as a share of the baseline's."""
    severities = list(next(iter(found["kinds"].values()))["values"])
    against = [f"error / {found['baseline']}"] if found["baseline"] else []
    rows = [
        [kind, *(figure(row["values"][s]) for s in severities), figure(row["mean"]), *([figure(row["error"])] if against else [])]
        for kind, row in found["kinds"].items()
    ]
    known = [[v for r in found["kinds"].values() if (v := r["values"][s]) is not None] for s in severities]
    rows.append(["mean", *(figure(fmean(some) if some else None) for some in known), figure(found["mean"])])
    title = f"{found['metric']} under corruption (clean {figure(found['clean'])})"
    if against:
        rows[-1].append(figure(found["mce"]))
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
