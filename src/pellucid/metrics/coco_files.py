"""COCO's files: from annotations and results on disk to the twelve numbers, and predictions written as results."""

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pellucid.errors import BadData
from pellucid.metrics.coco_evaluator import Tables, evaluate
from pellucid.metrics.detections import Picture, picture_of, run_lengths
from pellucid.task import Example

Entries = list[dict[str, Any]]
PARTS = ("images", "annotations", "categories")


def evaluate_files(annotations: Path, detections: Path, masks: bool = False) -> dict[str, float]:
    """COCO's twelve numbers of a results file, NaN where nothing is to be found.

    Args:
        annotations: COCO's object with `images`, `annotations` and `categories`.
        detections: a list of `image_id`, `category_id`, `score` and `bbox` (x, y, width, height).
        masks: compare `segmentation` instead, which the results must have; names then begin with `mask_`.
    Raises:
        BadData: a file, or an entry of it, is not that, has numbers that are not finite, negative sides, an id twice, or an id of a picture
            or category that is not in the annotations.
    Differs: pycocotools takes the size of a detected mask from its box if the results have both; we from the mask.
    """
    with collected_later():
        numbers = evaluate(_tables(annotations, detections, masks), "segm" if masks else "bbox").numbers
    return {f"mask_{name}": value for name, value in numbers.items()} if masks else numbers


def write_results(predictions: Sequence[Any], examples: Sequence[Example], path: Path) -> None:
    """Writes COCO's results file, under the data's own ids of pictures and categories, for any evaluator or COCO's server.

    Raises:
        BadData: a prediction that metrics refuse, or an example without `image_id` or `category_ids`.
    """
    written: Entries = []
    for prediction, example in zip(predictions, examples, strict=True):
        missing = [key for key in ("image_id", "category_ids") if key not in example]
        if missing:
            raise BadData(f"example {example.get('id', 'without id')!r} has no {', '.join(missing)}; COCO's results need COCO's ids")
        written += _results(picture_of(prediction, example), prediction.get("masks"), example["category_ids"])
    path.write_text(json.dumps(written), encoding="utf-8")


def _results(picture: Picture, masks: Sequence[Mapping[str, Any]] | None, category_ids: Sequence[int]) -> Entries:
    found = picture.found
    entries: Entries = [
        {"image_id": picture.key, "category_id": category_ids[c], "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
        for c, (x0, y0, x1, y1), score in zip(found.label.tolist(), found.boxes_xyxy.tolist(), found.scores.tolist(), strict=True)
    ]
    for entry, mask in zip(entries, masks or [], strict=bool(masks)):
        counts = mask["counts"]
        entry["segmentation"] = {"size": list(mask["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}
    return entries


@contextmanager
def collected_later() -> Iterator[None]:
    """No garbage collection meanwhile: it would walk a file's millions of small dictionaries again and again."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


# ---- reading and checking -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _List:
    """One list of a file; an entry is named by its id, a detection by its place from 1."""

    path: Path
    what: str
    entries: list[Any]

    def name(self, i: int) -> str:
        return f"{self.path}: {self.what} {i + 1 if self.what == 'detection' else self.entries[i]['id']}"

    def column(self, key: str) -> Float[np.ndarray, " n"]:
        """A number of every entry."""
        given = [entry.get(key) for entry in self.entries]
        values = _numbers(given)
        if values.shape != (len(given),) or not np.isfinite(values).all():
            i = next((i for i, value in enumerate(given) if not _is_number(value)), 0)
            raise BadData(f"{self.name(i)} has the {key} {given[i]!r}; expected a finite number")
        return values


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: not JSON ({error})") from None


def _tables(annotations: Path, detections: Path, masks: bool) -> Tables:
    """Both files, checked, under our ids."""
    tree, given = _read(annotations), _read(detections)
    for part in PARTS:
        if not isinstance(tree, dict) or not isinstance(tree.get(part), list):
            raise BadData(f"{annotations}: no list {part!r}; expected COCO's object with {', '.join(PARTS)}")
    if not isinstance(given, list):
        raise BadData(f"{detections}: holds {type(given).__name__}; expected COCO's results, a list")
    pictures = _List(annotations, "image", tree["images"])
    truth, made = _List(annotations, "annotation", tree["annotations"]), _List(detections, "detection", given)
    images, categories = _numbered(pictures), _numbered(_List(annotations, "category", tree["categories"]))
    _numbered(truth)
    sizes = _sizes(pictures) if masks else {}
    for each in (truth, made):
        _check_ids(each, images, categories)
        _complete(each, sizes, masks)
    for each in (truth, made):
        for number, entry in enumerate(each.entries, 1):
            entry["id"] = number
            entry["image_id"] = images[entry["image_id"]]
            entry["category_id"] = categories[entry["category_id"]]
    none = (0, 0)  # the evaluator reads no sizes for boxes
    numbered = [{"id": number, "height": sizes.get(i, none)[0], "width": sizes.get(i, none)[1]} for i, number in images.items()]
    return Tables(numbered, truth.entries, made.entries, len(categories))


def _numbered(given: _List) -> dict[int, int]:
    """Our number, from 1, of each id, rising."""
    for i, entry in enumerate(given.entries):
        key = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(key, int) or isinstance(key, bool):
            raise BadData(f"{given.path}: {given.what} {i + 1} of the list has the id {key!r}; expected a whole number")
    ids = sorted(entry["id"] for entry in given.entries)
    twice = next((a for a, b in pairwise(ids) if a == b), None)
    if twice is not None:
        raise BadData(f"{given.path}: {given.what} {twice} is there twice; ids must differ")
    return {key: number for number, key in enumerate(ids, 1)}


def _sizes(pictures: _List) -> dict[int, tuple[int, int]]:
    """Height and width of each picture."""
    height, width = (pictures.column(side).astype(int).tolist() for side in ("height", "width"))
    return {entry["id"]: size for entry, size in zip(pictures.entries, zip(height, width, strict=True), strict=True)}


def _check_ids(given: _List, images: Mapping[int, int], categories: Mapping[int, int]) -> None:
    for key, known, what in (("image_id", images, "picture"), ("category_id", categories, "category")):
        try:
            unknown = {entry[key] for entry in given.entries} - known.keys()
        except (KeyError, TypeError):
            i = next(i for i, entry in enumerate(given.entries) if not isinstance(entry, dict) or not isinstance(entry.get(key), int))
            raise BadData(f"{given.path}: {given.what} {i + 1} of the list has no {key}; expected a whole number") from None
        if unknown:
            i = next(i for i, entry in enumerate(given.entries) if entry[key] in unknown)
            raise BadData(f"{given.name(i)} is of {what} {given.entries[i][key]!r}, which the annotations do not have")


def _complete(given: _List, sizes: Mapping[int, tuple[int, int]], masks: bool) -> None:
    """Checks boxes, scores, sizes and masks, and gives every entry what the evaluator reads."""
    made = given.what == "detection"
    if made:
        given.column("score")
    areas = _mask_areas(given, sizes) if masks else np.empty(0)
    if not (masks and made):
        boxes = _boxes_xywh(given)
        areas = boxes[:, 2] * boxes[:, 3]
    for entry, area in zip(given.entries, areas.tolist(), strict=True):
        entry["area"] = area if made else entry.get("area", area)
        entry["iscrowd"] = 0 if made else int(bool(entry.get("iscrowd")))
    if not made:
        given.column("area")


def _mask_areas(given: _List, sizes: Mapping[int, tuple[int, int]]) -> Float[np.ndarray, " n"]:
    from faster_coco_eval.core import mask

    for i, entry in enumerate(given.entries):
        entry["segmentation"] = run_lengths(entry.get("segmentation"), sizes[entry["image_id"]], given.name(i))
    return np.asarray(mask.area([entry["segmentation"] for entry in given.entries]), dtype=np.float64) if given.entries else np.empty(0)


def _boxes_xywh(given: _List) -> Float[np.ndarray, "n 4"]:
    listed = [entry.get("bbox") for entry in given.entries]
    boxes = _numbers(listed) if listed else np.empty((0, 4))
    if boxes.shape == (len(listed), 4):
        wrong = ~np.isfinite(boxes).all(1) | (boxes[:, 2:] < 0).any(1)
    else:
        wrong = np.array([not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))) for box in listed])
    if wrong.any():
        i = int(wrong.argmax())
        raise BadData(f"{given.name(i)} has the bbox {listed[i]!r}; expected x, y, width, height, finite and no side negative")
    return boxes


def _numbers(values: list[Any]) -> np.ndarray:
    """The values as an array of numbers; of none if they are anything else, as strings of digits are."""
    try:
        found = np.array(values if values else np.empty(0))
    except ValueError:  # lists of different lengths
        return np.empty(0)
    return found.astype(np.float64) if found.dtype.kind in "iuf" else np.empty(0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
