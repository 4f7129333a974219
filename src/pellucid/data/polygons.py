"""Masks of objects: COCO's polygons and run lengths to pixels, and pixels to run lengths.

A run-length code counts the pixels of a mask down its columns, off and on in turn, beginning with off.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool
from torch import Tensor

from pellucid.errors import BadData

_FAR = 1  # picture sides by which a corner may lie outside: an edge is walked pixel by pixel, so one far away takes memory without end


def to_masks(segmentations: Sequence[Any], height: int, width: int, names: Sequence[str] = ()) -> Bool[Tensor, "n {height} {width}"]:
    """Which pixels each object covers; the union of its polygons, as pycocotools paints them.

    Args:
        segmentations: of each object polygons `[[x, y, x, y, ...], ...]`, or `{"size": [h, w], "counts": list or text}`.
        names: what messages call the objects.
    Raises:
        BadData: neither of the two, or not of a picture of this size.
    """
    found = np.zeros((len(segmentations), height, width), dtype=bool)
    for i, segmentation in enumerate(segmentations):
        where = names[i] if names else f"object {i + 1}"
        if isinstance(segmentation, dict):
            found[i] = _from_code(segmentation, height, width, where)
        else:
            found[i] = _painted(segmentation, height, width, where)
    return torch.from_numpy(found)


def to_codes(masks: Bool[Tensor, "n h w"]) -> list[dict[str, Any]]:
    """COCO's compressed run-length code of each mask, as JSON can hold it."""
    from faster_coco_eval.core import mask as coco_mask

    if not masks.numel():
        return [{"size": list(masks.shape[1:]), "counts": ""} for _ in masks]
    columns = np.asfortranarray(rearrange(masks, "n h w -> h w n").cpu().numpy(), dtype=np.uint8)
    return [{"size": list(masks.shape[1:]), "counts": code["counts"].decode("ascii")} for code in coco_mask.encode(columns)]


# ---- polygons -----------------------------------------------------------------------------------------------------


def _painted(polygons: Any, height: int, width: int, where: str) -> Bool[np.ndarray, "{height} {width}"]:
    from faster_coco_eval.core import mask as coco_mask

    check_polygons(polygons, height, width, where)
    codes = coco_mask.frPyObjects([[float(x) for x in polygon] for polygon in polygons], height, width)
    return coco_mask.decode(coco_mask.merge(codes)).astype(bool)


def check_polygons(polygons: Any, height: int, width: int, where: str) -> None:
    """Checks that these are polygons whose corners lie in or near a picture.

    Raises:
        BadData: naming the object and what is wrong with it.
    """
    if not isinstance(polygons, list) or not polygons:
        expected = "expected a list of polygons [x, y, x, y, ...] or a run-length code"
        raise BadData(f"{where}: the segmentation is {str(polygons)[:40]!r}; {expected}")
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2 or not all(_is_number(x) for x in polygon):
            raise BadData(f"{where}: the polygon {str(polygon)[:40]} is no list of three or more corners x, y")
        for coordinates, side in ((polygon[::2], width), (polygon[1::2], height)):
            if min(coordinates) < -_FAR * side or max(coordinates) > (1 + _FAR) * side:
                worst = max(coordinates, key=lambda x: abs(x - side / 2))
                raise BadData(f"{where}: a corner of the polygon lies at {worst:g} in a picture of {width} x {height}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


# ---- run lengths --------------------------------------------------------------------------------------------------


def _from_code(code: dict[str, Any], height: int, width: int, where: str) -> Bool[np.ndarray, "{height} {width}"]:
    if code.get("size") != [height, width]:
        raise BadData(f"{where}: the run-length code is of {code.get('size')}; the picture is {height} high and {width} wide")
    counts = code.get("counts")
    runs = _runs(counts) if isinstance(counts, (str, bytes)) else _listed(counts)
    if runs is None or (runs < 0).any() or runs.sum() != height * width:
        raise BadData(f"{where}: the run-length code {str(counts)[:40]!r} does not add up to the picture's {height} x {width} pixels")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return rearrange(flat, "(w h) -> h w", h=height)


def _listed(counts: Any) -> np.ndarray | None:
    """Counts that stand there as numbers; None where they do not."""
    if not isinstance(counts, list) or not all(isinstance(x, int) and 0 <= x < 2**40 for x in counts):
        return None
    return np.array(counts, dtype=np.int64)


def _runs(text: str | bytes) -> np.ndarray | None:
    """The counts in COCO's text: five bits a letter, lowest first, from the third on less the count before the last; None if it is none."""
    letters = np.frombuffer(text.encode("utf-8") if isinstance(text, str) else text, dtype=np.uint8).astype(np.int64) - 48
    if not len(letters):
        return letters
    last = (letters & 32) == 0
    if not last[-1] or letters.min() < 0 or letters.max() > 63:
        return None
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    lengths = np.diff(np.append(starts, len(letters)))
    if lengths.max() > 8:  # forty bits: no picture has so many pixels
        return None
    shifts = 5 * (np.arange(len(letters)) - np.repeat(starts, lengths))
    values = np.add.reduceat((letters & 31) << shifts, starts)
    values -= np.where(letters[last] & 16, 1 << (5 * lengths), 0)  # the highest bit of the last letter is the sign
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs
