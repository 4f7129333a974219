"""What a run's page shows besides numbers; of found objects a few pictures of the first test set with both their boxes, and AP by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange

from pellucid.data.grounding.spans import text_of
from pellucid.data.images import open_image
from pellucid.evaluate import Evaluation
from pellucid.explain.patches import encoded
from pellucid.finding import above, has_boxes
from pellucid.parses import parses
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
    by, metric = _told_by(task)
    classes = {name: _per_class(task, e, metric, by) for name, e in found.items()}
    named = {"metric": metric, "by": "kind"} if by == "per_kind" else {}
    return {"threshold": threshold, "labels": labels, "set": first, "pictures": pictures, "classes": classes, **named}


def _told_by(task: Task) -> tuple[str, str]:
    """The first metric that tells of kinds of captions or phrases; else the first, which may tell of classes."""
    metrics = task.metrics()
    kinds = [name for name, metric in metrics.items() if hasattr(metric, "per_kind")]
    return ("per_kind", kinds[0]) if kinds else ("per_class", next(iter(metrics), ""))


def _per_class(task: Task, found: Evaluation, name: str, by: str) -> dict[str, float | None]:
    """That metric of each class that has objects, or of each kind, where it tells of these."""
    metric: Any = task.metrics().get(name)
    if not hasattr(metric, by):
        return {}
    for prediction, example in zip(found.predictions, found.examples, strict=True):
        metric.update(prediction, example)
    return {name: value for name, value in getattr(metric, by)().items() if value == value}


def _pictures(found: Evaluation, threshold: float) -> list[dict[str, Any]]:
    count = len(found.examples)
    places = sorted({i * count // PICTURES for i in range(PICTURES)})
    return [_picture(found.examples[i], found.predictions[i], threshold) for i in places]


def _picture(example: Example, prediction: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    image = open_image(example["image"], str(example["id"]))
    pixels = rearrange(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8), "(h w c) -> c h w", h=image.height, c=3)
    kept = above(prediction, threshold)
    each = zip(kept["labels"], kept["scores"], kept["boxes_xyxy"], strict=True)
    found = [{"label": label, "score": score, "box_xyxy": box} for label, score, box in each]
    if "caption" in example:
        spans = [some for some, score in zip(prediction["spans"], prediction["scores"], strict=True) if score >= threshold]
        found = [{**one, "spans": some} for one, some in zip(found, spans, strict=True)]
    return {
        "id": str(example["id"]),
        **({"caption": example["caption"]} if "caption" in example else {}),
        "src": encoded(pixels, LARGEST),
        "width": image.width,
        "height": image.height,
        "found": found[:MOST],
        "objects": _true(example.get("objects", ()), example.get("caption")),
    }


def _true(objects: Sequence[Mapping[str, Any]], caption: str | None) -> list[dict[str, Any]]:
    """Objects by their labels, or by the caption's words for them."""
    told = []
    for one in objects:
        named = {"label": text_of(one["spans"], caption), "spans": one["spans"]} if caption else {"label": one["label"]}
        told += [] if one.get("crowd") else [{**named, "box_xyxy": [round(float(x), 3) for x in one["box_xyxy"]]}]
    return told[:MOST]
