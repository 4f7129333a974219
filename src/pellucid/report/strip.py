"""A caption as a strip under its picture: the words that a box answers stand on the box's colour."""

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from pellucid.report import letters
from pellucid.report.boxes import DARK, WHITE, ink_on
from pellucid.report.sheet import Colour

LEADING = 1.5  # of a line, over the letters' height
_RIGHT = ("R", "AL")  # scripts that are written from right to left


@dataclass(frozen=True)
class Mark:
    """Characters of a caption, the first and the one after the last, and the colour on which they stand."""

    begin: int
    end: int
    paint: Colour


@dataclass(frozen=True)
class _Piece:
    """Letters of one colour, none where that is no box's, and how wide they are."""

    text: str
    paint: Colour | None
    wide: float


Word = list[_Piece]


def strip(caption: str, marks: Sequence[Mark], width: int, size: int) -> Image.Image:
    """The caption in as many lines as it takes; the first mark of a character has it.

    Args:
        width: of the strip in pixels.
        size: of the letters in pixels.
    """
    edge = round(0.5 * size)
    lines = _lines(_words(caption, marks, size, max(1.0, width - 2.0 * edge)), max(1.0, width - 2.0 * edge), size)
    high = LEADING * size
    image = Image.new("RGB", (width, round(high * len(lines)) + edge), WHITE)
    for i, line in enumerate(lines):
        _write(image, line, (edge, edge / 2 + i * high), size, _from_right(caption))
    return image


def stacked(picture: Image.Image, strips: Sequence[Image.Image]) -> Image.Image:
    """The strips under the picture, which has their width."""
    whole = Image.new("RGB", (picture.width, picture.height + sum(one.height for one in strips)), WHITE)
    top = 0
    for one in (picture, *strips):
        whole.paste(one, (0, top))
        top += one.height
    return whole


# ---- words ------------------------------------------------------------------------------------------------------------


def _words(caption: str, marks: Sequence[Mark], size: int, room: float) -> list[Word]:
    """The words in the order in which they are read; one that is wider than the room in parts."""
    paints: list[Colour | None] = [None] * len(caption)
    for mark in reversed(marks):
        begin, end = max(0, mark.begin), min(mark.end, len(caption))
        paints[begin:end] = [mark.paint] * max(0, end - begin)
    found = []
    for match in re.finditer(r"\S+", caption):
        pieces = _pieces(match.group(), paints[match.start() : match.end()], size)
        whole = sum(piece.wide for piece in pieces) <= room
        found += [pieces] if whole else [[part] for piece in pieces for part in _parts(piece, size, room)]
    return found


def _pieces(word: str, paints: Sequence[Colour | None], size: int) -> Word:
    cuts = [0, *(i for i in range(1, len(word)) if paints[i] != paints[i - 1]), len(word)]
    return [_piece(word[begin:end], paints[begin], size) for begin, end in itertools.pairwise(cuts)]


def _piece(text: str, paint: Colour | None, size: int) -> _Piece:
    plain = letters.clean(text)
    return _Piece(plain, paint, letters.width(plain, size))


def _parts(piece: _Piece, size: int, room: float) -> list[_Piece]:
    return [_piece(text, piece.paint, size) for text in letters.pieces(piece.text, size, room)]


def _lines(words: Sequence[Word], room: float, size: int) -> list[list[Word]]:
    """As many words on each line as there is room for."""
    lines: list[list[Word]] = [[]]
    left, space = room, letters.width(" ", size)
    for word in words:
        wide = sum(piece.wide for piece in word)
        if lines[-1] and wide + space > left:
            lines.append([])
            left = room
        left -= wide + (space if lines[-1] else 0)
        lines[-1].append(word)
    return lines


def _from_right(text: str) -> bool:
    """Whether the first letter that has a direction is of a script that is written from right to left."""
    first = next((found for c in text if (found := unicodedata.bidirectional(c)) in ("L", *_RIGHT)), "L")
    return first in _RIGHT


def _in_sight(line: Sequence[Word], from_right: bool) -> list[Word]:
    """The words from left to right as they stand: runs of one direction in their own order, the runs in the caption's."""
    runs: list[tuple[bool, list[Word]]] = []
    for word in line:
        text = "".join(piece.text for piece in word)
        plain = not any(unicodedata.bidirectional(c) in ("L", *_RIGHT) for c in text)
        turned = from_right if plain else _from_right(text)
        if not runs or runs[-1][0] != turned:
            runs.append((turned, []))
        runs[-1][1].append([*reversed(word)] if turned else word)
    ordered = [reversed(words) if turned else words for turned, words in runs]
    return [word for words in (reversed(ordered) if from_right else ordered) for word in words]


# ---- drawing ----------------------------------------------------------------------------------------------------------


def _write(image: Image.Image, line: Sequence[Word], at: tuple[float, float], size: int, from_right: bool) -> None:
    """One line from its upper left corner; a colour goes on through the space between two of its words."""
    pen, (x, top), space = ImageDraw.Draw(image), at, letters.width(" ", size)
    if from_right:
        wide = sum(piece.wide for word in line for piece in word) + space * max(0, len(line) - 1)
        x = image.width - x - wide
    before: Colour | None = None
    for number, word in enumerate(_in_sight(line, from_right)):
        joined = number > 0 and before is not None and word[0].paint == before
        if joined:
            pen.rectangle((round(x), round(top), round(x + space), round(top + 1.3 * size)), before)
        x += space if number else 0
        for piece in word:
            if piece.paint:
                pen.rectangle((round(x), round(top), round(x + piece.wide), round(top + 1.3 * size)), piece.paint)
            letters.put(image, (x, top + size), piece.text, size, ink_on(piece.paint) if piece.paint else DARK)
            x += piece.wide
        before = word[-1].paint
