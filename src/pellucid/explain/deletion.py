"""Degradation as the paper of the transformer bottleneck measures it: tokens are taken out of a text, the rest closing up.

Source: Jiang et al. 2020; the score of a whole set, Schulz et al. 2020.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.explain.degrade import short
from pellucid.explain.probe import Probe
from pellucid.explain.remove import Removal, settled
from pellucid.metrics.bootstrap import draws, percentile

POINTS = 10  # of a curve, the untouched text among them
NO_FALL = 1e-6  # emptying that costs less leaves nothing to normalise by


@dataclass(frozen=True)
class Deletion:
    """Scores of each example while its tokens are taken out.

    Whether the answer stays the likeliest is not told: a probe's score is that of the answer alone.

    Args:
        original: nothing taken out.
        emptied: every token but special ones taken out.
        most_first: most relevant tokens first, after 1/9, 2/9, ... 9/9 of the tokens.
        least_first: least relevant tokens first.
        area: between least first and most first, from the untouched example on, not normalised; larger is a better explanation.
    """

    original: Float[Tensor, " b"]
    emptied: Float[Tensor, " b"]
    most_first: Float[Tensor, "b f"]
    least_first: Float[Tensor, "b f"]
    area: Float[Tensor, " b"]

    def as_dict(self, i: int) -> dict[str, Any]:
        """One example's curves as plain numbers for JSON."""
        rows = {f.name: getattr(self, f.name)[i] for f in dataclasses.fields(self)}
        return {name: [short(v) for v in row.tolist()] if row.ndim else short(row.item()) for name, row in rows.items()}


def deletion(probe: Probe, relevance: Float[Tensor, "b n"]) -> Deletion:
    """Curves of one relevance.

    Raises:
        BadUsage: units cannot be taken out at the probe's site.
    """
    return deletions(Removal(probe), {"one": relevance})["one"]


def deletions(removal: Removal, relevances: Mapping[str, Float[Tensor, "b n"]]) -> dict[str, Deletion]:
    """Curves of each relevance by the paper's rule, all of them through the model together.

    Every wordpiece goes for itself. Special tokens count as tokens and stay; the last in the order is never taken. A text
    of fewer than nine tokens repeats its last point.
    """
    probe = removal.probe
    gone = points(probe.present.sum(1))
    takeable = removal.owner >= 0
    masks = [taken(sign * r.detach(), probe.present, takeable, gone) for r in relevances.values() for sign in (-1, 1)]
    edges = torch.stack([torch.zeros_like(takeable), takeable])
    scores = removal.scores(torch.cat([edges, *masks]))
    original, emptied = scores[:2]
    walks = rearrange(scores[2:], "(k two f) b -> k two b f", two=2, f=len(gone))
    return {name: _curves(original, emptied, most, least) for name, (most, least) in zip(relevances, walks, strict=True)}


def _curves(
    original: Float[Tensor, " b"], emptied: Float[Tensor, " b"], most: Float[Tensor, "b f"], least: Float[Tensor, "b f"]
) -> Deletion:
    apart = torch.cat([torch.zeros_like(original)[:, None], least - most], 1)
    return Deletion(original, emptied, most, least, torch.trapezoid(apart, dx=1 / (apart.shape[1] - 1)))


def points(totals: Int[Tensor, " b"], steps: int = POINTS) -> Int[Tensor, "f b"]:
    """How many tokens are gone at each point of the curves, after the untouched one.

    Source: equal shares of all tokens, rounded half to even; what repeats is left out and the last fills up.
    """
    columns = []
    for total in totals.tolist():
        counts = list(dict.fromkeys(np.round(np.linspace(0, 1, steps) * total).astype(int).tolist()))
        columns.append((counts + counts[-1:] * (steps - len(counts)))[1:])
    return torch.tensor(columns, device=totals.device).T


def taken(
    key: Float[Tensor, "b n"], present: Bool[Tensor, "b n"], takeable: Bool[Tensor, "b n"], gone: Int[Tensor, "f b"]
) -> Bool[Tensor, "f b n"]:
    """Which tokens are out at each point when they go in rising order of key; the last in the order, padding aside, never does."""
    rank = settled(key).masked_fill(~present, torch.inf).argsort(dim=-1, stable=True).argsort(-1)
    may = takeable & (rank < present.sum(1, keepdim=True) - 1)
    place = torch.zeros_like(rank).scatter(1, rank, may.long()).cumsum(1).gather(1, rank)  # 1 for the first that may go
    return may & (place <= rearrange(gone, "f b -> f b 1"))


# ---- a whole set ------------------------------------------------------------------------------------------------------


class DegradationScore:
    """Area between the mean curves, least first above most first, where 1 is the untouched score and 0 that of emptied texts.

    Source: Schulz et al. 2020. NaN where emptying costs the mean score nothing. A prediction is a row of `rows`.
    """

    higher_is_better = True

    def __init__(self) -> None:
        self.found: list[Float[np.ndarray, " v"]] = []

    def update(self, prediction: Float[np.ndarray, " v"], example: Any = None) -> None:
        """Counts one example."""
        self.found.append(prediction)

    def merge(self, other: "DegradationScore") -> None:
        """Adds what another has gathered."""
        self.found += other.found

    def compute(self) -> float:
        """The score so far."""
        return float(self.resample(np.ones((1, len(self.found))))[0]) if self.found else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The score for each row of multiplicities."""
        mean = weights @ np.stack(self.found) / weights.sum(1, keepdims=True)
        fall = mean[:, 0] - mean[:, 1]
        most, least = np.split(mean[:, 2:], 2, axis=1)
        apart = np.concatenate([np.zeros((len(mean), 1)), least - most], 1)
        area = np.trapezoid(apart, dx=1 / (apart.shape[1] - 1), axis=1)
        return np.divide(area, fall, out=np.full(len(mean), np.nan), where=fall > NO_FALL)


def rows(found: Deletion) -> Float[np.ndarray, "b v"]:
    """What a set's score needs of each example: untouched, emptied, most first, least first."""
    parts = [found.original[:, None], found.emptied[:, None], found.most_first, found.least_first]
    return torch.cat(parts, 1).double().cpu().numpy()


def degradation_score(
    found: Deletion | Iterable[Deletion], resamples: int = 1000, level: float = 0.95, seed: int | Sequence[int] = 0
) -> dict[str, float]:
    """The score of all examples of all batches: `mean` with the `low` and `high` end of its bootstrap interval, and `n`."""
    batches = [found] if isinstance(found, Deletion) else list(found)
    gathered = [row for batch in batches for row in rows(batch)]
    score = DegradationScore()
    score.found = gathered
    drawn = draws(lambda: {"score": DegradationScore()}, gathered, [{}] * len(gathered), resamples, seed)["score"]
    low, high = percentile(drawn, level)
    return {"mean": score.compute(), "low": low, "high": high, "n": len(gathered)}
