"""Does the score fall where an explanation says it should? Words are removed in order of relevance and the score watched."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.explain.draw import Draw
from pellucid.explain.probe import Probe
from pellucid.explain.remove import Removal
from pellucid.explain.words import by_player


def short(value: float) -> float:
    """Six significant digits: what a float32 holds, and half the bytes in a file."""
    return float(f"{value:.6g}")


@dataclass(frozen=True)
class Curves:
    """Scores of each example while its words (or units) are removed.

    Args:
        fractions: share of words removed, 0 to 1.
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

    def deletion(self) -> Float[Tensor, " b"]:
        """Area under the score while the most relevant go first; smaller is better. Source: Petsiuk et al. 2018, RISE."""
        return torch.trapezoid(self.most_first, self.fractions)

    def insertion(self) -> Float[Tensor, " b"]:
        """Area under the score while words come to an empty example, the most relevant first; larger is better.

        Source: Petsiuk et al. 2018, RISE. What comes last is what goes first when the least relevant go first.
        """
        return torch.trapezoid(self.least_first, self.fractions)


def on_scale(probe: Probe, unit: str) -> Probe:
    """The probe with scores as a person reads them: probabilities where the unit is "log-probability", else as they are."""
    if unit != "log-probability":
        return probe
    score, cut = probe.score, probe.cut

    def cut_on_scale(removed: Bool[Tensor, "k b n"]) -> Float[Tensor, "k b"]:
        assert cut is not None
        return cut(removed).exp()

    return dataclasses.replace(probe, score=lambda units: score(units).exp(), cut=cut and cut_on_scale)


def degradation(
    probe: Probe,
    relevance: Float[Tensor, "b n"],
    baseline: Float[Tensor, "b n d"] | None,
    fractions: int = 10,
    seed: int = 0,
    random_orders: int = 5,
) -> Curves:
    """Curves of one relevance; for several of one probe `degradations` draws the random orders once."""
    return degradations(probe, {"one": relevance}, baseline, fractions, seed, random_orders)["one"]


def degradations(
    probe: Probe,
    relevances: Mapping[str, Float[Tensor, "b n"]],
    baseline: Float[Tensor, "b n d"] | None,
    fractions: int = 10,
    seed: int = 0,
    random_orders: int = 5,
) -> dict[str, Curves]:
    """Curves of each relevance, against the same random orders.

    Words are removed whole where the site has words; special tokens and padding stay. Equal relevance keeps reading order.

    Args:
        baseline: what replaces a word; None takes words out, the rest closing up.
        fractions: steps from nothing to everything removed.
    Raises:
        BadUsage: no baseline at a site whose units cannot be taken out.
    """
    return curves(Removal(probe, baseline), relevances, fractions, seed, random_orders)


def curves(
    removal: Removal, relevances: Mapping[str, Float[Tensor, "b n"]], fractions: int = 10, seed: int = 0, random_orders: int = 5
) -> dict[str, Curves]:
    """As `degradations`, by a removal that other checks may share; all orders go through the model together."""
    owner = removal.owner
    shares = torch.linspace(0, 1, fractions + 1, device=owner.device)
    gone = (rearrange(shares, "f -> f 1") * removal.counts).round().long()  # f b
    chance = Draw(removal.counts, seed).uniform(random_orders)
    strength = [by_player(relevance.detach(), owner) for relevance in relevances.values()]
    keys = [sign * key for key in (*chance.unbind(1), *strength) for sign in (1, -1)]
    walks = removal.walks(torch.stack(keys), gone)
    there, back = rearrange(walks, "(k two) b f -> two k b f", two=2)
    random = reduce(walks[: 2 * random_orders], "k b f -> b f", "mean")
    random_area = torch.trapezoid(reduce((back - there)[:random_orders], "k b f -> b f", "mean"), shares)
    found = {}
    for name, least, most in zip(relevances, there[random_orders:], back[random_orders:], strict=True):
        found[name] = Curves(shares, most, least, random, torch.trapezoid(least - most, shares), random_area)
    return found
