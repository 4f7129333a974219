"""ResNets as detectors use them: four maps instead of one row, norms that do not move, padding that does not leak.

Names of modules are torchvision's, so that ImageNet weights and those of published detectors fit.
"""

from collections.abc import Sequence
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

Present = Bool[Tensor, "b h w"]


class FrozenNorm(nn.Module):
    """A batch norm whose statistics and weights stay as they were pretrained; none of them is a parameter.

    `scale` and `shift` say what it does to a channel, so that the convolution before it can do it in passing.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def factors(self) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """Scale and shift of each channel."""
        weight, bias = cast(Tensor, self.weight), cast(Tensor, self.bias)
        scale = weight * (cast(Tensor, self.running_var) + self.eps).rsqrt()
        return scale, bias - cast(Tensor, self.running_mean) * scale

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """The map, scaled and shifted."""
        scale, shift = (rearrange(v, "d -> d 1 1") for v in self.factors())
        return x * scale + shift


class GroupNorm(nn.GroupNorm):
    """Groups of eight channels or more, for networks trained from scratch on few pictures."""

    def __init__(self, channels: int, groups: int = 0):
        super().__init__(groups or max(1, min(8, channels // 8)), channels)

    def forward(self, x: Float[Tensor, "b d h w"], present: Present | None = None) -> Float[Tensor, "b d h w"]:
        """The map with each group of channels brought to mean 0 and variance 1, both counted over real cells where it is told which."""
        if present is None:
            return super().forward(x)
        real = rearrange(present, "b h w -> b 1 1 h w")
        grouped = rearrange(x, "b (g d) h w -> b g d h w", g=self.num_groups)
        count = real.sum((2, 3, 4), keepdim=True) * grouped.shape[2]
        centred = grouped - (grouped * real).sum((2, 3, 4), keepdim=True) / count
        spread = (centred.square() * real).sum((2, 3, 4), keepdim=True) / count
        normed = rearrange(centred * (spread + self.eps).rsqrt(), "b g d h w -> b (g d) h w")
        return normed * rearrange(self.weight, "d -> d 1 1") + rearrange(self.bias, "d -> d 1 1")


class BatchNorm(nn.BatchNorm2d):
    """A batch norm that learns; its statistics are of whole maps, whatever is padded."""

    def forward(self, x: Float[Tensor, "b d h w"], present: Present | None = None) -> Float[Tensor, "b d h w"]:
        """The map with each channel brought to mean 0 and variance 1, by this batch while training and by all of them after."""
        return super().forward(x)


NORMS = {"frozen": FrozenNorm, "group": GroupNorm, "batch": BatchNorm}


def convolve(conv: nn.Conv2d, norm: nn.Module, x: Tensor, present: Present | None = None) -> Tensor:
    """The norm of the convolution; a frozen norm is folded into the convolution's weights, which saves a pass over the map.

    Args:
        present: real cells of the result.
    """
    if not isinstance(norm, FrozenNorm):
        return norm(conv(x), present)
    scale, shift = norm.factors()
    weight = conv.weight * rearrange(scale, "o -> o 1 1 1")
    return F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation)


class Block(nn.Module):
    """A residual block: two 3 x 3 convolutions, or 1 x 1, 3 x 3, 1 x 1 of which the middle one strides (ResNet v1.5)."""

    def __init__(self, channels: tuple[int, int], bottleneck: bool, stride: int, dilation: int, norm: str):
        super().__init__()
        inside, width, make = channels[0], channels[1], NORMS[norm]
        out = width * 4 if bottleneck else width
        if bottleneck:
            self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
            self.conv3: nn.Conv2d | None = nn.Conv2d(width, out, 1, bias=False)
            self.bn3: nn.Module | None = make(out)
        else:
            self.conv1 = nn.Conv2d(inside, width, 3, stride, dilation, dilation, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
            self.conv3 = self.bn3 = None
        self.bn1, self.bn2 = make(width), make(width)
        fits = stride == 1 and inside == out
        self.downsample = None if fits else nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), make(out))

    def forward(
        self, x: Float[Tensor, "b d h w"], present: Present | None
    ) -> tuple[Float[Tensor, "b e i j"], Bool[Tensor, "b i j"] | None]:
        """The next map and which of its cells are real."""
        fewer = halved(present) if self.downsample is not None and self._stride() == 2 else present
        shortcut = x if self.downsample is None else convolve(cast(nn.Conv2d, self.downsample[0]), self.downsample[1], x, fewer)
        if self.conv3 is None:
            y = convolve(self.conv1, self.bn1, zeroed(x, present), fewer).relu_()
            y = convolve(self.conv2, self.bn2, zeroed(y, fewer), fewer)
        else:
            y = convolve(self.conv1, self.bn1, x, present).relu_()
            y = convolve(self.conv2, self.bn2, zeroed(y, present), fewer).relu_()
            y = convolve(self.conv3, cast(nn.Module, self.bn3), y, fewer)
        return (y + shortcut).relu_(), fewer

    def _stride(self) -> int:
        return (self.conv1 if self.conv3 is None else self.conv2).stride[0]


class ResNet(nn.Module):
    """The maps of all four stages.

    Args:
        blocks: of each stage.
        widths: of each stage's 3 x 3 convolutions; a bottleneck's map has four times as many channels.
        stem: channels after the first convolution.
        norm: `frozen`; `batch`, which trains; or `group` for training from scratch on small batches.
        dilate: the last stage keeps the resolution and spreads its convolutions instead (DC5).
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        stem: int = 64,
        bottleneck: bool = True,
        norm: str = "frozen",
        dilate: bool = False,
    ):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False), NORMS[norm](stem)
        self.channels = tuple(width * (4 if bottleneck else 1) for width in widths)
        self.stride = 16 if dilate else 32
        inside = stem
        for stage, (num, width) in enumerate(zip(blocks, widths, strict=True), 1):
            spread = dilate and stage == len(widths)
            stride = 1 if stage == 1 or spread else 2
            rest = 2 if spread else 1  # the first block keeps the dilation of the stage before, as in torchvision
            first = Block((inside, width), bottleneck, stride, 1, norm)
            inside = self.channels[stage - 1]
            others = [Block((inside, width), bottleneck, 1, rest, norm) for _ in range(num - 1)]
            self.add_module(f"layer{stage}", nn.ModuleList([first, *others]))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Float[Tensor, "b 3 h w"], present: Present | None = None) -> list[Float[Tensor, "b _ _ _"]]:
        """The maps of the four stages, at a fourth to a thirty-second of the side.

        Args:
            present: true at real pixels. Given, what lies beside a picture is made zero before every convolution that would see it,
                so that a picture alone and the same one in a padded batch give the same.
        Differs: the authors' maps depend on how far a picture is padded; None does the same.
        """
        mask = None if present is None or bool_all(present) else present
        fewer = halved(mask)
        x, mask = convolve(self.conv1, self.bn1, zeroed(image, mask), fewer).relu_(), fewer
        x, mask = F.max_pool2d(zeroed(x, mask), 3, 2, 1), halved(mask)
        maps = []
        for stage in range(1, 5):
            for block in cast(nn.ModuleList, getattr(self, f"layer{stage}")):
                x, mask = block(x, mask)
            x = zeroed(x, mask)
            maps.append(x)
        return maps

    def freeze(self, all_of_it: bool = False) -> None:
        """Takes stem and first stage, or all of it, out of training, as DETR does with pretrained weights."""
        for name, parameter in self.named_parameters():
            if all_of_it or name.startswith(("conv1.", "bn1.", "layer1.")):
                parameter.requires_grad_(False)


def bool_all(present: Present) -> bool:
    """Whether nothing is padded; while a graph is traced, something may always be."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing()) and bool(present.all())


def halved(present: Bool[Tensor, "b y x"] | None) -> Bool[Tensor, "b h w"] | None:
    """Which cells are real after a stride of 2: those whose first pixel is."""
    return None if present is None else present[:, ::2, ::2]


def zeroed(x: Float[Tensor, "b d h w"], present: Present | None) -> Float[Tensor, "b d h w"]:
    """The map with zeros outside the pictures."""
    return x if present is None else x * rearrange(present, "b h w -> b 1 h w")


def reduced(present: Bool[Tensor, "b y x"], cells: Float[Tensor, "b e h w"]) -> Bool[Tensor, "b h w"]:
    """Which cells of a smaller map are real: those whose first pixel is.

    Source: nearest-neighbour interpolation, as the authors do it.
    """
    height, width = cells.shape[-2:]
    rows = torch.arange(height, device=present.device) * present.shape[1] // height
    columns = torch.arange(width, device=present.device) * present.shape[2] // width
    return present[:, rows][:, :, columns]


_NAMED: dict[str, tuple[tuple[int, ...], bool]] = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
TINY = "resnet_tiny"
NAMES = (*_NAMED, TINY)


def resnet(name: str, dilate: bool = False) -> ResNet:
    """The network of that name with fresh weights; `resnet_tiny` has group norms and 16 to 48 wide bottlenecks.

    Raises:
        KeyError: none of `NAMES`.
    """
    if name == TINY:
        return ResNet((1, 1, 1, 2), (16, 24, 32, 48), 16, norm="group", dilate=dilate)
    blocks, bottleneck = _NAMED[name]
    return ResNet(blocks, bottleneck=bottleneck, dilate=dilate)
