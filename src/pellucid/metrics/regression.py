"""Numbers for real-valued predictions: Pearson, Spearman and Kendall correlation, root mean squared error."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from pellucid.metrics.paired import finite, once, target_of
from pellucid.task import Example


class Pairs:
    """Predictions and targets in the order they came; what the accumulators hold."""

    def __init__(self, key: str):
        self.key = key
        self.rows: list[tuple[float, float]] = []

    def add(self, prediction: Any, example: Example) -> None:
        """Keeps one pair; anything but finite numbers is refused with ValueError."""
        self.rows.append((finite(prediction, example), finite(target_of(example, self.key), example, self.key)))

    def columns(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Predictions, targets."""
        table = np.asarray(self.rows, dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]


class Pearson:
    """Linear correlation of prediction and target; NaN where either is constant."""

    higher_is_better = True

    def __init__(self, key: str = "label"):
        self.pairs = Pairs(key)

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; anything but finite numbers is refused with ValueError."""
        self.pairs.add(prediction, example)

    def merge(self, other: "Pearson") -> None:
        """Appends what another has gathered."""
        self.pairs.rows += other.pairs.rows

    def compute(self) -> float:
        """The correlation so far, -1 to 1."""
        return float(self.resample(once(len(self.pairs.rows)))[0]) if self.pairs.rows else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The correlation for every row of multiplicities."""
        x, y = (_centred(column) for column in self.pairs.columns())
        totals = weights.sum(1)
        mean_x, mean_y = weights @ x / totals, weights @ y / totals
        var_x, var_y = weights @ x**2 / totals - mean_x**2, weights @ y**2 / totals - mean_y**2
        return _correlation(weights @ (x * y) / totals - mean_x * mean_y, _variance(var_x, x), _variance(var_y, y))


class Spearman:
    """Correlation of ranks, ties at their mean rank; NaN where either side is constant."""

    higher_is_better = True

    def __init__(self, key: str = "label"):
        self.pairs = Pairs(key)

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; anything but finite numbers is refused with ValueError."""
        self.pairs.add(prediction, example)

    def merge(self, other: "Spearman") -> None:
        """Appends what another has gathered."""
        self.pairs.rows += other.pairs.rows

    def compute(self) -> float:
        """The correlation so far, -1 to 1."""
        return float(self.resample(once(len(self.pairs.rows)))[0]) if self.pairs.rows else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The correlation for every row of multiplicities, ranks taken anew in each."""
        x, y = (_ranks(column, weights) for column in self.pairs.columns())  # r n
        totals = weights.sum(1)
        covariance, var_x, var_y = ((weights * a * b).sum(1) / totals for a, b in ((x, y), (x, x), (y, y)))
        return _correlation(covariance, var_x, var_y)


class Kendall:
    """Share of pairs in the same order less the share in the other, ties told apart (tau-b); NaN where either side is constant."""

    higher_is_better = True

    def __init__(self, key: str = "label"):
        self.pairs = Pairs(key)

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; anything but finite numbers is refused with ValueError."""
        self.pairs.add(prediction, example)

    def merge(self, other: "Kendall") -> None:
        """Appends what another has gathered."""
        self.pairs.rows += other.pairs.rows

    def compute(self) -> float:
        """The correlation so far, -1 to 1."""
        return float(self.resample(once(len(self.pairs.rows)))[0]) if self.pairs.rows else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The correlation for every row of multiplicities, which are whole numbers."""
        x, y = self.pairs.columns()
        rows = (np.repeat(np.arange(len(x)), row.astype(np.int64)) for row in weights)
        return np.array([stats.kendalltau(x[drawn], y[drawn]).statistic if len(drawn) > 1 else np.nan for drawn in rows])


class RMSE:
    """Root of the mean squared error, in the target's unit."""

    higher_is_better = False

    def __init__(self, key: str = "label"):
        self.pairs = Pairs(key)

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; anything but finite numbers is refused with ValueError."""
        self.pairs.add(prediction, example)

    def merge(self, other: "RMSE") -> None:
        """Appends what another has gathered."""
        self.pairs.rows += other.pairs.rows

    def compute(self) -> float:
        """The error so far."""
        return float(self.resample(once(len(self.pairs.rows)))[0]) if self.pairs.rows else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The error for every row of multiplicities."""
        predictions, targets = self.pairs.columns()
        return np.sqrt(weights @ (predictions - targets) ** 2 / weights.sum(1))


def _centred(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Less a middle element, scaled: a constant becomes exactly 0, and sums of squares neither cancel nor overflow."""
    shifted = values - np.partition(values, len(values) // 2)[len(values) // 2]
    return shifted / (np.abs(shifted).max() or 1.0)


def _variance(variance: Float[np.ndarray, " r"], values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " r"]:
    """0 where what is left is the rounding of a resample that drew one value only."""
    return np.where(variance > 1e-13 * np.mean(values**2), variance, 0.0)


def _correlation(
    covariance: Float[np.ndarray, " r"], var_x: Float[np.ndarray, " r"], var_y: Float[np.ndarray, " r"]
) -> Float[np.ndarray, " r"]:
    scale = np.sqrt(var_x) * np.sqrt(var_y)
    return np.clip(np.divide(covariance, scale, out=np.full_like(scale, np.nan), where=scale > 0), -1, 1)


def _ranks(values: Float[np.ndarray, " n"], weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r n"]:
    """Mid-ranks of the values in every resample, less their mean there."""
    order = np.argsort(values, kind="stable")
    first = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)  # where each group of ties begins
    tied = np.add.reduceat(weights[:, order], first, axis=1)  # r, distinct values
    middle = np.cumsum(tied, axis=1) - tied / 2  # the mean of the mid-ranks is half the total
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(first)), np.diff(first, append=len(values)))
    return middle[:, group] - weights.sum(1, keepdims=True) / 2
