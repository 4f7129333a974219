"""Noise: Gaussian, shot, impulse, speckle. Every value of every channel is drawn by itself."""

import functools

import numpy as np
import torch
from scipy import special
from torch import Tensor

from pellucid.data.corrupt.filters import Picture, Values
from pellucid.data.corrupt.levels import Level

BINS = 256  # of the guide into each Poisson law


def gaussian_noise(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Gaussian noise of one deviation."""
    (scale,) = level
    return image.float().add_(_normal(image, rng), alpha=255 * scale)


def speckle_noise(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Gaussian noise in proportion to the value."""
    (scale,) = level
    return image.float() * _normal(image, rng).mul_(scale).add_(1)


def impulse_noise(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Salt and pepper, equally often."""
    (share,) = level
    drawn = torch.from_numpy(rng.random(image.shape, dtype=np.float32))
    salted = image.float().masked_fill_(drawn < share, 255.0)
    return salted.masked_fill_(drawn < share / 2, 0.0)


def shot_noise(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Photons counted: a Poisson law for each of the 256 values, drawn by its inverse."""
    (photons,) = level
    laws, guide = _poisson(photons)
    drawn = rng.random(image.shape, dtype=np.float32).ravel()
    value = image.numpy().ravel().astype(np.intp)
    counts = guide.take(value * BINS + (drawn * BINS).astype(np.intp))
    width, flat = laws.shape[1], laws.ravel()
    short = np.flatnonzero(flat.take(value * width + counts) <= drawn)
    while len(short):  # the guide gives the count at the low end of a bin; those further up step on
        counts[short] += 1
        short = short[flat.take(value[short] * width + counts[short]) <= drawn[short]]
    return torch.from_numpy(counts).float().mul_(255 / photons).reshape(image.shape)


@functools.lru_cache(maxsize=16)
def _poisson(photons: float) -> tuple[np.ndarray, np.ndarray]:
    """Cumulated probability of each count, a row per value, and the least count in each of BINS parts of (0, 1), flat."""
    rates = np.arange(256) / 255 * photons
    most = int(photons + 12 * np.sqrt(photons) + 30)
    laws = special.pdtr(np.arange(most + 1)[None], rates[:, None])
    laws[:, -1] = 1.0
    guide = np.stack([np.searchsorted(law, np.arange(BINS) / BINS, side="right") for law in laws])
    return laws.astype(np.float32), guide.astype(np.intp).ravel()


def _normal(image: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
