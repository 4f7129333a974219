"""The modulated annotation of MDETR: COCO's JSON in which every "image" is a picture with one caption. Read, and written."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.data import sources
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows
from pellucid.errors import BadData

OPTIONS: sources.Choices = {
    **shared.OPTIONS,
    **{"coco": (), "vg": ()},
    **{"spans": ("told", "caption"), "masks": ("yes", "no")},
}
_OBJECT = "object"  # the one category of the authors' files
_COLOURS = ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
ATTRIBUTES = ("small", "large", *_COLOURS, "cube", "sphere", "cylinder", "rubber", "metal")  # in the order of the published head


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture and caption, in the file's order, as all readers of groundings give them.

    `objects` hold `box_xyxy` in pixels, `spans` (the file's tokens_positive, which are characters), `label` (the category, or the words
    where the file has one category for all), `final` and `segmentation` where they are told. Of Flickr30k's files `phrases` hold the spans
    to be found with the boxes of all objects that own them; of those with questions `answer` and `question_type`; of RefCOCO's
    `expression`, of PhraseCut's `task`. `group` names the picture.

    Args:
        place: a JSON file; or several with commas between, as the mixed one and Flickr30k's, by which MDETR was pre-trained.
        options: `images`, the folder of the pictures; `coco` and `vg`, those of entries that say so, as a mixed file's do;
            `spans=caption` to let a box without spans answer the whole caption; `masks=yes` keeps segmentations; `boxes=clip`; `merge=yes`
            joins the sentences of a picture; `missing=skip` leaves out rows without a picture.
    Raises:
        BadData: an entry is not what it should be, with its id.
    """
    chosen = sources.checked("modulated", options, OPTIONS)
    whole = pathlib.Path(place).expanduser()
    files = [whole] if whole.is_file() else [pathlib.Path(part).expanduser() for part in place.split(",")]
    return shared.finished([row for file in files for row in _rows(file, chosen)], chosen, place)


def _rows(file: pathlib.Path, chosen: Mapping[str, str]) -> Rows:
    tree = sources.read_json(file)
    images, annotations = (shared.listed(tree, key, file) for key in ("images", "annotations"))
    names = _names(tree, file)
    owned: dict[Any, list[dict[str, Any]]] = {}
    for image in images:
        key = shared.picked(image, ("id",), f"{file}: an image")[0]
        if key in owned:
            raise BadData(f"{file}: two images have the id {key}; each picture and caption has its own")
        owned[key] = []
    for annotation in annotations:
        key, number = shared.picked(annotation, ("image_id", "id"), f"{file}: an annotation")
        if key not in owned:
            raise BadData(f"{file}: annotation {number} is of image {key!r}, which the file does not have")
        owned[key].append(annotation)
    return [_row(image, owned[image["id"]], names, file, chosen) for image in images]


def _names(tree: Any, file: pathlib.Path) -> dict[Any, str]:
    """Names of categories; none where the file has one for all."""
    entries = tree.get("categories") or []
    pairs = [shared.picked(entry, ("id", "name"), f"{file}: a category") for entry in entries]
    return {} if [name for _, name in pairs] == [_OBJECT] else dict(pairs)


def _row(image: dict[str, Any], owned: list[dict[str, Any]], names: dict[Any, str], file: pathlib.Path, chosen: Mapping[str, str]) -> Any:
    where = f"{file.name}:{image['id']}"
    caption = image.get("caption") or ""
    picture = sources.inside(_folder(image, file, chosen), image.get("file_name"), where)
    clip = chosen.get("boxes") == "clip"
    scene = Scene(where, picture, caption, _group(image), shared.size_of(image, where), clip)
    row = scene.row((), **_told(image))
    row["objects"] = [_object(scene, annotation, names, chosen) for annotation in owned]
    if "tokens_positive_eval" in image:
        row["phrases"] = [_phrase(spans, row["objects"]) for spans in image["tokens_positive_eval"]]
    return row


def _folder(image: Mapping[str, Any], file: pathlib.Path, chosen: Mapping[str, str]) -> str:
    folder = chosen.get(str(image.get("data_source")), chosen.get("images"))
    return os.path.expanduser(folder) if folder else str(file.parent)


def _group(image: Mapping[str, Any]) -> str:
    """The picture, whichever caption; pictures of Visual Genome and Flickr30k have numbers of their own."""
    name = str(image.get("file_name"))
    mark = {"vg": "vg/", "flickr": "flickr/"}
    return shared.group_of(name, mark.get(str(image.get("data_source") or image.get("dataset_name")), ""))


def _told(image: Mapping[str, Any]) -> dict[str, Any]:
    """What the file tells of a row beside boxes."""
    known = {"sentence_id": "sentence_id", "original_img_id": "image_id", "task_id": "task", "questionId": "question"}
    found: dict[str, Any] = {ours: image[theirs] for theirs, ours in known.items() if image.get(theirs) is not None}
    if "image_id" not in found and isinstance(image.get("original_id"), int):
        found["image_id"] = image["original_id"]
    if str(image.get("dataset_name", "")).startswith("refcoco"):
        found["expression"] = True
    if image.get("question_type") is not None:
        found["question_type"] = image["question_type"]
    if image.get("answer") is not None:
        value = str(image["answer"])
        found["answer"] = {"type": str(image.get("answer_type") or image.get("question_type") or answer_kind(value)), "value": value}
    return found


def answer_kind(value: str) -> str:
    """Which of CLEVR's heads gives an answer: `binary` yes and no, `reg` a count, `attr` a colour, size, shape or material.

    Raises:
        BadData: none of them does.
    """
    if value in ("yes", "no"):
        return "binary"
    if value.isdecimal():
        return "reg"
    if value in ATTRIBUTES:
        return "attr"
    raise BadData(f"the answer {value!r} is none of CLEVR's: yes, no, a count, or one of {', '.join(ATTRIBUTES)}")


def _object(scene: Scene, annotation: Mapping[str, Any], names: Mapping[Any, str], chosen: Mapping[str, str]) -> dict[str, Any]:
    where = f"{scene.where}, annotation {annotation['id']}"
    spans = annotation.get("tokens_positive")
    if not spans and chosen.get("spans") == "caption":
        spans = [[0, len(scene.caption)]]
    more = {"final": bool(annotation["isfinal"])} if annotation.get("isfinal") is not None else {}
    if chosen.get("masks") == "yes" and annotation.get("segmentation"):
        more["segmentation"] = annotation["segmentation"]
    box = shared.corners(annotation.get("bbox"), where)
    named = Scene(where, scene.image, scene.caption, scene.group, scene.size, scene.clip)
    area, crowd = annotation.get("area"), annotation.get("iscrowd")
    return named.object(box, spans or (), names.get(annotation.get("category_id"), ""), area=area, crowd=crowd, **more)


def _phrase(spans: Any, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A phrase to be found: its boxes are those of all objects that own a span of it."""
    found = [list(span) for span in spans]
    boxes = [o["box_xyxy"] for o in objects if any(span in o["spans"] for span in found)]
    return {"spans": found, "boxes_xyxy": boxes, "kind": None}


# ---- writing ------------------------------------------------------------------------------------------------------


def write(rows: Rows, file: pathlib.Path, images: str) -> None:
    """Writes the rows so that the authors' program, and `read`, can read them.

    Args:
        images: the folder that names of pictures are relative to.
    Raises:
        BadData: a picture is no file, lies outside that folder, or its size is not known.
    """
    labels = sorted({o["label"] for row in rows for o in row["objects"]})
    numbers = {label: number for number, label in enumerate(labels, 1)} if any(map(_is_category, rows)) else {}
    tree: dict[str, Any] = {"info": {}, "licenses": [], "images": [], "annotations": []}
    tree["categories"] = [{"id": number, "name": label} for label, number in numbers.items()] or [{"id": 1, "name": _OBJECT}]
    for key, row in enumerate(rows):
        tree["images"].append({"id": key, **_written(row, images)})
        for found in row["objects"]:
            tree["annotations"].append({"id": len(tree["annotations"]), "image_id": key, **_annotation(found, numbers)})
    file.write_text(json.dumps(tree, ensure_ascii=False) + "\n", encoding="utf-8")


def _is_category(row: Mapping[str, Any]) -> bool:
    """Whether its objects are called by more than their own words."""
    return any(o["label"] not in (row["caption"][b:e] for b, e in o["spans"]) for o in row["objects"])


def _written(row: Mapping[str, Any], images: str) -> dict[str, Any]:
    picture = row["image"]
    if not isinstance(picture, str):
        raise BadData(f"{row['id']}: its picture is no file of its own; unpack the pictures first")
    name = os.path.relpath(picture, os.path.expanduser(images))
    if name.startswith(".."):
        raise BadData(f"{row['id']}: {picture} lies outside {images}; name a folder that holds all pictures")
    if "width" not in row or "height" not in row:
        raise BadData(f"{row['id']}: no width and height, which the file must tell")
    entry = {"file_name": name.replace(os.sep, "/"), "width": row["width"], "height": row["height"], "caption": row["caption"]}
    entry |= {"dataset_name": "refcoco" if row.get("expression") else "pellucid", "tokens_negative": [[0, len(row["caption"])]]}
    known = {"sentence_id": "sentence_id", "image_id": "original_img_id", "task": "task_id", "question": "questionId"}
    entry |= {theirs: row[ours] for ours, theirs in known.items() if ours in row}
    if "question_type" in row:
        entry["question_type"] = row["question_type"]
    if "answer" in row:
        entry |= {"answer": row["answer"]["value"], "answer_type": row["answer"]["type"]}
    if "phrases" in row:
        entry["tokens_positive_eval"] = [phrase["spans"] for phrase in row["phrases"]]
    return entry


def _annotation(found: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = found["box_xyxy"]
    area, crowd = found.get("area", (x1 - x0) * (y1 - y0)), int(found.get("crowd", False))
    entry: dict[str, Any] = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": area, "iscrowd": crowd}
    entry |= {"category_id": numbers.get(found["label"], 1), "tokens_positive": found["spans"]}
    entry |= {"isfinal": int(found["final"])} if "final" in found else {}
    return entry | ({"segmentation": found["segmentation"]} if "segmentation" in found else {})
