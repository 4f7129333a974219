"""Methods that follow the gradient of the score to the units."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain.attribution import Attribution, Statistics, completeness_gap, hold_padding, relative_gap
from pellucid.explain.draw import Draw
from pellucid.explain.probe import Probe

Reading = Literal["norm", "absolute", "largest", "signed"]
Rule = Literal["midpoint", "gausslegendre"]
References = Statistics | Float[Tensor, "r *n d"]


def score_gradient(probe: Probe, units: Float[Tensor, "kb n d"]) -> tuple[Float[Tensor, " kb"], Float[Tensor, "kb n d"]]:
    """Each copy's score and its gradient to the copy's own units; `probe.rows` go through the model at a time."""
    b = len(probe.units)
    scores, gradients = [], []
    for part in units.split(max(1, probe.rows // b) * b):
        with torch.enable_grad():
            here = part.detach().requires_grad_()
            found = probe.score(here)
            gradients.append(torch.autograd.grad(found.sum(), here)[0])
        scores.append(found.detach())
    return torch.cat(scores), torch.cat(gradients)


def gradient(probe: Probe, reading: Reading = "norm") -> Attribution:
    """How fast the score moves with each unit.

    Args:
        reading: one number of a unit's many: "norm" is their length, "absolute" the sum and "largest" the largest of their sizes,
            "signed" their sum.
    Source: Simonyan et al. 2014, who take the largest.
    """
    return Attribution(_read(probe, score_gradient(probe, probe.units)[1], reading), note=reading)


def gradient_x_input(probe: Probe) -> Attribution:
    """Gradient of the score times the units: their effect were the model linear and without bias."""
    return Attribution(_read(probe, score_gradient(probe, probe.units)[1] * probe.units, "signed"))


def gradcam(probe: Probe) -> Attribution:
    """Weighted sum of a feature map's channels, each by its mean gradient over the map, where it is positive; never negative.

    Raises:
        BadUsage: the site is no feature map: units in one row, or patches of pixels.
    Source: Selvaraju et al. 2017, Grad-CAM.
    """
    if len(probe.grid) < 2 or (probe.site is not None and probe.site.unit != "d"):
        raise BadUsage("gradcam weighs the channels of a feature map; choose a site that is one, or another method")
    slopes = score_gradient(probe, probe.units)[1]
    member = (probe.present if probe.groups is None else probe.present & (probe.groups >= 0))[..., None]
    weight = reduce(slopes.where(member, 0.0), "b n d -> b 1 d", "sum") / member.sum(1, keepdim=True).clamp_min(1)
    relevance = _read(probe, (weight * probe.units).where(member, 0.0), "signed").clamp_min(0.0)
    return Attribution(relevance, note="never negative")


def integrated_gradients(probe: Probe, baseline: Float[Tensor, "b n d"], steps: int = 64, rule: Rule = "midpoint") -> Attribution:
    """Mean gradient on the straight way from the baseline, times that way; sums to the change of score.

    Args:
        rule: where on the way the gradient is taken; "gausslegendre" needs fewer steps where the score is smooth.
    Source: Sundararajan et al. 2017.
    """
    start = hold_padding(probe, baseline)
    way, total = probe.units - start, torch.zeros_like(probe.units)
    places, shares = _quadrature(steps, rule, way)
    rows = max(1, probe.rows // len(way))
    for some, share in zip(places.split(rows), shares.split(rows), strict=True):
        points = start + rearrange(some, "k -> k 1 1 1") * way  # k b n d
        _, slopes = score_gradient(probe, rearrange(points, "k b n d -> (k b) n d"))
        total += einsum(rearrange(slopes, "(k b) n d -> k b n d", k=len(some)), share, "k b n d, k -> b n d")
    relevance = _read(probe, way * total, "signed")
    return Attribution(relevance, completeness_gap(probe, relevance, start), f"{steps} steps, {rule}")


def expected_gradients(probe: Probe, references: References, samples: int = 32, steps: int = 2, seed: int = 0) -> Attribution:
    """Integrated gradients averaged over many baselines; sums to the change of score from the mean over them.

    Args:
        references: what baselines are drawn from: the normal numbers of statistics, a pool of units (`r d`), of which every unit
            gets one, or whole examples (`r n d`).
        steps: gradients on the way from each baseline; a large gap asks for more.
    Source: Erion et al. 2021. Differs: the gradient is taken at Gauss-Legendre places of each way, not at one random place, and
    normal numbers come with their negatives, so that their mean is exact.
    """
    total, away = torch.zeros_like(probe.units), torch.zeros_like(probe.units[:, 0, 0])
    baselines, (places, shares) = _baselines(probe, references, seed), _quadrature(steps, "gausslegendre", probe.units)
    for some in _passes(probe, samples):
        starts = torch.stack([next(baselines) for _ in range(some)])  # k b n d
        way = probe.units - starts
        for place, share in zip(places, shares, strict=True):
            _, slopes = score_gradient(probe, rearrange(starts + place * way, "k b n d -> (k b) n d"))
            slopes = rearrange(slopes, "(k b) n d -> k b n d", k=some)
            total += einsum(way, slopes, share / samples, "k b n d, k b n d, -> b n d")
        with torch.no_grad():
            scores = probe.score(rearrange(starts, "k b n d -> (k b) n d"))
        away += reduce(scores, "(k b) -> b", "sum", k=some) / samples
    relevance = _read(probe, total, "signed")
    with torch.no_grad():
        change = probe.score(probe.units) - away
    return Attribution(relevance, relative_gap(relevance, change), f"{samples} baselines, {steps} steps")


def smoothgrad(
    probe: Probe, statistics: Statistics, samples: int = 50, noise: float = 0.5, reading: Reading = "norm", seed: int = 0
) -> Attribution:
    """Mean gradient over copies of the units with noise.

    Args:
        noise: in the usual deviations of each feature; 0.5 is a tenth of a range of five.
    Source: Smilkov et al. 2017. Differs: noise in deviations, not as a share of one example's range.
    """
    total = torch.zeros_like(probe.units)
    spread = noise * statistics.std.to(total)
    noises = _normal(probe, seed)
    for some in _passes(probe, samples):
        copies = torch.stack([probe.units + spread * next(noises) for _ in range(some)])
        _, slopes = score_gradient(probe, rearrange(copies, "k b n d -> (k b) n d"))
        total += reduce(slopes, "(k b) n d -> b n d", "sum", k=some) / samples
    return Attribution(_read(probe, total, reading), note=f"{samples} samples, noise {noise:g}, {reading}")


def _read(probe: Probe, values: Float[Tensor, "b n d"], reading: Reading) -> Float[Tensor, "b n"]:
    """One number per unit; 0 on padding."""
    number = {
        "norm": lambda: values.norm(dim=-1),
        "absolute": lambda: reduce(values.abs(), "b n d -> b n", "sum"),
        "largest": lambda: reduce(values.abs(), "b n d -> b n", "max"),
        "signed": lambda: reduce(values, "b n d -> b n", "sum"),
    }[reading]()
    return number.masked_fill(~probe.present, 0.0)


def _quadrature(steps: int, rule: Rule, like: Tensor) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Places in 0..1 and their shares, which sum to 1."""
    if steps < 1:
        raise BadUsage(f"{steps} steps; integrated gradients need at least 1")
    places, shares = {
        "midpoint": lambda: ((np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)),
        "gausslegendre": lambda: (np.polynomial.legendre.leggauss(steps)[0] / 2 + 0.5, np.polynomial.legendre.leggauss(steps)[1] / 2),
    }[rule]()
    return torch.from_numpy(places).to(like), torch.from_numpy(shares).to(like)


def _passes(probe: Probe, samples: int) -> Iterator[int]:
    """How many copies go through the model in each pass."""
    if samples < 1:
        raise BadUsage(f"{samples} samples; at least 1 is needed")
    rows = max(1, probe.rows // len(probe.units))
    yield from (min(rows, samples - first) for first in range(0, samples, rows))


def _normal(probe: Probe, seed: int) -> Iterator[Float[Tensor, "b n d"]]:
    """Normal numbers without end, for one copy at a time, so that the size of a pass changes none of them."""
    draw = Draw(probe.present.sum(1), seed)
    while True:
        yield draw.normal(1, probe.present, probe.units.shape[-1])[0].to(probe.units)


def _baselines(probe: Probe, references: References, seed: int) -> Iterator[Float[Tensor, "b n d"]]:
    """Drawn baselines without end, one for each copy; padding stays as it is."""
    if isinstance(references, Statistics):
        mean, std = references.mean.to(probe.units), references.std.to(probe.units)
        for noise in _normal(probe, seed):
            yield hold_padding(probe, mean + std * noise)
            yield hold_padding(probe, mean - std * noise)
        return
    pool, whole = references.to(probe.units), references.ndim == 3
    if pool.shape[-1] != probe.units.shape[-1] or (whole and pool.shape[1] != probe.units.shape[1]):
        raise BadUsage(f"references of shape {tuple(pool.shape)} do not fit units of shape {tuple(probe.units.shape)}")
    draw, place = Draw(probe.present.sum(1), seed), (probe.present.cumsum(1) - 1).clamp_min(0)
    while True:
        chance = rearrange(draw.uniform(1), "b 1 p -> b p")
        index = (chance * len(pool)).long().clamp_max(len(pool) - 1)
        yield hold_padding(probe, pool[index[:, 0]] if whole else pool[index.gather(1, place)])
