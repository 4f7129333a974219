"""What an explanation's PNG is made of: boxes, lines of text and pictures on a sheet, in units of two pixels."""

from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from pellucid.report import letters

Colour = tuple[int, int, int]
WIDTH, MARGIN = 760, 28
SCALE = 2  # pixels per unit: sharp on screens and in print
TEXT, SMALL, TITLE = 17, 12, 19


@dataclass(frozen=True)
class Palette:
    """The page's colours; `dim` takes from the strength of coloured grounds."""

    card: Colour
    ink: Colour
    muted: Colour
    rule: Colour
    pos: Colour
    neg: Colour
    good: Colour
    bad: Colour
    dim: float

    def ground(self, sign: str, alpha: float) -> Colour:
        """The colour of a tile or of the ground of a word."""
        strength = alpha * self.dim if sign else 0.0
        over = self.neg if sign == "neg" else self.pos
        red, green, blue = (round(c + strength * (o - c)) for c, o in zip(self.card, over, strict=True))
        return red, green, blue


LIGHT = Palette(
    (255, 255, 255), (28, 31, 36), (90, 96, 105), (223, 223, 216), (40, 128, 214), (236, 122, 38), (20, 112, 63), (169, 42, 28), 1.0
)
DARK = Palette(
    (27, 30, 36), (233, 231, 226), (160, 167, 177), (49, 54, 63), (62, 146, 236), (226, 112, 34), (98, 201, 143), (255, 148, 133), 0.78
)


@dataclass(frozen=True)
class Box:
    """A rectangle, in units; without a fill its outline alone, which is `line` pixels wide."""

    x: float
    y: float
    width: float
    height: float
    fill: Colour | None
    radius: float = 0.0
    outline: Colour | None = None
    line: int = 1


@dataclass(frozen=True)
class Letters:
    """A line of text from the left end of its baseline, or turned, from its left upper corner."""

    x: float
    y: float
    text: str
    size: int
    colour: Colour
    turned: bool = False


@dataclass(frozen=True)
class Photo:
    """A picture from its left upper corner, in pixels of its own."""

    x: float
    y: float
    image: Image.Image


@dataclass
class Sheet:
    """What is drawn so far, and how far down it reaches."""

    palette: Palette
    y: float = float(MARGIN)
    marks: list[Box | Letters | Photo] = field(default_factory=list)

    def text(self, x: float, text: str, size: int, colour: Colour) -> float:
        """Adds a line at the present height; gives the place after it."""
        text = letters.clean(text)
        self.marks.append(Letters(x, self.y, text, size, colour))
        return x + letters.width(text, size)


def paint(sheet: Sheet) -> Image.Image:
    """The sheet in pixels."""
    image = Image.new("RGB", (WIDTH * SCALE, round((sheet.y + MARGIN) * SCALE)), sheet.palette.card)
    pen = ImageDraw.Draw(image)
    for mark in sheet.marks:
        at = (mark.x * SCALE, mark.y * SCALE)
        if isinstance(mark, Box):
            if mark.width <= 0:  # the underline of an empty word
                continue
            corners = (*at, at[0] + mark.width * SCALE - 1, at[1] + mark.height * SCALE - 1)
            pen.rounded_rectangle(corners, mark.radius * SCALE, mark.fill, mark.outline, mark.line)
        elif isinstance(mark, Photo):
            image.paste(mark.image, (round(at[0]), round(at[1])))
        else:
            put = letters.put_turned if mark.turned else letters.put
            put(image, at, mark.text, mark.size * SCALE, mark.colour)
    return image
