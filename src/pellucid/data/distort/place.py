"""Places: smeared, scattered, patches from near by, blocks of colour."""

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int

from pellucid.data.corrupt import filters
from pellucid.data.corrupt.digital import sampled
from pellucid.data.corrupt.filters import Picture, Values
from pellucid.data.corrupt.levels import Level

_PATCHES, _BLOCKS = 20, 12  # sides of a patch and of a block that go into the picture's shorter side
Square = tuple[Int[np.ndarray, "n s 1"], Int[np.ndarray, "n 1 s"]]


def motion_blur(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Half a smear one way and half a smear the other, so that nothing moves on the whole."""
    reach, sigma = level
    values, angle = image.float(), rng.uniform(0, 180)
    there, back = (filters.smeared(values, reach / 2, sigma, angle + turn) for turn in (0, 180))
    return there.add_(back).div_(2)


def jitter(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Each pixel from a place drawn around it, with linear interpolation, the picture mirrored beyond its edge."""
    (sigma,) = level
    height, width = image.shape[-2:]
    x, y = torch.from_numpy(rng.standard_normal((2, height, width), dtype=np.float32)).mul_(sigma)
    x += torch.arange(width)
    y += rearrange(torch.arange(height), "h -> h 1")
    return sampled(image.float(), x, y, corners=False)


def non_eccentricity_patch(image: Picture, level: Level, rng: np.random.Generator) -> Picture:
    """Patches that show what lies a patch's side away, in directions of their own; more of the same at a higher level."""
    num, (height, width) = int(level[0]), image.shape[-2:]
    side = max(2, min(height, width) // _PATCHES)
    draws = rng.random((num, 3))  # the first of many are the few of a lower level
    tops, lefts = _corners(draws, height, width, side)
    angles = 2 * np.pi * draws[:, 2]
    from_tops = (tops + np.rint(side * np.sin(angles)).astype(int)).clip(0, height - side)
    from_lefts = (lefts + np.rint(side * np.cos(angles)).astype(int)).clip(0, width - side)
    found, pixels = image.numpy().copy(), image.numpy()
    rows, columns = _squares(tops, lefts, side)
    found[:, rows, columns] = pixels[:, *_squares(from_tops, from_lefts, side)]  # where patches meet the last one shows
    return torch.from_numpy(found)


def colour_block(image: Picture, level: Level, rng: np.random.Generator) -> Picture:
    """Squares of one colour each, anywhere; more of the same at a higher level."""
    num, (height, width) = int(level[0]), image.shape[-2:]
    side = max(2, min(height, width) // _BLOCKS)
    draws = rng.random((num, 5))
    found = image.numpy().copy()
    rows, columns = _squares(*_corners(draws, height, width, side), side)
    found[:, rows, columns] = rearrange((draws[:, 2:] * 256).astype(np.uint8), "n c -> c n 1 1")
    return torch.from_numpy(found)


def _corners(draws: Float[np.ndarray, "n k"], height: int, width: int, side: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Top and left of squares that lie in the picture, from two draws of (0, 1) each."""
    return (draws[:, 0] * (height - side + 1)).astype(int), (draws[:, 1] * (width - side + 1)).astype(int)


def _squares(tops: Int[np.ndarray, " n"], lefts: Int[np.ndarray, " n"], side: int) -> Square:
    """Rows and columns of all pixels of the squares."""
    rows, columns = (rearrange(at, "n -> n 1") + np.arange(side) for at in (tops, lefts))
    return rearrange(rows, "n s -> n s 1"), rearrange(columns, "n s -> n 1 s")
