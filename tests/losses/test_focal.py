"""The focal loss by hand, against torchvision, and as binary cross-entropy."""

import math

import pytest
import torch
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from pellucid.losses.focal import focal_loss


@pytest.mark.parametrize("alpha", [None, 0.25, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_value_and_gradient_are_torchvisions(gamma, alpha):
    logits, targets = torch.randn(4, 6, 5, requires_grad=True), (torch.rand(4, 6, 5) < 0.2).float()
    theirs = sigmoid_focal_loss(logits, targets, -1 if alpha is None else alpha, gamma, reduction="sum")
    (expected,) = torch.autograd.grad(theirs, logits)
    mine = focal_loss(logits, targets, gamma, alpha)
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(torch.autograd.grad(mine, logits)[0], expected, rtol=1e-5, atol=1e-6)


def test_a_half_right_answer_costs_a_quarter_of_its_cross_entropy():
    assert focal_loss(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), reduction="none").tolist() == [[pytest.approx(math.log(2) / 4)] * 2]


def test_without_focus_it_is_binary_cross_entropy():
    logits, targets = torch.randn(3, 4), torch.rand(3, 4)
    expected = functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(focal_loss(logits, targets, 0.0, reduction="mean"), expected)


def test_the_weighted_loss_keeps_reductions_unknown_labels_and_bool_targets():
    logits, targets, present = torch.randn(3, 4), torch.rand(3, 4) < 0.3, torch.rand(3, 4) < 0.7
    entries = focal_loss(logits, targets, alpha=0.25, reduction="none") * present
    for name, divisor in {"sum": 1, "mean": present.sum(), "mean_samples": 3}.items():
        torch.testing.assert_close(focal_loss(logits, targets, 2.0, 0.25, present, name), entries.sum() / divisor)
    with pytest.raises(ValueError, match="alpha=2"):
        focal_loss(logits, targets, alpha=2.0)
