"""Weather: snow, frost, fog, brightness."""

import math

import numpy as np
import torch
from einops import rearrange

from pellucid.data.corrupt import filters, ice
from pellucid.data.corrupt.filters import Picture, Values
from pellucid.data.corrupt.levels import Level

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in grey


def snow(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Driven flakes, and the same turned upside down, over a whitened picture."""
    mean, deviation, zoom, threshold, radius, sigma, kept = level
    values, (height, width) = image.float(), image.shape[-2:]
    inner = [math.ceil(side / zoom) for side in (height, width)]  # only the middle of the field survives the zoom
    field = torch.from_numpy(rng.standard_normal((1, *inner), dtype=np.float32)).mul_(deviation).add_(mean)
    field = filters.trimmed(filters.enlarged(field, zoom), height, width)
    flakes = filters.cut(field.masked_fill(field < threshold, 0.0).clamp(0, 1) * 255).float()
    flakes = filters.smeared(flakes, radius, sigma, rng.uniform(-135, -45)).round_()
    white = rearrange(torch.tensor(LUMA), "c -> c 1 1").mul(values).sum(0) * 1.5 + 127.5
    whitened = kept * values + (1 - kept) * torch.maximum(values, white)
    return whitened + flakes + flakes.flip(-1, -2)


def frost(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """A cut-out, drawn at random, of one of five sheets of ice.

    Differs: the authors ship photographs of ice; our sheets are computed, with the colours and contrast of theirs.
    """
    weight, ice_weight, scale = level
    sheet = ice.sheet(int(rng.integers(ice.SHEETS)), scale)
    height, width = image.shape[-2:]
    top, left = (int(rng.integers(side)) for side in sheet.shape[-2:])
    rows, columns = (
        (torch.arange(n) + start) % side for n, start, side in zip((height, width), (top, left), sheet.shape[-2:], strict=True)
    )
    return image.float().mul_(weight).add_(sheet[:, rows][:, :, columns], alpha=ice_weight)


def fog(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Clouds added, and the whole drawn back to the brightest value there was."""
    thickness, decay = level
    height, width = image.shape[-2:]
    heights = filters.plasma(2 ** math.ceil(math.log2(max(height, width))), decay, rng)[:height, :width]
    brightest = float(image.max()) / 255
    clouds = torch.from_numpy(heights).float() * (255 * thickness)
    return (image.float() + clouds) * (brightest / (brightest + thickness))


def brightness(image: Picture, level: Level, rng: np.random.Generator) -> Values:
    """Value raised, hue and saturation kept: all three channels grow in proportion. Nothing is drawn."""
    (raised,) = level
    values = image.float()
    highest = values.amax(0)
    wanted = (highest + 255 * raised).clamp_(max=255)
    return torch.where(highest > 0, values * (wanted / highest.clamp_min(1)), wanted)
