"""Whether the probabilities of many labels can be believed, and from which of them a label should be predicted."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from pellucid.metrics.multilabel import ABSENT, PRESENT, UNKNOWN, Rows
from pellucid.metrics.paired import once
from pellucid.task import Example

PARTS = Literal["present", "absent", "gap"]


class LabelCalibration:
    """Gap between the probability of a label and how often it is there, averaged over bins of all known (example, class) entries.

    As most classes are absent with certainty, the number is small for any model; compare it between models only.

    Source: Guo et al. 2017, applied to every class as a question of its own.
    """

    higher_is_better = False

    def __init__(self, labels: Sequence[str], bins: int = 15):
        self.rows, self.bins = Rows(labels), bins
        self.sums: list[np.ndarray] = []  # per example: entries, probability and labels there, by bin

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; a score that is no probability is refused with ValueError."""
        probs, marks = self.rows.scores_of(prediction, example).astype(np.float64), self.rows.marks_of(example)
        if not ((probs >= 0) & (probs <= 1)).all():
            raise ValueError(f"scores of example {example.get('id', 'without id')!r} lie outside [0, 1]; calibration is of probabilities")
        known = marks != UNKNOWN
        place = np.searchsorted(np.linspace(0, 1, self.bins + 1)[1:-1], probs[known])
        weights = (None, probs[known], (marks[known] == PRESENT).astype(np.float64))
        self.sums.append(np.stack([np.bincount(place, weights=w, minlength=self.bins) for w in weights]).astype(np.float64))

    def merge(self, other: "LabelCalibration") -> None:
        """Appends what another has gathered."""
        self.sums += other.sums

    def compute(self) -> float:
        """The mean gap so far, 0 to 1."""
        return float(self.resample(once(len(self.sums)))[0]) if self.sums else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean gap for every row of multiplicities."""
        count, confidence, there = np.einsum("rn,nsk->srk", weights, np.stack(self.sums))
        total = count.sum(1)
        return np.divide(np.abs(confidence - there).sum(1), total, out=np.full(len(weights), np.nan), where=total > 0)


class ProbabilityBalance:
    """Mean probability given to the truth: of present classes, of absent ones (1 - p), or the first less the second.

    Cross-entropy leaves absent classes far better known than present ones; asymmetric focusing closes the gap (Ben-Baruch et al. 2021).
    """

    higher_is_better = True

    def __init__(self, labels: Sequence[str], part: PARTS = "gap"):
        if part not in ("present", "absent", "gap"):
            raise ValueError(f"part={part!r}; there are present, absent, gap")
        self.rows, self.part = Rows(labels), part
        self.sums: list[tuple[float, int, float, int]] = []

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; a score that is not finite is refused with ValueError."""
        probs, marks = self.rows.scores_of(prediction, example).astype(np.float64), self.rows.marks_of(example)
        there, not_there = probs[marks == PRESENT], 1 - probs[marks == ABSENT]
        self.sums.append((float(there.sum()), len(there), float(not_there.sum()), len(not_there)))

    def merge(self, other: "ProbabilityBalance") -> None:
        """Appends what another has gathered."""
        self.sums += other.sums

    def compute(self) -> float:
        """The mean so far; NaN where a side was never seen."""
        return float(self.resample(once(len(self.sums)))[0]) if self.sums else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean for every row of multiplicities."""
        right_present, num_present, right_absent, num_absent = (weights @ np.asarray(self.sums, dtype=np.float64)).T
        with np.errstate(invalid="ignore"):
            present, absent = right_present / num_present, right_absent / num_absent
        return {"present": present, "absent": absent, "gap": present - absent}[self.part]


def best_thresholds(
    predictions: Iterable[Any], examples: Iterable[Example], labels: Sequence[str], per_class: bool = True, default: float = 0.5
) -> Float[np.ndarray, " c"]:
    """Scores from which to predict each class for the highest F1 on these examples, to be found on a dev set and used elsewhere.

    Thresholds lie midway between two scores that were seen. Of equally good ones the highest is taken.

    Args:
        per_class: each class by itself; else one for all, for the highest F1 of all entries together.
        default: of a class without a positive, of which nothing can be learned.
    Raises:
        ValueError: a prediction or an example that the metrics refuse.
    """
    rows = Rows(labels)
    for prediction, example in zip(predictions, examples, strict=True):
        rows.add(prediction, example)
    scores, marks = rows.scores(), rows.marks()
    if not per_class:
        return np.full(len(labels), _best(scores[marks != UNKNOWN], marks[marks != UNKNOWN] == PRESENT, default))
    columns = zip(scores.T, marks.T, strict=True)
    return np.array([_best(s[m != UNKNOWN], m[m != UNKNOWN] == PRESENT, default) for s, m in columns])


def _best(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], default: float) -> float:
    if not positive.any():
        return default
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores are predicted together
    f1 = 2 * np.cumsum(positive[order])[ends] / (ends + 1 + positive.sum())
    at = int(ends[np.argmax(f1)])
    return float(ranked[at] if at + 1 == len(ranked) else (ranked[at] + ranked[at + 1]) / 2)
