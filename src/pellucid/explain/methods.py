"""Every attribution method under its public name, all called alike."""

from typing import Protocol, runtime_checkable

from pellucid.explain import catalog
from pellucid.explain.attribution import Attribution, Statistics, baseline
from pellucid.explain.bottleneck import bottleneck, of_sample
from pellucid.explain.gradient import gradient_x_input, integrated_gradients
from pellucid.explain.perturb import lime, occlusion, random
from pellucid.explain.probe import Probe


@runtime_checkable
class Method(Protocol):
    """Relevance of a probe's units; `statistics` give the baseline or the noise, None takes each example's own."""

    def __call__(self, probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
        """The relevance; the same whatever other examples are in the batch."""


def _iba(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return bottleneck(probe, statistics or of_sample(probe.units, probe.present), seed=seed)


def _integrated_gradients(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return integrated_gradients(probe, baseline(probe, "mean", statistics))


def _gradient_x_input(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return gradient_x_input(probe)


def _occlusion(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return occlusion(probe, baseline(probe, "mean", statistics))


def _lime(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return lime(probe, baseline(probe, "mean", statistics), seed=seed)


def _random(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return random(probe, seed)


METHODS: dict[str, Method] = {
    "iba": _iba,
    "integrated_gradients": _integrated_gradients,
    "gradient_x_input": _gradient_x_input,
    "occlusion": _occlusion,
    "lime": _lime,
    "random": _random,
}
assert list(METHODS) == list(catalog.METHODS), "the catalog and the table of methods differ"
