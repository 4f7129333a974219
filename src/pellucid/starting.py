"""The weights that training starts from: read, given our names, loaded strictly, and every key accounted for."""

import logging
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from pellucid import checkpoint
from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Recipe
from pellucid.task import Task

log = logging.getLogger("pellucid")


def start(task: Task, recipe: Recipe, expected: Sequence[str] = ()) -> dict[str, Any]:
    """Loads the weights that `recipe.init` names into the task's model; gives what became of every key.

    Published names that are none of ours go through the task's `translate`, where it has one; prefixes are of our names.

    Args:
        expected: prefixes that may fit nothing; any other is a typing error if it does.
    Raises:
        BadData: no such file, or keys that do not fit and are not left out by name.
        BadUsage: a prefix that fits no key.
        UnsafeInput: the file is a pickle.
    """
    place = pathlib.Path(recipe.init)
    file = place / "model.safetensors" if place.is_dir() else place
    tensors, own = checkpoint.load(file), list(task.model.state_dict())
    foreign = hasattr(task, "translate") and not any(key in tensors for key in own)
    if foreign:
        tensors = task.translate(tensors)  # type: ignore[attr-defined]
    _require("init_drop", [p for p in recipe.init_drop if p not in expected], tensors)
    _require("init_skip", [p for p in recipe.init_skip if p not in expected], own)
    try:
        fit = checkpoint.load_into(task.model, tensors, str(file), recipe.init_skip, recipe.init_drop)
    except BadData as error:
        raise BadData(f"{error}; init_drop leaves keys of the file out by prefix, init_skip keeps the model's own") from None
    return {"source": str(file), "translated": foreign, **vars(fit)}


def _require(field: str, prefixes: Sequence[str], keys: Iterable[str]) -> None:
    for prefix in prefixes:
        if not any(key.startswith(prefix) for key in keys):
            rooms = {".".join(key.split(".")[:depth]) + "." for key in keys for depth in (1, 2) if key.count(".") >= depth}
            raise BadUsage(f"{field}: no key begins with {prefix!r}" + nearest(prefix, sorted(rooms)))


def tell(started: dict[str, Any]) -> None:
    """The same in three lines of the log."""
    names = ", by their published names" if started["translated"] else ""
    log.warning("%s: %d weights loaded%s", started["source"], len(started["loaded"]), names)
    for what, keys in (("of the file left out", started["dropped"]), ("of the model fresh", started["fresh"])):
        log.warning("%d %s%s", len(keys), what, f": {checkpoint.few(keys, 12)}" if keys else "")
