"""From units (wordpieces, pixels) to what a person reads and what is removed as one: words where a site names them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.explain.probe import Probe


def players(probe: Probe) -> Int[Tensor, "b n"]:
    """Which thing each unit is removed with, counted 0, 1, ... in each example.

    A thing is a word where the site groups its units, else one real unit; -1 for padding and for units in no word.
    """
    if probe.groups is None:
        return (probe.present.cumsum(1) - 1).where(probe.present, -1)
    member = probe.present & (probe.groups >= 0)
    groups = probe.groups.where(member, 0).long()
    occurs = torch.zeros(len(groups), int(groups.max()) + 1, dtype=torch.long, device=groups.device)
    occurs = occurs.scatter_reduce(1, groups, member.long(), "amax")  # b g: 1 where the word has a unit
    return (occurs.cumsum(1) - 1).gather(1, groups).where(member, -1)


def player_counts(owner: Int[Tensor, "b n"]) -> Int[Tensor, " b"]:
    """Number of things in each example."""
    return owner.amax(1) + 1


def by_player(relevance: Float[Tensor, "b n"], owner: Int[Tensor, "b n"]) -> Float[Tensor, "b p"]:
    """Relevance of each thing, the sum over its units; 0 past an example's last."""
    total = relevance.new_zeros(len(owner), int(owner.max()) + 1)
    return total.scatter_add(1, owner.clamp_min(0), relevance.where(owner >= 0, 0.0)) if total.shape[1] else total


def to_units(values: Float[Tensor, "b p"], owner: Int[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Each thing's value shared equally among its units, so that `by_player` gives it back; 0 elsewhere."""
    if not values.shape[1]:
        return torch.zeros_like(owner, dtype=values.dtype)
    place = owner.clamp_min(0)
    sizes = by_player(torch.ones_like(owner, dtype=values.dtype), owner)
    return (values / sizes.clamp_min(1)).gather(1, place).where(owner >= 0, 0.0)


def to_words(relevance: Float[Tensor, "b n"], probe: Probe) -> list[tuple[list[str], list[float]]]:
    """Per example its words in reading order and the relevance of each, the sum over the word's units.

    Units in no word (special tokens) are dropped; a site without names is told by the indices of its units. Of a cell of a picture in
    which no unit lies nothing is known, NaN; a word that was cut off has 0.
    """
    return [_example_words(row, probe, i) for i, row in enumerate(relevance.detach().cpu().double())]


def _example_words(relevance: Float[Tensor, " n"], probe: Probe, i: int) -> tuple[list[str], list[float]]:
    present = probe.present[i].cpu()
    names = probe.names[i] if probe.names else None
    if probe.groups is None:
        label = names or [str(j) for j in present.nonzero()[:, 0].tolist()]
        return list(label), relevance[present].tolist()
    groups = probe.groups[i].cpu().long()
    member = present & (groups >= 0)
    count = len(names) if names else int(groups.where(member, -1).max()) + 1
    total = relevance.new_zeros(count).index_add(0, groups[member], relevance[member])
    if probe.pictures is not None:
        total = total.where(groups[member].bincount(minlength=count) > 0, torch.nan)
    return list(names) if names else [str(j) for j in range(count)], total.tolist()
