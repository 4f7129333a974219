"""Precision over recall for many multiplicities at once, from the places of a ranking where something is hit."""

import numpy as np
from jaxtyping import Float

LEAST = np.finfo(np.float64).eps


def interpolated(
    hits: Float[np.ndarray, "p r"], seen: Float[np.ndarray, "p r"], total: Float[np.ndarray, " r"], recalls: Float[np.ndarray, " s"]
) -> Float[np.ndarray, " r"]:
    """Mean over the given recalls of the best precision at that recall or beyond; 0 where none is reached.

    Places of the ranking without a hit may be left out: the precision there is no better than at the hit before.

    Args:
        hits: how many were right down to each place.
        seen: how many were counted down to it.
        total: how many there are to find.
        recalls: rising; a recall is reached if the fraction, as a float, is no smaller.
    """
    if not len(hits):
        return np.zeros(len(total))
    reached = np.searchsorted(recalls, _recall(hits, total), side="right")  # p r
    return (np.diff(reached, axis=0, prepend=0) * _best(hits, seen)).sum(0) / len(recalls)


def under(hits: Float[np.ndarray, "p r"], seen: Float[np.ndarray, "p r"], total: Float[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """Area under the best precision at each recall or beyond."""
    if not len(hits):
        return np.zeros(len(total))
    return (np.diff(_recall(hits, total), axis=0, prepend=0) * _best(hits, seen)).sum(0)


def _recall(hits: np.ndarray, total: np.ndarray) -> Float[np.ndarray, "p r"]:
    return hits / np.maximum(total, 1)


def _best(hits: np.ndarray, seen: np.ndarray) -> Float[np.ndarray, "p r"]:
    return np.maximum.accumulate((hits / np.maximum(seen, LEAST))[::-1], axis=0)[::-1]
