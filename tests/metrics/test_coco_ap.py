"""COCO AP: pycocotools' numbers on anything that it measures rightly, and errors or NaN where it is silently wrong."""

import contextlib
import copy
import io
import json
import math
import pickle

import numpy as np
import pytest

from pellucid.errors import BadData
from pellucid.metrics.bootstrap import interval
from pellucid.metrics.coco import CocoNumber, coco_metrics
from pellucid.metrics.coco_evaluator import NUMBERS
from pellucid.metrics.coco_files import evaluate_files, write_results
from pellucid.task import Metric

CLASSES = ("cat", "dog", "hat")
CATEGORY_IDS = (3, 17, 90)


def pair(i, objects, found, size=(200, 200), classes=CLASSES, **more):
    """A prediction and its example: objects (label, box), detections (label, box, score)."""
    example = {
        "id": f"file:{i}",
        "image_id": i,
        "height": size[0],
        "width": size[1],
        "classes": classes,
        "category_ids": CATEGORY_IDS,
        "objects": [{"label": label, "box_xyxy": list(box), "crowd": False, "id": 10 * i + j} for j, (label, box) in enumerate(objects)],
    }
    labels, boxes, scores = (list(column) for column in zip(*found, strict=True)) if found else ([], [], [])
    return {"labels": labels, "boxes_xyxy": [list(box) for box in boxes], "scores": scores}, example | more


def scene(seed=0, pictures=12, digits=2, masks=False, small=False):
    """Pairs with crowds, pictures without objects or without detections, equal scores, all size classes."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in rng.permutation(pictures).tolist():
        objects, found = [], []
        for _ in range(0 if i % 5 == 4 else rng.integers(1, 6)):
            side = np.exp(rng.uniform(np.log(6), np.log(30 if small else 180), 2))
            corner = rng.uniform(0, 200 - side)
            objects.append((CLASSES[rng.integers(3)], [*corner, *(corner + side)]))
        for label, box in objects if i % 6 else []:
            for _ in range(rng.integers(0, 4)):
                moved = np.array(box) + rng.normal(size=4) * 4
                moved = np.concatenate([np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])])
                found.append((label if rng.random() < 0.9 else "dog", moved.clip(0, 200).tolist(), round(rng.random(), digits)))
        found += [("cat", [5, 5, 5 + 10 * j, 60], round(rng.random() / 2, digits)) for j in range(rng.integers(1, 14))]
        prediction, example = pair(i, objects, found if i % 6 else [])
        for one in example["objects"]:
            one["crowd"] = bool(rng.random() < 0.15)
            one["area"] = float(np.prod(np.subtract(one["box_xyxy"][2:], one["box_xyxy"][:2]))) * 0.8
        if masks:
            with_masks(prediction, example)
        pairs.append((prediction, example))
    return pairs


def with_masks(prediction, example):
    """Polygons of the boxes, each with a corner cut off; crowds as run lengths."""
    from faster_coco_eval.core import mask

    def polygon(box):
        x0, y0, x1, y1 = box
        return [[x0, y0, x1, y0, x1, y1, (x0 + x1) / 2, y1, x0, (y0 + y1) / 2]]

    def coded(box):
        return mask.merge(mask.frPyObjects(polygon(box), 200, 200))

    def spread(box):
        return {"size": [200, 200], "counts": runs(mask.decode(coded(box)))}

    for one in example["objects"]:
        one["segmentation"] = spread(one["box_xyxy"]) if one["crowd"] else polygon(one["box_xyxy"])
    made = [coded(box) for box in prediction["boxes_xyxy"]]
    prediction["masks"] = [{"size": list(one["size"]), "counts": one["counts"].decode()} for one in made]


def runs(picture):
    """Uncompressed run lengths, down the columns, of zeros first."""
    flat = np.concatenate([[0], picture.ravel(order="F"), [2]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], ends])).tolist() if picture.any() else [picture.size]


def truth_file(pairs):
    """The examples as COCO's file."""
    images = [{"id": e["image_id"], "height": e["height"], "width": e["width"]} for _, e in pairs]
    annotations = []
    for _, example in pairs:
        for one in example["objects"]:
            x0, y0, x1, y1 = one["box_xyxy"]
            entry = {"image_id": example["image_id"], "category_id": CATEGORY_IDS[CLASSES.index(one["label"])]}
            entry |= {"id": len(annotations) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": int(one["crowd"])}
            entry["area"] = one.get("area", (x1 - x0) * (y1 - y0))
            annotations.append(entry | ({"segmentation": one["segmentation"]} if "segmentation" in one else {}))
    categories = [{"id": i, "name": name} for i, name in zip(CATEGORY_IDS, CLASSES, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def files(folder, pairs):
    """Both files on disk."""
    (folder / "truth.json").write_text(json.dumps(truth_file(pairs)))
    write_results(*zip(*pairs, strict=True), folder / "made.json")
    return folder / "truth.json", folder / "made.json"


def pycocotools(truth, made, kind="bbox"):
    """The twelve numbers of pycocotools, NaN for its -1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = json.loads(truth.read_text())
        known.createIndex()
        entries = json.loads(made.read_text())
        for entry in entries if kind == "segm" else []:
            del entry["bbox"]
        evaluator = COCOeval(known, known.loadRes(entries), kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return np.where(evaluator.stats == -1, np.nan, evaluator.stats)


def gathered(pairs, masks=False):
    metrics = coco_metrics(masks)
    for given in pairs:
        for metric in metrics.values():
            metric.update(*given)
    return metrics


def computed(pairs, masks=False):
    return {name: metric.compute() for name, metric in gathered(pairs, masks).items()}


# ---- the numbers --------------------------------------------------------------------------------------------------


def test_a_worked_example():
    # one cat found at IoU .84 (which passes .5 ... .8, seven of ten), another overlooked: precision 1 up to recall 1/2, 51 of 101 points
    pairs = [
        pair(1, [("cat", [0, 0, 100, 100]), ("cat", [150, 150, 200, 200])], [("cat", [0, 0, 84, 100], 0.9), ("cat", [90, 0, 99, 9], 0.1)])
    ]
    found = computed(pairs)
    assert found["AP"] == pytest.approx(0.7 * 51 / 101, abs=1e-12)
    assert found["AP50"] == found["AP75"] == pytest.approx(51 / 101, abs=1e-12)
    assert found["AR_100"] == found["AR_1"] == pytest.approx(0.7 / 2)
    assert found["AP_large"] == pytest.approx(0.7)
    assert found["AP_medium"] == 0 and math.isnan(found["AP_small"])


def test_the_reference_is_reproduced(references, tmp_path):
    case = json.loads((references / "detection" / "metrics" / "coco_ap.json").read_text())
    (tmp_path / "truth.json").write_text(json.dumps(case["gt"]))
    (tmp_path / "made.json").write_text(json.dumps(case["detections"]))
    found = evaluate_files(tmp_path / "truth.json", tmp_path / "made.json")
    assert list(found) == list(NUMBERS)
    assert list(found.values()) == pytest.approx(case["stats"], abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_boxes_measure_as_in_pycocotools(seed, tmp_path):
    pairs = scene(seed, digits=1 if seed % 2 else 6, small=seed == 3)
    truth, made = files(tmp_path, pairs)
    expected = pycocotools(truth, made)
    assert list(evaluate_files(truth, made).values()) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert list(computed(pairs).values()) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(2))
def test_masks_measure_as_in_pycocotools(seed, tmp_path):
    pairs = scene(seed, masks=True)
    truth, made = files(tmp_path, pairs)
    expected = pycocotools(truth, made, "segm")
    found = evaluate_files(truth, made, masks=True)
    assert list(found) == [f"mask_{name}" for name in NUMBERS]
    assert list(found.values()) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    each = computed(pairs, masks=True)
    assert [each["mask_AP"], each["mask_AP50"], each["mask_AP75"]] == pytest.approx(expected[:3], abs=1e-12)
    assert each["AP"] == computed(pairs)["AP"]
    for name, value in zip(NUMBERS, expected, strict=True):
        alone = CocoNumber(name, "segm")
        for one in pairs:
            alone.update(*one)
        assert alone.compute() == pytest.approx(value, abs=1e-12, nan_ok=True)


def test_each_class_has_its_own_precision_and_their_mean_is_ap():
    pairs = [pair(1, [("cat", [0, 0, 50, 50]), ("dog", [60, 60, 99, 99])], [("cat", [0, 0, 50, 50], 0.9)])]
    each = gathered(pairs)["AP"].per_class()
    assert [each["cat"], each["dog"]] == [pytest.approx(1), 0] and math.isnan(each["hat"])
    assert computed(pairs)["AP"] == pytest.approx(0.5)


# ---- where others are silent --------------------------------------------------------------------------------------


def test_no_detections_is_zero_and_no_objects_is_nan(tmp_path):
    blind = [pair(1, [("cat", [0, 0, 50, 50])], [])]
    empty = [pair(1, [], [("cat", [0, 0, 50, 50], 0.5)])]
    for found in (computed(blind), evaluate_files(*files(tmp_path, blind))):
        assert found["AP"] == found["AR_100"] == found["AP_medium"] == 0 and math.isnan(found["AP_large"])
    for found in (computed(empty), evaluate_files(*files(tmp_path, empty))):
        assert all(math.isnan(value) for value in found.values())


def test_a_crowd_is_neither_to_be_found_nor_an_error():
    prediction, example = pair(1, [("cat", [0, 0, 50, 50]), ("cat", [100, 100, 200, 200])], [("cat", [0, 0, 50, 50], 0.5)])
    for i in range(3):
        prediction["labels"].append("cat")
        prediction["scores"].append(0.9)
        prediction["boxes_xyxy"].append([110 + 20 * i, 110, 130 + 20 * i, 130])
    assert computed([(prediction, example)])["AP"] < 0.2
    example["objects"][1]["crowd"] = True
    assert computed([(prediction, example)])["AP"] == pytest.approx(1)


def test_detections_in_a_picture_without_objects_are_errors():
    right = pair(1, [("cat", [0, 0, 50, 50])], [("cat", [0, 0, 50, 50], 0.5)])
    assert computed([right])["AP"] == pytest.approx(1)
    assert computed([right, pair(2, [], [("cat", [0, 0, 50, 50], 0.9)])])["AP"] == pytest.approx(0.5)


def test_an_object_with_the_id_0_counts(tmp_path):
    pairs = [pair(0, [("cat", [0, 0, 50, 50])], [("cat", [0, 0, 50, 50], 0.5)])]
    assert pairs[0][1]["objects"][0]["id"] == 0
    assert computed(pairs)["AP"] == pytest.approx(1)
    truth, made = files(tmp_path, pairs)
    tree = json.loads(truth.read_text())
    tree["annotations"][0]["id"] = 0
    truth.write_text(json.dumps(tree))
    assert evaluate_files(truth, made)["AP"] == pytest.approx(1)


BOX = [0, 0, 50, 50]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, e: p["scores"].__setitem__(0, math.nan), "detection 0 has the score nan"),
        (lambda p, e: p["boxes_xyxy"].__setitem__(0, [0, 0, math.inf, 5]), "detection 0 .* not finite"),
        (lambda p, e: p["boxes_xyxy"].__setitem__(0, [9, 0, 5, 5]), "detection 0 .* negative side"),
        (lambda p, e: p["boxes_xyxy"].__setitem__(0, [9, 0, 5]), "detection 0 .* expected x0, y0, x1, y1"),
        (lambda p, e: p["labels"].__setitem__(0, "cow"), "detection 0 has the label 'cow'"),
        (lambda p, e: p["scores"].append(0.1), "1 labels, 2 scores, 1 boxes_xyxy"),
        (lambda p, e: p.pop("scores"), "no scores"),
        (lambda p, e: e["objects"][0].update(box_xyxy=[0, 0, math.nan, 1]), "object 10 .* not finite"),
        (lambda p, e: e["objects"][0].update(box_xyxy=[5, 5, 1, 9]), "object 10 .* negative side"),
        (lambda p, e: e["objects"][0].update(label="cow"), "object 10 has the label 'cow'"),
        (lambda p, e: e["objects"][0].update(area=math.nan), "object 10 has the area nan"),
        (lambda p, e: e["objects"].append(dict(e["objects"][0])), "two objects have the id 10"),
        (lambda p, e: e.pop("classes"), "no classes"),
    ],
)
def test_wrong_pairs_are_refused_by_name(change, message):
    prediction, example = pair(1, [("cat", BOX)], [("cat", BOX, 0.5)])
    change(prediction, example)
    with pytest.raises(BadData, match=f"'file:1'.*{message}"):
        CocoNumber().update(prediction, example)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "no mask"),
        ({"size": [10, 10], "counts": [100]}, "of size"),
        ({"size": [200, 200], "counts": [100]}, "of 100 pixels"),
        ({"size": [200, 200], "counts": "zzzz9999"}, "pixels"),
        ([[1, 2, 3, 4]], "expected polygons"),
    ],
)
def test_a_wrong_mask_is_refused(mask, message):
    prediction, example = pair(1, [("cat", BOX)], [])
    prediction["masks"] = []
    example["objects"][0]["segmentation"] = mask
    with pytest.raises(BadData, match=f"object 10.*{message}"):
        CocoNumber("AP", "segm").update(prediction, example)


def test_a_picture_twice_and_other_classes_are_refused():
    one = pair(1, [("cat", BOX)], [])
    metric = CocoNumber()
    metric.update(*one)
    metric.update(one[0], one[1] | {"id": "again"})
    with pytest.raises(BadData, match="'file:1' and 'again' are both picture 1"):
        metric.compute()
    metric = CocoNumber()
    metric.update(*one)
    metric.update(*pair(2, [("cat", BOX)], [], classes=("cat", "cow")))
    with pytest.raises(BadData, match="different classes"):
        metric.compute()


@pytest.mark.parametrize(
    ("which", "change", "message"),
    [
        ("truth", lambda t: t["annotations"][0].update(bbox=[0, 0, -1, 5]), "annotation 1 has the bbox"),
        ("truth", lambda t: t["annotations"][0].update(bbox=[0, 0, math.nan, 5]), "annotation 1 has the bbox"),
        ("truth", lambda t: t["annotations"][0].update(bbox=[0, 0, 5]), "annotation 1 has the bbox"),
        ("truth", lambda t: t["annotations"][0].update(area=None), "annotation 1 has the area None"),
        ("truth", lambda t: t["annotations"].append(t["annotations"][0]), "annotation 1 is there twice"),
        ("truth", lambda t: t["images"].append(t["images"][0]), "image 1 is there twice"),
        ("truth", lambda t: t["annotations"][0].update(category_id=4), "annotation 1 is of category 4"),
        ("truth", lambda t: t["annotations"][0].update(image_id=4), "annotation 1 is of picture 4"),
        ("truth", lambda t: t.pop("categories"), "no list 'categories'"),
        ("made", lambda d: d[1].update(score=math.inf), "detection 2 has the score inf"),
        ("made", lambda d: d[1].update(score="0.5"), "detection 2 has the score '0.5'"),
        ("made", lambda d: d[1].update(bbox=[0, 0, 5, -1]), "detection 2 has the bbox"),
        ("made", lambda d: d[1].update(bbox=["0", "0", "5", "1"]), "detection 2 has the bbox"),
        ("made", lambda d: d[1].update(image_id=4), "detection 2 is of picture 4"),
        ("made", lambda d: d[1].update(category_id=4), "detection 2 is of category 4"),
        ("made", lambda d: d[1].pop("image_id"), "detection 2 of the list has no image_id"),
        ("made", lambda d: d.__setitem__(1, 7), "detection 2 of the list has no image_id"),
    ],
)
def test_wrong_files_are_refused_by_entry(which, change, message, tmp_path):
    truth, made = files(tmp_path, [pair(1, [("cat", BOX)], [("cat", BOX, 0.5), ("dog", BOX, 0.4)])])
    path = {"truth": truth, "made": made}[which]
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    with pytest.raises(BadData, match=f"{which}.json: {message}"):
        evaluate_files(truth, made)


def test_what_is_no_results_file_is_refused(tmp_path):
    truth, made = files(tmp_path, [pair(1, [("cat", BOX)], [])])
    made.write_text("{}")
    with pytest.raises(BadData, match=r"made.json: holds dict"):
        evaluate_files(truth, made)
    made.write_text("[")
    with pytest.raises(BadData, match=r"made.json: not JSON"):
        evaluate_files(truth, made)
    with pytest.raises(BadData, match="cannot be read"):
        evaluate_files(truth, tmp_path / "none.json")


def test_results_are_written_under_the_datas_own_ids(tmp_path):
    write_results(*zip(pair(7, [], [("hat", [1, 2, 4, 8], 0.25)]), strict=True), tmp_path / "made.json")
    assert json.loads((tmp_path / "made.json").read_text()) == [{"image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 6], "score": 0.25}]
    prediction, example = pair(7, [], [])
    del example["category_ids"]
    with pytest.raises(BadData, match="'file:7' has no category_ids"):
        write_results([prediction], [example], tmp_path / "made.json")


# ---- accumulators -------------------------------------------------------------------------------------------------


def test_nothing_gathered_is_nan():
    assert all(isinstance(metric, Metric) and math.isnan(metric.compute()) for metric in coco_metrics(masks=True).values())


def test_two_halves_merged_in_any_order_say_what_the_whole_says():
    pairs = scene(1, digits=1)
    whole = computed(pairs)
    first, second = gathered(pairs[5:]), pickle.loads(pickle.dumps(gathered(pairs[:5])))
    for name, metric in first.items():
        metric.merge(second[name])
        metric.merge(coco_metrics()[name])
        assert metric.compute() == whole[name]


def test_a_number_alone_says_what_it_says_among_others():
    pairs = scene(2)
    whole = computed(pairs)
    for name in ("AP_small", "AR_10"):
        alone = coco_metrics()[name]
        for given in pairs:
            alone.update(*given)
        assert alone.compute() == whole[name]


def test_numbers_made_together_do_not_mix_what_they_gather():
    one, other = pair(1, [("cat", BOX)], [("cat", BOX, 0.5)]), pair(2, [("cat", BOX)], [])
    metrics = coco_metrics()
    metrics["AP"].update(*one)
    metrics["AP50"].update(*other)
    assert [metrics["AP"].compute(), metrics["AP50"].compute()] == [pytest.approx(1), 0]
    assert math.isnan(metrics["AP75"].compute())
    metrics["AP"].update(*other)
    assert metrics["AP"].compute() == pytest.approx(51 / 101)


def test_a_prediction_that_was_changed_in_between_is_read_again():
    prediction, example = pair(1, [("cat", BOX)], [("cat", BOX, 0.5)])
    metrics = coco_metrics()
    metrics["AP"].update(prediction, example)
    prediction["boxes_xyxy"] = [[100, 100, 150, 150]]
    metrics["AP50"].update(prediction, example)
    assert [metrics["AP"].compute(), metrics["AP50"].compute()] == [pytest.approx(1), 0]


def test_a_row_taken_later_changes_the_number():
    metric = CocoNumber()
    metric.update(*pair(1, [("cat", BOX)], [("cat", BOX, 0.5)]))
    assert metric.compute() == pytest.approx(1)
    metric.update(*pair(2, [("cat", BOX)], []))
    assert metric.compute() == pytest.approx(51 / 101)


# ---- resampling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", [False, True])
def test_every_picture_once_is_the_evaluators_number(masks):
    pairs = scene(3, digits=1, masks=masks)
    for metric in gathered(pairs, masks).values():
        assert metric.resample(np.ones((1, len(pairs))))[0] == pytest.approx(metric.compute(), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_a_weight_is_so_many_copies_of_the_picture(seed):
    rng = np.random.default_rng(seed)
    pairs = scene(seed, digits=9)
    weights = rng.integers(0, 4, size=(3, len(pairs))).astype(float)
    copies = []
    for row in weights:
        drawn = []
        for (prediction, example), times in zip(pairs, row.astype(int), strict=True):
            drawn += [(prediction, example | {"image_id": 100 * example["image_id"] + k}) for k in range(times)]
        copies.append(computed(drawn))
    for name, metric in gathered(pairs).items():
        assert metric.resample(weights) == pytest.approx([each[name] for each in copies], abs=1e-12, nan_ok=True)


def test_other_weights_and_other_rows_give_other_draws():
    pairs = [pair(1, [("cat", BOX)], [("cat", BOX, 0.5)]), pair(2, [("cat", BOX)], [])]
    metric = gathered(pairs)["AP"]
    assert metric.resample(np.array([[1.0, 0], [0, 1], [0, 0]])) == pytest.approx([1, 0, math.nan], nan_ok=True)
    assert metric.resample(np.array([[0.0, 1]])) == pytest.approx([0])
    assert metric.resample(np.array([[1.0, 0]])) == pytest.approx([1])
    metric.update(*pair(3, [("cat", BOX)], [("cat", BOX, 0.5)]))
    assert metric.resample(np.array([[0.0, 0, 1]])) == pytest.approx([1])


def test_an_interval_holds_the_number():
    pairs = scene(4, pictures=30)
    found = interval(coco_metrics, *zip(*pairs, strict=True), resamples=200)
    whole = computed(pairs)
    assert all(low < whole[name] < high for name, (low, high) in found.items() if name in ("AP", "AP50", "AR_100"))


def test_pictures_are_left_as_they_were():
    pairs = scene(5, masks=True)
    before = copy.deepcopy(pairs)
    computed(pairs, masks=True)
    assert pairs == before
