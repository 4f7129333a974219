"""Corrupted copies of moving pictures: which of a clip's local features are seen, and in what order; and noise on features.

A copy depends on what is handed in, and on nothing else. What spoils each picture is in `levels`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pellucid.data.corrupt.names import chosen, stream

Levels = tuple[float, float, float, float, float]
Places = Int[np.ndarray, " m"]


@dataclass(frozen=True)
class MovingCorruption:
    """One way to spoil a clip.

    Args:
        about: what it does and what its numbers are, in one line.
        levels: numbers of the five severities.
    """

    about: str
    levels: Levels


FRAMES: Mapping[str, MovingCorruption] = {
    "frame_drop": MovingCorruption("Loses frames at random, never all. Numbers: the share kept.", (0.8, 0.6, 0.4, 0.25, 0.1)),
    "frame_shuffle": MovingCorruption(
        "Puts the frames of each window into a random order. Numbers: length of the window, as a share of the clip.",
        (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1),
    ),
    "frame_repeat": MovingCorruption(
        "Freezes frames at random: each repeats the one before. Numbers: the share of frames.", (0.1, 0.25, 0.5, 0.75, 0.9)
    ),
    "frame_rate": MovingCorruption("Keeps every k-th frame, from the first. Numbers: k.", (2, 3, 4, 6, 8)),
}
FEATURES: Mapping[str, MovingCorruption] = {
    "feature_noise": MovingCorruption(
        "Adds Gaussian noise to every number of every local feature. Numbers: its deviation, as a share of the number's own over the clip.",
        (0.1, 0.25, 0.5, 1, 2),
    )
}
VIDEO: Mapping[str, MovingCorruption] = {**FRAMES, **FEATURES}


def moved(n: int, kind: str, severity: int, seed: int) -> list[int]:
    """The places seen, in order, of `n` frames or other local features; at least one where there is one.

    Modalities that have as many local features lose, repeat and exchange the same ones.

    Args:
        kind: one of `VIDEO`; noise leaves every place as it is.
    Raises:
        BadUsage: no such kind or severity.
    """
    level = chosen(VIDEO, "video", kind, severity).levels[severity - 1]
    return _APPLY[kind](n, level, stream(seed, kind, severity)).tolist() if kind in FRAMES else list(range(n))


def noised(features: Float[np.ndarray, "n f"], severity: int, seed: int, modality: str = "") -> Float[np.ndarray, "n f"]:
    """A noisy copy, in units of each number's own deviation over the clip; a clip of one local feature has none and stays as it is.

    Args:
        modality: whose features they are; each has noise of its own.
    Raises:
        BadUsage: no such severity.
    """
    level = chosen(VIDEO, "video", "feature_noise", severity).levels[severity - 1]
    if len(features) < 2:
        return features.copy()
    drawn = stream(seed, f"feature_noise {modality}", severity).standard_normal(features.shape)
    return (features + level * features.std(0, dtype=np.float64) * drawn).astype(features.dtype)


def _dropped(n: int, share: float, rng: np.random.Generator) -> Places:
    return np.sort(_some(n, max(1, _whole(share * n)), rng))


def _shuffled(n: int, share: float, rng: np.random.Generator) -> Places:
    window = max(2, math.ceil(share * n))  # one frame alone has no other order
    return np.lexsort((rng.random(n), np.arange(n) // window))


def _repeated(n: int, share: float, rng: np.random.Generator) -> Places:
    places = np.arange(n)
    places[1 + _some(n - 1, _whole(share * (n - 1)), rng)] = 0  # the first has none before it
    return np.maximum.accumulate(places)


def _thinned(n: int, step: float, rng: np.random.Generator) -> Places:
    return np.arange(0, n, int(step))


def _some(n: int, num: int, rng: np.random.Generator) -> Places:
    """`num` different ones of `n` places."""
    return np.argsort(rng.random(max(n, 0)), kind="stable")[:num]


def _whole(share: float) -> int:
    return math.floor(share + 0.5)


_APPLY: Mapping[str, Callable[[int, float, np.random.Generator], Places]] = {
    "frame_drop": _dropped,
    "frame_shuffle": _shuffled,
    "frame_repeat": _repeated,
    "frame_rate": _thinned,
}
