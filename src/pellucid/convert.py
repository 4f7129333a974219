"""Weights that are published as a pickle, as safetensors: only tensors are read, nothing of the file is run."""

import pathlib
from typing import Any

from pellucid import checkpoint
from pellucid.data import pickles
from pellucid.errors import BadData, BadUsage
from pellucid.nn import tresnet


def convert(file: pathlib.Path, out: pathlib.Path | None = None) -> dict[str, Any]:
    """Writes the tensors of a `.pth`, `.pt` or `.bin` file as safetensors; gives the `file`, `num_tensors` and what became of `names`.

    A TResNet's in-place norms become plain ones, under timm's names; all other names stay.

    Args:
        out: by default the same name, ending in .safetensors.
    Raises:
        BadUsage: `out` is no name of a safetensors file, or is there already.
        BadData: no such file, or none of tensors.
        UnsafeInput: it holds more than tensors and plain values.
    """
    place = out or file.with_suffix(".safetensors")
    if place.suffix != ".safetensors":
        raise BadUsage(f"{place}: a safetensors file ends in .safetensors")
    if place.exists():
        raise BadUsage(f"{place}: is there already; remove it, or name another file with --out")
    if not file.is_file():
        raise BadData(f"{file}: no such weights file")
    tensors = pickles.weights_only(file.read_bytes(), str(file))
    official = tresnet.is_official(tensors)
    checkpoint.save(tresnet.from_official(tensors) if official else tensors, place)
    names = "the official TResNet's names turned into timm's" if official else "names as they were"
    return {"file": str(place), "num_tensors": len(tensors), "names": names}
