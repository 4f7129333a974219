"""Explained examples as one PNG: coloured words, checks, methods side by side, the information flow."""

import io
import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pellucid.report import heat, letters, matrix, meanings, number, photos, read, records, reels, spoken, whole, words
from pellucid.report.sheet import DARK, LIGHT, MARGIN, SCALE, SMALL, TEXT, TITLE, WIDTH, Box, Letters, Sheet, paint

TALLEST = 8000  # where no further example is begun: a picture is to be looked at, and a page holds the rest
TILE, NARROWEST, WORD_ROOM, NOTE_ROOM = 18.0, 14.0, 96.0, 130.0


def draw(found: dict[str, Any], dark: bool = False, smooth: bool = False) -> Image.Image:
    """The picture of explained examples, as many as it is sensible to look at, two pixels per unit.

    Args:
        found: what results/explanations.json holds.
        smooth: colours over a picture go over into each other; else every patch is one colour.
    Raises:
        BadData: it holds something else.
    """
    checked: records.Explanations = read.fitted(found, records.Explanations, "explanations")
    view = words.view(checked, "explanations")
    sheet = Sheet(DARK if dark else LIGHT)
    _head(sheet, view)
    for done, example in enumerate(view.examples):
        if done and sheet.y > TALLEST:
            sheet.y += 26
            sheet.text(MARGIN, f"{len(view.examples) - done} more in the page and the JSON", SMALL, sheet.palette.muted)
            break
        _example(sheet, example, smooth)
    return paint(sheet)


def png(found: dict[str, Any], dark: bool = False, smooth: bool = False) -> bytes:
    """The picture as the bytes of a PNG file."""
    into = io.BytesIO()
    draw(found, dark, smooth).save(into, "PNG", dpi=(96 * SCALE, 96 * SCALE))
    return into.getvalue()


def write(found: dict[str, Any], path: pathlib.Path, dark: bool = False) -> pathlib.Path:
    """The path of the PNG file, new or replaced as a whole.

    Raises:
        BadData: `found` is no explanations.
        BadUsage: the file cannot be written.
    """
    return whole.write(path, png(found, dark))


# ---- lines -----------------------------------------------------------------------------------------------------------


def _head(sheet: Sheet, view: words.ExplainedView) -> None:
    """What is shown, and what the colours mean."""
    palette = sheet.palette
    sheet.y += 16
    end = sheet.text(MARGIN, view.shown, TITLE, palette.ink)
    if view.site:
        sheet.text(end + 12, f"at {view.site}", SMALL, palette.muted)
    sheet.y += 26
    is_value = view.score_unit == "value"
    x = sheet.text(MARGIN, "lowers it" if is_value else "against", SMALL, palette.muted) + 8
    for share in (-1.0, -0.66, -0.33, 0.0, 0.33, 0.66, 1.0):
        ground = palette.ground("neg" if share < 0 else "pos", words.STRONGEST * abs(share))
        sheet.marks.append(Box(x, sheet.y - 11, 26, 14, ground, 0, palette.rule))
        x += 26
    x = sheet.text(x + 8, "raises the score" if is_value else "for the answer", SMALL, palette.muted)
    alone = view.of_matrices and not view.of_words
    words_told = "a row's strongest word is fullest and ringed" if alone else "the strongest word of a line is fullest; underlined: against"
    told = "the strongest patch of a map is fullest, and outlined" if view.of_pictures else words_told
    told = "1 is a method's strongest frame, which has a border" if view.thing == "frame" else told
    sheet.text(x + 18, told, SMALL, palette.muted)
    if view.has_blanks:
        sheet.y += 21
        sheet.text(MARGIN, "blank: no patch was looked at there, and nothing is told of it", SMALL, palette.muted)
    if view.checks and not alone:
        sheet.y += 21
        sheet.text(MARGIN, "checks: ↑ larger is better, ↓ smaller is better, →0 nearer to 0 is better", SMALL, palette.muted)
    sheet.y += 6


def _example(sheet: Sheet, example: words.ExampleView, smooth: bool = False) -> None:
    palette = sheet.palette
    sheet.y += 12
    sheet.marks.append(Box(MARGIN, sheet.y, WIDTH - 2 * MARGIN, 1, palette.rule))
    sheet.y += 28
    facts = [(example.text or example.prediction, TITLE, palette.ink)]
    if example.right is not None:
        told = ("right", palette.good) if example.right else (f"wrong, label is {example.label}", palette.bad)
        facts.append((told[0], SMALL, told[1]))
    elif example.label:
        facts.append((f"label {example.label}", SMALL, palette.muted))
    facts += [(f"explained: {example.answer}", SMALL, palette.muted)] if example.answer else []
    facts += [(text, SMALL, palette.muted) for text in (example.score, " · ".join(t for t in (example.set, example.id) if t)) if text]
    x = float(MARGIN)
    for text, size, colour in facts:
        text = letters.fitting(letters.clean(text), size, max(20.0, WIDTH - MARGIN - x))
        x = sheet.text(x, text, size, colour) + 14
        if x > WIDTH - 2 * MARGIN - 80:
            x, sheet.y = float(MARGIN), sheet.y + 20
    if example.photo:
        photos.draw(sheet, example.photo, smooth)
    if example.clip:
        reels.draw(sheet, example.clip)
    for several in example.matrices:
        _heat(sheet, matrix.drawn(several))
    for method in example.methods:
        _method(sheet, method)
    for picture in (example.side_by_side, example.flow):
        if picture:
            _heat(sheet, picture)
    sheet.y += 4


def _method(sheet: Sheet, method: words.MethodView) -> None:
    sheet.y += 24
    end = sheet.text(MARGIN, method.name, SMALL, sheet.palette.muted if method.words else sheet.palette.ink)
    if method.words:
        sheet.y += 24
        spoken.write(sheet, method.words, (MARGIN, WIDTH - 2.0 * MARGIN), TEXT)
    else:
        strongest = ", ".join(" ".join(pair) for pair in (*method.most_for, *method.most_against))
        told = " · ".join(text for text in (strongest, f"area {method.area}" if method.curve else "", method.note) if text)
        sheet.text(end + 12, letters.fitting(letters.clean(told), SMALL, WIDTH - MARGIN - end - 12), SMALL, sheet.palette.muted)
    if method.checks:
        sheet.y += 23
        _checks(sheet, method.checks)


def _checks(sheet: Sheet, checks: Sequence[meanings.CheckView]) -> None:
    named = [(letters.clean(f"{c.name}{c.mark} "), letters.clean(c.value)) for c in checks]
    widths = [letters.width(name, SMALL) + letters.width(value, SMALL) for name, value in named]
    top = sheet.y
    for (name, value), (line, start) in zip(named, spoken.lines(widths, [14.0] * len(named), WIDTH - 2.0 * MARGIN), strict=True):
        sheet.y = top + 17.0 * line
        sheet.text(sheet.text(MARGIN + start, name, SMALL, sheet.palette.muted), value, SMALL, sheet.palette.ink)


# ---- rows of tiles ---------------------------------------------------------------------------------------------------


def _heat(sheet: Sheet, found: heat.Heat) -> None:
    palette = sheet.palette
    sheet.y += 30
    x = sheet.text(MARGIN, found.title, SMALL, palette.ink) + 16
    if found.largest:
        x = sheet.text(x, f"{number.MINUS}{found.largest}" if found.signed else "0", SMALL, palette.muted) + 6
        for step in range(-12 if found.signed else 0, 13):
            sheet.marks.append(Box(x, sheet.y - 10, 5, 11, palette.ground("neg" if step < 0 else "pos", abs(step) / 12)))
            x += 5
        sheet.text(x + 6, f"{'+' if found.signed else ''}{found.largest}", SMALL, palette.muted)
    sheet.y += 10
    names = [letters.fitting(letters.clean(band.name), SMALL, 130) for band in found.bands]
    left = MARGIN + max(letters.width(name, SMALL) for name in names) + 10
    notes = [letters.fitting(letters.clean(text), SMALL, NOTE_ROOM) for text in (found.note_name, *(band.note for band in found.bands))]
    room = WIDTH - MARGIN - left - (max(letters.width(note, SMALL) for note in notes) + 12 if found.note_name else 0)
    texts = [letters.fitting(letters.clean(word), SMALL, WORD_ROOM) for word in found.words]
    widths = [max(letters.width(text, SMALL) + 8, NARROWEST) for text in texts]
    if sum(widths) <= room:
        _tiles(sheet, found, names, _Columns(left, list(range(len(texts))), texts, widths, False))
        return
    for group in groups(len(texts), room):
        wide = min(TILE, room / len(group))
        _tiles(sheet, found, names, _Columns(left, group, [texts[i] for i in group], [wide] * len(group), True))


def groups(count: int, room: float) -> list[list[int]]:
    """So many narrow columns in as few rows of tiles as the room allows, all about as long."""
    rows = math.ceil(count * NARROWEST / room)
    each = math.ceil(count / rows)
    return [list(range(first, min(first + each, count))) for first in range(0, count, each)]


@dataclass(frozen=True)
class _Columns:
    left: float
    indices: list[int]
    texts: list[str]
    widths: list[float]
    turned: bool

    def starts(self, direction: str) -> list[float]:
        before = [sum(self.widths[:i]) for i in range(len(self.widths))]
        whole = sum(self.widths)
        return [self.left + (whole - b - w if direction == "rtl" else b) for b, w in zip(before, self.widths, strict=True)]


def _tiles(sheet: Sheet, found: heat.Heat, names: Sequence[str], columns: _Columns) -> None:
    palette, starts = sheet.palette, columns.starts(found.direction)
    end = columns.left + sum(columns.widths) + 10
    if found.above:
        _column_names(sheet, found, columns)
    for band, name in zip(found.bands, names, strict=True):
        sheet.y += TILE
        x = columns.left - 8 - letters.width(name, SMALL)
        sheet.marks.append(Letters(x, sheet.y - 5, name, SMALL, palette.muted))
        for i, start, width in zip(columns.indices, starts, columns.widths, strict=True):
            tile = band.tiles[i]
            ground, edge = palette.ground(tile.sign, tile.alpha), palette.ink if tile.best else palette.rule
            sheet.marks.append(Box(start, sheet.y - TILE, width - 1, TILE - 1, ground, 2, edge, 3 if tile.best else 1))
        if band.note:
            sheet.marks.append(Letters(end, sheet.y - 5, letters.fitting(letters.clean(band.note), SMALL, NOTE_ROOM), SMALL, palette.ink))
    if not found.above:
        _column_names(sheet, found, columns)


def _column_names(sheet: Sheet, found: heat.Heat, columns: _Columns) -> None:
    """The words, at the tiles' lower edge or, where they stand above, at the upper one."""
    palette, starts, end = sheet.palette, columns.starts(found.direction), columns.left + sum(columns.widths) + 10
    lengths = [letters.width(text, SMALL) for text in columns.texts]
    height = max(lengths) + 8 if columns.turned else 18
    for text, start, width, length in zip(columns.texts, starts, columns.widths, lengths, strict=True):
        if columns.turned:
            top = sheet.y + (height - 6 - length if found.above else 4)
            sheet.marks.append(Letters(start + (width - SMALL * 1.4) / 2, top, text, SMALL, palette.ink, turned=True))
        else:
            sheet.marks.append(Letters(start + (width - 1 - length) / 2, sheet.y + 14, text, SMALL, palette.ink))
    if found.note_name:
        sheet.marks.append(Letters(end, sheet.y + (height - 4 if found.above else 14), found.note_name, SMALL, palette.muted))
    sheet.y += height
