"""Sets of columns as bits of one integer: column k is bit k."""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Bool, Int

Masks = Int[np.ndarray, "..."]


def size(masks: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """How many columns each set has."""
    return np.bitwise_count(masks).astype(np.int64)


def full(columns: int) -> int:
    """The set of all columns."""
    return (1 << columns) - 1


def everything(columns: int) -> Int[np.ndarray, " s"]:
    """All sets of so many columns, in the order of their bits."""
    return np.arange(1 << columns)


def columns_of(mask: int) -> list[int]:
    """The members, in order."""
    return [k for k in range(int(mask).bit_length()) if mask >> k & 1]


def mask_of(columns: Iterable[int]) -> int:
    """The set with these members."""
    return sum(1 << k for k in set(columns))


def member(masks: Int[np.ndarray, "*shape"], columns: int) -> Bool[np.ndarray, "*shape n"]:
    """Whether each column is in each set."""
    return (masks[..., None] >> np.arange(columns) & 1).astype(bool)


def packed(members: Bool[np.ndarray, "*shape n"]) -> Int[np.ndarray, "*shape"]:
    """The sets that rows of booleans describe."""
    return members.astype(np.int64) @ (1 << np.arange(members.shape[-1]))


def over_subsets(table: np.ndarray, join: Callable[..., np.ndarray]) -> np.ndarray:
    """A table over all sets (last axis), each entry joined with those of all its subsets."""
    found = table.copy()
    for k in range(found.shape[-1].bit_length() - 1):
        pairs = found.reshape(*found.shape[:-1], -1, 2, 1 << k)  # a view: ... without k, with k, the bits below
        join(pairs[..., 1, :], pairs[..., 0, :], out=pairs[..., 1, :])
    return found
