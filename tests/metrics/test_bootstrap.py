"""The bootstrap against theory: how wide it must be, that two ways to it agree, and that it covers."""

import math

import numpy as np
import pytest

from pellucid.metrics import bootstrap
from pellucid.metrics.classification import Accuracy
from pellucid.metrics.regression import RMSE, Pearson


class SlowAccuracy:
    """Accuracy that offers no `resample`."""

    higher_is_better = True

    def __init__(self):
        self.correct, self.n = 0, 0

    def update(self, prediction, example):
        self.correct, self.n = self.correct + (prediction == example["label"]), self.n + 1

    def merge(self, other):
        self.correct, self.n = self.correct + other.correct, self.n + other.n

    def compute(self):
        return self.correct / self.n


def answers(right, n):
    return [1] * n, [{"id": str(i), "label": int(i < right)} for i in range(n)]


def accuracy():
    return {"accuracy": Accuracy()}


def test_an_interval_of_accuracy_has_the_binomial_width():
    low, high = bootstrap.interval(accuracy, *answers(320, 400), resamples=4000)["accuracy"]
    half = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.006)


def test_a_lower_level_is_a_narrower_interval():
    wide, narrow = (bootstrap.interval(accuracy, *answers(60, 100), level=level)["accuracy"] for level in (0.95, 0.5))
    assert wide[0] < narrow[0] < 0.6 < narrow[1] < wide[1]


def test_a_metric_without_multiplicities_is_gathered_anew_and_agrees():
    both = bootstrap.draws(lambda: {"fast": Accuracy(), "slow": SlowAccuracy()}, *answers(80, 100))
    assert (len(both["fast"]), len(both["slow"])) == (1000, 200)
    assert np.mean(both["slow"]) == pytest.approx(0.8, abs=0.01)
    assert np.std(both["slow"]) == pytest.approx(np.std(both["fast"]), rel=0.2)


def test_one_seed_gives_one_answer_and_another_seed_another():
    first, again, other = (bootstrap.draws(accuracy, *answers(80, 100), seed=seed)["accuracy"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_draws_do_not_depend_on_how_many_fit_in_memory(monkeypatch):
    def make():
        return {"pearson": Pearson(), "rmse": RMSE()}

    rng = np.random.default_rng(0)
    examples = [{"id": str(i), "label": float(v)} for i, v in enumerate(rng.normal(size=50))]
    predictions = rng.normal(size=50).tolist()
    whole = bootstrap.draws(make, predictions, examples, 100)
    monkeypatch.setattr(bootstrap, "CELLS", 10)
    parts = bootstrap.draws(make, predictions, examples, 100)
    assert len(parts["rmse"]) == 100
    assert np.mean(parts["rmse"]) == pytest.approx(np.mean(whole["rmse"]), abs=0.05)


def test_every_resample_has_as_many_examples_as_the_set():
    weights = np.concatenate(list(bootstrap._multiplicities(17, 500, 0)))
    assert weights.shape == (500, 17)
    assert np.all(weights.sum(1) == 17)
    assert weights.mean(0) == pytest.approx(np.ones(17), abs=0.25)
    assert weights.var() == pytest.approx(1 - 1 / 17, abs=0.05)  # binomial(17, 1/17)


def test_the_difference_of_independent_sets_adds_their_variances():
    home = bootstrap.draws(accuracy, *answers(320, 400), resamples=4000, seed=[0, 0])["accuracy"]
    away = bootstrap.draws(accuracy, *answers(280, 400), resamples=4000, seed=[0, 1])["accuracy"]
    half = 1.96 * math.sqrt(0.8 * 0.2 / 400 + 0.7 * 0.3 / 400)
    assert bootstrap.difference(away, home) == pytest.approx((-0.1 - half, -0.1 + half), abs=0.008)


def test_a_set_of_right_answers_only_has_no_width():
    assert bootstrap.interval(accuracy, *answers(10, 10))["accuracy"] == (1.0, 1.0)


def test_an_undefined_metric_has_an_undefined_interval():
    low, high = bootstrap.interval(lambda: {"pearson": Pearson()}, [1.0, 1.0], [{"id": "a", "label": 1.0}, {"id": "b", "label": 2.0}])[
        "pearson"
    ]
    assert math.isnan(low)
    assert math.isnan(high)
    assert np.isnan(bootstrap.draws(accuracy, [], [], 5)["accuracy"]).all()


def test_a_level_outside_zero_to_one_is_refused():
    with pytest.raises(ValueError, match=r"level=95\.0"):
        bootstrap.percentile(np.zeros(3), 95.0)
