"""What training starts from: a folder of its own, data, and weights read, given our names, loaded strictly, every key accounted for."""

import logging
import pathlib
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

import pellucid
from pellucid import checkpoint
from pellucid import recipe as recipes
from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data, Recipe
from pellucid.task import Task

log = logging.getLogger("pellucid")


def start(task: Task, recipe: Recipe, expected: Sequence[str] = ()) -> dict[str, Any]:
    """Loads the weights that `recipe.init` names into the task's model; gives what became of every key.

    Published names that are none of ours go through the task's `translate`, where it has one; prefixes are of our names. What the task
    calls `unread` is left out.

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
        drop = (*recipe.init_drop, *getattr(task, "unread", ()))
        fit = checkpoint.load_into(task.model, tensors, str(file), recipe.init_skip, drop)
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


# ---- data and folder --------------------------------------------------------------------------------------------------


def own_data(recipe: Recipe, data: Mapping[str, Data]) -> Recipe:
    """The recipe on other data; a missing dev or test set is held out of the training rows."""
    if "train" not in data:
        raise BadUsage("data without a training set")
    whole = data["train"]
    rest = {name: d for name, d in data.items() if name not in ("train", "dev")}
    dev = data.get("dev") or replace(whole, part="dev")
    tests = rest or {"home": replace(whole, part="test")}
    cut = "dev" not in data or not rest
    return replace(recipe, train=replace(whole, part="train") if cut else whole, dev=dev, tests=tests, outliers={}, claims={})


def claim(folder: pathlib.Path, recipe: Recipe) -> None:
    """Makes the folder this recipe's own.

    Raises:
        BadUsage: it holds another run or other files, or cannot be written.
    """
    note = folder / "recipe.yaml"
    text = recipes.to_yaml(recipe)
    try:
        if note.is_file():
            if note.read_text(encoding="utf-8") != text:
                raise BadUsage(f"{folder} holds another run ({_difference(note.read_text(encoding='utf-8'), text)}); choose another --out")
            return
        if folder.is_dir() and any(folder.iterdir()):
            raise BadUsage(f"{folder} is not empty and holds no run; choose another --out")
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(note, text)
    except OSError as error:
        raise BadUsage(f"--out {folder}: cannot be written ({error.strerror})") from None


def _difference(old: str, new: str) -> str:
    first = next((a for a in old.splitlines() if a not in new.splitlines()), "")
    return f"it has {first.strip()!r}" if first else "it has fewer settings"


def environment(task: Task, folder: pathlib.Path, **told: Any) -> dict[str, Any]:
    """What trained a run, on what, and the command that would do it again; with `told` beside it."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, check=False)
    return {
        "task": type(task).__name__,
        "pellucid": pellucid.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
        "num_parameters": sum(p.numel() for p in task.model.parameters()),
        **told,
        "command": f"pellucid train {folder}/recipe.yaml --out NEW_FOLDER",
    }
