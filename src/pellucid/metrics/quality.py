"""Numbers for predicted picture quality against human scores: correlations, errors before and after a fit, agreement on preferences.

A prediction is `{"quality": number, ...}` or the number, higher better. Rows without `label` (two pictures of which one is preferred)
count in `agreement` alone, and there the prediction has `other_quality`, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from pellucid.metrics import fits
from pellucid.metrics.bootstrap import percentile
from pellucid.metrics.paired import finite, once, target_of
from pellucid.metrics.regression import RMSE, Kendall, Pairs, Pearson, Spearman
from pellucid.task import Example, Metric

What = Literal["plcc", "rmse"]
DECIDED = 0.15  # from 1/2: two standard errors of a preference that 40 people told


def quality_metrics() -> dict[str, Metric]:
    """`srocc`, `krocc`, `plcc`, `rmse`; `plcc_4`, `rmse_4`, `plcc_5`, `rmse_5` after a fit; `agreement`."""
    plain: dict[str, Number] = {"srocc": Spearman(), "krocc": Kendall(), "plcc": Pearson(), "rmse": RMSE()}
    curves: tuple[tuple[str, fits.Kind], ...] = (("4", "logistic4"), ("5", "logistic5"))
    whats: tuple[What, ...] = ("plcc", "rmse")
    fitted: dict[str, Number] = {f"{what}_{name}": Fitted(kind, what) for name, kind in curves for what in whats}
    return {name: Rated(number) for name, number in (plain | fitted).items()} | {"agreement": Agreement()}


class Fitted:
    """Correlation or error of predictions that a fitted curve took to the targets; NaN of fewer than 6.

    The curve may fall: a model that has quality upside down is told by the sign of `srocc`, not here. Errors are in the targets' unit.

    Args:
        kind: of the curve, see `metrics.fits`.
        what: `plcc`, the linear correlation, or `rmse`, the root of the mean squared error.
    """

    def __init__(self, kind: fits.Kind, what: What = "plcc", key: str = "label"):
        self.kind: fits.Kind = kind
        self.what = what
        self.higher_is_better = what == "plcc"
        self.pairs = Pairs(key)
        self._curve: tuple[int, fits.Curve] | None = None  # and of how many rows it was found

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction; anything but finite numbers is refused with ValueError."""
        self.pairs.add(prediction, example)

    def merge(self, other: "Fitted") -> None:
        """Appends what another has gathered."""
        self.pairs.rows += other.pairs.rows

    def compute(self) -> float:
        """The number so far."""
        return float(self.resample(once(len(self.pairs.rows)))[0])

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities, all with the curve of the whole set: what a new fit would add is not in them."""
        values, targets = self.pairs.columns()
        if len(values) < fits.LEAST:
            return np.full(len(weights), np.nan)
        number = Pearson(self.pairs.key) if self.what == "plcc" else RMSE(self.pairs.key)
        if self._curve is None or self._curve[0] != len(values):
            self._curve = len(values), fits.fit(self.kind, values, targets)
        curve = self._curve[1]
        number.pairs.rows = list(zip(curve(values).tolist(), targets.tolist(), strict=True))
        return number.resample(weights)


Number = Pearson | Spearman | Kendall | RMSE | Fitted


class Rated:
    """A number of the rows that carry a label, from the predicted `quality`; others are passed over."""

    def __init__(self, number: Number):
        self.number = number
        self.higher_is_better = number.higher_is_better
        self.rated: list[bool] = []

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction if the example has a label; anything but finite numbers is refused with ValueError."""
        rated = has_label(example, self.number.pairs.key)
        if rated:
            self.number.update(quality_of(prediction, example), example)
        self.rated.append(rated)

    def merge(self, other: "Rated") -> None:
        """Appends what another has gathered."""
        assert type(self.number) is type(other.number), "two metrics of different kinds were merged"
        self.number.pairs.rows += other.number.pairs.rows
        self.rated += other.rated

    def compute(self) -> float:
        """The number so far."""
        return self.number.compute()

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities, examples in the order of the updates; NaN where no labelled one was drawn."""
        kept = weights[:, np.asarray(self.rated, dtype=bool)]
        drawn = kept.sum(1) > 0
        found = np.full(len(weights), np.nan)
        if drawn.any():
            found[drawn] = self.number.resample(kept[drawn])
        return found


class Agreement:
    """Share of pairs in which the picture that most people prefer has the better predicted quality; equal ones are half right.

    Args:
        decided: pairs whose preference is nearer than this to 1/2 do not count.
    """

    higher_is_better = True

    def __init__(self, decided: float = DECIDED, key: str = "preference"):
        self.decided, self.key = decided, key
        self.rows: list[tuple[float, int]] = []  # how right, and whether the row counts

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction if the example has a decided preference; it must then have `quality` and `other_quality`."""
        self.rows.append(self._row(prediction, example))

    def _row(self, prediction: Any, example: Example) -> tuple[float, int]:
        if example.get(self.key) is None:
            return 0.0, 0
        lean = finite(target_of(example, self.key), example, self.key) - 0.5
        if lean == 0 or abs(lean) < self.decided - 1e-9:
            return 0.0, 0
        told = prediction if isinstance(prediction, Mapping) else {}
        better = quality_of(prediction, example) - finite(told.get("other_quality"), example, "other_quality")
        return (1 + float(np.sign(lean) * np.sign(better))) / 2, 1

    def merge(self, other: "Agreement") -> None:
        """Appends what another has gathered."""
        self.rows += other.rows

    def compute(self) -> float:
        """The share so far; NaN of no decided pair."""
        return float(self.resample(once(len(self.rows)))[0])

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The share for every row of multiplicities, examples in the order of the updates."""
        right, counted = np.asarray(self.rows, dtype=np.float64).reshape(-1, 2).T
        with np.errstate(invalid="ignore"):
            return (weights @ right) / (weights @ counted)


def by_kind(predictions: Sequence[Any], examples: Sequence[Example]) -> dict[str, dict[str, float]]:
    """For each `kind` of distortion in the order of names: `n`, `srocc`, `plcc_5`, `rmse_5` and `residual`.

    The fit of `plcc_5` and `rmse_5` is the kind's own. `residual` is the mean of prediction less label, predictions taken to the
    labels' unit by the curve of all rows (themselves where those are fewer than 6): above 0, the model thinks too well of that
    distortion. Rows without label do not count; those without a kind count in the curve alone.
    """
    rows = [(quality_of(p, e), e) for p, e in zip(predictions, examples, strict=True) if has_label(e)]
    values = np.array([value for value, _ in rows], dtype=np.float64)
    targets = np.array([float(target_of(e, "label")) for _, e in rows], dtype=np.float64)
    over = (fits.fit("logistic5", values, targets)(values) if len(rows) >= fits.LEAST else values) - targets
    kinds = np.array([str(e["kind"]) if e.get("kind") is not None else "" for _, e in rows])
    found = {}
    for kind in sorted(set(kinds.tolist()) - {""}):
        mine = np.flatnonzero(kinds == kind)
        numbers: dict[str, Number] = {"srocc": Spearman(), "plcc_5": Fitted("logistic5", "plcc"), "rmse_5": Fitted("logistic5", "rmse")}
        for number in numbers.values():
            number.pairs.rows = list(zip(values[mine].tolist(), targets[mine].tolist(), strict=True))
        told = {name: number.compute() for name, number in numbers.items()}
        found[kind] = {"n": len(mine)} | told | {"residual": float(over[mine].mean())}
    return found


def over_splits(values: Iterable[float]) -> dict[str, float]:
    """`median`, `mean`, the middle 95% (`low`, `high`) and the number `n` of splits on which the number is defined."""
    known = np.array([value for value in values if not np.isnan(value)], dtype=np.float64)
    low, high = percentile(known)
    middle, mean = (float(np.median(known)), float(known.mean())) if len(known) else (float("nan"), float("nan"))
    return {"median": middle, "mean": mean, "low": low, "high": high, "n": len(known)}


def quality_of(prediction: Any, example: Example) -> float:
    """The predicted quality.

    Raises:
        ValueError: it is no finite number.
    """
    return finite(prediction.get("quality") if isinstance(prediction, Mapping) else prediction, example, "quality")


def has_label(example: Example, key: str = "label") -> bool:
    """Whether people scored this one."""
    return example.get(key) is not None
