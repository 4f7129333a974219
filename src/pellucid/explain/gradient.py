"""Methods that follow the gradient of the score to the units."""

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from pellucid.explain.attribution import Attribution, completeness_gap, hold_padding
from pellucid.explain.probe import Probe, in_chunks


def score_gradient(probe: Probe, units: Float[Tensor, "kb n d"]) -> tuple[Float[Tensor, " kb"], Float[Tensor, "kb n d"]]:
    """Each copy's score and its gradient to the copy's own units; `probe.rows` go through the model at a time."""

    def differentiate(part: Float[Tensor, "some n d"]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            here = part.detach().requires_grad_()
            found = probe.score(here)
            return found.detach(), torch.autograd.grad(found.sum(), here)[0]

    scores, gradients = zip(*in_chunks(differentiate, units, len(probe.units), probe.rows), strict=True)
    return torch.cat(scores), torch.cat(gradients)


def integrated_gradients(probe: Probe, baseline: Float[Tensor, "b n d"], steps: int = 64) -> Attribution:
    """Mean gradient on the straight way from the baseline, times that way; sums to the change of score.

    Source: Sundararajan et al. 2017, midpoint rule.
    """
    start = hold_padding(probe, baseline)
    way, total = probe.units - start, torch.zeros_like(probe.units)
    places = (torch.arange(steps, device=way.device) + 0.5) / steps
    for some in places.split(max(1, probe.rows // len(way))):
        points = start + rearrange(some, "k -> k 1 1 1") * way  # k b n d
        _, gradient = score_gradient(probe, rearrange(points, "k b n d -> (k b) n d"))
        total += reduce(gradient, "(k b) n d -> b n d", "sum", k=len(some))
    relevance = reduce(way * total / steps, "b n d -> b n", "sum").masked_fill(~probe.present, 0.0)
    return Attribution(relevance, completeness_gap(probe, relevance, start), f"{steps} steps")


def gradient_x_input(probe: Probe) -> Attribution:
    """Gradient of the score times the units: their effect were the model linear and without bias."""
    product = score_gradient(probe, probe.units)[1] * probe.units
    return Attribution(reduce(product, "b n d -> b n", "sum").masked_fill(~probe.present, 0.0))
