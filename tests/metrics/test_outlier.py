"""AUROC, AUPR and FAR95 with outliers as positives: by hand, against scikit-learn, and what must never change them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from pellucid.metrics.outlier import aupr, auroc, detection_numbers, far95, roc_points

FUNCTIONS = [auroc, aupr, far95, detection_numbers, roc_points]
few_values = st.lists(st.integers(-6, 6), min_size=1, max_size=60).map(lambda v: np.array(v, dtype=np.float64))  # many ties


def normal_scores(seed=0, decimals=2):
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(1, 1, 300), decimals), np.round(rng.normal(0, 1, 500), decimals)


def far95_by_definition(ood, home):
    threshold = max(t for t in ood if np.mean(ood >= t) >= 0.95)
    return np.mean(home >= threshold)


def test_hand_worked_values():
    ood, home = np.array([0.35, 0.5, 0.6]), np.array([0.1, 0.2, 0.3, 0.4])
    assert auroc(ood, home) == pytest.approx(11 / 12, abs=1e-12)  # one of twelve pairs is the wrong way round
    assert aupr(ood, home) == pytest.approx((1 + 1 + 3 / 4) / 3, abs=1e-12)
    assert far95(ood, home) == 0.25  # all three must be found: threshold .35, one alarm of four


def test_a_tie_counts_half_and_raises_the_alarm():
    ood, home = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    assert detection_numbers(ood, home) == pytest.approx({"auroc": 0.875, "aupr": (1 + 2 / 3) / 2, "base_rate": 0.5, "far95": 0.5})


def test_of_twenty_outliers_one_may_be_missed_and_of_nineteen_none():
    home = np.array([0.5, 10.0])
    ood = np.concatenate([[0.0], np.full(19, 5.0)])
    assert far95(ood, home) == 0.5
    assert far95(ood[:-1], home) == 1.0


def test_constant_scores_tell_nothing():
    same, other = np.zeros(30), np.zeros(50)
    assert detection_numbers(same, other) == {"auroc": 0.5, "aupr": pytest.approx(30 / 80), "base_rate": 30 / 80, "far95": 1.0}


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_areas_agree_with_scikit_learn(decimals):
    ood, home = normal_scores(decimals=decimals)
    labels, scores = np.repeat([1, 0], [len(ood), len(home)]), np.concatenate([ood, home])
    assert auroc(ood, home) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert aupr(ood, home) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(few_values, few_values)
def test_far95_is_its_definition(ood, home):
    assert far95(ood, home) == far95_by_definition(ood, home)


@settings(deadline=None, max_examples=60)
@given(few_values, few_values)
def test_the_shared_sort_gives_what_each_function_gives(ood, home):
    expected = {
        "auroc": auroc(ood, home),
        "aupr": aupr(ood, home),
        "base_rate": len(ood) / (len(ood) + len(home)),
        "far95": far95(ood, home),
    }
    assert detection_numbers(ood, home) == expected


@settings(deadline=None, max_examples=60)
@given(few_values, few_values, st.sampled_from([np.exp, np.cbrt, lambda x: 3 * x + 1e3, lambda x: x**3 - 0.5]))
def test_a_strictly_monotone_transform_changes_nothing(ood, home, transform):
    assert detection_numbers(transform(ood), transform(home)) == detection_numbers(ood, home)


@settings(deadline=None, max_examples=60)
@given(few_values, few_values)
def test_swapping_the_classes_gives_the_complement(ood, home):
    assert auroc(home, ood) == pytest.approx(1 - auroc(ood, home), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(few_values, few_values)
def test_the_area_under_the_roc_points_is_the_auroc(ood, home):
    curve = roc_points(ood, home)
    assert curve[0].tolist() == [0, 0]
    assert curve[-1].tolist() == [1, 1]
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(auroc(ood, home), abs=1e-12)


def test_a_long_curve_is_thinned_to_points_of_its_own():
    ood, home = normal_scores(decimals=9)
    whole, thin = roc_points(ood, home, points=10_000), roc_points(ood, home, points=50)
    assert len(whole) == 801
    assert len(thin) <= 50
    assert {tuple(p) for p in thin} <= {tuple(p) for p in whole}
    assert np.all(np.diff(thin, axis=0) >= 0)
    assert np.trapezoid(thin[:, 1], thin[:, 0]) == pytest.approx(auroc(ood, home), abs=0.01)


def test_infinite_scores_rank_last_and_first():
    assert auroc(np.array([np.inf, 1.0]), np.array([-np.inf, 0.0])) == 1.0


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("side", ["ood", "home"])
def test_nan_and_nothing_are_refused_by_the_name_of_their_class(function, side):
    good = {"ood": np.array([1.0, 2.0]), "home": np.array([0.0])}
    with pytest.raises(ValueError, match=f"NaN among the {side} scores"):
        function(**{**good, side: np.array([np.nan, 3.0])})
    with pytest.raises(ValueError, match=f"no {side} scores"):
        function(**{**good, side: np.array([])})


def test_scores_of_two_precisions_mix():
    ood, home = normal_scores()
    exact = np.round(ood * 4) / 4, np.round(home * 4) / 4  # quarters are exact in either
    assert detection_numbers(exact[0].astype(np.float32), exact[1]) == detection_numbers(*exact)
    assert auroc(exact[0].astype(np.float16), exact[1]) == auroc(*exact)


def test_the_callers_arrays_stay_as_they_were():
    ood, home = normal_scores()
    before = ood.copy(), home.copy()
    for function in FUNCTIONS:
        function(ood, home)
    assert np.array_equal(ood, before[0])
    assert np.array_equal(home, before[1])
