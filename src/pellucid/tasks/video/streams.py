"""The networks that local features come from: asked about one picture each, be it a frame, a stack of optical flow or a piece of sound."""

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.errors import BadUsage
from pellucid.nn.backbone import backbone
from pellucid.nn.pixels import factors, pixels
from pellucid.tasks.video.settings import Stream
from pellucid.tasks.video.views import STILL, num_frames

DIGIT_NET = "digit-net"


class LocalFeatures(nn.Module):
    """A row of numbers for each picture of values in 0 to 255: what the network has before its head.

    It stays in eval mode whatever it is told, unless its weights learn.

    Args:
        net: pictures, normalised if `mean` says how, to rows.
        width: numbers in a row.
        mean: of values between 0 and 1, one per channel; empty where the network normalises by itself.
    """

    def __init__(self, net: nn.Module, width: int, mean: Sequence[float] = (), std: Sequence[float] = ()):
        super().__init__()
        self.net, self.width = net, width
        scale, shift = factors(mean, std) if mean else (None, None)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.eval()

    def forward(self, frames: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """The rows."""
        if not len(frames):
            return torch.zeros(0, self.width, device=frames.device)
        normalised = frames if self.scale is None else pixels(frames, cast(Tensor, self.scale), cast(Tensor, self.shift))
        return self.net(normalised)

    def train(self, mode: bool = True) -> "LocalFeatures":
        """Training mode only where a weight learns."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))


def stream(name: str, settings: Stream) -> LocalFeatures:
    """The network that the settings name, with its weights, for pictures of that modality; frozen.

    Raises:
        BadUsage: no such modality, network or weights; or a mean of as many numbers as the pictures have no channels.
        BadData: the weights do not fit, or cannot be had.
    """
    if name not in ("rgb", "flow", "audio"):
        raise BadUsage(f"task.streams.{name}: no such modality of a clip; there are rgb, flow, audio")
    if settings.model == DIGIT_NET:
        return _digit_stream(name, settings)
    channels = num_channels(name, settings)
    size = None if name == "audio" else settings.view.size
    net = backbone(settings.model, 0, settings.pretrained, in_chans=channels, in_size=size)
    mean, std = _pixel_values(name, settings, getattr(net, "pretrained_cfg", None) or {})
    width = _width(net, torch.zeros(picture_shape(name, settings)), settings)
    made = LocalFeatures(net.to(memory_format=torch.channels_last), width, mean, std)
    return made.requires_grad_(False).eval()


def num_channels(name: str, settings: Stream) -> int:
    """Channels of the pictures that the network sees."""
    return {"rgb": 3, "flow": 2 * settings.stack, "audio": 1}[name]


def picture_shape(name: str, settings: Stream) -> tuple[int, int, int]:
    """Channels, height and width of the pictures that the network sees."""
    size = settings.view.size
    height, width = (settings.mels, num_frames(settings.window_s)) if name == "audio" else (size, size)
    return num_channels(name, settings), height, width


def weights_sha256(stream: nn.Module) -> str:
    """Of all that makes its numbers: weights, statistics, and how pixels are normalised."""
    found = hashlib.sha256()
    for name, tensor in sorted({**dict(stream.named_parameters()), **dict(stream.named_buffers())}.items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name} {values.dtype} {tuple(values.shape)}\0".encode())
        found.update(np.ascontiguousarray(values.float().numpy() if values.is_floating_point() else values.numpy()).tobytes())
    return found.hexdigest()


def _digit_stream(name: str, settings: Stream) -> LocalFeatures:
    if name != "rgb":
        raise BadUsage(f"task.streams.{name}.model={DIGIT_NET}: it reads digits in frames; only rgb can have it")
    from pellucid.tasks.video.digit_net import DigitNet, digit_net

    net = digit_net(settings.pretrained) if settings.pretrained else DigitNet(settings.view.size)
    black = torch.zeros(picture_shape(name, settings), dtype=torch.uint8)
    return LocalFeatures(net, _width(net, black, settings)).requires_grad_(False).eval()


def _pixel_values(name: str, settings: Stream, own: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Mean and spread per channel: of the view, else of the network, whose channels are averaged where ours are others.

    Differs: TSN takes 128 from flow and leaves its scale; here a picture of flow is spread as the network's own pictures are.
    """
    channels, view = num_channels(name, settings), settings.view
    found = []
    for key, given, usual in (("mean", view.mean, IMAGENET_MEAN), ("std", view.std, IMAGENET_STD)):
        told = tuple(given) or tuple(own.get(key) or usual)
        if given and len(given) not in (1, channels):
            raise BadUsage(f"task.streams.{name}.view.{key}: {len(given)} numbers for {channels} channels; give 1 or {channels}")
        if not given and name != "rgb":
            told = (STILL / 255,) if (name, key) == ("flow", "mean") else (sum(told) / len(told),)
        found.append(list(told) if len(told) == channels else list(told) * channels)
    return found[0], found[1]


def _width(net: nn.Module, black: Shaped[Tensor, "c h w"], settings: Stream) -> int:
    """Numbers of a row, by asking for one: networks tell it under several names, and not all of them."""
    with torch.no_grad():
        try:
            found = net.eval()(rearrange(black, "c h w -> 1 c h w"))
        except (AssertionError, RuntimeError) as error:
            told = " ".join(str(error).split())[:160]
            raise BadUsage(f"network {settings.model!r} cannot see pictures of {' x '.join(map(str, black.shape))} ({told})") from None
    if found.ndim != 2:
        raise BadUsage(f"network {settings.model!r} gives {tuple(found.shape)} for a picture, where one row of numbers is needed")
    return found.shape[1]
