"""Flickr30k Entities: five sentences a picture, their phrases marked, and the boxes of what the phrases name."""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pellucid.data import sources, voc
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding.merge import pair_iou
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows
from pellucid.errors import BadData

OPTIONS: sources.Choices = {**shared.OPTIONS, "split": (), "merged": ("yes", "no")}
_MARK = re.compile(r"\[/EN#(\d+)/(\S+)")
SAME = 0.95  # intersection over union from which two entities' boxes are one object

Box = list[float]


class Phrase(NamedTuple):
    """A marked phrase of a sentence.

    Args:
        kind: people, scene and so on; of a phrase of several, all, with `/` between.
    """

    entity: str
    kind: str
    span: list[int]


class Picture(NamedTuple):
    """What the annotation of a picture tells: its size, and the boxes of each entity that has any."""

    size: tuple[float, float]
    boxes: dict[str, list[Box]]


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per sentence, with `sentence_id` and `image_id`; `phrases` hold each phrase that has boxes, for the recall.

    Boxes of different entities that are the same to 95% are one object; an entity that a sentence names twice has both spans. Phrases
    without boxes stay in the sentence and are not asked for.

    Args:
        place: the folder of `Sentences`, `Annotations` and the lists `train.txt`, `val.txt`, `test.txt`.
        options: `split`, val unless told; `images`, the folder of the pictures (else `flickr30k-images` or `flickr30k_images` in it);
            `merged=yes` has one box around all of an entity, as the merged-box recall wants; those of all groundings.
    Raises:
        BadData: a file is missing or damaged; the message names it and the sentence.
    """
    chosen = sources.checked("flickr", options, OPTIONS)
    root = sources.folder_of(place)
    folder = shared.folder_of_pictures(chosen, root, "flickr30k-images", "flickr30k_images", "images")
    found = sentences(root, chosen.get("split", "val"), folder, chosen.get("merged") == "yes")
    return shared.finished(found, chosen, str(root))


def sentences(root: pathlib.Path, split: str, images: str = "", merged: bool = False) -> Rows:
    """The rows without a look at the pictures, which a measurement of given boxes does not need; else as `read`."""
    listing = root / f"{split}.txt"
    if not listing.is_file():
        there = ", ".join(sorted(p.stem for p in root.glob("*.txt"))) or "none"
        raise BadData(f"no file {listing}; choose a list with ?split=, of {there}")
    found: Rows = []
    for name in sources.read_text(listing).split():
        annotation = root / "Annotations" / f"{name}.xml"
        if not name.isdecimal():
            raise BadData(f"{listing}: {name!r}; expected the number of a picture on each line")
        picture = _picture(annotation, merged)
        file = root / "Sentences" / f"{name}.txt"
        for number, line in enumerate(filter(str.strip, sources.read_text(file).split("\n"))):
            caption, phrases = parsed(line, f"{file.name}:{number + 1}")
            scene = Scene(f"{name}.txt:{number + 1}", f"{images}/{name}.jpg", caption, f"flickr/{name}", picture.size, True)
            found.append(_row(scene, phrases, picture.boxes) | {"sentence_id": number, "image_id": int(name)})
    return found


def parsed(line: str, where: str) -> tuple[str, list[Phrase]]:
    """A sentence without its marks, and the phrases that were marked.

    Raises:
        BadData: a mark is not closed.
    """
    caption, phrases, opened = "", [], None
    for token in line.split():
        mark = _MARK.fullmatch(token)
        if mark and opened is None:
            opened = Phrase(mark[1], mark[2], [len(caption) + bool(caption), 0])
            continue
        closes = opened is not None and token.endswith("]")
        caption += " " * bool(caption) + (token[:-1] if closes else token)
        if closes and opened is not None:
            phrases.append(opened._replace(span=[opened.span[0], len(caption)]))
            opened = None
    if opened is not None:
        raise BadData(f"{where}: the phrase of entity {opened.entity} is not closed with ]")
    return caption, [phrase for phrase in phrases if phrase.span[0] < phrase.span[1]]


def _picture(file: pathlib.Path, merged: bool) -> Picture:
    root = voc.xml_root(file)
    size = {side: root.findtext(f"size/{side}", "") for side in ("width", "height")}
    boxes: dict[str, list[Box]] = {}
    for found in root.findall("object"):
        corners = [found.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        if found.find("bndbox") is None:
            continue
        try:
            box = [float(side or "") for side in corners]
        except ValueError:
            raise BadData(f"{file}: an object has the box {corners}; expected four numbers") from None
        for name in found.findall("name"):
            boxes.setdefault((name.text or "").strip(), []).append(box)
    around = {key: [_around(several)] for key, several in boxes.items()} if merged else boxes
    return Picture(shared.size_of(size, str(file)), around)


def _around(boxes: Sequence[Box]) -> Box:
    sides = list(zip(*boxes, strict=True))
    return [min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])]


def _row(scene: Scene, phrases: Sequence[Phrase], boxes: Mapping[str, list[Box]]) -> dict[str, Any]:
    seen = [phrase for phrase in phrases if phrase.entity in boxes]
    spans: dict[str, list[list[int]]] = {}
    for phrase in seen:
        spans.setdefault(phrase.entity, []).append(phrase.span)
    flat = [(entity, box) for entity in spans for box in boxes[entity]]
    objects = [
        scene.object(flat[members[-1]][1], sorted(span for entity in dict.fromkeys(flat[i][0] for i in members) for span in spans[entity]))
        for members in _same([box for _, box in flat])
    ]
    wanted = [{"spans": [phrase.span], "boxes_xyxy": boxes[phrase.entity], "kind": phrase.kind} for phrase in seen]
    return scene.row(objects, phrases=wanted)


def _same(boxes: Sequence[Box]) -> list[list[int]]:
    """The boxes in groups that hang together by pairs that are the same to `SAME`."""
    array = np.array(boxes, dtype=np.float64).reshape(len(boxes), 4)
    near = pair_iou(array, array) >= SAME
    left, groups = set(range(len(boxes))), []
    while left:
        group, todo = [], [min(left)]
        while todo:
            at = todo.pop()
            if at in left:
                left.remove(at)
                group.append(at)
                todo += np.flatnonzero(near[at]).tolist()
        groups.append(sorted(group))
    return groups
