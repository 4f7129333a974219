"""Bending labels so that their ranks are evenly spread, and bending predictions back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pellucid.errors import BadData
from pellucid.metrics.fits import GRID, LEAST, least_squares, logistic5, monotone, start5

HALVINGS = 60  # of the range that holds a bent label: as far as float64 can tell


@dataclass(frozen=True)
class Linearised:
    """A rising curve that takes the least training label to 0, the greatest to 1, and those between to about their share of rank.

    Beyond the labels it was fitted on, the curve goes on as a straight line, so that everything can be bent back.

    Source: Chubarau & Clark 2021, the authors' label processing. Differs: labels keep their direction, higher is better; a curve
    that would fall somewhere is fitted again with its height and steepness held above 0.

    Args:
        params: of `metrics.fits.logistic5`, for labels scaled to [0, 1].
        low: least label of the training set.
        high: greatest label of the training set.
    """

    params: Sequence[float]
    low: float
    high: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", tuple(float(p) for p in self.params))  # JSON tells a list
        if len(self.params) != 5 or not np.isfinite([*self.params, self.low, self.high]).all() or not self.low < self.high:
            raise ValueError(f"params={self.params}, low={self.low}, high={self.high}; five numbers and a range were expected")

    @classmethod
    def fit(cls, labels: Sequence[float] | Float[np.ndarray, " n"]) -> "Linearised":
        """The curve of these labels, which should be those of the training set alone.

        The fourth power of the distances is least, as with the authors, who square them before their least squares.

        Raises:
            BadData: fewer than 6 labels, or all alike.
        """
        told = np.sort(np.asarray(labels, dtype=np.float64))
        if len(told) < LEAST or told[0] == told[-1]:
            raise BadData(
                f"{len(told)} labels, {len(np.unique(told))} of them different, cannot be linearised; give {LEAST} or set linearise=false"
            )
        low, high = float(told[0]), float(told[-1])
        values, share = (told - low) / (high - low), np.arange(len(told)) / len(told)
        params = least_squares(logistic5, start5(values, share), values, share, power=2)
        if not _rises(params):
            params = _held(least_squares(_rising, start5(values, share), values, share, power=2))
        if not _rises(params):
            raise BadData(f"no curve rises along these {len(told)} labels; set linearise=false")
        return cls(tuple(params.tolist()), low, high)

    def apply(self, labels: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Labels bent; 0 to 1 for those within the training set's range."""
        values = (np.asarray(labels, dtype=np.float64) - self.low) / (self.high - self.low)
        inside = np.clip(values, 0, 1)
        return self._bent(inside) + (values - inside)

    def undo(self, bent: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """What `apply` would bend to these, in the unit of the labels."""
        bent = np.asarray(bent, dtype=np.float64)
        inside = np.clip(bent, 0, 1)
        low, high = np.zeros_like(inside), np.ones_like(inside)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = self._bent(middle) < inside
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return self.low + (self.high - self.low) * (high + (bent - inside))

    def _bent(self, values: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        least, most = logistic5(np.asarray(self.params), np.array([0.0, 1.0]))
        return (logistic5(np.asarray(self.params), values) - least) / (most - least)


def _held(params: Float[np.ndarray, "5"]) -> Float[np.ndarray, "5"]:
    """With height and steepness above 0."""
    return np.concatenate([np.abs(params[:2]), params[2:]])


def _rising(params: Float[np.ndarray, "5"], values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return logistic5(_held(params), values)


def _rises(params: Float[np.ndarray, "5"]) -> bool:
    curve = logistic5(params, np.linspace(0, 1, GRID))
    return monotone(curve, rising=True) and bool(curve[-1] > curve[0])
