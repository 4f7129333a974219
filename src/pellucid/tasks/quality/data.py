"""A picture, its reference and perhaps a second picture, as pixels of one size; what cannot be a pair told by row."""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from pellucid.coerce import nearest
from pellucid.data.boxes import spoiled
from pellucid.data.decode import Source, look
from pellucid.data.distort import KINDS, distort
from pellucid.data.pictures import readable, where
from pellucid.data.read import require
from pellucid.errors import BadData
from pellucid.task import Example

THUMBNAIL = 224  # pixels of the longer side of what an explanation is drawn over
PICTURES = ("image", "reference", "other")


class Pair(NamedTuple):
    """Pixels of one size; `other` is the second picture of a preference."""

    reference: UInt8[Tensor, "3 h w"]
    image: UInt8[Tensor, "3 h w"]
    other: UInt8[Tensor, "3 h w"] | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Pair":
        """The same change of every picture."""
        return Pair(change(self.reference), change(self.image), None if self.other is None else change(self.other))


def open_pair(example: Example) -> Pair:
    """The pictures of an example, whole; generated and corrupted ones made.

    Raises:
        BadData: one cannot be read, or has another size than the reference.
    """
    short = example.get("short")
    reference = _opened(example["reference"], where(example), short)
    if distortion := example.get("distortion"):
        image = distort(reference, distortion["kind"], distortion["level"], distortion["seed"])
    else:
        image = _opened(example["image"], where(example), short)
    other = _opened(example["other"], where(example), short) if "other" in example else None
    pair = Pair(reference, image, other)
    for role, picture in (("the picture", image), ("the other picture", other)):
        if picture is not None and picture.shape != reference.shape:
            raise BadData(_differ(example, role, picture.shape[:0:-1], reference.shape[:0:-1]))
    corruption = example.get("corruption")
    if not corruption:
        return pair
    return pair.each(lambda picture: spoiled(picture, corruption, where(example)))


def _opened(source: Source, place: str, short: int | None) -> UInt8[Tensor, "3 h w"]:
    picture = rearrange(torch.from_numpy(look(source, place).array()), "h w c -> c h w")
    return picture if short is None else shortened(picture, short)


def shortened(picture: UInt8[Tensor, "3 _ _"], short: int) -> UInt8[Tensor, "3 h w"]:
    """The picture at another short side, pixels averaged over what they cover."""
    height, width = picture.shape[1:]
    if min(height, width) == short:
        return picture
    size = [max(short, round(side * short / min(height, width))) for side in (height, width)]
    mode = "bilinear" if short < min(height, width) else "bicubic"
    small = F.interpolate(rearrange(picture, "c h w -> 1 c h w").float(), size, mode=mode, antialias=True)[0]
    return small.round().clamp(0, 255).to(torch.uint8)


def thumbnail(picture: UInt8[Tensor, "3 _ _"]) -> UInt8[Tensor, "3 h w"]:
    """The picture with a longer side of `THUMBNAIL`, as an explanation shows it; whole pixels averaged first, which is fastest."""
    step = max(1, max(picture.shape[1:]) // THUMBNAIL)
    height, width = (side // step * step for side in picture.shape[1:])
    small = picture
    if step > 1:
        whole = picture[:, :height, :width].numpy().astype(np.float32)  # torch takes four times as long
        small = torch.from_numpy(reduce(whole, "c (h p) (w q) -> c h w", "mean", p=step, q=step).round().astype(np.uint8))
    short = max(1, round(min(small.shape[1:]) * THUMBNAIL / max(small.shape[1:])))
    return shortened(small, short)[:, :THUMBNAIL, :THUMBNAIL]


# ---- before training --------------------------------------------------------------------------------------------------


def checked(examples: Sequence[Example], source: str, check: str, broken: str, smallest: int) -> list[Example]:
    """The examples whose pictures can be read, are of one size, and large enough; whose scores lie in range.

    Args:
        check: what is looked at: `none`, the `header`, or the `full` picture.
        broken: what becomes of one that cannot be read: `refuse` or `skip`.
        smallest: least side in pixels.
    Raises:
        BadData: with the row: a column is missing, a picture broken or too small, two sizes, a score out of range, a row twice.
    """
    require(examples, ("image", "reference"), source)
    examples = [_named(example) for example in examples]
    for example in examples:
        _in_range(example, "label")
        _in_range(example, "preference")
        _known(example)
    _once(examples)
    if check == "none":
        return list(examples)
    kept = list(examples)
    for role in PICTURES:
        sound = _sound([e for e in kept if role in e], role, source, check, broken)
        kept = [e for e in kept if role not in e or _key(e[role]) in sound]
    sizes: dict[Hashable, tuple[int, int]] = {}
    for example in kept:
        _fits(example, smallest, sizes)
    return kept


def _sound(examples: Sequence[Example], role: str, source: str, check: str, broken: str) -> set[Hashable]:
    """The pictures that can be read; each file is looked at once, however many rows it serves."""
    files: dict[Hashable, Example] = {}
    for example in examples:
        files.setdefault(_key(example[role]), {"id": example["id"], "image": example[role]})
    return {_key(e["image"]) for e in readable(list(files.values()), source, check, broken)} if files else set()


def _key(place: Source) -> Hashable:
    return place if isinstance(place, str) else id(place)


def _fits(example: Example, smallest: int, sizes: dict[Hashable, tuple[int, int]]) -> None:
    def size_of(role: str) -> tuple[int, int]:
        place, key = example[role], _key(example[role])
        if key not in sizes:
            sizes[key] = look(place, where(example)).size
        return sizes[key]

    wanted = size_of("reference")
    for role, called in (("image", "the picture"), ("other", "the other picture")):
        if role in example and size_of(role) != wanted:
            raise BadData(_differ(example, called, size_of(role), wanted))
    if "short" not in example and min(wanted) < smallest:
        raise BadData(f"{_who(example)}: {wanted[0]} x {wanted[1]} pixels; it needs at least {smallest} on each side")


def _differ(example: Example, called: str, size: Sequence[int], wanted: Sequence[int]) -> str:
    told = f"{called} is {size[0]} x {size[1]}, its reference {wanted[0]} x {wanted[1]}"
    return f"{_who(example)}: {told}; a pair must have one size: resize or crop both alike"


def _in_range(example: Example, key: str) -> None:
    value = example.get(key)
    if value is None:
        return
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadData(f"{_who(example)}: {key} {value!r} is no number") from None
    if not 0 <= number <= 1:
        scale = "; a score on another scale is read with iqa:FILE.csv?range=1,5&better=high"
        raise BadData(f"{_who(example)}: {key} {value} is outside 0 to 1, where 1 is as good as the reference{scale}")


def _named(example: Example) -> Example:
    """The example; a table's column `distortion` is the name of one, not one to be made."""
    told = example.get("distortion")
    if told is None or isinstance(told, Mapping):
        return example
    return {"kind": told, **{key: value for key, value in example.items() if key != "distortion"}}


def _known(example: Example) -> None:
    distortion: Mapping[str, object] = example.get("distortion") or {}
    if distortion and distortion["kind"] not in KINDS:
        raise BadData(f"{_who(example)}: no distortion {distortion['kind']!r}{nearest(str(distortion['kind']), list(KINDS))}")


def _once(examples: Sequence[Example]) -> None:
    seen: dict[Hashable, Example] = {}
    for example in examples:
        files = tuple(example.get(role) for role in PICTURES)
        if not all(isinstance(file, str) or file is None for file in files) or "corruption" in example:
            continue
        key = (*files, str(example.get("distortion")), "label" in example or "preference" in example)
        first = seen.setdefault(key, example)
        if first is not example and key[-1]:
            raise BadData(f"{_who(example)}: the same pair as {first['id']}; keep one, or average their scores")


def _who(example: Example) -> str:
    place = where(example)
    return place if place == str(example.get("id", place)) else f"{example['id']} ({os.path.basename(place)})"
