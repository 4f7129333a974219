"""Pictures with the objects in them, as a detector sees them: resized, mirrored, cut; boxes and masks go along.

Source: Carion et al. 2020 (DETR). Everything random in a view is a function of one seed.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pellucid.data import polygons
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.corrupt.pictures import corrupt_images
from pellucid.data.decode import Picture, look
from pellucid.data.images import DRAFT_MARGIN
from pellucid.data.pictures import where
from pellucid.errors import BadData
from pellucid.task import Example

Pixels = UInt8[np.ndarray, "_ _ 3"]
Size = tuple[int, int]  # width, height

_LONGEST = 8  # times the short side: of a longer strip only the part that is kept is resized
_TRIES = 100  # of cutting a picture without losing an object
_LEAST = 32  # pixels of a side below which pictures cannot be corrupted


class Mirror(NamedTuple):
    """Left and right change places."""


class Resize(NamedTuple):
    """The whole picture at another size."""

    width: int
    height: int


class Crop(NamedTuple):
    """A part of the picture."""

    left: int
    top: int
    width: int
    height: int


Step = Mirror | Resize | Crop


@dataclass(frozen=True)
class Objects:
    """The objects of a picture where its geometry has brought them.

    Args:
        size: width and height of the picture by now.
        area: of each object, in pixels of that size; of a box that was cut, the box's.
        kept: of each object, its place in the example's list.
    """

    size: Size
    boxes_xyxy: Float[Tensor, "n 4"]
    area: Float[Tensor, " n"]
    kept: tuple[int, ...]


@dataclass(frozen=True)
class Framed:
    """A picture and its objects as one example of a batch.

    Args:
        picture: in memory it lies as `h w 3`.
        boxes_xyxy: in pixels of `picture`.
        area: of each object, in pixels of `picture`; where the picture was cut, of its box.
        size_hw: height and width of the stored picture, upright.
        masks: which pixels each object covers; None where the objects have no segmentation.
        kept: of each object, its place in the example's list.
    """

    picture: UInt8[Tensor, "3 h w"]
    boxes_xyxy: Float[Tensor, "n 4"]
    labels: tuple[str, ...]
    area: Float[Tensor, " n"]
    size_hw: tuple[int, int]
    masks: Bool[Tensor, "n h w"] | None
    kept: tuple[int, ...]


def test_boxes(example: Example, view: BoxView, exact: bool = False) -> Framed:  # noqa: PT028
    """The picture and its objects as they are measured, the picture spoiled as the example's `corruption` says.

    Objects that stand for a crowd are left out, as in training.

    Args:
        exact: resampled by Pillow, as DETR's authors do, to the bit; by default torch's resampling, which is within 2 of 255, and
            large JPEGs are decoded smaller.
    Raises:
        BadData: the picture cannot be read, or is not of the size that its annotations are for; the message names it.
        UnsafeInput: as `open_image`.
    """
    picture = look(example["image"], where(example))
    steps = [Resize(*resized_size(picture.size, view.short, view.longest))]
    framed = _framed(example, picture, steps, exact)
    corruption = example.get("corruption")
    return replace(framed, picture=spoiled(framed.picture, corruption, where(example))) if corruption else framed


def train_boxes(example: Example, view: BoxTrainView, seed: int, exact: bool = False, lose: bool = True) -> Framed:
    """A random view of the picture and of the objects that are left in it, perhaps none; crowds are left out.

    Args:
        exact: as in `test_boxes`.
        lose: an object may be cut away; without, views are drawn until none is, and after a hundred the picture is not cut.
    Raises:
        BadData, UnsafeInput: as `test_boxes`.
    """
    picture = look(example["image"], where(example))
    draw = random.Random(seed)
    steps = draw_steps(picture.size, view, draw)
    if not lose:
        steps = _losing_none(objects_of(example, picture.size), view, steps, draw)
    return _framed(example, picture, steps, exact)


def masks_of(framed: Framed, place: str) -> Bool[Tensor, "n h w"]:
    """The masks of its objects; none where there are no objects.

    Raises:
        BadData: there are objects, and they have none.
    """
    if framed.masks is not None:
        return framed.masks
    if framed.labels:
        raise BadData(f"{place}: its objects have no segmentation, which task.masks needs; read them with ?masks=yes")
    return torch.zeros(0, *framed.picture.shape[1:], dtype=torch.bool)


def _losing_none(objects: Objects, view: BoxTrainView, steps: list[Step], draw: random.Random) -> list[Step]:
    """The steps, or the first drawn after them by which every object stays in the picture."""
    for _ in range(_TRIES):
        left = objects
        for step in steps:
            left = moved(left, step)
        if left.kept == objects.kept:
            return steps
        steps = draw_steps(objects.size, view, draw)
    return draw_steps(objects.size, replace(view, crop_prob=0.0), draw)


def _framed(example: Example, picture: Picture, steps: Sequence[Step], exact: bool) -> Framed:
    first = objects_of(example, picture.size)
    last = first
    for step in steps:
        last = moved(last, step)
    rows = [example["objects"][i] for i in last.kept]
    return Framed(
        picture=rearrange(torch.from_numpy(shown(picture, steps, exact)), "h w c -> c h w"),
        boxes_xyxy=last.boxes_xyxy,
        labels=tuple(row["label"] for row in rows),
        area=last.area,
        size_hw=(first.size[1], first.size[0]),
        masks=_masks(rows, first.size, steps, where(example)) if any("segmentation" in o for o in example.get("objects", ())) else None,
        kept=last.kept,
    )


# ---- what is done -------------------------------------------------------------------------------------------------


def resized_size(size: Size, short: int, longest: int = 0) -> Size:
    """Width and height of a picture whose short side is brought to `short`, or less where the long side would exceed `longest`.

    The short side is rounded, and the long side is what that makes it, rounded down: it may come out a little over `longest`.
    Differs: no side becomes 0; of so thin a strip the long side is `longest`.
    """
    low, high = min(size), max(size)
    if longest and high / low * short > longest:
        short = round(longest * low / high)
    if short < 1:
        return (longest, 1) if size[0] > size[1] else (1, longest)
    long = int(short * high / low)
    return (short, long) if size[0] < size[1] else (long, short)


def draw_steps(size: Size, view: BoxTrainView, draw: random.Random) -> list[Step]:
    """What a training view does to a picture of this width and height."""
    steps: list[Step] = [Mirror()] if draw.random() < view.flip else []
    if draw.random() < view.crop_prob:
        size = resized_size(size, draw.choice(view.crop_shorts))
        least, most = view.crop_range
        width, height = (draw.randint(min(least, side), min(most, side)) for side in size)
        left, top = draw.randint(0, size[0] - width), draw.randint(0, size[1] - height)
        steps += [Resize(*size), Crop(left, top, width, height)]
        size = (width, height)
    return [*steps, Resize(*resized_size(size, draw.choice(view.shorts), view.longest))]


# ---- objects ------------------------------------------------------------------------------------------------------


def objects_of(example: Example, size: Size) -> Objects:
    """The objects of an example that a detector learns, their boxes cut off at the edge of the picture.

    Args:
        size: width and height of the upright picture.
    Raises:
        BadData: the example's `width` and `height` are others, so that its boxes lie elsewhere.
    """
    told = (example.get("width", size[0]), example.get("height", size[1]))
    if told != size:
        turned = "; it is turned by its EXIF block, and the boxes are for the picture as stored" if told == size[::-1] else ""
        raise BadData(
            f"{where(example)}: the picture is {size[0]} x {size[1]} pixels and its boxes are for {told[0]:g} x {told[1]:g}{turned}; "
            "give the annotations that belong to this picture"
        )
    found = [(i, o) for i, o in enumerate(example.get("objects", ())) if not o.get("crowd")]
    boxes = torch.tensor([o["box_xyxy"] for _, o in found], dtype=torch.float32).reshape(len(found), 4)
    boxes = torch.minimum(boxes.clamp(min=0), torch.tensor([*size, *size], dtype=torch.float32))
    area = torch.tensor([o["area"] for _, o in found], dtype=torch.float32)
    return _only(Objects(size, boxes, area, tuple(i for i, _ in found)), _has_area(boxes))


def moved(objects: Objects, step: Step) -> Objects:
    """The objects after a step; those with nothing left in the picture are gone."""
    if isinstance(step, Crop):
        return _cropped(objects, step)
    width, height = objects.size
    x0, y0, x1, y1 = objects.boxes_xyxy.unbind(-1)
    if isinstance(step, Mirror):
        return replace(objects, boxes_xyxy=torch.stack([width - x1, y0, width - x0, y1], -1))
    by_x, by_y = step.width / width, step.height / height  # what was reached, not what was asked for: sizes are whole numbers
    return replace(
        objects,
        size=(step.width, step.height),
        boxes_xyxy=objects.boxes_xyxy * torch.tensor([by_x, by_y, by_x, by_y]),
        area=objects.area * (by_x * by_y),
    )


def _cropped(objects: Objects, part: Crop) -> Objects:
    left, top, width, height = part
    boxes = objects.boxes_xyxy - torch.tensor([left, top, left, top])
    boxes = torch.minimum(boxes, torch.tensor([width, height, width, height])).clamp(min=0)
    cut = replace(
        objects,
        size=(width, height),
        boxes_xyxy=boxes,
        area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
    )
    return _only(cut, _has_area(boxes))


def _has_area(boxes: Float[Tensor, "n 4"]) -> Bool[Tensor, " n"]:
    return (boxes[:, 2:] > boxes[:, :2]).all(-1)


def _only(objects: Objects, chosen: Bool[Tensor, " n"]) -> Objects:
    if chosen.all():
        return objects
    kept = tuple(i for i, stays in zip(objects.kept, chosen.tolist(), strict=True) if stays)
    return replace(objects, boxes_xyxy=objects.boxes_xyxy[chosen], area=objects.area[chosen], kept=kept)


# ---- masks --------------------------------------------------------------------------------------------------------


def _masks(rows: Sequence[dict[str, Any]], size: Size, steps: Sequence[Step], place: str) -> Bool[Tensor, "n h w"]:
    """The masks as the picture first was, then every step's nearest pixels in one go."""
    without = next((row for row in rows if not row.get("segmentation")), None)
    if without is not None:
        raise BadData(f"{place}: object {without.get('id', without['label'])} has no segmentation and others have; read without ?masks=yes")
    names = [f"{place}: object {row.get('id', row['label'])}" for row in rows]
    masks = polygons.to_masks([row["segmentation"] for row in rows], size[1], size[0], names)
    down, across = nearest_pixels(size, steps)
    return masks[:, torch.from_numpy(down)][:, :, torch.from_numpy(across)]


def nearest_pixels(size: Size, steps: Sequence[Step]) -> tuple[Int[np.ndarray, " h"], Int[np.ndarray, " w"]]:
    """Of each row and each column after the steps, the one before them that nearest-neighbour resampling shows there."""
    across, down = np.arange(size[0]), np.arange(size[1])
    todo = list(steps)
    while todo:
        step = todo.pop(0)
        if isinstance(step, Mirror):
            across = across[::-1]
            continue
        after = todo[0] if todo else None
        if isinstance(step, Crop):
            whole, part = Resize(len(across), len(down)), step
        elif isinstance(after, Crop):
            whole, part = step, after  # at once: of a strip the whole could be millions
            todo.pop(0)
        else:
            whole, part = step, Crop(0, 0, *step)
        across = across[_nearest(len(across), whole.width, part.left, part.width)]
        down = down[_nearest(len(down), whole.height, part.top, part.height)]
    return down.copy(), across.copy()


def _nearest(old: int, new: int, start: int, num: int) -> Int[np.ndarray, " {num}"]:
    """Of `num` places of `new` along a side, which of `old` ones nearest-neighbour resampling takes, as torch does."""
    found = np.arange(start, start + num).astype(np.float32) * np.float32(old / new)
    return np.minimum(found.astype(np.int64), old - 1)


# ---- pixels -------------------------------------------------------------------------------------------------------


def shown(picture: Picture, steps: Sequence[Step], exact: bool = False) -> Pixels:
    """The pixels of the picture after the steps; `exact` as in `test_boxes`."""
    todo = list(steps)
    sizes = [(i, step) for i, step in enumerate(todo) if isinstance(step, Resize)]
    plain = sizes and not exact and not _strip(todo[sizes[0][0] :])
    shortest = round(DRAFT_MARGIN * min(sizes[0][1])) if plain else None
    scale, pixels = picture.scale(shortest), picture.array(shortest)
    if scale > 1:
        # sides of what was decoded smaller are rounded up, so its right edge lies outside and must not be mirrored to the left
        todo.insert(0, todo.pop(sizes[0][0]))
    real = (picture.size[0] / scale, picture.size[1] / scale)
    while todo:
        step = todo.pop(0)
        if isinstance(step, Mirror):
            pixels = torch.from_numpy(pixels).flip(1).numpy()  # numpy takes five times as long over three interleaved channels
        elif isinstance(step, Crop):
            pixels = np.ascontiguousarray(pixels[step.top : step.top + step.height, step.left : step.left + step.width])
        elif strip := _strip([step, *todo]):
            pixels = _part_of_strip(pixels, *strip)
            todo.pop(0)
        else:
            pixels = _resized(pixels, step, real, exact)
        real = (pixels.shape[1], pixels.shape[0])
    return pixels


def _strip(steps: Sequence[Step]) -> tuple[Resize, Crop] | None:
    """The first two steps where a strip is resized to be cut: as a whole it could take gigabytes, of which a part is kept."""
    match steps:
        case [Resize() as whole, Crop() as part, *_] if max(whole) > _LONGEST * min(whole):
            return whole, part
    return None


def _part_of_strip(pixels: Pixels, whole: Resize, part: Crop) -> Pixels:
    """What is cut out of the resized picture, alone resized; within 1 of 255 of it."""
    height, width = pixels.shape[:2]
    by_x, by_y = width / whole.width, height / whole.height
    box = (part.left * by_x, part.top * by_y, (part.left + part.width) * by_x, (part.top + part.height) * by_y)
    return np.array(Image.fromarray(pixels).resize((part.width, part.height), Image.Resampling.BILINEAR, box=box))


def _resized(pixels: Pixels, to: Resize, real: tuple[float, float], exact: bool) -> Pixels:
    """All of the picture at another size.

    Args:
        real: width and height of what the pixels show: less than there are where the last ones lie partly outside.
    """
    if pixels.shape[1::-1] == real == tuple(to):
        return pixels
    if exact:
        return np.array(Image.fromarray(pixels).resize(to, Image.Resampling.BILINEAR))
    # the axis of one first, then the turn: torch then knows the memory as h w c, works fastest on it and keeps it
    image = rearrange(rearrange(torch.from_numpy(pixels), "h w c -> 1 h w c"), "b h w c -> b c h w")
    factors = [to.height / real[1] * (1 + 1e-9), to.width / real[0] * (1 + 1e-9)]  # torch rounds the size down
    done = functional.interpolate(image, scale_factor=factors, mode="bilinear", antialias=True, align_corners=False)
    return rearrange(done[:, :, : to.height, : to.width], "1 c h w -> h w c").numpy()


def spoiled(picture: UInt8[Tensor, "3 h w"], corruption: dict[str, Any], place: str) -> UInt8[Tensor, "3 h w"]:
    """The picture with that corruption; BadData where it is too small for any."""
    height, width = picture.shape[1:]
    if min(height, width) < _LEAST:
        raise BadData(f"{place}: {width} x {height} pixels once resized; corruptions are for pictures of {_LEAST} pixels and more a side")
    return corrupt_images(rearrange(picture, "c h w -> 1 c h w"), corruption["kind"], corruption["severity"], [corruption["seed"]])[0]
