"""Losses of predicted picture errors by hand and at their edges, and labels bent and bent back."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from pellucid.errors import BadData
from pellucid.tasks.quality.linearise import Linearised
from pellucid.tasks.quality.loss import mean_absolute, pearson_loss, preference_loss, rank_loss, weighted

LOSSES = [mean_absolute, rank_loss, pearson_loss]
LEVEL, VARIED = (0.3, 0.3, 0.3), (0.1, 0.7, 0.4)


def row(*numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


def with_gradient(loss, errors, *rest, **told):
    errors = errors.clone().requires_grad_()
    value = loss(errors, *rest, **told)
    (slope,) = torch.autograd.grad(value, errors)
    return value, slope


def test_two_pictures_in_the_wrong_order_cost_one_of_each():
    errors, targets = row(1, 0), row(0, 1)
    assert mean_absolute(errors, targets) == 1
    assert rank_loss(errors, targets).item() == pytest.approx(1, abs=2e-6)  # 1 apart, of 1 at most
    assert pearson_loss(errors, targets, published=True) == 1  # a correlation of -1, held to 0
    assert pearson_loss(errors, targets).item() == pytest.approx(2, abs=1e-5)


def test_right_errors_and_twice_the_right_errors_are_in_order():
    targets = row(0.1, 0.5, 0.2)
    assert rank_loss(targets, targets) == rank_loss(2 * targets, targets) == mean_absolute(targets, targets) == 0
    assert pearson_loss(2 * targets, targets).item() == pytest.approx(0, abs=1e-5)


def test_the_rank_loss_is_averaged_over_all_pairs_and_relative_to_the_larger_error():
    # pairs: (.4, .2) wrong by .2 of .4; (.4, .8) right; (.2, .8) right
    assert rank_loss(row(0.4, 0.2, 0.8), row(0.1, 0.3, 0.9)).item() == pytest.approx(0.5 / 3, abs=1e-5)


def test_the_floor_holds_the_rank_loss_near_zero():
    errors, targets = row(2e-6, 1e-6), row(0, 1)
    loose, steep = with_gradient(rank_loss, errors, targets, 0.0)
    held, slope = with_gradient(rank_loss, errors, targets, 0.1)
    assert loose.item() == pytest.approx(0.5, abs=1e-5) and steep.abs().max() > 1e5
    assert held.item() == pytest.approx(1e-5, rel=1e-3) and slope.tolist() == pytest.approx([10, -10], rel=1e-3)
    assert rank_loss(row(-0.3, -0.4), row(1, 0), 0.3) == rank_loss(row(-0.3, -0.4), row(1, 0), 0.0)  # magnitudes are held, not errors


def test_wrongly_correlated_predictions_learn_unless_as_published():
    errors, targets = row(0.9, 0.1, 0.3), row(0.1, 0.8, 0.9)
    assert with_gradient(pearson_loss, errors, targets, published=True)[1].abs().max() == 0
    slope = with_gradient(pearson_loss, errors, targets)[1]
    assert pearson_loss(errors - 0.1 * slope, targets) < pearson_loss(errors, targets)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("errors", "targets"),
    [((), ()), ((0.3,), (0.7,)), (LEVEL, VARIED), (VARIED, LEVEL), (LEVEL, LEVEL), ((0, 0), (0, 0))],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_edges_have_finite_values_and_gradients(loss, errors, targets, dtype):
    for told in ({}, {"floor": 0.0} if loss is rank_loss else {"published": True} if loss is pearson_loss else {}):
        value, slope = with_gradient(loss, row(*errors, dtype=dtype), row(*targets, dtype=dtype), **told)
        assert value.dtype == torch.float32 and torch.isfinite(value) and torch.isfinite(slope).all()


@pytest.mark.parametrize(
    ("errors", "targets", "cost"), [(LEVEL, VARIED, 1), (VARIED, LEVEL, 0), (LEVEL, LEVEL, 0), ((0.3,), (0.7,), 0), ((), (), 0)]
)
def test_where_there_is_no_correlation_nothing_is_learnt(errors, targets, cost):
    value, slope = with_gradient(pearson_loss, row(*errors), row(*targets))
    assert value == cost and slope.abs().sum() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_computed_in_single(loss):
    errors = torch.rand(32).bfloat16()
    targets = torch.rand(32)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(errors, targets)
    assert found.dtype == torch.float32 and found == loss(errors.float(), targets)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(loss):
    errors, targets = torch.randn(6, dtype=torch.float64, requires_grad=True), torch.rand(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda e: loss(e, targets), errors)


def test_a_step_downhill_makes_the_preferred_picture_the_better_one():
    both = [row(0.4).requires_grad_(), row(0.4).requires_grad_()]
    slope_a, slope_b = torch.autograd.grad(preference_loss(*both, row(0.9)), both)
    assert slope_a > 0 > slope_b  # A is preferred: its error is to fall
    # sigmoid(1 (.7 - .2)) = .62246; sigmoid(2 * .5) = .73106
    assert preference_loss(row(0.2), row(0.7), row(1.0)).item() == pytest.approx((1 - 0.6224593) ** 2, abs=1e-6)
    assert preference_loss(row(0.2), row(0.7), row(1.0), slope=2.0, kind="mae").item() == pytest.approx(1 - 0.7310586, abs=1e-6)


def test_pictures_told_the_other_way_round_cost_the_same():
    a, b, preference = torch.rand(3, 8).double().unbind()
    there, back = preference_loss(a, b, preference), preference_loss(b, a, 1 - preference)
    assert there.item() == pytest.approx(back.item(), abs=1e-12)
    assert preference_loss(a[:0], b[:0], preference[:0]) == 0


def test_the_slope_of_preferences_can_be_learnt():
    slope = torch.tensor(1.0, requires_grad=True)
    preference_loss(row(0.1).float(), row(0.9).float(), row(1.0).float(), slope).backward()
    assert slope.grad < 0  # people are surer than the model: a larger slope costs less


def test_parts_are_averaged_by_their_weights_and_none_is_left_out_unasked():
    parts = {"mae": torch.tensor(0.5), "rank": torch.tensor(0.25), "pearson": torch.tensor(1.0)}
    told = {"mae": 0.75, "rank": 1.0, "pearson": 0.2}
    assert sum(weighted(parts, told).values()).item() == pytest.approx((0.375 + 0.25 + 0.2) / 1.95, abs=1e-6)
    assert sum(weighted(parts | {"mae": torch.tensor(math.nan)}, told | {"mae": 0.0}).values()).item() == pytest.approx(
        0.45 / 1.2, abs=1e-6
    )
    for wrong in ({"mae": 1.0}, told | {"preference": 1.0}, told | {"mae": -1.0}, dict.fromkeys(told, 0.0)):
        with pytest.raises(ValueError, match="weights"):
            weighted(parts, wrong)


def test_a_negative_floor_is_refused():
    with pytest.raises(ValueError, match="floor=-1"):
        rank_loss(row(1), row(1), -1.0)


# ---- labels ---------------------------------------------------------------------------------------------------------


def skewed(n=200):
    return np.random.default_rng(0).beta(5, 1.5, n)


def clusters():
    """Bad pictures and good ones; the curve first fitted to them falls in the middle."""
    return np.array([0.001] * 3 + [0.003] * 6 + [0.008] * 4 + [0.93] * 3 + [0.95, 0.956, 0.979, 0.983])


@pytest.mark.parametrize("labels", [skewed(), clusters(), 5 * skewed(8) - 2, np.array([0.0] * 5 + [1.0])])
def test_bending_keeps_order_and_ends_and_can_be_undone(labels):
    bend = Linearised.fit(labels)
    bent = bend.apply(labels)
    assert bent.min() == 0 and bent.max() == pytest.approx(1, abs=1e-12)
    assert (np.diff(bent[np.argsort(labels, kind="stable")]) >= -1e-12).all()
    beyond = np.linspace(labels.min() - np.ptp(labels), labels.max() + np.ptp(labels), 301)
    np.testing.assert_allclose(bend.undo(bend.apply(beyond)), beyond, atol=1e-6 * np.ptp(labels))
    assert (np.diff(bend.undo(np.linspace(-1, 2, 301))) >= 0).all()


def test_bent_labels_are_near_their_share_of_rank():
    labels = np.sort(skewed())
    share = np.arange(len(labels)) / (len(labels) - 1)
    assert np.abs(Linearised.fit(labels).apply(labels) - share).max() < 0.06 < 0.25 < np.abs(labels - share).max()


def test_a_bend_is_the_same_after_being_written():
    bend = Linearised.fit(skewed())
    assert Linearised(**json.loads(json.dumps(asdict(bend)))) == bend


def test_labels_that_cannot_be_linearised_are_refused():
    for labels in ([], [0.1, 0.2, 0.3, 0.4, 0.5], [0.5] * 9):
        with pytest.raises(BadData, match=f"{len(labels)} labels.*linearise=false"):
            Linearised.fit(labels)
    with pytest.raises(ValueError, match="five numbers and a range"):
        Linearised((1.0, 2.0), 0.0, 1.0)
