"""From weights to a set of columns, and the levels at which methods are cut."""

import numpy as np
from einops import repeat
from jaxtyping import Bool, Float, Int

from pellucid.explain.dependence import sets

GRID = np.round(np.arange(0.10, 0.951, 0.01), 2)  # where a level is looked for
HALF_GRID = np.round(np.arange(0.50, 0.951, 0.01), 2)  # of probabilities and of ratios, as the authors
WIDE_GRID = np.round(np.arange(0.0, 0.901, 0.02), 2)  # of Afchar 2020 and Archipelago, as the authors

OFFICIAL_LEVELS = {
    "lime_categorical": 0.23,
    "lime_continuous": 0.61,
    "gam": 0.18,
    "shapley_mean_function": 0.73,
    "shapley_function_mean": 0.28,
    "gradient": 0.70,
    "gradient_x_input": 0.73,
    "integrated_gradients": 0.52,
    "expected_gradients": 0.56,
    "fanova": 0.76,
    "ga1m": 0.67,
    "ga2m": 0.75,
    "ga3m": 0.75,
    "ga4m": 0.76,
    "afchar": 0.26,
    "archipelago": 0.66,
    "l2x": 0.82,
    "invase": 0.55,
}
OFFICIAL_LEAST = 1e-2  # of the largest weight, when measuring
OFFICIAL_LEAST_TUNING = 1e-4


def ranked(weights: Float[np.ndarray, "b n"]) -> Int[np.ndarray, "b n"]:
    """Columns from the largest weight (without its sign) to the smallest; the first of equals comes first."""
    return np.argsort(-np.abs(weights), axis=1, kind="stable")


def prefixes(weights: Float[np.ndarray, "b n"]) -> Int[np.ndarray, "b m"]:
    """The sets of the 0, 1, ..., n largest weights."""
    return np.concatenate([np.zeros((len(weights), 1), dtype=np.int64), (1 << ranked(weights)).cumsum(1)], axis=1)


def counts_by_share(weights: Float[np.ndarray, "b n"], levels: Float[np.ndarray, " l"], least: float = 0.0) -> Int[np.ndarray, "l b"]:
    """How many of the largest weights are taken: until their share of the sum exceeds the level, that one included.

    None where no weight reaches `least`, or all are 0.
    """
    size = np.sort(np.abs(weights), axis=1)[:, ::-1]
    share = size / (size.sum(1, keepdims=True) + 1e-16)
    taken = 1 + (share.cumsum(1) <= repeat(levels, "l -> l 1 1")).sum(-1)  # l b
    nothing = (size[:, 0] < least) | (size[:, 0] == 0)
    return np.where(nothing, 0, np.minimum(taken, weights.shape[1]))


def by_share(weights: Float[np.ndarray, "b n"], levels: Float[np.ndarray, " l"], least: float = 0.0) -> Int[np.ndarray, "l b"]:
    """The authors' rule: largest weights first, while the share taken so far is at most the level.

    Args:
        least: no column is selected where every weight is smaller than this. The authors' 0.01 fits probabilities; here 0, so
            that a method's scale does not matter.
    """
    taken = counts_by_share(weights, levels, least)
    return prefixes(weights)[np.arange(len(weights)), taken]


def by_ratio(logits: Float[np.ndarray, "b n"], levels: Float[np.ndarray, " l"], official: bool = False) -> Int[np.ndarray, "l b"]:
    """Columns whose chance is at least the level's share of the highest.

    Args:
        official: takes the ratio of the logits themselves, which selects nothing where all are negative.
    """
    height = logits if official else 1 / (1 + np.exp(-logits))
    chosen: Bool[np.ndarray, "l b n"] = height >= height.max(1, keepdims=True) * repeat(levels, "l -> l 1 1")
    return sets.packed(chosen)


def largest(weights: Float[np.ndarray, "b n"], counts: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
    """The set of so many largest weights; -1 where a tie leaves it open which they are."""
    size = np.sort(np.abs(weights), axis=1)[:, ::-1]
    rows, last = np.arange(len(weights)), np.maximum(counts, 1) - 1
    following = np.minimum(last + 1, weights.shape[1] - 1)
    tie = (size[rows, last] == size[rows, following]) & (last < following) & (counts > 0)
    return np.where(tie, -1, prefixes(weights)[rows, np.maximum(counts, 0)])
