"""How near a selection or a weighting comes to the right explanations, point by point."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int

from pellucid.explain.dependence import properties, select, sets
from pellucid.explain.dependence.truth import Truth

Share = Float[np.ndarray, "*l b"]


@dataclass(frozen=True)
class Scores:
    """What a selection is worth at each point, by name of the metric; -1 as a selection says that the method gave none.

    Args:
        exact: the selection is a right explanation.
        precision, recall, f1, iou: overlap with the nearest right explanation.
        sound: the selection decides the point (P4).
        gap: columns selected more than needed; negative where too few.
    """

    exact: Share
    precision: Share
    recall: Share
    f1: Share
    iou: Share
    sound: Share
    gap: Share


def score(truth: Truth, selected: Int[np.ndarray, "*l b"]) -> Scores:
    """Every metric of a selection that needs the point's own truth alone; NaN for a point without a right explanation."""
    given = selected >= 0
    chosen = np.where(given, selected, 0)
    right = truth.smallest  # b m
    shared = sets.size(chosen[..., None] & np.where(right < 0, 0, right)).max(-1)
    taken, needed = sets.size(chosen), truth.size
    union = taken + needed - shared
    one = np.ones(shared.shape)
    known = truth.size >= 0

    def clear(value: np.ndarray) -> Share:
        return np.where(known, np.where(given, value, 0.0), np.nan)

    f1 = np.divide(2.0 * shared, taken + needed, out=one.copy(), where=taken + needed > 0)
    return Scores(
        exact=clear(((chosen[..., None] == right) & (right >= 0)).any(-1).astype(float)),
        precision=clear(np.divide(1.0 * shared, taken, out=np.where(needed > 0, 0.0, one), where=taken > 0)),
        recall=clear(np.divide(1.0 * shared, needed, out=one.copy(), where=np.broadcast_to(needed > 0, shared.shape))),
        f1=clear(f1),
        iou=clear(np.divide(1.0 * shared, union, out=one.copy(), where=union > 0)),
        sound=clear(properties.sound(truth, chosen).astype(float)),
        gap=np.where(known & given, taken - needed, np.nan),
    )


def stated(labelled: Int[np.ndarray, " b"], selected: Int[np.ndarray, "*l b"]) -> Share:
    """The selection is what the maker of the problem says; NaN where the maker says nothing."""
    return np.where(labelled >= 0, (selected == labelled).astype(float), np.nan)


# ---- without a threshold ------------------------------------------------------------------------------------------------


def top(truth: Truth, weights: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    """The largest weights, as many as are needed, are a right explanation; a tie at the cut counts as wrong."""
    chosen = select.largest(weights, np.maximum(truth.size, 0))
    return score(truth, chosen).exact


def average_precision(truth: Truth, weights: Float[np.ndarray, "b n"]) -> Float[np.ndarray, " b"]:
    """Mean, over the columns of a right explanation, of its share among all columns weighted as much; the best explanation's.

    Equal weights are taken together. 1 where nothing is needed, NaN where there is no right explanation.
    """
    size = np.abs(weights)
    above = rearrange(size, "b n -> b 1 n") >= rearrange(size, "b n -> b n 1")  # b n n: the second as large as the first
    member = sets.member(np.where(truth.smallest < 0, 0, truth.smallest), weights.shape[1]).astype(float)  # b m n
    hits = member @ above.swapaxes(1, 2).astype(float)  # b m n: members among those as large
    precision = hits / rearrange(above.sum(-1), "b n -> b 1 n")
    mean = (precision * member).sum(-1) / np.maximum(member.sum(-1), 1)
    mean = np.where(member.sum(-1) > 0, mean, 1.0)
    best = np.where(truth.smallest < 0, -1.0, mean).max(1)
    return np.where(truth.size >= 0, best, np.nan)


def area(levels: Float[np.ndarray, " l"], values: Float[np.ndarray, "l b"]) -> Float[np.ndarray, " b"]:
    """Mean of a number over the levels, by trapezoids."""
    if len(levels) == 1:
        return values[0]
    width = np.diff(levels)
    return width @ ((values[1:] + values[:-1]) / 2) / width.sum()


# ---- across points and runs ---------------------------------------------------------------------------------------------


def violates_monotone(points: Float[np.ndarray, "b n"], selected: Int[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """Some point that agrees with x on its selection needs more columns (P3); a missing selection counts as all columns."""
    return 1.0 - properties.monotone(points, all_for_none(points, selected)).astype(float)


def official_property(
    points: Float[np.ndarray, "b n"], shape: Int[np.ndarray, " b"], selected: Int[np.ndarray, " b"]
) -> Float[np.ndarray, " b"]:
    """The authors' property, which exact solutions break too; a missing selection counts as all columns."""
    return properties.official(points, shape, all_for_none(points, selected)).astype(float)


def all_for_none(points: Float[np.ndarray, "b n"], selected: Int[np.ndarray, "*l b"]) -> Int[np.ndarray, "*l b"]:
    """The selections, with all columns where there is none, as the authors' -1 reads bit by bit."""
    return np.where(selected < 0, sets.full(points.shape[1]), selected)


def stability(runs: Int[np.ndarray, "r b"]) -> Float[np.ndarray, " b"]:
    """Mean overlap (IoU) of the selections of two runs; 1 for a method that draws nothing."""
    if len(runs) < 2:
        return np.ones(runs.shape[1])
    pairs = []
    for one, other in combinations(np.maximum(runs, 0), 2):
        union = sets.size(one | other)
        pairs.append(np.divide(1.0 * sets.size(one & other), union, out=np.ones(len(union)), where=union > 0))
    return np.mean(pairs, axis=0)


# ---- over problems ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A mean over problems, and the middle 95% of what it is when problems are drawn again."""

    value: float
    low: float
    high: float


def drawn(count: int, resamples: int, seed: int) -> Float[np.ndarray, "r t"]:
    """How often each problem is in each draw with replacement."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(count, size=(resamples, count))
    return np.stack([np.bincount(row, minlength=count) for row in rows]).astype(float)


def weighted(values: Float[np.ndarray, "*#r t"], weights: Float[np.ndarray, "*#r t"]) -> Float[np.ndarray, "..."]:
    """Mean over problems, each counted so often, NaN left out."""
    present = ~np.isnan(values)
    number = (present * weights).sum(-1)
    total = (np.nan_to_num(values) * weights).sum(-1)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def interval(values: Float[np.ndarray, " t"], resamples: int = 1000, seed: int = 0) -> Interval:
    """Bootstrap by problem: points of one problem hang together and are drawn together."""
    return _interval(weighted(values, np.ones(len(values))), weighted(values, drawn(len(values), resamples, seed)))


def nested(
    tuning: Float[np.ndarray, "l u"],
    values: Float[np.ndarray, "l t"],
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The value at the level that is best on the tuning problems; each draw chooses its level anew, on tuning problems drawn anew.

    Args:
        tuning: exact-set accuracy by level and tuning problem.
        values: the number reported, by level and problem.
    """
    level = int(weighted(tuning, np.ones(tuning.shape[1])).argmax())
    often = rearrange(drawn(tuning.shape[1], resamples, seed), "r u -> r 1 u")
    levels = weighted(repeat(tuning, "l u -> r l u", r=resamples), often).argmax(1)  # r
    return _interval(
        weighted(values[level], np.ones(values.shape[1])), weighted(values[levels], drawn(values.shape[1], resamples, seed + 1))
    )


def _interval(value: Float[np.ndarray, ""] | float, draws: Float[np.ndarray, " r"]) -> Interval:
    known: Bool[np.ndarray, " r"] = ~np.isnan(draws)
    low, high = np.quantile(draws[known], [0.025, 0.975]) if known.any() else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))
