"""Digital: contrast, elastic warp, pixelation, JPEG, saturation."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from pellucid.data.corrupt import filters
from pellucid.data.corrupt.filters import Picture, Values
from pellucid.data.corrupt.levels import Level


def contrast(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Every channel drawn to its mean; nothing is drawn."""
    (kept,) = level
    means = reduce(image.long(), "c h w -> c 1 1", "sum") / image[0].numel()  # summed as integers: no order of summing matters
    return (image.float() - means).mul_(kept).add_(means)


def saturate(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Saturation scaled and shifted, hue and value kept; a grey pixel has the hue of red. Nothing is drawn."""
    factor, summand = level
    values = image.float()
    highest, lowest = values.amax(0), values.amin(0)
    spread = highest - lowest
    saturation = (spread / highest.clamp_min(1) * factor + summand).clamp_(0, 1)
    below = (highest - values) / spread.clamp_min(1)  # how far each channel lies from the highest: 0 to 1
    red_hue = rearrange(torch.tensor([0.0, 1.0, 1.0]), "c -> c 1 1")
    return highest * (1 - saturation * torch.where(spread > 0, below, red_hue))


def pixelate(image: Picture, level: Level, rng: np.random.Generator) -> Picture:
    """Boxes averaged and shown as large pixels; nothing is drawn."""
    (kept,) = level
    height, width = image.shape[-2:]
    small = to_pil(image).resize((int(width * kept), int(height * kept)), Image.Resampling.BOX)
    return from_pil(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(image: Picture, level: Level, rng: np.random.Generator) -> Picture:
    """The picture as it comes back from a JPEG file (Pillow's default subsampling); nothing is drawn."""
    file = io.BytesIO()
    to_pil(image).save(file, "JPEG", quality=int(level[0]))
    return from_pil(Image.open(file))


def elastic_transform(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """A random affine map, then a random smooth warp, each with linear interpolation."""
    strength, smoothness, reach = level
    height, width = image.shape[-2:]
    moves = rng.uniform(-reach, reach, (3, 2))
    warps = torch.from_numpy(2 * rng.random((2, height, width), dtype=np.float32) - 1)
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in (height, width))
    across, down = columns.expand(height, width), rearrange(rows, "h -> h 1").expand(height, width)
    back = torch.from_numpy(_affine_back(height, width, moves)).float()
    at = [back[i, 0] * across + back[i, 1] * down + back[i, 2] for i in (0, 1)]
    values = sampled(image.float(), at[0], at[1], corners=True)
    if not strength:
        return values
    shifts = filters.gaussian(warps, smoothness, truncate=3.0, border="reflect") * strength
    return sampled(values, across + shifts[0], down + shifts[1], corners=False)


def _affine_back(height: int, width: int, moves: np.ndarray) -> Float[np.ndarray, "2 3"]:
    """From a place (x, y) in the result to one in the picture, where three corners of a square went by `moves`."""
    centre, reach = np.array([width // 2, height // 2]), min(height, width) // 3
    corners = centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = np.c_[corners + moves, np.ones(3)]
    return np.linalg.solve(moved, corners).T


def sampled(image: Values, x: Float[Tensor, "h w"], y: Float[Tensor, "h w"], corners: bool) -> Values:
    """Linear interpolation at places in pixels; beyond the edge the picture is mirrored at its last pixel's centre, or at its rim."""
    height, width = image.shape[-2:]
    edge = 0 if corners else 1
    places = [(2 * at + edge) / (side - 1 + edge) - 1 for at, side in ((x, width), (y, height))]
    grid = rearrange(places, "xy h w -> 1 h w xy")
    return F.grid_sample(rearrange(image, "c h w -> 1 c h w"), grid, padding_mode="reflection", align_corners=corners)[0]


def to_pil(image: Picture) -> Image.Image:
    """The picture as Pillow holds it."""
    return Image.merge("RGB", [Image.fromarray(channel) for channel in image.numpy()])  # four times as fast as turning the axes


def from_pil(image: Image.Image) -> Picture:
    """An RGB picture of Pillow's."""
    return rearrange(torch.from_numpy(np.array(image)), "h w c -> c h w")
