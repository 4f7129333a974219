"""A coarse map and a finer one made into one; and several maps made into one segmentation."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.nn.resnet import NORMS

Maps = Sequence[Float[Tensor, "b _ _ _"]]


def conv_norm(inside: int, out: int, kernel: int, norm: str, bias: bool = False, relu: bool = True) -> nn.Sequential:
    """A convolution that keeps the size, its norm, and a ReLU unless told otherwise."""
    layers = [nn.Conv2d(inside, out, kernel, padding=kernel // 2, bias=bias), NORMS[norm](out)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def resized(x: Float[Tensor, "b d h w"], size: Sequence[int | torch.SymInt], align_corners: bool = False) -> Float[Tensor, "b d y x"]:
    """The map at another size, bilinearly."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=align_corners)  # type: ignore[arg-type]


class Residual(nn.Module):
    """A bottleneck that may change the width: 1 x 1, 3 x 3 and 1 x 1 beside one 1 x 1, a norm after each, their sum rectified."""

    def __init__(self, inside: int, inner: int, out: int, norm: str):
        super().__init__()
        self.shortcut = conv_norm(inside, out, 1, norm, relu=False)
        self.residual = nn.Sequential(
            conv_norm(inside, inner, 1, norm), conv_norm(inner, inner, 3, norm), conv_norm(inner, out, 1, norm, relu=False)
        )

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b e h w"]:
        """The map in its new width."""
        return (self.shortcut(x) + self.residual(x)).relu()


class PairFusion(nn.Module):
    """A coarse map, enlarged, beside a finer one of the encoder, through a bottleneck (PairNet).

    Args:
        deep: channels of the coarse map.
        skip: of the finer one.
        inner: of the bottleneck's 3 x 3 convolution.
    """

    def __init__(self, deep: int, skip: int, width: int, inner: int, norm: str):
        super().__init__()
        self.mix = Residual(deep + skip, inner, width, norm)

    def forward(self, deep: Float[Tensor, "b d h w"], skip: Float[Tensor, "b e y x"]) -> Float[Tensor, "b f y x"]:
        """One map at the finer one's size."""
        return self.mix(torch.cat([resized(deep, skip.shape[-2:]), skip], 1))


class AttentionFusion(nn.Module):
    """The same, but the coarse map, which knows what is there, says how much each channel of the finer one counts (ASF).

    Args:
        ratio: how many times narrower the gate is inside.
    """

    def __init__(self, deep: int, skip: int, width: int, inner: int, norm: str, ratio: int):
        super().__init__()
        self.deep, self.skip = conv_norm(deep, width, 1, norm), conv_norm(skip, width, 3, norm)
        narrow = max(1, width // ratio)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, width, 1), nn.Sigmoid()
        )
        self.mix = Residual(2 * width, inner, width, norm)

    def forward(self, deep: Float[Tensor, "b d h w"], skip: Float[Tensor, "b e y x"]) -> Float[Tensor, "b f y x"]:
        """One map at the finer one's size."""
        known = self.deep(resized(deep, skip.shape[-2:]))
        return self.mix(torch.cat([known, self.gate(known) * self.skip(skip)], 1))


class FusedMaps(nn.Module):
    """One segmentation out of several maps, at one size (MFS).

    Args:
        narrow: channels that each map is brought to first, as in BlitzNet; 0 leaves them as they are.
    """

    def __init__(self, num_maps: int, width: int, num_classes: int, narrow: int = 0, align_corners: bool = False):
        super().__init__()
        self.align_corners = align_corners
        self.narrow = nn.ModuleList(nn.Conv2d(width, narrow, 1) if narrow else nn.Identity() for _ in range(num_maps))
        self.classify = nn.Conv2d(num_maps * (narrow or width), num_classes, 3, padding=1)

    def forward(self, maps: Maps, size: Sequence[int | torch.SymInt]) -> Float[Tensor, "b c y x"]:
        """Logits of each cell."""
        narrowed = [narrow(x) for narrow, x in zip(self.narrow, maps, strict=True)]
        return self.classify(torch.cat([resized(x, size, self.align_corners) for x in narrowed], 1))
