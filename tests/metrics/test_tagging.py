"""Numbers of YouTube-8M: by hand, against the definitions written out, with ties, unknown classes and clips without labels."""

import math

import numpy as np
import pytest

from pellucid.metrics.bootstrap import draws
from pellucid.metrics.tagging import GlobalAveragePrecision, HitAtOne, PrecisionAtRecall
from pellucid.task import Metric

LABELS = ["ball", "cat", "dog"]
MAKES = {
    "hit": HitAtOne,
    "perr": PrecisionAtRecall,
    "gap": GlobalAveragePrecision,
    "gap@2": lambda labels: GlobalAveragePrecision(labels, 2),
}


def one(metric, *pairs):
    for scores, *truth in pairs:
        metric.update({"scores": scores}, dict(zip(("labels", "absent", "unknown"), truth, strict=False)))
    return metric.compute()


def clips(num=40, classes=30, seed=0, digits=None):
    """Scores, some equal where `digits` rounds them, and truth; every clip has one label or more."""
    rng = np.random.default_rng(seed)
    truth = rng.random((num, classes)) < 0.1
    truth[np.arange(num), rng.integers(classes, size=num)] = True
    scores = 0.2 * truth + 0.8 * rng.random((num, classes))
    return scores if digits is None else scores.round(digits), truth


def gathered(metric, scores, truth, labels):
    for row, marks in zip(scores, truth, strict=True):
        metric.update({"scores": row.tolist()}, {"labels": [labels[c] for c in np.flatnonzero(marks)]})
    return metric


def names(scores):
    return [f"c{i}" for i in range(scores.shape[1])]


# ---- the definitions, written out ----------------------------------------------------------------------------------


def literal_hit(scores, truth):
    return sum(truth[i][max(range(len(row)), key=row.__getitem__)] for i, row in enumerate(scores)) / len(scores)


def literal_perr(scores, truth):
    total = 0.0
    for row, marks in zip(scores, truth, strict=True):
        wanted = int(sum(marks))
        best = sorted(range(len(row)), key=lambda c: -row[c])[:wanted]
        total += sum(1 for c in best if marks[c]) / wanted
    return total / len(scores)


def literal_gap(scores, truth, top):
    """Without ties: goes down one list of all clips' best, and adds the precision at every right pair."""
    pairs = []
    for row, marks in zip(scores, truth, strict=True):
        pairs += [(row[c], bool(marks[c])) for c in sorted(range(len(row)), key=lambda c: -row[c])[:top]]
    total, hits = 0.0, 0
    for rank, (_, right) in enumerate(sorted(pairs, key=lambda pair: -pair[0]), 1):
        hits += right
        total += hits / rank if right else 0.0
    return total / truth.sum()


# ---- worked cases ----------------------------------------------------------------------------------------------------


def test_the_best_class_is_a_hit_if_the_clip_has_it():
    assert one(
        HitAtOne(LABELS), ([0.9, 0.1, 0.2], ["ball", "dog"]), ([0.3, 0.4, 0.1], ["dog"]), ([0.1, 0.2, 0.3], ["dog"])
    ) == pytest.approx(2 / 3)


def test_precision_is_counted_at_as_many_classes_as_the_clip_has_labels():
    # best two of ball and dog: ball, cat: 1/2; best one: cat, right: 1; all three: 1
    pairs = [([0.9, 0.5, 0.2], ["ball", "dog"]), ([0.3, 0.4, 0.1], ["cat"]), ([0.1, 0.2, 0.3], LABELS)]
    assert one(PrecisionAtRecall(LABELS), *pairs) == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_global_average_precision_by_hand():
    # best two of each in one list: .9 right, .8 wrong, .7 right, .4 wrong; one more label, of .1, is in no clip's best two
    pairs = [([0.9, 0.4, 0.1], ["ball", "dog"]), ([0.7, 0.8, 0.2], ["ball"])]
    assert one(GlobalAveragePrecision(LABELS, top=2), *pairs) == pytest.approx((1 / 1 + 2 / 3) / 3)
    # with all three: .2 wrong at rank 5, .1 right at rank 6
    assert one(GlobalAveragePrecision(LABELS), *pairs) == pytest.approx((1 / 1 + 2 / 3 + 3 / 6) / 3)


def test_equal_scores_of_a_clip_favour_the_earlier_class():
    tied = [0.5, 0.5, 0.5]
    assert [one(HitAtOne(LABELS), (tied, [label])) for label in LABELS] == [1, 0, 0]
    assert [one(PrecisionAtRecall(LABELS), (tied, pair)) for pair in (["ball", "cat"], ["cat", "dog"])] == [1, 0.5]
    assert [one(GlobalAveragePrecision(LABELS, top=1), (tied, [label])) for label in LABELS] == [1, 0, 0]


def test_equal_scores_of_several_clips_enter_the_list_together_in_whatever_order_the_clips_come():
    pairs = [([0.5, 0, 0], ["ball"]), ([0.5, 0, 0], ["cat"]), ([0.9, 0, 0], ["ball"])]
    for order in (pairs, pairs[::-1]):  # at .9 1/1, at .5 2/3; the cat is not reached
        assert one(GlobalAveragePrecision(LABELS, top=1), *order) == pytest.approx((1 + 2 / 3) / 3)


def test_an_unknown_class_takes_no_part():
    for make in MAKES.values():
        assert one(make(LABELS), ([0.9, 0.8, 0.1], ["cat"], ["dog"])) == 1  # nobody looked for a ball
        assert one(make(LABELS), ([0.9, 0.8, 0.1], ["cat"], ["ball", "dog"])) < 1


def test_a_clip_without_labels_counts_against_the_model_and_one_that_nobody_looked_at_does_not_count():
    right, empty, unseen = ([0.9, 0.1, 0.1], ["ball"]), ([0.95, 0.1, 0.1], []), ([0.99, 0.1, 0.1], [], [])
    for make in (HitAtOne, PrecisionAtRecall, GlobalAveragePrecision):
        assert one(make(LABELS), right, empty, unseen) == 0.5
        assert one(make(LABELS), right, unseen) == 1
        assert math.isnan(one(make(LABELS), unseen))
    assert math.isnan(one(GlobalAveragePrecision(LABELS), empty))


# ---- against the definitions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_each_is_its_definition_written_out(seed):
    scores, truth = clips(seed=seed)
    labels = names(scores)
    assert gathered(HitAtOne(labels), scores, truth, labels).compute() == pytest.approx(literal_hit(scores, truth), abs=1e-12)
    assert gathered(PrecisionAtRecall(labels), scores, truth, labels).compute() == pytest.approx(literal_perr(scores, truth), abs=1e-12)
    for top in (1, 5, 20, 99):
        found = gathered(GlobalAveragePrecision(labels, top), scores, truth, labels).compute()
        assert found == pytest.approx(literal_gap(scores, truth, top), abs=1e-12)


def test_a_perfect_ranking_is_one_and_twenty_pairs_bound_the_recall():
    truth = np.ones((2, 40), dtype=bool)
    labels = names(truth)
    assert gathered(GlobalAveragePrecision(labels), truth.astype(float), truth, labels).compute() == pytest.approx(20 / 40)
    for make in (HitAtOne, PrecisionAtRecall):
        assert gathered(make(labels), truth.astype(float), truth, labels).compute() == 1


# ---- the promises ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("digits", [None, 1])
def test_parts_merged_give_the_number_of_the_whole(make, digits):
    scores, truth = clips(digits=digits)
    labels = names(scores)
    whole, part, rest = (gathered(make(labels), scores[s], truth[s], labels) for s in (slice(None), slice(0, 13), slice(13, None)))
    part.merge(rest)
    part.merge(make(labels))
    assert part.compute() == pytest.approx(whole.compute(), abs=1e-12)
    assert rest.compute() != whole.compute()


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize("digits", [None, 1])
def test_a_row_of_multiplicities_is_the_metric_of_the_repeated_clips(make, digits, monkeypatch):
    monkeypatch.setattr("pellucid.metrics.tagging.CELLS", 1000)  # several pieces of rows
    scores, truth = clips(30, digits=digits)
    labels = names(scores)
    weights = np.random.default_rng(1).integers(0, 3, (5, 30)).astype(float)
    for row, value in zip(weights, gathered(make(labels), scores, truth, labels).resample(weights), strict=True):
        rows = np.repeat(np.arange(30), row.astype(int))
        assert value == pytest.approx(gathered(make(labels), scores[rows], truth[rows], labels).compute(), abs=1e-12)


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_nothing_gathered_is_not_a_number_and_a_row_of_no_labels_has_none(make):
    metric = make(LABELS)
    assert isinstance(metric, Metric) and metric.higher_is_better
    assert math.isnan(metric.compute())
    one(metric, ([0.9, 0.1, 0.1], ["ball"]), ([0.9, 0.1, 0.1], [], []))
    found = metric.resample(np.array([[1.0, 0.0], [0.0, 2.0]]))
    assert found[0] == 1 and math.isnan(found[1])


def test_the_bootstrap_takes_them():
    scores, truth = clips(20)
    labels = names(scores)
    examples = [{"id": str(i), "labels": [labels[c] for c in np.flatnonzero(row)]} for i, row in enumerate(truth)]
    found = draws(lambda: {name: make(labels) for name, make in MAKES.items()}, [{"scores": row} for row in scores], examples, 50)
    assert all(len(values) == 50 and values.std() > 0 for values in found.values())


def test_what_is_no_prediction_of_the_classes_is_refused():
    for make in MAKES.values():
        with pytest.raises(ValueError, match=r"'a\.mp4' has scores of shape \(2,\); there are 3"):
            make(LABELS).update({"scores": [0.1, 0.2]}, {"id": "a.mp4", "labels": []})
        with pytest.raises(ValueError, match="'cow', which is none of the classes"):
            make(LABELS).update({"scores": [0.1, 0.2, 0.3]}, {"id": "a.mp4", "labels": ["cow"]})
    with pytest.raises(ValueError, match="top=0"):
        GlobalAveragePrecision(LABELS, 0)
