"""VOC AP: the worked curve, VOC's own rule restated, difficult objects, resampling."""

import json
import math
import pickle

import numpy as np
import pytest

from pellucid.errors import BadData
from pellucid.metrics.bootstrap import draws
from pellucid.metrics.voc import VocAveragePrecision, average_precision, voc_metrics
from pellucid.task import Metric

CLASSES = ("cat", "dog", "hat")


def pair(i, objects, found, classes=CLASSES):
    """A prediction and its example: objects (label, box, True where difficult), detections (label, box, score)."""
    listed = [{"label": label, "box_xyxy": list(box), "difficult": hard == [True]} for label, box, *hard in objects]
    labels, boxes, scores = (list(column) for column in zip(*found, strict=True)) if found else ([], [], [])
    return {"labels": labels, "boxes_xyxy": boxes, "scores": scores}, {"id": f"{i:06d}", "classes": classes, "objects": listed}


def gathered(pairs, eleven=False):
    metric = VocAveragePrecision(eleven)
    for given in pairs:
        metric.update(*given)
    return metric


def scene(seed=0, pictures=15):
    """Pairs of whole pixels, some objects difficult, some pictures without any, scores all different."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(pictures):
        objects, found = [], []
        for _ in range(0 if i % 5 == 4 else rng.integers(1, 5)):
            corner, side = rng.integers(0, 100, 2), rng.integers(5, 60, 2)
            objects.append((CLASSES[rng.integers(3)], [*corner.tolist(), *(corner + side).tolist()], bool(rng.random() < 0.3)))
        for label, box, _ in objects:
            for _ in range(rng.integers(0, 4)):
                moved = np.array(box) + rng.integers(-6, 7, 4)
                moved[2:] = np.maximum(moved[:2] + 1, moved[2:])
                found.append((label if rng.random() < 0.8 else "dog", moved.tolist(), float(rng.random())))
        found += [("cat", [5, 5, 20 + 10 * j, 60], float(rng.random())) for j in range(3)]
        pairs.append(pair(i, objects, found))
    return pairs


def pixels(box):
    """The corners as VOC's files have them: pixels from 1 that belong to the box."""
    x0, y0, x1, y1 = box
    return x0 + 1, y0 + 1, x1, y1


def vocs_iou(a, b):
    w, h = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) + 1 for k in (0, 1))
    if w <= 0 or h <= 0:
        return 0
    both = w * h
    return both / (sum((x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in (a, b)) - both)


def vocs_rule(pairs, label, eleven):
    """VOC's procedure as its development kit tells it, one detection after the other."""
    objects = [[(pixels(o["box_xyxy"]), o["difficult"]) for o in e["objects"] if o["label"] == label] for _, e in pairs]
    made = [
        (score, i, pixels(box))
        for i, (p, _) in enumerate(pairs)
        for name, box, score in zip(p["labels"], p["boxes_xyxy"], p["scores"], strict=True)
        if name == label
    ]
    total = sum(not hard for each in objects for _, hard in each)
    taken, curve, wrong = set(), [], 0
    for _, i, box in sorted(made, key=lambda one: -one[0]):
        overlaps = [vocs_iou(box, other) for other, _ in objects[i]]
        best = int(np.argmax(overlaps)) if overlaps else None
        found = best is not None and overlaps[best] > 0.5
        if found and objects[i][best][1]:
            continue
        if found and (i, best) not in taken:
            taken.add((i, best))
        else:
            wrong += 1
        curve.append((len(taken) / total, len(taken) / (len(taken) + wrong)))
    if eleven:
        return sum(max([p for r, p in curve if r >= t], default=0) for t in np.arange(0, 1.1, 0.1)) / 11
    recalls = [0, *(r for r, _ in curve)]
    return sum((recalls[k + 1] - recalls[k]) * max(p for _, p in curve[k:]) for k in range(len(curve)))


def test_the_worked_curve_of_the_reference_is_reproduced(references):
    case = json.loads((references / "detection" / "metrics" / "voc_ap.json").read_text())
    hits = np.array(case["recall"])[:, None] * 10
    seen = hits / np.array(case["precision"])[:, None]
    for eleven, expected in ((True, case["ap_11point"]), (False, case["ap_area"])):
        assert average_precision(hits, seen, np.array([10.0]), eleven)[0] == pytest.approx(expected, abs=1e-9)


def test_both_numbers_by_hand():
    # right, wrong, right, of three cats: recall 1/3 at precision 1, 2/3 at 2/3
    cats = [("cat", [0, 0, 10, 10]), ("cat", [20, 20, 30, 30]), ("cat", [40, 40, 50, 50])]
    found = [("cat", [0, 0, 10, 10], 0.9), ("cat", [60, 60, 70, 70], 0.8), ("cat", [20, 20, 30, 30], 0.7)]
    assert gathered([pair(1, cats, found)]).compute() == pytest.approx(1 / 3 + 2 / 9)
    assert gathered([pair(1, cats, found)], eleven=True).compute() == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)


@pytest.mark.parametrize("eleven", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_of_vocs_rule_on_its_own_pixels(seed, eleven):
    pairs = scene(seed)
    found = gathered(pairs, eleven)
    each = [vocs_rule(pairs, label, eleven) for label in CLASSES]
    assert list(found.per_class().values()) == pytest.approx(each, abs=1e-12)
    assert found.compute() == pytest.approx(np.mean(each), abs=1e-12)


def test_half_covered_is_not_enough():
    assert gathered([pair(1, [("cat", [0, 0, 10, 10])], [("cat", [0, 0, 10, 5], 0.9)])]).compute() == 0
    assert gathered([pair(1, [("cat", [0, 0, 10, 10])], [("cat", [0, 0, 10, 5.1], 0.9)])]).compute() == 1


def test_a_difficult_object_is_neither_to_be_found_nor_an_error():
    easy, hard = ("cat", [0, 0, 10, 10]), ("cat", [20, 20, 40, 40], True)
    right, on_hard = ("cat", [0, 0, 10, 10], 0.5), ("cat", [20, 20, 40, 41], 0.9)
    assert gathered([pair(1, [easy, hard], [on_hard, on_hard, right])]).compute() == 1
    assert gathered([pair(1, [easy, (*hard[:2], False)], [right])]).compute() == 0.5
    assert gathered([pair(1, [easy], [on_hard, right])]).compute() == 0.5
    assert math.isnan(gathered([pair(1, [hard], [on_hard])]).compute())


def test_a_second_detection_of_an_object_is_wrong():
    twice = [("cat", [0, 0, 10, 10], 0.9), ("cat", [0, 0, 10, 10], 0.8), ("cat", [20, 20, 30, 30], 0.7)]
    cats = [("cat", [0, 0, 10, 10]), ("cat", [20, 20, 30, 30])]
    assert gathered([pair(1, cats, twice)]).compute() == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_an_object_of_another_class_is_not_found():
    metric = gathered([pair(1, [("cat", [0, 0, 10, 10])], [("dog", [0, 0, 10, 10], 0.9)])])
    assert metric.compute() == 0
    each = metric.per_class()
    assert each["cat"] == 0 and math.isnan(each["dog"]) and math.isnan(each["hat"])


def test_no_detections_is_zero_and_no_objects_is_nan():
    assert gathered([pair(1, [("cat", [0, 0, 10, 10])], [])]).compute() == 0
    assert math.isnan(gathered([pair(1, [], [("cat", [0, 0, 10, 10], 0.5)])]).compute())
    assert all(isinstance(metric, Metric) and math.isnan(metric.compute()) for metric in voc_metrics().values())
    assert list(voc_metrics()) == ["voc_AP50_11point", "voc_AP50"]


def test_wrong_pairs_are_refused():
    prediction, example = pair(1, [], [("cat", [0, 0, 10, 10], math.nan)])
    with pytest.raises(BadData, match="'000001': detection 0 has the score nan"):
        VocAveragePrecision().update(prediction, example)
    metric = gathered([pair(1, [], []), pair(1, [], [])])
    with pytest.raises(BadData, match="both picture '000001'"):
        metric.compute()


def test_two_halves_merged_in_any_order_say_what_the_whole_says():
    pairs = scene()
    for prediction, _ in pairs:
        prediction["scores"] = [round(score, 1) for score in prediction["scores"]]
    merged = gathered(pairs[7:])
    merged.merge(pickle.loads(pickle.dumps(gathered(pairs[:7]))))
    merged.merge(VocAveragePrecision())
    assert merged.compute() == gathered(pairs).compute()


@pytest.mark.parametrize("eleven", [False, True])
def test_a_weight_is_so_many_copies_of_the_picture(eleven):
    pairs, weights = scene(1), np.random.default_rng(0).integers(0, 4, size=(3, 15)).astype(float)
    for row, value in zip(weights, gathered(pairs, eleven).resample(weights), strict=True):
        copies = [(p, e | {"id": f"{e['id']}-{k}"}) for (p, e), w in zip(pairs, row, strict=True) for k in range(int(w))]
        assert value == pytest.approx(gathered(copies, eleven).compute(), abs=1e-12)


def test_draws_without_objects_are_unknown():
    pairs = [pair(1, [("cat", [0, 0, 10, 10])], [("cat", [0, 0, 10, 10], 0.5)]), pair(2, [], [])]
    values = draws(voc_metrics, *zip(*pairs, strict=True), resamples=50)["voc_AP50"]
    assert np.isnan(values).any() and set(values[~np.isnan(values)]) == {1.0}
