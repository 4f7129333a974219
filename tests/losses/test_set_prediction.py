"""The match and the loss of a set: hand-worked values and what must not matter."""

import itertools
import math

import pytest
import torch

from pellucid.losses.masks import dice, enlarged, mask_losses
from pellucid.losses.matching import Costs, match, pair_costs
from pellucid.losses.set_prediction import Truth, Weights, class_amount, named, set_losses
from pellucid.nn.boxes import cxcywh_to_xyxy, generalized_iou

NONE = torch.zeros(0, dtype=torch.long), torch.zeros(0, 4)


def outputs(layers=2, examples=3, queries=6, classes=4):
    return torch.randn(layers, examples, queries, classes + 1), torch.rand(layers, examples, queries, 4) * 0.4 + 0.2


def truth(*sizes, classes=4):
    return Truth([torch.randint(classes, (n,)) for n in sizes], [torch.rand(n, 4) * 0.4 + 0.2 for n in sizes])


def test_the_cost_of_a_pair_is_the_papers():
    logits, boxes = outputs()
    real = truth(2, 0, 3)
    cost = pair_costs(logits, boxes, real.classes, real.boxes, Costs(1, 5, 2))
    example = torch.tensor([0, 0, 2, 2, 2])
    for (t, j), layer in itertools.product(enumerate(example.tolist()), range(2)):
        label, box = torch.cat(list(real.classes))[t], torch.cat(list(real.boxes))[t]
        prob = logits[layer, j].softmax(-1)[:, label]
        overlap = generalized_iou(cxcywh_to_xyxy(boxes[layer, j]), cxcywh_to_xyxy(box[None]))[:, 0]
        wanted = 5 * (boxes[layer, j] - box).abs().sum(-1) - prob - 2 * (overlap + 1)
        torch.testing.assert_close(cost[t, layer], wanted)


def test_no_other_pairing_is_cheaper():
    logits, boxes = outputs(1, 1, 5)
    real = truth(3)
    found = match(logits, boxes, real.classes, real.boxes)
    cost = pair_costs(logits, boxes, real.classes, real.boxes, Costs())[:, 0]
    least = min(sum(cost[t, q] for t, q in enumerate(queries)) for queries in itertools.permutations(range(5), 3))
    assert float(cost[found.target, found.query].sum()) == pytest.approx(float(least), abs=1e-5)


def test_matching_ignores_the_order_of_the_objects():
    logits, boxes = outputs()
    real, flip = truth(3, 0, 2), [torch.tensor([2, 0, 1]), torch.zeros(0, dtype=torch.long), torch.tensor([1, 0])]
    turned = Truth(*([v[f] for v, f in zip(values, flip, strict=True)] for values in (real.classes, real.boxes)))
    there, back = match(logits, boxes, real.classes, real.boxes), match(logits, boxes, turned.classes, turned.boxes)
    assert torch.equal(there.query, back.query)
    originals = [flip[int(j)][int(t)] for j, t in zip(back.example, back.target, strict=True)]
    assert torch.equal(there.target, torch.stack(originals))
    for name, value in set_losses(logits, boxes, real, there).items():
        torch.testing.assert_close(value, set_losses(logits, boxes, turned, back)[name])


def test_a_pair_that_is_not_allowed_is_not_matched():
    logits, boxes = outputs(1, 1, 4)
    real = truth(2)
    allowed = torch.tensor([[True, False], [True, False], [False, True], [False, True]])
    found = match(logits, boxes, real.classes, real.boxes, allowed=[allowed])
    assert allowed[found.query, found.target].all()


def test_more_objects_than_queries_leave_some_without():
    logits, boxes = outputs(1, 1, 7)
    real = truth(9)
    found = match(logits, boxes, real.classes, real.boxes)
    assert len(found.query) == 7
    parts = set_losses(logits, boxes, real, found)
    given, wanted = boxes[0, 0, found.query], real.boxes[0][found.target]
    assert float(parts["bbox"]) == pytest.approx(5 * float((given - wanted).abs().sum()) / 9, rel=1e-5)


def test_numbers_that_are_none_do_not_stop_the_match():
    logits, boxes = outputs(1, 2)
    boxes[0, 0, 2] = math.nan
    logits[0, 1] = math.nan
    real = truth(2, 2)
    found = match(logits, boxes, real.classes, real.boxes)
    assert len(found.query) == 4
    assert 2 not in found.query[found.example == 0]


def test_a_batch_without_objects_pays_for_its_classes_alone():
    logits, boxes = outputs(2, 2)
    real = Truth([NONE[0]] * 2, [NONE[1]] * 2)
    parts = set_losses(logits, boxes, real, match(logits, boxes, real.classes, real.boxes))
    wanted = -logits.log_softmax(-1)[..., -1].mean((1, 2))
    torch.testing.assert_close(parts["ce"], wanted)
    assert parts["bbox"].tolist() == parts["giou"].tolist() == [0, 0]


def test_cross_entropy_weighs_queries_without_an_object_a_tenth():
    logits = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])  # one class and no-object, two queries
    boxes = torch.tensor([[[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]]])
    real = Truth([torch.tensor([0])], [boxes[0, 0, :1]])
    parts = set_losses(logits, boxes, real, match(logits, boxes, real.classes, real.boxes))
    first, second = math.log(1 + math.exp(-2)), math.log(2)
    assert float(parts["ce"]) == pytest.approx((first + 0.1 * second) / 1.1, abs=1e-6)
    assert float(parts["bbox"]) == float(parts["giou"]) == pytest.approx(0, abs=1e-6)
    assert class_amount([1], 2, 0.1) == pytest.approx(1.1)


def test_parts_are_weighted_and_named_by_layer():
    logits, boxes = outputs(3, 2)
    real = truth(1, 2)
    matches = match(logits, boxes, real.classes, real.boxes)
    plain, heavy = (set_losses(logits, boxes, real, matches, w) for w in (Weights(1, 1, 1), Weights(2, 3, 4)))
    for name, factor in (("ce", 2), ("bbox", 3), ("giou", 4)):
        torch.testing.assert_close(heavy[name], factor * plain[name])
    told = named(plain)
    assert set(told) == {f"{n}{i}" for n in ("ce", "bbox", "giou") for i in ("", "_0", "_1")}
    assert told["ce"] == plain["ce"][2]
    assert told["ce_1"] == plain["ce"][1]


def test_mask_losses_by_hand():
    logits, mask = torch.zeros(1, 2, 2), torch.ones(8, 8, dtype=torch.bool)
    found = mask_losses(logits, [mask], (8, 8), 2)
    assert float(found["mask"]) == pytest.approx(0.25 * 0.25 * math.log(2) / 2)
    assert float(found["dice"]) == pytest.approx((1 - (2 * 32 + 1) / (32 + 64 + 1)) / 2)
    assert float(mask_losses(logits, [~mask], (8, 8), 1)["mask"]) == pytest.approx(0.75 * 0.25 * math.log(2))
    assert float(dice(torch.ones(4), torch.ones(4))) == 0


def test_mask_losses_are_the_reference_programs(references):
    import json

    told = json.loads((references / "detection/metrics/mask_losses.json").read_text())
    from pellucid.losses.focal import focal_loss

    logits, targets = torch.tensor(told["logits"]), torch.tensor(told["targets"])
    focal = focal_loss(logits, targets, alpha=0.25, reduction="none").mean(1).sum() / told["num_boxes"]
    assert float(focal) == pytest.approx(told["focal_alpha.25_gamma2"], rel=1e-5)
    found = sum(dice(p, t) for p, t in zip(logits.sigmoid(), targets, strict=True)) / told["num_boxes"]
    assert float(found) == pytest.approx(told["dice"], rel=1e-5)


def test_what_lies_beside_a_picture_has_no_part_in_its_mask():
    logits = torch.randn(1, 6, 6)
    other = logits.clone()
    other[:, 4:], other[:, :, 3:] = 9.0, -9.0
    assert torch.equal(enlarged(logits, (14, 10)), enlarged(other, (14, 10)))
