"""Numbers for many labels per example: by hand, against scikit-learn, with unknown labels and ties."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from pellucid.metrics.bootstrap import draws
from pellucid.metrics.classification import Accuracy, Ranked, TopK, TopMean
from pellucid.metrics.multilabel import MeanAveragePrecision, OfficialMeanAveragePrecision, PrecisionRecall
from pellucid.task import Metric

LABELS = ["cat", "dog", "hat"]
NAMES = ("CP", "CR", "CF1", "CF1_mean", "OP", "OR", "OF1")
MAKES = {
    "mAP": lambda labels: MeanAveragePrecision(labels),
    "micro": lambda labels: MeanAveragePrecision(labels, average="micro"),
    "voc": lambda labels: MeanAveragePrecision(labels, voc=True),
    **{name: (lambda labels, name=name: PrecisionRecall(labels, name)) for name in NAMES},
    "CF1_top2": lambda labels: PrecisionRecall(labels, "CF1", 0.3, top=2),
}


def rows(num=60, classes=5, seed=0, digits=None):
    """Scores, truth and the names of the classes; `digits` rounds the scores so that some tie."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((num, classes)) < 0.3).astype(int)
    scores = np.clip(0.3 * truth + rng.random((num, classes)) * 0.7, 0, 1)
    return scores if digits is None else scores.round(digits), truth, [f"c{i}" for i in range(classes)]


def gathered(metric, scores, truth, labels, told=None):
    """`told` marks what is known; the others are named unknown."""
    for i, (row, marks) in enumerate(zip(scores, truth, strict=True)):
        example = {"id": f"{i}.jpg", "labels": [labels[c] for c in np.flatnonzero(marks)]}
        if told is not None:
            example["labels"] = [labels[c] for c in np.flatnonzero(marks & told[i])]
            example["unknown"] = [labels[c] for c in np.flatnonzero(~told[i])]
        metric.update({"labels": [], "scores": row.tolist()}, example)
    return metric


def one(metric, *pairs):
    for scores, *truth in pairs:
        metric.update({"scores": scores}, dict(zip(("labels", "absent", "unknown"), truth, strict=False)))
    return metric.compute()


# ---- average precision ------------------------------------------------------------------------------------------------


def test_average_precision_by_hand():
    # cat: ranks 1 and 3 of 3 are right: (1/1 + 2/3) / 2; dog: the middle one: 1/2; hat is never there
    pairs = [([0.9, 0.8, 0.1], ["cat"]), ([0.5, 0.6, 0.2], ["dog"]), ([0.3, 0.1, 0.3], ["cat"])]
    metric = MeanAveragePrecision(LABELS)
    assert one(metric, *pairs) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    found = metric.per_class()
    assert [found["cat"], found["dog"]] == pytest.approx([5 / 6, 1 / 2])
    assert math.isnan(found["hat"]) and metric.left_out() == 1
    assert one(OfficialMeanAveragePrecision(LABELS), *pairs) == pytest.approx((5 / 6 + 1 / 2 + 0) / 3)


def test_equal_scores_enter_together_in_whatever_order_they_come():
    pairs = [([0.5], ["cat"]), ([0.5], []), ([0.5], []), ([0.1], ["cat"])]
    # at .5 precision 1/3 for the first half of recall, then 2/4
    for order in (pairs, pairs[::-1]):
        assert one(MeanAveragePrecision(["cat"]), *order) == pytest.approx((1 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize("digits", [None, 1])
def test_average_precision_is_scikit_learns(digits):
    scores, truth, labels = rows(digits=digits)
    found = gathered(MeanAveragePrecision(labels), scores, truth, labels)
    each = average_precision_score(truth, scores, average=None)
    assert list(found.per_class().values()) == pytest.approx(each, abs=1e-12)
    assert found.compute() == pytest.approx(each.mean(), abs=1e-12)
    micro = gathered(MeanAveragePrecision(labels, average="micro"), scores, truth, labels)
    assert micro.compute() == pytest.approx(average_precision_score(truth, scores, average="micro"), abs=1e-12)


def test_voc_average_precision_by_hand():
    # right at ranks 1, 3, 4 of 5: recall 1/3 at precision 1, 2/3 and 1 at 3/4
    pairs = [([0.9], ["cat"]), ([0.8], []), ([0.7], ["cat"]), ([0.6], ["cat"]), ([0.5], [])]
    # recall 0, .1, .2, .3 are reached at precision 1, the other seven at 3/4 at best
    assert one(MeanAveragePrecision(["cat"], voc=True), *pairs) == pytest.approx((4 * 1 + 7 * 3 / 4) / 11)


def test_voc_recall_of_three_in_ten_reaches_three_tenths():
    pairs = [([1 - i / 100], ["cat"] if i < 3 or i >= 20 else []) for i in range(27)]
    # ten right: the first three at precision 1 (recall .3), the others end at 10/27
    assert one(MeanAveragePrecision(["cat"], voc=True), *pairs) == pytest.approx((4 + 7 * 10 / 27) / 11)


def test_the_official_average_differs_only_in_ties_and_empty_classes():
    scores, truth, labels = rows()
    mine, theirs = (
        gathered(kind(labels), scores, truth, labels).compute() for kind in (MeanAveragePrecision, OfficialMeanAveragePrecision)
    )
    assert mine == pytest.approx(theirs, abs=1e-8)


# ---- precision, recall, F1 --------------------------------------------------------------------------------------------


def test_counts_by_hand():
    pairs = [([0.9, 0.6, 0.1], ["cat"]), ([0.7, 0.2, 0.1], ["dog"]), ([0.8, 0.5, 0.4], ["cat", "dog"])]
    # cat: 3 predicted, 2 right, 2 there; dog: 2 predicted, 1 right, 2 there; hat takes no part
    expected = {
        "CP": (2 / 3 + 1 / 2) / 2,
        "CR": (1 + 1 / 2) / 2,
        "CF1_mean": (4 / 5 + 1 / 2) / 2,
        "OP": 3 / 5,
        "OR": 3 / 4,
        "OF1": 6 / 9,
    }
    expected["CF1"] = 2 * expected["CP"] * expected["CR"] / (expected["CP"] + expected["CR"])
    assert {name: one(PrecisionRecall(LABELS, name), *pairs) for name in NAMES} == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.4, 0.6])
def test_precision_recall_and_f1_are_scikit_learns(threshold):
    scores, truth, labels = rows()
    made = (scores >= threshold).astype(int)
    oracles = {"P": precision_score, "R": recall_score, "F1": f1_score}
    for which, oracle in oracles.items():
        found = gathered(PrecisionRecall(labels, f"O{which}", threshold), scores, truth, labels)
        assert found.compute() == pytest.approx(oracle(truth, made, average="micro"), abs=1e-12)
        name = "CF1_mean" if which == "F1" else f"C{which}"
        found = gathered(PrecisionRecall(labels, name, threshold), scores, truth, labels)
        assert found.compute() == pytest.approx(oracle(truth, made, average="macro", zero_division=0), abs=1e-12)


def test_a_class_present_but_never_predicted_has_precision_and_recall_zero():
    pairs = [([0.9, 0.1, 0.1], ["cat", "dog"])]
    assert [one(PrecisionRecall(LABELS, name), *pairs) for name in ("CP", "CR", "CF1_mean")] == [0.5, 0.5, 0.5]


def test_a_class_predicted_but_never_present_counts_in_precision_alone():
    pairs = [([0.9, 0.8, 0.1], ["cat"])]
    assert [one(PrecisionRecall(LABELS, name), *pairs) for name in ("CP", "CR")] == [0.5, 1.0]


def test_the_best_three_are_kept_if_they_also_reach_the_threshold():
    labels = ["a", "b", "c", "d", "e"]
    pairs = [([0.9, 0.8, 0.7, 0.6, 0.1], ["a", "d"]), ([0.9, 0.2, 0.3, 0.1, 0.1], ["a", "b"])]
    assert one(PrecisionRecall(labels, "OP", top=3), *pairs) == pytest.approx(2 / 4)
    assert one(PrecisionRecall(labels, "OP", None, top=3), *pairs) == pytest.approx(3 / 6)
    assert one(PrecisionRecall(labels, "OP"), *pairs) == pytest.approx(3 / 5)


def test_of_equal_scores_the_best_is_the_earlier_class():
    assert one(PrecisionRecall(LABELS, "OP", top=1), ([0.7, 0.7, 0.7], ["cat"])) == 1
    assert one(PrecisionRecall(LABELS, "OP", top=1), ([0.7, 0.7, 0.7], ["hat"])) == 0


def test_a_score_at_the_threshold_predicts_and_thresholds_may_differ_by_class():
    assert one(PrecisionRecall(LABELS, "OR"), ([0.5, 0.0, 0.0], ["cat"])) == 1
    assert one(PrecisionRecall(LABELS, "OP", [0.6, 0.1, 0.9]), ([0.5, 0.2, 0.8], ["dog"])) == 1


# ---- unknown labels ---------------------------------------------------------------------------------------------------


def test_with_absent_labels_told_all_others_are_unknown():
    pairs = [([0.9, 0.8, 0.7], ["cat"], ["hat"])]
    assert one(PrecisionRecall(LABELS, "OP"), *pairs) == pytest.approx(1 / 2)
    assert one(PrecisionRecall(LABELS, "OP"), ([0.9, 0.8, 0.7], ["cat"], [])) == 1


@pytest.mark.parametrize("name", MAKES)
def test_an_unknown_label_is_as_if_its_score_had_never_been_seen(name):
    scores, truth, labels = rows()
    told = np.random.default_rng(1).random(truth.shape) < 0.7
    found = gathered(MAKES[name](labels), scores, truth, labels, told).compute()
    if name == "mAP":
        each = [average_precision_score(truth[told[:, c], c], scores[told[:, c], c]) for c in range(len(labels))]
        assert found == pytest.approx(np.mean(each), abs=1e-12)
    elif name == "micro":
        assert found == pytest.approx(average_precision_score(truth[told], scores[told]), abs=1e-12)
    other = np.where(told, scores, 0.99 if "top" not in name else scores)
    assert gathered(MAKES[name](labels), other, truth, labels, told).compute() == pytest.approx(found, abs=1e-12)


# ---- what every metric promises ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKES)
def test_parts_merged_give_the_number_of_the_whole(name):
    scores, truth, labels = rows()
    whole, part, rest = (gathered(MAKES[name](labels), scores[s], truth[s], labels) for s in (slice(None), slice(17), slice(17, None)))
    part.merge(pickle.loads(pickle.dumps(rest)))
    assert part.compute() == pytest.approx(whole.compute(), abs=1e-12)


@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("name", MAKES)
def test_a_row_of_multiplicities_is_the_metric_of_the_repeated_examples(name, digits):
    scores, truth, labels = rows(30, digits=digits)
    weights = np.random.default_rng(1).integers(0, 3, (4, 30)).astype(float)
    found = gathered(MAKES[name](labels), scores, truth, labels).resample(weights)
    for row, value in zip(weights, found, strict=True):
        again = np.repeat(np.arange(30), row.astype(int))
        assert value == pytest.approx(gathered(MAKES[name](labels), scores[again], truth[again], labels).compute(), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_average_precision_lies_between_0_and_1_and_ignores_the_order(pairs):
    examples = [([score / 3], ["cat"] if there else []) for score, there in pairs]
    found = one(MeanAveragePrecision(["cat"]), *examples)
    assert math.isnan(found) == (not any(there for _, there in pairs))
    if not math.isnan(found):
        assert 0 < found <= 1
        assert one(MeanAveragePrecision(["cat"]), *examples[::-1]) == pytest.approx(found)


@pytest.mark.parametrize("make", [*MAKES.values(), OfficialMeanAveragePrecision])
def test_the_contract_is_kept_and_nothing_gathered_is_not_a_number(make):
    metric = make(LABELS)
    assert isinstance(metric, Metric) and metric.higher_is_better
    assert math.isnan(metric.compute())


def test_the_bootstrap_takes_them_beside_those_that_must_be_gathered_anew():
    scores, truth, labels = rows(20)
    examples = [{"id": str(i), "labels": [labels[c] for c in np.flatnonzero(row)]} for i, row in enumerate(truth)]
    predictions = [{"scores": row} for row in scores]
    found = draws(lambda: {"mAP": MeanAveragePrecision(labels), "theirs": OfficialMeanAveragePrecision(labels)}, predictions, examples, 20)
    assert len(found["mAP"]) == len(found["theirs"]) == 20
    assert found["mAP"].std() > 0


@pytest.mark.parametrize(
    ("prediction", "example", "message"),
    [
        ("cat", {"id": "a.jpg", "labels": []}, r"'a\.jpg' has no scores"),
        ({"scores": [0.1, 0.2]}, {"id": "a.jpg", "labels": []}, r"'a\.jpg' has scores of shape \(2,\); there are 3"),
        ({"scores": [0.1, float("nan"), 0.2]}, {"id": "a.jpg", "labels": []}, r"'dog' of example 'a\.jpg' is not a finite"),
        ({"scores": [0.1, 0.2, 0.3]}, {"id": "a.jpg", "labels": ["cow"]}, r"'a\.jpg' has the label 'cow'"),
        ({"scores": [0.1, 0.2, 0.3]}, {"id": "a.jpg"}, r"'a\.jpg' has no 'labels'"),
    ],
)
def test_what_is_no_prediction_of_the_classes_is_refused_by_name(prediction, example, message):
    for make in (MeanAveragePrecision, PrecisionRecall):
        with pytest.raises(ValueError, match=message):
            make(LABELS).update(prediction, example)


# ---- the best k of one label ------------------------------------------------------------------------------------------


def test_a_label_among_the_best_k_counts():
    examples = [{"label": "b"}, {"label": "c"}, {"label": "a"}]
    made = [Ranked(["a", "b", "c"]), Ranked(["a", "b", "c"]), Ranked(["a"])]
    for k, share in ((1, 1 / 3), (2, 2 / 3), (3, 1.0), (9, 1.0)):
        metric = TopK(k)
        for prediction, example in zip(made, examples, strict=True):
            metric.update(prediction, example)
        assert metric.compute() == pytest.approx(share)
        assert metric.resample(np.array([[0.0, 3.0, 0.0]]))[0] == (1.0 if k > 2 else 0.0)


def test_a_ranked_label_is_its_first_and_keeps_the_others_between_processes():
    ranked = pickle.loads(pickle.dumps(Ranked(("b", "a"))))
    assert ranked == "b" and ranked.best == ("b", "a")
    metric, other = Accuracy(), Accuracy()
    metric.update(ranked, {"label": "b"})
    metric.merge(other)
    assert metric.compute() == 1
    with pytest.raises(ValueError, match="at least one label"):
        Ranked([])


def test_a_prediction_without_a_ranking_is_refused():
    with pytest.raises(ValueError, match=r"'a\.jpg' has no ranking"):
        TopK(5).update("cat", {"id": "a.jpg", "label": "cat"})
    with pytest.raises(ValueError, match="k=0"):
        TopK(0)


def test_the_mean_of_top_1_and_top_5_is_that_of_the_two_numbers():
    examples = [{"label": "b"}, {"label": "c"}, {"label": "f"}, {"label": "a"}]
    made = [Ranked(["b", "a"]), Ranked(["a", "b", "c"]), Ranked(["a", "b", "c", "d", "e", "f"]), Ranked(["b"])]
    halves = [TopMean(), TopMean()]
    assert math.isnan(halves[0].compute())
    for i, (prediction, example) in enumerate(zip(made, examples, strict=True)):
        halves[i // 2].update(prediction, example)
    halves[0].merge(halves[1])
    assert halves[0].compute() == pytest.approx((1 / 4 + 2 / 4) / 2)  # the error of Kinetics would be .625
    assert halves[0].resample(np.array([[1.0, 1, 0, 0], [0, 2, 1, 0]])) == pytest.approx([(1 / 2 + 1) / 2, (0 + 2 / 3) / 2])
    with pytest.raises(ValueError, match="no k"):
        TopMean([])
