"""Published weights as safetensors under names that fit here, as a run that predicts, and a run's weights under others' names.

Only tensors are read of a file, and nothing of it is run.
"""

import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from pellucid import checkpoint
from pellucid import recipe as recipes
from pellucid.checkpoint import Tensors
from pellucid.data import pickles
from pellucid.data.categories import categories
from pellucid.data.pictures import write_labels
from pellucid.errors import BadData, BadUsage
from pellucid.nn import detr_names, tresnet
from pellucid.tasks.grounding import names as mdetr_names

NAMES = ("ours", *detr_names.KINDS)  # whose names a file of a DETR's weights can be written under; of an MDETR's, the first two
_MDETR = {"official": mdetr_names.WHOSE, "ours": "ours"}
_BY_ID = ("official", "hf")  # whose published class heads have a row for each number up to the classes' largest


def convert(file: pathlib.Path, out: pathlib.Path | None = None, to: str = "ours", classes: str = "") -> dict[str, Any]:
    """Writes the tensors of a file, or of a run, as safetensors; gives the `file`, `num_tensors` and what became of `names`.

    A DETR's or an MDETR's are turned into our names, or those of `to`; a TResNet's in-place norms become plain ones, under timm's names;
    all other names stay. Where a checkpoint has an average of the weights, `model_ema`, it is what is taken.

    Args:
        file: ending in .pth, .pt, .bin or .safetensors, or the folder of a run or a Hugging Face model.
        out: by default the same name, ending in .safetensors; in a run, `export/TO.safetensors`.
        to: one of `NAMES`.
        classes: what `categories` takes: the class head keeps these alone, in their order; under official and Hugging Face's names,
            each in the row of its number.
    Raises:
        BadUsage: `out` is no name of a safetensors file, or is there already; names or classes are asked of another network's weights.
        BadData: no such file, or none of tensors, or a DETR's or MDETR's with a key that has no place.
        UnsafeInput: it holds more than tensors, plain values and flags.
    """
    place = out or (file / "export" / f"{to}.safetensors" if file.is_dir() else file.with_suffix(".safetensors"))
    if place.suffix != ".safetensors":
        raise BadUsage(f"{place}: a safetensors file ends in .safetensors")
    if place.exists():
        raise BadUsage(f"{place}: is there already; remove it, or name another file with --out")
    tensors = _read(file)
    if mdetr_names.kind_of(tensors):  # before a DETR, whose names it has, too
        written, names = _mdetr(file, tensors, to, classes)
    elif detr_names.kind_of(tensors):
        written, names = _detr(file, tensors, to, classes)
    elif to != "ours" or classes:
        raise BadUsage(f"{file}: no weights of a DETR or an MDETR, which alone have others' names")
    elif tresnet.is_official(tensors):
        written, names = tresnet.from_official(tensors), "the official TResNet's names turned into timm's"
    else:
        written, names = tensors, "names as they were"
    checkpoint.save(written, place)
    return {"file": str(place), "num_tensors": len(written), "names": names}


def to_run(
    file: pathlib.Path, folder: pathlib.Path, recipe: str, classes: str = "", settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Makes a run of published weights of a DETR, an MDETR or a VTAMIQ, which predicts, is evaluated and explained like a trained one.

    Gives the run's folder as `file`, `num_tensors`, and what became of `names`.

    Args:
        recipe: the name of one of the same network, as updetr:detr_r50 or vtamiq:legacy; an MDETR's weights show its sizes and heads, and
            the recipe's `task.text` names the text encoder's folder, of whose weights nothing is read.
        classes: what `categories` takes; by default COCO's, where the class head is one of theirs. None for weights of pre-training.
        settings: fields of the recipe by dotted name.
    Raises:
        BadUsage: the folder is taken, or it is not known which classes the weights tell.
        BadData: no such file, or the weights are not of the recipe's network.
        UnsafeInput: the file holds more than tensors, plain values and flags.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadUsage(f"{folder}: is there already; remove it, or name another folder with --to-run")
    chosen = recipes.override(recipes.get(recipe), settings or {})
    if hasattr(chosen.task, "vit"):
        return _quality_run(file, folder, chosen)
    if hasattr(chosen.task, "word_threshold"):
        return _grounding_run(file, folder, chosen, classes)
    if not hasattr(chosen.task, "num_queries"):
        raise BadUsage(f"--recipe {recipe}: its task has no DETR, MDETR or VTAMIQ; give one that has, as updetr:detr_r50 or vtamiq:legacy")
    tensors, kind = _ours(file, _read(file))
    labels: list[str] = []
    if hasattr(chosen.task, "write"):
        tensors, labels = _labelled(file, tensors, classes)
    from pellucid.starting import claim  # heavy, and not needed for what is refused above

    with tempfile.TemporaryDirectory() as temporary:
        described = pathlib.Path(temporary)
        if labels:
            write_labels(labels, described)
        task = chosen.task.read(described)
    _load(task.model, detr_names.ours(tensors)[0], file)
    claim(folder, chosen)
    if labels:
        chosen.task.write(task, folder / "preprocessing")
    checkpoint.save(task.model.state_dict(), folder / "model.safetensors")
    return {"file": str(folder), "num_tensors": len(tensors), "names": _told(kind, "ours", len(labels))}


def _quality_run(file: pathlib.Path, folder: pathlib.Path, chosen: recipes.Recipe) -> dict[str, Any]:
    from pellucid.starting import claim
    from pellucid.tasks.quality.names import is_published

    tensors = _read(file)
    if not is_published(tensors):
        raise BadData(f"{file}: no VTAMIQ under the names of its authors' programs")
    with tempfile.TemporaryDirectory() as nothing:
        task = chosen.task.read(pathlib.Path(nothing))
    _load(task.model, task.translate(tensors), file)
    claim(folder, chosen)
    checkpoint.save(task.model.state_dict(), folder / "model.safetensors")
    return {"file": str(folder), "num_tensors": len(tensors), "names": "VTAMIQ's names turned into ours"}


def _grounding_run(file: pathlib.Path, folder: pathlib.Path, chosen: recipes.Recipe, classes: str) -> dict[str, Any]:
    from pellucid.starting import claim
    from pellucid.tasks.grounding import published

    if classes:
        raise BadUsage("--classes: an MDETR has none, its boxes answer words; leave it away")
    tensors, kind = _our_mdetr(file, _read(file))
    try:
        settings = published.recognised(tensors, chosen.task)
    except BadData as error:
        raise BadData(f"{file}: {error}") from None
    task = published.task_of(settings)
    left_out = _load(task.model, mdetr_names.ours(tensors), file, task.unread)
    claim(folder, replace(chosen, task=settings))
    chosen.task.write(task, folder / "preprocessing")
    checkpoint.save(task.model.state_dict(), folder / "model.safetensors")
    told = _told(kind, "ours", whose=_MDETR)
    seen = [f"{name}={value}" for name, value in vars(settings).items() if value != getattr(chosen.task, name)]
    told += f"; the weights say {', '.join(seen)}" if seen else ""
    told += f"; left out {', '.join(left_out)}" if left_out else ""
    return {"file": str(folder), "num_tensors": len(tensors), "names": told}


def _labelled(file: pathlib.Path, tensors: Tensors, classes: str) -> tuple[Tensors, list[str]]:
    """The weights with one row for each class, and the classes' names.

    Raises:
        BadUsage: nothing says which classes these are.
    """
    if detr_names.is_pretraining(tensors):
        raise BadUsage(f"{file}: weights of pre-training, which tell no classes; `pellucid train RECIPE --init` learns them")
    num = detr_names.num_class_rows(tensors)
    usual = {92: "coco", 81: "coco", 251: "coco-panoptic", 134: "coco-panoptic"}
    if not classes and num not in usual:
        raise BadUsage(f"{file}: its {num - 1} classes have no names; give them with --labels FILE, a name on each line")
    names = categories(classes or usual[num])
    return _chosen(file, tensors, names), list(names.values())


# ---- parts ------------------------------------------------------------------------------------------------------------


def _read(file: pathlib.Path) -> Tensors:
    """The tensors of a file or of a folder's model.safetensors."""
    if file.is_dir():
        return checkpoint.load(file / "model.safetensors")
    if not file.is_file():
        raise BadData(f"{file}: no such weights file")
    if file.suffix == ".safetensors":
        return checkpoint.load(file)
    return pickles.weights_only(file.read_bytes(), str(file))


def _load(model: nn.Module, tensors: Tensors, file: pathlib.Path, drop: Sequence[str] = ()) -> list[str]:
    """Loads them, strictly; gives what was left out."""
    try:
        return checkpoint.load_into(model, tensors, str(file), drop=drop).dropped
    except BadData as error:
        raise BadData(f"{error}; the recipe, with --set, must be of the network that the weights are of") from None


def _ours(file: pathlib.Path, tensors: Tensors) -> tuple[Tensors, str]:
    """The tensors under our names, and the kind that they were of."""
    try:
        return detr_names.to_ours(tensors)
    except BadData as error:
        raise BadData(f"{file}: {error}") from None


def _chosen(file: pathlib.Path, tensors: Tensors, names: Mapping[int, str]) -> Tensors:
    """The weights with these classes alone."""
    try:
        return detr_names.choose_classes(tensors, detr_names.class_rows(detr_names.num_class_rows(tensors), list(names)))
    except BadData as error:
        raise BadData(f"{file}: {error}") from None


def _detr(file: pathlib.Path, tensors: Tensors, to: str, classes: str) -> tuple[Tensors, str]:
    """A DETR's weights under the names of `to`, and what to say of it."""
    found, kind = _ours(file, tensors)
    names = categories(classes) if classes else {}
    if names:
        found = _chosen(file, found, names)
    if names and to in _BY_ID:
        found = detr_names.spread_classes(found, list(names), max(names) + 2)
    return (found if to == "ours" else detr_names.theirs(found, to)), _told(kind, to, len(names))


def _our_mdetr(file: pathlib.Path, tensors: Tensors) -> tuple[Tensors, str]:
    """An MDETR's tensors under our names, and the kind that they were of."""
    try:
        return mdetr_names.to_ours(tensors)
    except BadData as error:
        raise BadData(f"{file}: {error}") from None


def _mdetr(file: pathlib.Path, tensors: Tensors, to: str, classes: str) -> tuple[Tensors, str]:
    """An MDETR's weights under the names of `to`, and what to say of it."""
    if classes or to not in _MDETR:
        raise BadUsage(
            f"{file}: weights of an MDETR, which has no classes, and ours or its authors' names; leave --classes and --to hf away"
        )
    found, kind = _our_mdetr(file, tensors)
    return (found if to == "ours" else mdetr_names.theirs(found)), _told(kind, to, whose=_MDETR)


def _told(kind: str, to: str, num_classes: int = 0, whose: Mapping[str, str] = detr_names.KINDS) -> str:
    known = {**whose, "ours": "ours"}
    names = f"{known[kind]} names turned into {known[to]}" if kind != to else "names as they were"
    return names.replace("ours names", "our names") + (f", {num_classes} classes" if num_classes else "")
