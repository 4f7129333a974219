"""Methods that give each column a weight, for all points at once.

`official=True` restates the authors' program where it has a defect (spec of each in the docstring); the default is right.
"""

from itertools import combinations

import numpy as np
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from scipy.special import comb

from pellucid.explain.dependence import sets
from pellucid.explain.dependence.game import CELLS, Game, gradients, path

Weights = Float[np.ndarray, "b n"]
PERMUTATIONS = 128  # the authors' budget: all sets where they are no more than this, else so many permutations


def gam(game: Game) -> Weights:
    """What each column alone changes: E[f | x_i] - E[f]."""
    return rearrange(game.known[1 << np.arange(game.columns)] - game.known[0], "n b -> b n")


# ---- Shapley ------------------------------------------------------------------------------------------------------------


def shapley_mean_function(game: Game, seed: int = 0, official: bool = False) -> Weights:
    """Shapley values of E[f | x_S]; they sum to f(x) - E[f].

    Differs: official, from 8 columns on, 128 random permutations; here always all sets.
    """
    if official and 1 << game.columns > PERMUTATIONS:
        return _permuted(game.known, seed)
    return shapley(game.known)


def shapley_function_mean(game: Game, seed: int = 0, official: bool = False) -> Weights:
    """Shapley values of f(x_S, mean); they sum to f(x) - f(mean).

    Differs: official, the empty set has no weight, so that the sum is missed; and from 8 columns on, with random permutations,
    the value of a set when first met is that of the set before it.
    """
    if official and 1 << game.columns > PERMUTATIONS:
        return _permuted(game.replaced, seed, late=True)
    return shapley(game.replaced, official)


def shapley(values: Float[np.ndarray, "s b"], without_empty: bool = False) -> Weights:
    """Exact Shapley values of a table over all sets.

    Args:
        without_empty: leave the empty set's weight out, as the authors' function-mean does.
    """
    columns = len(values).bit_length() - 1
    rest = sets.size(sets.everything(columns - 1)) if columns > 1 else np.zeros(1, dtype=np.int64)
    weight = 1 / (columns * comb(columns - 1, rest))
    if without_empty:
        weight[0] = 0.0
    found = np.empty((values.shape[1], columns))
    for k in range(columns):
        pairs = rearrange(values, "(high two low) b -> two (high low) b", two=2, low=1 << k)
        found[:, k] = weight @ (pairs[1] - pairs[0])
    return found


def _permuted(values: Float[np.ndarray, "s b"], seed: int, late: bool = False) -> Weights:
    """Mean change over random orders; `late` gives a set, for good, the value of the one before it when first met."""
    columns, b = len(values).bit_length() - 1, values.shape[1]
    rng, rows = np.random.default_rng(seed), np.arange(b)
    known = np.full((b, len(values)), np.nan)
    known[:, 0] = values[0]
    found = np.zeros((b, columns))
    for _ in range(PERMUTATIONS):
        order = rng.permuted(np.tile(np.arange(columns), (b, 1)), axis=1)
        before = np.zeros(b, dtype=np.int64)
        for k in range(columns):
            after = before | 1 << order[:, k]
            fresh = values[before if late else after, rows]
            known[rows, after] = np.where(np.isnan(known[rows, after]), fresh, known[rows, after])
            found[rows, order[:, k]] += known[rows, after] - known[rows, before]
            before = after
    return found / PERMUTATIONS


# ---- gradients ----------------------------------------------------------------------------------------------------------


def gradient(game: Game) -> Weights:
    """Gradient of the prediction."""
    return game.gradient(game.points)


def gradient_x_input(game: Game) -> Weights:
    """Gradient times the coordinates."""
    return game.gradient(game.points) * game.points


def integrated_gradients(game: Game, steps: int = 50) -> Weights:
    """Mean gradient on the way from the mean point, by trapezoids, times the way; sums to f(x) - f(mean)."""
    start = game.background.mean(0)
    found = gradients(game, path(start, game.points, np.linspace(0.0, 1.0, steps + 1)))
    found[[0, -1]] /= 2
    return (game.points - start) * reduce(found, "k b n -> b n", "sum") / steps


def expected_gradients(game: Game, seed: int = 0, draws: int = 500) -> Weights:
    """The same from draws of the data instead of the mean, at one random place of each way.

    Source: Erion et al. 2019; here one draw serves every point.
    """
    rng = np.random.default_rng(seed)
    start = game.background[rng.permutation(np.arange(draws) % len(game.background))]
    start = rearrange(start + rng.normal(0.0, game.std, start.shape), "k n -> k 1 n")
    way = game.points - start  # k b n
    found = gradients(game, start + rng.random((draws, 1, 1)) * way)
    return einsum(way, found, "k b n, k b n -> b n") / draws


# ---- LIME ---------------------------------------------------------------------------------------------------------------


def lime_categorical(game: Game, seed: int = 0, samples: int = 1000) -> Weights:
    """Ridge on "same value as x", over rows whose columns are drawn each from its own frequencies.

    Source: Ribeiro et al. 2016 as the authors set it up: kernel exp(-differing columns / 2), ridge 1. One set of rows serves
    every point.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(game.background), size=(samples, game.columns))
    rows = np.take_along_axis(game.background, drawn, axis=0)
    same = (rows == rearrange(game.points, "b n -> b 1 n")).astype(np.float64)  # b k n
    same = np.concatenate([np.ones((len(same), 1, game.columns)), same], axis=1)
    values = np.concatenate([game.predict(game.points)[:, None], np.tile(game.predict(rows), (len(same), 1))], axis=1)
    return _ridge(same, values, reduce(1 - same, "b k n -> b k", "sum"))


def lime_continuous(game: Game, seed: int = 0, samples: int = 1000) -> Weights:
    """Ridge on normal steps of one standard deviation of each column.

    Source: as `lime_categorical`, with squared length of the step as distance. One set of steps serves every point.
    """
    rng = np.random.default_rng(seed)
    step = np.concatenate([np.zeros((1, game.columns)), rng.normal(0.0, 1.0, (samples, game.columns))])
    moved = rearrange(game.points, "b n -> b 1 n") + step * game.background.std(0)
    few = np.array_split(moved, max(1, moved[..., 0].size * len(game.background) // CELLS))
    values = np.concatenate([rearrange(game.predict(rearrange(m, "b k n -> (b k) n")), "(b k) -> b k", k=len(step)) for m in few])
    far = np.broadcast_to(np.square(step).sum(-1), values.shape)
    return _ridge(np.broadcast_to(step, moved.shape), values, far)


def _ridge(features: Float[np.ndarray, "b k n"], values: Float[np.ndarray, "b k"], far: Float[np.ndarray, "b k"]) -> Weights:
    """Weighted ridge of strength 1 with a free intercept."""
    near = np.exp(-far / 2)
    share = near / reduce(near, "b k -> b 1", "sum")
    centred = features - rearrange(einsum(share, features, "b k, b k n -> b n"), "b n -> b 1 n")
    scaled = centred * near[..., None]
    gram = scaled.swapaxes(1, 2) @ centred
    pull = einsum(scaled, values, "b k n, b k -> b n")
    return np.linalg.solve(gram + np.eye(features.shape[-1]), pull[..., None])[..., 0]


def interactions(game: Game) -> Float[np.ndarray, "b p"]:
    """Strength of each pair of columns (i < j, in order), half of it with nothing else known and half with all else known.

    Source: Tsang et al. 2020, Archipelago; absolute values, as the authors' program has them.
    """
    whole, found = sets.full(game.columns), []
    for i, j in combinations(range(game.columns), 2):
        a, b = 1 << i, 1 << j
        alone = game.known[a | b] - game.known[a] - game.known[b] + game.known[0]
        among = game.known[whole] - game.known[whole ^ a] - game.known[whole ^ b] + game.known[whole ^ a ^ b]
        found.append((np.abs(alone) + np.abs(among)) / 2)
    return np.stack(found, axis=1) if found else np.zeros((len(game.points), 0))
