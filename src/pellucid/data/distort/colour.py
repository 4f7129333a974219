"""Colour: run, moved, fewer, stronger, noisy; luma is left alone where a kind says so, as long as no channel leaves 0 to 255."""

import functools
import math

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from pellucid.data.corrupt import filters
from pellucid.data.corrupt.digital import from_pil, to_pil
from pellucid.data.corrupt.filters import Picture, Values
from pellucid.data.corrupt.levels import Level
from pellucid.data.corrupt.weather import LUMA

_CHROMA = ((0.0, 1.402), (-0.344136, -0.714136), (1.772, 0.0))  # red, green, blue of Cb and Cr at constant luma (ITU-R BT.601)
# linear red, green and blue of sRGB to CIE XYZ, where white is (1, 1, 1)
_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
_SAMPLE = 64  # pixels a side from which a palette is chosen; the cuts over all pixels would take 100 ms
_KNEE = 6 / 29  # of CIE Lab: cube root above, a straight line below


def luma(values: Values) -> Float[Tensor, "1 h w"]:
    """What grey a picture has, 0 to 255 (ITU-R BT.601)."""
    red, green, blue = values
    return rearrange(LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue, "h w -> 1 h w")


def diffusion(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """What is not luma, blurred and scaled; nothing is drawn. Differs: KADID-10k does it in Lab."""
    sigma, factor = level
    values = image.float()
    grey = luma(values)
    return filters.gaussian(values - grey, sigma).mul_(factor).add_(grey)


def shift(image: Picture, level: Level, rng: np.random.Generator) -> Picture:
    """The green channel moved, its edge repeated. Differs: KADID-10k blends it in at edges only."""
    (far,) = level
    angle = rng.uniform(0, 2 * math.pi)
    height, width = image.shape[-2:]
    rows, columns = (
        (torch.arange(side) + round(far * part)).clamp_(0, side - 1) for side, part in ((height, math.sin(angle)), (width, math.cos(angle)))
    )
    found = image.clone()
    found[1] = image[1, rows][:, columns]
    return found


def quantisation(image: Picture, level: Level, rng: np.random.Generator) -> Picture:
    """The nearest colours of a palette, found by cuts at medians in a sample of the pixels; nothing is drawn, nothing dithered."""
    whole = to_pil(image)
    sample = whole.resize((min(whole.width, _SAMPLE), min(whole.height, _SAMPLE)), Image.Resampling.NEAREST)
    palette = sample.quantize(int(level[0]), method=Image.Quantize.MEDIANCUT)
    return from_pil(whole.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB"))


def saturation_lab(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """a and b of Lab scaled, L kept; nothing is drawn.

    a and b are differences of the roots that Lab takes of X, Y and Z, and L is the root of Y: the roots of X and Z go from that of Y.
    """
    (factor,) = level
    roots = _rooted(_mixed(_XYZ, _linear()[image.long()]))
    roots = roots[1:2] + factor * (roots - roots[1:2])
    linear = _mixed(_back(), torch.where(roots > _KNEE, roots**3, 3 * _KNEE**2 * (roots - 4 / 29))).clamp_(0, 1)
    return 255 * torch.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


def noise(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Gaussian noise of one deviation in Cb and in Cr. Differs: KADID-10k adds it to luma as well."""
    (scale,) = level
    drawn = torch.from_numpy(rng.standard_normal((2, *image.shape[-2:]), dtype=np.float32))
    return image.float().add_(_mixed(_CHROMA, drawn), alpha=255 * scale)


def _mixed(weights: tuple[tuple[float, ...], ...], planes: Float[Tensor, "n h w"]) -> Values:
    return torch.stack([sum((w * plane for w, plane in zip(row, planes, strict=True) if w), planes[0] * 0) for row in weights])


def _rooted(xyz: Values) -> Values:
    return torch.where(xyz > _KNEE**3, xyz ** (1 / 3), xyz / (3 * _KNEE**2) + 4 / 29)


@functools.cache
def _back() -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, np.linalg.inv(np.array(_XYZ)).tolist()))


@functools.cache
def _linear() -> Float[Tensor, " v"]:
    """The light of each value of sRGB, 0 to 1."""
    share = torch.arange(256, dtype=torch.float64) / 255
    return torch.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92).float()
