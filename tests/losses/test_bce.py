"""Cross-entropies whose targets are smoothed, mixed or thresholded."""

import math
import warnings

import pytest
import torch
from torch.nn import functional

from pellucid.losses.bce import binary_cross_entropy, smoothed, soft_cross_entropy


def one_hot(labels, classes=5):
    return functional.one_hot(labels, classes).float()


def mixed(share, first=0, second=3):
    return share * one_hot(torch.tensor([first])) + (1 - share) * one_hot(torch.tensor([second]))


def test_logits_of_zero_cost_log_two_whatever_the_target():
    for targets in (one_hot(torch.tensor([0, 1])), torch.rand(2, 5)):
        for settings in ({}, {"smoothing": 0.1}, {"threshold": 0.2}):
            assert binary_cross_entropy(torch.zeros(2, 5), targets, **settings).item() == pytest.approx(math.log(2))


def test_the_gradient_is_the_error_over_classes_and_examples():
    logits, targets = torch.randn(3, 5, requires_grad=True), torch.rand(3, 5)
    binary_cross_entropy(logits, targets).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().sigmoid() - targets) / 15)
    logits.grad = None
    binary_cross_entropy(logits, targets, sum_classes=True).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().sigmoid() - targets) / 3)


def test_smoothing_leaves_the_sum_and_gives_every_class_its_part():
    assert smoothed(one_hot(torch.tensor([1])), 0.1).tolist() == [[pytest.approx(v) for v in (0.02, 0.92, 0.02, 0.02, 0.02)]]
    assert smoothed(torch.softmax(torch.randn(4, 5), -1), 0.3).sum(-1).tolist() == pytest.approx([1] * 4)
    with pytest.raises(ValueError, match="smoothing=1"):
        smoothed(torch.zeros(1, 5), 1.0)


def test_smoothing_before_mixing_is_smoothing_after_it():
    early = 0.7 * smoothed(one_hot(torch.tensor([0])), 0.1) + 0.3 * smoothed(one_hot(torch.tensor([3])), 0.1)
    torch.testing.assert_close(early, smoothed(mixed(0.7), 0.1))


@pytest.mark.parametrize(("share", "kept"), [(0.7, [0, 3]), (0.81, [0]), (0.5, [0, 3]), (0.19, [3]), (1.0, [0])])
def test_a_threshold_keeps_the_classes_whose_share_is_above_it(share, kept):
    logits, marks = torch.randn(1, 5), torch.zeros(1, 5)
    marks[0, kept] = 1
    torch.testing.assert_close(binary_cross_entropy(logits, mixed(share), threshold=0.2), binary_cross_entropy(logits, marks))


def test_a_share_exactly_at_the_threshold_is_not_above_it():
    logits = torch.randn(1, 4)
    found = binary_cross_entropy(logits, torch.tensor([[0.75, 0.25, 0.0, 0.0]]), threshold=0.25)
    torch.testing.assert_close(found, binary_cross_entropy(logits, torch.tensor([0])))


def test_a_threshold_leaves_nothing_of_the_smoothing_and_says_so():
    logits, labels = torch.randn(3, 5), torch.tensor([0, 4, 2])
    with pytest.warns(UserWarning, match="undoes smoothing"):
        both = binary_cross_entropy(logits, labels, smoothing=0.1, threshold=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(both, binary_cross_entropy(logits, labels, threshold=0.2))
        assert torch.equal(both, binary_cross_entropy(logits, labels))


def test_unknown_labels_neither_cost_nor_count():
    logits, targets, present = torch.randn(3, 5, requires_grad=True), torch.rand(3, 5), torch.rand(3, 5) < 0.6
    entries = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none") * present
    marked = targets.masked_fill(~present, float("nan"))
    loss = binary_cross_entropy(logits, marked, present=present)
    torch.testing.assert_close(loss, entries.sum() / present.sum())
    torch.testing.assert_close(binary_cross_entropy(logits, marked, sum_classes=True, present=present), entries.sum() / 3)
    loss.backward()
    assert torch.equal(logits.grad == 0, ~present)


def test_soft_cross_entropy_is_torchs_with_and_without_smoothing():
    logits, labels = torch.randn(4, 5), torch.tensor([0, 4, 2, 2])
    for smoothing in (0.0, 0.1):
        expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        torch.testing.assert_close(soft_cross_entropy(logits, labels, smoothing), expected)
        torch.testing.assert_close(soft_cross_entropy(logits, one_hot(labels), smoothing), expected)


def test_half_precision_logits_cost_what_they_cost_in_full():
    logits, labels = (torch.randn(4, 5) * 50).half(), torch.tensor([0, 4, 2, 2])
    for loss in (binary_cross_entropy, soft_cross_entropy):
        assert loss(logits, labels).dtype == torch.float32
        assert torch.equal(loss(logits, labels), loss(logits.float(), labels))
