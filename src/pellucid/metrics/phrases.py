"""PhraseCut's numbers: how well the boxes, or the masks, that a phrase is answered with cover together what it speaks of.

A prediction has `boxes_xyxy` and `scores`, for masks `masks` (COCO's run lengths); an example, whose caption is the phrase, has `id` and
`objects` with `box_xyxy`, for masks `height`, `width`, and `phrase_masks`, COCO's segmentation of all that the phrase speaks of, or else a
`segmentation` of each object.

Source: Wu et al. 2020, PhraseCut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from pellucid.errors import BadData
from pellucid.metrics.detections import run_lengths
from pellucid.metrics.gathered import Memo
from pellucid.metrics.grounding import of_any_kind
from pellucid.metrics.shares import Part, Share
from pellucid.task import Example, Metric

OVERLAPS = (0.5, 0.6, 0.7, 0.8, 0.9)  # above which a phrase counts as found
Kind = Literal["box", "mask"]


def phrase_cut_metrics(masks: bool = False, threshold: float = 0.7) -> dict[str, Metric]:
    """Of the boxes' union mean IoU over phrases, cumulative IoU (all shared area by all united), and the share with IoU above .5 ... .9.

    Args:
        masks: also the same of the masks' union, first.
        threshold: score above which a box or mask belongs to the answer.
    """
    memo = Memo(partial(covered, masks=masks, threshold=threshold))
    kinds: tuple[Kind, ...] = ("mask", "box") if masks else ("box",)
    found: dict[str, Metric] = {}
    for kind in kinds:
        found[f"{kind}_mIoU"] = Share(partial(_iou, kind=kind), memo)
        found[f"{kind}_cIoU"] = Share(partial(_areas, kind=kind), memo)
        found |= {f"{kind}_P@{least:.1g}": Share(partial(_above, kind=kind, least=least), memo) for least in OVERLAPS}
    return found


@dataclass(frozen=True, eq=False)
class Covered:
    """Of one phrase the area that answer and truth share and the area of both, in pixels: of boxes, and of masks where asked for."""

    box: tuple[float, float]
    mask: tuple[float, float] | None = None


def covered(prediction: Any, example: Example, masks: bool = False, threshold: float = 0.7) -> Covered:
    """The answer to a phrase beside the truth.

    Differs: PhraseCut's tool counts pixels, those of a box from its first to its last but one, those of a mask with its outline; we take
    boxes by their area, and masks as COCO draws them.

    Raises:
        BadData: boxes or scores that are not finite, a mask of another size.
    """
    picture = of_any_kind(prediction, example)
    kept = np.flatnonzero(picture.found.scores > threshold)
    box = common_areas(picture.found.boxes_xyxy[kept], picture.objects.boxes_xyxy)
    return Covered(box, _masks(prediction, example, kept.tolist()) if masks else None)


def _masks(prediction: Mapping[str, Any], example: Example, kept: Sequence[int]) -> tuple[float, float]:
    name, made = f"example {example.get('id', 'without id')!r}", prediction.get("masks")
    if made is None or len(made) != len(prediction["scores"]):
        raise BadData(f"prediction of {name} has {'no' if made is None else len(made)} masks; expected one for each box")
    if "height" not in example or "width" not in example:
        raise BadData(f"{name} has no height and width, which masks need")
    size = (int(example["height"]), int(example["width"]))
    if "phrase_masks" in example:
        whole = example["phrase_masks"]
        truth = [run_lengths(whole, size, f"{name}: the phrase")] if whole else []
    else:
        truth = [run_lengths(one.get("segmentation"), size, f"{name}: object {i}") for i, one in enumerate(example.get("objects", ()))]
    return common_masks([run_lengths(made[i], size, f"prediction of {name}: detection {i}") for i in kept], truth)


def common_areas(found: Float[np.ndarray, "n 4"], objects: Float[np.ndarray, "m 4"]) -> tuple[float, float]:
    """The area that two sets of boxes share, and that of both together, each set united first."""
    both = np.concatenate([found, objects])
    columns, rows = np.unique(both[:, [0, 2]]), np.unique(both[:, [1, 3]])
    if not len(both):
        return 0.0, 0.0
    a, b = (_filled(boxes, rows, columns) for boxes in (found, objects))
    cells = np.multiply.outer(np.diff(rows), np.diff(columns))
    return float(cells[a & b].sum()), float(cells[a | b].sum())


def _filled(boxes: Float[np.ndarray, "n 4"], rows: Float[np.ndarray, " h"], columns: Float[np.ndarray, " w"]) -> Bool[np.ndarray, "i j"]:
    """Which cells between the lines are inside one of the boxes, whose edges are all lines."""
    inside = np.zeros((len(rows) - 1, len(columns) - 1), dtype=bool)
    left, right = (np.searchsorted(columns, boxes[:, i]).tolist() for i in (0, 2))
    top, bottom = (np.searchsorted(rows, boxes[:, i]).tolist() for i in (1, 3))
    for x0, y0, x1, y1 in zip(left, top, right, bottom, strict=True):
        inside[y0:y1, x0:x1] = True
    return inside


def common_masks(found: Sequence[dict[str, Any]], truth: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The pixels that two sets of masks share, and those of both together, each set united first."""
    from faster_coco_eval.core import mask

    each = [mask.merge(list(part)) for part in (found, truth) if part]
    if not each:
        return 0.0, 0.0
    shared = float(mask.area(mask.merge(each, intersect=True))) if len(each) == 2 else 0.0
    return shared, float(mask.area(mask.merge(each)))


def _of(row: Covered, kind: Kind) -> tuple[float, float]:
    told = row.mask if kind == "mask" else row.box
    assert told is not None, "masks were not read"
    return told


def _iou(row: Covered, kind: Kind) -> list[Part]:
    shared, united = _of(row, kind)
    return [Part(shared / united if united else 0.0)]


def _areas(row: Covered, kind: Kind) -> list[Part]:
    return [Part(*_of(row, kind))]


def _above(row: Covered, kind: Kind, least: float) -> list[Part]:
    return [Part(float(_iou(row, kind)[0].gained > least))]
