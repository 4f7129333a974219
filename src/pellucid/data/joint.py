"""Pictures with boxes and a map of classes, as a network for both sees them: colours, zoom, crop, flip, and a square; all go along.

Source: BlitzNet's training (Dvornik et al. 2017), which TripleNet's is taken to be. Everything random in a view is a function of one seed.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from pellucid.data.boxes import Objects, Size, objects_of, spoiled
from pellucid.data.decode import Picture, look
from pellucid.data.images import DRAFT_MARGIN, sound
from pellucid.data.joint_views import JointTrainView, JointView
from pellucid.data.map_sources import VOID
from pellucid.data.maps import faults, has_map, read_map
from pellucid.data.photometric import recoloured
from pellucid.data.pictures import readable, where
from pellucid.errors import BadData, UnsafeInput
from pellucid.task import Example

Pixels = UInt8[np.ndarray, "_ _ 3"]
Indices = UInt8[np.ndarray, "_ _"]


class Window(NamedTuple):
    """A rectangle of the picture's plane, in its pixels; it may reach beyond the picture."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class JointFramed:
    """A picture, its objects and its map as one example of a batch.

    Args:
        picture: in memory it lies as `h w 3`.
        boxes_xyxy: in pixels of `picture`.
        map: per pixel of `picture` 0 for background, k for the k-th label, 255 where nobody knows: everywhere, where the row has no map.
        boxed: the row tells its objects; where it does not, `boxes_xyxy` is empty and nothing may be learned from that.
        mapped: the row has a map.
        size_hw: height and width of the stored picture, upright.
        kept: of each object, its place in the example's list.
    """

    picture: UInt8[Tensor, "3 h w"]
    boxes_xyxy: Float[Tensor, "n 4"]
    labels: tuple[str, ...]
    map: UInt8[Tensor, "h w"]
    boxed: bool
    mapped: bool
    size_hw: tuple[int, int]
    kept: tuple[int, ...]


def usable(examples: Sequence[Example], source: str, check: str, broken: str, labels: tuple[str, ...] = ()) -> list[Example]:
    """The examples whose picture can be read and whose boxes and map are of its size, in classes that are known.

    Args:
        check: what is looked at before training: `none`; `header`, of pictures their headers and of maps all but painted outlines; `full`.
        broken: what becomes of one that cannot be used: `refuse` or `skip`.
        labels: as in `test_joint`.
    Raises:
        BadData, UnsafeInput: such an example, and they are not left out; the message names it.
    """
    some, skip = list(readable(examples, source, check, broken)), broken == "skip"
    if check == "none":
        return some
    some = sound(some, [_misfit(example) for example in some], source, f"of {len(some)} pictures' boxes", skip)
    return sound(some, faults(some, labels, check == "full"), source, f"of {sum(map(has_map, some))} maps", skip)


def _misfit(example: Example) -> BadData | UnsafeInput | None:
    """Boxes that are for a picture of another size."""
    if example.get("objects") is None:
        return None
    try:
        objects_of(example, look(example["image"], where(example)).size)
    except (BadData, UnsafeInput) as fault:
        return fault
    return None


def test_joint(example: Example, view: JointView, labels: tuple[str, ...] = ()) -> JointFramed:  # noqa: PT028
    """The whole picture in a square, spoiled as the example's `corruption` says; its objects but crowds, and its map.

    Args:
        labels: the names whose places, from 1 on, the map's indices are to be; without, the example's own classes.
    Raises:
        BadData: the picture or the map cannot be read, or they and the boxes are not of one size; the message names the file.
        UnsafeInput: as `open_image`.
    """
    picture = look(example["image"], where(example))
    whole = Window(0, 0, *picture.size)
    framed = _framed(example, _Look(picture, whole, False, view.size), labels, JointTrainView(least=0.0), None)
    corruption = example.get("corruption")
    return replace(framed, picture=spoiled(framed.picture, corruption, where(example))) if corruption else framed


def train_joint(example: Example, view: JointTrainView, size: int, seed: int, labels: tuple[str, ...] = ()) -> JointFramed:
    """A random view of the picture, `size` pixels square, of the objects whose middle is left in it, and of the map.

    Args:
        labels: as in `test_joint`.
    Raises:
        BadData, UnsafeInput: as `test_joint`.
    """
    picture = look(example["image"], where(example))
    draw = random.Random(seed)
    boxes = objects_of(_with_objects(example), picture.size).boxes_xyxy
    seen = draw_window(picture.size, boxes.numpy(), view, draw)
    return _framed(example, _Look(picture, seen, draw.random() < view.flip, size), labels, view, draw)


class _Look(NamedTuple):
    """What is seen of a picture."""

    picture: Picture
    window: Window
    mirrored: bool
    size: int


def _framed(example: Example, seen: _Look, labels: tuple[str, ...], view: JointTrainView, draw: random.Random | None) -> JointFramed:
    told = _with_objects(example)
    size = seen.picture.size
    objects = placed(objects_of(told, size), seen.window, seen.mirrored, seen.size, view.least)
    if not view.difficult:
        objects = _only(objects, torch.tensor([not told["objects"][i].get("difficult", False) for i in objects.kept], dtype=torch.bool))
    pixels = _shown(seen, view, draw)
    outside = VOID if view.outside == "void" else 0
    shown = np.full((seen.size, seen.size), VOID, dtype=np.uint8)
    if has_map(example):
        shown = shown_map(read_map(example, labels, size), seen.window, seen.size, outside)
    if seen.mirrored:
        pixels, shown = torch.from_numpy(pixels).flip(1).numpy(), shown[:, ::-1].copy()
    return JointFramed(
        picture=rearrange(torch.from_numpy(pixels), "h w c -> c h w"),
        boxes_xyxy=objects.boxes_xyxy,
        labels=tuple(told["objects"][i]["label"] for i in objects.kept),
        map=torch.from_numpy(shown),
        boxed=example.get("objects") is not None,
        mapped=has_map(example),
        size_hw=(size[1], size[0]),
        kept=objects.kept,
    )


def _with_objects(example: Example) -> Example:
    """An example without objects as one that has none."""
    return example if example.get("objects") is not None else {**example, "objects": []}


# ---- which part ---------------------------------------------------------------------------------------------------


def draw_window(size: Size, boxes: Float[np.ndarray, "n 4"], view: JointTrainView, draw: random.Random) -> Window:
    """The part of the plane that a training view shows of a picture of this width and height.

    As in TensorFlow's sampler a part must hold the drawn coverage of one object; where there is none, of the picture.
    Differs: it must hold the middle of one, too, so that no picture loses all of its objects.
    """
    ground = Window(0, 0, *size)
    if draw.random() < view.zoom_prob:
        ratio = draw.uniform(*view.zoom)
        width, height = round(ratio * size[0]), round(ratio * size[1])
        ground = Window(-draw.randint(0, width - size[0]), -draw.randint(0, height - size[1]), width, height)
    if draw.random() >= view.crop_prob:
        return ground
    coverage = draw.choice(view.coverages)
    wanted = boxes if len(boxes) else np.array([[0, 0, *size]], dtype=np.float32)
    for _ in range(view.tries):
        part = _part(ground, view, draw)
        if part is not None and holds(part, wanted, coverage):
            return part
    return ground


def _part(ground: Window, view: JointTrainView, draw: random.Random) -> Window | None:
    """A rectangle of a drawn area and ratio somewhere in the ground; None where such a one does not fit."""
    area, ratio = draw.uniform(*view.crop_area) * ground.width * ground.height, draw.uniform(*view.crop_ratio)
    width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    if not (1 <= width <= ground.width and 1 <= height <= ground.height):
        return None
    return Window(ground.left + draw.randint(0, ground.width - width), ground.top + draw.randint(0, ground.height - height), width, height)


def holds(part: Window, boxes: Float[np.ndarray, "n 4"], coverage: float) -> bool:
    """Whether the part has the middle of a box, and at least this share of one."""
    low, high = np.array(part[:2]), np.array(part[:2]) + part[2:]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middles >= low) & (middles < high)).all(1)
    shared = (np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low)).clip(min=0).prod(1)
    return bool(inside.any() and (shared >= coverage * (boxes[:, 2:] - boxes[:, :2]).prod(1)).any())


# ---- objects ------------------------------------------------------------------------------------------------------


def placed(objects: Objects, part: Window, mirrored: bool, size: int, least: float) -> Objects:
    """The objects in a square of `size` pixels that shows the part: those whose middle lies in it, cut off at its edge.

    Args:
        least: pixels of the square that both sides of a box must have to be left in.
    """
    boxes = objects.boxes_xyxy - torch.tensor([part.left, part.top] * 2)
    far = torch.tensor([part.width, part.height], dtype=torch.float32)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((middles >= 0) & (middles < far)).all(-1)
    by_x, by_y = size / part.width, size / part.height
    boxes = torch.minimum(boxes.clamp(min=0), far.repeat(2)) * torch.tensor([by_x, by_y, by_x, by_y])
    if mirrored:
        x0, y0, x1, y1 = boxes.unbind(-1)
        boxes = torch.stack([size - x1, y0, size - x0, y1], -1)
    sides = boxes[:, 2:] - boxes[:, :2]
    moved = replace(objects, size=(size, size), boxes_xyxy=boxes, area=sides.prod(-1))
    return _only(moved, inside & (sides >= least).all(-1) & (sides > 0).all(-1))


def _only(objects: Objects, chosen: Bool[Tensor, " n"]) -> Objects:
    kept = tuple(i for i, stays in zip(objects.kept, chosen.tolist(), strict=True) if stays)
    return replace(objects, boxes_xyxy=objects.boxes_xyxy[chosen], area=objects.area[chosen], kept=kept)


# ---- pixels -------------------------------------------------------------------------------------------------------


def _shown(seen: _Look, view: JointTrainView, draw: random.Random | None) -> Pixels:
    """The part in a square, in other colours where there is chance; what lies outside of the picture has the view's own colour."""
    picture, part, size = seen.picture, seen.window, seen.size
    shortest = math.ceil(DRAFT_MARGIN * size * min(picture.size) / min(part.width, part.height))
    scale, pixels = picture.scale(shortest), picture.array(shortest)
    across, down = (_span(start, length, side, size) for start, length, side in zip(part[:2], part[2:], picture.size, strict=True))
    found = np.empty((size, size, 3), dtype=np.uint8)
    found[:] = view.fill
    if across[0] >= across[1] or down[0] >= down[1]:
        return found
    x0, x1 = _edges(across, part.left, part.width, picture.size[0], size)
    y0, y1 = _edges(down, part.top, part.height, picture.size[1], size)
    box = (x0 / scale, y0 / scale, x1 / scale, y1 / scale)
    image = Image.fromarray(pixels).resize((across[1] - across[0], down[1] - down[0]), Image.Resampling.BILINEAR, box=box)
    inside = np.array(image)
    found[down[0] : down[1], across[0] : across[1]] = recoloured(inside, view, draw) if draw else inside
    return found


def _span(start: int, length: int, side: int, size: int) -> tuple[int, int]:
    """First and past the last of `size` places along a part whose middle lies in the picture, which is `side` long."""
    first, last = (math.ceil((edge - start) * size / length - 0.5) for edge in (0, side))
    return min(max(first, 0), size), min(max(last, 0), size)


def _edges(span: tuple[int, int], start: int, length: int, side: int, size: int) -> tuple[float, float]:
    """Where in the picture these places begin and end; at its edge half a place may lie outside, and is drawn in."""
    first, last = (start + place * length / size for place in span)
    return max(first, 0.0), min(last, float(side))


def shown_map(indices: Indices, part: Window, size: int, outside: int) -> Indices:
    """The map of the part in a square: of each pixel the index under its middle, `outside` beyond the picture."""
    (height, width), found = indices.shape, np.full((size, size), outside, dtype=np.uint8)
    left, right = _span(part.left, part.width, width, size)
    top, bottom = _span(part.top, part.height, height, size)
    columns = _under(left, right, part.left, part.width, width, size)
    rows = _under(top, bottom, part.top, part.height, height, size)
    found[top:bottom, left:right] = indices[np.ix_(rows, columns)]
    return found


def _under(first: int, last: int, start: int, length: int, side: int, size: int) -> np.ndarray:
    places = start + (np.arange(first, last) + 0.5) * length / size
    return np.floor(places).astype(np.int64).clip(0, side - 1)
