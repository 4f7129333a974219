"""Numbers for any number of labels per example: average precision, and precision, recall and F1 of what is predicted.

A prediction is a dict whose `scores` hold one number per class, higher where the class is likelier. An example names its classes in
`labels`; with `absent` beside it all others are unknown, and those in `unknown` always are. An unknown class of an example takes no part.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

from pellucid.metrics.paired import once, target_of
from pellucid.task import Example

PRESENT, ABSENT, UNKNOWN = 1, 0, -1
VOC_STEPS = 10  # recall 0, .1 ... 1
Thresholds = float | Sequence[float] | Float[np.ndarray, " c"]
COUNTS = Literal["CP", "CR", "CF1", "CF1_mean", "OP", "OR", "OF1"]


def named_above(probs: Float[np.ndarray, "b c"], labels: Sequence[str], threshold: float) -> list[dict[str, Any]]:
    """Predictions as this file reads them: every label's probability, and the names of those at the threshold or above, likeliest first."""
    order = np.argsort(-probs, axis=1, kind="stable")
    rows = zip(probs.tolist(), order.tolist(), strict=True)
    return [{"labels": [labels[i] for i in best if p[i] >= threshold], "scores": p} for p, best in rows]


class Rows:
    """Scores and truth of examples, one row each, classes in the order of `labels`."""

    def __init__(self, labels: Sequence[str]):
        self.labels = tuple(labels)
        self.index = {label: i for i, label in enumerate(self.labels)}
        self._scores: list[np.ndarray] = []
        self._marks: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._marks)

    def add(self, prediction: Any, example: Example) -> None:
        """Appends a row.

        Raises:
            ValueError: no scores, not one per class, one that is not finite, or a label that is no class.
        """
        self._scores.append(self.scores_of(prediction, example))
        self._marks.append(self.marks_of(example))

    def merge(self, other: "Rows") -> None:
        """Appends another's rows."""
        self._scores += other._scores
        self._marks += other._marks

    def scores(self) -> Float[np.ndarray, "n c"]:
        """What was predicted."""
        return np.stack(self._scores) if self._scores else np.empty((0, len(self.labels)))

    def marks(self) -> Int[np.ndarray, "n c"]:
        """1 where a class is present, 0 where absent, -1 where unknown."""
        return np.stack(self._marks) if self._marks else np.empty((0, len(self.labels)), dtype=np.int8)

    def scores_of(self, prediction: Any, example: Example) -> Float[np.ndarray, " c"]:
        """The scores of one prediction, in float32 where that loses nothing."""
        name = example.get("id", "without id")
        if not isinstance(prediction, Mapping) or "scores" not in prediction:
            raise ValueError(f"prediction of example {name!r} has no scores; give a dict with one score per class")
        scores = np.asarray(prediction["scores"], dtype=np.float64)
        if scores.shape != (len(self.labels),):
            raise ValueError(f"prediction of example {name!r} has scores of shape {scores.shape}; there are {len(self.labels)} classes")
        if not np.isfinite(scores).all():
            bad = self.labels[int(np.flatnonzero(~np.isfinite(scores))[0])]
            raise ValueError(f"score of {bad!r} of example {name!r} is not a finite number; metrics of NaN mean nothing")
        narrow = scores.astype(np.float32)
        return narrow if (narrow == scores).all() else scores

    def marks_of(self, example: Example) -> Int[np.ndarray, " c"]:
        """1, 0 or -1 per class."""
        told = "absent" in example
        marks = np.full(len(self.labels), UNKNOWN if told else ABSENT, dtype=np.int8)
        marks[self._places(example.get("absent", ()), example)] = ABSENT
        marks[[self.index[label] for label in example.get("unknown", ()) if label in self.index]] = UNKNOWN
        marks[self._places(target_of(example, "labels"), example)] = PRESENT
        return marks

    def _places(self, labels: Sequence[str], example: Example) -> list[int]:
        for label in labels:
            if label not in self.index:
                raise ValueError(f"example {example.get('id', 'without id')!r} has the label {label!r}, which is none of the classes")
        return [self.index[label] for label in labels]


class MeanAveragePrecision:
    """Area under the precision-recall steps of each class, averaged over the classes that have a positive example.

    Examples of equal score enter together, so their order does not matter: scikit-learn's `average_precision_score`.

    Args:
        average: `micro` ranks all entries of all classes in one list.
        voc: precision at recall 0, .1 ... 1 instead of the area, the best at that recall or beyond (PASCAL VOC 2007).
    """

    higher_is_better = True

    def __init__(self, labels: Sequence[str], average: Literal["macro", "micro"] = "macro", voc: bool = False):
        if average not in ("macro", "micro"):
            raise ValueError(f"average={average!r}; there are macro and micro")
        self.rows, self.average, self.voc = Rows(labels), average, voc

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; a score that is not finite is refused with ValueError."""
        self.rows.add(prediction, example)

    def merge(self, other: "MeanAveragePrecision") -> None:
        """Appends what another has gathered."""
        self.rows.merge(other.rows)

    def compute(self) -> float:
        """The mean so far, 0 to 1; NaN where no class has a positive."""
        return float(self.resample(once(len(self.rows)))[0]) if len(self.rows) else float("nan")

    def per_class(self) -> dict[str, float]:
        """Average precision of each class; NaN of one without positives."""
        return dict(zip(self.rows.labels, self._by_class(once(len(self.rows)))[:, 0].tolist(), strict=True))

    def left_out(self) -> int:
        """How many classes have no positive and take no part in the mean."""
        return int((~(self.rows.marks() == PRESENT).any(0)).sum())

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean for every row of multiplicities; a class without positives in a row takes no part in it."""
        if self.average == "micro":
            scores, marks = self.rows.scores().ravel(), self.rows.marks().ravel()
            known = marks != UNKNOWN
            spread = np.repeat(weights, len(self.rows.labels), axis=1)[:, known]
            return average_precision(scores[known], marks[known] == PRESENT, spread, self.voc)
        found = self._by_class(weights)
        num = (~np.isnan(found)).sum(0)
        return np.divide(np.nansum(found, 0), num, out=np.full(len(weights), np.nan), where=num > 0)

    def _by_class(self, weights: np.ndarray) -> Float[np.ndarray, "c r"]:
        found = []
        for scores, marks in zip(self.rows.scores().T, self.rows.marks().T, strict=True):
            known = marks != UNKNOWN
            found.append(average_precision(scores[known], marks[known] == PRESENT, weights[:, known], self.voc))
        return np.stack(found)


class OfficialMeanAveragePrecision:
    """Mean average precision as the asymmetric loss's authors compute it, for comparison with their numbers.

    Differs from `MeanAveragePrecision`: among equal scores the order is what an unstable sort leaves, a class without positives
    counts 0, and each class is divided by its positives + 1e-8.
    """

    higher_is_better = True

    def __init__(self, labels: Sequence[str]):
        self.rows = Rows(labels)

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; a score that is not finite is refused with ValueError."""
        self.rows.add(prediction, example)

    def merge(self, other: "OfficialMeanAveragePrecision") -> None:
        """Appends what another has gathered."""
        self.rows.merge(other.rows)

    def compute(self) -> float:
        """The mean so far, 0 to 1."""
        if not len(self.rows):
            return float("nan")
        return float(np.mean([self._one(s, m) for s, m in zip(self.rows.scores().T, self.rows.marks().T, strict=True)]))

    @staticmethod
    def _one(scores: np.ndarray, marks: np.ndarray) -> float:
        known = marks != UNKNOWN
        hit = marks[known][np.argsort(scores[known])[::-1]] == PRESENT
        precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
        return float(precision[hit].sum() / (hit.sum() + 1e-8))


class PrecisionRecall:
    """Precision, recall or F1 of the predicted labels: per class and averaged (C), or of all entries together (O).

    CF1 is the harmonic mean of CP and CR, as the literature has it; CF1_mean the mean of the classes' F1s, as the asymmetric loss's
    script has it. A class with positives that is never predicted has precision 0. A class that is neither predicted nor present
    takes no part, nor does one without positives in CR.

    Args:
        threshold: score from which a class is predicted, one for all or one per class; None sets no bound.
        top: at most so many classes are predicted per example, the best; of equal ones the earlier in `labels`.
    """

    higher_is_better = True

    def __init__(self, labels: Sequence[str], name: COUNTS = "CF1", threshold: Thresholds | None = 0.5, top: int | None = None):
        if name not in _FROM_COUNTS:
            raise ValueError(f"no number {name!r}; there are {', '.join(_FROM_COUNTS)}")
        if top is not None and top < 1:
            raise ValueError(f"top={top}; the best classes kept are 1 or more")
        self.rows, self.name, self.top = Rows(labels), name, top
        self.threshold = -np.inf if threshold is None else np.asarray(threshold, dtype=np.float64)
        self.hits: list[np.ndarray] = []  # per example the classes rightly predicted, predicted, present
        self.predicted: list[np.ndarray] = []
        self.true: list[np.ndarray] = []

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; a score that is not finite is refused with ValueError."""
        scores, marks = self.rows.scores_of(prediction, example), self.rows.marks_of(example)
        chosen = scores >= self.threshold
        if self.top is not None:
            kept = np.zeros_like(chosen)
            kept[np.argsort(-scores, kind="stable")[: self.top]] = True
            chosen &= kept
        chosen &= marks != UNKNOWN
        self.hits.append(np.flatnonzero(chosen & (marks == PRESENT)))
        self.predicted.append(np.flatnonzero(chosen))
        self.true.append(np.flatnonzero(marks == PRESENT))

    def merge(self, other: "PrecisionRecall") -> None:
        """Appends what another has gathered."""
        self.hits += other.hits
        self.predicted += other.predicted
        self.true += other.true

    def compute(self) -> float:
        """The number so far, 0 to 1."""
        return float(self.resample(once(len(self.true)))[0]) if self.true else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities."""
        counts = (self._counted(places, weights) for places in (self.hits, self.predicted, self.true))
        return _FROM_COUNTS[self.name](*counts)

    def _counted(self, places: list[np.ndarray], weights: np.ndarray) -> Float[np.ndarray, "r c"]:
        ends = np.cumsum([0, *map(len, places)])
        chosen = np.concatenate(places)
        sparse = csr_matrix((np.ones(len(chosen)), chosen, ends), shape=(len(places), len(self.rows.labels)))
        return np.asarray((sparse.T @ weights.T).T)


def average_precision(
    scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], weights: Float[np.ndarray, "r n"], voc: bool = False
) -> Float[np.ndarray, " r"]:
    """Average precision of one ranking for every row of multiplicities, equal scores entering together; NaN without positives."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, dtype=int)
    entered = weights[:, order]
    seen, hits = (np.cumsum(w, axis=1)[:, ends] for w in (entered, entered * positive[order]))  # r k
    if not len(ends):
        return np.full(len(weights), np.nan)
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    total = hits[:, -1:]
    if voc:
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = [hits * VOC_STEPS >= step * total for step in range(VOC_STEPS + 1)]  # whole numbers: 0.3 is not 3/10 in floats
        found = np.mean([np.where(r.any(1), best[np.arange(len(best)), r.argmax(1)], 0) for r in reached], axis=0)
        return np.where(total[:, 0] > 0, found, np.nan)
    gained = (np.diff(hits, axis=1, prepend=0) * precision).sum(1)
    return np.divide(gained, total[:, 0], out=np.full(len(weights), np.nan), where=total[:, 0] > 0)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _mean(values: np.ndarray, counted: np.ndarray) -> Float[np.ndarray, " r"]:
    """Mean over the classes that take part; NaN where none does."""
    num = counted.sum(1)
    return np.divide((values * counted).sum(1), num, out=np.full(len(values), np.nan), where=num > 0)


def _harmonic(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    return 2 * precision * _ratio(recall, precision + recall)


def _class_precision(hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return _mean(_ratio(hits, predicted), predicted + true > 0)


def _class_recall(hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return _mean(_ratio(hits, true), true > 0)


def _class_f1(hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return _mean(_ratio(2 * hits, predicted + true), predicted + true > 0)


_FROM_COUNTS = {
    "CP": _class_precision,
    "CR": _class_recall,
    "CF1": lambda *counts: _harmonic(_class_precision(*counts), _class_recall(*counts)),
    "CF1_mean": _class_f1,
    "OP": lambda hits, predicted, true: _ratio(hits.sum(1), predicted.sum(1)),
    "OR": lambda hits, predicted, true: _ratio(hits.sum(1), true.sum(1)),
    "OF1": lambda hits, predicted, true: _ratio(2 * hits.sum(1), predicted.sum(1) + true.sum(1)),
}
