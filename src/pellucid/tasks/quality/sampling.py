"""Where a picture and its reference are looked at: places for patches, drawn once and shared by both, and the patches there.

Source: Chubarau and Clark 2021, arXiv 2110.01655, and its code of 2021 (`saliency`) and 2024 (the rest). With numpy's `RandomState`, draws
are those of the published code.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Float32, Int, Int64, UInt8
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.tasks.quality.data import Pair
from pellucid.tasks.quality.settings import Sampling, VitShape

Rng = np.random.Generator | np.random.RandomState
Size = tuple[int, int]
CENTRE_STD = 0.25  # of the picture's sides
BAND = 32  # rows
NO_DIFFERENCE = 1e-6  # a sum below it says that the pictures are the same
Origins = Float[np.ndarray, "n 2"]  # down and across, of the first pixel, before fractions are cut off


@dataclass(frozen=True)
class Patches:
    """Patches of the pictures of a pair, taken at the same places, finest scale first; pixels from 0 to 255.

    Args:
        position: down and across, as the transformer is told: in [0, 1), of the 2021 layout in [-1, 1].
        scale_index: how often the picture was halved before.
        origin: first row and column, in pixels of the halved picture.
        centre: where the middle of each patch lies in the picture, in [0, 1).
        other: of the second picture of a preference.
    """

    reference: Float32[Tensor, "n 3 p p"]
    image: Float32[Tensor, "n 3 p p"]
    position: Float32[Tensor, "n 2"]
    scale_index: Int64[Tensor, " n"]
    origin: Int64[Tensor, "n 2"]
    centre: Float32[Tensor, "n 2"]
    other: Float32[Tensor, "n 3 p p"] | None = None


def smallest(how: Sampling, shape: VitShape) -> int:
    """The least side in pixels that a picture needs; a picture too small for its coarser scales is seen at fewer."""
    return shape.patch


def sample(pair: Pair, how: Sampling, shape: VitShape, num: int, rng: Rng) -> Patches:
    """`num` patches of each picture of a pair.

    Differs: the 2021 code lets differences of bytes wrap around, and looks for them in pictures that it has not mirrored.
    """
    height, width = pair.reference.shape[1:]
    assert num > 0 and min(height, width) >= shape.patch, f"{num} patches of {shape.patch} px in {height} x {width}"
    change = difference(pair) if how.mode != "grid" and how.difference else None
    found, positions, scales = [], [], []
    for scale, count in enumerate(reversed(counts_for((height, width), how, shape, num))):
        size = (height >> scale, width >> scale)
        if scale and change is not None:
            change = reduce(change[: 2 * size[0], : 2 * size[1]], "(h p) (w q) -> h w", "mean", p=2, q=2)
        drawn = _origins(size, how, shape.patch, count, change, rng)
        found.append(torch.from_numpy(drawn.astype(np.int64)))
        positions.append(position_of(drawn, size, shape))
        scales.append(torch.full((count,), scale))
    origin, scale_index = torch.cat(found), torch.cat(scales)
    middle = (origin + shape.patch / 2) * rearrange(2**scale_index, "n -> n 1") / torch.tensor([height, width])
    taken = [None if p is None else take(p, origin, scale_index, shape.patch) for p in pair]
    assert taken[0] is not None and taken[1] is not None
    return Patches(taken[0], taken[1], torch.cat(positions), scale_index, origin, middle.float(), taken[2])


def take(
    picture: UInt8[Tensor, "3 h w"], origin: Int[Tensor, "n 2"], scale_index: Int[Tensor, " n"], patch: int
) -> Float32[Tensor, "n 3 p p"]:
    """The patches of a picture at these places, those of one scale together, finest first.

    A patch of a picture that was halved `scale_index` times is the mean of what it covers in the picture itself; nothing else is
    converted, halved or copied.
    """
    found = []
    for scale in range(int(scale_index.max()) + 1):
        side, (down, across) = patch << scale, (origin[scale_index == scale] << scale).T.numpy()
        # numpy copies rows of a patch whole, which torch's indexing does not
        windows = rearrange(sliding_window_view(picture.numpy(), (side, side), (1, 2)), "c h w p q -> h w c p q")
        chosen = windows[down, across].astype(np.float32)
        if scale:
            rows = reduce(chosen, "n c (p s) q -> n c p q", "mean", s=1 << scale)
            chosen = reduce(rows, "n c p (q s) -> n c p q", "mean", s=1 << scale)
        found.append(torch.from_numpy(chosen))
    return torch.cat(found) if len(found) > 1 else found[0]


# ---- scales ----------------------------------------------------------------------------------------------------------


def counts_for(size: Size, how: Sampling, shape: VitShape, num: int) -> list[int]:
    """How many patches at each scale that the picture can be seen at, coarsest first.

    Differs: where so few patches are asked for that the finest scale would not get most of them, coarse ones are left out; the published
    code refuses fewer patches than scales.
    """
    for scales in range(min(usable_scales(size, shape.patch, how.scales), num), 0, -1):
        counts = scale_counts(num, scales, how.ratio)
        if counts[-1] == max(counts):
            break
    return counts


def usable_scales(size: Size, patch: int, wanted: int) -> int:
    """At how many of the wanted scales a picture is still well larger than a patch."""
    side, halvings = float(min(size)), 0
    while side > 1:
        side, halvings = (side - patch) / 2, halvings + 1
    return max(1, min(wanted, halvings - 1))


def scale_counts(num: int, scales: int, ratio: float) -> list[int]:
    """`num` patches shared among scales, coarsest first, each finer one getting `2**ratio` times as many, rounded at the finest's cost."""
    shares = 2 ** (ratio * np.arange(scales))
    upper = np.minimum(np.cumsum(np.ceil(shares * num / shares.sum()).astype(int)), num)
    return np.diff(upper, prepend=0).tolist()


# ---- places ----------------------------------------------------------------------------------------------------------


def position_of(origins: Origins, size: Size, shape: VitShape) -> Float32[Tensor, "n 2"]:
    """Places as the transformer is told them: that of the patch's middle in [0, 1), or in the 2021 layout that of its corner in [-1, 1]."""
    sides = np.array(size)
    if shape.legacy:
        told = 2 * np.trunc(origins) / np.maximum(sides - shape.patch, 1) - 1
    else:
        half = shape.patch // 2
        told = np.clip((origins + half) / (sides - half), 0, 1 - 1e-6)
    return torch.from_numpy(told.astype(np.float32))


def _origins(size: Size, how: Sampling, patch: int, num: int, change: Float32[np.ndarray, "h w"] | None, rng: Rng) -> Origins:
    if how.mode == "grid":
        return grid_origins((size[0] - patch, size[1] - patch), size[0] / size[1], num, how.perturb, rng)
    weights = density(size, how, patch, change)
    if how.mode == "saliency":
        return drawn_origins(weights, patch, num, rng)
    return block_origins(weights, patch, num, rng, how.perturb if how.mode == "blocks" else None)


def grid_origins(room: Size, aspect: float, num: int, perturb: float, rng: Rng) -> Origins:
    """One place in each of `num` cells of a grid, moved from the cell's centre by up to `2 * perturb` of the cell.

    Args:
        room: rows and columns that a patch can be moved by.
        aspect: the picture's height over its width.
    """
    across = math.ceil(max(math.sqrt(num / aspect), 1))
    down = math.ceil(across * aspect)
    moved = _moves(num, perturb, rng)
    return _in_cells(rng.choice(down * across, num, replace=False), (down, across), moved) * np.array(room)


def _moves(num: int, perturb: float, rng: Rng) -> Origins:
    return rearrange((2 * rng.random((2, num)) - 1) * 2 * perturb, "two n -> n two")


def _in_cells(cells: Int[np.ndarray, " n"], grid: Size, moved: Origins) -> Origins:
    """Places in a unit square: the centres of a grid's cells, counted column by column, moved."""
    places = np.stack([cells % grid[0], cells // grid[0]], 1) + moved + 0.5
    return np.clip(places / np.array(grid), 0, 1)


def drawn_origins(weights: Float[np.ndarray, "h w"], patch: int, num: int, rng: Rng) -> Origins:
    """Places drawn one by one, each as likely as the weight of its patch's middle says; some may come twice.

    Differs: the published code adds up in float32, which in large pictures skips places, and leaves the last row and column out.
    """
    inner = _middles(weights, patch)
    rows = np.cumsum(inner.sum(1, dtype=np.float64))
    aimed = rng.random(num) * rows[-1]
    down = np.minimum(np.searchsorted(rows, aimed, "right"), len(rows) - 1)
    within = np.cumsum(inner[down], 1, dtype=np.float64)  # n w
    left = aimed - rows[down] + within[:, -1]
    across = np.minimum((within <= left[:, None]).sum(1), inner.shape[1] - 1)
    return np.stack([down, across], 1).astype(np.float64)


def block_origins(weights: Float[np.ndarray, "h w"], patch: int, num: int, rng: Rng, perturb: float | None) -> Origins:
    """Places spread within each block of the picture, which gets as many as its share of the weights says; blocks come in random order.

    Args:
        perturb: of a grid in each block; None spreads by Halton's sequence.
    """
    size = np.array(weights.shape)
    side = _block_side((weights.shape[0], weights.shape[1]), patch, num)
    room = size - patch
    blocks = np.maximum(-(-room // side), 1)
    counts = dissolved(np.ceil(_block_shares(weights, side, patch, blocks).ravel() * num).astype(int), num, rng)
    moved = None if perturb is None else _moves(num, perturb, rng)
    sequence = np.stack([radical_inverse(num, 2), radical_inverse(num, 3)], 1)
    found: list[Origins] = []
    done = 0
    for block in rng.permutation(len(counts)):
        count, part = counts[block], slice(done, done + counts[block])
        if not count:
            continue
        inside = sequence[part]
        if moved is not None:
            grid = math.ceil(math.sqrt(count))
            inside = _in_cells(rng.choice(grid * grid, count, replace=False), (grid, grid), moved[part])
        first = np.array(divmod(block, blocks[1])) * side
        found.append(first + inside * np.minimum(side, room - first))  # the last block of a row or column is what is left
        done += count
    return np.concatenate(found)


def _block_side(size: Size, patch: int, num: int) -> int:
    """Such that a block gets about four patches, within bounds."""
    wanted = math.sqrt(size[0] * size[1] / num * 4)
    return max(1, int(max(0.75 * patch, min(3 * max(size) / patch, wanted))))


def _block_shares(weights: Float[np.ndarray, "h w"], side: int, patch: int, blocks: Int[np.ndarray, " 2"]) -> Float[np.ndarray, "r c"]:
    """The share of the weights that patches of each block cover; neighbours overlap."""
    sums = np.pad(np.cumsum(np.cumsum(weights, 0, dtype=np.float64), 1), ((1, 0), (1, 0)))
    starts = [np.arange(n) * side for n in blocks]
    ends = [np.minimum(start + side + patch - 1, length) for start, length in zip(starts, weights.shape, strict=True)]
    rows = sums[ends[0]] - sums[starts[0]]
    shares = rows[:, ends[1]] - rows[:, starts[1]]
    return shares / shares.sum()


def dissolved(counts: Int[np.ndarray, " k"], num: int, rng: Rng) -> Int[np.ndarray, " k"]:
    """The counts with some, mostly small ones, changed by one until they sum to `num`."""
    while excess := int(counts.sum()) - num:
        shares = counts / counts.sum()
        chances = shares.max() + 1e-3 - shares
        # one that is chosen twice is changed once
        chosen = rng.choice(len(counts), abs(excess), replace=True, p=chances / chances.sum())
        counts = counts.copy()
        counts[chosen] = np.maximum(counts[chosen] - (1 if excess > 0 else -1), 0)
    return counts


def radical_inverse(num: int, base: int) -> Float[np.ndarray, " n"]:
    """The first numbers of Halton's sequence: the digits of 1, 2, 3 ... mirrored at the point."""
    left, found, unit = np.arange(1, num + 1), np.zeros(num), 1.0
    while left.any():
        unit /= base
        left, digit = np.divmod(left, base)
        found += digit * unit
    return found


# ---- weights ---------------------------------------------------------------------------------------------------------


def difference(pair: Pair) -> Float32[np.ndarray, "h w"]:
    """Squared distance in colour between the reference and the picture, or the mean of the two pictures' absolute differences."""
    reference = pair.reference.numpy()
    pictures = [p.numpy() for p in (pair.image, pair.other) if p is not None]
    found = np.empty(reference.shape[1:], np.float32)
    for top in range(0, len(found), BAND):  # what a cache holds at a time
        rows = slice(top, top + BAND)
        apart = [np.abs(np.subtract(reference[:, rows], p[:, rows], dtype=np.float32)) for p in pictures]
        mean = apart[0] if len(apart) == 1 else (apart[0] + apart[1]) / 2
        np.sum(np.square(mean, out=mean), 0, out=found[rows])
    return found


def density(size: Size, how: Sampling, patch: int, change: Float32[np.ndarray, "h w"] | None) -> Float32[np.ndarray, "h w"]:
    """The weight of each pixel as the middle of a patch: where the pictures differ, towards the centre, everywhere.

    Each part is at most 1 before it is weighed.

    Args:
        change: `difference` at this scale, before it is smoothed.
    Raises:
        BadUsage: no part weighs anything, or one less than nothing.
    Differs: the published centre bias is a file without a licence; ours is a Gaussian.
    """
    shares = how.centre, how.difference, how.uniform
    if min(shares) < 0 or not max(shares) > 0:
        told = f"task.sampling.centre={how.centre} difference={how.difference} uniform={how.uniform}"
        raise BadUsage(f"{told}: weights of at least 0, one of them more, are needed to draw places for patches")
    weights = np.full(size, how.uniform, np.float32)
    if how.centre:
        down, across = (np.exp(-0.5 * ((np.arange(n) + 0.5 - n / 2) / (CENTRE_STD * n)) ** 2).astype(np.float32) for n in size)
        weights += np.outer(down / down.max(), np.float32(how.centre) * across / across.max())
    if how.difference and change is not None:
        smooth = _smoothed(change, patch)
        weights += smooth * np.float32(how.difference / (_middles(smooth, patch).max() or 1))
    return weights


def _smoothed(change: Float32[np.ndarray, "h w"], patch: int) -> Float32[np.ndarray, "h w"]:
    from scipy.ndimage import gaussian_filter

    top = change.max() if change.sum() >= NO_DIFFERENCE else 0.0
    scaled = change / top if top else np.ones_like(change)
    return gaussian_filter(scaled, (2 * patch**2) ** 0.25, mode="constant")


def _middles(weights: Float[np.ndarray, "h w"], patch: int) -> Float[np.ndarray, "r c"]:
    """The pixels that can be the middle of a patch that lies inside the picture."""
    half, (h, w) = patch // 2, weights.shape
    return weights[half : half + h - patch + 1, half : half + w - patch + 1]
