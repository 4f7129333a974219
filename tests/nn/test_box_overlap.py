"""Boxes: hand-worked overlaps, and agreement with torchvision."""

import pytest
import torch
from torchvision import ops

from pellucid.nn.boxes import area, cxcywh_to_xyxy, generalized_iou, iou, paired_generalized_iou, xyxy_to_cxcywh


def drawn(*shape):
    return cxcywh_to_xyxy(torch.rand(*shape, 4))


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ([0, 0, 1, 1], [1, 1, 3, 3], -4 / 9),
        ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7 - 2 / 9),
        ([0, 0, 2, 2], [0.25, 0.25, 0.75, 0.75], 0.0625),
        ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0.0),
    ],
)
def test_generalized_iou_by_hand(a, b, wanted):
    one, other = torch.tensor([a], dtype=torch.float), torch.tensor([b], dtype=torch.float)
    assert float(generalized_iou(one, other)) == pytest.approx(wanted, abs=1e-6)
    assert float(paired_generalized_iou(one, other)) == pytest.approx(wanted, abs=1e-6)


def test_overlaps_are_torchvisions_and_the_reference_programs(references):
    import json

    told = json.loads((references / "detection/metrics/boxes.json").read_text())
    a, b = torch.tensor(told["a"]), torch.tensor(told["b"])
    torch.testing.assert_close(iou(a, b), torch.tensor(told["iou"]))
    torch.testing.assert_close(generalized_iou(a, b), torch.tensor(told["giou"]))


def test_overlaps_are_torchvisions():
    a, b = drawn(7), drawn(5)
    torch.testing.assert_close(iou(a, b), ops.box_iou(a, b))
    torch.testing.assert_close(generalized_iou(a, b), ops.generalized_box_iou(a, b))
    torch.testing.assert_close(area(a), ops.box_area(a))


def test_pairs_are_the_diagonal_of_all_pairs_in_any_number_of_axes():
    a, b = drawn(2, 3, 6), drawn(2, 3, 6)
    torch.testing.assert_close(paired_generalized_iou(a, b), generalized_iou(a, b).diagonal(dim1=-2, dim2=-1))


def test_the_two_ways_of_writing_a_box_undo_each_other():
    boxes = torch.rand(4, 4)
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)
    assert cxcywh_to_xyxy(torch.tensor([0.5, 0.4, 0.2, 0.4])).tolist() == pytest.approx([0.4, 0.2, 0.6, 0.6])


def test_half_precision_is_computed_in_32_bits():
    boxes = torch.tensor([[0.0, 0.0, 1000.0, 1000.0]], dtype=torch.half)  # the area does not fit 16 bits
    assert iou(boxes, boxes).item() == pytest.approx(1.0)
