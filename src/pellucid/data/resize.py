"""The geometry of the test view: which pixels of a picture a model sees, and their resampling."""

import functools
import math

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pellucid.data.views import TestView

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_LONGEST = 8  # sides of the view


@functools.lru_cache(256)
def resized(view: TestView, width: int, height: int) -> tuple[int, int]:
    """Width and height to which a picture is brought before the centre is cut out."""
    if view.fit == "squish":
        return view.size, view.size
    short = short_side(view)
    long = int(short * max(width, height) / min(width, height))
    return (short, long) if width <= height else (long, short)


def short_side(view: TestView) -> int:
    """Length of the short side after resizing, in pixels.

    Raises:
        ValueError: a crop outside (0, 1], a size below 1.
    """
    if not 0 < view.crop <= 1 or view.size < 1:
        raise ValueError(f"crop {view.crop} of size {view.size}: expected a crop above 0, at most 1, and a size of at least 1")
    return view.size if view.fit == "squish" else math.floor(view.size / view.crop)


def exact_view(image: Image.Image, view: TestView) -> UInt8[Tensor, "3 h w"]:
    """The view as Pillow, and so timm, computes it: resized as a whole, then cut."""
    size = resized(view, *image.size)
    if _long(size, view):
        return _middle(image, view, 1, image.size)
    if size != image.size:
        image = image.resize(size, _FILTERS[view.interpolation])
    return _centre(np.array(image), size, view.size)


def fast_view(pixels: np.ndarray, view: TestView, scale: int, whole: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    """The same in half the time by torch's fixed-point resampling; where nothing was scaled each value is within 2 of 255.

    Args:
        pixels: `h w 3`, decoded at one over `scale` of its size, its sides rounded up.
        whole: width and height before.
    """
    size = resized(view, *whole)
    if scale == 1 and size == whole:
        return _centre(pixels, size, view.size)
    if _long(size, view):
        return _middle(Image.fromarray(pixels), view, scale, whole)
    # the axis of one first, then the turn: torch then knows the memory as h w c, works fastest on it and keeps it
    image = rearrange(rearrange(torch.from_numpy(pixels), "h w c -> 1 h w c"), "b h w c -> b c h w")
    # factors rather than sizes: the last decoded pixel of a side that was rounded up lies partly outside; torch rounds the size down
    factors = [scale * to / of * (1 + 1e-9) for to, of in zip(reversed(size), reversed(whole), strict=True)]
    done = functional.interpolate(image, scale_factor=factors, mode=view.interpolation, antialias=True, align_corners=False)
    return _centre(rearrange(done, "1 c h w -> h w c").numpy(), size, view.size)


def _long(size: tuple[int, int], view: TestView) -> bool:
    """Whether resizing a strip as a whole would cost much memory of which little is kept: one row of 50,000 makes 10 GB."""
    return max(size) > _LONGEST * view.size


def _middle(image: Image.Image, view: TestView, scale: int, whole: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    """The centre alone resized; within 1 of 255 of what is cut from the whole, which it rounds otherwise."""
    (width, height), (across, down) = whole, resized(view, *whole)
    left, top, size = round((across - view.size) / 2), round((down - view.size) / 2), view.size
    by_x, by_y = width / across / scale, height / down / scale
    box = (left * by_x, top * by_y, (left + size) * by_x, (top + size) * by_y)
    return _centre(np.array(image.resize((size, size), _FILTERS[view.interpolation], box=box)), (size, size), size)


def _centre(pixels: np.ndarray, whole: tuple[int, int], size: int) -> UInt8[Tensor, "3 h w"]:
    """The square in the middle of `whole`, at Python's rounding of half pixels, as timm and torchvision do."""
    left, top = (round((side - size) / 2) for side in whole)
    return rearrange(torch.from_numpy(pixels[top : top + size, left : left + size]), "h w c -> c h w")
