"""Do two explanations say the same? Per example, over its words (or units); special tokens and padding do not count."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.explain.probe import Probe
from pellucid.explain.remove import settled
from pellucid.explain.words import by_player, player_counts, players
from pellucid.metrics.bootstrap import draws, percentile

TOP = 0.2  # share of the words that count as the top, rounded up


class _Mean:
    """Mean over the examples on which a number is defined."""

    higher_is_better = True

    def __init__(self) -> None:
        self.found: list[float] = []

    def update(self, prediction: float, example: Any = None) -> None:
        self.found.append(prediction)

    def merge(self, other: "_Mean") -> None:
        self.found += other.found

    def compute(self) -> float:
        return float(np.mean(self.found)) if self.found else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        return weights @ np.asarray(self.found) / weights.sum(1)


def summary(values: Float[Tensor, " b"], resamples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, float]:
    """`mean` over examples with the `low` and `high` end of its bootstrap interval, and `n`, those on which it is defined."""
    known = [v for v in values.double().tolist() if not np.isnan(v)]
    if not known:
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    low, high = percentile(draws(lambda: {"mean": _Mean()}, known, [{}] * len(known), resamples, seed)["mean"], level)
    return {"mean": float(np.mean(known)), "low": low, "high": high, "n": len(known)}


def spearman(one: Float[Tensor, "b p"], two: Float[Tensor, "b p"], exists: Bool[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """Rank correlation of each row, equal values sharing their mean rank; NaN where either side is constant."""
    return pearson(mean_ranks(settled(one), exists), mean_ranks(settled(two), exists), exists)


def pearson(one: Float[Tensor, "b p"], two: Float[Tensor, "b p"], exists: Bool[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """Correlation of each row; NaN where either side is constant."""
    one, two = (_standard(side, exists) for side in (one, two))
    return reduce(one * two, "b p -> b", "sum").clamp(-1, 1).float()


def _standard(values: Float[Tensor, "b p"], exists: Bool[Tensor, "b p"]) -> Float[Tensor, "b p"]:
    """Rows of mean 0 and length 1; NaN where constant."""
    count = exists.sum(1, keepdim=True).clamp_min(1)
    filled = values.double().where(exists, 0.0)
    centred = (filled - reduce(filled, "b p -> b 1", "sum") / count).where(exists, 0.0)
    length = centred.square().sum(1, keepdim=True).sqrt()
    size = filled.abs().amax(1, keepdim=True) if filled.shape[1] else length
    return centred / length.where(length > 1e-12 * size, torch.nan)


def mean_ranks(values: Float[Tensor, "b p"], exists: Bool[Tensor, "b p"]) -> Float[Tensor, "b p"]:
    """Ranks from 1 in each row, equal values sharing the mean of theirs."""
    filled = values.double().masked_fill(~exists, torch.inf).contiguous()
    ordered = filled.sort(1).values
    below, upto = (torch.searchsorted(ordered, filled, right=right) for right in (False, True))
    return ((below + upto + 1) / 2).double()


def top_overlap(one: Float[Tensor, "b p"], two: Float[Tensor, "b p"], exists: Bool[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """Share of either side's strongest words, whatever their sign, that are among the other's; NaN for an example without words."""
    count = exists.sum(1)
    size = (count.double() * TOP - 1e-9).ceil().long().clamp_min(1)
    both = _top(one, exists, size) & _top(two, exists, size)
    return (both.sum(1) / size).where(count > 0, torch.nan)


def _top(values: Float[Tensor, "b p"], exists: Bool[Tensor, "b p"], size: Tensor) -> Bool[Tensor, "b p"]:
    rank = (-values.abs()).masked_fill(~exists, torch.inf).argsort(dim=1, stable=True).argsort(1)
    return rank < rearrange(size, "b -> b 1")


def sign_agreement(one: Float[Tensor, "b p"], two: Float[Tensor, "b p"], exists: Bool[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """Share of the words on whose side (for, against, neither) both agree; NaN for an example without words."""
    same = (one.sign() == two.sign()) & exists
    return same.sum(1) / exists.sum(1).where(exists.any(1), torch.nan)


MEASURES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "spearman": spearman,
    "pearson": pearson,
    "top_overlap": top_overlap,
    "sign": sign_agreement,
}


def agreement(probe: Probe, relevances: Mapping[str, Float[Tensor, "b n"]]) -> dict[str, dict[tuple[str, str], Float[Tensor, " b"]]]:
    """Each measure for each pair of methods, by example."""
    things, exists = by_things(probe, relevances)
    pairs = list(itertools.combinations(relevances, 2))
    return {name: {(a, b): measure(things[a], things[b], exists) for a, b in pairs} for name, measure in MEASURES.items()}


def by_things(probe: Probe, relevances: Mapping[str, Float[Tensor, "b n"]]) -> tuple[dict[str, Float[Tensor, "b p"]], Bool[Tensor, "b p"]]:
    """Relevance of each word (or unit), and which places of the rows an example fills."""
    owner = players(probe)
    counts = player_counts(owner)
    exists = torch.arange(int(counts.max()), device=owner.device) < rearrange(counts, "b -> b 1")
    return {name: by_player(relevance.detach(), owner) for name, relevance in relevances.items()}, exists


def join(batches: Sequence[dict[str, dict[tuple[str, str], Tensor]]]) -> dict[str, dict[tuple[str, str], Tensor]]:
    """What `agreement` found of several batches, as of one."""
    return {name: {pair: torch.cat([b[name][pair].cpu() for b in batches]) for pair in pairs} for name, pairs in batches[0].items()}


def matrix(values: Mapping[tuple[str, str], Float[Tensor, " b"]]) -> dict[str, dict[str, dict[str, float]]]:
    """Row by column, the mean of one measure over examples with its interval; a method agrees with itself fully and is left out."""
    names = list(dict.fromkeys(name for pair in values for name in pair))
    cells = {pair: summary(found) for pair, found in values.items()}
    both = cells | {(b, a): cell for (a, b), cell in cells.items()}
    return {a: {b: both[a, b] for b in names if (a, b) in both} for a in names}
