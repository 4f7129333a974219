"""One-shot detection's questions, out of pictures with boxes: where in this picture is what that patch shows?

Source: Dai et al. 2021, section 4.3; the authors never released its code, and told in an issue how the patch meets the queries.
"""

import random
from collections.abc import Sequence
from typing import Any

from pellucid.errors import BadData
from pellucid.task import Example

MATCH = "match"


def questions(examples: Sequence[Example], source: str) -> list[Example]:
    """For every picture and each class in it one example, whose `objects` are that class's and called `match`.

    Its `pool` are the objects of that class in other pictures, or its own where no other has one, as `{"image", "box_xyxy"}`. Crowds
    are no patches.

    Raises:
        BadData: no picture has an object.
    """
    pools: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for i, example in enumerate(examples):
        for thing in example["objects"]:
            if not thing.get("crowd"):
                pools.setdefault(thing["label"], []).append((i, {"image": example["image"], "box_xyxy": thing["box_xyxy"]}))
    if not pools:
        raise BadData(f"{source}: no picture has an object that could be looked for")
    return [_question(e, i, label, pools[label]) for i, e in enumerate(examples) for label in _labels(e)]


def _labels(example: Example) -> list[str]:
    return sorted({thing["label"] for thing in example["objects"] if not thing.get("crowd")})


def _question(example: Example, place: int, label: str, pool: list[tuple[int, dict[str, Any]]]) -> Example:
    objects = [{**thing, "label": MATCH} for thing in example["objects"] if thing["label"] == label]
    rest = {key: value for key, value in example.items() if key not in ("image_id", "labels", "category_ids", "label")}
    told = {"id": f"{example['id']}@{label}", "wanted": label, "classes": (MATCH,), "objects": objects}
    return {**rest, **told, "place": place, "pool": pool}  # the pool is one list for all pictures, and not copied


def drawn(example: Example, seed: int) -> Any:
    """A patch for the example: of another picture, if any has one."""
    others = [patch for place, patch in example["pool"] if place != example["place"]]
    return random.Random(seed).choice(others or [patch for _, patch in example["pool"]])
