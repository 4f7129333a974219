"""The main job on real text: equal at home, a far smaller drop elsewhere than a bag of words; and the reasons."""

import pathlib
import time
from collections.abc import Callable
from typing import Any

from pellucid import checkpoint, recipe, run
from pellucid.recipe import Recipe
from pellucid.train.loop import Progress

MODELS = {"MiniLM": "robustness:minilm", "bag of words": "robustness:bow"}
QUICK = {"mean of word vectors": "robustness:tiny_average", "bag of words": "robustness:tiny"}


def main(out: pathlib.Path, quick: bool, watch: Callable[[Progress], None], say: Callable[[str], None]) -> str:
    """Trains both models, measures, explains, writes the first one's page; gives the table that says it all."""
    began, found = time.monotonic(), dict[str, dict[str, Any]]()
    chosen = {name: recipe.get(place) for name, place in (QUICK if quick else MODELS).items()}
    first = next(iter(chosen))
    for name, one in chosen.items():
        say(f"{name}: training on {one.train.source}")
        trained = run.train(one, _folder(out, one, quick), watch=watch, measure=False)
        say(f"{name}: measuring {', '.join(one.tests)}")
        found[name] = trained.shift()
        if name == first:
            shipped = trained
    say("explaining")
    shipped.explain(num=2)
    rows = comparison(found)
    checkpoint.write_json(shipped.folder / "results" / "comparison.json", rows)
    page = shipped.report()
    say(f"done in {time.monotonic() - began:.0f} s")
    return f"{as_text(rows)}\n\n{page}"


def _folder(out: pathlib.Path, one: Recipe, quick: bool) -> pathlib.Path:
    return out / ("quick" if quick else "") / one.name.partition(":")[2]


def comparison(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Models by sets: the first metric, and the mean drop from home."""
    first = next(iter(found.values()))
    home, sets = first["home"], list(first["sets"])
    metric = next(iter(first["sets"][home]["metrics"]))
    rows = []
    for name, one in found.items():
        values = {s: one["sets"][s]["metrics"][metric]["value"] for s in sets}
        away = [values[s] for s in sets if s != home]
        rows.append({"name": name, "values": values, "mean_drop": sum(away) / len(away) - values[home]})
    return {"columns": sets, "home": home, "metric": metric, "rows": rows}


def as_text(rows: dict[str, Any]) -> str:
    """The comparison as a table of percentages."""
    width = max(len(row["name"]) for row in rows["rows"])
    head = " " * width + "".join(f"  {c + (' (home)' if c == rows['home'] else ''):>14}" for c in rows["columns"]) + f"  {'mean drop':>10}"
    lines = [rows["metric"] + ", %", head]
    for row in rows["rows"]:
        cells = "".join(f"  {100 * row['values'][c]:>14.1f}" for c in rows["columns"])
        lines.append(f"{row['name']:<{width}}{cells}  {100 * row['mean_drop']:>+10.1f}")
    return "\n".join(lines)
