"""Words in lines on a sheet, each on the ground of its relevance."""

from collections.abc import Sequence

from pellucid.report import heat, letters, words
from pellucid.report.sheet import TEXT, Box, Letters, Sheet


def lines(widths: Sequence[float], gaps: Sequence[float], room: float) -> list[tuple[int, float]]:
    """Line and start of each piece, begun anew where one would pass the room.

    Args:
        gaps: before each piece, unless it begins a line.
    """
    line, x, found = 0, 0.0, []
    for i, (width, gap) in enumerate(zip(widths, gaps, strict=True)):
        start = x + gap if i and x else x
        if x and start + width > room:
            line, start = line + 1, 0.0
        found.append((line, start))
        x = start + width
    return found


def write(sheet: Sheet, found: Sequence[words.Word], within: tuple[float, float], size: int) -> None:
    """The sentence, read from the right where its first letter is; the sheet is then at its last line.

    Args:
        within: where lines begin, and how long they may be.
    """
    (left, room), palette, scale = within, sheet.palette, size / TEXT
    parts = [(word, part, not i) for word in found for i, part in enumerate(letters.pieces(letters.clean(word.text), size, room))]
    widths = [letters.width(part, size) for _, part, _ in parts]
    places = lines(widths, [((2.0 if word.glued else 8.0) if first else 0.0) * scale for word, _, first in parts], room)
    backwards, top = heat.direction([w.text for w in found]) == "rtl", sheet.y
    for (word, part, _), width, (line, start) in zip(parts, widths, places, strict=True):
        x, y = left + (room - start - width if backwards else start), top + 30.0 * scale * line
        if word.sign:
            ground = palette.ground(word.sign, word.alpha)
            sheet.marks.append(Box(x - 2.5, y - 17 * scale, width + 5, 23 * scale, ground, 4))
        if word.lined:
            sheet.marks.append(Box(x, y + 3, width, 1, palette.ink))
        sheet.marks.append(Letters(x, y, part, size, palette.ink))
        sheet.y = y
