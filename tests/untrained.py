"""Runs that were never trained: all that a verb needs of one, in no time."""

import pathlib

from pellucid import checkpoint, run
from pellucid import recipe as recipes
from pellucid.data.read import read


def made(name: str, folder: pathlib.Path, **settings: str) -> run.Run:
    """The recipe's task as it is before training, kept in a folder as a run."""
    chosen = recipes.override(recipes.get(name), settings)
    task = chosen.task.build(read(chosen.train))
    folder.mkdir()
    if hasattr(chosen.task, "write"):
        chosen.task.write(task, folder / "preprocessing")
    checkpoint.save(task.model.state_dict(), folder / "model.safetensors")
    (folder / "recipe.yaml").write_text(recipes.to_yaml(chosen))
    return run.load(folder)
