"""Letters for pictures: how wide a text is and which installed font has its letters."""

import functools
import re
import unicodedata

from PIL import Image, ImageDraw, ImageFont

# Tried in this order, and after them the font that comes with Pillow, which has little more than ASCII.
FAMILIES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "PingFang.ttc",
    "msyh.ttc",
)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
MISSING = "\uffff"  # no letter: what a font draws for it, it draws for every letter that it lacks


def clean(text: str) -> str:
    """One line without control characters or halves of characters."""
    whole = text.encode("utf-8", "replace").decode()
    return re.sub(r"\s+", " ", "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in whole))


@functools.cache
def _fonts(size: int) -> tuple[Font, ...]:
    found: list[Font] = []
    for family in FAMILIES:
        try:
            found.append(ImageFont.truetype(family, size))
        except OSError:
            continue
    return (*found, ImageFont.load_default(size))


def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@functools.lru_cache(maxsize=65536)
def _has(which: int, letter: str) -> bool:
    font = _fonts(24)[which]
    return unicodedata.category(letter)[0] in "ZCM" or _drawn(font, letter) != _drawn(font, MISSING)


@functools.lru_cache(maxsize=65536)
def _which(text: str) -> int:
    """The first font with all letters of a text, or with the most."""
    counts = [sum(_has(i, c) for c in text) for i in range(len(_fonts(24)))]
    return counts.index(max(counts))


def font(text: str, size: int) -> Font:
    """A font for a clean text; letters that none has become boxes."""
    return _fonts(size)[_which(text)]


def width(text: str, size: int) -> float:
    """Pixels from a clean text's start to its end."""
    return font(text, size).getlength(text)


def fitting(text: str, size: int, room: float) -> str:
    """The text, its end cut off where it is wider than the room."""
    if width(text, size) <= room:
        return text
    while text and width(text + "…", size) > room:
        text = text[:-1]
    return text + "…"


def pieces(text: str, size: int, room: float) -> list[str]:
    """The text in parts that fit the room, each at least one letter."""
    parts, part = [], ""
    for letter in text:
        if part and width(part + letter, size) > room:
            parts.append(part)
            part = ""
        part += letter
    return [*parts, part]


def put(image: Image.Image, at: tuple[float, float], text: str, size: int, colour: tuple[int, int, int]) -> None:
    """Draws a clean text from the left end of its baseline."""
    chosen = font(text, size)
    pen = ImageDraw.Draw(image)
    if isinstance(chosen, ImageFont.FreeTypeFont):
        pen.text(at, text, colour, chosen, anchor="ls")
    else:  # a Pillow without FreeType has no anchors
        pen.text((at[0], at[1] - size), text, colour, chosen)


def put_turned(image: Image.Image, at: tuple[float, float], text: str, size: int, colour: tuple[int, int, int]) -> None:
    """Draws a clean text downwards, its baseline to the left; `at` is the left upper corner."""
    long, high = round(width(text, size)) + 2, round(size * 1.4)
    flat = Image.new("RGB", (long, high), (0, 0, 0))
    put(flat, (0, size * 1.05), text, size, (255, 255, 255))
    turned = flat.convert("L").transpose(Image.Transpose.ROTATE_270)
    image.paste(colour, (round(at[0]), round(at[1])), turned)
