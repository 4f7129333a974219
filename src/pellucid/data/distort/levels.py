"""The 25 kinds of distortion by name, in KADID-10k's order, with our numbers of each level; imports nothing heavy.

Source: Lin, Hosu & Saupe 2019, KADID-10k: A Large-scale Artificially Distorted IQA Database: the kinds and their order. Differs: the
numbers are ours. Theirs are not always in order of strength: the third of the five levels of mean shift, and of contrast change, is the
reference itself, and so is the first of saturation in Lab.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pellucid.coerce import nearest
from pellucid.data.corrupt.levels import Level
from pellucid.errors import BadUsage

LEVELS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Distortion:
    """One way to spoil a picture; a higher level is a larger distance from the reference.

    Args:
        group: what the kind acts on: blur, colour, coding, noise, brightness, place or detail.
        about: what it does and what its numbers are, in one line.
        levels: numbers of the five levels; pixels are pixels, whatever the size of the picture.
        drawn: whether another seed gives another copy.
    """

    group: str
    about: str
    levels: tuple[Level, Level, Level, Level, Level]
    drawn: bool = False


def find(kind: str, level: int = 1) -> Distortion:
    """The distortion of that name.

    Raises:
        BadUsage: no such kind or level.
    """
    if kind not in KINDS:
        raise BadUsage(f"no distortion {kind!r}" + nearest(kind, list(KINDS)))
    if level not in LEVELS:
        raise BadUsage(f"{kind}: level {level!r}; there are 1 to {LEVELS[-1]}")
    return KINDS[kind]


def _one(first: float, second: float, third: float, fourth: float, fifth: float) -> tuple[Level, Level, Level, Level, Level]:
    return (first,), (second,), (third,), (fourth,), (fifth,)


KINDS: Mapping[str, Distortion] = {
    "gaussian_blur": Distortion("blur", "Blurs by a Gaussian. Numbers: its deviation in pixels.", _one(0.7, 1.1, 1.8, 3, 5)),
    "lens_blur": Distortion(
        "blur",
        "Blurs by a disk, as a lens out of focus. Numbers: radius and softness of the edge, in pixels.",
        ((1, 0.4), (2, 0.5), (3, 0.5), (5, 0.5), (7, 0.5)),
    ),
    "motion_blur": Distortion(
        "blur",
        "Smears along a random direction, both ways alike. Numbers: reach either way and deviation, in pixels.",
        ((2, 1), (4, 2), (6, 4), (10, 7), (16, 12)),
        drawn=True,
    ),
    "colour_diffusion": Distortion(
        "colour",
        "Lets colours, not luma, run into their neighbourhood and glow. Numbers: deviation in pixels, factor.",
        ((3, 1.2), (5, 1.6), (8, 2.1), (12, 2.8), (18, 4)),
    ),
    "colour_shift": Distortion(
        "colour", "Moves the green channel in a random direction. Numbers: how far, in pixels.", _one(1, 3, 5, 8, 13), drawn=True
    ),
    "colour_quantisation": Distortion("colour", "Leaves a palette chosen for the picture. Numbers: its colours.", _one(48, 24, 12, 7, 4)),
    "colour_saturation_hsv": Distortion(
        "colour", "Pales colours: scales the saturation of hue, saturation, value. Numbers: the factor.", _one(0.75, 0.5, 0.3, 0.15, 0)
    ),
    "colour_saturation_lab": Distortion(
        "colour", "Glares colours: scales a and b of CIE Lab. Numbers: the factor.", _one(1.4, 1.9, 2.7, 4.2, 7)
    ),
    "jpeg_2000": Distortion(
        "coding", "Saves the picture as JPEG 2000. Numbers: how many times smaller than raw, beside the header.", _one(14, 28, 55, 110, 240)
    ),
    "jpeg": Distortion("coding", "Saves the picture as JPEG. Numbers: Pillow's quality.", _one(45, 28, 17, 10, 5)),
    "white_noise": Distortion(
        "noise",
        "Adds Gaussian noise to every value. Numbers: its deviation, as a share of white.",
        _one(0.025, 0.045, 0.075, 0.12, 0.19),
        True,
    ),
    "white_noise_ycbcr": Distortion(
        "noise", "Adds Gaussian noise to Cb and Cr. Numbers: its deviation, as a share of white.", _one(0.02, 0.04, 0.07, 0.12, 0.19), True
    ),
    "impulse_noise": Distortion(
        "noise", "Turns values into 0 or white. Numbers: the share of values.", _one(0.004, 0.01, 0.025, 0.06, 0.14), True
    ),
    "multiplicative_noise": Distortion(
        "noise",
        "Adds Gaussian noise in proportion to the value. Numbers: its deviation, as a share of the value.",
        _one(0.05, 0.09, 0.15, 0.25, 0.4),
        drawn=True,
    ),
    "denoise": Distortion(
        "noise",
        "Adds Gaussian noise and takes it away by wavelet shrinkage. Numbers: its deviation, as a share of white.",
        _one(0.03, 0.07, 0.14, 0.24, 0.4),
        drawn=True,
    ),
    "brighten": Distortion(
        "brightness", "Bends luma up; black and white stay. Numbers: the exponent, of luma from 0 to 1.", _one(0.85, 0.7, 0.55, 0.4, 0.27)
    ),
    "darken": Distortion(
        "brightness", "Bends luma down; black and white stay. Numbers: the exponent, of luma from 0 to 1.", _one(1.2, 1.5, 1.9, 2.6, 4)
    ),
    "mean_shift": Distortion(
        "brightness", "Adds to all values or takes from all. Numbers: how much, of 255.", _one(8, 18, 32, 50, 75), drawn=True
    ),
    "jitter": Distortion(
        "place", "Shows at each pixel a place near by. Numbers: deviation along either axis, in pixels.", _one(0.3, 0.6, 1, 1.8, 3.2), True
    ),
    "non_eccentricity_patch": Distortion(
        "place", "Shows in square patches what lies one patch away. Numbers: how many patches.", _one(8, 20, 40, 70, 120), drawn=True
    ),
    "pixelate": Distortion(
        "detail", "Shows the picture in large pixels. Numbers: the share of the side kept.", _one(1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 10)
    ),
    "quantisation": Distortion("detail", "Leaves evenly spaced values in each channel. Numbers: how many.", _one(20, 13, 9, 6, 4)),
    "colour_block": Distortion(
        "detail", "Lays squares of random colours over the picture. Numbers: how many.", _one(1, 3, 6, 11, 18), drawn=True
    ),
    "high_sharpen": Distortion(
        "detail", "Sharpens luma by an unsharp mask. Numbers: how many times what the mask holds is added.", _one(1, 2, 3.5, 6, 11)
    ),
    "contrast_change": Distortion(
        "brightness",
        "Draws all values to the mean of their channel, or from it. Numbers: the share of contrast kept, or 1 over it.",
        _one(0.8, 0.65, 0.5, 0.36, 0.22),
        drawn=True,
    ),
}
