"""The mixture against hand-worked values, autograd, finite differences and plain sampling."""

import math

import numpy as np
import pytest
import torch

from pellucid.tasks.synthetic.mixture import OFFICIAL_EPS, Mixture

PAIR = torch.tensor([[0.0, 0.3], [0.25, 0.3]], dtype=torch.float64)


@pytest.fixture(params=[0.0, OFFICIAL_EPS])
def pair(request):
    """Two points a spacing apart along the first column, the first of class 1."""
    return Mixture(PAIR, torch.tensor([1, 0]), eps=request.param)


@pytest.fixture
def many():
    draw = torch.Generator().manual_seed(0)
    return Mixture(torch.randn(12, 4, generator=draw, dtype=torch.float64) * 0.3, torch.arange(12) % 2)


def test_a_point_of_a_pair_is_its_own_class_with_probability_88_percent(pair):
    assert pair(PAIR)[0, 1].item() == pytest.approx(0.880797, abs=1e-6)


def test_the_other_column_says_nothing_and_no_column_the_mean(pair):
    known = torch.tensor([[False, False], [False, True], [True, False], [True, True]])
    found = pair.marginal(PAIR, known)[:, 0, 1].tolist()
    assert found == pytest.approx([0.5, 0.5, 0.880797, 0.880797], abs=1e-6)


def test_the_slope_in_the_middle_of_a_pair_is_four(pair):
    middle = PAIR.mean(0, keepdim=True)
    assert pair.gradient(middle)[0].tolist() == pytest.approx([-4.0, 0.0], abs=1e-5)


def test_the_gradient_is_autograds_and_that_of_finite_differences(many):
    points = torch.randn(7, 4, dtype=torch.float64) * 0.3
    found = many.gradient(points).detach()
    moved = points.clone().requires_grad_()
    (expected,) = torch.autograd.grad(many(moved)[:, 1].sum(), moved)
    assert torch.allclose(found, expected, atol=1e-6)
    step = 1e-5 * torch.eye(4, dtype=torch.float64)
    with torch.no_grad():
        slopes = torch.stack([(many(points + e)[:, 1] - many(points - e)[:, 1]) / 2e-5 for e in step], dim=1)
    assert torch.allclose(found, slopes, atol=1e-5)


def test_conditionals_are_those_of_sampling():
    """P(label | x_0 near a value) of two million draws."""
    points = np.array([[0.0, 0.0], [0.25, 0.0], [0.0, 0.25]])
    mixture = Mixture(torch.tensor(points), torch.tensor([1, 0, 0]))
    rng = np.random.default_rng(0)
    origin = rng.integers(3, size=2_000_000)
    first = points[origin, 0] + rng.normal(0, 0.125, len(origin))
    near = np.abs(first - 0.1) < 0.005
    wanted = (origin[near] == 0).mean()
    known = torch.tensor([[True, False]])
    found = mixture.marginal(torch.tensor([[0.1, 5.0]], dtype=torch.float64), known)[0, 0, 1].item()
    assert found == pytest.approx(wanted, abs=0.01)


def test_probabilities_sum_to_one_however_far_away(many):
    far = torch.full((1, 4), 50.0, dtype=torch.float64)
    assert many(far).sum().item() == pytest.approx(1)
    assert torch.isfinite(many.gradient(far)).all()


def test_with_the_authors_eps_all_vanishes_far_away():
    mixture = Mixture(PAIR, torch.tensor([1, 0]), eps=OFFICIAL_EPS)
    assert mixture(PAIR + 30).sum().item() == pytest.approx(0, abs=1e-12)


def test_the_variance_of_a_value_is_what_is_left_unknown():
    mixture = Mixture(PAIR, torch.tensor([3.0, 5.0], dtype=torch.float64), 0, std=1e-3)
    known = torch.tensor([[False, False], [False, True], [True, False]])
    assert mixture.spread(PAIR, known)[:, 0].tolist() == pytest.approx([1.0, 1.0, 0.0], abs=1e-9)
    assert mixture(PAIR)[:, 0].tolist() == pytest.approx([3.0, 5.0])


def test_single_precision_agrees_with_double(many):
    single = Mixture(many.centres, many.targets.argmax(1), dtype=torch.float32)
    points = torch.randn(5, 4)
    assert torch.allclose(single(points).double(), many(points.double()), atol=1e-4)


def test_the_std_is_what_was_given(many):
    assert math.sqrt(many.variance().item()) == pytest.approx(0.125)
