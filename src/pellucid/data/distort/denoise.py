"""Noise that a denoiser has gone over: what is left is smooth, with blotches."""

import numpy as np
import torch.nn.functional as F

from pellucid.data.corrupt import filters, noise
from pellucid.data.corrupt.filters import Picture, Values
from pellucid.data.corrupt.levels import Level

SHARES = (0.872, 0.206, 0.0864, 0.0415)  # of the deviation of white noise that falls to each scale, the finest first
_DEVIATIONS = 1.5  # of the noise of a scale: by so much its details are drawn to 0


def denoise(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """The picture with Gaussian noise, cut to 8 bits, then shrunk by the true deviation of the noise.

    Differs: KADID-10k's denoiser is a trained network.
    """
    (scale,) = level
    return shrunk(filters.cut(noise.gaussian_noise(image, level, rng)).float(), 255 * scale)


def shrunk(values: Values, sigma: float) -> Values:
    """Details of four scales drawn to 0, what is coarser kept: soft thresholds on an undecimated transform.

    Args:
        sigma: deviation of the noise, in units of the values.
    Source: Starck & Murtagh 1994, Image restoration with noise suppression using the wavelet transform. Differs: Gaussians of the same
    variance for their splines, soft for their hard thresholds.
    """
    details, coarse = scales(values)
    for detail, share in zip(details, SHARES, strict=True):
        coarse = coarse + F.softshrink(detail, _DEVIATIONS * share * sigma)
    return coarse


def scales(values: Values) -> tuple[list[Values], Values]:
    """What blurs of 1, 2, 4 and 8 pixels take away one after the other, and what they leave; together they are the picture."""
    details, coarse = [], values
    for i in range(len(SHARES)):
        smooth = filters.gaussian(coarse, 2.0**i)
        details.append(coarse - smooth)
        coarse = smooth
    return details, coarse
