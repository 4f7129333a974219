"""Weights in and out as safetensors: every key is named or it is an error, foreign names go through a table both ways."""

import json
import math
import os
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pellucid.errors import BadData, UnsafeInput

Tensors = dict[str, Tensor]
Table = Sequence[tuple[str, str]]  # (foreign, ours) prefixes; `{}` stands for a number

PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}


def save(tensors: Mapping[str, Tensor], path: pathlib.Path) -> None:
    """Writes the tensors whole or not at all; names that share memory are each stored in full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary)
    os.replace(temporary, path)


def load(path: pathlib.Path) -> Tensors:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        BadData: no such file, or it is truncated or of another format.
        UnsafeInput: a pickle, whatever its name; it is not opened as one.
    """
    if not path.is_file():
        raise BadData(f"{path}: no such weights file")
    with path.open("rb") as file:
        head = file.read(8)
    if path.suffix in PICKLES or head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise UnsafeInput(f"{path}: a pickle can run code when loaded; give the weights as .safetensors")
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise BadData(f"{path}: not a whole safetensors file ({error}); copy it again") from None


def rename(tensors: Mapping[str, Tensor], table: Table, back: bool = False, whose: str = "") -> Tensors:
    """The tensors under our names, or with `back` under the foreign ones; the first rule that fits a key moves it.

    Args:
        whose: names the foreign names in messages; given, a key that no rule fits is an error instead of staying.
    Raises:
        BadData: two keys would get one name, or no rule fits one.
    """
    rules = [(_pattern(theirs if not back else ours), ours if not back else theirs) for theirs, ours in table]
    moved: Tensors = {}
    for key, value in tensors.items():
        new = next((_move(match, key, target) for pattern, target in rules if (match := pattern.match(key))), "" if whose else key)
        if whose and not new:
            raise BadData(f"{whose} names: {key!r} " + ("has none" if back else "is none that we know"))
        if new in moved:
            raise BadData(f"name table: two keys become {new!r}, the second is {key!r}")
        moved[new] = value
    return moved


def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(re.escape(prefix).replace(r"\{\}", r"(\d+)"))


def _move(match: re.Match[str], key: str, target: str) -> str:
    return target.format(*match.groups()) + key[match.end() :]


@dataclass(frozen=True)
class Fit:
    """What became of every key.

    Args:
        loaded: of the model, taken from the file.
        dropped: of the file, without a place in the model, left out by name.
        fresh: of the model, left as they were by name.
    """

    loaded: list[str]
    dropped: list[str]
    fresh: list[str]


def load_into(model: nn.Module, tensors: Mapping[str, Tensor], source: str, skip: Sequence[str] = (), drop: Sequence[str] = ()) -> Fit:
    """Loads the tensors into the model, strictly.

    Args:
        source: what the message calls the weights.
        skip: prefixes of the model's keys that keep what they have.
        drop: prefixes of the file's keys that the model has no place for.
    Raises:
        BadData: keys missing, left over, or of another shape; the message names them.
    """
    own = model.state_dict()
    given = {k: v for k, v in tensors.items() if not k.startswith((*drop, *skip))}
    missing = [k for k in own if k not in given and not k.startswith(tuple(skip))]
    extra = [k for k in given if k not in own]
    shapes = [f"{k} {tuple(given[k].shape)}, here {tuple(own[k].shape)}" for k in given if k in own and given[k].shape != own[k].shape]
    wrong = [f"{what}: {few(keys)}" for what, keys in (("missing", missing), ("unknown", extra), ("other shape", shapes)) if keys]
    if wrong:
        raise BadData(f"{source}: weights do not fit; {'; '.join(wrong)}")
    model.load_state_dict({**own, **given})
    left_out = [k for k in tensors if k not in given and k not in own]
    return Fit([k for k in own if k in given], left_out, [k for k in own if k not in given])


def few(keys: Sequence[str], most: int = 6) -> str:
    """The first of the names, and how many more there are."""
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


# ---- nested state, as optimisers have it, without pickling ------------------------------------------------------------


def save_state(state: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Writes nested dicts and lists of tensors and plain values as `state.safetensors` and `state.json`."""
    tensors: Tensors = {}
    plain = _split(state, "", tensors)
    save(tensors, folder / "state.safetensors")
    write_json(folder / "state.json", plain)


def load_state(folder: pathlib.Path) -> dict[str, Any]:
    """What `save_state` wrote."""
    return _unsplit(json.loads((folder / "state.json").read_text()), load(folder / "state.safetensors"))


def _split(value: Any, name: str, tensors: Tensors) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"items": [[k, _split(v, f"{name}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [_split(v, f"{name}/{i}", tensors) for i, v in enumerate(value)], "tuple": isinstance(value, tuple)}
    return value


def _unsplit(value: Any, tensors: Tensors) -> Any:
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "items" in value:
        return {k: _unsplit(v, tensors) for k, v in value["items"]}
    items = [_unsplit(v, tensors) for v in value["list"]]
    return tuple(items) if value["tuple"] else items


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes JSON whole or not at all, making the folder; a number that is not finite becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def replace_folder(new: pathlib.Path, place: pathlib.Path) -> None:
    """Puts a finished folder in the place of another; `newest` finds one or the other after a crash at any moment."""
    old = place.with_name(place.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        os.replace(place, old)
    os.replace(new, place)
    shutil.rmtree(old, ignore_errors=True)


def newest(place: pathlib.Path) -> pathlib.Path | None:
    """The folder that `replace_folder` left, if any."""
    return next((p for p in (place, place.with_name(place.name + ".old")) if p.is_dir()), None)


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two sets of weights are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
