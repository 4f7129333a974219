"""What metrics share that read each pair once and make their number only when it is asked for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float

from pellucid.metrics.paired import once
from pellucid.task import Example

Row = TypeVar("Row")


class Memo(Generic[Row]):
    """Shared by metrics that read the same pairs, so that each pair is read once and each set of them is measured once.

    Args:
        read: the row of a pair.
    """

    def __init__(self, read: Callable[[Any, Example], Row]):
        self.read = read
        self._given: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._row: Row | None = None
        self._kept: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_given": None, "_row": None, "_kept": {}}

    def row(self, prediction: Any, example: Example, before: Sequence[Row]) -> Row:
        """The row of a pair; the last one again if the pair is the same and is not yet `before`, what the metric has."""
        used = bool(before) and before[-1] is self._row
        if self._row is None or self._given is None or used or not (_alike(self._given[0], prediction) and _alike(self._given[1], example)):
            row = self.read(prediction, example)
            self._given, self._row = (dict(prediction), dict(example)), row
            return row
        return self._row

    def once(self, what: str, of: Sequence[Any], work: Callable[[], Any]) -> Any:
        """The result of the work, made anew only if `of` is not what it was the last time; rows are compared by identity."""
        known = self._kept.get(what)
        if known is None or known[0] != tuple(of):
            known = self._kept[what] = (tuple(of), work())
        return known[1]


class Gathered(Generic[Row]):
    """A number of all pairs together, of which each gave a row.

    Args:
        memo: reads the pairs; shared by numbers of the same pairs.
    """

    higher_is_better = True

    def __init__(self, memo: Memo[Row]):
        self.memo = memo
        self.rows: list[Row] = []

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; BadData where it or its example does not hold what is compared."""
        self.rows.append(self.memo.row(prediction, example, self.rows))

    def merge(self, other: "Gathered[Row]") -> None:
        """Appends what another has gathered."""
        self.rows += other.rows

    def compute(self) -> float:
        """The number so far; NaN where there is nothing to count. BadData if rows do not go together."""
        return float(self.resample(once(len(self.rows)))[0]) if self.rows else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities, in the order of gathering."""
        raise NotImplementedError


def _alike(known: Mapping[str, Any], given: Any) -> bool:
    """The very same values under the same names; none is compared, some are arrays."""
    return isinstance(given, Mapping) and len(known) == len(given) and all(k in given and given[k] is v for k, v in known.items())
