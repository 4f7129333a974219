"""Objects and detections of one picture, checked: what every number for detection reads.

A prediction is a dict with `labels`, `scores` and `boxes_xyxy` (and `masks`, COCO's run lengths), one entry per detection; an example
has `classes`, `objects` (each with `label` and `box_xyxy`) and `image_id`, or at least `id`. Boxes are edges in pixels: x1 - x0 is
the width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.errors import BadData
from pellucid.task import Example


@dataclass(frozen=True)
class Objects:
    """What is in the picture.

    Args:
        ids: the annotations' own, or places from 0.
        area: in pixels, which decides the size class.
        difficult: VOC's flag; False where the data have none.
        masks: run lengths, where asked for.
    """

    label: Int[np.ndarray, " n"]
    boxes_xyxy: Float[np.ndarray, "n 4"]
    ids: list[Any]
    area: Float[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]
    difficult: Bool[np.ndarray, " n"]
    masks: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Detections:
    """What was found in it."""

    label: Int[np.ndarray, " n"]
    boxes_xyxy: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    masks: list[dict[str, Any]] | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """Objects and detections; a label is a place in `classes`.

    Args:
        key: the number of the picture in its data set, or its id.
    """

    key: int | str
    name: str
    classes: tuple[str, ...]
    size_hw: tuple[int, int] | None
    objects: Objects
    found: Detections


def in_order(pictures: Sequence[Picture]) -> Int[np.ndarray, " n"]:
    """Places of the pictures by their numbers or ids, so that equal scores rank alike however the pictures were shared out.

    Raises:
        BadData: two pictures have one number, or not all have the same classes.
    """
    first: dict[Any, Picture] = {}
    for picture in pictures:
        if picture.key in first:
            raise BadData(f"examples {first[picture.key].name!r} and {picture.name!r} are both picture {picture.key!r}; count each once")
        if picture.classes != pictures[0].classes:
            raise BadData(f"examples {pictures[0].name!r} and {picture.name!r} have different classes; measure them apart")
        first[picture.key] = picture
    keys = [picture.key for picture in pictures]
    return np.array(sorted(range(len(keys)), key=lambda i: (isinstance(keys[i], str), keys[i])), dtype=np.int64)


# ---- reading ------------------------------------------------------------------------------------------------------


def picture_of(prediction: Any, example: Example, masks: bool = False) -> Picture:
    """A pair, checked.

    Args:
        masks: objects and detections must have masks too.
    Raises:
        BadData: no finite boxes and scores, a negative side, a label outside `classes`, an id twice, a mask of another size; with the
            example and the place.
    """
    name = str(example.get("id", example.get("image_id", "without id")))
    missing = [key for key in ("classes", "objects") if key not in example]
    if missing or not ("image_id" in example or "id" in example):
        raise BadData(f"example {name!r} has no {', '.join(missing) or 'id'}; detection is measured against objects of known classes")
    key = example.get("image_id", example.get("id"))
    if isinstance(key, bool) or not isinstance(key, (int, str)):
        raise BadData(f"example {name!r} has the image_id {key!r}; expected a whole number")
    classes = tuple(example["classes"])
    size = (int(example["height"]), int(example["width"])) if "height" in example and "width" in example else None
    if masks and size is None:
        raise BadData(f"example {name!r} has no height and width, which masks need")
    place = {label: i for i, label in enumerate(classes)}
    objects = _objects(example["objects"], place, name, size if masks else None)
    return Picture(key, name, classes, size, objects, _detections(prediction, place, name, size if masks else None))


def _objects(given: Sequence[Mapping[str, Any]], place: Mapping[str, int], name: str, size: tuple[int, int] | None) -> Objects:
    ids = [one.get("id", i) for i, one in enumerate(given)]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise BadData(f"example {name!r}: two objects have the id {twice!r}")
    says = [f"example {name!r}: object {i!r}" for i in ids]
    boxes = _boxes([one.get("box_xyxy") for one in given], says)
    sides = boxes[:, 2:] - boxes[:, :2]
    area = np.array([one.get("area", w * h) for one, (w, h) in zip(given, sides.tolist(), strict=True)], dtype=np.float64)
    for i in np.flatnonzero(~(np.isfinite(area) & (area >= 0))).tolist():
        raise BadData(f"{says[i]} has the area {area[i]}; expected pixels")
    return Objects(
        _labels([one.get("label") for one in given], place, says),
        boxes,
        ids,
        area,
        np.array([bool(one.get("crowd", False)) for one in given], dtype=bool),
        np.array([bool(one.get("difficult", False)) for one in given], dtype=bool),
        None if size is None else [run_lengths(one.get("segmentation"), size, say) for one, say in zip(given, says, strict=True)],
    )


def _detections(given: Any, place: Mapping[str, int], name: str, size: tuple[int, int] | None) -> Detections:
    needed = ("labels", "scores", "boxes_xyxy") + (("masks",) if size is not None else ())
    missing = [key for key in needed if not isinstance(given, Mapping) or key not in given]
    if missing:
        raise BadData(f"prediction of example {name!r} has no {', '.join(missing)}; expected one entry per detection in each")
    counts = {key: len(given[key]) for key in needed}
    if len(set(counts.values())) > 1:
        raise BadData(
            f"prediction of example {name!r} has {', '.join(f'{n} {key}' for key, n in counts.items())}; expected as many of each"
        )
    says = [f"prediction of example {name!r}: detection {i}" for i in range(counts["labels"])]
    scores = np.asarray(given["scores"], dtype=np.float64)
    for i in np.flatnonzero(~np.isfinite(scores)).tolist():
        raise BadData(f"{says[i]} has the score {scores[i]}, which is not finite")
    boxes = _boxes(given["boxes_xyxy"], says)
    masks = None if size is None else [run_lengths(one, size, say) for one, say in zip(given["masks"], says, strict=True)]
    return Detections(_labels(given["labels"], place, says), boxes, scores, masks)


def _labels(given: Sequence[Any], place: Mapping[str, int], says: Sequence[str]) -> Int[np.ndarray, " n"]:
    for label, say in zip(given, says, strict=True):
        if label not in place:
            raise BadData(f"{say} has the label {label!r}, which is none of the {len(place)} classes")
    return np.array([place[label] for label in given], dtype=np.int64)


def _boxes(given: Sequence[Any], says: Sequence[str]) -> Float[np.ndarray, "n 4"]:
    try:
        boxes = np.array(given, dtype=np.float64) if len(given) else np.empty((0, 4))
    except (TypeError, ValueError):
        boxes = np.empty(0)
    if boxes.shape != (len(given), 4):
        wrong = next(i for i, box in enumerate(given) if not _four(box))
        raise BadData(f"{says[wrong]} has the box {given[wrong]!r}; expected x0, y0, x1, y1 in pixels")
    for i in np.flatnonzero(~np.isfinite(boxes).all(1)).tolist():
        raise BadData(f"{says[i]} has the box {boxes[i].tolist()}, which is not finite")
    for i in np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(1)).tolist():
        raise BadData(f"{says[i]} has the box {boxes[i].tolist()} with a negative side; expected x0, y0, x1, y1")
    return boxes


def _four(box: Any) -> bool:
    return isinstance(box, Sequence) and len(box) == 4 and all(isinstance(x, (int, float)) for x in box)


def run_lengths(given: Any, size_hw: tuple[int, int], says: str) -> dict[str, Any]:
    """A mask of polygons, or of run lengths compressed or not, as compressed run lengths of the picture.

    Args:
        says: what has the mask, for the message.
    Raises:
        BadData: it is none of these, or of another size than the picture.
    """
    from faster_coco_eval import mask_api_new_cpp as coded_masks
    from faster_coco_eval.core import mask

    expected = f"expected polygons, or run lengths of a picture of {size_hw[1]} x {size_hw[0]}"
    if isinstance(given, list) and given and all(_polygon(one) for one in given):
        return dict(mask.merge(mask.frPyObjects(given, *size_hw)))
    if not isinstance(given, Mapping) or not isinstance(given.get("counts"), (str, bytes, list)):
        shown = "no mask" if given is None else f"the mask {str(given)[:60]}"
        raise BadData(f"{says} has {shown}; {expected}")
    if list(given.get("size", ())) != list(size_hw):
        raise BadData(f"{says} has a mask of size {given.get('size')}; {expected}")
    counts = given["counts"]
    if isinstance(counts, list):
        if not all(isinstance(run, int) and run >= 0 for run in counts):
            raise BadData(f"{says} has a mask with runs that are no lengths; {expected}")
        runs, coded = counts, mask.frPyObjects({"size": list(size_hw), "counts": counts}, *size_hw)
    else:
        coded = {"size": list(size_hw), "counts": counts.encode() if isinstance(counts, str) else counts}
        runs = coded_masks.toUncompressedRLE([coded])[0]["counts"] if counts else []
    if sum(runs) != size_hw[0] * size_hw[1]:
        raise BadData(f"{says} has a mask of {sum(runs)} pixels; {expected}")
    return dict(coded)


def _polygon(points: Any) -> bool:
    numbers = isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0
    return numbers and all(isinstance(x, (int, float)) and abs(x) < 1e6 for x in points)
