"""Objects drawn on a picture: a box and a colour for each class, its name and score on a tag, masks half see-through."""

import functools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from pellucid.report import colour, letters
from pellucid.report.sheet import Colour

GOLDEN = 2.399963  # radians: turned by it again and again, hues stay as far apart as can be
TONES = ((0.74, 0.15), (0.60, 0.19), (0.85, 0.13))  # lightness and chroma (OKLab), in turn
UNIT = 200.0  # lines are a pixel wide on a picture of this side, and letters 5.5 high
LEAST_LETTERS = 9  # pixels
VEIL = 0.5  # opacity of a mask
DARK, WHITE = (16, 18, 22), (255, 255, 255)

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """An object in a picture.

    Args:
        box_xyxy: in pixels of the picture.
        score: what is written beside the label; None writes nothing.
        mask: COCO's run-length encoding, or rows of pixels, of the picture's height and width.
        framed: false of what has a place and no edges.
        named: false of what another thing's tag tells as well.
    """

    label: str
    box_xyxy: Sequence[float]
    score: float | None = None
    mask: Mapping[str, Any] | Bool[np.ndarray, "h w"] | None = None
    framed: bool = True
    named: bool = True

    @property
    def caption(self) -> str:
        """What its tag says."""
        return letters.clean(self.label if self.score is None else f"{self.label} {self.score:.2f}").strip()


@functools.cache
def colour_of(label: str, labels: tuple[str, ...] = ()) -> Colour:
    """The label's colour: by its place among `labels`, whose neighbours differ most; of another label by its letters alone."""
    place = labels.index(label) if label in labels else zlib.crc32(label.encode("utf-8", "replace")) % 4096
    (light, chroma), hue = TONES[place % len(TONES)], GOLDEN * place
    red, green, blue = colour.srgb(np.array([light, chroma * math.cos(hue), chroma * math.sin(hue)]))
    return round(255 * red), round(255 * green), round(255 * blue)


def drawn(picture: Image.Image, things: Sequence[Thing], labels: Sequence[str] = (), times: int = 1) -> Image.Image:
    """A copy of the picture with its things, the strongest first, drawn on it; a box that is not finite or lies outside is left out.

    Args:
        labels: all names, in an order that does not change from picture to picture.
        times: the copy is so many times as wide and high.
    """
    image, known = picture.convert("RGB"), tuple(labels)
    image = image.copy() if image is picture else image
    placed = [(thing, box, colour_of(thing.label, known)) for thing in things if (box := _within(thing.box_xyxy, image.size))]
    placed.sort(key=lambda one: -_area(one[1]))  # small boxes lie over large ones
    for thing, _, paint in placed:
        if thing.mask is not None:
            _veil(image, _mask(thing.mask), paint)
    if times > 1:
        image = image.resize((times * image.width, times * image.height), Image.Resampling.BICUBIC)
        placed = [(thing, tuple(times * x for x in box), paint) for thing, box, paint in placed]  # type: ignore[misc]
    line = max(1, round(math.sqrt(image.width * image.height) / UNIT))
    pen = ImageDraw.Draw(image)
    for thing, box, paint in sorted(placed, key=lambda one: one[0].framed):
        if thing.framed:
            _frame(pen, box, paint, line)
        elif thing.mask is not None:
            _outline(image, _mask(thing.mask), paint, line)
    strongest = [one for thing in things for one in placed if one[0] is thing and thing.named]
    _tags(image, strongest, line)
    return image


def _within(box: Sequence[float], size: tuple[int, int]) -> Box | None:
    """The part of a box inside the picture; None where there is none."""
    if len(box) != 4 or not all(map(math.isfinite, box)):
        return None
    wide, high = size
    left, right = (min(max(x, 0.0), float(wide)) for x in sorted((box[0], box[2])))
    top, bottom = (min(max(y, 0.0), float(high)) for y in sorted((box[1], box[3])))
    outside = max(box[0], box[2]) < 0 or min(box[0], box[2]) > wide or max(box[1], box[3]) < 0 or min(box[1], box[3]) > high
    return None if outside else (left, top, right, bottom)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


# ---- masks and frames -------------------------------------------------------------------------------------------------


def _mask(found: Mapping[str, Any] | Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    if isinstance(found, np.ndarray):
        return found
    from faster_coco_eval.core import mask as rle

    counts = found["counts"]
    return rle.decode({"size": list(found["size"]), "counts": counts.encode() if isinstance(counts, str) else counts}).astype(bool)


def _veil(image: Image.Image, mask: Bool[np.ndarray, "h w"], paint: Colour) -> None:
    if mask.shape != (image.height, image.width):
        raise ValueError(f"a mask of {mask.shape[0]} x {mask.shape[1]} on a picture of {image.height} x {image.width}")
    image.paste(paint, (0, 0), Image.fromarray(np.where(mask, np.uint8(round(255 * VEIL)), np.uint8(0))))


def _outline(image: Image.Image, mask: Bool[np.ndarray, "h w"], paint: Colour, line: int) -> None:
    """A line inside the mask's edge, but not where that is the picture's."""
    from scipy import ndimage

    times = image.width // mask.shape[1]
    whole = mask.repeat(times, 0).repeat(times, 1)
    edge = whole & ~ndimage.binary_erosion(whole, iterations=line, border_value=1)
    image.paste(paint, (0, 0), Image.fromarray(np.where(edge, np.uint8(255), np.uint8(0))))


def _frame(pen: ImageDraw.ImageDraw, box: Box, paint: Colour, line: int) -> None:
    """A line in the class's colour between two thin dark ones, which show it on any ground."""
    left, top, right, bottom = (round(v) for v in box)
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    edge = max(1, line // 3)
    for inset, width, ink in ((-edge, line + 2 * edge, DARK), (0, line, paint)):
        corners = (left + inset, top + inset, max(left + inset, right - inset), max(top + inset, bottom - inset))
        pen.rectangle(corners, None, ink, width)


# ---- tags -------------------------------------------------------------------------------------------------------------


def _tags(image: Image.Image, placed: Sequence[tuple[Thing, Box, Colour]], line: int) -> None:
    """Names on filled ground; the strongest choose their places first and lie on top."""
    size = max(LEAST_LETTERS, round(5.5 * math.sqrt(image.width * image.height) / UNIT))
    taken: list[Box] = []
    tags = []
    for thing, box, paint in placed:
        text = letters.fitting(thing.caption, size, max(1.0, image.width - 0.6 * size))
        wide, high = letters.width(text, size) + 0.6 * size, 1.36 * size
        place = _free((wide, high), box, image.size, taken)
        taken.append(place)
        tags.append((place, text, paint))
    pen = ImageDraw.Draw(image)
    for place, text, paint in reversed(tags):
        left, top, right, bottom = (round(v) for v in place)
        pen.rectangle((left, top, right - 1, bottom - 1), paint, DARK, max(1, line // 3))
        letters.put(image, (left + 0.3 * size, top + 1.02 * size), text, size, ink_on(paint))


def _free(tag: tuple[float, float], box: Box, size: tuple[int, int], taken: Sequence[Box]) -> Box:
    """Where a tag covers least of the others: above its box, inside at the top, below, or inside at the bottom."""
    wide, high = tag
    places = []
    for left, top in ((box[0], box[1] - high), (box[0], box[1]), (box[2] - wide, box[1]), (box[0], box[3]), (box[0], box[3] - high)):
        x, y = max(0.0, min(left, size[0] - wide)), max(0.0, min(top, size[1] - high))
        places.append((x, y, x + wide, y + high))
    return min(places, key=lambda place: sum(_overlap(place, other) for other in taken))


def _overlap(one: Box, other: Box) -> float:
    return max(0.0, min(one[2], other[2]) - max(one[0], other[0])) * max(0.0, min(one[3], other[3]) - max(one[1], other[1]))


def ink_on(ground: Colour) -> Colour:
    """Black or white, whichever stands out more (the ratio of WCAG 2)."""
    shares = np.array(ground) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return DARK if (luminance + 0.05) / 0.057 > 1.05 / (luminance + 0.05) else WHITE
