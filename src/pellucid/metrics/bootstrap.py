"""How much a number would move had other examples been drawn: percentile bootstrap of any of a task's metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float

from pellucid.task import Example, Metric

CELLS = 2_000_000  # multiplicities held at once
SLOW_RESAMPLES = 200  # of a metric that cannot be computed from multiplicities


def draws(
    make: Callable[[], Mapping[str, Metric]],
    predictions: Sequence[Any],
    examples: Sequence[Example],
    resamples: int = 1000,
    seed: int | Sequence[int] = 0,
) -> dict[str, Float[np.ndarray, " r"]]:
    """Each metric on resampled examples, drawn with replacement.

    A metric may offer `resample(weights)`, its value for each row of multiplicities; others are gathered anew,
    at most 200 times.

    Args:
        make: fresh accumulators, `task.metrics`.
        seed: sets drawn with different seeds are independent, as `difference` needs.
    """
    gathered = _gather(make(), predictions, examples, np.arange(len(examples)))
    if not len(examples):
        return {name: np.full(resamples, np.nan) for name in gathered}
    fast = {name: metric for name, metric in gathered.items() if hasattr(metric, "resample")}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in fast}
    if fast:
        for weights in _multiplicities(len(examples), resamples, seed):
            for name, metric in fast.items():
                parts[name].append(metric.resample(weights))
    found = {name: np.concatenate(part) for name, part in parts.items()}
    slow = [name for name in gathered if name not in fast]
    return found | (_again(make, slow, predictions, examples, min(resamples, SLOW_RESAMPLES), seed) if slow else {})


def interval(
    make: Callable[[], Mapping[str, Metric]],
    predictions: Sequence[Any],
    examples: Sequence[Example],
    resamples: int = 1000,
    level: float = 0.95,
    seed: int | Sequence[int] = 0,
) -> dict[str, tuple[float, float]]:
    """Low and high end of each metric's percentile interval."""
    return {name: percentile(values, level) for name, values in draws(make, predictions, examples, resamples, seed).items()}


def percentile(values: Float[np.ndarray, " r"], level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of the draws; draws on which the metric is undefined (NaN) do not count, NaN if all are.

    Raises:
        ValueError: level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}; it must lie between 0 and 1")
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def difference(away: Float[np.ndarray, " r"], home: Float[np.ndarray, " r"], level: float = 0.95) -> tuple[float, float]:
    """Interval of away less home, from draws of two sets made with different seeds."""
    return percentile(away - home, level)


def _multiplicities(num_examples: int, resamples: int, seed: int | Sequence[int]) -> Iterator[Float[np.ndarray, "r n"]]:
    rng = np.random.default_rng(seed)
    rows = max(1, CELLS // num_examples)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(num_examples, size=(num_examples, size)) * size + np.arange(size)  # n r
        counts = np.bincount(rearrange(drawn, "n r -> (n r)"), minlength=num_examples * size)
        yield rearrange(counts, "(n r) -> r n", r=size).astype(np.float64)


def _again(
    make: Callable[[], Mapping[str, Metric]],
    names: list[str],
    predictions: Sequence[Any],
    examples: Sequence[Example],
    resamples: int,
    seed: int | Sequence[int],
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = np.empty((resamples, len(names)))
    for row in values:
        metrics = {name: metric for name, metric in make().items() if name in names}
        gathered = _gather(metrics, predictions, examples, rng.integers(len(examples), size=len(examples)))
        row[:] = [gathered[name].compute() for name in names]
    return dict(zip(names, values.T, strict=True))


def _gather(
    metrics: Mapping[str, Metric], predictions: Sequence[Any], examples: Sequence[Example], rows: np.ndarray
) -> Mapping[str, Metric]:
    for i in rows:
        for metric in metrics.values():
            metric.update(predictions[i], examples[i])
    return metrics
