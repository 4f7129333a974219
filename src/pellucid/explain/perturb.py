"""Methods that remove units and watch the score; they need no gradient."""

import itertools
import math
from collections.abc import Iterator

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain import patches
from pellucid.explain.attribution import Attribution, hold_padding
from pellucid.explain.draw import Draw
from pellucid.explain.probe import Probe
from pellucid.explain.words import by_player, player_counts, players, to_units


@torch.no_grad()
def scores_without(probe: Probe, removed: Bool[Tensor, "k b n"], baseline: Float[Tensor, "b n d"] | None) -> Float[Tensor, "k b"]:
    """Scores of many variants, each with some units replaced by the baseline or, where that is None, cut out.

    Raises:
        BadUsage: units of this site cannot be cut out.
    """
    if baseline is None:
        if probe.cut is None:
            raise BadUsage("units cannot be cut out at this site; replace them by a baseline, mean or zero")
        return probe.cut(removed)
    start, b = hold_padding(probe, baseline), len(probe.units)
    parts = []
    for some in removed.split(max(1, probe.rows // b)):
        variants = start.where(some[..., None], probe.units)  # k b n d
        scores = probe.score(rearrange(variants, "k b n d -> (k b) n d"))
        parts.append(rearrange(scores, "(k b) -> k b", b=b))
    return torch.cat(parts) if parts else probe.units.new_zeros(0, b)


@torch.no_grad()
def occlusion(
    probe: Probe, baseline: Float[Tensor, "b n d"] | None, window: tuple[int, ...] = (1,), stride: tuple[int, ...] = (1,)
) -> Attribution:
    """Score lost when a window of words (units, where the site has no words) is removed; the mean over the windows that hold it.

    Windows slide over the words in reading order or, at a site with a grid and no words, over the grid; the last is cut off at the
    example's end. A word's number is shared among its units.

    Args:
        baseline: what takes the place of what is removed; None cuts it out.
        window: size along each axis, or one size for all.
        stride: how far the window moves.
    Raises:
        BadUsage: sizes that do not fit the grid, or a stride that leaves units out.
    Source: Zeiler and Fergus 2014.
    """
    owner = players(probe)
    places, extents = _places(probe, owner)
    sizes, moves = (_of_axes(name, value, extents.shape[1]) for name, value in (("window", window), ("stride", stride)))
    if any(move > size for size, move in zip(sizes, moves, strict=True)):
        raise BadUsage(f"stride {moves} is larger than the window {sizes}: units between windows would never be removed")
    whole = probe.score(probe.units)
    lost, times = torch.zeros_like(probe.units[..., 0]), torch.zeros_like(probe.units[..., 0])
    for removed in _windows(places, extents, sizes, moves, max(1, probe.rows // len(owner))):
        loss = whole - scores_without(probe, removed, baseline)  # k b
        lost += reduce(removed * loss[..., None], "k b n -> b n", "sum")
        times += reduce(removed.to(lost), "k b n -> b n", "sum")
    mean = lost / times.clamp_min(1)
    units_in = by_player(torch.ones_like(mean), owner)
    return Attribution(mean / units_in.clamp_min(1).gather(1, owner.clamp_min(0)) if units_in.shape[1] else mean)


def random(probe: Probe, seed: int = 0) -> Attribution:
    """Uniform numbers in 0..1: what any method must beat."""
    owner = players(probe)
    return Attribution(to_units(rearrange(Draw(player_counts(owner), seed).uniform(1), "b 1 p -> b p"), owner))


def _places(probe: Probe, owner: Int[Tensor, "b n"]) -> tuple[Int[Tensor, "b n a"], Int[Tensor, "b a"]]:
    """Where each unit stands along every axis, -1 for what is never removed, and how far each example reaches."""
    on_grid = patches.places(probe)
    places = owner[..., None] if on_grid is None else on_grid
    return places, reduce(places, "b n a -> b a", "max") + 1


def _of_axes(name: str, value: tuple[int, ...], num_axes: int) -> tuple[int, ...]:
    sizes = tuple(value) * num_axes if len(value) == 1 else tuple(value)
    if len(sizes) != num_axes or min(sizes) < 1:
        raise BadUsage(
            f"{name} {value}: this site has {num_axes} {'axis' if num_axes == 1 else 'axes'}; give one size for each, at least 1"
        )
    return sizes


def _windows(
    places: Int[Tensor, "b n a"], extents: Int[Tensor, "b a"], sizes: tuple[int, ...], moves: tuple[int, ...], rows: int
) -> Iterator[Bool[Tensor, "k b n"]]:
    """What each window holds, `rows` windows at a time; a window past an example's last holds nothing of it."""
    size, move = (torch.tensor(value, device=places.device) for value in (sizes, moves))
    last = (extents - size).clamp_min(0).add(move - 1).div(move, rounding_mode="floor") * move  # b a: where an example's last begins
    counts = [range(0, int(end) + 1, step) for end, step in zip(last.amax(0).tolist(), moves, strict=True)]
    starts = itertools.product(*counts)
    for _ in range(math.ceil(math.prod(map(len, counts)) / rows)):
        start = rearrange(torch.tensor(list(itertools.islice(starts, rows)), device=places.device), "k a -> k 1 1 a")
        held = (places >= start) & (places < start + size) & (start <= rearrange(last, "b a -> b 1 a"))
        yield (held & (places >= 0)).all(-1)
