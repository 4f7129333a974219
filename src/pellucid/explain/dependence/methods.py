"""Every set-function method under its name, in one line each, with the levels at which it is cut."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from pellucid.explain.dependence import select, subsets, weights
from pellucid.explain.dependence.game import Game

NO_LEVEL = np.array([np.nan])  # of methods that have no threshold


@dataclass(frozen=True)
class Answer:
    """What a method says of some points.

    Args:
        chosen: columns as bits, at each level; -1 where the method gives no set.
        weights: of each column, where the method weighs columns.
    """

    chosen: Int[np.ndarray, "l b"]
    weights: Float[np.ndarray, "b n"] | None = None


@dataclass(frozen=True)
class SetMethod:
    """A method that looks at what is known when some columns are.

    Args:
        weigh: weights of columns by game, seed, and whether to restate the authors' program; or
        choose: sets by game, levels and the same.
        levels: where its threshold is looked for.
        draws: whether the seed matters.
    """

    about: str
    weigh: Callable[[Game, int, bool], Float[np.ndarray, "b n"]] | None = None
    choose: Callable[[Game, Float[np.ndarray, " l"], bool], Int[np.ndarray, "l b"]] | None = None
    levels: Float[np.ndarray, " l"] = field(default_factory=select.GRID.copy)
    draws: bool = False

    def answer(self, game: Game, levels: Float[np.ndarray, " l"], seed: int = 0, official: bool = False) -> Answer:
        """What it says at these levels."""
        if self.weigh is not None:
            found = self.weigh(game, seed, official)
            return Answer(select.by_share(found, levels, select.OFFICIAL_LEAST if official else 0.0), found)
        assert self.choose is not None, "a method weighs or chooses"
        return Answer(self.choose(game, levels, official))


def _limited(most: int) -> SetMethod:
    return SetMethod(
        f"GA^{most}M: the smallest set of at most {most} columns that makes the answer certain, else the best of {most}",
        choose=lambda game, levels, official: subsets.fanova(game, levels, most, official),
        levels=select.HALF_GRID,
    )


SET_METHODS: dict[str, SetMethod] = {
    "gam": SetMethod("what each column alone changes", lambda g, seed, official: weights.gam(g)),
    "shapley_mean_function": SetMethod(
        "Shapley values of the conditional mean E[f | x_S]", lambda g, seed, official: weights.shapley_mean_function(g, seed, official)
    ),
    "shapley_function_mean": SetMethod(
        "Shapley values of f with other columns at their mean", lambda g, seed, official: weights.shapley_function_mean(g, seed, official)
    ),
    "gradient": SetMethod("gradient of the prediction", lambda g, seed, official: weights.gradient(g)),
    "gradient_x_input": SetMethod("gradient times coordinates", lambda g, seed, official: weights.gradient_x_input(g)),
    "integrated_gradients": SetMethod(
        "mean gradient on the way from the mean point, times the way", lambda g, seed, official: weights.integrated_gradients(g)
    ),
    "expected_gradients": SetMethod(
        "the same from draws of the data", lambda g, seed, official: weights.expected_gradients(g, seed), draws=True
    ),
    "lime_categorical": SetMethod(
        "ridge on shared values, columns drawn from their frequencies",
        lambda g, seed, official: weights.lime_categorical(g, seed),
        draws=True,
    ),
    "lime_continuous": SetMethod("ridge on normal steps", lambda g, seed, official: weights.lime_continuous(g, seed), draws=True),
    "fanova": SetMethod(
        "the smallest set of columns that makes the answer certain",
        choose=lambda game, levels, official: subsets.fanova(game, levels, None, official),
        levels=select.HALF_GRID,
    ),
    **{f"ga{most}m": _limited(most) for most in (1, 2, 3, 4)},
    "afchar": SetMethod(
        "the set most certain by itself that no part of it explains (Afchar & Hennequin 2020)",
        choose=subsets.afchar,
        levels=select.WIDE_GRID,
    ),
    "archipelago": SetMethod(
        "islands of interacting columns (Tsang et al. 2020)",
        choose=lambda game, levels, official: subsets.archipelago(game, levels),
        levels=select.WIDE_GRID,
    ),
}
DETERMINISTIC = tuple(name for name, method in SET_METHODS.items() if not method.draws)
