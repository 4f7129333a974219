"""What a set-function method sees of a model: points to explain, and what the model says when only some columns are known."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Float

from pellucid.explain.dependence import sets

CELLS = 1_000_000  # numbers held at once


@dataclass(frozen=True)
class Game:
    """A model, some points, and data from its own distribution.

    Args:
        points: what is to be explained.
        predict: the number that is explained, at any points: a probability, or a value.
        gradient: its gradient there.
        condition: for given points, its mean given each set of columns (sets in the order of their bits) and how certain the
            answer then is, from `chance` to 1.
        background: rows that means, spreads and frequencies of columns are taken from.
        std: spread of the model's distribution around each background row.
        chance: certainty of a guess: 1/classes, 0 for values.
    """

    points: Float[np.ndarray, "b n"]
    predict: Callable[[Float[np.ndarray, "m n"]], Float[np.ndarray, " m"]]
    gradient: Callable[[Float[np.ndarray, "m n"]], Float[np.ndarray, "m n"]]
    condition: Callable[[Float[np.ndarray, "m n"]], tuple[Float[np.ndarray, "s m"], Float[np.ndarray, "s m"]]]
    background: Float[np.ndarray, "k n"]
    std: float
    chance: float = 0.5

    @property
    def columns(self) -> int:
        """Columns of a point."""
        return self.points.shape[1]

    @cached_property
    def _conditioned(self) -> tuple[Float[np.ndarray, "s b"], Float[np.ndarray, "s b"]]:
        return self.condition(self.points)

    @property
    def known(self) -> Float[np.ndarray, "s b"]:
        """The mean of the prediction when only the columns of a set are known: E[f | x_S]."""
        return self._conditioned[0]

    @property
    def certainty(self) -> Float[np.ndarray, "s b"]:
        """How certain the answer is when only the columns of a set are known."""
        return self._conditioned[1]

    @cached_property
    def replaced(self) -> Float[np.ndarray, "s b"]:
        """The prediction with the columns outside a set at their mean: f(x_S, mean)."""
        inside = sets.member(sets.everything(self.columns), self.columns)  # s n
        mean = self.background.mean(0)
        parts = []
        for some in np.array_split(inside, max(1, len(inside) * len(self.points) * len(self.background) // CELLS)):
            variants = np.where(rearrange(some, "s n -> s 1 n"), self.points, mean)
            parts.append(rearrange(self.predict(rearrange(variants, "s b n -> (s b) n")), "(s b) -> s b", b=len(self.points)))
        return np.concatenate(parts)


def path(start: Float[np.ndarray, "*#b n"], end: Float[np.ndarray, "b n"], places: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k b n"]:
    """Points at the given shares of the straight way."""
    return start + repeat(places, "k -> k 1 1") * (end - start)


def gradients(game: Game, points: Float[np.ndarray, "k b n"]) -> Float[np.ndarray, "k b n"]:
    """Gradients of many variants of each point, some at a time."""
    parts = np.array_split(points, max(1, points[..., 0].size * len(game.background) // CELLS))
    found = [rearrange(game.gradient(rearrange(p, "k b n -> (k b) n")), "(k b) n -> k b n", b=points.shape[1]) for p in parts]
    return np.concatenate(found)
