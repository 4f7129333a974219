"""Losses of pixels: void costs nothing, and what is any object is told from what is none."""

import math

import pytest
import torch

from pellucid.losses.segmentation import VOID, agnostic_labels, pixel_loss, segmentation_losses


def drawn(num=2, side=8):
    labels = torch.randint(21, (num, side, side))
    labels[:, :2] = VOID
    return labels


def test_uniform_logits_cost_their_entropy_at_every_scale():
    labels = drawn()
    aware, agnostic = [torch.zeros(2, 21, side, side) for side in (8, 4, 1)], [torch.zeros(2, 2, side, side) for side in (8, 3)]
    losses = segmentation_losses(labels, torch.zeros(2, 21, 4, 4), aware, agnostic)
    assert {name: float(value) for name, value in losses.items()} == {
        "map": pytest.approx(math.log(21), abs=1e-5),
        "aware": pytest.approx(3 * math.log(21), abs=1e-5),
        "agnostic": pytest.approx(2 * math.log(2), abs=1e-5),
    }


def test_a_map_alone_has_one_loss():
    assert set(segmentation_losses(drawn(), torch.zeros(2, 21, 4, 4))) == {"map"}


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
def test_any_class_is_an_object_and_void_stays_void(kind):
    labels = torch.tensor([[[0, 1, 20, VOID]]], dtype=kind)
    assert agnostic_labels(labels).tolist() == [[[0, 1, 1, VOID]]]


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
def test_pictures_that_are_all_void_cost_exactly_nothing(kind):
    labels = torch.full((2, 8, 8), VOID, dtype=kind)
    given = [torch.randn(2, c, 4, 4, requires_grad=True) for c in (21, 21, 2)]
    losses = segmentation_losses(labels, given[0], [given[1]], [given[2]])
    assert [float(value) for value in losses.values()] == [0, 0, 0]
    sum(losses.values()).backward()
    assert all(not one.grad.any() for one in given)


def test_a_picture_that_is_all_void_changes_nothing_for_the_others():
    labels, logits = drawn(3), torch.randn(3, 21, 4, 4)
    labels[1] = VOID
    rest = torch.tensor([0, 2])
    torch.testing.assert_close(pixel_loss(logits, labels), pixel_loss(logits[rest], labels[rest]))


def test_the_loss_is_a_mean_over_pixels_that_are_not_void():
    logits = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    labels = torch.tensor([[[0, 1], [1, VOID]]])
    wrong, right = math.log1p(math.exp(2)), math.log1p(math.exp(-2))
    assert float(pixel_loss(logits, labels)) == pytest.approx((wrong + 2 * right) / 3, rel=1e-6)


def test_logits_are_enlarged_between_the_middles_of_cells_or_of_corners():
    """Two cells to four pixels: weights 1, 3/4, 1/4, 0 between middles, 1, 2/3, 1/3, 0 between corners."""
    logits = torch.tensor([[[[4.0, 0.0]], [[0.0, 0.0]]]])
    labels = torch.zeros(1, 1, 4, dtype=torch.long)
    for align, weights in ((False, (1, 0.75, 0.25, 0)), (True, (1, 2 / 3, 1 / 3, 0))):
        wanted = sum(math.log1p(math.exp(-4 * w)) for w in weights) / 4
        assert float(pixel_loss(logits, labels, align)) == pytest.approx(wanted, rel=1e-5)
