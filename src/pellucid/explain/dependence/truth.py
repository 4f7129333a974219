"""The definitions: where a set of columns decides the label, and the smallest sets that do.

A point x is in the functionality domain of a set I when every point of the data that agrees with x on I has the label of x.
Its right explanations are the smallest such sets; there may be several.
"""

from dataclasses import dataclass

import numpy as np
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int, Shaped

from pellucid.errors import BadUsage
from pellucid.explain.dependence import sets

MOST_COLUMNS = 16  # 2^16 sets a point are the most that are searched


@dataclass(frozen=True)
class Truth:
    """What decides each point.

    Args:
        domain: whether point b is in the functionality domain of set s.
        smallest: the right explanations of each point, -1 after its last; no row of -1 alone, unless no set decides (two equal
            points with different labels, or a tolerance that nothing meets).
        size: columns of a right explanation; -1 where there is none.
    """

    domain: Bool[np.ndarray, "b s"]
    smallest: Int[np.ndarray, "b m"]
    size: Int[np.ndarray, " b"]

    @property
    def columns(self) -> int:
        """Columns of the points."""
        return self.domain.shape[1].bit_length() - 1

    def sets_of(self, point: int) -> list[int]:
        """All right explanations of a point, as bits."""
        return [int(mask) for mask in self.smallest[point] if mask >= 0]


def differing(points: Float[np.ndarray, "b n"], tolerance: float = 1e-9) -> Int[np.ndarray, "b b"]:
    """The columns in which each pair of points differs by more than the tolerance."""
    apart = np.abs(rearrange(points, "b n -> b 1 n") - points) > tolerance  # b b n
    return sets.packed(apart)


def of_points(points: Float[np.ndarray, "b n"], labels: Shaped[np.ndarray, " b"], tolerance: float = 1e-9) -> Truth:
    """The truth of a data set, where points and labels are all there is.

    A set decides x when it meets every set of columns in which a point of another label differs from x: the right explanations
    are the smallest hitting sets of those, found by looking at all sets at once.

    Args:
        tolerance: coordinates as near as this are one value.
    Raises:
        BadUsage: more than 16 columns.
    """
    columns = _checked(points.shape[1])
    conflict = np.zeros((len(points), 1 << columns), dtype=bool)
    row, other = np.nonzero(rearrange(labels, "b -> b 1") != labels)
    conflict[row, differing(points, tolerance)[row, other]] = True
    within = sets.over_subsets(conflict, np.logical_or)  # b s: some conflict lies inside s
    return of_domain(~within[:, ::-1])  # the complement of set s is at the mirrored place


def of_domain(domain: Bool[np.ndarray, "b s"]) -> Truth:
    """The smallest sets of each row of a domain, however it was found."""
    sizes = sets.size(sets.everything(domain.shape[1].bit_length() - 1))
    least = np.where(domain, sizes, len(sizes)).min(1)
    chosen = domain & (sizes == rearrange(least, "b -> b 1"))
    counts = chosen.sum(1)
    smallest = np.full((len(domain), max(1, int(counts.max(initial=0)))), -1, dtype=np.int64)
    row, mask = np.nonzero(chosen)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    smallest[row, place] = mask
    return Truth(domain, smallest, np.where(counts > 0, least, -1))


def relaxed(certainty: Float[np.ndarray, "s b"], least: float) -> Truth:
    """The truth of a distribution: a set decides x when, knowing x on it, one label has at least this probability.

    Args:
        certainty: highest probability of a label given each set; for values, minus the variance.
        least: between 0 and 1; for values, minus the largest variance.
    """
    return of_domain(rearrange(certainty, "s b -> b s") >= least)


def covered(points: Float[np.ndarray, "b n"], labels: Shaped[np.ndarray, " b"], least: float = 1.0, tolerance: float = 1e-9) -> Truth:
    """The truth of a data set with exceptions: of the points that agree with x, this share at least must have its label."""
    columns = _checked(points.shape[1])
    apart, everything = differing(points, tolerance), sets.everything(columns)
    same = rearrange(labels, "b -> b 1") == labels
    domain = np.empty((len(points), 1 << columns), dtype=bool)
    for mask in everything:
        agreeing = (apart & mask) == 0
        domain[:, mask] = reduce((agreeing & same).astype(float), "a b -> a", "sum") >= least * agreeing.sum(1) - 1e-12
    return of_domain(domain)


def _checked(columns: int) -> int:
    if columns > MOST_COLUMNS:
        raise BadUsage(f"{columns} columns: all their sets cannot be searched; {MOST_COLUMNS} are the most")
    return columns
