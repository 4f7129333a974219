"""PhraseCut's numbers: unions of boxes and masks by hand and pixel by pixel, strict thresholds, what is refused."""

import math
import pickle
from functools import partial

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask

from pellucid.errors import BadData
from pellucid.metrics.phrases import common_areas, phrase_cut_metrics
from pellucid.task import Metric

SIZE = (24, 32)


def fill(metrics, *pairs):
    for pair in pairs:
        for metric in metrics.values():
            metric.update(*pair)
    return metrics


def values(metrics):
    return {name: metric.compute() for name, metric in metrics.items()}


def coded(mask):
    return dict(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))))


def filled(boxes):
    mask = np.zeros(SIZE, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def phrase(objects, i=0, **more):
    return {"id": f"task {i}", "height": SIZE[0], "width": SIZE[1], "objects": [{"box_xyxy": list(box)} for box in objects], **more}


def answer(boxes, scores, masks=()):
    return {"boxes_xyxy": [list(box) for box in boxes], "scores": scores, "masks": [coded(mask) for mask in masks]}


def phrases(num=20, seed=0):
    """Whole boxes and any masks, several of each for a phrase; some answers and some phrases are empty."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(num):
        made, wanted = ([], [])
        for boxes, most in ((made, 5), (wanted, 4)):
            for _ in range(rng.integers(0, most)):
                (x0, x1), (y0, y1) = (np.sort(rng.choice(side + 1, 2, replace=False)).tolist() for side in SIZE[::-1])
                boxes.append([x0, y0, x1, y1])
        masks = [filled([box]) & (rng.random(SIZE) < 0.8) for box in made]
        truth = [filled([box]) & (rng.random(SIZE) < 0.8) for box in wanted]
        row = phrase(wanted, i)
        for one, mask in zip(row["objects"], truth, strict=True):
            one["segmentation"] = coded(mask)
        pairs.append((answer(made, rng.choice([0.6, 0.7, 0.8], len(made)).tolist(), masks), row))
    return pairs


def literal(pairs, masks):
    """Every pixel looked at."""
    ious, shared, united = [], 0, 0
    for made, row in pairs:
        kept = [i for i, score in enumerate(made["scores"]) if score > 0.7]
        found, truth = np.zeros(SIZE, dtype=bool), np.zeros(SIZE, dtype=bool)
        for i in kept:
            found |= coco_mask.decode(made["masks"][i]).astype(bool) if masks else filled([made["boxes_xyxy"][i]])
        for one in row["objects"]:
            truth |= coco_mask.decode(one["segmentation"]).astype(bool) if masks else filled([one["box_xyxy"]])
        i, u = (found & truth).sum(), (found | truth).sum()
        ious.append(i / u if i else 0)
        shared, united = shared + i, united + u
    prefix = "mask" if masks else "box"
    share = {f"{prefix}_P@{x}": sum(iou > x for iou in ious) / len(ious) for x in (0.5, 0.6, 0.7, 0.8, 0.9)}
    return {f"{prefix}_mIoU": sum(ious) / len(ious), f"{prefix}_cIoU": shared / united, **share}


def test_boxes_are_united_before_they_are_compared():
    # two of 10 x 10 that overlap by half cover 150; the truth covers 200, 150 of it are shared
    found = answer([[0, 0, 10, 10], [5, 0, 15, 10]], [0.9, 0.8])
    assert values(fill(phrase_cut_metrics(), (found, phrase([[0, 0, 20, 10]]))))["box_mIoU"] == 0.75


def test_areas_are_exact_between_the_pixels():
    found, wanted = np.array([[0.25, 0, 1.5, 2], [1, 1, 2, 3]]), np.array([[0.5, 0.5, 1.75, 2.5]])
    # found covers 2.5 + 2 - .5; of the truth, 1.25 x 2, it covers 1 x 1.5 and .25 x 1.5 and .5 x .5
    shared = 1.5 + 0.375 + 0.25
    assert common_areas(found, wanted) == pytest.approx((shared, 4 + 2.5 - shared))


def test_the_mean_is_over_phrases_and_the_cumulative_over_their_areas():
    pairs = [(answer([[0, 0, 1, 1]], [0.9]), phrase([[0, 0, 1, 1]])), (answer([[0, 0, 10, 10]], [0.9]), phrase([[0, 0, 10, 20]]))]
    told = values(fill(phrase_cut_metrics(), *pairs))
    assert told["box_mIoU"] == 0.75 and told["box_cIoU"] == pytest.approx(101 / 201)


def test_a_phrase_at_a_threshold_is_not_above_it():
    told = values(fill(phrase_cut_metrics(), (answer([[0, 0, 10, 10]], [0.9]), phrase([[0, 0, 10, 20]]))))
    assert told["box_mIoU"] == 0.5 and told["box_P@0.5"] == 0
    told = values(fill(phrase_cut_metrics(), (answer([[0, 0, 10, 7]], [0.9]), phrase([[0, 0, 10, 10]]))))
    assert (told["box_P@0.5"], told["box_P@0.6"], told["box_P@0.7"]) == (1, 1, 0)


def test_a_box_at_the_threshold_is_not_part_of_the_answer():
    boxes = [[0, 0, 10, 10], [10, 0, 20, 10]]
    pair = (answer(boxes, [0.7, 0.71]), phrase(boxes))
    assert values(fill(phrase_cut_metrics(), pair))["box_mIoU"] == 0.5
    assert values(fill(phrase_cut_metrics(threshold=0.6), pair))["box_mIoU"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_all_numbers_are_those_of_every_pixel_looked_at(seed):
    pairs = phrases(seed=seed)
    assert values(fill(phrase_cut_metrics(masks=True), *pairs)) == pytest.approx(literal(pairs, True) | literal(pairs, False))


def test_the_masks_of_the_phrase_come_before_those_of_its_objects():
    whole, half = filled([[0, 0, 10, 10]]), filled([[0, 0, 10, 5]])
    row = phrase([[0, 0, 10, 10]], phrase_masks=[[0, 0, 10, 0, 10, 5, 0, 5], [0, 5, 10, 5, 10, 10, 0, 10]])
    row["objects"][0]["segmentation"] = coded(half)
    found = answer([[0, 0, 10, 10]], [0.9], [whole])
    assert values(fill(phrase_cut_metrics(masks=True), (found, row)))["mask_mIoU"] == 1
    del row["phrase_masks"]
    assert values(fill(phrase_cut_metrics(masks=True), (found, row)))["mask_mIoU"] == 0.5


def test_no_answer_is_a_phrase_missed():
    told = values(
        fill(phrase_cut_metrics(masks=True), (answer([], []), phrase([[0, 0, 10, 10]], phrase_masks=coded(filled([[0, 0, 9, 9]])))))
    )
    assert set(told.values()) == {0.0}


@pytest.mark.parametrize(
    ("prediction", "row", "message"),
    [
        (answer([[0, 0, 1, 1]], [0.9]), phrase([[0, 0, 1, 1]]), "task 0.*0 masks"),
        (answer([], []), {"id": 1, "objects": []}, "no height and width"),
        (answer([], []), phrase([[0, 0, 1, 1]]), "object 0 has no mask"),
        (answer([[0, 0, 1, 1]], [0.9], [np.ones((3, 3))]), phrase([], phrase_masks=[]), "detection 0 has a mask of size"),
        (answer([], []), phrase([], phrase_masks=[[0, 0]]), "the phrase has the mask"),
        (answer([[0, 0, 1, math.nan]], [0.9]), phrase([]), "not finite"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(prediction, row, message):
    with pytest.raises(BadData, match=message):
        fill(phrase_cut_metrics(masks=True), (prediction, row))


def test_unknown_before_updates_and_halves_merged_are_the_whole():
    make = partial(phrase_cut_metrics, masks=True)
    assert all(isinstance(metric, Metric) and math.isnan(metric.compute()) for metric in make().values())
    pairs = phrases(8)
    whole, first, second = fill(make(), *pairs), fill(make(), *pairs[:3]), fill(make(), *pairs[3:])
    weights = np.random.default_rng(0).multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=2).astype(float)
    for name, metric in pickle.loads(pickle.dumps(first)).items():
        metric.merge(second[name])
        metric.merge(make()[name])
        assert metric.compute() == pytest.approx(whole[name].compute())
        for row, value in zip(weights, metric.resample(weights), strict=True):
            drawn = [pair for pair, times in zip(pairs, row, strict=True) for _ in range(int(times))]
            assert value == pytest.approx(fill({name: make()[name]}, *drawn)[name].compute())
