"""Found objects: pictures under the boxes that were found and those that are there, and AP by class."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.errors import BadData
from pellucid.report import boxes, chart, letters, maps, number, records
from pellucid.report.read import Run

SPOKEN = 5  # objects named for readers who cannot see the picture
SOURCE = "results/objects.json"


@dataclass(frozen=True)
class Mark:
    """A box: its corner and sides, and where its tag begins, in per cent of the picture.

    Args:
        tag: label and score; empty for an object that is there.
        ink: colour of the letters on it.
        from_right: the tag ends at the box's right side, instead of beginning at its left.
        inside: the tag lies below the box's upper side, not above.
    """

    left: float
    top: float
    width: float
    height: float
    title: str
    tag: str = ""
    colour: str = ""
    ink: str = ""
    from_right: bool = False
    inside: bool = False

    @property
    def right(self) -> float:
        """From the picture's right side."""
        return 100 - self.left - self.width

    @property
    def bottom(self) -> float:
        """From the picture's lower side to the box's upper one."""
        return 100 - self.top


@dataclass(frozen=True)
class Piece:
    """A part of a caption, on the colour of the box that answers it, if one does; `asked` where an object that is there is named."""

    text: str
    colour: str = ""
    ink: str = ""
    asked: bool = False


@dataclass(frozen=True)
class PictureView:
    """One picture with both its boxes, and the caption that was read with it."""

    id: str
    source: str
    found: tuple[Mark, ...]
    true: tuple[Mark, ...]
    spoken: str
    caption: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class ObjectsView:
    """The section; a class's chart by set, of sets whose metric tells of classes."""

    set: str
    threshold: str
    pictures: tuple[PictureView, ...]
    classes: tuple[tuple[str, chart.Rows], ...]
    metric: str
    by: str = "class"

    @property
    def captioned(self) -> bool:
        """Whether captions were read with the pictures."""
        return any(picture.caption for picture in self.pictures)


def view(run: Run) -> ObjectsView | None:
    """What the template draws; None where the run found no objects.

    Raises:
        BadData: a picture that is none, or a box without four finite numbers.
    """
    found = run.objects
    if not found:
        return None
    labels = tuple(found.get("labels", ()))
    pictures = tuple(_picture(one, labels) for one in found["pictures"])
    metric, by = number.title(found["metric"]) if "metric" in found else _metric(run), found.get("by", "class")
    classes = tuple((name, _chart(name, i, values, metric, by)) for i, (name, values) in enumerate(found["classes"].items()) if values)
    return ObjectsView(found["set"], number.significant(found["threshold"], 2), pictures, classes, metric, by)


def _metric(run: Run) -> str:
    sets = run.evaluate["sets"].values() if run.evaluate else ()
    return number.title(next((name for one in sets for name in one["metrics"]), "AP"))


def _picture(found: records.ObjectsPicture, labels: tuple[str, ...]) -> PictureView:
    where = f"{SOURCE}: picture {found['id']!r}"
    if not maps.SOURCE.fullmatch(found["src"]):
        raise BadData(f"{where}: no PNG or JPEG as base64 data; evaluate the run again")
    size, caption = (found["width"], found["height"]), found.get("caption", "")
    labels = tuple(dict.fromkeys(one["label"] for one in found["found"])) if caption else labels  # phrases differ from picture to picture
    seen = [_mark(one, size, labels, where) for one in found["found"]]
    there = [_mark({**one, "score": None}, size, labels, where) for one in found["objects"]]
    told = f"Found: {_named([m.title for m in seen])}. There: {_named([m.title for m in there])}."
    pieces = _pieces(found, seen) if caption else ()
    return PictureView(found["id"], found["src"], tuple(seen), tuple(there), told, pieces)


def _pieces(found: records.ObjectsPicture, seen: Sequence[Mark]) -> tuple[Piece, ...]:
    """The caption in parts; words that several boxes answer have the colour of the surest."""
    caption = found["caption"]
    painted: list[tuple[str, str, bool]] = [("", "", False)] * len(caption)
    for one in found["objects"]:
        for i in _places(one, caption):
            painted[i] = ("", "", True)
    for one, mark in reversed(list(zip(found["found"], seen, strict=True))):
        for i in _places(one, caption):
            painted[i] = (mark.colour, mark.ink, painted[i][2])
    runs = itertools.groupby(zip(caption, painted, strict=True), key=lambda pair: pair[1])
    return tuple(Piece(letters.clean("".join(letter for letter, _ in run)), *paint) for paint, run in runs)


def _places(found: records.Object, caption: str) -> list[int]:
    return [i for begin, end in found.get("spans", ()) for i in range(max(0, begin), min(end, len(caption)))]


def _named(titles: Sequence[str]) -> str:
    more = f" and {len(titles) - SPOKEN} more" if len(titles) > SPOKEN else ""
    return ", ".join(titles[:SPOKEN]) + more if titles else "nothing"


def _mark(found: records.Object, size: tuple[float, float], labels: tuple[str, ...], where: str) -> Mark:
    box, score = found["box_xyxy"], found.get("score")
    if len(box) != 4 or not all(x is not None and math.isfinite(x) for x in box) or min(size) <= 0:
        raise BadData(f"{where}: its box is {box} in {size[0]:g} x {size[1]:g} pixels; evaluate the run again")
    sides = (size[0], size[1], size[0], size[1])
    left, top, right, bottom = (100 * min(1.0, max(0.0, float(x or 0) / side)) for x, side in zip(box, sides, strict=True))
    label = letters.clean(found["label"])
    rest = (round(left, 2), round(top, 2), round(max(0.0, right - left), 2), round(max(0.0, bottom - top), 2))
    if score is None:
        return Mark(*rest, label)
    paint = boxes.colour_of(found["label"], labels)
    tag = f"{label} {number.fixed(score, 2)}"
    return Mark(*rest, tag, tag, _css(paint), _css(boxes.ink_on(paint)), left > 55, top < 8)


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _chart(name: str, index: int, values: dict[str, records.Number], metric: str, by: str) -> chart.Rows:
    """A bar for each class, or kind, the best first."""
    known = sorted(((v, label) for label, v in values.items() if v is not None and number.real(v)), key=lambda pair: (-pair[0], pair[1]))
    lines = [chart.Row(label, [chart.Item(v, f"{label}: {number.fixed(v)}")], number.fixed(v)) for v, label in known]
    best = f"Best {known[0][1]}, {number.fixed(known[0][0])}; worst {known[-1][1]}, {number.fixed(known[-1][0])}." if known else ""
    return chart.rows(f"classes-{index}", f"{metric} by {by} on {name}", best, chart.axis(metric, [0.0, 1.0], zero=True), lines)
