"""Random views of a picture for training; everything random in them is a function of one seed."""

import contextlib
import functools
import math
import random
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.nn import functional

from pellucid.data.images import Source, look
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD, TrainView
from pellucid.errors import BadUsage

Pixels = UInt8[np.ndarray, "h w 3"]
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

FILL = tuple(round(255 * mean) for mean in IMAGENET_MEAN)  # what comes in from outside a turned or shifted picture
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_RAND_AUGMENT = re.compile(r"rand(-((m|n|mmax)\d+|inc[01]|(p|mstd)\d+(\.\d+)?|t(weights|3aw?)))*")


def train_image(source: Source, view: TrainView, size: int, seed: int, where: str = "") -> UInt8[Tensor, "3 {size} {size}"]:
    """A random view of a picture, `size` pixels square: a part or the whole of it, mirrored, its colours and shapes changed.

    In memory it lies as `h w 3`.

    Args:
        where: what messages call the picture, beside its path.
    Raises:
        BadData, UnsafeInput: as `open_image`.
        BadUsage: `view.rand_augment` is not timm's notation.
    """
    draw = random.Random(seed)
    pixels = _placed(source, view, size, draw, where)
    if view.flip and draw.random() < view.flip:
        pixels = torch.from_numpy(pixels).flip(1).numpy()  # numpy takes ten times as long over three interleaved channels
    if view.cutout:
        pixels = cut_out(pixels, view.cutout, draw)
    if view.rand_augment:
        policy = rand_augment(view.rand_augment, view.interpolation)
        with seeded(draw.getrandbits(32)):
            pixels = np.array(policy(Image.fromarray(pixels), np.random.RandomState(draw.getrandbits(32))))
    elif view.color_jitter:
        pixels = np.array(jitter(Image.fromarray(pixels), view.color_jitter, draw))
    if view.erasing and draw.random() < view.erasing:
        pixels = erase(pixels, draw)
    return rearrange(torch.from_numpy(pixels), "h w c -> c h w")


# ---- what part of the picture, at what size -----------------------------------------------------------------------


def _placed(source: Source, view: TrainView, size: int, draw: random.Random, where: str) -> Pixels:
    kernel = draw.choice(("bicubic", "bilinear")) if view.interpolation == "random" else view.interpolation
    picture = look(source, where)
    if view.fit == "random_crop":
        box = random_crop(*picture.size, view, draw)
        return _square(_part(picture, box, size), size, kernel)
    pixels = _square(picture.array(size), size, kernel)
    if view.fit == "squish":
        return pixels
    top, left = (draw.randint(0, 2 * view.padding) for _ in range(2))
    return np.pad(pixels, ((view.padding, view.padding), (view.padding, view.padding), (0, 0)))[top : top + size, left : left + size]


def _part(picture: Any, box: Box, size: int) -> Pixels:
    """What lies in the box, of a JPEG decoded smaller as far as both of its sides keep `size` pixels."""
    (width, height), (left, top, right, bottom) = picture.size, box
    pixels = picture.array(math.ceil(size * min(width, height) / min(right - left, bottom - top)))
    down, across = pixels.shape[0] / height, pixels.shape[1] / width
    rows, columns = slice(round(top * down), round(bottom * down)), slice(round(left * across), round(right * across))
    return pixels[rows, columns]


def _square(pixels: Pixels, size: int, kernel: str) -> UInt8[np.ndarray, "{size} {size} 3"]:
    if pixels.shape[:2] == (size, size):
        return pixels
    # the axis of one comes before the transposition: torch then sees `h w c` in memory, takes its fast path and keeps that order
    batch = rearrange(rearrange(torch.from_numpy(pixels), "h w c -> 1 h w c"), "b h w c -> b c h w")
    done = functional.interpolate(batch, size=(size, size), mode=kernel, antialias=True, align_corners=False)
    return rearrange(done, "1 c h w -> h w c").numpy()


def random_crop(width: int, height: int, view: TrainView, draw: random.Random) -> Box:
    """A part of the picture with a share of its area in `view.scale` and sides in `view.ratio`.

    After ten failures the middle of the picture, as much of it as the ratio allows, as in torchvision and timm.
    """
    log_ratio = math.log(view.ratio[0]), math.log(view.ratio[1])
    for _ in range(10):
        area = draw.uniform(*view.scale) * (width * height)
        ratio = math.exp(draw.uniform(*log_ratio))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            top, left = draw.randint(0, height - down), draw.randint(0, width - across)
            return left, top, left + across, top + down
    across, down = min(width, round(height * view.ratio[1])), min(height, round(width / view.ratio[0]))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


# ---- colours and shapes -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the block the global stream of `random` begins at `seed`; after it goes on as if nothing had been."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


class RandAugment:
    """Some operations of timm's, drawn and applied one after another (Cubuk et al. 2020).

    Each operation draws its own strength and sign, and whether to do anything, from the global stream of `random`.

    Args:
        notation: `rand` and dashes: m magnitude, n operations, p chance of each, mstd its magnitude's deviation, mmax, inc1, t set.
        interpolation: "random" draws one for every operation.
    Raises:
        BadUsage: not that notation.
    """

    def __init__(self, notation: str, interpolation: str = "bicubic"):
        if not _RAND_AUGMENT.fullmatch(notation):
            raise BadUsage(f"rand_augment={notation}: expected timm's notation, as rand-m7-mstd0.5-inc1")
        from timm.data.auto_augment import rand_augment_transform  # seconds to import, all of timm comes with it

        kernel = {} if interpolation == "random" else {"interpolation": _FILTERS[interpolation]}
        self.policy = rand_augment_transform(notation, {"img_mean": FILL, **kernel})
        for operation in self.policy.ops:
            if operation.name.startswith("Posterize"):
                operation.aug_fn = posterize

    def __call__(self, image: Image.Image, rng: np.random.RandomState) -> Image.Image:
        """The picture after the operations that `rng` chooses."""
        weights = self.policy.choice_weights
        # as the policy's own call does it, which would draw from numpy's global stream: saving that takes longer than this
        for i in rng.choice(len(self.policy.ops), self.policy.num_layers, replace=weights is None, p=weights):
            image = self.policy.ops[i](image)
        return image


rand_augment = functools.cache(RandAugment)


def posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """The first bits of every value; black for none, which timm asks for at magnitude 10 and Pillow 13 refuses."""
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def jitter(image: Image.Image, strength: float, draw: random.Random) -> Image.Image:
    """Brightness, contrast and saturation, in any order, each times a factor within `strength` of 1."""
    enhancers = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
    draw.shuffle(enhancers)
    for enhancer in enhancers:
        image = enhancer(image).enhance(draw.uniform(max(0.0, 1 - strength), 1 + strength))
    return image


def cut_out(pixels: Pixels, share: float, draw: random.Random) -> Pixels:
    """The picture with a rectangle of `share` of its sides in one random colour, its middle anywhere.

    Source: DeVries and Taylor 2017; size and colour as in ASL's training script. Differs: that swaps height and width.
    """
    height, width = pixels.shape[:2]
    down, across = round(share * height), round(share * width)
    top, left = draw.randrange(height) - down // 2, draw.randrange(width) - across // 2
    painted = pixels.copy()
    painted[max(top, 0) : max(top + down, 0), max(left, 0) : max(left + across, 0)] = [draw.randrange(256) for _ in range(3)]
    return painted


def erase(pixels: Pixels, draw: random.Random) -> Pixels:
    """The picture with noise in every pixel of a rectangle of 2 to 33 in a hundred of its area.

    The noise has ImageNet's mean and deviation: a standard normal once the picture is normalised.
    Source: Zhong et al. 2020, as in timm. Differs: the noise is rounded and cut to what a byte holds.
    """
    height, width = pixels.shape[:2]
    for _ in range(10):
        area, ratio = draw.uniform(0.02, 1 / 3) * (width * height), math.exp(draw.uniform(math.log(0.3), -math.log(0.3)))
        down, across = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across < width and 0 < down < height:
            top, left = draw.randint(0, height - down), draw.randint(0, width - across)
            normal = np.random.default_rng(draw.getrandbits(32)).standard_normal((down, across, 3), np.float32)
            noise = (normal * np.array(IMAGENET_STD, np.float32) + np.array(IMAGENET_MEAN, np.float32)) * 255
            erased = pixels.copy()
            erased[top : top + down, left : left + across] = noise.round().clip(0, 255)
            return erased
    return pixels
