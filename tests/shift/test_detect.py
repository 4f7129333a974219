"""Anomaly scores: they do not saturate, they are the formulas, and `detect` measures what it says."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp, softmax
from torch.nn import functional as F

import toys
from pellucid.errors import BadUsage
from pellucid.evaluate import Evaluation, Pass, evaluate
from pellucid.metrics.outlier import auroc
from pellucid.shift.detect import detect, energy, entropy, max_logit, max_softmax

SCORES = [max_softmax, max_logit, energy, entropy]


def some_logits(n=200, c=5, scale=3.0):
    return np.random.default_rng(0).normal(size=(n, c)) * scale


def evaluation(logits=None, features=None, unit="log-probability", scores=None, labels=None):
    n = len(next(v for v in (logits, features, scores) if v is not None))
    examples = [{"id": str(i), "label": None if labels is None else labels[i]} for i in range(n)]
    return Evaluation({}, {}, [None] * n, np.zeros(n) if scores is None else scores, unit, logits, features, examples)


@pytest.mark.parametrize("score", SCORES)
def test_confident_answers_keep_their_order_where_a_softmax_saturates(score):
    strange = score(np.array([[0.0, 17.0], [0.0, 20.0], [0.0, 40.0], [0.0, 300.0]]))
    assert np.all(np.diff(strange) < 0)


def test_max_softmax_is_the_log_odds_against_the_likeliest_class():
    best = softmax(some_logits(), axis=1).max(1)
    assert max_softmax(some_logits()) == pytest.approx(np.log((1 - best) / best), abs=1e-9)
    assert max_softmax(np.array([[2.0, 2.0, 2.0]])) == pytest.approx(np.log(2))  # 2/3 against 1/3


def test_entropy_is_scipys_and_stays_exact_where_it_is_tiny():
    assert entropy(some_logits()) == pytest.approx(stats.entropy(softmax(some_logits(), axis=1), axis=1), rel=1e-9)
    assert entropy(np.array([[1.0, 1.0, 1.0, -np.inf]])) == pytest.approx(np.log(3))
    # margin m, two classes: e^-m (m + 1) to first order
    assert entropy(np.array([[0.0, 40.0], [0.0, 600.0]])) == pytest.approx(np.exp([-40.0, -600.0]) * [41.0, 601.0], rel=1e-9, abs=0)


def test_energy_and_max_logit_are_their_formulas():
    logits = some_logits()
    assert energy(logits, 2.0) == pytest.approx(-2 * logsumexp(logits / 2, axis=1))
    assert np.array_equal(max_logit(logits), -logits.max(1))
    with pytest.raises(ValueError, match="positive"):
        energy(logits, 0.0)


@pytest.mark.parametrize("score", SCORES)
def test_scores_do_not_depend_on_the_order_of_the_classes_nor_spoil_the_logits(score):
    logits = some_logits()
    before = logits.copy()
    assert score(logits[:, ::-1].copy()) == pytest.approx(score(logits))
    assert np.array_equal(logits, before)


def test_temperature_keeps_the_auroc_of_two_classes_but_not_of_three():
    home, ood = some_logits(300, 2), some_logits(301, 2, 1.0)[1:]
    assert auroc(max_softmax(ood / 7), max_softmax(home / 7)) == auroc(max_softmax(ood), max_softmax(home))
    home, ood = some_logits(300, 3), some_logits(301, 3, 1.0)[1:]
    assert auroc(max_softmax(ood / 7), max_softmax(home / 7)) != auroc(max_softmax(ood), max_softmax(home))


@pytest.mark.parametrize("score", [max_softmax, entropy])
def test_one_class_has_no_confidence(score):
    with pytest.raises(ValueError, match="two or more"):
        score(np.zeros((3, 1)))


def test_a_classifier_is_measured_by_all_methods():
    rng = np.random.default_rng(0)
    labels = ["a", "b"] * 50
    centres = np.where(np.array(labels)[:, None] == "a", 4.0, -4.0)
    train = evaluation(some_logits(100, 2), rng.normal(size=(100, 6)) + centres, labels=labels)
    home = evaluation(some_logits(100, 2), rng.normal(size=(100, 6)) + centres)
    strange = evaluation(some_logits(80, 2, 0.1), rng.normal(size=(80, 6)) * [1, 1, 1, 5, 5, 5])
    found = detect(home, {"scan": strange}, train, home_name="movies")
    assert (found["home"], found["positive"], found["sets"]["scan"]["n"]) == ("movies", "ood", 80)
    methods = found["sets"]["scan"]["methods"]
    assert list(methods) == ["max_softmax", "max_logit", "energy", "entropy", "mahalanobis", "nearest_neighbours"]
    for numbers in methods.values():
        assert set(numbers) == {"auroc", "aupr", "base_rate", "far95", "roc"}
        assert numbers["auroc"] > 0.65
        assert numbers["base_rate"] == 80 / 180
        assert len(numbers["roc"]) <= 100
    # without the labels the two classes' one mean lies between them, where the outliers are
    unlabelled = detect(home, {"scan": strange}, evaluation(some_logits(100, 2), train.features))
    assert unlabelled["sets"]["scan"]["methods"]["mahalanobis"]["auroc"] < methods["mahalanobis"]["auroc"]


def test_home_against_itself_cannot_be_told():
    home = evaluation(some_logits())
    assert {m["auroc"] for m in detect(home, {"home again": home})["sets"]["home again"]["methods"].values()} == {0.5}


def test_a_log_probability_without_logits_serves_for_max_softmax():
    home, strange = evaluation(scores=np.array([-0.1, -0.2])), evaluation(scores=np.array([-3.0, -0.15, -5.0]))
    methods = detect(home, {"far": strange})["sets"]["far"]["methods"]
    assert list(methods) == ["max_softmax"]
    assert methods["max_softmax"]["auroc"] == pytest.approx(5 / 6)


def test_a_value_task_is_measured_by_features_only():
    rng = np.random.default_rng(0)
    near, train, far = (evaluation(features=rng.normal(size=(60, 4)) + shift, unit="value") for shift in (0, 0, 6))
    assert list(detect(near, {"far": far}, train)["sets"]["far"]["methods"]) == ["mahalanobis", "nearest_neighbours"]
    assert detect(near, {"far": far})["sets"]["far"]["methods"] == {}


def test_sets_that_were_evaluated_differently_are_refused_by_name():
    with_features = evaluation(some_logits(), np.zeros((200, 2)) + np.arange(2))
    with pytest.raises(BadUsage, match="far: the training set has features"):
        detect(with_features, {"far": evaluation(some_logits())}, with_features)
    with pytest.raises(BadUsage, match="far: evaluated otherwise than home"):
        detect(evaluation(some_logits()), {"far": evaluation(scores=np.zeros(3))})


def test_at_a_feature_map_the_features_are_its_mean_over_places():
    task = toys.Pictures()
    examples = [{"image": torch.randn(3, 16, 12), "label": i % 5} for i in range(6)]
    found = evaluate(task, examples, Pass(batch_size=4), site="body")
    with torch.no_grad():
        maps = task.model.body(F.gelu(task.model.stem(torch.stack([e["image"] for e in examples]))))
    np.testing.assert_allclose(found.features, maps.mean((2, 3)).numpy(), rtol=1e-5, atol=1e-6)


def test_pictures_are_told_from_home_at_a_feature_map():
    task = toys.Pictures()
    sets = [[{"image": torch.randn(3, 16, 16) + shift, "label": i % 5} for i in range(60)] for shift in (0.0, 0.0, 3.0)]
    train, home, away = (evaluate(task, rows, site="body") for rows in sets)
    found = detect(home, {"bright": away}, train)["sets"]["bright"]["methods"]
    assert {"max_softmax", "energy", "mahalanobis", "nearest_neighbours"} <= set(found)
    assert found["mahalanobis"]["auroc"] > 0.95 and found["nearest_neighbours"]["auroc"] > 0.95
