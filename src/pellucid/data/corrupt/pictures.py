"""Corrupted copies of pictures. A copy depends on its pixels, its seed, the kind and the severity, and on nothing else."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from pellucid.data.corrupt import blur, digital, filters, noise, spatter, weather
from pellucid.data.corrupt.levels import PICTURES, Level, nearest_size
from pellucid.data.corrupt.names import chosen, stream

APPLY: Mapping[str, Callable[[Tensor, Level, np.random.Generator], Tensor]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": spatter.spatter,
    "saturate": digital.saturate,
}


def corrupt_images(images: UInt8[Tensor, "b 3 h w"], kind: str, severity: int, seeds: Sequence[int]) -> UInt8[Tensor, "b 3 h w"]:
    """Corrupted copies, on the device of the pictures; computed on the CPU, one picture at a time.

    The severity's numbers are those published for 224, 64 or 32 pixels, whichever side is nearest in ratio to the shorter one here.

    Args:
        kind: one of the 15 + 4 in `PICTURES`.
        seeds: one per picture.
    Raises:
        BadUsage: no such kind or severity.
        ValueError: pictures under 32 pixels, or another number of seeds.
    """
    corruption = chosen(PICTURES, "image", kind, severity)
    if len(seeds) != len(images):
        raise ValueError(f"{len(seeds)} seeds for {len(images)} pictures; give one each")
    level = corruption.levels[nearest_size(*images.shape[-2:])][severity - 1]
    found = torch.empty_like(images, device="cpu")
    with one_thread():
        for i, (image, seed) in enumerate(zip(images.cpu(), seeds, strict=True)):
            copy = APPLY[kind](image.contiguous(), level, stream(seed, kind, severity))
            found[i] = copy if copy.dtype == torch.uint8 else filters.cut(copy)
    return found.to(images.device)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Where work is cut among threads moves the last bits of what torch interpolates; a loader's workers have one thread anyway."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
