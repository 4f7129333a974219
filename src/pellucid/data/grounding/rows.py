"""What the readers of groundings share: rows and their objects checked, pictures that several sets have told by one name."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.data import sources
from pellucid.data.grounding import spans as text
from pellucid.data.grounding.spans import Span
from pellucid.data.sources import Rows
from pellucid.errors import BadData

OPTIONS: sources.Choices = {
    "images": (),
    "missing": ("refuse", "skip"),
    "boxes": ("refuse", "clip"),
    "merge": ("yes", "no"),
}
SLACK = 2.0  # pixels by which a box may reach over the edge, as rounding leaves some
_COCO = re.compile(r"(?:.*_)?(\d{12})(?:_\d+)?\.\w+")


@dataclass(frozen=True)
class Scene:
    """A picture and one caption of it.

    Args:
        where: what messages call the row.
        size: width and height of the picture; None where the file does not tell them.
        clip: boxes that reach over the edge are cut off; otherwise they are refused.
    """

    where: str
    image: Any
    caption: str
    group: str
    size: tuple[float, float] | None = None
    clip: bool = False

    def object(self, box_xyxy: Sequence[float], spans: Sequence[Span], label: str = "", **more: Any) -> dict[str, Any]:
        """An object of it; without a label it is called by its words.

        Raises:
            BadData: the box is none, or lies outside; a span does; there is no span.
        """
        if not spans:
            raise BadData(f"{self.where}: a box without a phrase, {_box_text(box_xyxy)}; say which words it answers, or add ?spans=caption")
        found = text.checked(spans, self.caption, self.where)
        box = self._box(box_xyxy)
        area = more.pop("area", None)
        return {
            "box_xyxy": box,
            "spans": found,
            "label": label or text.text_of(found, self.caption),
            "area": (box[2] - box[0]) * (box[3] - box[1]) if area is None else area,
            "crowd": bool(more.pop("crowd", False)),
            **more,
        }

    def row(self, objects: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        """The row, with whatever else is told of it.

        Raises:
            BadData: the caption is empty.
        """
        if not isinstance(self.caption, str) or not self.caption.strip():
            raise BadData(f"{self.where}: the caption is empty; say what to look for, or leave the row out")
        size = {"width": self.size[0], "height": self.size[1]} if self.size else {}
        found = {"id": self.where, "image": self.image, "caption": self.caption, "objects": list(objects), **size, "group": self.group}
        return found | more

    def _box(self, given: Sequence[float]) -> list[float]:
        told = f"{self.where}: the box {_box_text(given)}"
        if len(given) != 4 or not all(is_number(x) for x in given):
            raise BadData(f"{told}; expected four numbers, x0, y0, x1, y1")
        x0, y0, x1, y1 = map(float, given)
        if x1 <= x0 or y1 <= y0:
            raise BadData(f"{told} has no width or no height; expected x0 < x1 and y0 < y1")
        if self.size is None:
            return [x0, y0, x1, y1]
        width, height = self.size
        picture = f"in a picture of {width:g} x {height:g}"
        if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
            raise BadData(f"{told} lies outside, {picture}")
        if not self.clip and max(-x0, -y0, x1 - width, y1 - height) > SLACK:
            raise BadData(f"{told} reaches over the edge, {picture}; add ?boxes=clip to cut such boxes off")
        return [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]


def corners(box_xywh: Any, where: str) -> list[float]:
    """Left, top, right and bottom of a box that a file gives by its width and height.

    Raises:
        BadData: it is no box.
    """
    if not isinstance(box_xywh, list | tuple) or len(box_xywh) != 4 or not all(is_number(x) for x in box_xywh):
        raise BadData(f"{where}: the box {box_xywh!r}; expected [x, y, width, height]")
    x, y, width, height = box_xywh
    return [x, y, x + width, y + height]


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def size_of(found: Mapping[str, Any], where: str) -> tuple[float, float]:
    """Width and height that an entry tells, be it as text.

    Raises:
        BadData: it does not.
    """
    sides = []
    for side in ("width", "height"):
        value = found.get(side)
        value = int(value) if isinstance(value, str) and value.isdecimal() else value
        if not is_number(value) or not 0 < value < 1e6:  # type: ignore[operator]
            raise BadData(f"{where}: the {side} is {found.get(side)!r}; expected pixels")
        sides.append(value)
    return (sides[0], sides[1])  # type: ignore[return-value]


def group_of(name: str, others: str = "") -> str:
    """What a picture is called in every set that has it: `coco/9` by the number in its file's name, else by that name.

    Args:
        others: put before the name of a picture that is not COCO's, which then has no folder.
    """
    file = os.path.basename(name)
    found = _COCO.fullmatch(file)
    return f"coco/{int(found[1])}" if found else f"{others}{os.path.splitext(file if others else name)[0]}"


def finished(rows: Rows, chosen: Mapping[str, str], place: str) -> Rows:
    """The rows whose picture is there; with `merge=yes`, the sentences of a picture joined.

    Raises:
        BadData: no rows at all, or pictures are missing.
    """
    if not rows:
        raise BadData(f"{place}: no picture with a caption")
    there = sources.with_pictures(rows, chosen.get("missing", "refuse"), place)
    if chosen.get("merge") == "yes":
        from pellucid.data.grounding import merge

        return merge.merged(there)
    return there


def folder_of_pictures(chosen: Mapping[str, str], root: Any, *usual: str) -> str:
    """The folder that `images` names, or the first usual one that there is."""
    if "images" in chosen:
        return os.path.expanduser(chosen["images"])
    return next((str(path) for name in usual if (path := root / name).is_dir()), str(root))


def picked(entry: Any, keys: Sequence[str], where: str) -> list[Any]:
    """The values of an entry of somebody's file.

    Raises:
        BadData: it is no object, or lacks one of them.
    """
    if not isinstance(entry, dict):
        raise BadData(f"{where}: expected an object with {', '.join(keys)}, found {type(entry).__name__}")
    lost = next((key for key in keys if entry.get(key) is None), None)
    if lost is not None:
        raise BadData(f"{where}: no {lost!r}; expected {', '.join(keys)}")
    return [entry[key] for key in keys]


def listed(tree: Any, key: str, file: Any) -> list[Any]:
    """The list that a file holds, under a key or, where that is empty, as a whole.

    Raises:
        BadData: there is none.
    """
    found = tree if not key else tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(found, list):
        raise BadData(f"{file}: expected {f'an object with the list {key!r}' if key else 'a list of objects'}")
    return found


def _box_text(box: Any) -> str:
    return "[" + ", ".join(f"{x:g}" if is_number(x) else repr(x) for x in box) + "]" if isinstance(box, list | tuple) else repr(box)
