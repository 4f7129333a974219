"""Metrics on hand-worked selections, against scikit-learn, and at their limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from pellucid.explain.dependence import metrics, truth

# three columns: x is told from its opposite by {0} or by {1}; the second row needs {0, 2}
TWO = truth.Truth(np.array([[m & 3 > 0 for m in range(8)], [m & 5 == 5 for m in range(8)]]), np.array([[1, 2], [5, -1]]), np.array([1, 2]))


def numbers(selected):
    found = metrics.score(TWO, np.array(selected))
    return {name: getattr(found, name).tolist() for name in ("exact", "precision", "recall", "f1", "iou", "sound", "gap")}


def test_any_of_the_right_explanations_counts():
    for first in (1, 2):
        found = numbers([first, 5])
        assert found == {
            "exact": [1, 1],
            "precision": [1, 1],
            "recall": [1, 1],
            "f1": [1, 1],
            "iou": [1, 1],
            "sound": [1, 1],
            "gap": [0, 0],
        }


def test_too_much_is_sound_and_not_minimal():
    found = numbers([7, 7])
    assert found["exact"] == [0, 0]
    assert found["sound"] == [1, 1]
    assert found["recall"] == [1, 1]
    assert found["precision"] == pytest.approx([1 / 3, 2 / 3])
    assert found["f1"] == pytest.approx([1 / 2, 4 / 5])
    assert found["iou"] == pytest.approx([1 / 3, 2 / 3])
    assert found["gap"] == [2, 1]


def test_nothing_selected_is_worth_nothing():
    found = numbers([0, 0])
    assert found["exact"] == found["sound"] == found["f1"] == found["iou"] == found["recall"] == found["precision"] == [0, 0]
    assert found["gap"] == [-1, -2]


def test_no_answer_is_worth_nothing_and_has_no_gap():
    found = numbers([-1, 5])
    assert found["exact"] == found["sound"] == [0, 1]
    assert np.isnan(found["gap"][0])


def test_where_nothing_is_needed_only_nothing_is_right():
    none = truth.of_points(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 1]))
    found = metrics.score(none, np.array([0, 3]))
    assert found.exact.tolist() == [1, 0]
    assert found.iou.tolist() == [1, 0]
    assert found.f1.tolist() == [1, 0]
    assert found.sound.tolist() == [1, 1]


def test_points_without_an_explanation_do_not_count():
    open_ = truth.of_points(np.zeros((2, 2)), np.array([0, 1]))
    assert np.isnan(metrics.score(open_, np.array([3, 0])).exact).all()
    assert np.isnan(metrics.average_precision(open_, np.ones((2, 2)))).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(1, 15))
def test_average_precision_is_scikit_learns(weights, mask):
    one = truth.Truth(np.zeros((1, 16), dtype=bool), np.array([[mask]]), np.array([mask.bit_count()]))
    expected = average_precision_score([mask >> k & 1 for k in range(4)], weights)
    assert metrics.average_precision(one, np.array([weights], dtype=float))[0] == pytest.approx(expected)


def test_average_precision_takes_the_best_of_several_explanations():
    weights = np.array([[0.1, 0.9, 0.5], [0.9, 0.1, 0.5]])
    assert metrics.average_precision(TWO, weights).tolist() == [1, 1]
    assert metrics.top(TWO, weights).tolist() == [1, 1]
    assert metrics.top(TWO, weights[::-1]).tolist() == [1, 0]


def test_the_area_of_a_straight_line_is_its_middle():
    assert metrics.area(np.array([0.1, 0.2, 0.5]), np.array([[0.1], [0.2], [0.5]])).item() == pytest.approx(0.3)


def test_equal_runs_are_stable_and_disjoint_ones_are_not():
    assert metrics.stability(np.array([[3, 1], [3, 2]])).tolist() == [1, 0]
    assert metrics.stability(np.array([[3, 0]])).tolist() == [1, 1]
    assert metrics.stability(np.array([[0], [0]])).tolist() == [1]


def test_a_longer_selection_of_who_agrees_breaks_monotony():
    points = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert metrics.violates_monotone(points, np.array([1, 3, 1])).tolist() == [1, 0, 0]
    assert metrics.violates_monotone(points, np.array([1, -1, 1])).tolist() == [1, 0, 0]


def test_an_interval_by_problem_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(0.5, 0.1, 400)
    found = metrics.interval(values)
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.002)


def test_the_level_is_chosen_on_tuning_problems_alone():
    tuning = np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]])
    values = np.array([[0.2, 0.4], [1.0, 1.0]])
    found = metrics.nested(tuning, values)
    assert found.value == pytest.approx(0.3)
    assert found.high <= 0.4


def test_a_level_that_could_have_been_another_widens_the_interval():
    tuning = np.array([[0.5, 0.7, 0.1, 0.9] * 3, [0.6, 0.6, 0.6, 0.5] * 3])
    values = np.array([[0.1] * 8, [0.9] * 8])
    found = metrics.nested(tuning, values)
    assert found.value == pytest.approx(0.9)
    assert found.low == pytest.approx(0.1)
