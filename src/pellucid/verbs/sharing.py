"""Verbs that carry weights out of a run, or into one."""

import pathlib

from pellucid.errors import BadUsage
from pellucid.verbs.shared import Given, data_of, print_json, settings_of


def export(given: Given) -> int:
    """The file's path, of several the one that tells of them, and how far its outputs are from the run's."""
    from pellucid import run

    done = run.load(given.run)
    data = data_of(given, given.data) if given.data else None
    found = done.export(given.to, out=given.out, size=given.size, data=data, stages=given.stages)
    if given.json:
        print_json(found)
    else:
        parity = found["parity"]
        sizes = ", ".join(str(next(iter(batch["shapes"].values()))[0]) for batch in parity["batches"])
        print(f"{found['file']}: equal to the run within {parity['largest_relative']:.1g} on batches of {sizes} examples")
    return 0


def convert(given: Given) -> int:
    """The new file's path, or the new run's folder, and what was done to its names."""
    from pellucid import convert as room

    if (given.recipe or given.set) and not given.to_run:
        raise BadUsage("--recipe and --set are of the run that --to-run FOLDER makes; give it, too")
    if given.to_run and not given.recipe:
        raise BadUsage("--to-run: the recipe says which network it is; give --recipe, as in --recipe updetr:detr_r50")
    if given.to_run and (given.out or given.to != "ours"):
        raise BadUsage("--to-run: a run has our names, in its folder; leave --out and --to away")
    file = pathlib.Path(given.file)
    if given.to_run:
        found = room.to_run(file, pathlib.Path(given.to_run), given.recipe, given.classes, settings_of(given))
    else:
        found = room.convert(file, pathlib.Path(given.out) if given.out else None, given.to, given.classes)
    if given.json:
        print_json(found)
    else:
        print(f"{found['file']}: {found['num_tensors']} tensors, {found['names']}")
    return 0
