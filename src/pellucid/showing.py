"""What a run's page shows besides numbers; of found objects a few pictures of the first test set with both their boxes, and AP by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange

from pellucid.data.images import open_image
from pellucid.evaluate import Evaluation
from pellucid.explain.patches import encoded
from pellucid.parses import parses
from pellucid.predicting import above, has_boxes
from pellucid.qualities import qualities
from pellucid.task import Example, Task

PICTURES, LARGEST = 8, 400  # from all over the set; pixels of the longer side
MOST = 40  # objects of a picture, the surest first


def shown(task: Task, found: Mapping[str, Evaluation]) -> dict[str, dict[str, Any]]:
    """What there is to show, by the name of its file in results/."""
    every = {"objects": objects(task, found), "parses": parses(found), "qualities": qualities(found)}
    return {name: seen for name, seen in every.items() if seen}


def objects(task: Task, found: Mapping[str, Evaluation]) -> dict[str, Any] | None:
    """What results/objects.json holds; None where the task finds no objects."""
    if not any(has_boxes(prediction) for e in found.values() for prediction in e.predictions):
        return None
    threshold = float(getattr(getattr(task, "settings", None), "threshold", 0.0))
    labels, first = list(map(str, getattr(task, "labels", ()))), next(iter(found))
    pictures = _pictures(found[first], threshold)
    classes = {name: _per_class(task, e) for name, e in found.items()}
    return {"threshold": threshold, "labels": labels, "set": first, "pictures": pictures, "classes": classes}


def _per_class(task: Task, found: Evaluation) -> dict[str, float | None]:
    """The first metric of each class that has objects, where the metric tells of classes."""
    metric: Any = next(iter(task.metrics().values()), None)
    if not hasattr(metric, "per_class"):
        return {}
    for prediction, example in zip(found.predictions, found.examples, strict=True):
        metric.update(prediction, example)
    return {name: value for name, value in metric.per_class().items() if value == value}


def _pictures(found: Evaluation, threshold: float) -> list[dict[str, Any]]:
    count = len(found.examples)
    places = sorted({i * count // PICTURES for i in range(PICTURES)})
    return [_picture(found.examples[i], found.predictions[i], threshold) for i in places]


def _picture(example: Example, prediction: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    image = open_image(example["image"], str(example["id"]))
    pixels = rearrange(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8), "(h w c) -> c h w", h=image.height, c=3)
    kept = above(prediction, threshold)
    each = zip(kept["labels"], kept["scores"], kept["boxes_xyxy"], strict=True)
    return {
        "id": str(example["id"]),
        "src": encoded(pixels, LARGEST),
        "width": image.width,
        "height": image.height,
        "found": [{"label": label, "score": score, "box_xyxy": box} for label, score, box in each][:MOST],
        "objects": _true(example.get("objects", ())),
    }


def _true(objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    told = [{"label": o["label"], "box_xyxy": [round(float(x), 3) for x in o["box_xyxy"]]} for o in objects if not o.get("crowd")]
    return told[:MOST]
