"""Segmentation is measured over one confusion matrix of the set, boxes over the pictures that have some, and both against each other."""

import json

import numpy as np
import pytest

from pellucid.errors import BadData
from pellucid.metrics.bootstrap import interval
from pellucid.metrics.consistency import agreement, consistency_metrics
from pellucid.metrics.joint import joint_metrics
from pellucid.metrics.segmentation import ious, pack_map, segmentation_metrics, unpack_map
from pellucid.metrics.voc import voc_metrics

CLASSES = ("cat", "dog")


def truth(example):
    return None if example.get("map") is None else np.array(example["map"], np.uint8)


def measured(pairs, make=lambda: segmentation_metrics(truth)):
    found = make()
    for number, (made, known) in enumerate(pairs):
        example = {"id": f"p{number}", "classes": CLASSES, "objects": [], **known}
        for metric in found.values():
            metric.update({"labels": [], "scores": [], "boxes_xyxy": [], **made}, example)
    return found


def maps(*pairs):
    return [({"map": np.array(made, np.uint8)}, {"map": known}) for made, known in pairs]


# ---- the map ------------------------------------------------------------------------------------------------------


def test_hand_worked_mean_iou_of_two_pictures_is_of_their_common_matrix():
    found = measured(maps(([[0, 1, 1, 2]], [[0, 0, 1, 255]]), ([[1, 1]], [[1, 0]])))
    # of the background 1 of 3, of cat 2 of 4; dog is told only where nobody knows, and takes no part
    assert found["mIoU"].compute() == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert found["pixel_accuracy"].compute() == pytest.approx(3 / 5)
    assert found["class_accuracy"].compute() == pytest.approx((1 / 3 + 1) / 2)
    assert found["mIoU"].per_class() == pytest.approx({"background": 1 / 3, "cat": 0.5, "dog": float("nan")}, nan_ok=True)
    assert found["mIoU"].confusion().tolist() == [[1, 2, 0], [0, 2, 0], [0, 0, 0]]


def test_a_class_that_is_only_told_counts_as_missed():
    assert measured(maps(([[0, 2]], [[0, 0]])))["mIoU"].compute() == pytest.approx((1 / 2 + 0) / 2)


def test_mean_iou_agrees_with_the_reference(references):
    case = json.loads((references / "detection/triplenet_modules/miou.json").read_text())
    table = np.array(case["confusion_rows_gt"], dtype=np.float64)
    assert ious(table) == pytest.approx(case["iou"], abs=1e-7)
    places = np.argwhere(table > 0)
    known, made = (np.repeat(places[:, k], table[table > 0].astype(int)).reshape(1, -1) for k in (0, 1))
    names = {"classes": ("a", "b", "c", "d")}
    found = measured([({"map": made}, {"map": known, **names})])
    assert found["mIoU"].compute() == pytest.approx(case["miou_with_background"], abs=1e-7)
    assert found["pixel_accuracy"].compute() == pytest.approx(case["pixel_acc"], abs=1e-7)


def test_pictures_that_are_all_void_or_have_no_map_change_nothing():
    some = maps(([[0, 1, 1]], [[0, 0, 1]]))
    more = [*some, *maps(([[2, 1]], [[255, 255]])), ({"map": np.ones((1, 2), np.uint8)}, {"map": None}), ({}, {})]
    for name, metric in measured(some).items():
        assert measured(more)[name].compute() == metric.compute()
    assert np.isnan(measured(more[1:])["mIoU"].compute())


def test_resampled_numbers_are_those_of_the_pictures_drawn():
    rng = np.random.default_rng(0)
    pairs = maps(*((rng.integers(0, 3, (4, 5)), rng.choice([0, 1, 2, 255], (4, 5))) for _ in range(3)))
    for name, metric in measured(pairs).items():
        drawn = metric.resample(np.array([[2.0, 0, 1]]))[0]
        assert drawn == pytest.approx(measured([pairs[0], pairs[0], pairs[2]])[name].compute())


def test_sharing_pictures_out_changes_nothing():
    pairs = maps(([[0, 1]], [[0, 2]]), ([[1, 1]], [[1, 0]]))
    whole, one, other = measured(pairs), measured(pairs[:1]), measured(pairs[1:])
    for name in whole:
        one[name].merge(other[name])
        assert one[name].compute() == whole[name].compute()


def test_a_prediction_may_have_its_classes_in_another_order():
    made = {"map": np.array([[0, 1, 2]]), "classes": ("dog", "cat")}
    assert measured([(made, {"map": [[0, 2, 1]]})])["mIoU"].compute() == 1
    with pytest.raises(BadData, match="'p0' has a pixel of class 'cow', which is none of the 2 classes"):
        measured([({"map": np.array([[1]]), "classes": ("cow",)}, {"map": [[1]]})])


def test_a_map_comes_back_from_its_run_lengths():
    found = np.random.default_rng(1).integers(0, 3, (7, 9)).astype(np.uint8)
    assert (unpack_map(json.loads(json.dumps(pack_map(found)))) == found).all()
    assert pack_map(np.array([[0, 0, 1], [1, 1, 2]], np.uint8)) == {"size": [2, 3], "values": [0, 1, 2], "counts": [2, 3, 1]}
    assert measured([({"map": pack_map(np.array([[0, 1]], np.uint8))}, {"map": [[0, 1]]})])["mIoU"].compute() == 1


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({}, "prediction of example 'p0' has no map"),
        ({"map": np.zeros((1, 3), np.uint8)}, r"is a map of \(1, 3\), the example of \(1, 2\)"),
        ({"map": np.array([[0, 3]])}, "has a pixel of class 3; expected 0 for background to 2"),
        ({"map": np.zeros((1, 2))}, "type float64; expected rows of class indices"),
        ({"map": {"size": [1, 2], "values": [0], "counts": [3]}}, "runs have 3 pixels"),
        ({"map": {"size": [1, 2]}}, "expected size, values and counts"),
    ],
)
def test_a_map_that_cannot_be_measured_is_named(made, told):
    with pytest.raises(BadData, match=told):
        measured([(made, {"map": [[0, 1]]})])


# ---- boxes and map ------------------------------------------------------------------------------------------------


def told_map():
    found = np.zeros((10, 10), np.uint8)
    found[0:4, 0:4] = 1
    found[6:10, 6:10] = 2
    return found


def test_hand_worked_agreement_of_boxes_and_map():
    boxes = np.array([[0, 0, 4, 4], [0, 0, 8, 4], [5, 5, 9, 10], [0, 5, 5, 10]], np.float64)
    # exactly; of 32 pixels 16; in the third of 20 pixels 3 x 4; the last lies on nothing of its class
    found = agreement(boxes, np.array([1, 1, 2, 2]), told_map().astype(int))
    assert (found.boxes, found.pixels, found.covered) == (4, 32, 16 + 12)
    assert found.summed == pytest.approx(1 + 16 / 32 + 12 / 20 + 0)


def test_a_box_of_another_class_agrees_with_nothing():
    found = agreement(np.array([[0, 0, 4, 4.0]]), np.array([2]), told_map().astype(int))
    assert (found.summed, found.covered) == (0, 0)


def test_a_box_reaching_over_the_edge_is_compared_within_the_picture():
    found = agreement(np.array([[-4, 0, 4, 4.0]]), np.array([1]), told_map().astype(int))
    assert found.summed == pytest.approx(16 / 32) and found.covered == 16


def test_a_pixel_lies_in_a_box_if_its_middle_does():
    found = agreement(np.array([[0.4, 0.6, 3.4, 4.0]]), np.array([1]), told_map().astype(int))
    assert found.covered == 3 * 3  # columns 0 to 2, rows 1 to 3
    assert found.summed == pytest.approx(2.6 * 3 / (3 * 3.4 + 3 * 3 - 2.6 * 3))


def test_unsure_detections_play_no_part_in_the_agreement():
    made = {"labels": ["cat", "cat"], "scores": [0.9, 0.4], "boxes_xyxy": [[0, 0, 4, 4], [5, 0, 9, 4]], "map": told_map()}
    found = measured([(made, {"objects": None})], consistency_metrics)
    assert found["consistency"].compute() == 1 and found["pixels_in_boxes"].compute() == 0.5
    low = measured([(made, {})], lambda: consistency_metrics(threshold=0.3))
    assert low["consistency"].compute() == 0.5


def test_the_agreement_of_resampled_pictures_weighs_boxes_and_not_pictures():
    two = {"labels": ["cat"] * 2, "scores": [1.0] * 2, "boxes_xyxy": [[0, 0, 4, 4]] * 2, "map": told_map()}
    one = {"labels": ["cat"], "scores": [1.0], "boxes_xyxy": [[0, 0, 8, 4]], "map": told_map()}
    found = measured([(two, {}), (one, {})], consistency_metrics)["consistency"]
    assert found.compute() == pytest.approx(2.5 / 3)
    assert found.resample(np.array([[1.0, 3]]))[0] == pytest.approx(3.5 / 5)


# ---- together -----------------------------------------------------------------------------------------------------

CAT = {"label": "cat", "box_xyxy": [0.0, 0.0, 4.0, 4.0], "id": 1}
FOUND = {"labels": ["cat"], "scores": [0.9], "boxes_xyxy": [[0.0, 0.0, 4.0, 4.0]], "map": told_map()}


def mixed():
    """A picture with both, one without objects told, one without a map; what is told of the last two is found well or badly."""
    both = {"objects": [CAT], "map": told_map().tolist(), "image_id": 1}
    only_map = {"objects": None, "map": told_map().tolist(), "image_id": 2}
    only_boxes = {"objects": [CAT], "image_id": 3}
    wrong = {"labels": ["cat"], "scores": [0.99], "boxes_xyxy": [[5.0, 5.0, 9.0, 9.0]]}
    return [(FOUND, both), ({**FOUND, **wrong}, only_map), ({**FOUND, "map": 0 * told_map()}, only_boxes)]


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_each_number_is_over_the_pictures_that_tell_what_it_needs(kind):
    found = measured(mixed(), lambda: joint_metrics(truth, kind))
    first = next(iter(found))
    assert first == {"coco": "AP", "voc": "voc_AP50_11point"}[kind]
    assert found[first].compute() == pytest.approx(1) and found["mIoU"].compute() == 1
    assert found["pixels_in_boxes"].compute() < 1


def test_a_picture_without_its_objects_told_would_have_lowered_average_precision():
    pairs = [(made, {**known, "objects": known["objects"] or []}) for made, known in mixed()]
    assert measured(pairs, voc_metrics)["voc_AP50"].compute() < 1


def test_one_job_has_its_own_numbers():
    assert "mIoU" not in joint_metrics(truth, "voc", "detection") and "AP" not in joint_metrics(truth, jobs="segmentation")
    assert "consistency" in joint_metrics(truth) and "consistency" not in joint_metrics(truth, jobs="segmentation")


def test_intervals_of_all_numbers_are_drawn_together():
    pairs = mixed()
    examples = [{"id": str(i), "classes": CLASSES, **known} for i, (_, known) in enumerate(pairs)]
    found = interval(lambda: joint_metrics(truth, "voc"), [made for made, _ in pairs], examples, resamples=50)
    assert found["mIoU"] == (1, 1) and found["consistency"][0] <= found["consistency"][1]
