"""Readout bottleneck: a small network learns once to say the gates, so that explaining costs two passes and no fitting.

Source: Schulz et al. 2020, section "readout". Differs: on any units, not on feature maps alone; beta as `bottleneck` has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.data import loader
from pellucid.errors import BadUsage
from pellucid.explain.attribution import Attribution, Statistics
from pellucid.explain.bottleneck import OPEN_GATE, capacity, noised
from pellucid.explain.draw import Draw
from pellucid.explain.methods import Method
from pellucid.explain.probe import Probe, ask
from pellucid.task import Example, Task


@dataclass(frozen=True)
class ReadoutSettings:
    """How a readout is trained.

    Args:
        beta: price of a nat, on the mean over features.
        steps: Adam updates, each on `batch_size` examples with one draw of noise.
        wait: share of the updates over which beta rises from 0, so that the network does not shut every gate before it has looked.
    """

    beta: float = 0.1
    steps: int = 200
    batch_size: int = 16
    lr: float = 1e-3
    wait: float = 0.1


class Readout(nn.Module):
    """Logits of the gates of each unit, from what the unit is at several sites; starts by letting all through."""

    def __init__(self, told: int, width: int):
        super().__init__()
        last = nn.Linear(2 * width, width)
        self.layers = nn.Sequential(nn.Linear(told, told // 2), nn.ReLU(), nn.Linear(told // 2, 2 * width), nn.ReLU(), last)
        with torch.no_grad():
            last.weight.mul_(1e-3)
            last.bias.fill_(OPEN_GATE)

    def forward(self, told: Float[Tensor, "b n f"]) -> Float[Tensor, "b n d"]:
        """Between -5, shut, and 5, open."""
        return self.layers(told).clamp(-OPEN_GATE, OPEN_GATE)


def told(probe: Probe, statistics: Mapping[str, Statistics]) -> Float[Tensor, "b n f"]:
    """What the network sees: the units at each site in standard deviations from their mean, side by side.

    Raises:
        BadUsage: the sites' units are not the same things.
    """
    assert probe.elsewhere is not None, "a readout is of a model"
    parts = []
    for site, at in statistics.items():
        units = probe.elsewhere(site)
        if units.shape[:2] != probe.units.shape[:2]:
            raise BadUsage(f"readout: site {site!r} has {units.shape[1]} units where the explained site has {probe.units.shape[1]}")
        parts.append((units - at.mean.to(units)) / at.std.to(units))
    return torch.cat(parts, -1)


def train_readout(
    task: Task,
    examples: Sequence[Example],
    site: str,
    statistics: Mapping[str, Statistics],
    settings: ReadoutSettings = ReadoutSettings(),
    seed: int = 0,
) -> Readout:
    """A network that says the gates of `site`, trained on unlabelled examples for the model's own answers.

    Args:
        statistics: of the sites it reads, the explained one among them.
    """
    draw = torch.Generator().manual_seed(seed)
    widths = sum(known.mean.shape[-1] for known in statistics.values())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Readout(widths, statistics[site].mean.shape[-1])
    device = next(task.model.parameters()).device
    network.to(device)
    adam = torch.optim.Adam(network.parameters(), lr=settings.lr)
    for step in range(settings.steps):
        chosen = torch.randperm(len(examples), generator=draw)[: settings.batch_size].tolist()
        probe = ask(task, loader.move(task.collate([examples[i] for i in chosen]), device), site)
        noise = Draw(probe.present.sum(1), seed + step).normal(1, probe.present, probe.units.shape[-1])[0]
        beta = settings.beta * min(1.0, step / max(1.0, settings.wait * settings.steps))
        with torch.enable_grad():
            loss = _loss(probe, network(told(probe, statistics)), statistics[site], noise, beta)
        adam.zero_grad()
        for parameter, gradient in zip(network.parameters(), torch.autograd.grad(loss, list(network.parameters())), strict=True):
            parameter.grad = gradient
        adam.step()
    return network.eval()


def _loss(probe: Probe, alpha: Float[Tensor, "b n d"], known: Statistics, noise: Float[Tensor, "b n d"], beta: float) -> Float[Tensor, ""]:
    units, real = probe.units.detach(), probe.present[..., None]
    seen = noised(units, known, alpha.sigmoid(), noise).where(real, units)
    nats = _nats(probe, alpha, known).sum() / (probe.present.sum() * units.shape[-1])
    return beta * nats - probe.score(seen).mean()


def _nats(probe: Probe, alpha: Float[Tensor, "b n d"], known: Statistics) -> Float[Tensor, "b n"]:
    units = probe.units.detach()
    signal = (units - known.mean.to(units)) / known.std.to(units)
    return reduce(capacity(signal, alpha), "b n d -> b n", "sum").masked_fill(~probe.present, 0.0)


def readout(network: Readout, site: str, known: Mapping[str, Statistics]) -> Method:
    """The trained network as a method: nats of each unit that pass the gates it says; never negative, 0 for padding."""

    @torch.no_grad()
    def method(probe: Probe, statistics: Statistics | None, seed: int) -> Attribution:
        relevance = _nats(probe, network(told(probe, known)), known[site])
        return Attribution(relevance, note=f"nats, gates said by a network that reads {', '.join(known)}")

    return method
