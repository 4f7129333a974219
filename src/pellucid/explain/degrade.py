"""Does the score fall where an explanation says it should? Words are replaced in order of relevance and the score watched."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.explain.draw import Draw
from pellucid.explain.perturb import scores_without
from pellucid.explain.probe import Probe
from pellucid.explain.words import by_player, player_counts, players


def short(value: float) -> float:
    """Six significant digits: what a float32 holds, and half the bytes in a file."""
    return float(f"{value:.6g}")


@dataclass(frozen=True)
class Curves:
    """Scores of each example while its words (or units) are replaced by the baseline.

    Args:
        fractions: share of words replaced, 0 to 1.
        most_first: most relevant words first.
        least_first: least relevant words first.
        random: mean over random orders and the same orders backwards.
        area: between least first and most first; larger is a better explanation.
        random_area: what random orders get for the same area; near 0.
    """

    fractions: Float[Tensor, " f"]
    most_first: Float[Tensor, "b f"]
    least_first: Float[Tensor, "b f"]
    random: Float[Tensor, "b f"]
    area: Float[Tensor, " b"]
    random_area: Float[Tensor, " b"]

    def as_dict(self, i: int) -> dict[str, Any]:
        """One example's curves as plain numbers for JSON."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        rows = {name: value if name == "fractions" else value[i] for name, value in fields.items()}
        return {name: [short(v) for v in row.tolist()] if row.ndim else short(row.item()) for name, row in rows.items()}


def on_scale(probe: Probe, unit: str) -> Probe:
    """The probe with scores as a person reads them: probabilities where the unit is "log-probability", else as they are."""
    return dataclasses.replace(probe, score=lambda units: probe.score(units).exp()) if unit == "log-probability" else probe


def degradation(
    probe: Probe,
    relevance: Float[Tensor, "b n"],
    baseline: Float[Tensor, "b n d"],
    fractions: int = 10,
    seed: int = 0,
    random_orders: int = 5,
) -> Curves:
    """Curves of one relevance; for several of one probe `degradations` draws the random orders once."""
    return degradations(probe, {"one": relevance}, baseline, fractions, seed, random_orders)["one"]


def degradations(
    probe: Probe,
    relevances: Mapping[str, Float[Tensor, "b n"]],
    baseline: Float[Tensor, "b n d"],
    fractions: int = 10,
    seed: int = 0,
    random_orders: int = 5,
) -> dict[str, Curves]:
    """Curves of each relevance, against the same random orders.

    Words are replaced whole where the site has words; special tokens and padding stay. Equal relevance keeps reading order.

    Args:
        fractions: steps from nothing to everything replaced.
    """
    owner = players(probe)
    shares = torch.linspace(0, 1, fractions + 1, device=owner.device)
    chance = Draw(player_counts(owner), seed).uniform(random_orders)  # b k p
    orders = [key for draw in chance.unbind(1) for key in (draw, -draw)]
    walks = torch.stack([_walk(probe, key, owner, shares, baseline) for key in orders])
    there, back = rearrange(walks, "(k two) b f -> two k b f", two=2)
    random = reduce(walks, "k b f -> b f", "mean")
    random_area = torch.trapezoid(reduce(back - there, "k b f -> b f", "mean"), shares)
    curves = {}
    for name, relevance in relevances.items():
        strength = by_player(relevance.detach(), owner)
        most = _walk(probe, -strength, owner, shares, baseline)
        least = _walk(probe, strength, owner, shares, baseline)
        curves[name] = Curves(shares, most, least, random, torch.trapezoid(least - most, shares), random_area)
    return curves


def _walk(
    probe: Probe, key: Float[Tensor, "b p"], owner: Int[Tensor, "b n"], shares: Float[Tensor, " f"], baseline: Float[Tensor, "b n d"]
) -> Float[Tensor, "b f"]:
    """Scores while things are replaced in rising order of key."""
    counts = player_counts(owner)
    exists = torch.arange(key.shape[1], device=key.device) < rearrange(counts, "b -> b 1")
    order = key.masked_fill(~exists, torch.inf).argsort(dim=-1, stable=True)
    rank = torch.full_like(owner, owner.shape[1]) if not key.shape[1] else order.argsort(-1).gather(1, owner.clamp_min(0))
    gone = (rearrange(shares, "f -> f 1 1") * rearrange(counts, "b -> b 1")).round()  # f b 1
    return rearrange(scores_without(probe, (rank < gone) & (owner >= 0), baseline), "f b -> b f")
