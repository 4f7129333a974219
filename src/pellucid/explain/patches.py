"""Units that lie on a grid over a picture: where each lies, larger blocks of them, and the picture in few bytes."""

import base64
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain.probe import Probe

LARGEST = 224  # pixels of the longer side of a picture that a record holds
QUALITY = 88  # of JPEG


def places(probe: Probe) -> Int[Tensor, "b n a"] | None:
    """Where each unit, or the group it is in, stands along every axis of the grid, -1 for padding and units in no group; None where
    units lie in one row.
    """
    if len(probe.grid) < 2:
        return None
    axes = torch.cartesian_prod(*(torch.arange(size, device=probe.present.device) for size in probe.grid))
    if probe.groups is None:
        found, real = axes.expand(len(probe.present), *axes.shape), probe.present
    else:
        found, real = axes[probe.groups.clamp_min(0).long()], probe.present & (probe.groups >= 0)
    return found.where(real[..., None], -1)


def in_blocks(probe: Probe, size: int) -> Probe:
    """The same question, of square blocks of `size` x `size` units that are removed as one; those at the far edges may be smaller.

    Raises:
        BadUsage: units do not lie on a grid of rows and columns.
    """
    if size == 1:
        return probe
    found = places(probe)
    if found is None or len(probe.grid) != 2 or size < 1:
        raise BadUsage(f"block={size}: blocks are of units in rows and columns, at a picture's site, and at least 1 wide")
    rows, columns = (-(-side // size) for side in probe.grid)
    block = found.div(size, rounding_mode="floor")
    groups = (block[..., 0] * columns + block[..., 1]).where(found[..., 0] >= 0, -1)
    return dataclasses.replace(probe, groups=groups, grid=(rows, columns), names=None)


@dataclass(frozen=True)
class Ground:
    """What the units of one example lie over.

    Args:
        grid: rows and columns of its units, padding left out.
        span: height and width of that grid as shares of the picture's without padding: above 1 where the last patches reach over.
        size: height and width of the picture without padding, in pixels of the batch.
    """

    grid: tuple[int, ...]
    span: tuple[float, float] = (1.0, 1.0)
    size: tuple[int, int] = (0, 0)


def grounds(probe: Probe, pixels: Bool[Tensor, "b h w"] | None = None) -> list[Ground]:
    """One for each example; pictures are padded below and to the right.

    Args:
        pixels: which of them are a picture's; None if all are.
    """
    if probe.pictures is None or len(probe.grid) != 2:
        return [Ground(probe.grid)] * len(probe.present)
    tall, wide = probe.pictures.shape[2:]
    kept = probe.pictures.new_ones(len(probe.pictures), tall, wide, dtype=torch.bool) if pixels is None else pixels
    heights, widths = kept.any(2).sum(1).tolist(), kept.any(1).sum(1).tolist()
    return [_ground(probe, i, (height, width)) for i, (height, width) in enumerate(zip(heights, widths, strict=True))]


def _ground(probe: Probe, i: int, size: tuple[int, int]) -> Ground:
    (rows, columns), (tall, wide) = probe.grid, probe.pictures.shape[2:]  # type: ignore[union-attr]
    if probe.groups is not None or len(probe.present[i]) != rows * columns:
        down, across = _covered(probe, i, size)
        return Ground((down, across), (down * tall / rows / size[0], across * wide / columns / size[1]), size)
    real = rearrange(probe.present[i], "(h w) -> h w", h=rows)
    down, across = int(real.any(1).sum()), int(real.any(0).sum())
    assert int(real.sum()) == down * across and bool(real[:down, :across].all()), "padding lies below and to the right"
    return Ground((down, across), (down * tall / rows / size[0], across * wide / columns / size[1]), size)


def _covered(probe: Probe, i: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the grid that lie over the picture; all of them where a group below or to the right of it has units."""
    (rows, columns), (tall, wide) = probe.grid, probe.pictures.shape[2:]  # type: ignore[union-attr]
    down, across = -(-rows * size[0] // tall), -(-columns * size[1] // wide)
    at = places(probe)
    if probe.groups is None or at is None:
        return rows, columns
    low, right = (at[i].amax(0) + 1).tolist()
    return (down, across) if low <= down and right <= across else (rows, columns)


Told = tuple[list[str], list[float]]


def over(told: Sequence[Told], probe: Probe, found: Sequence[Ground]) -> list[Told]:
    """Words and relevance of each example, without the groups of units that lie beyond its picture."""
    return [_over(words, values, probe, ground.grid) for (words, values), ground in zip(told, found, strict=True)]


def _over(words: list[str], values: list[float], probe: Probe, grid: tuple[int, ...]) -> Told:
    if probe.groups is None or grid == probe.grid:
        return words, values
    kept = [i for i in range(len(words)) if i // probe.grid[1] < grid[0] and i % probe.grid[1] < grid[1]]
    return [words[i] for i in kept], [values[i] for i in kept]


def encoded(picture: UInt8[Tensor, "3 h w"], largest: int = LARGEST, quality: int = QUALITY) -> str:
    """The picture as a data URI, its longer side at most `largest` pixels: PNG where that is hardly more, else JPEG.

    Args:
        quality: of JPEG; below 80 colours, too, are kept in half the detail.
    """
    from PIL import Image

    image = Image.fromarray(rearrange(picture, "c h w -> h w c").cpu().contiguous().numpy())
    if max(image.size) > largest:
        image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    files = {}
    for kind, settings in (("png", {"optimize": True}), ("jpeg", {"quality": quality, "subsampling": 0 if quality >= 80 else 2})):
        into = io.BytesIO()
        image.save(into, kind, **settings)
        files[kind] = into.getvalue()
    kind = "png" if len(files["png"]) < max(4096, 1.2 * len(files["jpeg"])) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(files[kind]).decode()}"
