"""Numbers for predicted labels: accuracy, top-k accuracy and its mean over k, macro F1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from pellucid.metrics.paired import checked, once, target_of
from pellucid.task import Example


def rights(example: Example, key: str) -> tuple[Any, ...]:
    """The labels that count as right: those of `right` where the example has it, else the one under `key`."""
    return tuple(example["right"]) if "right" in example else (target_of(example, key),)


class Accuracy:
    """Share of predictions equal to the label."""

    higher_is_better = True

    def __init__(self, key: str = "label"):
        self.key = key
        self.correct: list[bool] = []

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; NaN is refused with ValueError."""
        self.correct.append(checked(prediction, example) in rights(example, self.key))

    def merge(self, other: "Accuracy") -> None:
        """Appends what another has gathered."""
        self.correct += other.correct

    def compute(self) -> float:
        """The share so far, 0 to 1."""
        return float(self.resample(once(len(self.correct)))[0]) if self.correct else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The share for every row of multiplicities, examples in the order of the updates."""
        return weights @ np.asarray(self.correct, dtype=np.float64) / weights.sum(1)


class Ranked(str):
    """A predicted label that remembers the runners-up; it equals, prints and saves as the label alone.

    Args:
        best: the likeliest labels in falling order, the prediction first.
    """

    best: tuple[str, ...]

    def __new__(cls, best: Sequence[str]) -> "Ranked":
        """The first of the labels.

        Raises:
            ValueError: no labels.
        """
        if not len(best):
            raise ValueError("a ranked prediction needs at least one label")
        ranked = super().__new__(cls, best[0])
        ranked.best = tuple(best)
        return ranked

    def __reduce__(self) -> tuple[Any, ...]:
        return Ranked, (self.best,)  # str alone would lose the runners-up between processes


class TopK:
    """Share of examples whose label is among the k best of a `Ranked` prediction."""

    higher_is_better = True

    def __init__(self, k: int = 5, key: str = "label"):
        if k < 1:
            raise ValueError(f"k={k}; the best labels looked at are 1 or more")
        self.k, self.key = k, key
        self.found = Accuracy("found")

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction.

        Raises:
            ValueError: a prediction that is no `Ranked`.
        """
        right = rights(example, self.key)
        if not isinstance(prediction, Ranked):
            raise ValueError(f"prediction {prediction!r} of example {example.get('id', 'without id')!r} has no ranking; give a Ranked")
        self.found.update(any(label in right for label in prediction.best[: self.k]), {"found": True})

    def merge(self, other: "TopK") -> None:
        """Appends what another has gathered."""
        self.found.merge(other.found)

    def compute(self) -> float:
        """The share so far, 0 to 1."""
        return self.found.compute()

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The share for every row of multiplicities, examples in the order of the updates."""
        return self.found.resample(weights)


class TopMean:
    """Mean of top-k accuracies of a `Ranked` prediction; of top-1 and top-5, 1 less it is the error of the Kinetics challenge."""

    higher_is_better = True

    def __init__(self, ks: Sequence[int] = (1, 5), key: str = "label"):
        if not len(ks):
            raise ValueError("no k; the mean is of one top-k accuracy or more")
        self.parts = [TopK(k, key) for k in ks]

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction.

        Raises:
            ValueError: a prediction that is no `Ranked`.
        """
        for part in self.parts:
            part.update(prediction, example)

    def merge(self, other: "TopMean") -> None:
        """Appends what another has gathered."""
        for mine, theirs in zip(self.parts, other.parts, strict=True):
            mine.merge(theirs)

    def compute(self) -> float:
        """The mean so far, 0 to 1."""
        return float(np.mean([part.compute() for part in self.parts]))

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean for every row of multiplicities, examples in the order of the updates."""
        return np.mean([part.resample(weights) for part in self.parts], axis=0)


class MacroF1:
    """F1 of each label that was predicted or true, averaged with equal weight; a label never hit counts 0."""

    higher_is_better = True

    def __init__(self, key: str = "label"):
        self.key = key
        self.predicted: list[Any] = []
        self.true: list[Any] = []

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; NaN is refused with ValueError."""
        prediction, label = checked(prediction, example), target_of(example, self.key)
        self.predicted.append(prediction)
        self.true.append(label)

    def merge(self, other: "MacroF1") -> None:
        """Appends what another has gathered."""
        self.predicted += other.predicted
        self.true += other.true

    def compute(self) -> float:
        """The mean F1 so far, 0 to 1."""
        return float(self.resample(once(len(self.true)))[0]) if self.true else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean F1 for every row of multiplicities; a label absent from a row does not count in it."""
        labels = {label: i for i, label in enumerate(dict.fromkeys(self.true + self.predicted))}
        eye = np.eye(len(labels))
        true, predicted = (eye[[labels[v] for v in column]] for column in (self.true, self.predicted))  # n c
        hits, seen = weights @ (true * predicted), weights @ (true + predicted)  # r c
        f1 = np.divide(2 * hits, seen, out=np.zeros_like(seen), where=seen > 0)
        return f1.sum(1) / (seen > 0).sum(1)
