"""Visual Genome's regions: a phrase for each of some fifty boxes of a picture."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.data import sources
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding import spans
from pellucid.data.grounding.merge import pair_iou
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows

OPTIONS: sources.Choices = {**shared.OPTIONS, "spans": ("caption", "head")}
TWICE = 0.5  # intersection over union above which two regions with one text are one


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture and text; regions with one text are its objects, those that overlap by more than half one of them.

    Args:
        place: the folder of `region_descriptions.json` and `image_data.json`.
        options: `images`, a folder of `VG_100K` and `VG_100K_2` or of the pictures themselves; `spans=head` lets a box answer the thing
            that its text begins with, not all of it; those of all groundings, of which `boxes=clip` is often needed here.
    Raises:
        BadData: a file is missing, or an entry is not what it should be.
    Differs: the authors also take boxes of the scene graphs, and merge those that are the same to 75%; this reads regions alone.
    """
    chosen = sources.checked("genome", options, OPTIONS)
    root = sources.folder_of(place)
    file = root / "region_descriptions.json"
    pictures = images_of(root / "image_data.json")
    folders = Folders(chosen, root)
    found: Rows = []
    for entry in shared.listed(sources.read_json(file), "", file):
        number, regions = shared.picked(entry, ("id", "regions"), f"{file.name}: a picture")
        about = shared.picked({"about": pictures.get(number)}, ("about",), f"{file.name}: picture {number} (see image_data.json)")[0]
        path, size = folders.find(number), shared.size_of(about, f"image_data.json: picture {number}")
        texts: dict[str, list[dict[str, Any]]] = {}
        for region in regions:
            text = shared.picked(region, ("phrase",), f"{file.name}: picture {number}")[0]
            texts.setdefault(" ".join(text.lower().split()), []).append(region)
        for same in texts.values():
            where = f"{file.name}:{same[0].get('region_id', number)}"
            scene = Scene(where, path, same[0]["phrase"].strip(), group_of(number, about), size, chosen.get("boxes") == "clip")
            found.append(_row(scene, same, chosen) | {"image_id": number})
    return shared.finished(found, chosen, str(root))


def _row(scene: Scene, regions: Sequence[dict[str, Any]], chosen: Mapping[str, str]) -> dict[str, Any]:
    row = scene.row(())
    span = spans.head(scene.caption) if chosen.get("spans") == "head" else [0, len(scene.caption)]
    keys = ("x", "y", "width", "height")
    boxes = [shared.corners(shared.picked(region, keys, scene.where), scene.where) for region in regions]
    row["objects"] = [scene.object(boxes[i], [span]) for i in _once(boxes)]
    return row


def _once(boxes: Sequence[list[float]]) -> list[int]:
    """Which boxes are no second mark of one that is kept."""
    array = np.array(boxes, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        same = pair_iou(array, array) > TWICE
    kept: list[int] = []
    for i in range(len(boxes)):
        if not same[i, kept].any():
            kept.append(i)
    return kept


# ---- what other sets of Visual Genome's pictures need, too ----------------------------------------------------------


def images_of(file: pathlib.Path) -> dict[int, dict[str, Any]]:
    """What `image_data.json`, or PhraseCut's `image_data_split.json`, tells of each picture by its number."""
    return {shared.picked(entry, ("image_id",), str(file))[0]: entry for entry in shared.listed(sources.read_json(file), "", file)}


def group_of(number: int | str, about: Mapping[str, Any] | None) -> str:
    """The picture as COCO's sets call it where it is COCO's, else `vg/` and its number."""
    coco = (about or {}).get("coco_id")
    return f"coco/{coco}" if coco else f"vg/{number}"


class Folders:
    """Where the pictures are, in one folder or in the two that they are published in."""

    def __init__(self, chosen: Mapping[str, str], root: pathlib.Path):
        top = shared.folder_of_pictures(chosen, root, "images")
        self.folders = [top, f"{top}/VG_100K", f"{top}/VG_100K_2"]
        self.listing = sources.Listing()

    def find(self, number: int | str) -> str:
        """The picture's path; as in the first folder where it is in none."""
        paths = [sources.inside(folder, f"{number}.jpg", "picture") for folder in self.folders]
        return next((path for path in paths if self.listing.has(path)), paths[0])
