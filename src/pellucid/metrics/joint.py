"""The numbers of a network that gives boxes and a map: each over the pictures of which the data tell what it needs."""

from typing import Any, Literal

from pellucid.metrics.coco import coco_metrics
from pellucid.metrics.consistency import consistency_metrics
from pellucid.metrics.detections import Picture, picture_of
from pellucid.metrics.segmentation import Truth, segmentation_metrics
from pellucid.metrics.voc import voc_metrics
from pellucid.task import Example, Metric

Jobs = Literal["both", "detection", "segmentation"]


def joint_metrics(truth: Truth, average_precision: Literal["coco", "voc"] = "coco", jobs: Jobs = "both") -> dict[str, Metric]:
    """Average precision first, COCO's or VOC's, then the map's numbers, then whether both agree; of one job, its own.

    Args:
        truth: reads an example's map, None where it has none.
    """
    boxes = voc_metrics(picture_where_boxed) if average_precision == "voc" else coco_metrics(read=picture_where_boxed)
    if jobs == "detection":
        return boxes
    maps = segmentation_metrics(truth)
    return maps if jobs == "segmentation" else boxes | maps | consistency_metrics()


def picture_where_boxed(prediction: Any, example: Example, masks: bool = False) -> Picture:
    """The pair, checked; of an example that does not tell its objects a picture without any, detected or there, which counts nothing."""
    picture = picture_of(prediction, {**example, "objects": example.get("objects") or []}, masks)
    if example.get("objects") is not None:
        return picture
    return picture_of({"labels": [], "scores": [], "boxes_xyxy": [], "masks": []}, {**example, "objects": []}, masks)
