"""Colours of relevance over a picture: blue for, orange against, equal steps of relevance equal steps to the eye.

Source: Ottosson 2020, OKLab, the space in which distances are as large as they look.
"""

import functools

import numpy as np
from jaxtyping import Bool, Float, UInt8

TO_CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]]
)
TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099], [0.0259040371, 0.7827717662, -0.8086757660]]
)
STEPS = 256
OPAQUE = 0.92  # at the strongest place a trace of the picture stays
FOR, AGAINST = (18, 92, 178), (196, 84, 8)
FOR_DARK, AGAINST_DARK = (84, 172, 255), (255, 146, 60)
BLANK, BLANK_DARK = (255, 255, 255, 225), (19, 21, 25, 225)
GROUND, GROUND_DARK = 0.80, 0.30  # lightness (0..1, sRGB) of a faded picture's middle


def oklab(rgb: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Lightness, green to red, blue to yellow, of sRGB in 0..1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ TO_CONES.T) @ TO_LAB.T


def srgb(lab: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """What `oklab` began with; a colour that no screen has becomes the nearest by each of red, green and blue."""
    linear = ((lab @ np.linalg.inv(TO_LAB).T) ** 3 @ np.linalg.inv(TO_CONES).T).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _away(colour: tuple[int, int, int], ground: float) -> Float[np.ndarray, " a"]:
    """How far a ground is changed, as the eye sees it, by so much of the colour: 1,001 opacities from 0 to `OPAQUE`."""
    opacity = np.linspace(0, OPAQUE, 1001)[:, None]
    under, over = np.full(3, ground), np.array(colour) / 255
    return np.linalg.norm(oklab(under + opacity * (over - under)) - oklab(under), axis=1)


@functools.cache
def ramp(dark: bool = False) -> UInt8[np.ndarray, "two s 4"]:
    """Red, green, blue and opacity (0..255) of each share of the strongest relevance, for and against.

    On a ground of middle lightness the same share looks equally far from it on both sides, and twice the share twice as far.
    """
    ground, colours = (GROUND_DARK, (FOR_DARK, AGAINST_DARK)) if dark else (GROUND, (FOR, AGAINST))
    ways = [_away(colour, ground) for colour in colours]
    reach = min(way[-1] for way in ways) * np.linspace(0, 1, STEPS)
    sides = []
    for colour, way in zip(colours, ways, strict=True):
        opacity = np.interp(reach, way, np.linspace(0, OPAQUE, len(way)))
        sides.append(np.column_stack([np.tile(colour, (STEPS, 1)), np.round(255 * opacity)]))
    return np.stack(sides).astype(np.uint8)


def over(shares: Float[np.ndarray, "h w"], dark: bool = False) -> UInt8[np.ndarray, "h w 4"]:
    """The colour of each share, -1 fully against to 1 fully for; a share that is no number is clear."""
    known = np.nan_to_num(shares, nan=0.0).clip(-1, 1)
    return ramp(dark)[(known < 0).astype(int), np.round(np.abs(known) * (STEPS - 1)).astype(int)]


def blank(untold: Bool[np.ndarray, "h w"], dark: bool = False) -> UInt8[np.ndarray, "h w 4"]:
    """What hides the picture where nothing is told of it; clear elsewhere."""
    return np.where(untold[..., None], BLANK_DARK if dark else BLANK, 0).astype(np.uint8)


def faded(picture: UInt8[np.ndarray, "h w 3"], dark: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """The picture without its colours and with little contrast, so that relevance can be seen over it."""
    grey = picture @ np.array([0.299, 0.587, 0.114]) / 255
    low, high = (0.10, 0.50) if dark else (0.62, 0.98)
    return np.round(255 * np.repeat((low + (high - low) * grey)[..., None], 3, -1)).astype(np.uint8)
