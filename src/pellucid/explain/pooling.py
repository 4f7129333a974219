"""The model's own attention, where it pools the units of a site by weights."""

from typing import Literal

from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain.attribution import Attribution
from pellucid.explain.probe import Probe

By = Literal["mean", "max"]
NOTE = "attention as it is; not tied to the score, the same for every answer"


def attention(probe: Probe, unit: int | None = None, by: By = "mean") -> Attribution:
    """Share of each unit in the sums by which the model pools this site; never negative, sums to 1 over real units.

    It is read, not tested: nothing promises that the answer rests on what was attended to, and it is the same for every answer. The
    checks that every other method is held to say how far it does.

    Args:
        unit: attention unit that is read, from 0; None takes all of them together.
        by: of all, the mean over attention units; or the most that one of them gives, as shares of the sum of these.
    Raises:
        BadUsage: the model does not pool the units of this site, or has no such attention unit.
    Source: Long et al. 2018, Attention Clusters.
    """
    if probe.pooled is None:
        raise BadUsage("attention needs a model that pools the units of a site by weights; choose another method")
    weights = probe.pooled()
    if weights.shape[-1] != probe.present.shape[1]:
        raise BadUsage(f"the model pools {weights.shape[-1]} units and this site has {probe.present.shape[1]}; name another site")
    weights = weights.masked_fill(rearrange(~probe.present, "b n -> b 1 n"), 0.0)
    if unit is None:
        return Attribution(_shares(reduce(weights, "b u n -> b n", by)), note=f"{by} of {weights.shape[1]} attention units; {NOTE}")
    if not 0 <= unit < weights.shape[1]:
        raise BadUsage(f"attention.unit={unit}: the model has {weights.shape[1]} attention units here, from 0 to {weights.shape[1] - 1}")
    return Attribution(_shares(weights[:, unit]), note=f"attention unit {unit} of {weights.shape[1]}; {NOTE}")


def _shares(found: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    return found / reduce(found, "b n -> b 1", "sum").clamp_min(1e-12)
