"""Index pictures: which class each pixel of a picture has, read from wherever a row's `map` says, checked, and written."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pellucid.data import matlab
from pellucid.data.decode import header, look, read_bytes
from pellucid.data.map_sources import VOID, Drawn, Recoded
from pellucid.data.pictures import where
from pellucid.errors import BadData, UnsafeInput
from pellucid.task import Example

Indices = UInt8[np.ndarray, "h w"]

_MODES = ("P", "L", "1")
_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF")
_SAY = "expected a picture of class indices: with a palette, or grey"


def has_map(example: Example) -> bool:
    """Whether anything is known of the picture's pixels."""
    return example.get("map") is not None


def read_map(example: Example, labels: Sequence[str] = (), size: tuple[int, int] | None = None) -> Indices:
    """The example's map, in its own classes' order or in that of `labels`; void stays 255.

    Args:
        labels: names whose places, from 1 on, the indices are to be; without, the example's `classes`.
        size: width and height that it must have; without, what the example says.
    Raises:
        BadData: the map is missing, damaged, of another size than its picture, no picture of indices, or has a class that is none
            of the example's or of `labels`; the message names its file.
        UnsafeInput: its header claims more pixels than `max_pixels`.
    """
    found, place = indices_of(example["map"], where(example)), _place(example)
    told = size or ((int(example["width"]), int(example["height"])) if {"width", "height"} <= example.keys() else found.shape[::-1])
    check_size(found.shape[::-1], told, place)
    classes = tuple(example.get("classes", labels))
    present = np.flatnonzero(np.bincount(found.ravel(), minlength=VOID + 1)[:VOID])
    if len(present) and present[-1] > len(classes):
        raise BadData(
            f"{place}: a pixel is of class {present[-1]}, and the boxes have the {len(classes)} classes {_some(classes)}; "
            f"expected 0 for background, 1 to {len(classes)} for these, {VOID} where nobody knows"
        )
    if not labels or tuple(labels) == classes:
        return found
    place_in = {label: i for i, label in enumerate(labels, 1)}
    table = np.full(VOID + 1, VOID, dtype=np.uint8)
    for k in present.tolist():
        if k and classes[k - 1] not in place_in:
            raise BadData(
                f"{place}: a pixel is of class {classes[k - 1]!r}, which is none of the {len(labels)} labels of the model: {_some(labels)}"
            )
        table[k] = place_in[classes[k - 1]] if k else 0
    return table[found]


def indices_of(source: Any, name: str = "") -> Indices:
    """The pixels of a row's `map`, whatever it is; `name` is what messages call the row."""
    if isinstance(source, Drawn):
        return _painted(source)
    if isinstance(source, Recoded):
        table = np.full(VOID + 1, VOID, dtype=np.uint8)
        table[: len(source.table)] = source.table
        found = indices_of(source.source, name)
        strange = found[(found >= len(source.table)) & (found != VOID)]
        if strange.size:
            raise BadData(f"{_told(source.source, name)}: a pixel is of class {strange.max()}; there are {len(source.table) - 1}")
        return table[found]
    if isinstance(source, str) and source.endswith(".mat"):
        return _from_matlab(source)
    place = _told(source, name)
    data = read_bytes(source, "" if isinstance(source, str | os.PathLike) else place)
    image = _indexed(header(io.BytesIO(data), place), place)
    try:
        return np.array(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadData(f"{place}: a broken {image.format} picture ({error})") from None


def check_size(map_size: tuple[int, ...], picture_size: tuple[int, int], place: str) -> None:
    """Checks that width and height of a map are its picture's.

    Raises:
        BadData: they are not.
    """
    if tuple(map_size) != tuple(picture_size):
        said = f"the map is {map_size[0]} x {map_size[1]} pixels and its picture {picture_size[0]} x {picture_size[1]}"
        swapped = tuple(map_size) == tuple(picture_size[::-1])
        turned = "; perhaps the picture is turned by its EXIF block, and the map is not" if swapped else ""
        raise BadData(f"{place}: {said}{turned}; give the map that belongs to this picture")


def _painted(drawn: Drawn) -> Indices:
    from pellucid.data.polygons import to_masks  # with torch

    found = np.zeros((drawn.height, drawn.width), dtype=np.uint8)
    for (index, outline), name in zip(drawn.outlines, drawn.names, strict=True):
        found[to_masks([outline], drawn.height, drawn.width, [name])[0].numpy()] = index
    return found


def _from_matlab(path: str) -> Indices:
    """SBD's `GTcls.Segmentation`."""
    found = matlab.field(path, "GTcls", "Segmentation")
    if found.ndim != 2 or found.dtype.kind not in "iu" or (found.size and not (found.min() >= 0 and found.max() <= VOID)):
        raise BadData(f"{path}: GTcls.Segmentation is of shape {found.shape} and type {found.dtype}; expected rows of class indices")
    return found.astype(np.uint8)


def _indexed(image: Image.Image, place: str) -> Image.Image:
    """The opened picture, where its pixels are indices."""
    if image.mode not in _MODES:
        raise BadData(f"{place}: a picture of mode {image.mode}, without a palette; {_SAY}; save it with the palette it was made with")
    if image.format in _LOSSY:
        raise BadData(f"{place}: a {image.format}, which changes indices as it compresses; {_SAY}, as a PNG")
    return image


def _place(example: Example) -> str:
    return _told(example["map"], where(example))


def _told(source: Any, name: str) -> str:
    """What messages call a map."""
    if isinstance(source, Recoded):
        return _told(source.source, name)
    return os.fspath(source) if isinstance(source, str | os.PathLike) else f"{name}: its map"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


# ---- before training ----------------------------------------------------------------------------------------------


def faults(
    examples: Sequence[Example], labels: Sequence[str] = (), paint: bool = False, workers: int = 8
) -> list[BadData | UnsafeInput | None]:
    """Of each example what is wrong with its map, so that it is met before training and not in the middle.

    Args:
        labels: as in `read_map`.
        paint: outlines are painted, not only compared with their picture's size; all else is read whole in any case.
    """
    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(lambda example: _fault(example, labels, paint), examples))


def _fault(example: Example, labels: Sequence[str], paint: bool) -> BadData | UnsafeInput | None:
    if not has_map(example):
        return None
    source = example["map"]
    while isinstance(source, Recoded):
        source = source.source
    try:
        size = look(example["image"], where(example)).size
        if isinstance(source, Drawn) and not paint:
            check_size((source.width, source.height), size, _place(example))
        else:
            read_map(example, labels, size)
    except (BadData, UnsafeInput) as fault:
        return fault
    return None


# ---- writing ------------------------------------------------------------------------------------------------------


def palette() -> UInt8[np.ndarray, "256 3"]:
    """VOC's colours: of an index, bits 0, 3, 6 from the highest down make red, bits 1, 4, 7 green, bits 2, 5 blue."""
    index = np.arange(256)
    channels = [sum(((index >> (3 * k + c)) & 1) << (7 - k) for k in range(3)) for c in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1).astype(np.uint8)


def encode(indices: Indices) -> bytes:
    """The map as a PNG with VOC's palette."""
    image, file = Image.fromarray(indices), io.BytesIO()
    image.putpalette(palette().tobytes())
    image.save(file, "PNG")
    return file.getvalue()
