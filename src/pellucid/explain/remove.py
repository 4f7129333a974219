"""Scores of examples with some of their units removed, each set of units scored once whoever asks."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain.perturb import scores_without
from pellucid.explain.probe import Probe
from pellucid.explain.quick import QuickLinear
from pellucid.explain.words import player_counts, players

ROWS_CUT = 64  # shortened examples in one pass: enough to keep matrix products busy, few enough to be of similar length


def settled(key: Float[Tensor, "*k p"]) -> Float[Tensor, "*k p"]:
    """The key in ten-thousandths of its row's largest, whole ones: what is equal but for rounding is equal, in any batch."""
    largest = reduce(key.abs(), "... p -> ... 1", "max") if key.shape[-1] else key
    return (1e4 * key / largest.where(largest > 0, 1.0)).round()


class Removal:
    """One way of removing units, replaced by a baseline or taken out altogether, and what was learned by it so far.

    Of an example without special tokens that would lose every unit the first stays where units are taken out: a model must
    read something.

    Args:
        baseline: what replaces units; None takes them out, those after them closing up.
    Raises:
        BadUsage: units cannot be taken out at the probe's site.
    """

    def __init__(self, probe: Probe, baseline: Float[Tensor, "b n d"] | None = None):
        if baseline is None and probe.cut is None:
            raise BadUsage("units cannot be taken out at this site, which does not say what runs along them; replace them by a baseline")
        self.probe, self.baseline, self.owner = probe, baseline, players(probe)
        self.counts = player_counts(self.owner)
        self.known: list[dict[bytes, float]] = [{} for _ in range(len(probe.units))]
        self.scale: Callable[[Float[Tensor, "k b"]], Float[Tensor, "k b"]] | None = None

    def scaled(self, scale: Callable[[Float[Tensor, "k b"]], Float[Tensor, "k b"]]) -> "Removal":
        """The same scores told on another scale; what one learns the other knows."""
        other = copy.copy(self)
        other.scale = scale
        return other

    def original(self) -> Float[Tensor, " b"]:
        """Scores with nothing removed."""
        return self.scores(torch.zeros_like(self.probe.present)[None])[0]

    def scores(self, removed: Bool[Tensor, "k b n"]) -> Float[Tensor, "k b"]:
        """Scores of many variants; those met before are not run again."""
        removed = removed & self.probe.present
        if self.baseline is None:
            everything = reduce(self.probe.present & ~removed, "k b n -> k b 1", "max").logical_not()
            first = self.probe.present & (self.probe.present.cumsum(1) == 1)
            removed = removed & ~(everything & first)
        packed = np.packbits(removed.cpu().numpy(), axis=-1)
        keys = [[row.tobytes() for row in variant] for variant in packed]  # k, then b
        self._learn(removed, keys)
        told = torch.tensor([[known[key] for known, key in zip(self.known, row, strict=True)] for row in keys])
        found = told.reshape(removed.shape[:2]).to(self.probe.units.device)
        return found if self.scale is None else self.scale(found)

    def _learn(self, removed: Bool[Tensor, "k b n"], keys: list[list[bytes]]) -> None:
        """Runs what is new, fullest variants first: where units are taken out, one pass then holds examples of similar length."""
        fresh = [{row[i]: k for k, row in enumerate(keys) if row[i] not in known} for i, known in enumerate(self.known)]
        depth = max(map(len, fresh))
        if not depth:
            return
        lost = reduce(removed.long(), "k b n -> k b", "sum").tolist()
        chosen = []
        for i, new in enumerate(fresh):
            order = sorted(new.values(), key=lambda k: lost[k][i]) or [0]
            chosen.append(order + order[-1:] * (depth - len(order)))
        index = torch.tensor(chosen, device=removed.device).T  # depth b
        masks = removed.gather(0, index[..., None].expand(-1, -1, removed.shape[2]))
        scores = self._run(masks).tolist()
        for i, known in enumerate(self.known):
            for place in range(len(fresh[i])):
                known[keys[chosen[i][place]][i]] = scores[place][i]

    @torch.no_grad()
    def _run(self, removed: Bool[Tensor, "k b n"]) -> Float[Tensor, "k b"]:
        if self.baseline is not None:
            # the first variant goes by itself: a probe learns on its second pass what need not be run again
            return torch.cat([scores_without(self.probe, some, self.baseline) for some in (removed[:1], removed[1:]) if len(some)])
        assert self.probe.cut is not None
        with QuickLinear():
            few = removed.split(max(1, ROWS_CUT // removed.shape[1]))
            return torch.cat([self.probe.cut(some) for some in few])

    def lost(self, rank: Int[Tensor, "k b p"], gone: Int[Tensor, "k b"]) -> Bool[Tensor, "k b n"]:
        """Which units go when the things (words) of rank below `gone` do."""
        if not rank.shape[2]:
            return torch.zeros(*rank.shape[:2], self.owner.shape[1], dtype=torch.bool, device=self.owner.device)
        owner = self.owner.clamp_min(0).expand(len(rank), -1, -1)
        return (rank.gather(2, owner) < gone[..., None]) & (self.owner >= 0)

    def ranks(self, key: Float[Tensor, "k b p"]) -> Int[Tensor, "k b p"]:
        """Place of each thing in rising order of key, 0 first; equal keys keep reading order, what does not exist comes last."""
        return settled(key).masked_fill(~self.exists(), torch.inf).argsort(dim=-1, stable=True).argsort(-1)

    def exists(self) -> Bool[Tensor, "b p"]:
        """Which places of a row of things an example fills."""
        width = int(self.counts.max())
        return torch.arange(width, device=self.counts.device) < rearrange(self.counts, "b -> b 1")

    def walks(self, key: Float[Tensor, "k b p"], gone: Int[Tensor, "f b"]) -> Float[Tensor, "k b f"]:
        """Scores along several orders, each removing `gone` things in rising order of its key."""
        rank = self.ranks(key)
        steps, orders = len(gone), len(rank)
        removed = self.lost(rank.repeat_interleave(steps, 0), gone.repeat(orders, 1))
        return rearrange(self.scores(removed), "(k f) b -> k b f", k=orders)
