"""What any right selection must satisfy (P0 to P7), each as the share of points at which it holds or as one truth value.

A selection is one set of columns per point. Source: consequences of the definition; see docs/papers/functional.md.
"""

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped

from pellucid.explain.dependence import sets
from pellucid.explain.dependence.truth import Truth, differing


def trivial_domains(truth: Truth, labels: Shaped[np.ndarray, " b"]) -> bool:
    """P0: all columns decide every point; no column does exactly where the label is constant."""
    return bool(truth.domain[:, -1].all()) and bool(truth.domain[:, 0].all()) == (len(np.unique(labels)) == 1)


def grows(truth: Truth) -> bool:
    """P1: where a set decides, every larger set does."""
    return bool((truth.domain == sets.over_subsets(truth.domain, np.logical_or)).all())


def agreeing(points: Float[np.ndarray, "b n"], selected: Int[np.ndarray, " b"], tolerance: float = 1e-9) -> Bool[np.ndarray, "b b"]:
    """Whether the second point has the first one's values on the first one's selection."""
    return (differing(points, tolerance) & rearrange(selected, "b -> b 1")) == 0


def closed(truth: Truth, points: Float[np.ndarray, "b n"]) -> bool:
    """P2: a point that agrees with x on a set that decides x is decided by it too."""
    apart = differing(points)
    row, mask = np.nonzero(truth.domain)
    return all(truth.domain[(apart[i] & m) == 0, m].all() for i, m in zip(row, mask, strict=True))


def monotone(points: Float[np.ndarray, "b n"], selected: Int[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
    """P3: no point that agrees with x on its selection needs more columns than x."""
    longer = sets.size(selected) > rearrange(sets.size(selected), "b -> b 1")
    return ~np.any(agreeing(points, selected) & longer, axis=1)


def same_label(
    points: Float[np.ndarray, "b n"], labels: Shaped[np.ndarray, " b"], selected: Int[np.ndarray, " b"]
) -> Bool[np.ndarray, " b"]:
    """P3, second half, which is P4 said of the data: every point that agrees with x on its selection has its label."""
    return ~(agreeing(points, selected) & (rearrange(labels, "b -> b 1") != labels)).any(1)


def sound(truth: Truth, selected: Int[np.ndarray, "*l b"]) -> Bool[np.ndarray, "*l b"]:
    """P4: the selection decides the point."""
    return truth.domain[np.arange(len(truth.domain)), selected]


def minimal(truth: Truth, selected: Int[np.ndarray, "*l b"]) -> Bool[np.ndarray, "*l b"]:
    """P5: no smaller set decides the point (the selection itself may not either)."""
    return sets.size(selected) <= truth.size


def free_of(selected: Int[np.ndarray, "*l b"], dummies: int) -> Bool[np.ndarray, "*l b"]:
    """P6: no column that never matters is selected."""
    return (selected & dummies) == 0


def permuted(selected: Int[np.ndarray, "*l b"], order: list[int]) -> Int[np.ndarray, "*l b"]:
    """P7: the selection a method must give when column `order[k]` is moved to place k."""
    return sets.packed(sets.member(selected, len(order))[..., order])


def official(points: Float[np.ndarray, "b n"], shape: Int[np.ndarray, " b"], selected: Int[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
    """The authors' property: who agrees with x on its selection selects no other column.

    Differs: too strong; exact solutions hold it at 94% of the points only. Reported beside P3 to P5, never instead.
    """
    together = agreeing(points, selected) & (rearrange(shape, "b -> b 1") == shape)
    other = (selected & ~rearrange(selected, "b -> b 1")) != 0
    return ~(together & other).any(1)
