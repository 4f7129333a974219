"""One model on several test sets: its metrics with intervals, the drop from home, and whether its confidence still holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from pellucid.errors import BadUsage
from pellucid.evaluate import Evaluation
from pellucid.metrics import bootstrap, calibration
from pellucid.task import Task

LOG_PROBABILITY = "log-probability"


def compare(
    task: Task, evaluations: Mapping[str, Evaluation], resamples: int = 1000, dev: Evaluation | None = None, seed: int = 0
) -> dict[str, Any]:
    """What `results/shift.json` holds: every set against the first, which is home.

    Intervals hold 95%. Calibration is given for classifiers whose task names its labels in the order of the logits
    (`labels`), and is None elsewhere.

    Args:
        dev: of the home distribution; the temperature is fitted on it, never on a test set. Without it there is none.
        seed: of the resampling.
    Raises:
        BadUsage: no sets.
    """
    if not evaluations:
        raise BadUsage("no test sets to compare; name at least one, the first is home")
    home = next(iter(evaluations))
    # a seed per set: were two sets of one size resampled alike, their difference would look too certain
    drawn = {
        name: bootstrap.draws(task.metrics, e.predictions, e.examples, resamples, [seed, i])
        for i, (name, e) in enumerate(evaluations.items())
    }
    temperature = _temperature(task, dev)
    sets = {
        name: {
            "n": len(e.predictions),
            "metrics": {m: _metric(m, name, home, evaluations, drawn) for m in e.metrics},
            "calibration": _calibration(task, e, temperature),
        }
        for name, e in evaluations.items()
    }
    return {"home": home, "score_unit": evaluations[home].score_unit, "sets": sets}


def _metric(
    metric: str, name: str, home: str, evaluations: Mapping[str, Evaluation], drawn: Mapping[str, dict[str, np.ndarray]]
) -> dict[str, Any]:
    value, at_home = evaluations[name].metrics[metric], evaluations[home].metrics[metric]
    low, high = bootstrap.percentile(drawn[name][metric])
    drop_low, drop_high = (0.0, 0.0) if name == home else bootstrap.difference(drawn[name][metric], drawn[home][metric])
    return {
        "value": value,
        "low": low,
        "high": high,
        "drop": 0.0 if name == home else value - at_home,
        "drop_low": drop_low,
        "drop_high": drop_high,
        "higher_is_better": evaluations[name].higher_is_better[metric],
    }


def _targets(task: Task, evaluation: Evaluation) -> np.ndarray | None:
    """The logit that each example's label names; None where that cannot be said of every one."""
    labels: Sequence[Any] | None = getattr(task, "labels", None)
    logits = evaluation.logits
    if evaluation.score_unit != LOG_PROBABILITY or logits is None or labels is None or len(labels) != logits.shape[1]:
        return None
    place = {label: i for i, label in enumerate(labels)}
    found = [place.get(example.get("label"), -1) for example in evaluation.examples]
    return None if len(labels) < 2 or not found or min(found) < 0 else np.array(found)


def _temperature(task: Task, dev: Evaluation | None) -> float | None:
    if dev is None or dev.logits is None:
        return None
    targets = _targets(task, dev)
    return None if targets is None else calibration.fit_temperature(dev.logits, targets)


def _calibration(task: Task, evaluation: Evaluation, temperature: float | None) -> dict[str, Any] | None:
    targets, logits = _targets(task, evaluation), evaluation.logits
    if targets is None or logits is None:
        return None
    correct = logits.argmax(1) == targets
    confidence = np.exp(evaluation.scores)  # the task's own probability: a sigmoid's where each class was trained by itself
    after = None
    if temperature is not None:
        after = calibration.expected_calibration_error(softmax(logits / temperature, axis=1).max(1), correct)
    return {
        "ece": calibration.expected_calibration_error(confidence, correct),
        "temperature": temperature,
        "ece_after": after,
        "bins": calibration.reliability(confidence, correct),
    }
