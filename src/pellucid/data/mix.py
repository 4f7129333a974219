"""Pictures of a batch mixed in pairs with their targets: Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019)."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.data.views import Mix


class Shares(NamedTuple):
    """What is drawn for a batch, for each pair, or for each picture.

    Args:
        own: share of the picture's own that stays, in the mixture or of the area.
        pasted: true where a rectangle is pasted, false where pixels are averaged.
    """

    own: Float[np.ndarray, " n"]
    pasted: Bool[np.ndarray, " n"]


class Box(NamedTuple):
    """A rectangle of pixels, `top:bottom` and `left:right`."""

    top: int
    bottom: int
    left: int
    right: int


def mix(
    images: Float[Tensor, "b k h w"], targets: Float[Tensor, "b c"], settings: Mix, seed: int
) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b c"]]:
    """Every picture mixed with the one at its mirror place in the batch, and its targets in the same shares.

    The share of a pasted rectangle is its area inside the picture; the middle of an odd batch is its own partner.
    """
    return mix_drawn(images, targets, settings, np.random.RandomState(seed))


def mix_drawn(
    images: Float[Tensor, "b k h w"], targets: Float[Tensor, "b c"], settings: Mix, rng: np.random.RandomState
) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b c"]]:
    """`mix` with the draws taken from `rng`, in the order in which timm takes them."""
    if settings.mixup <= 0 and settings.cutmix <= 0:
        return images, targets
    num, (height, width) = len(images), images.shape[-2:]
    shares = draw_shares(rng, settings, {"batch": 1, "pair": num // 2, "elem": num}[settings.mode])
    own, boxes = shares.own.copy(), {}
    for i in np.flatnonzero(shares.pasted & (shares.own != 1)).tolist():
        boxes[i] = draw_box(rng, height, width, shares.own[i])
        own[i] = kept_share(boxes[i], height, width)
    averaged = np.where(shares.pasted, 1, own)
    return _mix_images(images, averaged, boxes, settings.mode), _average(targets, _per_picture(own, num, settings.mode))


def draw_shares(rng: np.random.RandomState, settings: Mix, num: int) -> Shares:
    """Shares for the batch (`settings.mode` is "batch": one of them) or for `num` pairs or pictures; 1 where nothing is mixed."""
    if settings.mode == "batch":
        if rng.rand() >= settings.prob:
            return Shares(np.ones(1), np.zeros(1, bool))
        pastes = settings.mixup <= 0 or (settings.cutmix > 0 and rng.rand() < settings.switch)
        alpha = settings.cutmix if pastes else settings.mixup
        return Shares(np.array([rng.beta(alpha, alpha)]), np.array([pastes]))
    both = settings.mixup > 0 and settings.cutmix > 0
    pasted = rng.rand(num) < settings.switch if both else np.full(num, settings.cutmix > 0)
    pasting, averaging = (rng.beta(alpha, alpha, size=num) if alpha > 0 else np.ones(num) for alpha in (settings.cutmix, settings.mixup))
    own = np.where(pasted, pasting, averaging)
    own = np.where(rng.rand(num) < settings.prob, own, 1).astype(np.float32)  # single precision moves the boxes as timm's
    return Shares(own, pasted)


def draw_box(rng: np.random.RandomState, height: int, width: int, own: float | np.floating) -> Box:
    """A rectangle of the picture's proportions and `1 - own` of its area, its centre anywhere, cut off at the border.

    Sides are rounded down to an even number, as in the authors' code and in timm when the recipes were trained; timm 1.0.31 does not.
    """
    side = np.sqrt(1 - own)
    half_height, half_width = int(height * side) // 2, int(width * side) // 2
    y, x = rng.randint(height), rng.randint(width)
    return Box(max(y - half_height, 0), min(y + half_height, height), max(x - half_width, 0), min(x + half_width, width))


def kept_share(box: Box, height: int, width: int) -> float:
    """Share of the picture outside the box."""
    return 1 - (box.bottom - box.top) * (box.right - box.left) / (height * width)


def _mix_images(images: Tensor, averaged: np.ndarray, boxes: dict[int, Box], mode: str) -> Tensor:
    num, mirror = len(images), images.flip(0)
    plain = (averaged == 1).all()
    mixed = images.clone() if plain else _average(images, _per_picture(averaged, num, mode))
    for i, box in boxes.items():
        rows = {"batch": slice(None), "pair": slice(i, num - i, max(1, num - 1 - 2 * i)), "elem": slice(i, i + 1)}[mode]
        inside = rows, slice(None), slice(box.top, box.bottom), slice(box.left, box.right)
        mixed[inside] = mirror[inside]
    return mixed


def _average(values: Tensor, own: np.ndarray) -> Tensor:
    share = torch.as_tensor(own, dtype=values.dtype, device=values.device)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return values * share + values.flip(0) * (1 - share)


def _per_picture(own: np.ndarray, num: int, mode: str) -> np.ndarray:
    """One share per picture, or one for all."""
    return np.concatenate([own, np.ones(num % 2, own.dtype), own[::-1]]) if mode == "pair" else own
