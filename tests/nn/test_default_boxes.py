"""Default boxes and the offsets that lead from them to others; and which boxes are told."""

import pytest
import torch

from pellucid.nn.boxes import boxes_at, clipped, offsets_from
from pellucid.nn.default_boxes import Tiling, default_boxes
from pellucid.nn.suppression import Keep, kept


def test_the_boxes_of_two_cells_are_these():
    boxes = default_boxes([(1, 2), (1, 1)], Tiling(0.1, 0.4, 0.9, ratios=(1, 4)))
    wanted = [
        [0.25, 0.5, 0.1, 0.1],
        [0.25, 0.5, 0.2, 0.05],
        [0.25, 0.5, 0.2, 0.2],  # a square between .1 and .4
        [0.75, 0.5, 0.1, 0.1],
        [0.75, 0.5, 0.2, 0.05],
        [0.75, 0.5, 0.2, 0.2],
        [0.5, 0.5, 0.4, 0.4],
        [0.5, 0.5, 0.8, 0.2],
        [0.5, 0.5, 0.6, 0.6],  # between .4 and .9
    ]
    torch.testing.assert_close(boxes, torch.tensor(wanted))


def test_cells_run_row_after_row():
    boxes = default_boxes([(2, 3)], Tiling(ratios=()))
    assert boxes[:, :2].tolist() == [pytest.approx([(x + 0.5) / 3, (y + 0.5) / 2]) for y in range(2) for x in range(3)]


def test_ssds_scales_and_ratios_give_its_number_of_boxes():
    scales = tuple(side / 300 for side in (30, 60, 111, 162, 213, 264, 315))
    tiling = Tiling(ratios=(1 / 4, 1 / 3, 1 / 2, 1, 2, 3), scales=scales)
    boxes = default_boxes([(side, side) for side in (38, 19, 10, 5, 3, 2)], tiling)
    assert len(boxes) == 13_601
    assert tiling.scales_of(6) == list(scales)
    assert boxes[6].tolist() == pytest.approx([0.5 / 38, 0.5 / 38, 0.02**0.5, 0.02**0.5])  # between 30 and 60 pixels


def test_too_few_scales_are_refused():
    with pytest.raises(ValueError, match="2 scales for 2 maps; give 3"):
        default_boxes([(2, 2), (1, 1)], Tiling(scales=(0.1, 0.2)))


def test_offsets_lead_back_to_the_box():
    defaults, boxes = default_boxes([(3, 3), (2, 2)]), torch.rand(2, 78, 4) * 0.8 + 0.1
    torch.testing.assert_close(boxes_at(defaults, offsets_from(defaults, boxes)), boxes)
    torch.testing.assert_close(boxes_at(defaults, torch.zeros(2, 78, 4)), defaults.expand(2, -1, -1))


def test_an_offset_of_one_is_a_tenth_of_the_box_or_a_fifth_of_a_logarithm():
    default, offsets = torch.tensor([[0.5, 0.5, 0.2, 0.4]]), torch.tensor([[1.0, -1.0, 5.0, 0.0]])
    torch.testing.assert_close(boxes_at(default, offsets), torch.tensor([[0.52, 0.46, 0.2 * torch.e, 0.4]]))
    torch.testing.assert_close(boxes_at(default, offsets, (1, 1, 1, 1))[0, 0], torch.tensor(0.7))


def test_a_box_without_sides_has_offsets_that_are_numbers():
    assert offsets_from(torch.tensor([[0.5, 0.5, 0.2, 0.4]]), torch.tensor([[0.5, 0.5, 0.0, 0.0]])).isfinite().all()


def test_a_box_beyond_the_picture_loses_what_is_beyond():
    assert clipped(torch.tensor([[-0.5, 0.25, 0.5, 1.75]])).tolist() == [[0, 0.25, 0.5, 1]]


# ---- suppression --------------------------------------------------------------------------------------------------

BOXES = torch.tensor([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.45], [0.5, 0.5, 1, 1], [0, 0, 0.5, 0.5]])  # the second within the first, IoU .9


def test_the_likeliest_of_overlapping_boxes_is_told_in_each_class():
    probs = torch.tensor([[0.6, 0.0], [0.7, 0.3], [0.2, 0.005], [0.1, 0.0]])
    found = kept(probs, BOXES)
    told = list(zip(found.box.tolist(), found.label.tolist(), found.prob.tolist(), strict=True))
    assert told == [(1, 0, pytest.approx(0.7)), (1, 1, pytest.approx(0.3)), (2, 0, pytest.approx(0.2))]


def test_boxes_that_overlap_less_than_allowed_are_all_told():
    probs = torch.tensor([[0.6], [0.7], [0.2], [0.1]])
    assert kept(probs, BOXES, Keep(iou=0.95)).box.tolist() == [1, 0, 2]
    assert kept(probs, BOXES, Keep(iou=0.85)).box.tolist() == [1, 2]


def test_no_more_are_told_than_asked_for():
    low = torch.arange(12).float()[:, None] * 0.05 * torch.ones(1, 2)
    boxes = torch.cat([low, low + 0.04], 1)  # none overlap
    probs = torch.stack([torch.linspace(0.9, 0.35, 12), torch.linspace(0.3, 0.02, 12)], 1)
    assert kept(probs, boxes, Keep(per_class=5)).label.tolist() == [0] * 5 + [1] * 5
    assert kept(probs, boxes, Keep(per_class=5)).box.tolist() == [*range(5), *range(5)]
    assert kept(probs, boxes, Keep(per_class=5, total=7)).label.tolist() == [0] * 5 + [1] * 2
    assert len(kept(probs, boxes, Keep(score=0.5)).box) == int((probs > 0.5).sum())
    assert kept(probs, boxes, Keep(candidates=3)).label.tolist() == [0] * 3 + [1] * 3
    assert len(kept(probs * 0, boxes).box) == 0
