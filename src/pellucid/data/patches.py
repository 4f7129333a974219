"""Random patches cut out of pictures, for a detector that learns to find them again; everything random is a function of one seed."""

import hashlib
import logging
import os
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

from pellucid.data.augment import Box, jitter
from pellucid.data.boxes import resized_size
from pellucid.data.decode import Source, header, look, opened, place_of
from pellucid.data.patch_views import PatchView
from pellucid.data.stored import Stored
from pellucid.errors import BadData
from pellucid.task import Example

log = logging.getLogger("pellucid")


@dataclass(frozen=True)
class Patched:
    """A picture at the size a model sees, and the patches to be found in it.

    Args:
        size: height and width of the upright picture as stored.
        boxes_xyxy: where the patches were cut out, in pixels of that; None of patches that came from elsewhere.
    """

    picture: UInt8[Tensor, "3 h w"]
    patches: UInt8[Tensor, "p 3 s s"]
    size: tuple[int, int]
    boxes_xyxy: Float[Tensor, "p 4"] | None


def measured_patches(source: Source, num: int, view: PatchView, seed: int, where: str = "") -> Patched:
    """The picture by which a model is measured, with `num` patches that the seed chooses, unchanged.

    Raises:
        BadData, UnsafeInput: as `open_image`; BadData also of a picture too small for patches.
    """
    image, draw = look(source, where).image(), random.Random(seed)
    boxes = random_boxes(*image.size, num, view, draw, place_of(source, where))
    return _patched(image, boxes, [cut(image, box, view.patch_size) for box in boxes], fitted(image, view.test_side, view.longest))


def random_patches(source: Source, num: int, view: PatchView, seed: int, where: str = "") -> Patched:
    """A random view: patches anywhere, their colours and sharpness changed, the picture at one of the sizes.

    Raises:
        BadData, UnsafeInput: as `measured_patches`.
    """
    image, draw = look(source, where).image(), random.Random(seed)
    boxes = random_boxes(*image.size, num, view, draw, place_of(source, where))
    patches = [changed(cut(image, box, view.patch_size), view, draw) for box in boxes]
    return _patched(image, boxes, patches, fitted(image, draw.choice(view.short_sides), view.longest))


def given_patches(source: Source, queries: Sequence[Any], view: PatchView, where: str = "", seed: int | None = None) -> Patched:
    """The picture with patches from elsewhere.

    Args:
        queries: pictures of what is looked for: paths, bytes, or `{"image": ..., "box_xyxy": [left, top, right, bottom]}`, a part.
        seed: of a random view of all of them, for training; None gives the one by which a model is measured.
    Raises:
        BadData: a picture cannot be read, or a box does not lie in it; with the number of the patch.
    """
    image = look(source, where).image()
    parts = [query_patch(query, view, f"{where or place_of(source)}, patch {i + 1}") for i, query in enumerate(queries)]
    if seed is None:
        return _patched(image, None, parts, fitted(image, view.test_side, view.longest))
    draw = random.Random(seed)
    parts = [changed(part, view, draw) for part in parts]
    return _patched(image, None, parts, fitted(image, draw.choice(view.short_sides), view.longest))


def _patched(image: Image.Image, boxes: Sequence[Box] | None, patches: Sequence[Image.Image], seen: Image.Image) -> Patched:
    where = None if boxes is None else torch.tensor(boxes, dtype=torch.float32)
    return Patched(_tensor(seen), torch.stack([_tensor(patch) for patch in patches]), (image.height, image.width), where)


def _tensor(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    return rearrange(torch.from_numpy(np.array(image)), "h w c -> c h w")


# ---- where --------------------------------------------------------------------------------------------------------------


def id_seed(name: str) -> int:
    """A seed that depends on an example's id alone, so that its test patches are the same wherever and whenever it is measured."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def random_boxes(width: int, height: int, num: int, view: PatchView, draw: random.Random, place: str = "picture") -> list[Box]:
    """So many parts of a picture, drawn one by one: sides of any length from `smallest` to the picture's less `smallest`, anywhere.

    The last column and row of places are never drawn, as in the original.

    Raises:
        BadData: the picture is too small.
    """
    least = view.smallest
    if min(width, height) <= 2 * least:
        raise BadData(f"{place}: {width} x {height} pixels; patches need sides of more than {2 * least}")
    boxes = []
    for _ in range(num):
        across, down = draw.randint(least, width - least), draw.randint(least, height - least)
        left, top = draw.randrange(width - across), draw.randrange(height - down)
        boxes.append((left, top, left + across, top + down))
    return boxes


def large_enough(examples: Sequence[Example], source: str, view: PatchView) -> list[Example]:
    """The examples whose pictures have room for random patches, each with its `length`; how many are left out is told.

    Raises:
        BadData: none has room.
    Differs: the original takes the next picture in the place of a small one, which then comes twice.
    """
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads:
        sizes = list(threads.map(_size, examples))
    lengths = [max(1, round(1000 * width / height)) for width, height in sizes]  # as `bucket_length`, of headers alone
    kept = [{**e, "length": n} for e, size, n in zip(examples, sizes, lengths, strict=True) if min(size) > 2 * view.smallest]
    if examples and not kept:
        raise BadData(f"{source}: every picture has a side of {2 * view.smallest} pixels or fewer, too few for patches")
    if len(kept) < len(examples):
        count = len(examples) - len(kept)
        log.warning("%s: %d pictures with a side of %d pixels or fewer are left out", source, count, 2 * view.smallest)
    return kept


def _size(example: Example) -> tuple[int, int]:
    """Width and height, of a JPEG as stored."""
    image, where = example["image"], str(example.get("id", ""))
    if "width" in example and "height" in example:
        return example["width"], example["height"]
    if isinstance(image, bytes | Stored):
        return look(image, where).size
    with opened(image, where) as file:
        return header(file, place_of(image, where)).size


# ---- what ---------------------------------------------------------------------------------------------------------------


def cut(image: Image.Image, box: Box, size: int) -> Image.Image:
    """The part of the picture in the box, pulled into a square."""
    return image.crop(box).resize((size, size), Image.Resampling.BILINEAR)


def query_patch(query: Any, view: PatchView, where: str = "patch") -> Image.Image:
    """What is looked for, pulled into a square.

    Args:
        query: a path, bytes, or `{"image": ..., "box_xyxy": [left, top, right, bottom]}`.
    Raises:
        BadData: it cannot be read, or the box has no pixel of the picture.
    """
    if not isinstance(query, Mapping):
        image = look(query, where).image()
        return cut(image, (0, 0, *image.size), view.patch_size)
    image = look(query["image"], where).image()
    if "box_xyxy" not in query:
        return cut(image, (0, 0, *image.size), view.patch_size)
    box = _whole(query["box_xyxy"], *image.size)
    if box is None:
        raise BadData(f"{where}: box {list(query['box_xyxy'])} has no part in the picture of {image.width} x {image.height} pixels")
    return cut(image, box, view.patch_size)


def _whole(box: Sequence[float], width: int, height: int) -> Box | None:
    """The box to whole pixels within the picture; None where it holds none."""
    if len(box) != 4 or not all(np.isfinite(box)):
        return None
    left, top, right, bottom = (round(side) for side in box)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    return (left, top, right, bottom) if left < right and top < bottom else None


def changed(patch: Image.Image, view: PatchView, draw: random.Random) -> Image.Image:
    """The patch with other colours, without colours, blurred, or as it is; never mirrored, which would make another thing of it.

    Source: Chen et al. 2020 (SimCLR), as weakened by Dai et al. 2021. Differs: hues turn before or after the other changes of colour,
    never between them.
    """
    if draw.random() < view.jitter_prob:
        turn, first = draw.uniform(-view.hue, view.hue), draw.random() < 0.5
        patch = turned(patch, turn) if first else patch
        patch = jitter(patch, view.jitter, draw)
        patch = patch if first else turned(patch, turn)
    if draw.random() < view.grey_prob:
        patch = ImageOps.grayscale(patch).convert("RGB")
    if draw.random() < view.blur_prob:
        patch = patch.filter(ImageFilter.GaussianBlur(draw.uniform(*view.blur)))
    return patch


def turned(patch: Image.Image, share: float) -> Image.Image:
    """The patch with every hue turned by a share of the circle."""
    hsv = np.array(patch.convert("HSV"))
    hsv[..., 0] += np.uint8(int(share * 255) % 256)  # wraps round
    return Image.fromarray(hsv, "HSV").convert("RGB")


# ---- the picture --------------------------------------------------------------------------------------------------------


def fitted(image: Image.Image, short: int, longest: int) -> Image.Image:
    """The picture with its short side at `short`, or less where the long one would pass `longest`."""
    size = resized_size(image.size, short, longest)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)
