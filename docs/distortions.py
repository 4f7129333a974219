"""Draws docs/distortions.jpg: the middle of every distortion at five levels, pixel for pixel, of the picture of docs/corruptions.py."""

import pathlib

import torch
from corruptions import LABEL, SHOWN, scene, shown
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont

from pellucid.data.distort import KINDS, LEVELS, distort

COLUMNS, SEED = 2, 4


def block(kind: str, image: torch.Tensor) -> Image.Image:
    """The name over five copies."""
    strip = Image.new("RGB", (5 * (SHOWN + 2), SHOWN + LABEL), "white")
    ImageDraw.Draw(strip).text((1, 1), kind, fill="black", font=ImageFont.load_default(11))
    for level in LEVELS:
        copy = rearrange(distort(image, kind, level, SEED), "c h w -> 1 c h w")
        strip.paste(shown(copy), ((level - 1) * (SHOWN + 2), LABEL))
    return strip


def main() -> None:
    """The page of all blocks, and the reference."""
    image = scene()
    blocks = [block(kind, image[0]) for kind in KINDS]
    width, height = blocks[0].size
    rows = -(-(len(blocks) + 1) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * (width + 12) - 14, rows * (height + 4)), "white")
    for i, one in enumerate(blocks):
        page.paste(one, (i // rows * (width + 12), i % rows * (height + 4)))
    place = (len(blocks) // rows * (width + 12), len(blocks) % rows * (height + 4))
    ImageDraw.Draw(page).text(place, "reference", fill="black", font=ImageFont.load_default(11))
    page.paste(shown(image), (place[0], place[1] + LABEL))
    page.save(pathlib.Path(__file__).with_suffix(".jpg"), quality=80, optimize=True)


if __name__ == "__main__":
    main()
