"""COCO AP by faster-coco-eval: what goes in, the numbers that come out, and the matches it made.

All ids are our own, from 1, in the order of the data's: an annotation with the id 0 counts as unmatched in every evaluator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.metrics.detections import Picture

Kind = Literal["bbox", "segm"]
THRESHOLDS = 10  # IoU .5, .55 ... .95
RECALLS = np.linspace(0, 1, 101)
AREAS = ("all", "small", "medium", "large")
MOST = (1, 10, 100)  # detections of a class in a picture that count, the best


@dataclass(frozen=True)
class View:
    """Which part of the curves a number is the mean of: precision, or the recall that is reached.

    Args:
        iou: place of the threshold, None for all ten.
    """

    precision: bool
    iou: int | None = None
    area: int = 0
    most: int = 2


NUMBERS = {
    "AP": View(True),
    "AP50": View(True, iou=0),
    "AP75": View(True, iou=5),
    **{f"AP_{area}": View(True, area=AREAS.index(area)) for area in AREAS[1:]},
    **{f"AR_{most}": View(False, most=i) for i, most in enumerate(MOST)},
    **{f"AR_{area}": View(False, area=AREAS.index(area)) for area in AREAS[1:]},
}


@dataclass(frozen=True)
class Found:
    """The twelve numbers, NaN where nothing is there to be found, and AP of each class."""

    numbers: dict[str, float]
    per_class: Float[np.ndarray, " c"]


@dataclass(frozen=True)
class Matches:
    """Of one class and one size of objects: its detections, the strongest first, equal ones in the pictures' order.

    Args:
        picture: of each detection.
        rank: place among the detections of its class and picture.
        hit: whether it found an object that counts, per threshold.
        counted: whether it is right or wrong; false of one that found a crowd or an object of another size.
        positives: objects that count, per picture.
    """

    picture: Int[np.ndarray, " n"]
    rank: Int[np.ndarray, " n"]
    hit: Bool[np.ndarray, "t n"]
    counted: Bool[np.ndarray, "t n"]
    positives: Float[np.ndarray, " b"]


@dataclass(frozen=True)
class Tables:
    """COCO's dictionaries under our ids: pictures and classes are numbered from 1, annotations and detections too."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    detections: list[dict[str, Any]]
    num_classes: int


def tables(pictures: Sequence[Picture], kind: Kind) -> Tables:
    """The pictures in the evaluator's form, in their order."""
    images: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    for i, picture in enumerate(pictures, 1):
        height, width = picture.size_hw or (0, 0)
        images.append({"id": i, "height": height, "width": width})
        objects, found = picture.objects, picture.found
        truth += _entries(i, objects.label, objects.boxes_xyxy, objects.area, objects.masks if kind == "segm" else None)
        for entry, crowd in zip(truth[len(truth) - len(objects.label) :], objects.crowd.tolist(), strict=True):
            entry["iscrowd"] = int(crowd)
        area = _mask_areas(found.masks or []) if kind == "segm" else (found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]).prod(1)
        fresh = _entries(i, found.label, found.boxes_xyxy, area, found.masks if kind == "segm" else None)
        for entry, score in zip(fresh, found.scores.tolist(), strict=True):
            entry["score"] = score
        made += fresh
    for entries in (truth, made):
        for number, entry in enumerate(entries, 1):
            entry["id"] = number
    return Tables(images, truth, made, len(pictures[0].classes) if pictures else 0)


def _entries(
    image: int, label: np.ndarray, boxes: np.ndarray, area: np.ndarray, masks: list[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    boxes_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    entries: list[dict[str, Any]] = [
        {"image_id": image, "category_id": c + 1, "bbox": box, "area": a, "iscrowd": 0}
        for c, box, a in zip(label.tolist(), boxes_xywh, area.tolist(), strict=True)
    ]
    for entry, mask in zip(entries, masks or [], strict=False):
        entry["segmentation"] = mask
    return entries


def _mask_areas(masks: list[dict[str, Any]]) -> Float[np.ndarray, " n"]:
    from faster_coco_eval.core import mask

    return np.asarray(mask.area(masks), dtype=np.float64) if masks else np.empty(0)


def evaluate(given: Tables, kind: Kind) -> Found:
    """The evaluator's numbers."""
    return found_in(run(given, kind).eval, given.num_classes)


def run(given: Tables, kind: Kind, keep: bool = False) -> Any:
    """The evaluator after its work.

    Args:
        keep: the matches of each picture too.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    categories = [{"id": i + 1, "name": str(i)} for i in range(given.num_classes)]
    shared = {"images": given.images, "categories": categories}
    truth, made = (COCO({**shared, "annotations": entries}) for entries in (given.annotations, given.detections))
    evaluator = COCOeval_faster(truth, made, kind, separate_eval=keep)
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator


def found_in(curves: dict[str, Any], num_classes: int) -> Found:
    """Means over the classes and sizes that have objects."""
    precision, recall = curves["precision"], curves["recall"]  # t s c a m, t c a m
    numbers = {}
    for name, view in NUMBERS.items():
        part = (precision if view.precision else recall)[..., view.area, view.most]
        numbers[name] = _mean(part if view.iou is None else part[view.iou])
    return Found(numbers, np.array([_mean(precision[:, :, c, 0, 2]) for c in range(num_classes)]))


def _mean(values: np.ndarray) -> float:
    """The evaluator writes -1 where there are no objects."""
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")


def matches(evaluator: Any, num_pictures: int, num_classes: int) -> list[list[Matches]]:
    """What the evaluator matched, per class and size; of one run with `keep`."""
    kept = evaluator._evalImgs_cpp
    assert len(kept) == num_classes * len(AREAS) * num_pictures, "the evaluator keeps its matches in another order"
    blocks = [kept[start : start + num_pictures] for start in range(0, len(kept), max(num_pictures, 1))]
    ordered = [_ranked(block) for block in blocks]
    return [ordered[i : i + len(AREAS)] for i in range(0, len(ordered), len(AREAS))]


def _ranked(block: list[Any]) -> Matches:
    """The matches of all pictures for one class and size, in one ranking."""
    scores: list[float] = []
    matched: list[int] = []  # by picture, threshold, detection
    left_out: list[bool] = []
    sizes, positives = [], []
    for one in block:
        # matched object per threshold and detection, matched detections, scores, objects left out, detections left out, pairs
        found, _, score, objects_out, out, _ = one.__getstate__()
        scores += score
        matched += found
        left_out += out
        sizes.append(len(score))
        positives.append(len(objects_out) - sum(objects_out))
    size, start = np.array(sizes, dtype=np.int64), np.cumsum([0, *sizes[:-1]])
    picture = np.repeat(np.arange(len(block)), size)
    rank = np.arange(len(picture)) - start[picture]
    order = np.argsort(-np.array(scores), kind="stable")
    picture, rank = picture[order], rank[order]
    place = np.multiply.outer(np.arange(THRESHOLDS), size[picture]) + THRESHOLDS * start[picture] + rank  # t n
    counted = ~np.array(left_out, dtype=bool)[place]
    return Matches(picture, rank, (np.array(matched, dtype=np.int64)[place] > 0) & counted, counted, np.array(positives, dtype=np.float64))
