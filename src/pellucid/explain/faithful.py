"""Is what an explanation names enough, needed, and of the size it says? Numbers of one example each, without curves."""

from collections.abc import Mapping

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.explain.draw import Draw
from pellucid.explain.remove import Removal
from pellucid.explain.words import by_player

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)  # of the words, rounded up


def comprehensiveness(
    removal: Removal, relevances: Mapping[str, Float[Tensor, "b n"]], shares: tuple[float, ...] = SHARES
) -> dict[str, Float[Tensor, " b"]]:
    """Score lost with the most relevant words gone, mean over several numbers of words; larger is better.

    Source: DeYoung et al. 2020, ERASER. Differs: the mean is over the shares alone; theirs also counts removing nothing, a 0.
    """
    return {name: pair[0] for name, pair in _eraser(removal, relevances, shares).items()}


def sufficiency(
    removal: Removal, relevances: Mapping[str, Float[Tensor, "b n"]], shares: tuple[float, ...] = SHARES
) -> dict[str, Float[Tensor, " b"]]:
    """Score lost with the most relevant words alone, mean over several numbers of words; smaller is better.

    Source: DeYoung et al. 2020, ERASER. Differs as in `comprehensiveness`.
    """
    return {name: pair[1] for name, pair in _eraser(removal, relevances, shares).items()}


def _eraser(
    removal: Removal, relevances: Mapping[str, Float[Tensor, "b n"]], shares: tuple[float, ...]
) -> dict[str, tuple[Float[Tensor, " b"], Float[Tensor, " b"]]]:
    """Comprehensiveness and sufficiency, which need the same orders and go through the model together."""
    counts = removal.counts
    share = torch.tensor(shares, dtype=torch.float64, device=counts.device)
    top = (rearrange(share, "f -> f 1") * counts - 1e-9).ceil().long().clamp_min(0)  # f b; 5% of 20 words is 1
    masks = []
    for relevance in relevances.values():
        rank = removal.ranks(-by_player(relevance.detach(), removal.owner)[None])
        kept_last = rearrange(counts, "b -> b 1") - 1 - rank  # equal words are kept in the order in which they would go
        for order, gone in ((rank, top), (kept_last, counts - top)):
            masks.append(removal.lost(order.repeat(len(shares), 1, 1), gone))
    scores = rearrange(removal.scores(torch.cat(masks)), "(m two f) b -> m two f b", two=2, f=len(shares))
    lost = reduce(removal.original() - scores, "m two f b -> m two b", "mean")
    return {name: (needed, enough) for name, (needed, enough) in zip(relevances, lost, strict=True)}


def infidelity(
    removal: Removal, relevances: Mapping[str, Float[Tensor, "b n"]], samples: int = 64, seed: int = 0, scaled: bool = True
) -> dict[str, Float[Tensor, " b"]]:
    """Mean squared difference between what random sets of words cost and the sum of their relevance; smaller is better.

    Args:
        samples: random sets, from one word to all, the same for every relevance.
        scaled: relevance is first multiplied by the factor that suits it best, so that methods of other units (nats) compare;
            without, the value asks that relevance adds up to scores.
    Source: Yeh et al. 2019, with words set to the baseline as perturbation and their best scaling.
    """
    removed = random_sets(removal, samples, seed)
    cost = removal.original() - removal.scores(removed)  # k b
    found = {}
    for name, relevance in relevances.items():
        said = einsum(relevance.detach(), removed.to(relevance.dtype), "b n, k b n -> k b")
        if scaled:
            size = reduce(said.square(), "k b -> b", "sum")
            said = said * reduce(said * cost, "k b -> b", "sum") / size.where(size > 0, 1.0)
        found[name] = reduce((said - cost).square(), "k b -> b", "mean")
    return found


def random_sets(removal: Removal, samples: int, seed: int = 0) -> Bool[Tensor, "k b n"]:
    """Units of random sets of words, every number of words from one to all alike likely; an example draws the same in any batch."""
    draw = Draw(removal.counts, seed)
    sizes = (draw.uniform(samples)[..., 0].T * removal.counts).floor().long() + 1  # k b
    return removal.lost(removal.ranks(rearrange(draw.uniform(samples), "b k p -> k b p")), sizes)
