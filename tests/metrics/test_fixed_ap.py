"""LVIS's fixed AP: by hand, LVIS's procedure written out, another program's LVIS evaluation, the places of a class, resampling."""

import math
import pickle

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from pellucid.errors import BadData
from pellucid.metrics.bootstrap import draws
from pellucid.metrics.fixed_ap import FixedAveragePrecision, fixed_metrics
from pellucid.task import Metric

A, B, C = [0, 0, 10, 10], [20, 20, 30, 30], [50, 0, 60, 10]
GROUPS = {"cat": "f", "dog": "c", "hat": "r", "map": "r"}


def fill(metrics, *pairs):
    for pair in pairs:
        for metric in metrics.values():
            metric.update(*pair)
    return metrics


def values(metrics):
    return {name: metric.compute() for name, metric in metrics.items()}


def ask(picture, caption, objects, found, **more):
    """A picture asked for a class: what it has of it, and boxes with scores."""
    boxes, scores = (list(column) for column in zip(*found, strict=True)) if found else ([], [])
    row = {"id": f"{picture:03d}/{caption}", "caption": caption, "frequency": GROUPS.get(caption), **more}
    return {"boxes_xyxy": boxes, "scores": scores}, row | {"objects": [{"box_xyxy": box} for box in objects]}


def scene(seed=0, pictures=12, levels=None):
    """Pictures asked for all classes: some have objects, some none, some are not exhaustively marked."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(pictures):
        for category in GROUPS:
            low = rng.integers(0, 60, (rng.integers(0, 4) if category != "map" else 0, 2))
            objects = np.concatenate([low, low + rng.integers(10, 40, low.shape)], axis=1).tolist()
            found = []
            for box in [*objects, *objects, [1, 2, 30, 40]]:
                moved = np.array(box) + rng.integers(-5, 6, 4)
                moved[2:] = np.maximum(moved[2:], moved[:2] + 1)
                score = rng.random()
                found.append((moved.tolist(), float(round(score * levels) / levels if levels else score)))
            pairs.append(ask(i, category, objects, found, exhaustive=bool(rng.random() < 0.7)))
    return pairs


def overlap(a, b):
    sides = [min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1)]
    both = sides[0] * sides[1] if min(sides) > 0 else 0
    return both / (sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)) - both)


def literal(pairs, category, threshold, most):
    """LVIS's procedure for one class, one detection after the other."""
    mine = sorted((pair for pair in pairs if pair[1]["caption"] == category), key=lambda pair: pair[1]["id"])
    made = [(s, i, box) for i, (p, _) in enumerate(mine) for box, s in zip(p["boxes_xyxy"], p["scores"], strict=True)]
    total = sum(len(row["objects"]) for _, row in mine)
    if not total:
        return math.nan
    taken, curve, hits, wrong = set(), [], 0, 0
    for _, i, box in sorted(made, key=lambda one: -one[0])[:most]:
        row = mine[i][1]
        best, match = threshold, None
        for j, one in enumerate(row["objects"]):
            if (i, j) not in taken and overlap(box, one["box_xyxy"]) >= best:
                best, match = overlap(box, one["box_xyxy"]), j
        if match is not None:
            taken.add((i, match))
            hits += 1
        elif row.get("exhaustive", True) and row.get("listed", True):
            wrong += 1
        else:
            continue
        curve.append((hits / total, hits / (hits + wrong)))
    return sum(max([p for r, p in curve if r >= level], default=0) for level in np.linspace(0, 1, 101)) / 101


def mean(found):
    known = [value for value in found if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


# ---- worked cases -------------------------------------------------------------------------------------------------


def test_one_class_by_hand():
    # right, wrong, right of three: precision 1 until recall 1/3 (34 of 101 points), 2/3 until 2/3 (33 more)
    pairs = [ask(1, "cat", [A, B], [(A, 0.9), (C, 0.8)]), ask(2, "cat", [A], [(A, 0.7)])]
    told = values(fill(fixed_metrics(), *pairs))
    assert [told[f"fixed_{name}"] for name in ("AP", "AP50", "APf")] == pytest.approx([(34 + 33 * 2 / 3) / 101] * 3)
    assert math.isnan(told["fixed_APr"]) and math.isnan(told["fixed_APc"])


def test_a_class_has_so_many_places_and_a_picture_any_number():
    many = [(C, 0.9 - i / 1000) for i in range(400)]
    pairs = [ask(1, "cat", [A], [*many, (A, 0.1)])]
    assert values(fill(fixed_metrics(), *pairs))["fixed_AP"] == pytest.approx(1 / 401)
    assert values(fill(fixed_metrics(401), *pairs))["fixed_AP"] == pytest.approx(1 / 401)
    assert values(fill(fixed_metrics(400), *pairs))["fixed_AP"] == 0


def test_places_are_of_each_class_by_itself():
    pairs = [ask(1, "cat", [A], [(B, 0.9)]), ask(1, "dog", [A], [(A, 0.1)]), ask(2, "dog", [], [(C, 0.05)])]
    assert values(fill(fixed_metrics(1), *pairs))["fixed_AP"] == pytest.approx(0.5)


def test_a_detection_without_object_is_wrong_only_where_all_objects_are_marked():
    for more, expected in (({}, 0.5), ({"exhaustive": False}, 1), ({"listed": False}, 1)):
        pairs = [ask(1, "cat", [], [(A, 0.9)], **more), ask(2, "cat", [A], [(A, 0.8)])]
        assert values(fill(fixed_metrics(), *pairs))["fixed_AP"] == pytest.approx(expected)


def test_detections_that_nobody_can_judge_take_places_all_the_same():
    pairs = [ask(1, "cat", [], [(A, 0.9)], listed=False), ask(2, "cat", [A], [(A, 0.8)])]
    assert values(fill(fixed_metrics(1), *pairs))["fixed_AP"] == 0


def test_a_category_names_the_class_where_the_caption_does_not():
    pairs = [ask(1, "bat", [A], [(A, 0.9)], category="bat_(animal)"), ask(2, "bat", [A], [(B, 0.8)], category="bat_(stick)")]
    assert fill(fixed_metrics(), *pairs)["fixed_AP"].per_class() == {
        "bat_(animal)": pytest.approx(1),
        "bat_(stick)": 0,
    }


# ---- other programs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 6])
@pytest.mark.parametrize("most", [25, 10_000])
def test_all_numbers_are_those_of_the_procedure_written_out(levels, most):
    pairs = scene(levels=levels)
    each = {c: [literal(pairs, c, t, most) for t in np.linspace(0.5, 0.95, 10)] for c in GROUPS}
    told = fill(fixed_metrics(most), *pairs)
    by_class = {c: mean(curve) for c, curve in each.items()}
    assert told["fixed_AP"].per_class() == pytest.approx(by_class, nan_ok=True)
    expected = {"AP": mean(by_class.values()), "AP50": mean(c[0] for c in each.values()), "AP75": mean(c[5] for c in each.values())}
    expected |= {f"AP{group}": mean(by_class[c] for c in GROUPS if GROUPS[c] == group) for group in "rcf"}
    assert values(told) == pytest.approx({f"fixed_{name}": value for name, value in expected.items()})


@pytest.mark.parametrize("seed", range(2))
def test_without_the_places_all_numbers_are_those_of_another_programs_lvis(seed):
    pairs, names = scene(seed), list(GROUPS)
    images, truth, made = {}, [], []
    for prediction, row in pairs:
        image, category = int(row["id"][:3]) + 1, names.index(row["caption"]) + 1
        told = images.setdefault(
            image, {"id": image, "height": 200, "width": 200, "neg_category_ids": [], "not_exhaustive_category_ids": []}
        )
        if not row["objects"]:
            told["neg_category_ids"].append(category)
        if not row["exhaustive"]:
            told["not_exhaustive_category_ids"].append(category)
        for entries, boxes in ((truth, [one["box_xyxy"] for one in row["objects"]]), (made, prediction["boxes_xyxy"])):
            for k, (x0, y0, x1, y1) in enumerate(boxes):
                entry = {"image_id": image, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
                entry |= {"id": len(entries) + 1, "iscrowd": 0} | ({"score": prediction["scores"][k]} if entries is made else {})
                entries.append(entry)
    shared = {
        "images": list(images.values()),
        "categories": [{"id": i + 1, "name": name, "frequency": GROUPS[name]} for i, name in enumerate(names)],
    }
    evaluator = COCOeval_faster(COCO({**shared, "annotations": truth}), COCO({**shared, "annotations": made}), "bbox", lvis_style=True)
    evaluator.params.maxDets = [300]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, :, 0, -1]  # t s c
    found = fill(fixed_metrics(), *pairs)["fixed_AP"].per_class()
    assert [found[name] for name in names[:3]] == pytest.approx(precision.mean((0, 1))[:3].tolist())
    assert (precision[:, :, 3] == -1).all() and math.isnan(found["map"])


# ---- promises -----------------------------------------------------------------------------------------------------


def test_unknown_before_updates_and_halves_merged_in_any_order_are_the_whole():
    assert all(isinstance(metric, Metric) and math.isnan(metric.compute()) for metric in fixed_metrics().values())
    pairs = scene(levels=4)
    whole, first, second = fill(fixed_metrics(30), *pairs), fill(fixed_metrics(30), *pairs[:20]), fill(fixed_metrics(30), *pairs[20:])
    for name, metric in pickle.loads(pickle.dumps(second)).items():
        metric.merge(first[name])
        metric.merge(fixed_metrics(30)[name])
        assert metric.compute() == pytest.approx(whole[name].compute())


@pytest.mark.parametrize("most", [20, 10_000])
def test_resampling_is_gathering_the_drawn_examples(most):
    pairs = scene(pictures=4)
    weights = np.random.default_rng(0).multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=2).astype(float)
    for name, metric in fill(fixed_metrics(most), *pairs).items():
        for row, value in zip(weights, metric.resample(weights), strict=True):
            copies = [
                (p, {**e, "id": f"{e['id']} {k}"}) for (p, e), times in zip(pairs, row, strict=True) for k in range(int(times))
            ]  # fmt: skip
            assert value == pytest.approx(fill({name: fixed_metrics(most)[name]}, *copies)[name].compute(), nan_ok=True)


def test_draws_without_objects_are_unknown():
    pairs = [ask(1, "cat", [A], [(A, 0.5)]), ask(2, "cat", [], [])]
    found = draws(fixed_metrics, *zip(*pairs, strict=True), resamples=50)["fixed_AP"]
    assert np.isnan(found).any() and found[~np.isnan(found)] == pytest.approx(1)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([ask(1, "cat", [A], [(A, 0.9)])] * 2, "'001/cat' is there twice"),
        (
            [ask(1, "cat", [A], []), ask(2, "cat", [A], [], frequency="r")],
            "'cat' is of frequency 'f' in example '001/cat', 'r' in '002/cat'",
        ),
        ([ask(1, "cat", [A], [], frequency="often")], "frequency 'often'; expected r .rare."),
        ([ask(1, None, [A], [])], "names no class"),
        ([ask(1, "cat", [A], [(A, math.nan)])], "score nan"),
        ([ask(1, "cat", [[0, 0, -1, 1]], [])], "negative side"),
    ],
)
def test_what_cannot_be_measured_is_refused(pairs, message):
    with pytest.raises(BadData, match=message):
        fill(fixed_metrics(), *pairs)["fixed_AP"].compute()


def test_a_number_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no number 'AR'; there are AP, AP50"):
        FixedAveragePrecision("AR")
