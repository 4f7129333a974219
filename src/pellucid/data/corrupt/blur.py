"""Blurs: out of focus, through glass, in motion, while zooming, Gaussian."""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.data.corrupt import filters
from pellucid.data.corrupt.filters import Picture, Values
from pellucid.data.corrupt.levels import Level


def gaussian_blur(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """A Gaussian blur; nothing is drawn."""
    (sigma,) = level
    return filters.gaussian(image.float(), sigma)


def defocus_blur(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """The picture under a disk; nothing is drawn."""
    radius, softness = level
    kernel = disk(radius, softness)
    reach, (height, width) = len(kernel) // 2, image.shape[-2:]
    padded = F.pad(rearrange(image.float(), "c h w -> 1 c h w"), (reach,) * 4, mode="reflect")[0]
    size = (height + 2 * reach, width + 2 * reach)
    spectrum = torch.fft.rfft2(padded).mul_(_spectrum(radius, softness, size))  # the disk is its own mirror image
    return torch.fft.irfft2(spectrum, s=size)[:, 2 * reach :, 2 * reach :]


@functools.lru_cache(maxsize=16)
def _spectrum(radius: float, softness: float, size: tuple[int, int]) -> Tensor:
    return torch.fft.rfft2(disk(radius, softness), s=size)


@functools.lru_cache(maxsize=16)
def disk(radius: float, softness: float) -> Float[Tensor, "k k"]:
    """A disk of weight 1 whose edge is softened by a Gaussian of `softness` pixels cut to 3 x 3, or 5 x 5 from radius 9 on.

    The grid ends at 8 pixels, or at the radius if that is more, and mirrors what is softened at its edge: the published disks of
    radius 8 and more weigh a little over or under 1 for that.
    """
    end, wide = (8, 1) if radius <= 8 else (int(radius), 2)
    at = np.arange(-end, end + 1)
    flat = (at[:, None] ** 2 + at[None] ** 2 <= radius**2).astype(np.float64)
    soft = np.exp(-0.5 * (np.arange(-wide, wide + 1) / softness) ** 2)
    soft /= soft.sum()
    kernel = np.pad(flat / flat.sum(), wide, mode="reflect")
    for axis in (0, 1):
        kernel = np.apply_along_axis(np.convolve, axis, kernel, soft, mode="valid")
    used = int(np.abs(np.nonzero(kernel > 1e-12)[0] - end).max())
    return torch.from_numpy(kernel[end - used : end + used + 1, end - used : end + used + 1]).float()


def motion_blur(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """A smear in a direction drawn within 45 degrees of level, rounded as ImageMagick does."""
    radius, sigma = level
    return filters.smeared(image.float(), radius, sigma, rng.uniform(-45, 45)).round_()


def zoom_blur(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """The mean of the picture and its zooms, the zoom 1 among them; nothing is drawn."""
    factors = np.arange(1, *level)
    values = image.float()
    total = values.clone()
    for factor in factors:
        total += filters.zoomed(values, float(factor))
    return total / (len(factors) + 1)


def glass_blur(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Pixels taken from near places, round after round, between two blurs."""
    sigma, reach, rounds = level[0], int(level[1]), int(level[2])
    blurred = filters.cut(filters.gaussian(image.float(), sigma))
    height, width = blurred.shape[-2:]
    places = np.arange(height * width)
    for _ in range(rounds):
        places = places[scattered(height, width, reach, rng)]
    pixels = rearrange(blurred.numpy(), "c h w -> c (h w)").take(places, axis=1)
    return filters.gaussian(rearrange(torch.from_numpy(pixels), "c (h w) -> c h w", h=height).float(), sigma)


def scattered(height: int, width: int, reach: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """For each pixel the one it shows after one round.

    The published round goes from the last pixel to the first and is written as a swap with a pixel drawn from the square
    `-reach ... reach - 1` around; but the swap is of two views of one array, which copies one way: the pixel takes the value of
    the drawn one, and that one keeps its own. A pixel that was drawn after its turn shows what it took, so pixels pass values on
    in chains; we follow the chains by doubling instead of pixel by pixel, with the same result.
    """
    rows, columns = np.arange(reach + 1, height - reach + 1), np.arange(reach + 1, width - reach + 1)
    moves = rng.integers(-reach, reach, size=(2, len(rows), len(columns)))
    at = rows[:, None] * width + columns
    drawn = (rows[:, None] + moves[0]) * width + columns + moves[1]
    taken = np.arange(height * width)
    taken[at] = drawn
    inner = np.zeros(height * width, dtype=bool)
    inner[at] = True
    follows = np.arange(height * width)  # the next pixel of the chain, or itself where the chain ends
    follows[at] = np.where(inner[drawn] & (drawn > at), drawn, at)
    while True:
        further = follows[follows]
        if np.array_equal(further, follows):
            return taken[follows]
        follows = further
