"""PhraseCut: a phrase, and the masks of all that it names in a picture of Visual Genome."""

from collections.abc import Mapping
from typing import Any

from pellucid.data import sources
from pellucid.data.grounding import genome
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows
from pellucid.errors import BadData

OPTIONS: sources.Choices = {**shared.OPTIONS, "split": ("train", "val", "test", "miniv"), "masks": ("yes", "no")}


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per phrase, with `task` and an object for each instance, which the whole phrase names.

    With masks, `segmentation` holds the polygons of an instance and `phrase_masks` those of the whole phrase, in COCO's form.

    Args:
        place: the folder of `refer_SPLIT.json` and `image_data_split.json`.
        options: `split`, val unless told; `images`, the folder of the pictures, or of `VG_100K` and `VG_100K_2`; `masks=yes`; those of all
            groundings.
    Raises:
        BadData: a file is missing, or an entry is not what it should be.
    Differs: the authors' program keeps the last polygon of each instance alone; this keeps all.
    """
    chosen = sources.checked("phrasecut", options, OPTIONS)
    root = sources.folder_of(place)
    file = root / f"refer_{chosen.get('split', 'val')}.json"
    pictures = genome.images_of(root / "image_data_split.json")
    folders = genome.Folders(chosen, root)
    found: Rows = []
    for entry in shared.listed(sources.read_json(file), "", file):
        task, number, phrase = shared.picked(entry, ("task_id", "image_id", "phrase"), f"{file.name}: a phrase")
        where = f"{file.name}:{task}"
        about = shared.picked({"about": pictures.get(int(number))}, ("about",), f"{where}: picture {number} (see image_data_split.json)")[0]
        size, clip = shared.size_of(about, where), chosen.get("boxes") == "clip"
        scene = Scene(where, folders.find(number), phrase.strip(), genome.group_of(int(number), about), size, clip)
        found.append(_row(scene, entry, chosen.get("masks") == "yes") | {"task": task, "image_id": int(number)})
    return shared.finished(found, chosen, str(root))


def _row(scene: Scene, entry: Mapping[str, Any], masks: bool) -> dict[str, Any]:
    row = scene.row(())
    boxes = shared.listed(entry, "instance_boxes", scene.where)
    instances = [_polygons(instance) for instance in shared.listed(entry, "Polygons", scene.where)] if masks else [[] for _ in boxes]
    if len(instances) != len(boxes):
        raise BadData(f"{scene.where}: {len(boxes)} instance_boxes and {len(instances)} Polygons; expected as many")
    span = [0, len(scene.caption)]
    for box, polygons in zip(boxes, instances, strict=True):
        more: dict[str, Any] = {"segmentation": polygons} if polygons else {}
        row["objects"].append(scene.object(shared.corners(box, scene.where), [span], **more))
    return row | ({"phrase_masks": [polygon for polygons in instances for polygon in polygons]} if masks else {})


def _polygons(instance: Any) -> list[list[float]]:
    """`[[[x, y], ...], ...]` as COCO writes it, `[[x, y, ...], ...]`."""
    return [[number for corner in polygon for number in corner] for polygon in instance]
