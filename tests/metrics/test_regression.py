"""Pearson, Spearman and RMSE against scipy, scikit-learn and by hand."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import root_mean_squared_error

from pellucid.metrics.regression import RMSE, Pearson, Spearman
from pellucid.task import Metric

KINDS = [Pearson, Spearman, RMSE]


def gathered(metric, predictions, targets):
    for i, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        metric.update(prediction, {"id": f"rows.csv:{i + 1}", "label": target})
    return metric


def correlated(n=300, decimals=1):
    """Rounded, so that there are ties."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    return np.round(x + rng.normal(size=n), decimals), np.round(x, decimals)


def test_hand_worked_values():
    predictions, targets = [1.0, 2.0, 4.0], [1.0, 3.0, 2.0]
    # centred: (-4/3, -1/3, 5/3) . (-1, 1, 0) = 1; lengths sqrt(42)/3 and sqrt(2)
    assert gathered(Pearson(), predictions, targets).compute() == pytest.approx(3 / math.sqrt(84), abs=1e-12)
    assert gathered(Spearman(), predictions, targets).compute() == pytest.approx(0.5, abs=1e-12)
    assert gathered(RMSE(), predictions, targets).compute() == pytest.approx(math.sqrt(5 / 3), abs=1e-12)


def test_correlations_agree_with_scipy_and_scikit_learn():
    predictions, targets = correlated()
    assert gathered(Pearson(), predictions, targets).compute() == pytest.approx(stats.pearsonr(predictions, targets)[0], abs=1e-12)
    assert gathered(Spearman(), predictions, targets).compute() == pytest.approx(stats.spearmanr(predictions, targets)[0], abs=1e-12)
    peer = root_mean_squared_error(targets, predictions)
    assert gathered(RMSE(), predictions, targets).compute() == pytest.approx(peer, abs=1e-12)


def test_pearson_survives_a_huge_offset():
    predictions, targets = correlated(decimals=3)
    shifted = gathered(Pearson(), predictions + 1e9, targets * 1e-200).compute()
    assert shifted == pytest.approx(gathered(Pearson(), predictions, targets).compute(), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_merged_give_the_number_of_the_whole(kind):
    predictions, targets = correlated()
    whole, part, rest = (gathered(kind(), predictions[s], targets[s]) for s in (slice(None), slice(0, 101), slice(101, None)))
    part.merge(rest)
    assert part.compute() == pytest.approx(whole.compute(), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_multiplicities_is_the_metric_of_the_repeated_examples(kind):
    predictions, targets = correlated(40, decimals=0)
    weights = np.random.default_rng(1).integers(0, 3, (6, 40)).astype(float)
    found = gathered(kind(), predictions, targets).resample(weights)
    for row, value in zip(weights, found, strict=True):
        rows = np.repeat(np.arange(40), row.astype(int))
        assert value == pytest.approx(gathered(kind(), predictions[rows], targets[rows]).compute(), abs=1e-10)


@pytest.mark.parametrize("kind", [Pearson, Spearman])
def test_a_constant_has_no_correlation(kind):
    assert math.isnan(gathered(kind(), [0.1] * 7, [1.0, 2, 3, 4, 5, 6, 7]).compute())
    values = np.random.default_rng(0).normal(size=600)
    one_value_drawn = 3 * np.eye(600)  # rounding leaves some of these a variance of 1e-18
    assert np.isnan(gathered(kind(), values, np.exp(values)).resample(one_value_drawn)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_gathered_is_not_a_number(kind):
    assert math.isnan(kind().compute())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("prediction", "target", "complaint"),
    [
        (float("nan"), 1.0, "prediction.*rows.csv:1.*NaN"),
        (float("inf"), 1.0, "prediction.*inf"),
        ("good", 1.0, "'good', not a number"),
        (1.0, float("nan"), "label.*rows.csv:1.*NaN"),
    ],
)
def test_what_is_no_finite_number_is_refused_and_not_kept(kind, prediction, target, complaint):
    metric = kind()
    with pytest.raises(ValueError, match=complaint):
        gathered(metric, [prediction], [target])
    assert metric.pairs.rows == []


def test_metrics_say_which_way_is_better():
    assert [kind().higher_is_better for kind in KINDS] == [True, True, False]
    assert all(isinstance(kind(), Metric) for kind in KINDS)
