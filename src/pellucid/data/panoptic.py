"""COCO's panoptic sets: every pixel belongs to one segment, a thing or stuff, as a picture beside the JSON says."""

import os
import pathlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pellucid.data import coco, sources
from pellucid.data.sources import Rows
from pellucid.errors import BadData

OPTIONS: sources.Choices = {
    "split": (),
    "images": (),
    "segments": (),
    "missing": ("refuse", "skip"),
    "empty": ("keep", "drop"),
    "boxes": ("refuse", "clip"),
    "masks": ("yes", "no"),
}


def read(place: str, options: Mapping[str, str]) -> Rows:
    """The rows that `coco:` gives, each segment an object, things and stuff alike; and of each row `panoptic` and `stuff`.

    `panoptic` holds `ids`, the path of the picture whose pixels say the segment (R + 256 G + 65536 B, 0 for none), and `segments`, of
    each `id`, `label`, `thing` and `crowd`; `stuff` the classes that have no instances. An object's `id` counts the segments of the
    set from 1.

    Args:
        place: a folder (`annotations/panoptic_SPLIT.json`) or a JSON file.
        options: those of `coco:`, and `segments`, the folder of the segments' pictures (beside the file, of its name); `masks=yes`
            reads these pictures, some hundredths of a second each, and gives objects their run lengths.
    Raises:
        BadData: the file is not what COCO's is, or a picture of segments is missing or contradicts it.
    """
    chosen = sources.checked("panoptic", options, OPTIONS)
    found = coco.find(place, chosen, "panoptic")
    tree = sources.read_json(found.file)
    entries = _entries(tree, found.file)
    flat = {**tree, "annotations": _annotations(entries, found.file)}
    rows = coco.rows_of(flat, found, {key: value for key, value in chosen.items() if key not in ("masks", "segments")})
    folder = chosen.get("segments") or str(found.file.with_suffix(""))
    names = {c["id"]: (c["name"], bool(c.get("isthing", 1))) for c in sorted(tree["categories"], key=lambda c: c["id"])}
    stuff = tuple(name for name, thing in names.values() if not thing)
    listing = sources.Listing()
    for row in rows:
        entry = entries.get(row["image_id"])
        if entry is None:
            raise BadData(f"{found.file}: image {row['image_id']} has no annotation, so no segments")
        ids = sources.inside(folder, entry.get("file_name"), f"{found.file}: image {row['image_id']}")
        if not listing.has(ids):
            raise BadData(f"{row['id']}: no file {ids}; say where the segments' pictures are with ?segments=FOLDER")
        row["panoptic"] = {"ids": ids, "segments": [_segment(s, names) for s in entry["segments_info"]]}
        row["stuff"] = stuff
    return _with_masks(rows, flat["annotations"]) if chosen.get("masks") == "yes" else rows


def _entries(tree: Any, file: pathlib.Path) -> dict[int, dict[str, Any]]:
    """A file's annotations by picture."""
    listed = tree.get("annotations") if isinstance(tree, dict) else None
    if not isinstance(listed, list) or not all(isinstance(a, dict) and isinstance(a.get("segments_info"), list) for a in listed):
        raise BadData(f"{file}: no list 'annotations' of objects with segments_info; expected COCO's panoptic format")
    ids = [a.get("image_id") for a in listed]
    if sources.repeated(ids) is not None:
        raise BadData(f"{file}: two annotations are of image {sources.repeated(ids)}")
    return dict(zip(ids, listed, strict=True))


def _annotations(entries: Mapping[int, dict[str, Any]], file: pathlib.Path) -> list[dict[str, Any]]:
    """Segments as annotations of instances, numbered through."""
    found: list[dict[str, Any]] = []
    for image_id, entry in entries.items():
        for segment in entry["segments_info"]:
            if not isinstance(segment, dict) or not isinstance(segment.get("id"), int):
                raise BadData(f"{file}: image {image_id} has the segment {str(segment)[:40]}; expected an object with an id")
            told = {"id": len(found) + 1, "image_id": image_id, "segment": segment["id"]}
            found.append({**segment, **told, "named": f"segment {segment['id']} of image {image_id}"})
    return found


def _segment(segment: Mapping[str, Any], names: Mapping[int, tuple[str, bool]]) -> dict[str, Any]:
    label, thing = names[segment["category_id"]]
    return {"id": segment["id"], "label": label, "thing": thing, "crowd": bool(segment.get("iscrowd", 0))}


def _with_masks(rows: Rows, annotations: list[dict[str, Any]]) -> Rows:
    segment_of = {a["id"]: a["segment"] for a in annotations}
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads:
        list(threads.map(lambda row: _fill(row, segment_of), rows))
    return rows


def _fill(row: dict[str, Any], segment_of: Mapping[int, int]) -> None:
    """Gives a row's objects their segments' run lengths."""
    import numpy as np
    import torch

    from pellucid.data.images import open_image
    from pellucid.data.polygons import to_codes

    ids = np.asarray(open_image(row["panoptic"]["ids"], row["id"])).astype(np.int64) @ np.array([1, 256, 65536])
    if ids.shape != (row["height"], row["width"]):
        raise BadData(f"{row['panoptic']['ids']}: {ids.shape[1]} x {ids.shape[0]} pixels; its picture has {row['width']} x {row['height']}")
    wanted = np.array([segment_of[o["id"]] for o in row["objects"]], dtype=np.int64)
    masks = ids == wanted.reshape(-1, 1, 1)
    empty = ~masks.any((1, 2))
    if empty.any():
        raise BadData(f"{row['panoptic']['ids']}: no pixel is of segment {wanted[empty][0]}, which the file has")
    for found, code in zip(row["objects"], to_codes(torch.from_numpy(masks)), strict=True):
        found["segmentation"] = code
