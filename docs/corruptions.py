"""Draws docs/corruptions.jpg: the middle of every corruption at five severities, pixel for pixel, of a picture drawn here too."""

import pathlib

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pellucid.data.corrupt import PICTURES, filters
from pellucid.data.corrupt.pictures import corrupt_images

SIDE, LABEL, COLUMNS = 224, 15, 2
TOP, LEFT, SHOWN = 88, 62, 104  # the part that is shown


def scene() -> torch.Tensor:
    """A house under hills, with clouds, a tree and a fence: smooth parts, fine texture and straight edges."""
    rng = np.random.default_rng(4)
    rows = np.linspace(0, 1, SIDE)[:, None, None]
    clouds = filters.plasma(256, 2.0, rng)[:SIDE, :SIDE, None].clip(0.45, 0.8) - 0.45
    sky = (1 - rows) * (70, 120, 200) + rows * (200, 220, 240) + clouds * 320
    image = Image.fromarray(sky.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for base, high, wave, colour in ((130, 26, 37, (86, 112, 120)), (150, 18, 23, (74, 120, 80))):
        hill = [(x, base - high * np.sin(x / wave) - 8 * np.sin(x / 11)) for x in range(SIDE)]
        draw.polygon([(0, SIDE), *hill, (SIDE, SIDE)], fill=colour)
    draw.rectangle((0, 165, SIDE, SIDE), fill=(120, 160, 70))
    draw.rectangle((88, 118, 172, 188), fill=(214, 196, 160))
    draw.polygon([(78, 120), (130, 78), (182, 120)], fill=(168, 60, 44))
    for left in (98, 146):
        draw.rectangle((left, 132, left + 16, 150), fill=(60, 80, 120), outline=(250, 250, 250), width=2)
    draw.rectangle((122, 150, 138, 188), fill=(96, 62, 38))
    draw.rectangle((36, 110, 46, 190), fill=(92, 66, 40))
    for x, y, r in rng.normal((41, 88, 13), (15, 16, 4), (90, 3)):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(int(rng.integers(30, 70)), int(rng.integers(90, 150)), 40))
    for left in range(4, SIDE, 14):
        draw.rectangle((left, 196, left + 4, 218), fill=(240, 236, 224))
    draw.rectangle((0, 203, SIDE, 206), fill=(240, 236, 224))
    grain = rng.normal(0, 7, (SIDE, SIDE, 3))
    values = np.array(image.filter(ImageFilter.GaussianBlur(0.6))) + grain
    return torch.from_numpy(rearrange(values.clip(0, 255).astype(np.uint8), "h w c -> 1 c h w").copy())


def shown(image: torch.Tensor) -> Image.Image:
    """The middle of a picture."""
    middle = image[0, :, TOP : TOP + SHOWN, LEFT : LEFT + SHOWN]
    return Image.fromarray(rearrange(middle, "c h w -> h w c").contiguous().numpy())


def block(kind: str, image: torch.Tensor) -> Image.Image:
    """The name over five copies."""
    strip = Image.new("RGB", (5 * (SHOWN + 2), SHOWN + LABEL), "white")
    ImageDraw.Draw(strip).text((1, 1), kind, fill="black", font=ImageFont.load_default(11))
    for severity in range(1, 6):
        strip.paste(shown(corrupt_images(image, kind, severity, [severity])), ((severity - 1) * (SHOWN + 2), LABEL))
    return strip


def main() -> None:
    """The page of all blocks."""
    image = scene()
    blocks = [block(kind, image) for kind in PICTURES]
    width, height = blocks[0].size
    rows = -(-(len(blocks) + 1) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * (width + 12) - 14, rows * (height + 4)), "white")
    for i, one in enumerate(blocks):
        page.paste(one, (i // rows * (width + 12), i % rows * (height + 4)))
    place = (len(blocks) // rows * (width + 12), len(blocks) % rows * (height + 4))
    ImageDraw.Draw(page).text(place, "clean", fill="black", font=ImageFont.load_default(11))
    page.paste(shown(image), (place[0], place[1] + LABEL))
    page.save(pathlib.Path(__file__).with_suffix(".jpg"), quality=68, optimize=True)


if __name__ == "__main__":
    main()
