"""LVIS as questions to a picture: one for each class that is there, and for each that is known not to be."""

import pathlib
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.data import sources
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

OPTIONS: sources.Choices = {**shared.OPTIONS, "subset": (), "seed": (), "masks": ("yes", "no"), "negatives": ("yes", "no")}
_EVERY = 10  # one pick in so many is for a class that is not there
SEED = 42


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture and class, the class's name as caption, with all its boxes; without any for a class that is not there.

    `category`, `category_id`, `frequency` (r, c, f) and `image_id` are the file's; `exhaustive`, whether every object of the class was
    marked in the picture.

    Args:
        place: `lvis_v1_train.json` or `lvis_v1_val.json`.
        options: `subset`, the percentage of pictures kept, 1 and 10 in the paper, drawn so that each class comes as often as can be;
            `seed` of that draw, 42 unless told; `images`, the folder of train2017 and val2017; `negatives=no` leaves out classes
            that are not there; `masks=yes`; those of all groundings.
    Raises:
        BadData: the file is not what LVIS's is.
        BadUsage: subset or seed is no such number.
    """
    chosen = sources.checked("lvis", options, OPTIONS)
    file = pathlib.Path(place).expanduser()
    tree = sources.read_json(file)
    images, annotations, categories = (shared.listed(tree, key, file) for key in ("images", "annotations", "categories"))
    names = {shared.picked(c, ("id", "name"), f"{file}: a category")[0]: caption_of(c["name"]) for c in categories}
    kept = _kept(images, annotations, categories, chosen)
    owned: dict[Any, dict[Any, list[dict[str, Any]]]] = {image["id"]: {} for image in images}
    for annotation in annotations:
        image_id, category = shared.picked(annotation, ("image_id", "category_id"), f"{file}: an annotation")
        if image_id not in owned or category not in names:
            raise BadData(f"{file}: annotation {annotation.get('id')} is of image {image_id} and category {category}, not both in the file")
        owned[image_id].setdefault(category, []).append(annotation)
    about = {c["id"]: {"category": c["name"], "category_id": c["id"], "frequency": c.get("frequency")} for c in categories}
    folder = shared.folder_of_pictures(chosen, file.parent)
    found: Rows = []
    for image in images:
        if image["id"] not in kept:
            continue
        absent = image.get("neg_category_ids", []) if chosen.get("negatives") != "no" else []
        for category in [*owned[image["id"]], *absent]:
            where = f"{file.name}:{image['id']}.{category}"
            path = sources.inside(folder, _name(image), where)
            size, clip = shared.size_of(image, where), chosen.get("boxes") == "clip"
            scene = Scene(where, path, names[category], f"coco/{image['id']}", size, clip)
            there = owned[image["id"]].get(category, [])
            whole = category not in image.get("not_exhaustive_category_ids", [])
            found.append(
                _row(scene, there, chosen.get("masks") == "yes") | about[category] | {"image_id": image["id"], "exhaustive": whole}
            )
    return shared.finished(found, chosen, str(file))


def caption_of(name: str) -> str:
    """A class's name as one would say it, `flag_(of_nation)` as `flag`."""
    return " ".join(re.sub(r"\(.*\)", "", name).replace("_", " ").split()) or name


def _name(image: Mapping[str, Any]) -> Any:
    """`val2017/000000000139.jpg` of the address that LVIS names a picture by."""
    return "/".join(str(image["coco_url"]).split("/")[-2:]) if image.get("coco_url") else image.get("file_name")


def _row(scene: Scene, annotations: Sequence[dict[str, Any]], masks: bool) -> dict[str, Any]:
    row = scene.row(())
    for a in annotations:
        more = {"segmentation": a["segmentation"]} if masks and a.get("segmentation") else {}
        box = shared.corners(a.get("bbox"), f"{scene.where}, annotation {a.get('id')}")
        row["objects"].append(scene.object(box, [[0, len(scene.caption)]], area=a.get("area"), **more))
    return row


# ---- a few pictures of each class -----------------------------------------------------------------------------------


def _kept(images: Sequence[dict], annotations: Sequence[dict], categories: Sequence[dict], chosen: Mapping[str, str]) -> set[Any]:
    try:
        percent, seed = float(chosen.get("subset", 100)), int(chosen.get("seed", SEED))
    except ValueError:
        raise BadUsage(f"subset={chosen.get('subset')}, seed={chosen.get('seed')}: expected numbers, as subset=1") from None
    if not 0 < percent <= 100:
        raise BadUsage(f"subset={percent:g}: expected a percentage of the pictures, 1 to 100")
    if percent == 100:
        return {image["id"] for image in images}
    there, absent = _pictures_of(images, annotations, categories)
    return balanced(there, absent, [c["id"] for c in _rarest_last(categories)], int(len(images) * percent / 100), seed)


def _rarest_last(categories: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(categories, key=lambda c: (c.get("image_count", 0), c["id"]), reverse=True)


def _pictures_of(images: Sequence[dict], annotations: Sequence[dict], categories: Sequence[dict]) -> tuple[dict, dict]:
    """Class -> pictures that have it marked throughout, or at all where none has; and those known to be without it."""
    partly = {image["id"]: set(image.get("not_exhaustive_category_ids", ())) for image in images}
    whole: dict[Any, set[Any]] = {c["id"]: set() for c in categories}
    marked: dict[Any, set[Any]] = {c["id"]: set() for c in categories}
    for a in annotations:
        marked[a["category_id"]].add(a["image_id"])
        if a["category_id"] not in partly[a["image_id"]]:
            whole[a["category_id"]].add(a["image_id"])
    absent: dict[Any, set[Any]] = {c["id"]: set() for c in categories}
    for image in images:
        for category in image.get("neg_category_ids", ()):
            absent[category].add(image["id"])
    return {key: found or marked[key] for key, found in whole.items()}, absent


def balanced(there: Mapping[Any, set[Any]], absent: Mapping[Any, set[Any]], order: Sequence[Any], num: int, seed: int) -> set[Any]:
    """So many pictures, each drawn among those of the class that has come least often; one in ten for a class that is not there.

    Args:
        order: the classes; of those that have come as often the last is next.
    Source: Kamath et al. 2021, the few-shot sets; the draw is theirs, with 42 as seed.
    """
    draw = random.Random(seed)
    left = {"there": {c: set(there[c]) for c in order}, "absent": {c: set(absent[c]) for c in order}}
    classes: dict[str, dict[Any, list[Any]]] = {"there": {}, "absent": {}}
    for kind, pictures_of in left.items():
        for category, pictures in pictures_of.items():
            for picture in pictures:
                classes[kind].setdefault(picture, []).append(category)
    counts = {kind: dict.fromkeys(order, 0) for kind in classes}
    place = {category: -i for i, category in enumerate(order)}
    chosen: set[Any] = set()
    for pick in range(num):
        kind = "absent" if pick % _EVERY == 0 else "there"
        open_ = [c for c in order if left[kind][c]]
        if not open_:
            raise BadData(f"only {len(chosen)} of {num} pictures can be drawn; no other is known for a class that is {kind}")
        wanted = min(open_, key=lambda c: (counts[kind][c], place[c]))
        picture = draw.choice(sorted(left[kind][wanted]))
        chosen.add(picture)
        for name, of_picture in classes.items():
            for category in of_picture.get(picture, ()):
                counts[name][category] += 1
                left[name][category].discard(picture)
    return chosen
