"""COCO's numbers for many multiplicities of the pictures, from matches made once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

from pellucid.metrics.coco_evaluator import MOST, NUMBERS, RECALLS, THRESHOLDS, Matches, View
from pellucid.metrics.curves import interpolated

CELLS = 4_000_000  # of objects or pictures x resamples held at once


def resampled(classes: Sequence[Sequence[Matches]], weights: Float[np.ndarray, "r b"]) -> dict[str, Float[np.ndarray, " r"]]:
    """Each number for every row of multiplicities; a class without objects in a row takes no part in it, NaN if none does.

    Args:
        classes: per class the matches of each size.
    """
    most = max([int(matched.positives.sum()) for sizes in classes for matched in sizes], default=0)
    step = max(1, CELLS // max(most, weights.shape[1], 1))
    parts = [_resampled(classes, weights[start : start + step]) for start in range(0, len(weights), step)]
    return {name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0) for name in NUMBERS}


def _resampled(classes: Sequence[Sequence[Matches]], weights: np.ndarray) -> dict[str, Float[np.ndarray, " r"]]:
    sums = {name: np.zeros(len(weights)) for name in NUMBERS}
    counts = {name: np.zeros(len(weights)) for name in NUMBERS}
    drawn = np.ascontiguousarray(weights.T)
    for sizes in classes:
        for area, matched in enumerate(sizes):
            total = weights @ matched.positives
            if not total.any():
                continue
            views = {name: view for name, view in NUMBERS.items() if view.area == area}
            for name, values in _of_class(matched, drawn, total, views).items():
                sums[name] += np.where(total > 0, values, 0)
                counts[name] += total > 0
    return {name: np.divide(sums[name], n, out=np.full(len(weights), np.nan), where=n > 0) for name, n in counts.items()}


def _of_class(
    matched: Matches, drawn: Float[np.ndarray, "b r"], total: Float[np.ndarray, " r"], views: dict[str, View]
) -> dict[str, Float[np.ndarray, " r"]]:
    """The numbers of one class and size."""
    usual = matched.counted[-1]  # thresholds differ in few detections: those matched at some and not at others
    places = np.flatnonzero((matched.hit | (matched.counted != usual)).any(0))
    here, seen = drawn[matched.picture[places]], _seen(matched.picture[: _end(places)], usual[: _end(places)], places, drawn)  # p r
    precision = np.empty((THRESHOLDS, drawn.shape[1]))
    recall = np.empty((len(MOST), *precision.shape))
    for t, (hit, counted) in enumerate(zip(matched.hit[:, places], matched.counted[:, places], strict=True)):
        mine = np.flatnonzero(hit | (counted != usual[places]))
        gained = here[mine] * _column(hit[mine])
        more = here[mine] * (_column(counted[mine]) - _column(usual[places][mine]))
        precision[t] = interpolated(np.cumsum(gained, axis=0), seen[mine] + np.cumsum(more, axis=0), total, RECALLS)
        for m in {view.most for view in views.values() if not view.precision}:
            recall[m, t] = gained[matched.rank[places][mine] < MOST[m]].sum(0) / np.maximum(total, 1)
    curves = {name: precision if view.precision else recall[view.most] for name, view in views.items()}
    return {name: curves[name].mean(0) if view.iou is None else curves[name][view.iou] for name, view in views.items()}


def _seen(
    picture: Int[np.ndarray, " n"], usual: Bool[np.ndarray, " n"], places: Int[np.ndarray, " p"], drawn: Float[np.ndarray, "b r"]
) -> Float[np.ndarray, "p r"]:
    """How many detections usually count down to each place of the ranking."""
    before = np.searchsorted(places, np.flatnonzero(usual))  # the place that each leads up to
    one = (np.ones(len(before)), (before, picture[usual]))
    return np.cumsum(csr_matrix(one, shape=(len(places), len(drawn))) @ drawn, axis=0)


def _end(places: Int[np.ndarray, " p"]) -> int:
    return int(places[-1]) + 1 if len(places) else 0


def _column(flags: np.ndarray) -> Int[np.ndarray, "n 1"]:
    return flags.astype(np.int64).reshape(-1, 1)
