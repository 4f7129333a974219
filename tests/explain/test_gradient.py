"""Gradient methods: completeness, worked values, draws that do not depend on the batch."""

import dataclasses

import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.explain.attribution import Statistics, baseline, completeness_gap
from pellucid.explain.gradient import expected_gradients, gradient, gradient_x_input, integrated_gradients, smoothgrad
from pellucid.explain.probe import Probe, ask
from pellucid.task import Site
from toys import Pictures, Sentences, linear_probe, pictures, sentences


def squares() -> Probe:
    """The score is the sum of squares of three units of two numbers."""
    units = torch.tensor([[[1.0, -2.0], [3.0, 0.0], [0.5, 0.5]]])
    return dataclasses.replace(linear_probe(torch.ones(3, 2), units), score=lambda features: features.square().sum((1, 2)))


@pytest.mark.parametrize(
    ("reading", "expected"),
    [("norm", [20**0.5, 6.0, 2**0.5]), ("absolute", [6.0, 6.0, 2.0]), ("largest", [4.0, 6.0, 1.0]), ("signed", [-2.0, 6.0, 2.0])],
)
def test_a_gradient_is_read_in_four_ways(reading, expected):
    torch.testing.assert_close(gradient(squares(), reading).relevance, torch.tensor([expected]))  # the gradient is twice the units


def test_smoothgrad_of_a_linear_model_is_its_gradient():
    weights = torch.randn(4, 3)
    probe = linear_probe(weights, torch.randn(2, 4, 3))
    found = smoothgrad(probe, Statistics(torch.zeros(3), torch.ones(3)), 5, reading="signed")
    torch.testing.assert_close(found.relevance, weights.sum(-1).expand(2, 4))


def test_smoothgrad_smooths_a_kink_over_the_width_of_its_noise():
    """Of |x| with noise of deviation s the mean slope at x is 2 Phi(x / s) - 1."""
    probe = dataclasses.replace(linear_probe(torch.ones(1, 1), torch.full((1, 1, 1), 0.3)), score=lambda x: x.abs().sum((1, 2)))
    found = smoothgrad(probe, Statistics(torch.zeros(1), torch.full((1,), 2.0)), 4000, noise=0.25, reading="signed")
    expected = 2 * torch.distributions.Normal(0.0, 0.5).cdf(torch.tensor(0.3)) - 1
    torch.testing.assert_close(found.relevance[0, 0], expected, rtol=0, atol=0.05)


def test_expected_gradients_of_squares_by_hand():
    """One unit at 2, baselines normal about 1 with deviation 1/2: the mean change of x^2 is 4 - (1 + 1/4)."""
    probe = dataclasses.replace(linear_probe(torch.ones(1, 1), torch.full((1, 1, 1), 2.0)), score=lambda x: x.square().sum((1, 2)))
    found = expected_gradients(probe, Statistics(torch.ones(1), torch.full((1,), 0.5)), 4000)
    assert found.relevance.item() == pytest.approx(2.75, abs=0.02)
    assert abs(found.gap.item()) < 1e-4


def test_expected_gradients_of_a_linear_model_are_exact_from_two_baselines():
    weights, units = torch.randn(3, 2), torch.randn(2, 3, 2)
    found = expected_gradients(linear_probe(weights, units), Statistics(torch.ones(2), torch.ones(2)), 2)
    torch.testing.assert_close(found.relevance, ((units - 1) * weights).sum(-1))


def test_expected_gradients_from_one_reference_are_integrated_gradients():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    unit = torch.randn(probe.units.shape[-1])
    whole, finer = (integrated_gradients(probe, unit.expand_as(probe.units), steps, "gausslegendre") for steps in (2, 20))
    for references in (unit[None], unit.expand(2, *probe.units.shape[1:])):
        torch.testing.assert_close(expected_gradients(probe, references, 3).relevance, whole.relevance)
        torch.testing.assert_close(expected_gradients(probe, references, 3, steps=20).relevance, finer.relevance)


def test_references_are_drawn_evenly_from_a_pool():
    probe = linear_probe(torch.ones(3, 1), torch.zeros(1, 3, 1))
    found = expected_gradients(probe, torch.tensor([[-1.0], [-3.0]]), 2000)  # each unit: 0 less -1 or -3
    torch.testing.assert_close(found.relevance, torch.full((1, 3), 2.0), rtol=0.05, atol=0)


def test_references_that_do_not_fit_are_refused():
    probe = linear_probe(torch.ones(3, 1), torch.zeros(1, 3, 1))
    with pytest.raises(BadUsage, match=r"references of shape \(2, 4, 1\) do not fit"):
        expected_gradients(probe, torch.zeros(2, 4, 1))


@pytest.mark.parametrize(
    "method",
    [
        gradient,
        gradient_x_input,
        lambda probe: smoothgrad(probe, Statistics(torch.zeros(2), torch.ones(2)), 3),
        lambda probe: integrated_gradients(probe, torch.zeros_like(probe.units), 3),
        lambda probe: expected_gradients(probe, Statistics(torch.zeros(2), torch.ones(2)), 3),
    ],
)
def test_padding_that_a_careless_model_reads_gets_no_relevance(method):
    probe = dataclasses.replace(squares(), present=torch.tensor([[True, True, False]]))
    relevance = method(probe).relevance[0]
    assert relevance[2] == 0 and (relevance[:2] != 0).all()


@pytest.mark.parametrize("site", ["input", "body"])
@pytest.mark.parametrize("rule", ["midpoint", "gausslegendre"])
def test_integrated_gradients_sum_to_the_change_of_score(site, rule):
    task = Pictures()
    probe = ask(task, task.collate(pictures()), site)
    found = integrated_gradients(probe, baseline(probe), rule=rule)
    assert found.gap.abs().max() < 0.02


def test_gauss_legendre_is_exact_on_a_polynomial_where_midpoints_are_not():
    """Of x^4 at 1 the gradient 4 x^3 needs two places and no more."""
    probe = dataclasses.replace(linear_probe(torch.ones(1, 1), torch.ones(1, 1, 1)), score=lambda x: x.pow(4).sum((1, 2)))
    gauss, middle = (integrated_gradients(probe, 0 * probe.units, 2, rule) for rule in ("gausslegendre", "midpoint"))
    assert gauss.relevance.item() == pytest.approx(1.0, abs=1e-6)
    assert middle.relevance.item() == pytest.approx((4 / 64 + 4 * 27 / 64) / 2)


@pytest.mark.parametrize(
    "method",
    [
        lambda probe, some: integrated_gradients(probe, baseline(probe), 12),
        lambda probe, some: expected_gradients(probe, some, 12),
        lambda probe, some: smoothgrad(probe, some, 12),
    ],
    ids=["integrated", "expected", "smooth"],
)
def test_the_size_of_a_pass_changes_no_relevance(method):
    task = Sentences()
    batch = task.collate(sentences())
    some = Statistics(torch.zeros(8), torch.ones(8))
    one, all_at_once = (method(ask(task, batch, rows=rows), some).relevance for rows in (1, 100))
    torch.testing.assert_close(one, all_at_once, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda p: integrated_gradients(p, p.units, 0), "0 steps"),
        (lambda p: smoothgrad(p, Statistics(torch.zeros(1), torch.ones(1)), 0), "0 samples"),
        (lambda p: expected_gradients(p, Statistics(torch.zeros(1), torch.ones(1)), 0), "0 samples"),
    ],
)
def test_settings_that_mean_nothing_are_refused(method, message):
    with pytest.raises(BadUsage, match=message):
        method(linear_probe(torch.ones(1, 1), torch.ones(1, 1, 1)))


def test_the_gap_says_what_share_is_missing():
    probe = linear_probe(torch.tensor([[1.0], [2.0]]), torch.tensor([[[3.0], [1.0]]]))  # score 5, from zero 0
    gap = completeness_gap(probe, torch.tensor([[3.0, 0.0]]), torch.zeros(1, 2, 1))
    assert gap.item() == pytest.approx(-2 / 5)


def test_a_linear_model_is_explained_exactly_by_both():
    weights, units = torch.tensor([[2.0], [-1.0], [0.0]]), torch.tensor([[[1.0], [3.0], [5.0]]])
    probe = linear_probe(weights, units)
    expected = torch.tensor([[2.0, -3.0, 0.0]])
    torch.testing.assert_close(gradient_x_input(probe).relevance, expected)
    torch.testing.assert_close(integrated_gradients(probe, torch.zeros_like(units), 3).relevance, expected)


def test_the_mean_baseline_keeps_padding_and_forgets_it():
    present = torch.tensor([[True, True, False]])
    probe = linear_probe(torch.ones(3, 1), torch.tensor([[[1.0], [3.0], [100.0]]]), present)
    assert baseline(probe)[0, :, 0].tolist() == [2.0, 2.0, 100.0]
    assert baseline(probe, "zero")[0, :, 0].tolist() == [0.0, 0.0, 100.0]
    says_nothing = dataclasses.replace(probe, site=Site("change", "b n d", zero=True))
    statistics = Statistics(torch.full((1,), 7.0), torch.ones(1))
    assert baseline(says_nothing, "mean", statistics)[0, :, 0].tolist() == [0.0, 0.0, 100.0]
    assert baseline(probe, "mean", statistics)[0, :, 0].tolist() == [7.0, 7.0, 100.0]
