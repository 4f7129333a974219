"""Blurs, zooms, motion and clouds of one picture, in float32, the same to the last bit in any batch."""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

Picture = UInt8[Tensor, "3 h w"]
Values = Float[Tensor, "3 h w"]  # 0 to 255; what lies beyond is cut off in the end


def gaussian(image: Float[Tensor, "c h w"], sigma: float, truncate: float = 4.0, border: str = "nearest") -> Float[Tensor, "c h w"]:
    """The picture under a Gaussian of deviation `sigma` pixels, cut off `truncate` deviations away.

    Args:
        border: `nearest` repeats the last row beyond the edge, `reflect` mirrors the picture there.
    """
    height, width = image.shape[-2:]
    down, across = (_matrix(side, float(sigma), truncate, border) for side in (height, width))
    return down @ image @ across.T


@functools.lru_cache(maxsize=64)
def _matrix(side: int, sigma: float, truncate: float, border: str) -> Tensor:
    """A separable blur as a matrix: border rules, and blurs wider than the picture, cost nothing more."""
    reach = int(truncate * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if reach else np.ones(1)
    source = np.arange(side)[:, None] + offsets
    if border == "reflect":
        source = source % (2 * side)
        source = np.minimum(source, 2 * side - 1 - source)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], source.clip(0, side - 1)), weights / weights.sum())
    return torch.from_numpy(matrix).float()


def zoomed(image: Float[Tensor, "c h w"], factor: float) -> Float[Tensor, "c h w"]:
    """The middle of the picture enlarged to its size, first and last pixels kept in place (linear)."""
    height, width = image.shape[-2:]
    inner = [math.ceil(side / factor) for side in (height, width)]
    return trimmed(enlarged(trimmed(image, *inner), factor), height, width)


def enlarged(image: Float[Tensor, "c h w"], factor: float) -> Float[Tensor, "c h2 w2"]:
    """All of the picture, larger by `factor`."""
    size = tuple(round(side * factor) for side in image.shape[-2:])
    return F.interpolate(rearrange(image, "c h w -> 1 c h w"), size, mode="bilinear", align_corners=True)[0]


def trimmed(image: Float[Tensor, "c h w"], height: int, width: int) -> Float[Tensor, "c h2 w2"]:
    """The middle of the picture."""
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[:, top : top + height, left : left + width]


def smeared(image: Float[Tensor, "c h w"], radius: float, sigma: float, angle: float) -> Float[Tensor, "c h w"]:
    """Motion blur: half a Gaussian of `2 radius + 1` pixels along `angle` degrees, edges repeated, as ImageMagick defines it."""
    steps = np.arange(2 * int(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    down = np.ceil(steps * math.sin(math.radians(angle)) - 0.5).astype(int)
    across = np.ceil(steps * math.cos(math.radians(angle)) - 0.5).astype(int)
    top, left = -min(down.min(), 0), -min(across.min(), 0)
    pad = (left, max(across.max(), 0), top, max(down.max(), 0))
    padded = F.pad(rearrange(image, "c h w -> 1 c h w"), tuple(map(int, pad)), mode="replicate")[0]
    height, width = image.shape[-2:]
    found = torch.zeros_like(image)
    for weight, y, x in zip(weights.tolist(), (down + top).tolist(), (across + left).tolist(), strict=True):
        found.add_(padded[:, y : y + height, x : x + width], alpha=weight)
    return found


def plasma(side: int, decay: float, rng: np.random.Generator) -> Float[np.ndarray, "n n"]:
    """A periodic height map by diamonds and squares, from 0 to 1; `side` is a power of two.

    Each pass halves the step: every middle becomes the mean of its four neighbours and a draw from the square of the amplitude, which
    falls by `decay` from pass to pass.
    """
    heights = np.zeros((side, side))
    step, amplitude = side, 100.0

    def middles(total: np.ndarray) -> np.ndarray:
        return total / 4 + amplitude * rng.uniform(-amplitude, amplitude, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, 0)
        heights[half::step, half::step] = middles(pairs + np.roll(pairs, -1, 1))
        centres = heights[half::step, half::step]
        heights[::step, half::step] = middles(centres + np.roll(centres, 1, 0) + corners + np.roll(corners, -1, 1))
        heights[half::step, ::step] = middles(centres + np.roll(centres, 1, 1) + corners + np.roll(corners, -1, 0))
        step, amplitude = half, amplitude / decay
    heights -= heights.min()
    return heights / heights.max()


def cut(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Values as uint8, cut down and not rounded, as published.

    A little is added first, so that no value falls by one for the last bits of a float32.
    """
    return values.add(5e-4).clamp_(0, 255).to(torch.uint8)
