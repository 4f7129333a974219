"""Accuracy and macro F1 against scikit-learn and by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from pellucid.metrics.classification import Accuracy, MacroF1, Ranked, TopK
from pellucid.task import Metric

TRUE = ["no", "no", "yes", "yes", "maybe"]
PREDICTED = ["no", "yes", "yes", "yes", "no"]


def gathered(metric, predicted=PREDICTED, true=TRUE):
    for i, (prediction, label) in enumerate(zip(predicted, true, strict=True)):
        metric.update(prediction, {"id": f"rows.csv:{i + 1}", "label": label})
    return metric


def random_labels(n=200):
    rng = np.random.default_rng(0)
    return rng.integers(0, 4, n).tolist(), rng.integers(0, 5, n).tolist()


def test_accuracy_is_the_share_that_is_right():
    assert gathered(Accuracy()).compute() == pytest.approx(3 / 5)


def test_macro_f1_averages_over_every_label_seen_on_either_side():
    # no: 2*1/(2+2) = .5; yes: 2*2/(3+2) = .8; maybe: 0
    assert gathered(MacroF1()).compute() == pytest.approx((0.5 + 0.8 + 0) / 3)


def test_both_agree_with_scikit_learn():
    predicted, true = random_labels()
    assert gathered(Accuracy(), predicted, true).compute() == pytest.approx(accuracy_score(true, predicted), abs=1e-12)
    assert gathered(MacroF1(), predicted, true).compute() == pytest.approx(f1_score(true, predicted, average="macro"), abs=1e-12)


@pytest.mark.parametrize("kind", [Accuracy, MacroF1])
def test_parts_merged_give_the_number_of_the_whole(kind):
    predicted, true = random_labels()
    whole, part, rest = (gathered(kind(), predicted[s], true[s]) for s in (slice(None), slice(0, 37), slice(37, None)))
    part.merge(rest)
    assert part.compute() == pytest.approx(whole.compute(), abs=1e-12)


@pytest.mark.parametrize("kind", [Accuracy, MacroF1])
def test_a_row_of_multiplicities_is_the_metric_of_the_repeated_examples(kind):
    predicted, true = random_labels(30)
    weights = np.random.default_rng(1).integers(0, 3, (5, 30)).astype(float)
    found = gathered(kind(), predicted, true).resample(weights)
    for row, value in zip(weights, found, strict=True):
        rows = np.repeat(np.arange(30), row.astype(int))
        assert value == pytest.approx(gathered(kind(), [predicted[i] for i in rows], [true[i] for i in rows]).compute(), abs=1e-12)


def test_a_label_that_a_resample_does_not_hold_is_no_part_of_its_mean():
    only_no = np.array([[3.0, 0.0, 0.0, 0.0, 0.0]])
    assert gathered(MacroF1()).resample(only_no).tolist() == [1.0]


@pytest.mark.parametrize("kind", [Accuracy, MacroF1])
def test_nothing_gathered_is_not_a_number(kind):
    assert math.isnan(kind().compute())


@pytest.mark.parametrize("kind", [Accuracy, MacroF1])
def test_a_nan_prediction_is_refused_by_the_name_of_its_example(kind):
    with pytest.raises(ValueError, match=r"rows\.csv:1.*NaN"):
        gathered(kind(), [float("nan")], ["no"])


def test_a_missing_label_says_what_there_is():
    with pytest.raises(ValueError, match=r"no 'stars'; it has id, label"):
        gathered(Accuracy("stars"))


def test_a_metric_keeps_the_contract():
    assert isinstance(Accuracy(), Metric)
    assert isinstance(MacroF1(), Metric)
    assert Accuracy().higher_is_better
    assert MacroF1().higher_is_better


def test_any_of_the_right_labels_counts():
    example = {"label": "notebook", "right": ("laptop", "notebook")}
    one, five = Accuracy(), TopK(2)
    for made in (Ranked(["laptop", "desk"]), Ranked(["desk", "notebook"])):
        one.update(made, example)
        five.update(made, example)
    assert (one.compute(), five.compute()) == (0.5, 1.0)
