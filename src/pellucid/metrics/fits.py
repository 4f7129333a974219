"""Monotone curves from a model's numbers to the scores of people: the logistics of quality assessment, fitted by least squares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.optimize import leastsq
from scipy.special import expit

Kind = Literal["logistic4", "logistic5", "line"]
LEAST = 6  # points of a fit: one more than the longer curve has parameters
GRID = 1025  # places at which a curve is looked at
EVALUATIONS = 2000  # of the curve, at most

Array = Float[np.ndarray, "..."]
Formula = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Curve:
    """A fitted curve, to be called.

    Args:
        kind: which formula was found; `line` where a logistic did not fit.
        params: of the formula, in the units of the points that were fitted.
    """

    kind: Kind
    params: tuple[float, ...]

    def __call__(self, values: Array) -> Array:
        """Where the curve takes the values."""
        return FORMULAS[self.kind](np.asarray(self.params), values)


def fit(kind: Kind, values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]) -> Curve:
    """The monotone curve from values to targets, rising or falling, that is found to have the least squared error.

    The straight line is among those tried, so no curve is further off than it; and for `logistic5` the fitted `logistic4`.

    Source: `logistic4` with the start of VQEG; `logistic5` of Sheikh et al. 2006 with the |p3| and the scaling of both sides to [0, 1]
    of VTAMIQ's code. Differs: the five start from the fitted four, see `published5`.

    Raises:
        ValueError: fewer than 6 points.
    """
    if len(values) < LEAST:
        raise ValueError(f"{len(values)} points; a fit needs {LEAST}")
    line, tried = _line(values, targets), []
    if kind != "line" and np.ptp(values) and np.ptp(targets):
        tried.append(_fitted4(values, targets))
    if kind == "logistic5" and tried:
        tried += _fitted5(values, targets, tried[0])
    monotone_ones = [curve for curve in tried if monotone(curve(_between(values)))]
    return min([line, *monotone_ones], key=lambda curve: _missed(curve, values, targets))


def published5(values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]) -> Curve:
    """What VTAMIQ's code takes for the fit of `logistic5`: wherever its one start leads.

    The search often lingers where |p3| has its kink, and a change in the last digit can lead elsewhere: on the 200 points
    of the reference data to a correlation of .977 or .984, where .990 can be had.
    """
    x, y = _scaled(values), _scaled(targets)
    return _unscaled(least_squares(logistic5, start5(x, y), x, y), values, targets)


def logistic4(params: Float[np.ndarray, "4"], values: Array) -> Array:
    """(p0 - p1) / (1 + exp(-(x - p2) / p3)) + p1."""
    high, low, middle, width = params
    with np.errstate(all="ignore"):
        return (high - low) * expit((values - middle) / width) + low


def logistic5(params: Float[np.ndarray, "5"], values: Array) -> Array:
    """p0 (1/2 - 1 / (1 + exp(p1 (x - p2) + 1e-6))) + |p3| x + p4."""
    height, steepness, middle, slope, offset = params
    with np.errstate(all="ignore"):  # 1 / inf is the 0 that is meant
        return height * (0.5 - 1 / (1 + np.exp(steepness * (values - middle) + 1e-6))) + abs(slope) * values + offset


def least_squares(
    formula: Formula, start: Float[np.ndarray, " p"], values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"], power: int = 1
) -> Float[np.ndarray, " p"]:
    """Parameters of the least sum of squares, found by Levenberg and Marquardt's way from the start.

    Args:
        power: of the distances before they are squared.
    """
    with np.errstate(all="ignore"):  # parameters that overflow are told by the caller, who looks at the curve
        return leastsq(lambda params: (formula(params, values) - targets) ** power, start, maxfev=EVALUATIONS, full_output=True)[0]


def monotone(curve: Float[np.ndarray, " g"], rising: bool = False) -> bool:
    """Whether places along a curve only rise or only fall, but for rounding; or, if asked, only rise."""
    steps = np.diff(curve)
    slack = 1e-12 * np.abs(curve).max()
    return bool(np.isfinite(curve).all() and ((steps >= -slack).all() or (not rising and (steps <= slack).all())))


def start5(values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]) -> Float[np.ndarray, "5"]:
    """Where the fit of `logistic5` to points within [0, 1] begins."""
    return np.array([1.0, 1.0, np.median(values), 1.0, np.median(targets)])


def _fitted4(values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]) -> Curve:
    direction = 1 if (values - values.mean()) @ (targets - targets.mean()) >= 0 else -1
    start = np.array([targets.max(), targets.min(), values.mean(), direction * values.std() / 4])
    return Curve("logistic4", tuple(least_squares(logistic4, start, values, targets).tolist()))


def _fitted5(values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"], shorter: Curve) -> list[Curve]:
    """From the shorter curve, which is one of these without a slope; and that itself."""
    high, low, middle, width = np.asarray(shorter.params)
    high, low = ((side - targets.min()) / np.ptp(targets) for side in (high, low))
    with np.errstate(all="ignore"):
        start = np.array([high - low, np.ptp(values) / width, (middle - values.min()) / np.ptp(values), 0.0, (high + low) / 2])
    if not np.isfinite(start).all():
        return [shorter]
    return [shorter, _unscaled(least_squares(logistic5, start, _scaled(values), _scaled(targets)), values, targets)]


def _scaled(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return (values - values.min()) / np.ptp(values)


def _unscaled(params: Float[np.ndarray, "5"], values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]) -> Curve:
    """The curve between the values and targets themselves, of the one found between both scaled to [0, 1]."""
    height, steepness, middle, slope, offset = params.tolist()
    width, rise, left, low = (float(n) for n in (np.ptp(values), np.ptp(targets), values.min(), targets.min()))
    slope = abs(slope) * rise / width
    return Curve("logistic5", (height * rise, steepness / width, left + middle * width, slope, low + offset * rise - slope * left))


def _line(values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]) -> Curve:
    """The best straight line; level where the values are all alike."""
    if not np.ptp(values):
        return Curve("line", (0.0, float(targets.mean())))
    x = _scaled(values)
    x -= x.mean()
    slope = float(x @ (targets - targets.mean()) / (x @ x) / np.ptp(values))
    return Curve("line", (slope, float(targets.mean() - slope * values.mean())))


def _straight(params: Float[np.ndarray, "2"], values: Array) -> Array:
    slope, offset = params
    return slope * values + offset


def _between(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " g"]:
    return np.linspace(values.min(), values.max(), GRID)


def _missed(curve: Curve, values: Float[np.ndarray, " n"], targets: Float[np.ndarray, " n"]) -> float:
    return float(((curve(values) - targets) ** 2).sum())


FORMULAS: dict[Kind, Formula] = {"logistic4": logistic4, "logistic5": logistic5, "line": _straight}
