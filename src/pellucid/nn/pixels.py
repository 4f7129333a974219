"""The values of pixels as a network takes them."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn


def factors(mean: Sequence[float], std: Sequence[float]) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Scale and shift by which values from 0 to 255 become `(value / 255 - mean) / std`."""
    return torch.tensor([1 / (255 * s) for s in std]), torch.tensor([-m / s for m, s in zip(mean, std, strict=True)])


def pixels(pictures: Shaped[Tensor, "b c h w"], scale: Float[Tensor, " c"], shift: Float[Tensor, " c"]) -> Float[Tensor, "b c h w"]:
    """`value * scale + shift` per channel, in memory as `b h w c` (channels_last), on which convolutions are fastest."""
    b, c, h, w = pictures.shape
    if pictures.dtype != torch.uint8 or pictures.device.type != "cpu" or torch.compiler.is_compiling():
        flat = pictures.to(torch.float32, memory_format=torch.channels_last)
        return flat * rearrange(scale, "c -> c 1 1") + rearrange(shift, "c -> c 1 1")
    rows = rearrange(pictures.contiguous(memory_format=torch.channels_last), "b c h w -> b h (w c)")
    # one row's worth of factors: torch is slow where it must repeat a few numbers
    scales, shifts = scale.repeat(w), shift.repeat(w)
    # numpy asks for large memory in large pages; in torch's small ones, handing it out takes five times as long as filling it
    floats = torch.from_numpy(np.empty((b, h, w * c), np.float32))
    for target, row in zip(floats, rows, strict=True):  # one picture at a time stays in the cache
        target.copy_(row).mul_(scales).add_(shifts)
    return rearrange(floats, "b h (w c) -> b c h w", c=c)


class Normalising(nn.Module):
    """A model that is given pixels from 0 to 255; at `pixels` they can be read and replaced as its network takes them.

    Args:
        mean: of pixel values between 0 and 1, that the network was trained with.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.pixels = nn.Identity()
        for name, value in zip(("scale", "shift"), factors(mean, std), strict=True):
            self.register_buffer(name, value, persistent=False)

    def normalised(self, picture: Shaped[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The pictures as the network takes them."""
        return pixels(picture, cast(Tensor, self.scale), cast(Tensor, self.shift))
