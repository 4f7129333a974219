"""What every method gives back, and what it measures against: statistics of the units and a baseline."""

from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain.probe import Probe

BASELINES = ("mean", "zero")


@dataclass(frozen=True)
class Attribution:
    """Which units made the model say so.

    Args:
        relevance: signed share of each unit where the method has signs; exactly 0 for padding.
        gap: sum of relevance minus the change of score from the baseline, relative to that change;
            None for methods that do not promise completeness.
        note: what a reader must know about the setting, in one line.
    """

    relevance: Float[Tensor, "b n"]
    gap: Float[Tensor, " b"] | None = None
    note: str = ""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the units at a site, broadcast against `b n d`.

    Args:
        kind: where they come from: "calibrated" on many texts, "sample" (the example itself), "unit" (0 and 1).
    """

    mean: Float[Tensor, "... d"]
    std: Float[Tensor, "... d"]
    kind: str = "calibrated"


def example_mean(units: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"]) -> Float[Tensor, "b 1 d"]:
    """Mean over the real units of each example alone, so that no neighbour changes it."""
    count = rearrange(present.sum(1).clamp_min(1), "b -> b 1 1")
    return reduce(units.where(present[..., None], 0.0), "b n d -> b 1 d", "sum") / count


def baseline(probe: Probe, kind: str = "mean", statistics: Statistics | None = None) -> Float[Tensor, "b n d"]:
    """Units that say nothing; padding stays as it is.

    Args:
        kind: "mean", the mean unit of the statistics, or of the example where there are none, or zeros where the site says that they
            say nothing; or "zero", which in front of a normalisation layer is far from anything the model has seen.
    Raises:
        BadUsage: another kind.
    """
    if kind not in BASELINES:
        raise BadUsage(f"no baseline {kind!r}; there are {', '.join(BASELINES)}")
    if kind == "zero" or (probe.site is not None and probe.site.zero):
        nothing = torch.zeros_like(probe.units)
    elif statistics is None:
        nothing = example_mean(probe.units, probe.present)
    else:
        nothing = statistics.mean.to(probe.units)
    return hold_padding(probe, nothing.expand_as(probe.units))


def hold_padding(probe: Probe, units: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """The given units where real, the probe's own where padding."""
    return units.where(probe.present[..., None], probe.units)


@torch.no_grad()
def completeness_gap(probe: Probe, relevance: Float[Tensor, "b n"], start: Float[Tensor, "b n d"]) -> Float[Tensor, " b"]:
    """Share of the change of score from `start` that relevance has too much (positive) or misses (negative)."""
    return relative_gap(relevance, probe.score(probe.units) - probe.score(start))


def relative_gap(relevance: Float[Tensor, "b n"], change: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """What relevance sums to less the change, as a share of it; no change at all: the error itself, in millionths."""
    return (reduce(relevance, "b n -> b", "sum") - change) / change.where(change.abs() > 1e-6, 1e-6)
