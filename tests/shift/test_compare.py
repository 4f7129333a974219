"""A model on several sets: drops from home, intervals that mean something, calibration where there is any."""

import json

import numpy as np
import pytest
from scipy.special import softmax

from pellucid.errors import BadUsage
from pellucid.evaluate import Evaluation, gather_metrics
from pellucid.metrics.classification import Accuracy, MacroF1
from pellucid.metrics.regression import RMSE, Pearson
from pellucid.shift.compare import compare


class Judge:
    """As much of a task as a comparison needs: metrics, and perhaps labels."""

    model = sites = None

    def unasked(self, *_):
        raise AssertionError("a comparison reads evaluations; it runs no model")

    collate = loss = predict = answer = score = unasked

    def __init__(self, metrics, labels=None):
        self.kinds, self.score_unit = metrics, "value" if labels is None else "log-probability"
        if labels is not None:
            self.labels = labels

    def metrics(self):
        return {name: kind() for name, kind in self.kinds.items()}


CLASSIFIER = Judge({"accuracy": Accuracy, "macro_f1": MacroF1}, ("bad", "good", "fair"))
REGRESSOR = Judge({"pearson": Pearson, "rmse": RMSE})


def measured(task, predictions, targets, logits=None):
    examples = [{"id": str(i), "label": t} for i, t in enumerate(targets)]
    metrics = gather_metrics(task, predictions, examples)
    numbers, better = {k: m.compute() for k, m in metrics.items()}, {k: m.higher_is_better for k, m in metrics.items()}
    return Evaluation(numbers, better, predictions, np.zeros(len(examples)), task.score_unit, logits, None, examples)


def classified(n, temperature, seed, task=CLASSIFIER):
    """Labels drawn at one temperature; a classifier that believes in temperature 1."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)) * 3
    drawn = (rng.random((n, 1)) > softmax(logits / temperature, axis=1).cumsum(1)).sum(1).clip(max=2)
    names = ("bad", "good", "fair")
    return measured(task, [names[i] for i in logits.argmax(1)], [names[i] for i in drawn], logits)


def graded(n, noise, seed):
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=n)
    return measured(REGRESSOR, (targets + noise * rng.normal(size=n)).tolist(), targets.tolist())


def test_home_comes_first_and_has_no_drop():
    found = compare(CLASSIFIER, {"movies": classified(300, 1, 0), "tweets": classified(200, 4, 1)})
    assert (found["home"], found["score_unit"]) == ("movies", "log-probability")
    assert [(name, s["n"]) for name, s in found["sets"].items()] == [("movies", 300), ("tweets", 200)]
    home = found["sets"]["movies"]["metrics"]["accuracy"]
    assert (home["drop"], home["drop_low"], home["drop_high"]) == (0.0, 0.0, 0.0)
    assert home["low"] < home["value"] < home["high"]


def test_a_drop_is_away_less_home_and_its_interval_is_of_the_binomial_width():
    home, away = classified(1000, 1, 0), classified(1000, 4, 1)
    drop = compare(CLASSIFIER, {"movies": home, "tweets": away}, resamples=3000)["sets"]["tweets"]["metrics"]["accuracy"]
    p, q = away.metrics["accuracy"], home.metrics["accuracy"]
    half = 1.96 * np.sqrt((p * (1 - p) + q * (1 - q)) / 1000)
    assert drop["drop"] == p - q
    assert (drop["drop_low"], drop["drop_high"]) == pytest.approx((p - q - half, p - q + half), abs=0.006)
    assert drop["drop_high"] < 0


def test_the_same_set_twice_is_not_sure_to_be_the_same():
    home = classified(400, 2, 0)
    twin = compare(CLASSIFIER, {"a": home, "b": home})["sets"]["b"]["metrics"]["accuracy"]
    assert twin["drop"] == 0
    assert twin["drop_low"] < -0.02
    assert twin["drop_high"] > 0.02


def test_a_regression_is_compared_without_calibration():
    found = compare(REGRESSOR, {"images": graded(200, 0.3, 0), "headlines": graded(200, 2.0, 1)}, dev=graded(50, 0.3, 2))
    away = found["sets"]["headlines"]
    assert away["calibration"] is None
    assert away["metrics"]["pearson"]["drop_high"] < 0
    assert away["metrics"]["rmse"]["drop_low"] > 0
    assert [away["metrics"][m]["higher_is_better"] for m in ("pearson", "rmse")] == [True, False]


def test_the_temperature_is_fitted_on_dev_and_mends_the_calibration():
    sets = {"movies": classified(1500, 3, 0), "tweets": classified(1500, 3, 1)}
    found = compare(CLASSIFIER, sets, 50, classified(1500, 3, 2))
    for s in found["sets"].values():
        calibration = s["calibration"]
        assert calibration["temperature"] == pytest.approx(3, rel=0.1)
        assert calibration["ece_after"] < 0.3 * calibration["ece"]
        assert sum(b["n"] for b in calibration["bins"]) == 1500
    other_tests = compare(CLASSIFIER, {"movies": classified(300, 9, 5)}, 50, classified(1500, 3, 2))
    assert other_tests["sets"]["movies"]["calibration"]["temperature"] == found["sets"]["movies"]["calibration"]["temperature"]


def test_without_dev_there_is_no_temperature():
    calibration = compare(CLASSIFIER, {"movies": classified(100, 1, 0)}, 50)["sets"]["movies"]["calibration"]
    assert calibration["temperature"] is None
    assert calibration["ece_after"] is None
    assert calibration["ece"] > 0


def test_labels_that_name_no_logit_leave_no_calibration():
    strange = measured(CLASSIFIER, ["good", "bad"], ["good", "superb"], np.eye(3)[:2])
    assert compare(CLASSIFIER, {"movies": strange}, 50)["sets"]["movies"]["calibration"] is None


def test_one_seed_gives_the_same_bytes_and_another_seed_others():
    sets = {"movies": classified(100, 1, 0), "tweets": classified(80, 2, 1)}
    first, again, other = (json.dumps(compare(CLASSIFIER, sets, 100, seed=s)) for s in (0, 0, 1))
    assert first == again != other


def test_nothing_to_compare_is_refused():
    with pytest.raises(BadUsage, match="no test sets"):
        compare(CLASSIFIER, {})
