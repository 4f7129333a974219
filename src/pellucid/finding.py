"""What was found in a picture, objects with their places and a map of classes, as an answer and as lines of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

PARALLEL = ("labels", "scores", "final_scores", "boxes_xyxy", "masks", "spans")  # one entry an object
MAPPED = ("classes", "map")
BOX_COLUMNS = ("label", "score", "x0", "y0", "x1", "y1", "answer")
_NUMBERED = ("queries", "default_boxes")  # which of the model's own an object is


def has_boxes(prediction: Any) -> bool:
    """Whether objects with their places were predicted."""
    return isinstance(prediction, Mapping) and "boxes_xyxy" in prediction


def has_map(prediction: Any) -> bool:
    """Whether a class was predicted for each pixel."""
    return isinstance(prediction, Mapping) and "map" in prediction


def above(prediction: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    """Those objects of a prediction that score so much or more, and all of its map; a `reply` to a question stays.

    `answers` name objects and regions for `explain`. Of a map `pixels`, how many are of each class that it shows, `classes`, and `map`:
    its `size` (height, width) and runs row after row, `values` (0 background, k the k-th class) and their lengths, `counts`, so that
    `np.repeat(values, counts).reshape(size)` is the map.
    """
    places = [i for i, score in enumerate(prediction.get("scores", ())) if score >= threshold]
    kept = {key: [prediction[key][i] for i in places] for key in PARALLEL if key in prediction}
    for key in ("scores", "final_scores"):
        if key in kept:
            kept[key] = [round(score, 6) for score in kept[key]]
    if has_boxes(prediction):
        kept["boxes_xyxy"] = [[round(x, 3) for x in box] for box in kept["boxes_xyxy"]]
    replied = {"reply": prediction["reply"]} if "reply" in prediction else {}
    mapped = {"pixels": pixels_of(prediction), **{key: prediction[key] for key in MAPPED}} if has_map(prediction) else {}
    return {**replied, **kept, **_answers(prediction, places), **mapped}


def _answers(prediction: Mapping[str, Any], places: Sequence[int]) -> dict[str, list[str]]:
    """The objects at these places as they can be asked about, and then what is asked about the map."""
    key = next((key for key in _NUMBERED if key in prediction), None)
    names = [f"{label}@{number}" for label, number in zip(prediction["labels"], prediction[key], strict=True)] if key else []
    regions = [name for name in prediction.get("answers", ()) if name not in names] if has_map(prediction) else []
    return {"answers": [*(names[i] for i in places), *regions]} if key or has_map(prediction) else {}


def pixels_of(prediction: Mapping[str, Any]) -> dict[str, int]:
    """How many pixels of a map are of each class, of those that it shows, the background left out."""
    found = [0] * (len(prediction["classes"]) + 1)
    for value, count in zip(prediction["map"]["values"], prediction["map"]["counts"], strict=True):
        found[value] += count
    return {label: count for label, count in zip(prediction["classes"], found[1:], strict=True) if count}


def lines_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An answer as lines of a table, one for each object, and then one for each class of the map, with its `pixels`."""
    who = {key: row[key] for key in ("id", "path", "frame", "time_s", "caption") if key in row}
    labels = row.get("labels", ())
    named = row.get("answers", ())[: len(labels)] or [""] * len(labels)
    each = zip(labels, row.get("scores", ()), row.get("boxes_xyxy", ()), named, strict=True)
    objects = [{**who, **dict(zip(BOX_COLUMNS, (label, score, *box, answer), strict=True))} for label, score, box, answer in each]
    regions = row.get("answers", ())[len(labels) :]
    answers = {name.rpartition("@")[0]: name for name in regions}
    areas = [{**who, "label": label, "answer": answers.get(label, ""), "pixels": count} for label, count in row.get("pixels", {}).items()]
    return objects + areas


def columns_of(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The columns of a table of such answers, be it without a line; none where none of them is one."""
    boxes, maps = any(map(has_boxes, rows)), any(map(has_map, rows))
    known = BOX_COLUMNS if boxes else ("label", "answer") if maps else ()
    return ("id", *known, *(("pixels",) if maps else ())) if known else ()
