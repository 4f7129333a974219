"""Verbs that train, or make what training starts from."""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pellucid import grids
from pellucid import recipe as recipes
from pellucid.errors import BadUsage
from pellucid.progress import Watching
from pellucid.recipe import Data
from pellucid.verbs.shared import Given, data_of, hold_gates, pairs, print_json, settings_of


def train(given: Given) -> int:
    """Trains, measures the test sets, prints them."""
    from pellucid import run

    settings: dict[str, Any] = settings_of(given) | _start(given)
    data = _own_data(given)
    with Watching(given.quiet) as watching:
        done = run.train(given.recipe, given.out, settings, data, watching.show)
    if done.fabric.is_global_zero:
        return _told(given, done.folder, given.gate)
    return 0


def _start(given: Given) -> dict[str, Any]:
    """The weights to start from; the prefixes given are beside the recipe's own."""
    settings: dict[str, Any] = {"init": given.init} if given.init else {}
    if not given.init_skip and not given.init_drop:
        return settings
    recipe = recipes.get(given.recipe)
    if not given.init and not recipe.init:
        raise BadUsage("--init-skip and --init-drop go with --init")
    return settings | {"init_skip": (*recipe.init_skip, *given.init_skip), "init_drop": (*recipe.init_drop, *given.init_drop)}


def _own_data(given: Given) -> dict[str, Data] | None:
    if not given.data:
        if given.dev or given.test:
            raise BadUsage("--dev and --test go with --data")
        return None
    sets = {"train": data_of(given, given.data)}
    if given.dev:
        sets["dev"] = data_of(given, given.dev)
    return sets | {name: data_of(given, source) for name, source in pairs("--test", given.test).items()}


def _told(given: Given, folder: pathlib.Path, gates: Sequence[str]) -> int:
    path = folder / "results" / "evaluate.json"
    found = json.loads(path.read_text())["sets"] if path.exists() else {}
    if found:
        Console().print(grids.measured(found))
    print(
        f"{folder}: explain, shift and report it with `pellucid shift {folder}`, `pellucid explain {folder}`, `pellucid report {folder}`",
        file=sys.stderr,
    )
    hold_gates(found, gates)
    return 0


def features(given: Given) -> int:
    """Local features of clips, as one line of what was made."""
    from pellucid.features import make

    made = make(given.recipe, data_of(given, given.source), given.out, settings_of(given), given.broken == "skip")
    if given.json:
        print_json(made.told())
    else:
        print(made)
    return 0


def demo(given: Given) -> int:
    """The main job on real text."""
    from pellucid import demo as main_job

    with Watching(given.quiet) as watching:
        print(main_job.main(pathlib.Path(given.out), given.quick, watching.show, lambda line: print(line, file=sys.stderr, flush=True)))
    return 0
