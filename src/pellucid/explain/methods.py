"""Every attribution method under its public name, all called alike; settings are keywords."""

import functools
import inspect
import typing
from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from pellucid.coerce import coerce, nearest
from pellucid.errors import BadUsage
from pellucid.explain import attribution, bottleneck, catalog, gradient, patches, perturb, pooling, surrogate
from pellucid.explain.attribution import Attribution, Statistics
from pellucid.explain.probe import Probe
from pellucid.explain.rollout import attention_rollout, query_attention
from pellucid.recipe import file_module

Baseline = Literal["mean", "zero"]
Removal = Literal["mean", "zero", "cut"]


@runtime_checkable
class Method(Protocol):
    """Relevance of a probe's units; `statistics` give the baseline or the noise, None takes each example's own."""

    def __call__(self, probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
        """The relevance; the same whatever other examples are in the batch."""


def named(name: str, options: Mapping[str, str]) -> Method:
    """A method by its public name, or `./mine.py:function`, called as `function(probe, statistics, seed) -> Attribution`.

    Raises:
        BadUsage: no such method, file, function or option.
    """
    place, colon, function = name.rpartition(":")
    if not colon:
        return configured(name, options)
    module = file_module(place)
    found = getattr(module, function, None)
    if not callable(found):
        raise BadUsage(f"no function {function!r} in {place}" + nearest(function, [k for k, v in vars(module).items() if callable(v)]))
    return functools.partial(found, **options)


def configured(name: str, options: Mapping[str, str]) -> Method:
    """The method of that name with its settings, read from text.

    Raises:
        BadUsage: no such method or option, the nearest named; or a value of another kind.
    """
    if name not in METHODS:
        raise BadUsage(f"no method {name!r}" + nearest(name, list(METHODS)))
    return _with(METHODS[name], name, options)


def options_of(name: str) -> dict[str, object]:
    """The settings of a method and what they are unless told."""
    return _keywords(METHODS[name])


def _keywords(method: Method) -> dict[str, object]:
    parameters = inspect.signature(method).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _with(method: Method, name: str, options: Mapping[str, str]) -> Method:
    """The method with settings read from text; of a setting without an annotation the text itself."""
    known, kinds = _keywords(method), typing.get_type_hints(method) if options else {}
    for option in options:
        if option not in known:
            raise BadUsage(f"{name} has no option {option!r}" + (nearest(option, list(known)) if known else "; it has none"))
    settings = {option: coerce(value, kinds.get(option, str), f"{name}.{option}") for option, value in options.items()}
    return functools.partial(method, **settings) if settings else method


def _iba(
    probe: Probe,
    statistics: Statistics | None,
    seed: int,
    *,
    beta: float | None = None,
    beta_on: Literal["mean", "sum"] = "mean",
    steps: int = bottleneck.DEFAULT.steps,
    copies: int = bottleneck.DEFAULT.copies,
    lr: float = bottleneck.DEFAULT.lr,
    gates: Literal["feature", "unit"] = "feature",
    special: Literal["treat", "clean", "hide"] = "treat",
    read: Literal["after", "before"] = "after",
    unit: Literal["nats", "bits"] = "nats",
    smooth: float | None = None,
    stop_within: float | None = None,
    least: float = 0.0,
    against: Literal["calibrated", "official", "sample", "unit"] = "calibrated",
) -> Attribution:
    usual = bottleneck.suited(probe)
    beta, smooth = usual.beta if beta is None else beta, usual.smooth if smooth is None else smooth
    settings = bottleneck.Settings(beta, beta_on, steps, copies, lr, gates, special, read, unit, smooth, stop_within, least)
    return bottleneck.bottleneck(probe, _against(probe, statistics, against), settings, seed)


def _against(probe: Probe, statistics: Statistics | None, kind: str) -> Statistics:
    """The statistics that noise has; where none were calibrated, the example's own."""
    if kind == "official":
        return bottleneck.official(probe)
    if kind == "unit":
        return bottleneck.of_unit(probe.units)
    return bottleneck.of_sample(probe.units, probe.present) if kind == "sample" or statistics is None else statistics


def _gradient(probe: Probe, statistics: Statistics | None, seed: int, *, reading: gradient.Reading = "norm") -> Attribution:
    return gradient.gradient(probe, reading)


def _gradient_x_input(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return gradient.gradient_x_input(probe)


def _integrated_gradients(
    probe: Probe,
    statistics: Statistics | None,
    seed: int,
    *,
    baseline: Baseline = "mean",
    steps: int = 64,
    rule: gradient.Rule = "midpoint",
) -> Attribution:
    return gradient.integrated_gradients(probe, attribution.baseline(probe, baseline, statistics), steps, rule)


def _expected_gradients(probe: Probe, statistics: Statistics | None, seed: int, *, samples: int = 32, steps: int = 2) -> Attribution:
    return gradient.expected_gradients(probe, _spread(probe, statistics), samples, steps, seed)


def _gradcam(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return gradient.gradcam(probe)


def _smoothgrad(
    probe: Probe,
    statistics: Statistics | None,
    seed: int,
    *,
    samples: int = 50,
    noise: float = 0.5,
    reading: gradient.Reading = "norm",
) -> Attribution:
    return gradient.smoothgrad(probe, _spread(probe, statistics), samples, noise, reading, seed)


def _occlusion(
    probe: Probe,
    statistics: Statistics | None,
    seed: int,
    *,
    baseline: Removal = "mean",
    window: tuple[int, ...] = (1,),
    stride: tuple[int, ...] = (1,),
) -> Attribution:
    return perturb.occlusion(probe, _instead(probe, baseline, statistics), window, stride)


def _lime(
    probe: Probe,
    statistics: Statistics | None,
    seed: int,
    *,
    baseline: Removal = "mean",
    samples: int = 200,
    width: float = surrogate.KERNEL_WIDTH,
    block: int = 1,
) -> Attribution:
    return surrogate.lime(patches.in_blocks(probe, block), _instead(probe, baseline, statistics), samples, width, seed=seed)


def _kernel_shap(
    probe: Probe,
    statistics: Statistics | None,
    seed: int,
    *,
    baseline: Removal = "mean",
    samples: int = 512,
    block: int = 1,
) -> Attribution:
    return surrogate.kernel_shap(patches.in_blocks(probe, block), _instead(probe, baseline, statistics), samples, seed)


def _attention_rollout(probe: Probe, statistics: Statistics | None, seed: int, *, residual: float = 0.5) -> Attribution:
    return attention_rollout(probe, residual)


def _query_attention(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return query_attention(probe)


def _attention(probe: Probe, statistics: Statistics | None, seed: int, *, unit: int | None = None, by: pooling.By = "mean") -> Attribution:
    return pooling.attention(probe, unit, by)


def _random(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
    return perturb.random(probe, seed)


def _instead(probe: Probe, kind: Removal, statistics: Statistics | None) -> Float[Tensor, "b n d"] | None:
    """What takes the place of what is removed; None cuts it out."""
    return None if kind == "cut" else attribution.baseline(probe, kind, statistics)


def _spread(probe: Probe, statistics: Statistics | None) -> Statistics:
    return statistics or bottleneck.of_sample(probe.units, probe.present)


METHODS: dict[str, Method] = {
    "iba": _iba,
    "gradient": _gradient,
    "gradient_x_input": _gradient_x_input,
    "integrated_gradients": _integrated_gradients,
    "expected_gradients": _expected_gradients,
    "gradcam": _gradcam,
    "smoothgrad": _smoothgrad,
    "occlusion": _occlusion,
    "lime": _lime,
    "kernel_shap": _kernel_shap,
    "attention_rollout": _attention_rollout,
    "query_attention": _query_attention,
    "attention": _attention,
    "random": _random,
}
assert list(METHODS) == list(catalog.METHODS), "the catalog and the table of methods differ"
