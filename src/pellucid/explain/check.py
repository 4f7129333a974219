"""Holds an attribution method, ours or yours, to probes whose truth is known."""

from collections.abc import Callable
from typing import Any

import torch
from einops import einsum, repeat

from pellucid.explain.attribution import Attribution, baseline
from pellucid.explain.bottleneck import calibrated
from pellucid.explain.degrade import degradation
from pellucid.explain.methods import named
from pellucid.explain.probe import Attention, Probe

NUM_PLANTED, NUM_UNITS, WIDTH, NUM_EXAMPLES = 3, 12, 8, 8


def planted(seed: int = 0) -> tuple[Probe, torch.Tensor]:
    """A probe whose score is a saturated sum over three units of each example, and which units those are (b n).

    The other units are read by nothing; the last two of half the examples are padding. Its attention, in two layers of two heads,
    is even in the first and on the planted units in the second; a query that looks does so at the planted ones, and it sums these alone.
    """
    draw = torch.Generator().manual_seed(seed)
    units = torch.randn(NUM_EXAMPLES, NUM_UNITS, WIDTH, generator=draw)
    present = torch.ones(NUM_EXAMPLES, NUM_UNITS, dtype=torch.bool)
    present[::2, -2:] = False
    order = torch.rand(NUM_EXAMPLES, NUM_UNITS, generator=draw).masked_fill(~present, 2.0).argsort(1)
    truth = torch.zeros_like(present).scatter(1, order[:, :NUM_PLANTED], True)
    direction = torch.randn(WIDTH, generator=draw)
    # planted units speak for the answer, so that removing any of them must cost score
    units = torch.where(truth[..., None], units.abs() * direction.sign(), units)

    def score(some: torch.Tensor) -> torch.Tensor:
        weight = truth.to(some.dtype).repeat(len(some) // NUM_EXAMPLES, 1)
        return torch.nn.functional.logsigmoid(einsum(some, direction, weight, "b n d, d, b n -> b") / 4)

    even, planted = (mask / mask.sum(1, keepdim=True) for mask in (present, truth))
    weights = repeat(torch.stack([even, planted]), "l b m -> l b h n m", h=2, n=NUM_UNITS)
    told = torch.zeros(NUM_EXAMPLES, dtype=torch.long)
    looked = repeat(planted, "b n -> b m n", m=2)
    seen = Attention(weights, even)
    return Probe(units, present, score, told, attention=lambda: seen, looked=lambda: looked, pooled=lambda: looked), truth


def alone(probe: Probe, i: int) -> Probe:
    """One example of a probe, by itself."""

    def score(some: torch.Tensor) -> torch.Tensor:
        whole = probe.units.repeat(len(some), 1, 1).unflatten(0, (len(some), -1)).clone()
        whole[:, i] = some
        return probe.score(whole.flatten(0, 1)).unflatten(0, (len(some), -1))[:, i]

    def attention() -> Attention:
        assert probe.attention, "planted probes have attention"
        whole = probe.attention()
        return Attention(whole.weights[:, i : i + 1], whole.read[i : i + 1])

    def looked() -> torch.Tensor:
        assert probe.looked, "planted probes have a query that looks"
        return probe.looked()[i : i + 1]

    def pooled() -> torch.Tensor:
        assert probe.pooled, "planted probes have sums"
        return probe.pooled()[i : i + 1]

    some = (probe.units[i : i + 1], probe.present[i : i + 1])
    return Probe(*some, score, probe.answer[i : i + 1], attention=attention, looked=looked, pooled=pooled)


def check_method(name: str) -> list[dict[str, Any]]:
    """One row per promise: what it is, whether it is kept, and the number found."""
    method = named(name, {})
    probe, truth = planted()
    statistics = calibrated(probe.units, probe.present)

    def ask(some: Probe) -> Attribution:
        return method(some, statistics, 0)

    found = ask(probe)
    if not isinstance(found, Attribution) or found.relevance.shape != probe.present.shape:
        shape = tuple(found.relevance.shape) if isinstance(found, Attribution) else type(found).__name__
        return [
            {"promise": "an Attribution with one number per unit", "ok": False, "found": f"{shape}, wanted {tuple(probe.present.shape)}"}
        ]
    promises: list[Callable[[], tuple[str, bool, str]]] = [
        lambda: _finite(found),
        lambda: _padding(found, probe),
        lambda: _again(found, ask(probe)),
        lambda: _neighbours(found, ask(alone(probe, 1))),
        lambda: _planted(found, probe, truth),
        lambda: _curve(found, probe, baseline(probe, "mean", statistics)),
        lambda: _complete(found),
    ]
    return [dict(zip(("promise", "ok", "found"), promise(), strict=True)) for promise in promises]


def _finite(found: Attribution) -> tuple[str, bool, str]:
    bad = int((~found.relevance.isfinite()).sum())
    return "every relevance is finite", bad == 0, f"{bad} are not"


def _padding(found: Attribution, probe: Probe) -> tuple[str, bool, str]:
    most = found.relevance[~probe.present].abs().max().item()
    return "padding gets exactly 0", most == 0, f"at most {most:.2g}"


def _again(found: Attribution, second: Attribution) -> tuple[str, bool, str]:
    gap = (found.relevance - second.relevance).abs().max().item()
    return "the same seed gives the same map", gap == 0, f"largest difference {gap:.2g}"


def _neighbours(found: Attribution, single: Attribution) -> tuple[str, bool, str]:
    scale = found.relevance[1].abs().max().item() or 1.0
    gap = (found.relevance[1] - single.relevance[0]).abs().max().item() / scale
    return "an example alone gets the map it gets in a batch", gap < 1e-3, f"largest difference {gap:.2g} of the peak"


def _planted(found: Attribution, probe: Probe, truth: torch.Tensor) -> tuple[str, bool, str]:
    ranked = found.relevance.abs().masked_fill(~probe.present, -1.0).argsort(1, descending=True)[:, :NUM_PLANTED]
    share = truth.gather(1, ranked).float().mean().item()
    return "the units that decide the score rank first", share >= 0.9, f"{share:.0%} of the top three are planted"


def _curve(found: Attribution, probe: Probe, nothing: torch.Tensor) -> tuple[str, bool, str]:
    curves = degradation(probe, found.relevance, nothing)
    area, chance = curves.area.mean().item(), curves.random_area.mean().item()
    return "removing its units costs more than removing any", area > chance + 0.1, f"area {area:.3f}, at random {chance:.3f}"


def _complete(found: Attribution) -> tuple[str, bool, str]:
    if found.gap is None:
        return "what it says of its completeness holds", True, "it promises none"
    most = found.gap.abs().max().item()
    return "what it says of its completeness holds", most < 0.05, f"largest gap {most:.2%}"
