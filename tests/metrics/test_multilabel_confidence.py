"""Calibration, balance and thresholds of many labels per example."""

import math
import pickle

import numpy as np
import pytest

from pellucid.metrics.calibration import expected_calibration_error
from pellucid.metrics.multilabel import PrecisionRecall
from pellucid.metrics.multilabel_confidence import LabelCalibration, ProbabilityBalance, best_thresholds
from pellucid.task import Metric

LABELS = ["cat", "dog", "hat"]
MAKES = {
    "calibration": LabelCalibration,
    **{part: (lambda labels, part=part: ProbabilityBalance(labels, part)) for part in ("present", "absent", "gap")},
}


def rows(num=50, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.random((num, 3)) < 0.4
    scores = np.clip(0.3 * truth + 0.7 * rng.random((num, 3)), 0, 1)
    examples = [{"id": str(i), "labels": [LABELS[c] for c in np.flatnonzero(row)]} for i, row in enumerate(truth)]
    return [{"scores": row} for row in scores], examples, scores, truth


def gathered(metric, predictions, examples):
    for prediction, example in zip(predictions, examples, strict=True):
        metric.update(prediction, example)
    return metric


def test_calibration_is_that_of_all_entries_in_one_list():
    predictions, examples, scores, truth = rows()
    expected = expected_calibration_error(scores.ravel(), truth.ravel())
    assert gathered(LabelCalibration(LABELS), predictions, examples).compute() == pytest.approx(expected, abs=1e-12)


def test_probabilities_that_come_true_as_often_as_they_say_are_calibrated():
    told = [{"scores": [0.25, 1.0, 0.0]}] * 4
    truth = [{"labels": ["dog"]}] * 3 + [{"labels": ["dog", "cat"]}]
    assert gathered(LabelCalibration(LABELS), told, truth).compute() == pytest.approx(0)
    # an entry that nobody knows neither helps nor hurts
    wrong = {"labels": ["dog"], "unknown": ["cat", "hat"]}
    assert gathered(LabelCalibration(LABELS), [{"scores": [1.0, 1.0, 1.0]}], [wrong]).compute() == 0


def test_a_score_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match=r"'a\.jpg' lie outside \[0, 1\]"):
        LabelCalibration(LABELS).update({"scores": [1.5, 0.0, 0.0]}, {"id": "a.jpg", "labels": []})


def test_balance_by_hand():
    predictions = [{"scores": [0.9, 0.2, 0.4]}, {"scores": [0.5, 0.1, 0.3]}]
    examples = [{"labels": ["cat"]}, {"labels": ["hat"], "unknown": ["cat"]}]
    found = {name: gathered(MAKES[name](LABELS), predictions, examples).compute() for name in ("present", "absent", "gap")}
    present, absent = (0.9 + 0.3) / 2, (0.8 + 0.6 + 0.9) / 3
    assert found == pytest.approx({"present": present, "absent": absent, "gap": present - absent})


@pytest.mark.parametrize("name", MAKES)
def test_parts_merge_rows_resample_and_the_contract_is_kept(name):
    predictions, examples, *_ = rows()
    whole, part, rest = (gathered(MAKES[name](LABELS), predictions[s], examples[s]) for s in (slice(None), slice(0, 9), slice(9, None)))
    part.merge(pickle.loads(pickle.dumps(rest)))
    assert part.compute() == pytest.approx(whole.compute(), abs=1e-12)
    weights = np.random.default_rng(1).integers(0, 3, (3, 50)).astype(float)
    for row, value in zip(weights, whole.resample(weights), strict=True):
        again = np.repeat(np.arange(50), row.astype(int))
        repeated = gathered(MAKES[name](LABELS), [predictions[i] for i in again], [examples[i] for i in again])
        assert value == pytest.approx(repeated.compute(), abs=1e-12)
    assert isinstance(whole, Metric)
    assert math.isnan(MAKES[name](LABELS).compute())


@pytest.mark.parametrize("per_class", [True, False])
def test_no_threshold_does_better_on_the_examples_it_was_found_on(per_class):
    predictions, examples, scores, _ = rows()
    name = "CF1_mean" if per_class else "OF1"

    def f1(threshold):
        return gathered(PrecisionRecall(LABELS, name, threshold), predictions, examples).compute()

    found = best_thresholds(predictions, examples, LABELS, per_class)
    assert per_class or len(set(found)) == 1
    best = f1(found)
    assert best > f1(0.5)
    for threshold in np.unique(scores):
        assert best >= f1(threshold) - 1e-12


def test_thresholds_lie_between_the_scores_and_skip_what_is_unknown():
    predictions = [{"scores": [0.9, 0.3, 0.1]}, {"scores": [0.7, 0.8, 0.2]}, {"scores": [0.2, 0.9, 0.3]}]
    examples = [{"labels": ["cat"]}, {"labels": ["cat", "dog"]}, {"labels": [], "unknown": ["dog"]}]
    assert best_thresholds(predictions, examples, LABELS).tolist() == pytest.approx([0.45, 0.55, 0.5])
    assert best_thresholds(predictions[:1], examples[:1], LABELS, default=0.7).tolist() == pytest.approx([0.9, 0.7, 0.7])
