"""Verbs that measure a run and write what was measured."""

import json
import pathlib
import sys

from rich.console import Console

from pellucid import grids
from pellucid.errors import BadUsage
from pellucid.recipe import Data
from pellucid.verbs.shared import Given, data_of, hold_gates, names, opened, print_json


def evaluate(given: Given) -> int:
    """Metrics of the recipe's test sets, or of --data, perhaps of --predictions for it, which leaves the run's own results as they are."""
    from pellucid import judging

    if given.predictions and not given.data:
        raise BadUsage(f"--predictions {given.predictions}: needs --data, the examples that they are for")
    done = opened(given)
    if given.predictions:
        found = judging.measured(done, data_of(given, given.data), given.predictions)
    else:
        found = done.measured({pathlib.Path(given.data).name: data_of(given, given.data)}) if given.data else done.evaluate()
    if done.fabric.is_global_zero:
        for name, why in next(iter(found["sets"].values())).get("unmeasured", {}).items():
            print(f"{name}: n/a ({why})", file=sys.stderr)
        if given.json:
            print_json(found)
        else:
            Console().print(grids.measured(found["sets"]))
        hold_gates(found["sets"], given.gate)
    return 0


def shift(given: Given) -> int:
    """The shift table and the detection table."""
    from pellucid import run

    done = run.load(given.run)
    tests = _sets(given) if given.home or given.away else None
    site = None if given.site == "none" else given.site
    found = done.shift(tests, severities(given.corrupt), site, kinds=names(given.kinds), against=given.against or None)
    if given.json:
        print_json(found)
    elif done.fabric.is_global_zero:
        Console().print(*grids.shift(found))
        path = done.folder / "results" / "detection.json"
        if path.exists():
            Console().print(*grids.detection(json.loads(path.read_text())))
    return 0


def _sets(given: Given) -> dict[str, Data]:
    if not given.home:
        raise BadUsage("--away needs --home, the set it is compared with")
    away = [entry.split("=", 1) if "=" in entry.split(":")[0] else (entry, entry) for entry in given.away]
    return {"home": data_of(given, given.home)} | {name: data_of(given, source) for name, source in away}


def severities(text: str) -> list[int]:
    """`1-5` or `1,3` as numbers.

    Raises:
        BadUsage: not severities.
    """
    try:
        first, _, last = text.partition("-")
        found = list(range(int(first), int(last) + 1)) if last else [int(s) for s in text.split(",") if s]
    except ValueError:
        found = [0]
    if any(not 1 <= s <= 5 for s in found):
        raise BadUsage(f"--corrupt {text}: expected severities between 1 and 5, as in 1-5 or 1,3")
    return found


def report(given: Given) -> int:
    """The page's path."""
    from pellucid.report import page

    path = page.write(pathlib.Path(given.run))
    print(json.dumps({"report": str(path)}) if given.json else path)
    return 0
