"""Distorted copies of pictures. A copy depends on its pixels, its seed, the kind and the level, and on nothing else."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import features
from torch import Tensor

from pellucid.data.corrupt import blur, digital, noise
from pellucid.data.corrupt.levels import Level
from pellucid.data.corrupt.names import stream
from pellucid.data.corrupt.pictures import one_thread
from pellucid.data.distort import coding, colour, denoise, place, tone
from pellucid.data.distort.levels import find
from pellucid.errors import BadUsage

SMALLEST = 16  # pixels of the shorter side

APPLY: Mapping[str, Callable[[Tensor, Level, np.random.Generator], Tensor]] = {
    "gaussian_blur": blur.gaussian_blur,
    "lens_blur": blur.defocus_blur,
    "motion_blur": place.motion_blur,
    "colour_diffusion": colour.diffusion,
    "colour_shift": colour.shift,
    "colour_quantisation": colour.quantisation,
    "colour_saturation_hsv": lambda image, level, rng: digital.saturate(image, (*level, 0), rng),
    "colour_saturation_lab": colour.saturation_lab,
    "jpeg_2000": coding.jpeg_2000,
    "jpeg": digital.jpeg_compression,
    "white_noise": noise.gaussian_noise,
    "white_noise_ycbcr": colour.noise,
    "impulse_noise": noise.impulse_noise,
    "multiplicative_noise": noise.speckle_noise,
    "denoise": denoise.denoise,
    "brighten": tone.bend,
    "darken": tone.bend,
    "mean_shift": tone.mean_shift,
    "jitter": place.jitter,
    "non_eccentricity_patch": place.non_eccentricity_patch,
    "pixelate": digital.pixelate,
    "quantisation": tone.quantisation,
    "colour_block": place.colour_block,
    "high_sharpen": tone.high_sharpen,
    "contrast_change": tone.contrast_change,
}


def distort(picture: UInt8[Tensor, "3 h w"], kind: str, level: int, seed: int) -> UInt8[Tensor, "3 h w"]:
    """A distorted copy, on the device of the picture; computed on the CPU.

    What is drawn depends on seed and kind alone, so that the five levels of one seed are one distortion that grows.

    Args:
        kind: one of the 25 in `KINDS`.
        level: 1, hardly seen, to 5.
    Raises:
        BadUsage: no such kind or level, or JPEG 2000 where Pillow lacks it.
        ValueError: a side under 16 pixels.
    """
    numbers = find(kind, level).levels[level - 1]
    height, width = picture.shape[-2:]
    if min(height, width) < SMALLEST:
        raise ValueError(f"a picture of {height} x {width}; distortions need {SMALLEST} pixels or more")
    check_available([kind])
    with one_thread():
        copy = APPLY[kind](picture.cpu().contiguous(), numbers, stream(seed, kind, 0))
        found = copy if copy.dtype == torch.uint8 else copy.round().clamp_(0, 255).to(torch.uint8)
    return found.contiguous().to(picture.device)


def check_available(kinds: Iterable[str]) -> None:
    """Whether this machine can make distortions of these kinds.

    Raises:
        BadUsage: JPEG 2000 is among them, and Pillow was built without it.
    """
    if "jpeg_2000" in kinds and not features.check("jpg_2000"):
        raise BadUsage(
            "jpeg_2000: this Pillow was built without OpenJPEG; install a wheel of Pillow, or leave it out: without_kinds=jpeg_2000"
        )
