"""Explained clips in the PNG: the frames in lines, under each a bar for every method."""

import math

from pellucid.report import film, letters, maps, words
from pellucid.report.sheet import MARGIN, SCALE, SMALL, WIDTH, Box, Letters, Photo, Sheet

WIDEST, LABEL = 92.0, 128.0  # of a frame, and of a method's name
LANE, SIGNED, SPACE = 20.0, 32.0, 6.0  # height of a row of bars, of one with both signs, and between two
RANK = 10


def draw(sheet: Sheet, found: film.Film) -> None:
    """Adds the strip below what is there."""
    names = [letters.fitting(letters.clean(name), SMALL, LABEL) for name, _ in found.rows]
    left = MARGIN + max((letters.width(name, SMALL) + 10 for name in names), default=0.0)
    wide = min(WIDEST, (WIDTH - MARGIN - left) / found.across)
    for first in range(0, len(found.frames), found.across):
        _line(sheet, found, names, found.frames[first : first + found.across], (left, wide))


def _line(sheet: Sheet, found: film.Film, names: list[str], frames: tuple[film.Frame, ...], place: tuple[float, float]) -> None:
    palette, (left, wide) = sheet.palette, place
    images = [maps.picture_of(frame.source, (1, 1), round((wide - 5) * SCALE)) for frame in frames]
    high = max(image.size[1] for image in images) / SCALE
    sheet.y += 16 + high
    size = 8 if found.size == "dense" else 10
    for i, (frame, image) in enumerate(zip(frames, images, strict=True)):
        x, y = left + i * wide + (wide - image.size[0] / SCALE) / 2, sheet.y - image.size[1] / SCALE
        sheet.marks.append(Photo(x, y, image))
        if frame.marked:
            sheet.marks.append(Box(x - 2, y - 2, image.size[0] / SCALE + 4, image.size[1] / SCALE + 4, None, 2, palette.ink, 4))
        name = letters.fitting(letters.clean(frame.name), size, wide - 1)
        start = left + i * wide + (wide - letters.width(name, size)) / 2
        sheet.marks.append(Letters(start, sheet.y + 5 + size, name, size, palette.ink if frame.marked else palette.muted))
    sheet.y += 7 + size
    for k, (name, (_, signed)) in enumerate(zip(names, found.rows, strict=True)):
        sheet.y += SPACE
        _lane(sheet, name, signed, [frame.bars[k] for frame in frames], place)


def _lane(sheet: Sheet, name: str, signed: bool, bars: list[film.Bar], place: tuple[float, float]) -> None:
    """One row of bars on its line, which is in the middle where some are against."""
    palette, (left, wide) = sheet.palette, place
    line = sheet.y + (SIGNED / 2 if signed else LANE)
    full = SIGNED / 2 if signed else LANE
    sheet.marks.append(Letters(left - 8 - letters.width(name, SMALL), line + (4 if signed else -2), name, SMALL, palette.muted))
    sheet.marks.append(Box(left, line, wide * len(bars), 0.5, palette.muted))
    for i, bar in enumerate(bars):
        height, x = math.ceil(bar.share * full * SCALE) / SCALE, left + (i + 0.14) * wide
        if bar.sign:
            top = line + 0.5 if bar.sign == "neg" else line - height
            sheet.marks.append(Box(x, top, 0.72 * wide, height, palette.ground(bar.sign, words.STRONGEST)))
        if bar.rank:
            rank = str(bar.rank)
            start = left + (i + 0.5) * wide - letters.width(rank, RANK) / 2
            sheet.marks.append(Letters(start, line + (RANK + 1 if bar.sign == "neg" else -3), rank, RANK, palette.ink))
    sheet.y += SIGNED if signed else LANE
