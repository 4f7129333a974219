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


@functools.lru_cache(256)
def resized(view: TestView, width: int, height: int) -> tuple[int, int]:
    """Width and height to which a picture is brought before the centre is cut out.

    Raises:
        ValueError: a crop outside (0, 1], a size below 1.
    """
    if not 0 < view.crop <= 1 or view.size < 1:
        raise ValueError(f"crop {view.crop} of size {view.size}: expected a crop above 0, at most 1, and a size of at least 1")
    if view.fit == "squish":
        return view.size, view.size
    short = short_side(view)
    long = int(short * max(width, height) / min(width, height))
    return (short, long) if width <= height else (long, short)


def short_side(view: TestView) -> int:
    """Length of the short side after resizing, in pixels."""
    return view.size if view.fit == "squish" else math.floor(view.size / view.crop)


def exact_view(image: Image.Image, view: TestView) -> UInt8[Tensor, "3 h w"]:
    """The view as Pillow, and so timm, computes it: resized as a whole, then cut."""
    size = resized(view, *image.size)
    if size != image.size:
        image = image.resize(size, _FILTERS[view.interpolation])
    return _centre(np.array(image), view.size)


def fast_view(pixels: np.ndarray, view: TestView) -> UInt8[Tensor, "3 h w"]:
    """The same in half the time, each value within 2 of 255 of Pillow's, nearly all equal; torch's fixed-point resampling."""
    height, width = pixels.shape[:2]
    size = resized(view, width, height)
    if size == (width, height):
        return _centre(pixels, view.size)
    image = rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w")  # a view: the memory stays h w c, which torch's fast path wants
    shape = (size[1], size[0])
    done = functional.interpolate(image, size=shape, mode=view.interpolation, antialias=True, align_corners=False)
    return _centre(rearrange(done, "1 c h w -> h w c").numpy(), view.size)


def _centre(pixels: np.ndarray, size: int) -> UInt8[Tensor, "3 h w"]:
    """The square in the middle of `h w 3`, at Python's rounding of half pixels, as timm and torchvision do."""
    height, width = pixels.shape[:2]
    top, left = round((height - size) / 2), round((width - size) / 2)
    return rearrange(torch.from_numpy(pixels[top : top + size, left : left + size]), "h w c -> c h w")
