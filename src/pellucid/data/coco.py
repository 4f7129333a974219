"""COCO's instances: one row per picture, with the objects in it and the names of its classes."""

import math
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.data import sources
from pellucid.data.map_sources import MOST, VOID, Drawn
from pellucid.data.sources import Rows, log
from pellucid.errors import BadData

OPTIONS: sources.Choices = {
    "split": (),
    "images": (),
    "missing": ("refuse", "skip"),
    "empty": ("keep", "drop"),
    "boxes": ("refuse", "clip"),
    "objects": ("keep", "drop"),
    "masks": ("yes", "no"),
    "maps": ("yes", "no"),
    "crowds": ("void", "class"),
    "format": ("xywh", "xyxy"),
}
SLACK = 2.0  # pixels by which a box may reach over the edge, as rounding leaves some
_PARTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Place:
    """The file of annotations and the folder of pictures."""

    file: pathlib.Path
    images: str


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture, in the file's order, with `labels` (classes present, in category order) and `classes` (all, by category id).

    `objects` hold `label`, `box_xyxy` in pixels (cut off at the picture's edge), `area`, `crowd` and the annotation's `id`, and, where
    asked for, `segmentation` as the file has it; `image_id`, `width` and `height` are the file's; `category_ids` are those of `classes`.
    An annotation whose box has no width or no height counts among the labels and is no object.

    Args:
        place: a folder (`annotations/instances_SPLIT.json`, or `SPLIT/_annotations.coco.json`) or a JSON file.
        options: `split`; `images`, the folder of the pictures; `missing=skip` leaves out pictures without a file; `empty=drop` those
            without any annotation, as the loader of ASL's authors does; `boxes=clip` cuts off boxes that reach further than two pixels
            over the edge; `objects=drop` keeps the labels only, which takes less memory; `masks=yes` keeps polygons and run lengths;
            `maps=yes` gives each picture a `map` painted from these (`map_sources`), crowds undermost, then the bigger ones under the
            smaller; a crowd's pixels are void, or with `crowds=class` of its class; `format=xyxy` reads boxes as corners.
    Raises:
        BadData: the file is not what COCO's is, with the id of the annotation; or pictures are missing.
    """
    chosen = sources.checked("coco", options, OPTIONS)
    found = find(place, chosen)
    return rows_of(sources.read_json(found.file), found, chosen)


def rows_of(tree: Any, found: Place, chosen: Mapping[str, str]) -> Rows:
    """The rows of an object as COCO's file of instances holds it; arguments and errors as of `read`.

    Args:
        tree: of an annotation, `named` is what messages call it, if it is there.
    """
    _check_tree(tree, found.file)
    names = _categories(tree["categories"], found.file)
    images = _images(tree["images"], found.file)
    boxes = _checked(tree["annotations"], images, names, found.file, chosen)
    rows = _rows(images, tree["annotations"], names, found)
    if chosen.get("objects") != "drop":
        rows = _with_objects(rows, tree, names, boxes, chosen.get("masks") == "yes", found.file)
    if chosen.get("maps") == "yes":
        rows = _with_maps(rows, tree["annotations"], names, chosen.get("crowds") == "class", found.file)
    if chosen.get("empty") == "drop":
        full = {annotation["image_id"] for annotation in tree["annotations"]}
        rows = [row for row in rows if row["image_id"] in full]
    if not rows:
        raise BadData(f"{found.file}: no pictures" + (" with annotations" if images else ""))
    return sources.with_pictures(rows, chosen.get("missing", "refuse"), str(found.file))


def find(place: str, options: Mapping[str, str], kind: str = "instances") -> Place:
    """The annotations (`annotations/KIND_SPLIT.json`, or the file itself) and the pictures' folder that a source names.

    Raises:
        BadData: there is no such folder or file, or several splits and none chosen.
    """
    path = pathlib.Path(place).expanduser()
    if path.is_file():
        return Place(path, options.get("images") or str(path.parent))
    root = sources.folder_of(place)
    there = {p.stem.removeprefix(f"{kind}_"): p for p in sorted((root / "annotations").glob(f"{kind}_*.json"))}
    if kind == "instances":
        there |= {p.parent.name: p for p in sorted(root.glob("*/_annotations.coco.json"))}
    split = options.get("split") or (next(iter(there)) if len(there) == 1 else "")
    if split not in there:
        told = "coco" if kind == "instances" else kind
        said = f"no split {split!r}" if split else ("several splits" if there else f"no annotations/{kind}_SPLIT.json")
        raise BadData(
            f"{root}: {said}" + (f"; choose one with ?split=, of {', '.join(there)}" if there else f"; or name the file: {told}:FILE.json")
        )
    file = there[split]
    below = (root / "images" / split, root / split, root / "images")
    images = next((folder for folder in below if folder.is_dir()), root)
    return Place(file, options.get("images") or str(images))


# ---- checks -------------------------------------------------------------------------------------------------------


def _check_tree(tree: Any, file: pathlib.Path) -> None:
    for part in _PARTS:
        if not isinstance(tree, dict) or not isinstance(tree.get(part), list):
            raise BadData(f"{file}: no list {part!r}; expected COCO's object with {', '.join(_PARTS)}")
        wrong = next((item for item in tree[part] if not isinstance(item, dict)), None)
        if wrong is not None:
            raise BadData(f"{file}: {part} holds {type(wrong).__name__}, expected objects")


def _unique_ids(items: list[dict[str, Any]], what: str, file: pathlib.Path) -> None:
    ids = [item.get("id") for item in items]
    wrong = next((i for i in ids if not isinstance(i, int) or isinstance(i, bool)), ids)
    if wrong is not ids:
        raise BadData(f"{file}: {what} {ids.index(wrong) + 1} has the id {wrong!r}; expected an integer")
    if len(set(ids)) < len(ids):
        raise BadData(f"{file}: two {what}s have the id {sources.repeated(ids)}")


def _categories(items: list[dict[str, Any]], file: pathlib.Path) -> dict[int, str]:
    """Name by category id, in the order of the ids, which may have gaps."""
    _unique_ids(items, "categorie", file)
    names = {item["id"]: item.get("name") for item in sorted(items, key=lambda item: item["id"])}
    for key, name in names.items():
        if not isinstance(name, str) or not name:
            raise BadData(f"{file}: category {key} has the name {name!r}")
    if sources.repeated(names.values()) is not None:
        raise BadData(f"{file}: two categories are called {sources.repeated(names.values())!r}")
    return {key: str(name) for key, name in names.items()}


def _images(items: list[dict[str, Any]], file: pathlib.Path) -> dict[int, dict[str, Any]]:
    _unique_ids(items, "image", file)
    for item in items:
        for side in ("width", "height"):
            if not isinstance(item.get(side), (int, float)) or not 0 < item[side] < 1e6:
                raise BadData(f"{file}: image {item['id']} has the {side} {item.get(side)!r}; expected pixels")
    return {item["id"]: item for item in items}


def _checked(
    annotations: list[dict[str, Any]],
    images: dict[int, dict[str, Any]],
    names: dict[int, str],
    file: pathlib.Path,
    options: Mapping[str, str],
) -> list[list[float]]:
    """The boxes as x, y, x, y, cut off at the edges; every annotation of a known picture and category."""
    import numpy as np

    _unique_ids(annotations, "annotation", file)
    for a in annotations:
        if a.get("image_id") not in images:
            raise BadData(f"{file}: {_named(a)} is of image {a.get('image_id')!r}, which the file does not have")
        if a.get("category_id") not in names:
            raise BadData(f"{file}: {_named(a)} is of category {a.get('category_id')!r}; there are {len(names)} others")
    corners = options.get("format") == "xyxy"
    raw = _raw_boxes(annotations, file, "[x, y, x, y]" if corners else "[x, y, width, height]")
    sizes = np.array([(images[a["image_id"]]["width"], images[a["image_id"]]["height"]) for a in annotations], dtype=np.float64)
    sizes = sizes.reshape(len(annotations), 2)
    low, high = raw[:, :2], raw[:, 2:] if corners else raw[:, :2] + raw[:, 2:]
    over = np.maximum(-low, high - sizes).max(1, initial=0) > SLACK
    meant = "" if corners else _meant(raw, sizes, over, file)
    faults = {
        "is not finite": ~np.isfinite(raw).all(1),
        "has a negative side": (high < low).any(1),
        "lies outside the picture": (low > sizes).any(1) | (high < 0).any(1),
        f"reaches over the edge; add ?boxes=clip to cut such boxes off{meant}": over & (options.get("boxes") != "clip"),
    }
    for fault, rows in faults.items():
        if rows.any():
            i = int(np.flatnonzero(rows)[0])
            size = f"{sizes[i, 0]:g} x {sizes[i, 1]:g}"
            more = f" ({int(rows.sum())} such boxes)"
            raise BadData(f"{file}: {_named(annotations[i])}: the box {annotations[i]['bbox']} in a picture of {size} {fault}{more}")
    return np.concatenate([low.clip(min=0), np.minimum(high, sizes)], axis=1).tolist()


def _raw_boxes(annotations: list[dict[str, Any]], file: pathlib.Path, expected: str) -> Any:
    """The four numbers of each, as they stand there, in an array."""
    import numpy as np

    try:
        return np.array([a["bbox"] for a in annotations], dtype=np.float64).reshape(len(annotations), 4)
    except (KeyError, TypeError, ValueError):
        wrong = next(a for a in annotations if not _is_box(a.get("bbox")))
        raise BadData(f"{file}: {_named(wrong)} has the bbox {wrong.get('bbox')!r}; expected {expected}") from None


def _meant(raw: Any, sizes: Any, over: Any, file: pathlib.Path) -> str:
    """What a message adds where the boxes may be meant as corners; empty where they may not.

    Raises:
        BadData: they surely are, or they are fractions of the picture.
    """
    import numpy as np

    if not np.isfinite(raw).all():
        return ""
    if len(raw) and (sizes > 1).any() and (raw % 1 > 0).any() and (np.abs(raw) <= 1).all():
        raise BadData(f"{file}: the boxes look like fractions of their pictures, as {raw[0].tolist()}; COCO's are in pixels: multiply them")
    fits = (raw[:, 2:] > raw[:, :2]).all() and (raw >= 0).all() and (raw[:, 2:] <= sizes + SLACK).all()
    if not (over.any() and fits):
        return ""
    said = "look like corners (xyxy); COCO's are [x, y, width, height]: add ?format=xyxy to read them so"
    if over.mean() > 0.5:
        first = raw[np.flatnonzero(over)[0]].tolist()
        raise BadData(
            f"{file}: {int(over.sum())} of {len(raw)} boxes, as {first}, reach over the edge, and as corners all fit: these {said}"
        )
    return f"; or all these {said}"


def _named(annotation: Mapping[str, Any]) -> str:
    return annotation.get("named") or f"annotation {annotation['id']}"


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(x, (int, float)) for x in value)


# ---- rows ---------------------------------------------------------------------------------------------------------


def _rows(images: dict[int, dict[str, Any]], annotations: list[dict[str, Any]], names: dict[int, str], found: Place) -> Rows:
    present: dict[int, set[int]] = {key: set() for key in images}
    for a in annotations:
        present[a["image_id"]].add(a["category_id"])
    classes, category_ids = tuple(names.values()), tuple(names)
    return [
        {
            "id": f"{found.file.name}:{key}",
            "image": sources.inside(found.images, image.get("file_name"), f"{found.file}: image {key}"),
            "image_id": key,
            "width": image["width"],
            "height": image["height"],
            "labels": [names[category] for category in sorted(present[key])],
            "classes": classes,
            "category_ids": category_ids,
        }
        for key, image in images.items()
    ]


def _with_objects(
    rows: Rows, tree: Mapping[str, Any], names: dict[int, str], boxes: list[list[float]], masks: bool, file: pathlib.Path
) -> Rows:
    """The rows with their objects; a box without an area is none, for no detector can learn it."""
    objects: dict[int, list[dict[str, Any]]] = {row["image_id"]: [] for row in rows}
    flat = []
    for a, box in zip(tree["annotations"], boxes, strict=True):
        if box[0] >= box[2] or box[1] >= box[3]:
            flat.append(_named(a))
            continue
        objects[a["image_id"]].append(
            {
                "label": names[a["category_id"]],
                "box_xyxy": box,
                "area": _area(a, box, file),
                "crowd": bool(a.get("iscrowd", 0)),
                "id": a["id"],
                **({"segmentation": a["segmentation"]} if masks and a.get("segmentation") else {}),
            }
        )
    if flat:
        log.warning("%s: %d boxes have no width or no height and are left out, first that of %s", file, len(flat), flat[0])
    return [{**row, "objects": objects[row["image_id"]]} for row in rows]


def _with_maps(rows: Rows, annotations: list[dict[str, Any]], names: dict[int, str], classed: bool, file: pathlib.Path) -> Rows:
    """The rows with maps of their annotations' outlines.

    Args:
        classed: crowds are painted as their class and not as void.
    """
    if len(names) > MOST:
        raise BadData(f"{file}: {len(names)} categories; a map tells at most {MOST} apart")
    index = {category: i for i, category in enumerate(names, 1)}
    found: dict[int, list[dict[str, Any]]] = {row["image_id"]: [] for row in rows}
    for a in annotations:
        if not a.get("segmentation"):
            raise BadData(f"{file}: {_named(a)} has no segmentation, so its pixels are not known; read without ?maps=yes")
        found[a["image_id"]].append(a)
    crowds = sum(bool(a.get("iscrowd", 0)) for a in annotations)
    if crowds:
        log.info("%s: %d crowds are %s in the maps", file, crowds, "painted as their class" if classed else "void")
    for row in rows:
        below = sorted(found[row["image_id"]], key=lambda a: (not a.get("iscrowd", 0), -_extent(a)))
        indices = [VOID if a.get("iscrowd", 0) and not classed else index[a["category_id"]] for a in below]
        outlines = tuple((i, a["segmentation"]) for i, a in zip(indices, below, strict=True))
        row["map"] = Drawn(int(row["height"]), int(row["width"]), outlines, tuple(f"{file}: {_named(a)}" for a in below))
    return rows


def _extent(annotation: Mapping[str, Any]) -> float:
    """By what objects are laid over each other: the area that the file says, else the box's."""
    area = annotation.get("area")
    return float(area) if isinstance(area, (int, float)) else float(annotation["bbox"][2] * annotation["bbox"][3])


def _area(annotation: dict[str, Any], box: list[float], file: pathlib.Path) -> float:
    """What the file says, or where it says nothing the box's."""
    area = annotation.get("area")
    if area is None:
        return (box[2] - box[0]) * (box[3] - box[1])
    if not isinstance(area, (int, float)) or not 0 <= area < math.inf:
        raise BadData(f"{file}: {_named(annotation)} has the area {area!r}; expected square pixels")
    return area
