"""Reliability, ECE and temperature: by hand and on data whose temperature is known."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from pellucid.metrics.calibration import expected_calibration_error, fit_temperature, reliability


def sampled(temperature, n=20_000, c=4):
    """Labels drawn from the softmax of logits / temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, c)) * 3
    probs = softmax(logits / temperature, axis=1)
    return logits, (rng.random((n, 1)) > probs.cumsum(1)).sum(1).clip(max=c - 1)


def test_hand_worked_bins():
    confidence, correct = np.array([0.55, 0.6, 0.9, 1.0]), np.array([True, False, True, True])
    bins = reliability(confidence, correct, bins=2)
    assert bins == [{"low": 0.5, "high": 1.0, "confidence": pytest.approx(0.7625), "accuracy": 0.75, "n": 4}]
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(0.0125)
    # bins of a tenth: (.5,.6] holds .55 and .6 (gap .075), (.8,.9] holds .9 (gap .1), (.9,1] holds 1 (gap 0)
    assert expected_calibration_error(confidence, correct, bins=10) == pytest.approx((2 * 0.075 + 0.1) / 4)


def test_both_ends_of_the_scale_have_a_bin():
    assert [b["n"] for b in reliability(np.array([0.0, 1.0]), np.array([False, True]))] == [1, 1]


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    assert reliability(np.array([0.5]), np.array([True]), bins=2)[0]["high"] == 0.5


def test_ece_agrees_with_counting_one_example_at_a_time():
    logits, labels = sampled(2.0, 2000)
    probs = softmax(logits, axis=1)
    confidence, correct = probs.max(1), probs.argmax(1) == labels
    total = 0.0
    for low in range(15):
        inside = [(c, k) for c, k in zip(confidence, correct, strict=True) if low / 15 < c <= (low + 1) / 15]
        total += abs(sum(c for c, _ in inside) - sum(k for _, k in inside))
    assert expected_calibration_error(confidence, correct) == pytest.approx(total / 2000, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    assert fit_temperature(*sampled(temperature)) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_leaves_no_slope_and_shrinks_the_error():
    logits, labels = sampled(3.0)
    best = fit_temperature(logits, labels)

    def loss(t):
        return -log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].mean()

    assert loss(best) <= min(loss(best * 1.01), loss(best / 1.01))
    before, after = (softmax(logits / t, axis=1) for t in (1.0, best))
    ece = [expected_calibration_error(p.max(1), p.argmax(1) == labels) for p in (before, after)]
    assert ece[1] < 0.2 * ece[0]


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scaled_logits_scale_the_temperature(factor):
    logits, labels = sampled(1.0, 2000)
    assert fit_temperature(logits * factor, labels) == pytest.approx(fit_temperature(logits, labels) * factor, rel=1e-4)


def test_where_no_temperature_is_best_it_is_still_a_positive_number():
    logits = np.array([[0.0, 5.0], [5.0, 0.0]])
    assert 0 < fit_temperature(logits, np.array([1, 0])) < 0.01  # always right: the colder the better
    assert 1000 < fit_temperature(logits, np.array([0, 1])) < np.inf  # always wrong: the hotter the better
    assert fit_temperature(np.zeros((2, 3)), np.array([0, 2])) == 1.0


def test_what_is_no_probability_or_no_label_is_refused():
    for bad in (np.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="outside"):
            reliability(np.array([0.5, bad]), np.array([True, True]))
    with pytest.raises(ValueError, match=r"0\.\.1, got 0\.\.2"):
        fit_temperature(np.zeros((2, 2)), np.array([0, 2]))
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))
