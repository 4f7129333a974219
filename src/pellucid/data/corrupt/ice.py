"""Sheets of ice crystals, computed: what the frost corruption lays over a picture."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from pellucid.data.corrupt import filters

SIDE = 512  # pixels of a sheet, a power of two; it goes on at its other edge
STEP = 0.5  # pixels between the points of a line
TILT = np.radians(60)  # ice grows in sixths of a turn


@dataclass(frozen=True)
class _Ice:
    """What a sheet looks like.

    Args:
        colour, contrast: mean of red, green and blue and deviation, of the authors' photographs.
        crystals: how many grow.
        length: of a crystal in pixels, shortest and longest.
        feather: length of a side branch as a share of what is left to the tip; 0 for needles.
        spacing: of side branches, in pixels.
        clouds: share of the contrast that is unevenness of the whole sheet.
    """

    colour: tuple[float, float, float]
    contrast: float
    crystals: int
    length: tuple[float, float]
    feather: float
    spacing: float
    clouds: float


KINDS = (
    _Ice((78, 149, 166), 19, 6000, (6, 30), 0.2, 3.0, 0.5),
    _Ice((201, 205, 214), 22, 2600, (20, 110), 0.06, 2.5, 0.4),
    _Ice((201, 205, 214), 22, 1800, (20, 90), 0.12, 3.0, 0.4),
    _Ice((138, 153, 165), 28, 2600, (8, 45), 0.35, 2.5, 0.3),
    _Ice((112, 123, 135), 42, 700, (30, 120), 0.38, 2.5, 0.4),
)
SHEETS = len(KINDS)


@functools.lru_cache(maxsize=3 * SHEETS)
def sheet(index: int, scale: float = 1.0) -> Float[Tensor, "3 s s"]:
    """Sheet number `index`, 0 to 255, made smaller by `scale`; the same on every call."""
    kind, rng = KINDS[index], np.random.Generator(np.random.PCG64(index))
    grown = np.log1p(_grown(kind, rng))
    lit = grown - np.roll(ndimage.gaussian_filter(grown, 1.5, mode="wrap"), (2, 2), (0, 1))  # light from one corner
    relief = _standard(_standard(grown) + _standard(lit))
    clouds = _standard(filters.plasma(SIDE, 2.0, rng))
    height = _standard((1 - kind.clouds) * relief + kind.clouds * clouds)
    colour = rearrange(torch.tensor(kind.colour), "c -> c 1 1")
    ice = (colour + kind.contrast * torch.from_numpy(height).float()).clamp(0, 255)
    side = round(SIDE * scale)
    return F.interpolate(rearrange(ice, "c h w -> 1 c h w"), (side, side), mode="bilinear")[0]


def _grown(kind: _Ice, rng: np.random.Generator) -> np.ndarray:
    """How much ice lies at each pixel."""
    shortest, longest = np.log(kind.length)
    lengths = np.exp(rng.uniform(shortest, longest, kind.crystals))
    lines = np.c_[rng.uniform(0, SIDE, (kind.crystals, 2)), rng.uniform(0, 2 * np.pi, kind.crystals), lengths]
    bright = rng.uniform(0.3, 1.0, kind.crystals)
    drawn = [(lines, bright)]
    if kind.feather:
        counts = (lengths / kind.spacing).astype(int)
        of = np.repeat(np.arange(kind.crystals), counts)
        along = (np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts) + rng.random(len(of))) * kind.spacing
        x, y, angle, length = lines[of].T
        for side in (-TILT, TILT):
            branch = (length - along).clip(0) * kind.feather * rng.uniform(0.5, 1.3, len(of))
            turned = angle + side + rng.normal(0, 0.1, len(of))
            drawn.append((np.c_[x + along * np.cos(angle), y + along * np.sin(angle), turned, branch], 0.8 * bright[of]))
    ice = sum(_drawn(*one) for one in drawn)
    return ndimage.gaussian_filter(ice, 0.7, mode="wrap")


def _drawn(lines: np.ndarray, bright: np.ndarray) -> np.ndarray:
    """Lines (x, y, angle, length) that grow fainter toward their tip."""
    counts = (lines[:, 3] / STEP).astype(int) + 1
    of = np.repeat(np.arange(len(lines)), counts)
    along = (np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)) * STEP
    x, y, angle, length = lines[of].T
    columns, rows = ((at % SIDE).astype(int) % SIDE for at in (x + along * np.cos(angle), y + along * np.sin(angle)))
    weight = bright[of] * (1 - 0.7 * along / np.maximum(length, STEP))
    return np.bincount(rows * SIDE + columns, weight, SIDE * SIDE).reshape(SIDE, SIDE)


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()
