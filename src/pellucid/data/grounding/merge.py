"""Sentences of one picture joined to one caption, so that pre-training sees each picture fewer times with more to find in it."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float

from pellucid.data.grounding.spans import whole_words
from pellucid.data.sources import Rows

_KEPT = ("image", "width", "height", "group", "image_id")


def merged(rows: Rows, longest: int = 250, overlap: float = 0.5) -> Rows:
    """Fewer rows with longer captions: sentences of a picture in a row, unless they name the same thing.

    Sentences get the lowest of the numbers that no sentence has with which they share a box, those of most such neighbours first.

    Args:
        longest: characters of a caption, counting two for each join; a longer sentence stays alone.
        overlap: two sentences with boxes of a larger intersection over union are never joined.
    Source: Kamath et al. 2021. Differs: the sentences of a row keep their order, and joins count towards the length.
    """
    pictures: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        pictures.setdefault(row["group"], []).append(i)
    found: Rows = []
    for members in pictures.values():
        sentences = [rows[i] for i in members]
        colours = _coloured(_clashes(sentences, overlap), [len(row["caption"]) + 2 for row in sentences], longest)
        for colour in range(max(colours) + 1):
            found.append(_joined([row for row, c in zip(sentences, colours, strict=True) if c == colour]))
    return found


def apart(rows: Rows, others: Collection[str]) -> Rows:
    """The rows of pictures that are not among these groups, as those that another set is tested on."""
    return [row for row in rows if row["group"] not in others]


def _clashes(rows: Sequence[dict[str, Any]], overlap: float) -> Bool[np.ndarray, "n n"]:
    """Which sentences share a box."""
    owner = np.array([i for i, row in enumerate(rows) for _ in row["objects"]], dtype=np.int64)
    boxes = np.array([o["box_xyxy"] for row in rows for o in row["objects"]], dtype=np.float64).reshape(len(owner), 4)
    found = np.zeros((len(rows), len(rows)), dtype=bool)
    first, second = np.nonzero(pair_iou(boxes, boxes) > overlap)
    found[owner[first], owner[second]] = True
    np.fill_diagonal(found, False)
    return found


def pair_iou(first: Float[np.ndarray, "n 4"], second: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Intersection over union of each box with each."""
    down, across = rearrange(first, "n c -> n 1 c"), rearrange(second, "m c -> 1 m c")
    low, high = np.maximum(down, across)[..., :2], np.minimum(down, across)[..., 2:]
    shared = (high - low).clip(min=0).prod(-1)  # n m
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (down, across)]  # n 1, 1 m
    return shared / (areas[0] + areas[1] - shared)


def _coloured(clash: Bool[np.ndarray, "n n"], lengths: Sequence[int], longest: int) -> list[int]:
    """A number for each sentence: none like a clashing one's, none whose sentences are longer together than that."""
    colours = [-1] * len(lengths)
    used: list[int] = []  # characters of each colour
    for node in sorted(range(len(lengths)), key=lambda i: (-int(clash[i].sum()), i)):
        taken = {colours[other] for other in np.flatnonzero(clash[node])}
        fits = (c for c in range(len(used)) if c not in taken and used[c] + lengths[node] <= longest)
        colour = next(fits, len(used))
        if colour == len(used):
            used.append(0)
        colours[node] = colour
        used[colour] += lengths[node]
    return colours


def _joined(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    caption, objects = "", []
    for row in rows:
        start = len(caption) + bool(caption)
        caption = f"{caption} " * bool(caption) + row["caption"].rstrip()
        caption += "" if caption.endswith((".", "?", "!")) else "."
        objects += [(start, found) for found in row["objects"]]
    shifted = [{**o, "spans": whole_words([[b + start, e + start] for b, e in o["spans"]], caption)} for start, o in objects]
    more = f"+{len(rows) - 1}" if len(rows) > 1 else ""
    kept = {key: rows[0][key] for key in _KEPT if key in rows[0]}
    return {"id": f"{rows[0]['id']}{more}", "caption": caption, "objects": shifted, **kept}
