"""The 15 + 4 common corruptions of pictures by name, with the published numbers of each severity; imports nothing heavy.

Source: Hendrycks & Dietterich 2019, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations: the numbers of
ImageNet-C (224 px), Tiny ImageNet-C (64 px) and CIFAR-10-C (32 px).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

Level = tuple[float, ...]
IMAGENET, TINY, CIFAR = 224, 64, 32  # side in pixels of the pictures that each table was published for
SMALLEST = 32  # pixels of the shorter side


@dataclass(frozen=True)
class PictureCorruption:
    """One way to spoil a picture.

    Args:
        about: what it does and what its numbers are, in one line.
        levels: numbers of the five severities, by the side in pixels they were published for.
        extra: one of the four that are left out of the mean corruption error.
    """

    about: str
    levels: Mapping[int, tuple[Level, Level, Level, Level, Level]]
    extra: bool = False


def nearest_size(height: int, width: int) -> int:
    """The published side that is nearest in ratio to the shorter side of a picture.

    Raises:
        ValueError: a picture under 32 pixels.
    """
    short = min(height, width)
    if short < SMALLEST:
        raise ValueError(f"a picture of {height} x {width}; corruptions need {SMALLEST} pixels or more")
    return min((IMAGENET, TINY, CIFAR), key=lambda side: abs(math.log(short / side)))


def _one(*numbers: float) -> tuple[Level, ...]:
    return tuple((n,) for n in numbers)


def _by_size(imagenet: tuple[Level, ...], tiny: tuple[Level, ...], cifar: tuple[Level, ...]) -> Mapping[int, tuple]:
    assert len(imagenet) == len(tiny) == len(cifar) == 5
    return {IMAGENET: imagenet, TINY: tiny, CIFAR: cifar}


def _of_side(side: int, *shares: Level) -> tuple[Level, ...]:
    return tuple(tuple(side * share for share in level) for level in shares)


PICTURES: Mapping[str, PictureCorruption] = {
    "gaussian_noise": PictureCorruption(
        "Adds Gaussian noise to every value. Numbers: its deviation, as a share of white.",
        _by_size(_one(0.08, 0.12, 0.18, 0.26, 0.38), _one(0.04, 0.08, 0.12, 0.15, 0.18), _one(0.04, 0.06, 0.08, 0.09, 0.10)),
    ),
    "shot_noise": PictureCorruption(
        "Counts photons: Poisson noise. Numbers: photons of white.",
        _by_size(_one(60, 25, 12, 5, 3), _one(250, 100, 50, 30, 15), _one(500, 250, 100, 75, 50)),
    ),
    "impulse_noise": PictureCorruption(
        "Turns values into 0 or white (salt and pepper). Numbers: the share of values.",
        _by_size(_one(0.03, 0.06, 0.09, 0.17, 0.27), _one(0.01, 0.02, 0.05, 0.08, 0.14), _one(0.01, 0.02, 0.03, 0.05, 0.07)),
    ),
    "defocus_blur": PictureCorruption(
        "Blurs by a disk, as a lens out of focus. Numbers: radius and softness of the edge, in pixels.",
        _by_size(
            ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
            ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
            ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ),
    ),
    "glass_blur": PictureCorruption(
        "Scatters pixels among their neighbours between two Gaussian blurs. Numbers: deviation, reach in pixels, rounds.",
        _by_size(
            ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
            ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
            ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ),
    ),
    "motion_blur": PictureCorruption(
        "Smears along a random direction, within 45 degrees of level. Numbers: length and deviation in pixels.",
        _by_size(
            ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
            ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
            ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ),
    ),
    "zoom_blur": PictureCorruption(
        "Averages the picture over zooms into its centre. Numbers: the zooms run from 1 to below this, by this step.",
        _by_size(
            ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
            ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
            ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ),
    ),
    "snow": PictureCorruption(
        "Whitens and adds driven flakes. Numbers: mean and deviation of the field, zoom, threshold, smear and its deviation, share kept.",
        _by_size(
            (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
            (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
            ),
            (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
        ),
    ),
    "frost": PictureCorruption(
        "Lays ice crystals over the picture. Numbers: weights of picture and ice, size of the crystals.",
        _by_size(
            ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
            ((1, 0.3, 0.3), (0.9, 0.4, 0.3), (0.8, 0.45, 0.3), (0.75, 0.5, 0.3), (0.7, 0.55, 0.3)),
            ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
        ),
    ),
    "fog": PictureCorruption(
        "Adds clouds of plasma. Numbers: their thickness, and how fast detail fades.",
        _by_size(
            ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
            ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
            ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ),
    ),
    "brightness": PictureCorruption(
        "Raises the value of hue, saturation, value. Numbers: by how much of white.",
        _by_size(_one(0.1, 0.2, 0.3, 0.4, 0.5), _one(0.1, 0.2, 0.3, 0.4, 0.5), _one(0.05, 0.1, 0.15, 0.2, 0.3)),
    ),
    "contrast": PictureCorruption(
        "Draws every channel to its mean. Numbers: the share of contrast kept.",
        _by_size(_one(0.4, 0.3, 0.2, 0.1, 0.05), _one(0.4, 0.3, 0.2, 0.1, 0.05), _one(0.75, 0.5, 0.4, 0.3, 0.15)),
    ),
    "elastic_transform": PictureCorruption(
        "Tilts and warps the picture. Numbers: strength and smoothness of the warp, reach of the tilt, in pixels.",
        _by_size(
            _of_side(244, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
            _of_side(64, (0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
            _of_side(32, (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        ),
    ),
    "pixelate": PictureCorruption(
        "Shows the picture at a lower resolution. Numbers: the share of the side kept.",
        _by_size(_one(0.6, 0.5, 0.4, 0.3, 0.25), _one(0.9, 0.8, 0.7, 0.6, 0.5), _one(0.95, 0.9, 0.85, 0.75, 0.65)),
    ),
    "jpeg_compression": PictureCorruption(
        "Saves the picture as JPEG. Numbers: the quality.",
        _by_size(_one(25, 18, 15, 10, 7), _one(65, 58, 50, 40, 25), _one(80, 65, 58, 50, 40)),
    ),
    "speckle_noise": PictureCorruption(
        "Adds Gaussian noise in proportion to the value. Numbers: its deviation, as a share of the value.",
        _by_size(_one(0.15, 0.2, 0.35, 0.45, 0.6), _one(0.15, 0.2, 0.25, 0.3, 0.35), _one(0.06, 0.1, 0.12, 0.16, 0.2)),
        extra=True,
    ),
    "gaussian_blur": PictureCorruption(
        "Blurs by a Gaussian. Numbers: its deviation in pixels.",
        _by_size(_one(1, 2, 3, 4, 6), _one(0.5, 0.75, 1, 1.25, 1.5), _one(0.4, 0.6, 0.7, 0.8, 1)),
        extra=True,
    ),
    "spatter": PictureCorruption(
        "Splashes water, then mud. Numbers: mean and deviation of the field, its blur, threshold, strength (mud: blur), 1 for mud.",
        _by_size(
            (
                (0.65, 0.3, 4, 0.69, 0.6, 0),
                (0.65, 0.3, 3, 0.68, 0.6, 0),
                (0.65, 0.3, 2, 0.68, 0.5, 0),
                (0.65, 0.3, 1, 0.65, 1.5, 1),
                (0.67, 0.4, 1, 0.65, 1.5, 1),
            ),
            (
                (0.62, 0.1, 0.7, 0.7, 0.6, 0),
                (0.65, 0.1, 0.8, 0.7, 0.6, 0),
                (0.65, 0.3, 1, 0.69, 0.6, 0),
                (0.65, 0.1, 0.7, 0.68, 0.6, 1),
                (0.65, 0.1, 0.5, 0.67, 0.6, 1),
            ),
            (
                (0.62, 0.1, 0.7, 0.7, 0.5, 0),
                (0.65, 0.1, 0.8, 0.7, 0.5, 0),
                (0.65, 0.3, 1, 0.69, 0.5, 0),
                (0.65, 0.1, 0.7, 0.69, 0.6, 1),
                (0.65, 0.1, 0.5, 0.68, 0.6, 1),
            ),
        ),
        extra=True,
    ),
    "saturate": PictureCorruption(
        "Changes the saturation of hue, saturation, value. Numbers: factor and summand.",
        _by_size(
            ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
            ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
            ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ),
        extra=True,
    ),
}
