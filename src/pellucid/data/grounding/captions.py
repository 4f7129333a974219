"""Captions made of COCO's categories: how many there are of each, or which of two is meant."""

from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.data import coco, sources
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows, log

OPTIONS: sources.Choices = {**coco.OPTIONS, "style": ("counts", "positions"), "merge": ("yes", "no")}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PLURALS = {"person": "people", "mouse": "mice", "knife": "knives", "sheep": "sheep", "skis": "skis", "scissors": "scissors"}
_ALWAYS_SEVERAL = ("skis", "scissors")
_SIBILANTS = ("s", "x", "z", "ch", "sh")


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture of COCO's instances, captioned by its categories, `a person. two dogs.`

    Objects that stand for a crowd are left out, and so are pictures without objects.

    Args:
        place: as of `coco:`.
        options: those of `coco:`; `style=positions` tells two of a category apart, `the left cup. the right cup.` (or upper and lower,
            where they lie one above the other), and counts where there are more; `merge` as of all groundings.
    Raises:
        BadData: as of `coco:`; or no picture has an object.
    """
    chosen = sources.checked("coco-captions", options, OPTIONS)
    found, empty = [], 0
    for row in coco.read(place, {key: value for key, value in chosen.items() if key not in ("style", "merge")}):
        objects = [o for o in row.get("objects", ()) if not o["crowd"]]
        if not objects:
            empty += 1
            continue
        parts = _sentences(objects, (row["width"], row["height"]), chosen.get("style") == "positions")
        found.append(_row(row, parts))
    if empty:
        log.warning("%s: %d pictures without objects are left out", place, empty)
    return shared.finished(found, {"merge": chosen.get("merge", "no")}, place)


def _row(row: Mapping[str, Any], parts: Sequence[tuple[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    caption = " ".join(f"{phrase}." for phrase, _ in parts)
    scene = Scene(row["id"], row["image"], caption, shared.group_of(row["image"]), (row["width"], row["height"]), True)
    objects, at = [], 0
    for phrase, members in parts:
        span = [at, at + len(phrase)]
        objects += [scene.object(o["box_xyxy"], [span], o["label"], **_more(o)) for o in members]
        at += len(phrase) + 2
    return scene.row(objects, image_id=row["image_id"])


def _more(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("area", "segmentation", "id") if key in found}


def _sentences(objects: Sequence[dict[str, Any]], size: tuple[float, float], positions: bool) -> list[tuple[str, list[dict[str, Any]]]]:
    """Phrases and the objects that each names, categories in the order of their first object."""
    of_label: dict[str, list[dict[str, Any]]] = {}
    for found in objects:
        of_label.setdefault(found["label"], []).append(found)
    parts: list[tuple[str, list[dict[str, Any]]]] = []
    for label, members in of_label.items():
        if positions and len(members) == 2:
            words, ordered = _sides(members, size)
            parts += [(f"the {word} {label}", [found]) for word, found in zip(words, ordered, strict=True)]
        else:
            parts.append((counted(label, len(members)), members))
    return parts


def _sides(pair: Sequence[dict[str, Any]], size: tuple[float, float]) -> tuple[tuple[str, str], list[dict[str, Any]]]:
    """Which of two lies left, or upper where their middles are further apart in height, each side measured by the picture's."""
    middles = [[(o["box_xyxy"][axis] + o["box_xyxy"][axis + 2]) / 2 / size[axis] for o in pair] for axis in (0, 1)]
    axis = 0 if abs(middles[0][0] - middles[0][1]) >= abs(middles[1][0] - middles[1][1]) else 1
    ordered = list(pair) if middles[axis][0] <= middles[axis][1] else list(reversed(pair))
    return (("left", "right"), ("upper", "lower"))[axis], ordered


def counted(label: str, num: int) -> str:
    """`a person`, `two people`, `many books`."""
    if num == 1:
        return label if label in _ALWAYS_SEVERAL else f"{'an' if label[0].lower() in 'aeiou' else 'a'} {label}"
    return f"{_NUMBERS[num] if num < len(_NUMBERS) else 'many'} {plural(label)}"


def plural(label: str) -> str:
    """The name of several, of its last word: `wine glasses`."""
    *before, last = label.split(" ")
    several = _PLURALS.get(last) or last + ("es" if last.endswith(_SIBILANTS) else "s")
    return " ".join([*before, several])
