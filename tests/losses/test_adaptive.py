"""The focusing exponent that adjusts itself: its direction, its bounds, and where it comes to rest."""

import math

import pytest
import torch
from torch import nn

from pellucid.losses.asymmetric import AdaptiveAsymmetry, Asymmetry, asymmetric_loss


def logit(p):
    return math.log(p / (1 - p))


def test_gamma_rises_while_the_gap_is_below_its_target_and_falls_above():
    sure, blank = torch.tensor([[3.0, -3.0]]), torch.tensor([[-3.0, -3.0]])
    targets = torch.tensor([[1.0, 0.0]])
    for logits, direction in ((sure, -1), (blank, 1)):  # gap 0 and -.9 against -.5
        focus = AdaptiveAsymmetry(target=-0.5, start=2.0)
        focus.update(logits, targets)
        assert math.copysign(1, float(focus.gamma_neg) - 2) == direction


def test_one_step_by_hand():
    focus = AdaptiveAsymmetry(target=0.1, start=1.0, rate=0.5, momentum=0.75)
    logits, targets = torch.tensor([[logit(0.4), logit(0.2), logit(0.6)]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert focus(logits, targets).item() == 1  # the batch is charged by what came before it
    assert focus.gap.item() == pytest.approx(0.4 - (0.8 + 0.4) / 2)
    assert focus.gamma_neg.item() == pytest.approx(1 + 0.5 * (0.1 + 0.2))
    targets[0, 2] = float("nan")  # whatever marks the unknown
    focus(torch.tensor([[logit(0.9), logit(0.3), 0.0]]), targets, torch.tensor([[True, True, False]]))
    assert focus.gap.item() == pytest.approx(0.75 * -0.2 + 0.25 * (0.9 - 0.7))


def test_a_batch_without_positives_or_in_evaluation_moves_nothing():
    focus = AdaptiveAsymmetry(start=2.0)
    focus(torch.randn(2, 3), torch.zeros(2, 3))
    focus.eval()(torch.randn(2, 3), torch.eye(3)[:2])
    assert focus.gamma_neg.item() == 2 and focus.gap.isnan()


def test_gamma_stays_within_its_bounds_and_travels_with_the_weights():
    focus = AdaptiveAsymmetry(target=1.0, rate=100.0)
    focus(torch.randn(2, 3), torch.eye(3)[:2])
    assert focus.gamma_neg.item() == 8
    again = AdaptiveAsymmetry()
    again.load_state_dict(focus.state_dict())
    assert again.gamma_neg.item() == 8 and again.gap.item() == focus.gap.item()
    with pytest.raises(ValueError, match="start=9"):
        AdaptiveAsymmetry(start=9.0)


@pytest.mark.slow
@pytest.mark.parametrize("target", [0.0, 0.1, 0.2])
def test_in_500_steps_the_gap_comes_to_its_target(target):
    inputs = torch.randn(900, 8)
    leaning = inputs @ torch.randn(8, 10) + 3 * torch.randn(900, 10)
    targets = (leaning > leaning.quantile(0.97)).float()
    model, focus = nn.Linear(8, 10), AdaptiveAsymmetry(target, rate=0.5, momentum=0.8)
    adam = torch.optim.Adam(model.parameters(), 0.3)
    for step in range(500):
        rows = slice(step % 3 * 300, step % 3 * 300 + 300)
        logits = model(inputs[rows])
        loss = asymmetric_loss(logits, targets[rows], Asymmetry(focus(logits, targets[rows]), 0, 0.2), reduction="mean_samples")
        adam.zero_grad()
        loss.backward()
        adam.step()
    probs = model(inputs).detach().sigmoid()
    assert abs(float(focus.gap) - target) < 0.02
    assert abs(float(probs[targets == 1].mean() - (1 - probs[targets == 0]).mean()) - target) < 0.02


def half_of_the_batch(rank, address, logits, targets, found):
    torch.distributed.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=2)
    focus = AdaptiveAsymmetry(start=2.0)
    focus.update(logits[rank::2], targets[rank::2])
    found[rank] = torch.stack([focus.gap, focus.gamma_neg])
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_move_gamma_as_one_does_with_both_their_batches(tmp_path):
    logits, targets, found = torch.randn(5, 4), torch.zeros(5, 4), torch.zeros(2, 2).share_memory_()
    targets[0, :2] = targets[2, 3] = 1  # all of the first process
    torch.multiprocessing.spawn(half_of_the_batch, (tmp_path / "meeting", logits, targets, found), nprocs=2)
    one = AdaptiveAsymmetry(start=2.0)
    one.update(logits, targets)
    torch.testing.assert_close(found, torch.stack([one.gap, one.gamma_neg]).expand(2, 2))
