"""Panoptic quality by hand: matching, what is unknown, crowds, and the picture that stores the ids."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.errors import BadData
from pellucid.metrics.panoptic import PanopticQuality, decode_panoptic_png, encode_panoptic, panoptic_metrics
from pellucid.task import Metric

THINGS = {"cat": True, "dog": True, "sky": False, "sea": False}


def half(ids, labels, crowd=()):
    """One side of a pair: a map and the labels of its ids."""
    segments = [{"id": i, "label": label, "thing": THINGS[label], "crowd": i in crowd} for i, label in labels.items()]
    return {"panoptic": {"ids": np.array(ids), "segments": segments}}


def measured(truth, made, name="example"):
    metrics = panoptic_metrics()
    for metric in metrics.values():
        metric.update(made, truth | {"id": name})
    return {key: metric.compute() for key, metric in metrics.items()}


def test_the_numbers_by_hand():
    truth = half([[1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 2, 2], [3, 3, 3, 3, 3, 3]], {1: "cat", 2: "cat", 3: "sky"})
    made = half([[7, 7, 7, 8, 8, 9], [7, 7, 7, 8, 9, 9], [5, 5, 5, 5, 5, 5]], {7: "cat", 8: "dog", 9: "cat", 5: "sky"})
    # cat 1 and 7: 6 of 8 pixels; cat 2 and 9: 3 of 4; the dog is made up; the sky is right
    found = measured(truth, made)
    assert found["PQ"] == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert found["SQ"] == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert found["RQ"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["PQ_things"] == pytest.approx((3 / 4 + 0) / 2)
    assert found["PQ_stuff"] == 1


def test_segments_overlooked_and_made_up_cost_half_each():
    truth = half([[1, 1, 2, 2]], {1: "cat", 2: "cat"})
    made = half([[1, 1, 0, 0]], {1: "cat"})
    assert measured(truth, made)["PQ"] == pytest.approx(1 / 1.5)
    assert measured(made, truth)["PQ"] == 1  # what lies where nothing is known is no error
    made = half([[1, 1, 3, 3]], {1: "cat", 3: "cat"})
    truth = half([[1, 1, 2, 2]], {1: "cat", 2: "sky"})
    found = measured(truth, made)
    assert found["PQ_things"] == pytest.approx(1 / 1.5) and found["PQ_stuff"] == 0
    assert found["SQ"] == pytest.approx(1 / 2) and found["RQ"] == pytest.approx((1 / 1.5 + 0) / 2)


def test_half_is_not_enough():
    assert measured(half([[1, 1, 2, 2]], {1: "cat", 2: "sky"}), half([[1, 2, 2, 2]], {1: "cat", 2: "sky"}))["PQ_things"] == 0


def test_unknown_pixels_leave_the_union():
    truth = half([[1, 1, 0, 0, 0]], {1: "cat"})
    assert measured(truth, half([[4, 4, 4, 4, 4]], {4: "cat"}))["PQ"] == 1


def test_a_segment_mostly_in_a_crowd_of_its_label_is_no_error():
    truth = half([[1, 1, 2, 2, 2, 3]], {1: "cat", 2: "cat", 3: "sky"}, crowd=[2])
    assert measured(truth, half([[1, 1, 5, 5, 6, 3]], {1: "cat", 5: "cat", 6: "cat", 3: "sky"}))["PQ_things"] == 1
    assert measured(truth, half([[1, 1, 5, 5, 5, 3]], {1: "cat", 5: "dog", 3: "sky"}))["PQ_things"] == pytest.approx(1 / 2)
    alone = half([[2, 2]], {2: "cat"}, crowd=[2])
    assert math.isnan(measured(alone, half([[2, 2]], {2: "cat"}))["PQ"])


def test_each_label_has_its_own_number():
    metric = PanopticQuality()
    metric.update(half([[1, 1, 3, 3]], {1: "cat", 3: "sea"}), half([[1, 1, 2, 2]], {1: "cat", 2: "sky"}))
    assert metric.per_class() == {"cat": 1, "sea": 0, "sky": 0}


def test_a_map_is_read_from_the_picture_that_stores_it(tmp_path):
    ids = np.array([[0, 255], [256, 70000]])
    Image.fromarray(encode_panoptic(ids)).save(tmp_path / "map.png")
    truth = half(ids, {255: "cat", 256: "dog", 70000: "sky"})
    truth["panoptic"]["ids"] = str(tmp_path / "map.png")
    assert measured(truth, half([[1, 1], [2, 3]], {1: "cat", 2: "dog", 3: "sky"}))["PQ"] == 1
    truth["panoptic"]["ids"] = tmp_path / "none.png"
    with pytest.raises(BadData, match=r"none.png cannot be read"):
        measured(truth, half([[1]], {1: "cat"}))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, (1 << 24) - 1), min_size=1, max_size=8))
def test_ids_survive_the_picture(ids):
    assert decode_panoptic_png(encode_panoptic(np.array([ids]))).tolist() == [ids]


def test_the_pictures_colours_are_cocos():
    assert encode_panoptic(np.array([[1 + 2 * 256 + 3 * 65536]])).tolist() == [[[1, 2, 3]]]
    with pytest.raises(ValueError, match="a picture holds 0 to 16777215"):
        encode_panoptic(np.array([[1 << 24]]))


GOOD = half([[1, 1, 2]], {1: "cat", 2: "sky"})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (half([[1, 1, 5]], {1: "cat", 2: "sky"}), "pixels of segment 5"),
        (half([[1, 1, 1]], {1: "cat", 2: "sky"}), "no pixel of segment 2"),
        (half([[1, 1, 0]], {1: "cat", 0: "sky"}), "none 0"),
        (half([[1, 1]], {1: "cat"}), r"map of \(1, 2\)"),
        (half([[1.0, 1, 2]], {1: "cat", 2: "sky"}), "whole numbers"),
        ({"panoptic": {"ids": np.array([[1]])}}, "no panoptic"),
        ({"panoptic": {"ids": np.array([[1]]), "segments": [{"id": 1, "label": "cat"}]}}, "expected id, label and thing"),
        ({"panoptic": {"ids": np.array([[1, 1, 1]]), "segments": [{"id": 1, "label": "cat", "thing": False}]}}, "a thing in some"),
    ],
)
def test_wrong_maps_are_refused(made, message):
    with pytest.raises(BadData, match=message):
        measured(GOOD, made)


def test_nothing_gathered_is_nan():
    assert all(isinstance(metric, Metric) and math.isnan(metric.compute()) for metric in panoptic_metrics().values())
    assert math.isnan(measured(half([[0]], {}), half([[0]], {}))["PQ"])


def scene(seed=0, pictures=8):
    rng = np.random.default_rng(seed)
    labels = list(THINGS)
    pairs = []
    for i in range(pictures):
        ids = rng.integers(0, 5, size=(3, 3)).repeat(4, 0).repeat(4, 1)
        moved = np.roll(ids, rng.integers(0, 3), axis=0)
        names = {int(j): labels[rng.integers(4)] for j in np.unique(ids) if j}
        again = {j: name if rng.random() < 0.8 else "sea" for j, name in names.items()}
        pairs.append((half(moved, again), half(ids, names, crowd=[1]) | {"id": str(i)}))
    return pairs


def gathered(pairs):
    metrics = panoptic_metrics()
    for one in pairs:
        for metric in metrics.values():
            metric.update(*one)
    return metrics


def test_two_halves_merged_say_what_the_whole_says():
    pairs = scene()
    whole, merged, other = gathered(pairs), gathered(pairs[:3]), gathered(pairs[3:])
    for name, metric in merged.items():
        metric.merge(other[name])
        metric.merge(PanopticQuality())
        assert metric.compute() == pytest.approx(whole[name].compute(), abs=1e-12)


def test_a_weight_is_so_many_copies_of_the_picture():
    pairs, weights = scene(1), np.random.default_rng(0).integers(0, 4, size=(3, 8)).astype(float)
    copies = [gathered([one for one, w in zip(pairs, row, strict=True) for _ in range(int(w))]) for row in weights]
    for name, metric in gathered(pairs).items():
        assert metric.resample(weights) == pytest.approx([each[name].compute() for each in copies], abs=1e-12)
