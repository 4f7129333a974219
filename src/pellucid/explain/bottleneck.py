"""Information bottleneck attribution (IBA): how many nats of each unit must pass for the model to keep its answer.

Source: Schulz et al. 2020; Jiang et al. 2020 for transformers. Differs: statistics of the layer's own output over many texts,
spread floored, KL in log-space, mean over real units only, read after the last update; beta to match.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import torch
from einops import EinopsError, einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from pellucid.errors import BadUsage
from pellucid.explain.attribution import Attribution, Statistics, example_mean
from pellucid.explain.draw import Draw
from pellucid.explain.patches import places
from pellucid.explain.probe import Probe, in_chunks

STD_FLOOR = 0.01
OFFICIAL_STD = 1e-5**0.5  # what the official estimator gives for a single sentence, whatever its features
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


def official(probe: Probe) -> Statistics:
    """What the official program measures against: the features that go into the layer, and one deviation for all.

    Raises:
        BadUsage: the site is not the output of a layer whose input is alike.
    """
    if probe.site is None or probe.elsewhere is None or probe.site.side == "input":
        raise BadUsage("official statistics are of a layer's input, at a site that is its output; choose such a site, or calibrated")
    try:
        before = probe.elsewhere(dataclasses.replace(probe.site, side="input"))
    except (EinopsError, BadUsage):
        raise BadUsage(f"official statistics: what goes into {probe.site.module!r} is not like what it gives; use calibrated") from None
    if before.shape != probe.units.shape:
        raise BadUsage(
            f"official statistics: {probe.site.module!r} turns {tuple(before.shape)} into {tuple(probe.units.shape)}; use calibrated"
        )
    return Statistics(before, torch.full_like(before, OFFICIAL_STD), "official")


@dataclass(frozen=True)
class Settings:
    """How a bottleneck is fitted.

    Args:
        beta: price of a nat; 1e-3 to 0.1 are useful on the mean with calibrated statistics, 10 for pictures.
        beta_on: the `mean` over the features of all gated units, or their `sum` (as vision's beta/k).
        steps: Adam updates; many more drive everything to the floor.
        copies: draws of noise per update.
        lr: Adam's rate; at 1 the gate moves by about 1 per update.
        gates: one per `feature` of a unit, or one per `unit`.
        special: units in no word ([CLS], [SEP]): `treat` as all others, leave `clean` of noise, or noise but `hide` their relevance.
        read: nats `after` the last update, or `before` it, as the official program does.
        unit: of the relevance.
        smooth: standard deviation, in units of the site's grid, of a Gaussian over the gates; 0 does not smooth.
        stop_within: an example stops moving once its loss is within so many nats of the loss without noise and its capacity
            changes by less than 1%; None takes all steps.
        least: smallest share of noise. Differs: the official program clamps it to e^-5, so that even an open gate is noisy.
    """

    beta: float = 0.01
    beta_on: Literal["mean", "sum"] = "mean"
    steps: int = 10
    copies: int = 10
    lr: float = 1.0
    gates: Literal["feature", "unit"] = "feature"
    special: Literal["treat", "clean", "hide"] = "treat"
    read: Literal["after", "before"] = "after"
    unit: Literal["nats", "bits"] = "nats"
    smooth: float = 0.0
    stop_within: float | None = None
    least: float = 0.0


DEFAULT = Settings()
OFFICIAL = Settings(beta=1e-5, read="before", least=math.exp(-5))
OF_PIXELS = Settings(beta=10.0)
OF_MAPS = Settings(beta=10.0, smooth=1.0)  # of the features of pictures, as Schulz et al. 2020 have them


def suited(probe: Probe) -> Settings:
    """The settings for the features of pictures or for patches of their pixels, where the probe's are; elsewhere those for text."""
    if probe.pictures is None or len(probe.grid) < 2:
        return DEFAULT
    return OF_MAPS if probe.site is None or probe.site.unit == "d" else OF_PIXELS


@dataclass(frozen=True)
class Fitted:
    """A fitted bottleneck.

    Args:
        alpha: logits of the gates.
        nats: capacity of each feature; 0 where there is no gate.
        losses: minus the score, the mean over copies, before each update.
        prices: capacity before each update, as beta weighs it.
    """

    alpha: Float[Tensor, "b n g"]
    nats: Float[Tensor, "b n d"]
    losses: Float[Tensor, "t b"]
    prices: Float[Tensor, "t b"]


def capacity(signal: Float[Tensor, "*shape"], alpha: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """Nats that pass a gate: KL of N(lambda r, (1 - lambda)^2) from N(0, 1), per element.

    Args:
        signal: the units in standard deviations from the mean (r).
        alpha: the gate's logit; lambda is its sigmoid. Any size is safe: ln(1 - lambda) = -softplus(alpha).
    """
    return _nats(signal, alpha.sigmoid(), F.softplus(alpha))


def _nats(signal: Tensor, keep: Tensor, minus_log_drop: Tensor) -> Tensor:
    return (0.5 * (keep * keep - 2 * keep + (keep * signal).square()) + minus_log_drop).clamp_min(0.0)


def noised(
    units: Float[Tensor, "*k b n d"],
    statistics: Statistics,
    keep: Float[Tensor, "#b n #d"],
    noise: Float[Tensor, "*k b n d"],
    least: float = 0.0,
) -> Float[Tensor, "*k b n d"]:
    """The units with a share (1 - keep) of each feature drowned in noise of its usual mean and spread, at least a share `least`."""
    mean, std = statistics.mean.to(units), statistics.std.to(units)
    return mean + std * (keep * ((units - mean) / std) + (1 - keep).clamp_min(least) * noise)


def bottleneck(probe: Probe, statistics: Statistics, settings: Settings = DEFAULT, seed: int = 0) -> Attribution:
    """Nats (or bits) of each unit that must pass for the score to stay high; never negative, 0 for padding.

    The gates maximise `score`: for a log-probability this is the paper's cross-entropy to the answer.
    """
    nats = reduce(fit(probe, statistics, settings, seed).nats, "b n d -> b n", "sum")
    shown = gated(probe, "clean") if settings.special == "hide" else probe.present
    relevance = nats.masked_fill(~shown, 0.0) / (math.log(2) if settings.unit == "bits" else 1.0)
    return Attribution(relevance, note=f"{settings.unit}, {statistics.kind} statistics, beta {settings.beta:g}")


def fit(probe: Probe, statistics: Statistics, settings: Settings = DEFAULT, seed: int = 0) -> Fitted:
    """The gates that keep the score high at the least capacity.

    Every example has gates and noise of its own, so it gets the same ones in any batch; Adam works element by element.
    """
    units, has_gate = probe.units.detach(), gated(probe, settings.special)
    signal = (units - statistics.mean.to(units)) / statistics.std.to(units)
    alpha = torch.full_like(units if settings.gates == "feature" else units[..., :1], OPEN_GATE, requires_grad=True)
    adam, draw = torch.optim.Adam([alpha], lr=settings.lr), Draw(probe.present.sum(1), seed)
    stop = _Stop(probe, settings.stop_within)
    losses, prices = [], []
    nats = torch.zeros_like(units)
    for _ in range(settings.steps):
        noise = draw.normal(settings.copies, probe.present, units.shape[-1])
        with torch.enable_grad():
            keep, minus_log_drop = _gate(probe, alpha, settings.smooth)
            nats = _nats(signal, keep, minus_log_drop).where(has_gate[..., None], 0.0)
            price = _price(nats, has_gate, settings.beta_on)
        loss, pull = _loss(probe, statistics, keep.detach(), noise, settings)
        (alpha.grad,) = torch.autograd.grad([price, keep], [alpha], [torch.full_like(price, settings.beta), pull])
        losses.append(loss)
        prices.append(price.detach())
        before = alpha.detach().clone()
        adam.step()
        if stop.rest(alpha, before, losses, prices):
            break
    with torch.no_grad():
        if settings.read == "after":
            nats = _nats(signal, *_gate(probe, alpha, settings.smooth)).where(has_gate[..., None], 0.0)
        none = torch.zeros(0, len(units), device=units.device)
        traces = (torch.stack(rows) if rows else none for rows in (losses, prices))
        return Fitted(alpha.detach(), nats.detach(), *traces)


def gated(probe: Probe, special: str) -> Bool[Tensor, "b n"]:
    """The units that have gates: all real ones, or only those in words where special units stay `clean`."""
    return probe.present & (probe.groups >= 0) if special == "clean" and probe.groups is not None else probe.present


class _Stop:
    """Holds still the examples whose fit has settled."""

    def __init__(self, probe: Probe, within: float | None):
        self.within, self.done = within, torch.zeros(len(probe.units), dtype=torch.bool, device=probe.units.device)
        with torch.no_grad():
            self.clean = None if within is None else -probe.score(probe.units)

    def rest(self, alpha: Tensor, before: Tensor, losses: list[Tensor], prices: list[Tensor]) -> bool:
        """Undoes the last update of settled examples; true when all have settled."""
        if self.clean is None or self.within is None or len(prices) < 2:
            return False
        with torch.no_grad():
            alpha.copy_(before.where(rearrange(self.done, "b -> b 1 1"), alpha))
        settled = (prices[-1] - prices[-2]).abs() < 0.01 * prices[-2].abs()
        self.done = self.done | (settled & (losses[-1] < self.clean + self.within))
        return bool(self.done.all())


def _gate(probe: Probe, alpha: Float[Tensor, "b n g"], smooth: float) -> tuple[Float[Tensor, "b n g"], Float[Tensor, "b n g"]]:
    """lambda and -ln(1 - lambda)."""
    if not smooth:
        return alpha.sigmoid(), F.softplus(alpha)
    rough, at = (-alpha).sigmoid(), None if probe.groups is None else places(probe)
    drop = smoothed(rough, probe.present, probe.grid or alpha.shape[1:2], smooth) if at is None else smoothed_at(rough, at, smooth)
    return 1 - drop, -drop.clamp_min(torch.finfo(drop.dtype).tiny).log()


def smoothed(
    values: Float[Tensor, "b n g"], present: Bool[Tensor, "b n"], grid: tuple[int, ...], deviation: float
) -> Float[Tensor, "b n g"]:
    """Gaussian mean over neighbours on the grid, of real units alone."""
    weight = present[..., None].to(values)
    both = torch.cat([values * weight, weight], -1).unflatten(1, grid)
    for axis, size in enumerate(grid, start=1):
        place = torch.arange(size, device=values.device, dtype=values.dtype)
        near = (-(place - rearrange(place, "m -> m 1")).square() / (2 * deviation**2)).exp()
        both = torch.tensordot(both, near, dims=([axis], [0])).movedim(-1, axis)
    total, count = both.flatten(1, len(grid)).split([values.shape[-1], 1], -1)
    return total / count.clamp_min(torch.finfo(values.dtype).tiny)


def smoothed_at(values: Float[Tensor, "b n g"], at: Int[Tensor, "b n a"], deviation: float) -> Float[Tensor, "b n g"]:
    """Gaussian mean over neighbours by their places; units that have none (-1) keep their own."""
    apart = rearrange(at, "b n a -> b n 1 a") - rearrange(at, "b m a -> b 1 m a")
    near = (-reduce(apart.square().to(values), "b n m a -> b n m", "sum") / (2 * deviation**2)).exp()
    placed = at[..., 0] >= 0
    both = rearrange(placed, "b n -> b n 1") & rearrange(placed, "b m -> b 1 m")
    near = near.where(both, torch.eye(at.shape[1], dtype=values.dtype, device=values.device))
    return einsum(near / reduce(near, "b n m -> b n 1", "sum"), values, "b n m, b m g -> b n g")


def _price(nats: Float[Tensor, "b n d"], has_gate: Bool[Tensor, "b n"], on: str) -> Float[Tensor, " b"]:
    """What beta weighs: capacity per example, the sum, or the mean over the features of its gated units."""
    total = reduce(nats, "b n d -> b", "sum")
    return total if on == "sum" else total / (has_gate.sum(1).clamp_min(1) * nats.shape[-1])


def _loss(
    probe: Probe, statistics: Statistics, keep: Float[Tensor, "b n g"], noise: Float[Tensor, "k b n d"], settings: Settings
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b n g"]]:
    """Minus the score, the mean over copies, and its gradient to the gates; no parameter is touched."""
    units, has_gate = probe.units.detach(), gated(probe, settings.special)

    def some(noise: Float[Tensor, "k b n d"]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            here = keep.clone().requires_grad_()
            seen = noised(units.expand_as(noise), statistics, here, noise, settings.least).where(has_gate[..., None], units)
            scores = probe.score(rearrange(seen, "k b n d -> (k b) n d"))
            return -reduce(scores.detach(), "(k b) -> b", "sum", b=len(units)), torch.autograd.grad(-scores.sum(), here)[0]

    losses, pulls = zip(*in_chunks(some, noise, 1, max(1, probe.rows // len(units))), strict=True)
    return sum(losses) / len(noise), sum(pulls) / len(noise)
