"""Methods that replace units by a baseline and watch the score; they need no gradient."""

import torch
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.explain.attribution import Attribution, hold_padding
from pellucid.explain.draw import Draw
from pellucid.explain.probe import Probe
from pellucid.explain.words import player_counts, players, to_units

KERNEL_WIDTH = 0.25  # of LIME's kernel on cosine distance
RIDGE = 0.01  # next to the one unchanged variant, of weight 1, a ridge of 1 would shrink all words of a short text


@torch.no_grad()
def scores_without(probe: Probe, removed: Bool[Tensor, "k b n"], baseline: Float[Tensor, "b n d"]) -> Float[Tensor, "k b"]:
    """Scores of many variants, each with some units replaced by the baseline."""
    start, b = hold_padding(probe, baseline), len(probe.units)
    parts = []
    for some in removed.split(max(1, probe.rows // b)):
        variants = start.where(some[..., None], probe.units)  # k b n d
        scores = probe.score(rearrange(variants, "k b n d -> (k b) n d"))
        parts.append(rearrange(scores, "(k b) -> k b", b=b))
    return torch.cat(parts) if parts else probe.units.new_zeros(0, b)


def occlusion(probe: Probe, baseline: Float[Tensor, "b n d"]) -> Attribution:
    """Score lost when one word (or unit, where the site has no words) at a time becomes the baseline."""
    owner = players(probe)
    things = torch.arange(int(player_counts(owner).max()), device=owner.device)
    removed = owner == rearrange(things, "p -> p 1 1")  # p b n
    with torch.no_grad():
        lost = probe.score(probe.units) - scores_without(probe, removed, baseline)
    return Attribution(to_units(rearrange(lost, "p b -> b p"), owner))


def lime(probe: Probe, baseline: Float[Tensor, "b n d"], samples: int = 200, seed: int = 0) -> Attribution:
    """Weights of a linear model fitted to the score with random words (or units) replaced, near variants counting more.

    Source: Ribeiro et al. 2016. Differs: fits the task's score, for text a log-probability, not the probability; removed
    words become the baseline and are not cut out; the ridge is 0.01 and not 1.
    """
    owner = players(probe)
    counts = player_counts(owner)
    if not int(counts.max()):
        return Attribution(torch.zeros_like(probe.units[..., 0]))
    kept = _masks(counts, samples, seed)
    unit_kept = kept.gather(2, repeat(owner.clamp_min(0), "b n -> b k n", k=samples))
    removed = rearrange(~unit_kept, "b k n -> k b n") & (owner >= 0)
    scores = rearrange(scores_without(probe, removed, baseline), "k b -> b k").double()
    effects = _ridge(kept.double(), scores, _nearness(kept, counts))
    return Attribution(to_units(effects.to(probe.units.dtype), owner), note=f"{samples} samples")


def random(probe: Probe, seed: int = 0) -> Attribution:
    """Uniform numbers in 0..1: what any method must beat."""
    owner = players(probe)
    return Attribution(to_units(rearrange(Draw(player_counts(owner), seed).uniform(1), "b 1 p -> b p"), owner))


def _masks(counts: Int[Tensor, " b"], samples: int, seed: int) -> Bool[Tensor, "b k p"]:
    """The first keeps all; the others lose from one to all things, every number alike likely. True past an example's last."""
    share = torch.rand(samples, generator=torch.Generator().manual_seed(seed)).to(counts.device)
    sizes = (rearrange(share, "k -> 1 k 1") * rearrange(counts, "b -> b 1 1")).floor() + 1
    exists = torch.arange(int(counts.max()), device=counts.device) < rearrange(counts, "b -> b 1 1")
    chance = Draw(counts, seed + 1).uniform(samples).masked_fill(~exists, 2.0)  # after all that exist
    kept = (chance.argsort(-1).argsort(-1) >= sizes) | ~exists
    kept[:, 0] = True
    return kept


def _nearness(kept: Bool[Tensor, "b k p"], counts: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """Weight of each mask in the fit: LIME's kernel on its cosine distance from all ones."""
    absent = reduce((~kept).double(), "b k p -> b k", "sum") / rearrange(counts.clamp_min(1), "b -> b 1")
    distance = 1 - (1 - absent).clamp_min(0).sqrt()  # of an empty mask it is 1
    return (-distance.square() / (2 * KERNEL_WIDTH**2)).exp()


def _ridge(masks: Float[Tensor, "b k p"], scores: Float[Tensor, "b k"], nearness: Float[Tensor, "b k"]) -> Float[Tensor, "b p"]:
    """Weighted least squares with an intercept (centring the masks is enough for it); a column that never varies gets weight 0."""
    share = nearness / reduce(nearness, "b k -> b 1", "sum")
    centred = masks - einsum(share, masks, "b k, b k p -> b p").unsqueeze(1)
    gram = einsum(centred, nearness, centred, "b k p, b k, b k q -> b p q")
    pull = einsum(centred, nearness, scores, "b k p, b k, b k -> b p")
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram + RIDGE * eye, pull)
