"""Verbs that carry weights out of a run, or into one."""

import pathlib

from pellucid.verbs.shared import Given, data_of, print_json


def export(given: Given) -> int:
    """The file's path, and how far its outputs are from the run's."""
    from pellucid import run

    done = run.load(given.run)
    found = done.export(given.to, out=given.out, size=given.size, data=data_of(given, given.data) if given.data else None)
    if given.json:
        print_json(found)
    else:
        parity = found["parity"]
        sizes = ", ".join(str(next(iter(batch["shapes"].values()))[0]) for batch in parity["batches"])
        print(f"{found['file']}: equal to the run within {parity['largest_relative']:.1g} on batches of {sizes} examples")
    return 0


def convert(given: Given) -> int:
    """The new file's path, and what was done to its names."""
    from pellucid.convert import convert as made

    found = made(pathlib.Path(given.file), pathlib.Path(given.out) if given.out else None)
    if given.json:
        print_json(found)
    else:
        print(f"{found['file']}: {found['num_tensors']} tensors, {found['names']}")
    return 0
