"""Explained pictures in the PNG: a row of maps over the picture, what each finds strongest and how it fares."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from pellucid.report import letters, maps, number, spoken, words
from pellucid.report.sheet import MARGIN, SCALE, SMALL, WIDTH, Box, Photo, Sheet

SIDE, GAP = 126, 18  # of a map, and between two: five to a line
LINE = 16.0
HALO, BOXED = (255, 255, 255), (17, 17, 17)  # an explained box is black between white, on any picture


@dataclass(frozen=True)
class _Cell:
    """A picture under its title.

    Args:
        facts: lines below it.
        checks: names and numbers below them.
        said: words of the caption, coloured, between the two.
        boxes: places in the picture that were asked about, and `lines` around such regions.
    """

    title: str
    image: Image.Image
    found: maps.Map | None = None
    facts: tuple[str, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    boxes: tuple[maps.Box, ...] = ()
    lines: tuple[maps.Box, ...] = ()
    said: tuple[words.Word, ...] = ()


def draw(sheet: Sheet, found: words.PhotoView, smooth: bool) -> None:
    """Adds the picture and its maps below what is there."""
    dark = sheet.palette.dim < 1
    for i, (name, columns) in enumerate(found.rows):
        _title(sheet, name)
        cells: list[_Cell | None] = [_mapped(column, dark, smooth) for column in columns]
        if found.source:
            cells.insert(0, None if i else _seen(found))
        _row(sheet, cells)
    if found.flow:
        _title(sheet, found.flow_title)
        _row(sheet, [_Cell(site, maps.drawn(one, SIDE * SCALE, dark, smooth), one) for site, one in found.flow])


def _seen(found: words.PhotoView) -> _Cell:
    picture = maps.picture_of(found.source, (1, 1), SIDE * SCALE)
    caption = words.coloured(found.caption.split(), [0.0] * len(found.caption.split()))
    lines = tuple(line for _, outline in found.outlines for line in outline)
    return _Cell("the picture", picture, boxes=tuple(box for _, box in found.boxes), lines=lines, said=caption)


def _title(sheet: Sheet, text: str) -> None:
    if text:
        sheet.y += 26
        sheet.text(MARGIN, text, SMALL, sheet.palette.muted)


def _mapped(column: words.Column, dark: bool, smooth: bool) -> _Cell:
    method, found = column.method, column.method.map
    assert found is not None, "a picture's methods have maps"
    strongest = ", ".join(" ".join(pair) for pair in (*method.most_for, *method.most_against)[:2])
    areas = [f"{site} {one.area}" for site, one in (("area", method), *column.beside) if one.curve]
    checks = tuple((f"{check.name}{check.mark}", " ".join(value or number.MISSING for value in values)) for check, values in column.checks)
    facts = tuple(text for text in (column.facts, strongest, *areas) if text)
    said = next((one.words for _, one in column.beside if one.words), ())
    return _Cell(column.title, maps.drawn(found, SIDE * SCALE, dark, smooth), found, facts, checks, said=said)


def _row(sheet: Sheet, cells: Sequence[_Cell | None]) -> None:
    """As many cells to a line as it has room for; None leaves a place free."""
    across = int((WIDTH - 2 * MARGIN + GAP) // (SIDE + GAP))
    for first in range(0, len(cells), across):
        top, ends = sheet.y + 24, []
        for k, cell in enumerate(cells[first : first + across]):
            sheet.y = top
            if cell is not None:
                _cell(sheet, cell, float(MARGIN + k * (SIDE + GAP)))
            ends.append(sheet.y)
        sheet.y = max(ends)


def _outline(sheet: Sheet, lines: Sequence[maps.Box], x: float, size: tuple[float, float]) -> None:
    """Lines across a picture whose left upper corner is here, all their white below all their black."""
    for colour, half in ((HALO, 1.25), (BOXED, 0.75)):
        for left, top, right, bottom in lines:
            place = (x + left * size[0] - half, sheet.y + top * size[1] - half)
            sheet.marks.append(Box(*place, (right - left) * size[0] + 2 * half, (bottom - top) * size[1] + 2 * half, colour))


def _cell(sheet: Sheet, cell: _Cell, x: float) -> None:
    palette, (wide, high) = sheet.palette, (side / SCALE for side in cell.image.size)
    sheet.text(x, letters.fitting(letters.clean(cell.title), SMALL, SIDE), SMALL, palette.ink)
    sheet.y += 7
    sheet.marks.append(Photo(x, sheet.y, cell.image))
    if cell.found is not None:
        rows, columns = cell.found.shown
        for spot in cell.found.spots:
            place = (x + spot.column * wide / columns, sheet.y + spot.row * high / rows)
            size = (min(wide / columns, x + wide - place[0]), min(high / rows, sheet.y + high - place[1]))
            sheet.marks.append(Box(*place, *size, None, 0, palette.ink))
    for left, top, right, bottom in (*cell.boxes, *([cell.found.box] if cell.found and cell.found.box else [])):
        place, size = (x + left * wide, sheet.y + top * high), ((right - left) * wide, (bottom - top) * high)
        sheet.marks.append(Box(place[0] - 0.5, place[1] - 0.5, size[0] + 1, size[1] + 1, None, 0, HALO, 5))
        sheet.marks.append(Box(*place, *size, None, 0, BOXED, 3))
    _outline(sheet, (*cell.lines, *(cell.found.outline if cell.found else ())), x, (wide, high))
    sheet.y += high
    if cell.said:
        sheet.y += LINE + 4
        spoken.write(sheet, cell.said, (x, SIDE), SMALL)
        sheet.y += 4
    for text in cell.facts:
        sheet.y += LINE
        sheet.text(x, letters.fitting(letters.clean(text), SMALL, SIDE), SMALL, palette.muted)
    for name, value in cell.checks:
        sheet.y += LINE
        value = letters.clean(value)
        room = SIDE - letters.width(value, SMALL) - 4
        sheet.text(x, letters.fitting(letters.clean(name), SMALL, room), SMALL, palette.muted)
        sheet.text(x + SIDE - letters.width(value, SMALL), value, SMALL, palette.ink)
