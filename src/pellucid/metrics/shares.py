"""Numbers that are a sum over a sum: how many phrases, expressions or answers of the examples are right, as a whole and by kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from pellucid.metrics.gathered import Gathered, Memo

Row = TypeVar("Row")


@dataclass(frozen=True)
class Part:
    """What one phrase, expression or answer adds.

    Args:
        gained: 1 where it is right, else 0; or how much of it is.
        of: what `gained` is a share of.
        kinds: under which it is told too.
        tied: whether the order of equal scores decides it.
    """

    gained: float
    of: float = 1.0
    kinds: tuple[str, ...] = ()
    tied: bool = False


class Share(Gathered[Row]):
    """What all parts of all examples gained, of what there was to gain.

    Args:
        parts: those of an example; one may have none, and does not count.
        memo: reads the pairs; shared by numbers of the same pairs.
    """

    def __init__(self, parts: Callable[[Row], Sequence[Part]], memo: Memo[Row]):
        super().__init__(memo)
        self.parts = parts

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The share for every row of multiplicities, examples in the order of the updates."""
        made = [self.parts(row) for row in self.rows]
        gained, of = (weights @ np.array([sum(pick(p) for p in parts) for parts in made]) for pick in (_gained, _of))
        return np.divide(gained, of, out=np.full(len(weights), np.nan), where=of > 0)

    def per_kind(self) -> dict[str, float]:
        """The share of each kind, in the order of their first parts; NaN of one with nothing to gain."""
        sums: dict[str, tuple[float, float]] = {}
        for part in self._all():
            for kind in part.kinds:
                gained, of = sums.get(kind, (0.0, 0.0))
                sums[kind] = (gained + part.gained, of + part.of)
        return {kind: gained / of if of else float("nan") for kind, (gained, of) in sums.items()}

    def ties(self) -> int:
        """How many parts are right or wrong by the order of equal scores alone."""
        return sum(part.tied for part in self._all())

    def _all(self) -> list[Part]:
        return [part for row in self.rows for part in self.parts(row)]


def _gained(part: Part) -> float:
    return float(part.gained)


def _of(part: Part) -> float:
    return float(part.of)
