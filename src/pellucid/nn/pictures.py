"""A network of pictures as a task's model: normalises, asks the network, leaves out classes that a test set does not have."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from einops import repeat
from torch import nn

from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD, TestView
from pellucid.nn.backbone import backbone, blocks_of
from pellucid.nn.pixels import Normalising
from pellucid.task import Batch, Output, Site

ABSENT = -1e4  # logit of a class that is not among those asked for: its probability is 0, and 0 times its logarithm is still 0


class PictureNetwork(Normalising):
    """Class logits of pictures in 0 to 255.

    Reads `picture` (b 3 h w, uint8, or float after mixing) and, where a test set has only some of the classes, `among_present` (b c).

    Args:
        net: normalised pictures to logits, as timm's models are.
        mean: of pixel values between 0 and 1, that the network was trained with.
    """

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__(mean, std)
        self.net = net
        self.patch_of_token = patches_of_tokens(net)

    def extras(self, num: int) -> Batch:
        """What a batch of so many pictures needs beside them to be explained: `patch_of_token` (b n) of a transformer."""
        if not self.patch_of_token:
            return {}
        return {"patch_of_token": repeat(torch.tensor(self.patch_of_token), "n -> b n", b=num)}

    def forward(self, batch: Batch) -> Output:
        """`logits` (b c)."""
        logits = self.net(self.pixels(self.normalised(batch["picture"])))
        if "among_present" in batch:
            logits = logits.masked_fill(~batch["among_present"], ABSENT)
        return {"logits": logits}


def patch_size(size: int, most: int = 14) -> int:
    """Side of the square patches that cut a picture of `size` into at most `most` rows, none cut short: 16 for 224, 4 for 32."""
    return next(p for p in range(1, size + 1) if size % p == 0 and size // p <= most)


@runtime_checkable
class NetworkSettings(Protocol):
    """What a task's settings say of its network."""

    @property
    def model(self) -> str:
        """A name that `backbone` knows."""

    @property
    def view(self) -> TestView:
        """The view that the network is measured by."""

    @property
    def drop_path(self) -> float:
        """Probability of leaving out the deepest residual branch."""

    @property
    def dropout(self) -> float:
        """Before the last layer."""

    @property
    def small_stem(self) -> bool:
        """Whether the stem keeps the resolution."""


def picture_network(settings: NetworkSettings, num_classes: int, pretrained: str) -> PictureNetwork:
    """The network that the settings name, behind the normalising that they say, or that it was pretrained with, or ImageNet's."""
    view = settings.view
    net = backbone(
        settings.model,
        num_classes,
        pretrained,
        drop_path=settings.drop_path,
        drop=settings.dropout,
        in_size=view.size,
        small_stem=settings.small_stem,
    )
    own = getattr(net, "pretrained_cfg", None) or {}
    model = PictureNetwork(net, view.mean or own.get("mean", IMAGENET_MEAN), view.std or own.get("std", IMAGENET_STD))
    return model.to(memory_format=torch.channels_last)


def sites_of(model: PictureNetwork, size: int) -> dict[str, Site]:
    """`input` (square patches of pixels), and each block of the network: feature maps, or tokens that stand for patches."""
    patch = patch_size(size)
    found = {"input": Site("pixels", "b c (h p) (w q)", unit="c p q", axes={"p": patch, "q": patch}, picture="picture")}
    for name, block in blocks_of(model.net).items():
        module = f"net.{block.module}"
        if block.layout != "b n d":
            found[name] = Site(module, block.layout, picture="picture")
        elif model.patch_of_token:
            found[name] = Site(module, block.layout, picture="picture", groups="patch_of_token", grid=grid_of(model.net))
    return found


def grid_of(net: nn.Module) -> tuple[int, ...]:
    """Rows and columns of a transformer's patches; empty where it does not keep one token for each through all blocks."""
    return tuple(getattr(getattr(net, "patch_embed", None), "grid_size", None) or ())


def patches_of_tokens(net: nn.Module) -> list[int]:
    """Patch of each token of a transformer, -1 for class and register tokens; empty for other networks."""
    blocks, grid = list(blocks_of(net).values()), grid_of(net)
    if not blocks or blocks[0].layout != "b n d" or not grid:
        return []
    return [-1] * blocks[0].prefix + list(range(math.prod(grid)))
