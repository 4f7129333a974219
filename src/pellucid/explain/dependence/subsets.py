"""Methods that give each point a set of columns, at each of several levels of their threshold."""

from itertools import combinations

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Float, Int

from pellucid.explain.dependence import sets
from pellucid.explain.dependence.game import Game
from pellucid.explain.dependence.weights import interactions

Levels = Float[np.ndarray, " l"]
Chosen = Int[np.ndarray, "l b"]
OFFICIAL_MOST = 5  # the authors look at sets of at most so many columns
NO_SET = -1


def fanova(game: Game, levels: Levels, most: int | None = None, official: bool = False) -> Chosen:
    """The smallest set that makes the answer certain beyond the level, of its size the most certain.

    Args:
        most: sets of more columns are not looked at; with it this is GA^kM, and the best set of `most` columns stands in where
            none is certain enough.
        official: without `most`, no set where none of at most 5 columns is certain enough; with it, the empty one where a
            point has fewer columns. Here the best of all sets.
    """
    sizes = sets.size(sets.everything(game.columns))
    limit = (OFFICIAL_MOST if official else game.columns) if most is None else most
    last = min(limit, game.columns)
    best = np.stack([np.where(rearrange(sizes, "s -> s 1") == k, game.certainty, -np.inf).argmax(0) for k in range(last + 1)])  # k b
    certain = np.take_along_axis(game.certainty, best, 0)
    enough = certain > repeat(levels, "l -> l 1 1")  # l k b
    first = np.where(enough.any(1), enough.argmax(1), last)
    chosen = best[first, np.arange(best.shape[1])]
    if official and (most is None or most > game.columns):
        chosen = np.where(enough.any(1), chosen, NO_SET if most is None else 0)
    return chosen


def afchar(game: Game, levels: Levels, official: bool = False) -> Chosen:
    """The set most certain by itself that no part of it explains: g(S) times (1 - g) of every smaller set in it.

    g is the certainty on a scale from chance, 0, to 1, squared. A set above the level ends the search for larger ones.
    Source: Afchar & Hennequin 2020; sets in the order of their bits, as there.
    """
    sizes = sets.size(sets.everything(game.columns))
    most = min(OFFICIAL_MOST, game.columns) if official else game.columns
    gain = ((game.certainty - game.chance) / (1 - game.chance)) ** 2
    alpha = _unexplained(gain, sizes, most)
    candidate = np.full((len(levels), alpha.shape[1]), most)
    highest, chosen = np.zeros(candidate.shape), np.full(candidate.shape, NO_SET if official else 0)
    for mask in np.flatnonzero(sizes <= most):
        better = (sizes[mask] <= candidate) & (alpha[mask] > highest)
        highest = np.where(better, alpha[mask], highest)
        chosen = np.where(better, mask, chosen)
        candidate = np.where(better & (alpha[mask] > repeat(levels, "l -> l 1")), sizes[mask], candidate)
    return chosen


def _unexplained(gain: Float[np.ndarray, "s b"], sizes: Int[np.ndarray, " s"], most: int) -> Float[np.ndarray, "s b"]:
    """g(S) times the product of 1 - g over the strict subsets of S, in the order of their bits."""
    alpha, left = gain.copy(), 1 - gain
    for k in range(1, most + 1):
        masks = np.flatnonzero(sizes == k)
        members = np.stack([sets.columns_of(int(mask)) for mask in masks])  # m k
        for part in range(2**k - 1):
            inner = (1 << members[:, [i for i in range(k) if part >> i & 1]]).sum(1)
            alpha[masks] *= left[inner]
    return alpha


def archipelago(game: Game, levels: Levels, main_level: float = 0.67) -> Chosen:
    """The island of interacting columns, or the best single column, that changes the expected prediction most.

    Columns whose pair is stronger than the level's share of the strongest are joined. Source: Tsang et al. 2020.

    Args:
        main_level: certainty asked of the single column, which is found as GA^1M.
    """
    strength = interactions(game)
    main = fanova(game, np.array([main_level]), most=1)[0]
    if not strength.shape[1]:
        return np.tile(main, (len(levels), 1))
    joined = strength > repeat(levels, "l -> l 1 1") * strength.max(1, keepdims=True)  # l b p
    island = _islands(joined, game.columns)  # l b n
    rows = np.arange(len(main))
    effect = np.abs(game.known - game.known[0])
    reach = np.where(island > 0, effect[island, repeat(rows, "b -> b 1")], -1.0)
    best = reach.argmax(-1)[..., None]
    wins = np.take_along_axis(reach, best, -1)[..., 0] > effect[main, rows]
    return np.where(wins, np.take_along_axis(island, best, -1)[..., 0], main)


def _islands(joined: np.ndarray, columns: int) -> Int[np.ndarray, "l b n"]:
    """The connected set that each column is in, 0 for a column joined with none."""
    linked = np.zeros((*joined.shape[:2], columns, columns), dtype=bool)
    for p, (i, j) in enumerate(combinations(range(columns), 2)):
        linked[..., i, j] = linked[..., j, i] = joined[..., p]
    alone = ~linked.any(-1)
    linked |= np.eye(columns, dtype=bool)
    for _ in range(columns.bit_length()):
        linked = linked @ linked
    return np.where(alone, 0, sets.packed(linked))
