"""Brightness and detail: bent, shifted, quantised, sharpened."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from pellucid.data.corrupt import digital, filters
from pellucid.data.corrupt.filters import Picture, Values
from pellucid.data.corrupt.levels import Level
from pellucid.data.distort.colour import luma

_MASK = 1.5  # deviation in pixels of the unsharp mask


def bend(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Luma to a power, black and white in their places, chroma kept; nothing is drawn."""
    (exponent,) = level
    values = image.float()
    grey = luma(values)
    return values.add_(255 * (grey / 255) ** exponent - grey)


def mean_shift(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """All values up or all values down."""
    (amount,) = level
    return image.float().add_(amount if rng.random() < 0.5 else -amount)


def contrast_change(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Less contrast or more."""
    (kept,) = level
    return digital.contrast(image, (kept if rng.random() < 0.5 else 1 / kept,), rng)


def quantisation(image: Picture, level: Level, rng: np.random.Generator) -> Picture:
    """Each value to the nearest of evenly spaced ones, 0 and 255 among them; nothing is drawn."""
    steps = int(level[0]) - 1
    return _spaced(steps)[image.long()]


def _spaced(steps: int) -> UInt8[Tensor, " v"]:
    values = torch.arange(256, dtype=torch.float64)
    return ((values * steps / 255).round() * 255 / steps).round().to(torch.uint8)


def high_sharpen(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Luma pushed away from its blur; nothing is drawn."""
    (amount,) = level
    values = image.float()
    grey = luma(values)
    return values.add_(grey - filters.gaussian(grey, _MASK), alpha=amount)
