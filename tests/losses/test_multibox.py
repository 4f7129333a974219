"""The match and the loss of default boxes: hand-worked values and what must not matter."""

import math
from dataclasses import replace

import pytest
import torch

from pellucid.losses.multibox import BoxTruth, Rules, matched, multibox_losses
from pellucid.nn.boxes import offsets_from
from pellucid.nn.default_boxes import Tiling, default_boxes

# four boxes side by side, a fifth over the first two
DEFAULTS = torch.tensor([[0.125, 0.5, 0.25, 1], [0.375, 0.5, 0.25, 1], [0.625, 0.5, 0.25, 1], [0.875, 0.5, 0.25, 1], [0.25, 0.5, 0.5, 1]])
CLASSES = 20


def truth(*boxes, labels=None, known=None) -> BoxTruth:
    """Of each picture a list of boxes."""
    most = max(map(len, boxes))
    given, present = torch.full((len(boxes), most, 4), 0.5), torch.zeros(len(boxes), most, dtype=torch.bool)
    for i, own in enumerate(boxes):
        given[i, : len(own)] = torch.tensor(own).reshape(-1, 4)
        present[i, : len(own)] = True
    names = torch.zeros(len(boxes), most, dtype=torch.long) if labels is None else torch.tensor(labels)
    return BoxTruth(given, names, present, None if known is None else torch.tensor(known))


def scenes(num=4, most=5):
    boxes = torch.cat([torch.rand(num, most, 2) * 0.6 + 0.2, torch.rand(num, most, 2) * 0.3 + 0.05], -1)
    present = torch.arange(most) < torch.tensor([5, 0, 2, 3])[:, None]
    return BoxTruth(boxes, torch.randint(CLASSES, (num, most)), present)


def owners(boxes, **rules):
    real = truth(boxes)
    return matched(DEFAULTS, real.boxes_cxcywh, real.present, Rules(**rules))[0].tolist()


def test_a_box_is_of_the_object_that_it_overlaps_enough():
    assert owners([[0.375, 0.5, 0.25, 1]]) == [-1, 0, -1, -1, 0]  # the fifth box overlaps it by exactly .5
    assert owners([[0.375, 0.5, 0.25, 1]], iou=0.51) == [-1, 0, -1, -1, -1]


def test_an_object_has_its_best_box_whatever_their_overlap_and_whoever_else_would_have_it():
    assert owners([[0.125, 0.1, 0.02, 0.02]]) == [0, -1, -1, -1, -1]
    # the first object overlaps the fifth box more, but the second has no other
    assert owners([[0.125, 0.5, 0.25, 1], [0.25, 0.5, 0.4, 1]])[4] == 1


@pytest.mark.parametrize(("first_wins", "winner"), [(True, 0), (False, 1)])
def test_of_two_objects_with_one_best_box_the_rules_say_which_has_it(first_wins, winner):
    small, smaller = [0.875, 0.5, 0.02, 0.1], [0.875, 0.5, 0.02, 0.08]
    for pair in ([small, smaller], [smaller, small]):
        assert owners(pair, first_wins=first_wins) == [-1, -1, -1, winner, -1]


def test_padding_of_objects_matches_nothing():
    defaults, real = default_boxes([(8, 8), (4, 4)]), scenes()
    together = matched(defaults, real.boxes_cxcywh, real.present)
    for i, num in enumerate((5, 0, 2, 3)):
        alone = matched(defaults, real.boxes_cxcywh[i : i + 1, :num], real.present[i : i + 1, :num])
        assert torch.equal(alone[0], together[i])
        assert int(together[i].max()) == num - 1


def test_an_object_outside_of_all_boxes_has_none():
    assert owners([[0.5, 0.5, 0.0, 0.0]]) == [-1] * 5
    assert owners([]) == [-1] * 5


def test_uniform_logits_cost_four_times_their_entropy_for_each_matched_box():
    real = truth([[0.5, 0.5, 0.3, 0.4]], [], [[0.2, 0.3, 0.1, 0.1], [0.7, 0.7, 0.4, 0.4]], labels=[[3, 0], [0, 0], [19, 7]])
    defaults = default_boxes([(8, 8), (4, 4)])
    num = len(defaults)
    losses = multibox_losses(torch.zeros(3, num, CLASSES + 1), torch.zeros(3, num, 4), defaults, real)
    assert float(losses["conf"]) == pytest.approx(4 * math.log(21), rel=1e-6)


def test_offsets_cost_their_smooth_distance_at_matched_boxes_alone():
    real = truth([[0.375, 0.5, 0.25, 1]])
    code = offsets_from(DEFAULTS[[1, 4]], real.boxes_cxcywh[0, [0, 0]])
    offsets = torch.full((1, 5, 4), 99.0)
    offsets[0, [1, 4]] = code + torch.tensor([[0.5, 0, 0, 0], [0, 0, -3.0, 0]])
    losses = multibox_losses(torch.zeros(1, 5, 2), offsets, DEFAULTS, real)
    assert float(losses["loc"]) == pytest.approx((0.5**2 / 2 + (3 - 0.5)) / 2, rel=1e-5)


def test_the_worst_others_count_in_each_picture_or_in_the_whole_batch():
    """One matched box in the first picture; what others cost is said by their background logit."""
    real = truth([[0.875, 0.5, 0.25, 1]], [])
    logits = torch.zeros(2, 5, 2)
    logits[..., 0] = -torch.tensor([[1.0, 2, 3, 0, 4], [9, 8, 0, 1, 2]])  # less likely background, dearer

    def cost(x):
        return math.log1p(math.exp(x))

    def conf(**rules):
        return float(multibox_losses(logits, torch.zeros(2, 5, 4), DEFAULTS, real, Rules(**rules))["conf"])

    own = math.log(2)
    assert conf() == pytest.approx(own + cost(4) + cost(3) + cost(2), rel=1e-5)
    assert conf(negatives=1) == pytest.approx(own + cost(4), rel=1e-5)
    assert conf(per_image=False) == pytest.approx(own + cost(9) + cost(8) + cost(4), rel=1e-5)
    everything = sum(map(cost, (1, 2, 3, 4)))
    assert conf(negatives=50) == pytest.approx(own + everything, rel=1e-5)


def test_a_picture_whose_objects_nobody_marked_has_no_part():
    real = truth([[0.875, 0.5, 0.25, 1]], [[0.125, 0.5, 0.25, 1]])
    logits, offsets = torch.randn(2, 5, 2), torch.randn(2, 5, 4)
    alone = multibox_losses(logits[:1], offsets[:1], DEFAULTS, truth([[0.875, 0.5, 0.25, 1]]), Rules(per_image=False))
    for name, value in multibox_losses(
        logits, offsets, DEFAULTS, replace(real, known=torch.tensor([True, False])), Rules(per_image=False)
    ).items():
        torch.testing.assert_close(value, alone[name])


@pytest.mark.parametrize("boxes", [([], []), ([[0.5, 0.5, 0.0, 0.0]], [])])
@pytest.mark.parametrize("per_image", [True, False])
def test_no_objects_cost_exactly_nothing(boxes, per_image):
    logits, offsets = torch.randn(2, 5, 2, requires_grad=True), torch.randn(2, 5, 4, requires_grad=True)
    losses = multibox_losses(logits, offsets, DEFAULTS, truth(*boxes), Rules(per_image=per_image))
    assert [float(value) for value in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert not logits.grad.any() and not offsets.grad.any()


def test_gradients_are_finite_for_a_box_of_one_pixel_and_reach_only_what_counts():
    defaults, real = default_boxes([(8, 8)], Tiling()), truth([[0.3, 0.3, 1e-3, 1e-3]])
    num = len(defaults)
    logits, offsets = torch.randn(1, num, 3, requires_grad=True), torch.randn(1, num, 4, requires_grad=True)
    sum(multibox_losses(logits, offsets, defaults, real).values()).backward()
    assert logits.grad.isfinite().all() and offsets.grad.isfinite().all()
    assert int(offsets.grad.any(-1).sum()) == 1
    assert int(logits.grad.any(-1).sum()) == 4


def test_the_loss_ignores_the_order_of_objects_whose_best_boxes_differ():
    defaults, real = default_boxes([(8, 8), (4, 4)]), scenes()
    apart = torch.tensor([[0.2, 0.2], [0.8, 0.2], [0.2, 0.8], [0.8, 0.8], [0.5, 0.5]])
    real = replace(real, boxes_cxcywh=torch.cat([apart.expand(4, -1, -1), real.boxes_cxcywh[..., 2:]], -1))
    logits, offsets = torch.randn(4, len(defaults), CLASSES + 1), torch.randn(4, len(defaults), 4)
    back = BoxTruth(real.boxes_cxcywh.flip(1), real.labels.flip(1), real.present.flip(1))
    before, after = (multibox_losses(logits, offsets, defaults, one) for one in (real, back))
    for name in before:
        torch.testing.assert_close(before[name], after[name])


def test_numbers_of_half_precision_are_summed_in_32_bits():
    defaults, real = default_boxes([(8, 8), (4, 4)]), scenes()
    logits, offsets = torch.randn(4, len(defaults), CLASSES + 1).bfloat16(), torch.randn(4, len(defaults), 4).bfloat16()
    for name, value in multibox_losses(logits, offsets, defaults, real).items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, multibox_losses(logits.float(), offsets.float(), defaults, real)[name])
