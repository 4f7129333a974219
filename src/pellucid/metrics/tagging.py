"""Numbers for the best few tags of a clip that may have any number: Hit@1, precision at equal recall rate, global average precision.

Predictions and examples are those of `multilabel`: a dict with one number per class in `scores`, the truth in `labels`. An unknown
class of an example takes no part. Of equal scores of one clip the earlier in `labels` is the better.

Source: Abu-El-Haija et al. 2016, YouTube-8M, section 5, and the challenge's evaluation code.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from pellucid.metrics.multilabel import PRESENT, UNKNOWN, Rows, average_precision
from pellucid.metrics.paired import once
from pellucid.task import Example

CELLS = 400_000  # multiplicities of entries held at once


class HitAtOne:
    """Share of clips whose best class is one of theirs; a clip without labels is a miss, one of which nothing is known does not count."""

    higher_is_better = True

    def __init__(self, labels: Sequence[str]):
        self.rows = Rows(labels)
        self.hits: list[float] = []  # NaN of a clip that does not count

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; a score that is not finite is refused with ValueError."""
        _, right = _best(self.rows, prediction, example, 1)
        self.hits.append(float(right[0]) if len(right) else np.nan)

    def merge(self, other: "HitAtOne") -> None:
        """Appends what another has gathered."""
        self.hits += other.hits

    def compute(self) -> float:
        """The share so far, 0 to 1."""
        return float(self.resample(once(len(self.hits)))[0]) if self.hits else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The share for every row of multiplicities."""
        return _mean(self.hits, weights)


class PrecisionAtRecall:
    """PERR: of a clip with k labels, the share of its k best classes that are right; the mean over clips.

    A clip without labels counts 0, as in the challenge's code. Differs: there a class whose score is 0 or less is never right.
    """

    higher_is_better = True

    def __init__(self, labels: Sequence[str]):
        self.rows = Rows(labels)
        self.precisions: list[float] = []  # NaN of a clip that does not count

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; a score that is not finite is refused with ValueError."""
        marks = self.rows.marks_of(example)
        num_true = int((marks == PRESENT).sum())
        _, right = _best(self.rows, prediction, example, num_true)
        known = bool((marks != UNKNOWN).any())
        self.precisions.append(float(right.mean()) if num_true else 0.0 if known else np.nan)

    def merge(self, other: "PrecisionAtRecall") -> None:
        """Appends what another has gathered."""
        self.precisions += other.precisions

    def compute(self) -> float:
        """The mean so far, 0 to 1."""
        return float(self.resample(once(len(self.precisions)))[0]) if self.precisions else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean for every row of multiplicities."""
        return _mean(self.precisions, weights)


class GlobalAveragePrecision:
    """GAP@k: average precision of one list that holds the k best (clip, class) pairs of every clip.

    Recall is of all labels, also of those that are in no clip's k best. Differs: pairs of equal score enter together, so that their
    order does not matter; the challenge's code draws it.

    Args:
        top: pairs of each clip, the k.
    """

    higher_is_better = True

    def __init__(self, labels: Sequence[str], top: int = 20):
        if top < 1:
            raise ValueError(f"top={top}; the best classes kept are 1 or more")
        self.rows, self.top = Rows(labels), top
        self.scores: list[np.ndarray] = []  # per clip of the best, best first
        self.right: list[np.ndarray] = []
        self.num_true: list[int] = []

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; a score that is not finite is refused with ValueError."""
        scores, right = _best(self.rows, prediction, example, self.top)
        self.scores.append(scores)
        self.right.append(right)
        self.num_true.append(int((self.rows.marks_of(example) == PRESENT).sum()))

    def merge(self, other: "GlobalAveragePrecision") -> None:
        """Appends what another has gathered."""
        self.scores += other.scores
        self.right += other.right
        self.num_true += other.num_true

    def compute(self) -> float:
        """The number so far, 0 to 1; NaN where no clip has a label."""
        return float(self.resample(once(len(self.num_true)))[0]) if self.num_true else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities; NaN of a row in which no clip has a label."""
        scores, right = np.concatenate(self.scores), np.concatenate(self.right)
        clip = np.repeat(np.arange(len(self.scores)), [len(s) for s in self.scores])
        rows = max(1, CELLS // max(1, len(clip)))
        parts = (weights[i : i + rows, clip] for i in range(0, len(weights), rows))
        among = np.concatenate([average_precision(scores, right, part) for part in parts])
        found, total = weights @ np.bincount(clip, right, len(self.scores)), weights @ np.asarray(self.num_true, dtype=np.float64)
        gained = np.where(found > 0, among, 0) * found  # `among` divides by the labels in the list
        return np.divide(gained, total, out=np.full(len(weights), np.nan), where=total > 0)


def _best(rows: Rows, prediction: Any, example: Example, num: int) -> tuple[Float[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
    """Scores of the `num` best known classes, best first, and whether the class is right."""
    scores, marks = rows.scores_of(prediction, example), rows.marks_of(example)
    known = np.flatnonzero(marks != UNKNOWN)
    best = known[np.argsort(-scores[known], kind="stable")[:num]]
    return scores[best], marks[best] == PRESENT


def _mean(values: Sequence[float], weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
    """The mean for every row of multiplicities over the clips that count; NaN where none does."""
    told = np.asarray(values)
    counted = ~np.isnan(told)
    total = weights @ counted.astype(np.float64)
    return np.divide(weights @ np.where(counted, told, 0), total, out=np.full(len(weights), np.nan), where=total > 0)
