"""Information bottleneck attribution (IBA): how many nats of each unit must pass for the model to keep its answer.

Source: Schulz et al. 2020; Jiang et al. 2020 for transformers. Differs: statistics of the layer's own output over many texts,
spread floored, KL in log-space, mean over real units only, read after the last update; beta to match.
"""

from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.explain.attribution import Attribution, Statistics, example_mean
from pellucid.explain.draw import Draw
from pellucid.explain.probe import Probe

STD_FLOOR = 0.01
OPEN_GATE = 5.0  # where every gate starts: sigmoid(5) lets 99.3% through


class Calibration:
    """Mean and spread of each feature over the real units of many batches."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def update(self, units: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"]) -> None:
        """Counts one batch; padding is left out."""
        real = units.detach()[present].double()
        if len(real):
            mean = real.mean(0)
            self._join(len(real), mean, (real - mean).square().sum(0))

    def merge(self, other: "Calibration") -> None:
        """Adds what another calibration has counted."""
        if other.count:
            self._join(other.count, other.mean, other.squares)

    def compute(self) -> Statistics:
        """The statistics so far.

        Raises:
            ValueError: nothing was counted yet.
        """
        if not self.count:
            raise ValueError("no real unit was counted; update with at least one batch")
        return Statistics(self.mean.float(), (self.squares / self.count).sqrt().clamp_min(STD_FLOOR).float(), "calibrated")

    def _join(self, count: int, mean: Float[Tensor, " d"], squares: Float[Tensor, " d"]) -> None:
        """Chan's update: exact in any order, no loss where the mean is far from 0."""
        if not self.count:
            self.count, self.mean, self.squares = count, mean, squares
            return
        whole, apart = self.count + count, mean - self.mean
        self.mean = self.mean + apart * (count / whole)
        self.squares = self.squares + squares + apart.square() * (self.count * count / whole)
        self.count = whole


def calibrated(units: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"]) -> Statistics:
    """Statistics over all real units of one batch; for many batches see `Calibration`."""
    calibration = Calibration()
    calibration.update(units, present)
    return calibration.compute()


def of_sample(units: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"]) -> Statistics:
    """Statistics of each example over its own real units, for when there are no texts to calibrate on."""
    mean = example_mean(units, present)
    variance = example_mean((units - mean).square(), present)
    return Statistics(mean, variance.sqrt().clamp_min(STD_FLOOR), "sample")


def of_unit(units: Float[Tensor, "b n d"]) -> Statistics:
    """Mean 0 and deviation 1, whatever the features are."""
    return Statistics(torch.zeros_like(units[0, 0]), torch.ones_like(units[0, 0]), "unit")


@dataclass(frozen=True)
class Settings:
    """How a bottleneck is fitted.

    Args:
        beta: price of a nat, averaged over units and features; 1e-3 to 0.1 are useful with calibrated statistics.
        steps: Adam updates; many more drive everything to the floor.
        copies: draws of noise per update.
        lr: Adam's rate; at 1 the gate moves by about 1 per update.
        rows: noisy copies of examples in one pass; bounds memory, changes no result.
    """

    beta: float = 0.01
    steps: int = 10
    copies: int = 10
    lr: float = 1.0
    rows: int = 64


DEFAULT = Settings()


def capacity(signal: Float[Tensor, "*shape"], alpha: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """Nats that pass a gate: KL of N(lambda r, (1 - lambda)^2) from N(0, 1), per element.

    Args:
        signal: the units in standard deviations from the mean (r).
        alpha: the gate's logit; lambda is its sigmoid. Any size is safe: ln(1 - lambda) = -softplus(alpha).
    """
    keep = alpha.sigmoid()
    return (0.5 * (keep * keep - 2 * keep + (keep * signal).square()) + F.softplus(alpha)).clamp_min(0.0)


def noised(
    units: Float[Tensor, "*k b n d"],
    statistics: Statistics,
    alpha: Float[Tensor, "#b n d"],
    noise: Float[Tensor, "*k b n d"],
    least: float = 0.0,
) -> Float[Tensor, "*k b n d"]:
    """The units with a share (1 - lambda) of each feature drowned in noise of its usual mean and spread.

    Args:
        least: smallest share of noise. Differs: the official program clamps it to e^-5, so that even an open gate is noisy.
    """
    keep, mean, std = alpha.sigmoid(), statistics.mean.to(units), statistics.std.to(units)
    return mean + std * (keep * ((units - mean) / std) + (1 - keep).clamp_min(least) * noise)


def bottleneck(probe: Probe, statistics: Statistics, settings: Settings = DEFAULT, seed: int = 0) -> Attribution:
    """Nats of each unit that must pass for the score to stay high; never negative, 0 for padding.

    Every example has gates and noise of its own, so it gets the same relevance in any batch; Adam works element by element.
    The gates maximise `score`: for a log-probability this is the paper's cross-entropy to the answer.
    """
    units, present = probe.units.detach(), probe.present
    signal = (units - statistics.mean.to(units)) / statistics.std.to(units)
    alpha = torch.full_like(units, OPEN_GATE, requires_grad=True)
    adam = torch.optim.Adam([alpha], lr=settings.lr)
    counts = present.sum(1)
    draw = Draw(counts, seed)
    for _ in range(settings.steps):
        noise = draw.normal(settings.copies, present, units.shape[-1])
        with torch.enable_grad():
            price = _mean_nats(signal, alpha, present).sum()
            alpha.grad = settings.beta * torch.autograd.grad(price, alpha)[0]
        for some in noise.split(max(1, settings.rows // len(units))):
            alpha.grad += _loss_gradient(probe, statistics, alpha, some) / settings.copies
        adam.step()
    nats = reduce(capacity(signal, alpha.detach()), "b n d -> b n", "sum")
    note = f"{statistics.kind} statistics, beta {settings.beta:g}"
    return Attribution(nats.masked_fill(~present, 0.0), note=note)


def _mean_nats(signal: Float[Tensor, "b n d"], alpha: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """Capacity per example, the mean over the features of its real units."""
    nats = reduce(capacity(signal, alpha), "b n d -> b n", "mean").where(present, 0.0)
    return reduce(nats, "b n -> b", "sum") / present.sum(1).clamp_min(1)


def _loss_gradient(
    probe: Probe, statistics: Statistics, alpha: Float[Tensor, "b n d"], noise: Float[Tensor, "k b n d"]
) -> Float[Tensor, "b n d"]:
    """Gradient of minus the score to the gates, summed over copies and examples; no parameter is touched."""
    with torch.enable_grad():
        units = probe.units.detach().expand_as(noise)
        seen = noised(units, statistics, alpha, noise).where(probe.present[..., None], units)
        lost = -probe.score(rearrange(seen, "k b n d -> (k b) n d")).sum()
        return torch.autograd.grad(lost, alpha)[0]
