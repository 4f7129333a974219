"""LIME and Kernel SHAP: a linear model of the score, fitted to variants in which some words (or units) are removed.

What is removed depends on an example's number of words alone, so examples of one size share their variants' masks and the
factored design of the fit: one small linear solve per size, and one product per example.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain.attribution import Attribution, relative_gap
from pellucid.explain.perturb import scores_without
from pellucid.explain.probe import Probe
from pellucid.explain.words import player_counts, players, to_units

KERNEL_WIDTH = 0.25  # of LIME's kernel on cosine distance
RIDGE = 0.01  # next to the one unchanged variant, of weight 1, a ridge of 1 would shrink all words of a short text


@dataclass(frozen=True)
class Design:
    """The variants of an example with p words.

    Args:
        kept: which words each variant keeps.
        weight: how much it counts in the fit.
    """

    kept: Bool[Tensor, "k p"]
    weight: Float[Tensor, " k"]


def lime(
    probe: Probe,
    baseline: Float[Tensor, "b n d"] | None,
    samples: int = 200,
    width: float = KERNEL_WIDTH,
    ridge: float = RIDGE,
    seed: int = 0,
) -> Attribution:
    """Weights of a linear model fitted to the score with random words (or units) removed, near variants counting more.

    Args:
        baseline: what takes the place of a removed word; None cuts it out, as the authors' program does with text.
        width: of the kernel on cosine distance; the larger, the more alike near and far variants count.
        ridge: price of the weights' squares.
    Source: Ribeiro et al. 2016. Differs: fits the task's score, for text a log-probability, not the probability; the ridge is
    0.01 and not 1.
    """
    if samples < 2 or width <= 0 or ridge <= 0:
        raise BadUsage(f"samples={samples}, width={width:g}, ridge={ridge:g}: LIME needs 2 samples at least, a width and a ridge above 0")

    def fit(design: Design, scores: Float[Tensor, "b k"]) -> Float[Tensor, "b p"]:
        return ridge_weights(design, scores, ridge)

    relevance, _ = _surrogate(probe, baseline, lambda size: nearby(size, samples, width, seed), fit)
    return Attribution(relevance, note=f"{samples} samples")


def kernel_shap(probe: Probe, baseline: Float[Tensor, "b n d"] | None, samples: int = 512, seed: int = 0) -> Attribution:
    """Shapley values: the mean of what a word adds to the score over all orders in which words can come; sums to the change of score.

    Exact where an example has no more than log2(samples) words; else from the sets of words that weigh most, taken whole, and a
    draw from the others.

    Args:
        baseline: what takes the place of a removed word; None cuts it out.
        samples: variants that are scored, among them the one that keeps all and the one that keeps nothing.
    Source: Lundberg and Lee 2017; drawn sets come with their complements, Covert and Lee 2021.
    """
    if samples < 4:
        raise BadUsage(f"samples={samples}; Kernel SHAP needs at least 4")
    relevance, change = _surrogate(probe, baseline, lambda size: coalitions(size, samples, seed), shapley_weights)
    return Attribution(relevance, relative_gap(relevance, change), f"at most {samples} samples")


def _surrogate(
    probe: Probe,
    baseline: Float[Tensor, "b n d"] | None,
    design: Callable[[int], Design],
    fit: Callable[[Design, Float[Tensor, "b k"]], Float[Tensor, "b p"]],
) -> tuple[Float[Tensor, "b n"], Float[Tensor, " b"]]:
    """Each unit's share of its word's weight, and the change of score from the second variant to the first."""
    owner = players(probe)
    counts = player_counts(owner)
    designs = {size: design(size) for size in sorted(set(counts.tolist()))}
    scores = rearrange(scores_without(probe, _removed(owner, counts, designs), baseline), "k b -> b k").double()
    weights = scores.new_zeros(len(owner), max(designs))
    for size, one in designs.items():
        alike = counts == size
        if size:
            weights[alike, :size] = fit(_to(one, scores), scores[alike, : len(one.kept)])
    return to_units(weights.to(probe.units), owner), (scores[:, 0] - scores[:, 1]).to(probe.units)


def _removed(owner: Int[Tensor, "b n"], counts: Int[Tensor, " b"], designs: dict[int, Design]) -> Bool[Tensor, "k b n"]:
    """The units that each variant loses; examples with fewer variants than others stay whole in the rest."""
    removed = torch.zeros(max(len(d.kept) for d in designs.values()), *owner.shape, dtype=torch.bool, device=owner.device)
    for size, one in designs.items():
        alike = (counts == size).nonzero()[:, 0]
        lost = torch.cat([~one.kept, torch.zeros(len(one.kept), 1, dtype=torch.bool)], 1).to(owner.device)  # the last: no word's units
        removed[: len(lost), alike] = lost[:, owner[alike].where(owner[alike] >= 0, size)]
    return removed


def _to(design: Design, like: Tensor) -> Design:
    return Design(design.kept.to(like.device), design.weight.to(like))


# ---- LIME -------------------------------------------------------------------------------------------------------------


def nearby(size: int, samples: int, width: float, seed: int) -> Design:
    """The first variant keeps all; the others lose from one to all words, every number alike likely, weighted by LIME's kernel."""
    draw = torch.Generator().manual_seed(seed)
    num_lost = (torch.rand(samples, generator=draw) * size).floor().long().clamp_max(size - 1) + 1
    num_lost[0] = 0
    kept = _keeping(size - num_lost, size, draw)
    distance = 1 - (1 - num_lost / max(size, 1)).double().sqrt()  # cosine distance from all ones; of an empty mask it is 1
    return Design(kept, (-distance.square() / (2 * width**2)).exp())


def ridge_weights(design: Design, scores: Float[Tensor, "b k"], ridge: float) -> Float[Tensor, "b p"]:
    """Weighted least squares with an intercept, which is not shrunk; centring the masks is enough for it."""
    masks, weight = design.kept.to(scores), design.weight
    centred = masks - einsum(weight / weight.sum(), masks, "k, k p -> p")
    pull = einsum(centred, weight, "k p, k -> p k")
    gram = pull @ centred + ridge * torch.eye(masks.shape[1], dtype=scores.dtype, device=scores.device)
    return einsum(torch.linalg.solve(gram, pull), scores, "p k, b k -> b p")


# ---- Kernel SHAP ------------------------------------------------------------------------------------------------------


def coalitions(size: int, samples: int, seed: int) -> Design:
    """All words, no word, and as many sets between as samples allow; weights are the Shapley kernel's, 0 for the first two.

    Sets of one size and of its complement's are taken whole while the samples that the kernel allots to them suffice; what is
    left is drawn, a set and its complement at a time.
    """
    kernel = [1 / (s * (size - s)) for s in range(1, size)]  # of all sets of s words together
    kernel = [w / sum(kernel) for w in kernel]
    kept = [torch.ones(1, size, dtype=torch.bool), torch.zeros(1, size, dtype=torch.bool)]
    weight = [torch.zeros(2, dtype=torch.float64)]
    left, share, first = samples - 2, 1.0, 1
    while first <= size // 2:
        sizes = sorted({first, size - first})
        here, count = sum(kernel[s - 1] for s in sizes), sum(math.comb(size, s) for s in sizes)
        if left * here / share < count * (1 - 1e-9):
            break
        for s in sizes:
            kept.append(_all_of(s, size))
            weight.append(torch.full((math.comb(size, s),), kernel[s - 1] / math.comb(size, s), dtype=torch.float64))
        left, share, first = left - count, share - here, first + 1
    if first <= size // 2 and left >= 2:
        rest = torch.tensor(kernel[first - 1 : size - first], dtype=torch.float64)
        drawn = _drawn(rest, first, size, left // 2, seed)
        kept += [drawn, ~drawn]
        weight.append(torch.full((2 * len(drawn),), share / (2 * len(drawn)), dtype=torch.float64))
    return Design(torch.cat(kept), torch.cat(weight))


def shapley_weights(design: Design, scores: Float[Tensor, "b k"]) -> Float[Tensor, "b p"]:
    """Least squares under the condition that weights sum to the change from no word (second variant) to all (first).

    Every word gets an equal share of the change, and the fit explains the rest by masks less their own mean, whose weights sum to
    0; of many fits as good (too few variants) the nearest to equal shares.
    """
    masks, weight = design.kept.to(scores), design.weight
    num_words, none = masks.shape[1], scores[:, 1:2]
    equal = (scores[:, :1] - none) / num_words
    centred = masks - reduce(masks, "k p -> k 1", "mean")
    pull = einsum(centred, weight, "k p, k -> p k")
    rest = scores - none - equal * reduce(masks, "k p -> k", "sum")
    # torch's own cutoff lets the direction of equal weights, which is 0 but for rounding, through for some sizes
    inverse = torch.linalg.pinv(pull @ centred, rtol=1e-10, hermitian=True)
    return equal + einsum(inverse @ pull, rest, "p k, b k -> b p")


def _keeping(num_kept: Int[Tensor, " k"], size: int, draw: torch.Generator) -> Bool[Tensor, "k p"]:
    """Random sets of the sizes told."""
    rank = torch.rand(len(num_kept), size, generator=draw).argsort(-1).argsort(-1)
    return rank < rearrange(num_kept, "k -> k 1")


def _all_of(num_kept: int, size: int) -> Bool[Tensor, "k p"]:
    """Every set of that many words."""
    chosen = torch.tensor(list(itertools.combinations(range(size), num_kept)))
    return torch.zeros(len(chosen), size, dtype=torch.bool).scatter(1, chosen, True)


def _drawn(kernel: Float[Tensor, " s"], first: int, size: int, count: int, seed: int) -> Bool[Tensor, "k p"]:
    """Random sets whose sizes, from `first` up, are as likely as the kernel says; evenly spread over the sizes."""
    draw = torch.Generator().manual_seed(seed)
    places = (torch.arange(count) + torch.rand(count, generator=draw).double()) / count
    num_kept = torch.searchsorted(kernel.cumsum(0) / kernel.sum(), places).clamp_max(len(kernel) - 1) + first
    return _keeping(num_kept, size, draw)
