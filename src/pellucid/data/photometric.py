"""Brightness, saturation, hue and contrast of a picture, drawn between bounds and changed in one of four orders."""

import random
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from pellucid.data.joint_views import JointTrainView

Pixels = UInt8[np.ndarray, "h w 3"]
Values = Float[np.ndarray, "h w 3"]  # 0 to 255

ORDERS = (
    ("brightness", "saturation", "hue", "contrast"),
    ("saturation", "brightness", "contrast", "hue"),
    ("contrast", "hue", "brightness", "saturation"),
    ("hue", "saturation", "contrast", "brightness"),
)


def recoloured(pixels: Pixels, view: JointTrainView, draw: random.Random) -> Pixels:
    """The picture in other colours; with probability 1 - `view.colour_prob` as it was."""
    if draw.random() >= view.colour_prob:
        return pixels
    order = draw.choice(ORDERS)
    amounts = {
        "brightness": draw.uniform(-view.brightness, view.brightness),
        "saturation": draw.uniform(*view.saturation),
        "hue": draw.uniform(-view.hue, view.hue),
        "contrast": draw.uniform(*view.contrast),
    }
    return changed(pixels, [(name, amounts[name]) for name in order])


def changed(pixels: Pixels, steps: Sequence[tuple[str, float]]) -> Pixels:
    """The picture after each change, by name and amount; values are cut to 0 and 255 after every one."""
    for name, amount in steps:
        pixels = _STEPS[name](pixels, amount)
    return pixels


def _brighter(pixels: Pixels, amount: float) -> Pixels:
    return _bytes(pixels.astype(np.float32) + np.float32(255 * amount))


def _contrasted(pixels: Pixels, factor: float) -> Pixels:
    mean = pixels.mean((0, 1), dtype=np.float64).astype(np.float32)
    return _bytes((pixels - mean) * np.float32(factor) + mean)


def _saturated(pixels: Pixels, factor: float) -> Pixels:
    table = (np.arange(256) * factor + 0.5).clip(0, 255).astype(np.uint8)
    return _through_hsv(pixels, 1, table)


def _turned(pixels: Pixels, turn: float) -> Pixels:
    table = (np.arange(256) + round(256 * turn)) % 256
    return _through_hsv(pixels, 0, table.astype(np.uint8))


def _through_hsv(pixels: Pixels, channel: int, table: UInt8[np.ndarray, " 256"]) -> Pixels:
    """One of hue, saturation and value, each 0 to 255, looked up in a table."""
    parts = np.array(Image.fromarray(pixels).convert("HSV"))
    parts[..., channel] = table[parts[..., channel]]
    return np.array(Image.fromarray(parts, "HSV").convert("RGB"))


def _bytes(values: Values) -> Pixels:
    return (values + np.float32(0.5)).clip(0, 255).astype(np.uint8)


_STEPS: dict[str, Callable[[Pixels, float], Pixels]] = {
    "brightness": _brighter,
    "saturation": _saturated,
    "hue": _turned,
    "contrast": _contrasted,
}
