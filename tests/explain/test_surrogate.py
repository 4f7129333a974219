"""LIME and Kernel SHAP: by hand, against least squares written otherwise, and on models whose answer is known."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import BadUsage
from pellucid.explain.attribution import baseline
from pellucid.explain.probe import Probe, ask
from pellucid.explain.surrogate import RIDGE, Design, coalitions, kernel_shap, lime, nearby, ridge_weights, shapley_weights
from toys import Sentences, linear_probe, sentences


def game(size: int, seed: int = 0) -> Probe:
    """Each of two examples has a value of its own for every set of units."""
    value = torch.randn(2, 2**size, generator=torch.Generator().manual_seed(seed))

    def score(units):
        index = (units[..., 0] * 2 ** torch.arange(size)).sum(-1).long()  # k b
        return torch.cat([value[torch.arange(2), some] for some in index.split(2)])

    return dataclasses.replace(linear_probe(torch.ones(size, 1), torch.ones(2, size, 1)), score=score)


def shapley_by_orders(probe: Probe) -> torch.Tensor:
    """The definition: what a unit adds to those before it, the mean over all orders."""
    size = probe.units.shape[1]
    total, orders = torch.zeros(2, size), list(itertools.permutations(range(size)))
    for order in orders:
        units = torch.zeros_like(probe.units)
        before = probe.score(units)
        for unit in order:
            units[:, unit] = 1
            after = probe.score(units)
            total[:, unit] += after - before
            before = after
    return total / len(orders)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_kernel_shap_of_few_units_is_the_shapley_value(size):
    probe = game(size)
    found = kernel_shap(probe, 0 * probe.units, samples=max(4, 2**size))
    torch.testing.assert_close(found.relevance, shapley_by_orders(probe), rtol=1e-4, atol=1e-5)
    assert found.gap.abs().max() < 1e-4


def test_kernel_shap_draws_come_near_the_shapley_value_and_always_sum_to_the_change():
    probe = game(8)
    exact = kernel_shap(probe, 0 * probe.units, samples=256).relevance
    errors = []
    for samples in (64, 200):
        found = kernel_shap(probe, 0 * probe.units, samples)
        torch.testing.assert_close(found.relevance.sum(1), probe.score(probe.units) - probe.score(0 * probe.units), rtol=1e-4, atol=1e-4)
        errors.append((found.relevance - exact).norm().item())
    assert errors[1] < errors[0] < exact.norm()


def test_kernel_shap_is_exact_on_a_sum_whatever_is_drawn():
    weights = torch.randn(40, 1)
    probe = linear_probe(weights, torch.ones(1, 40, 1))
    torch.testing.assert_close(kernel_shap(probe, 0 * probe.units, 100).relevance, weights.T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("samples", [16, 512])
def test_shapley_weights_sum_to_the_change_to_the_last_digits(samples):
    for size in range(1, 41):
        design = coalitions(size, samples, 0)
        scores = torch.randn(3, len(design.kept), dtype=torch.float64)
        torch.testing.assert_close(shapley_weights(design, scores).sum(1), scores[:, 0] - scores[:, 1], rtol=0, atol=1e-9)


@given(st.integers(2, 14), st.integers(4, 600), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_coalitions_are_paired_within_the_samples_and_weigh_as_the_kernel(size, samples, seed):
    design = coalitions(size, samples, seed)
    kept, weight = design.kept, design.weight
    assert len(kept) == len(weight) <= max(samples, 4)
    assert kept[0].all() and not kept[1].any() and weight[:2].tolist() == [0, 0]
    assert weight.sum().item() == pytest.approx(1.0)
    torch.testing.assert_close(weight @ kept.double(), torch.full((size,), 0.5, dtype=torch.float64))  # a set and its complement
    between = kept[2:].sum(1)
    assert (between > 0).all() and (between < size).all()


def test_all_coalitions_weigh_as_lundberg_and_lee_write_it():
    design = coalitions(5, 32, 0)
    assert len({tuple(row) for row in design.kept.tolist()}) == 32
    kernel = [4 / (math.comb(5, s) * s * (5 - s)) for s in design.kept[2:].sum(1).tolist()]
    torch.testing.assert_close(design.weight[2:], torch.tensor(kernel, dtype=torch.float64) / sum(kernel))


def test_drawn_coalitions_have_sizes_as_likely_as_the_kernel_says():
    design = coalitions(20, 20_000, 0)  # sets of 1 to 3 words whole, the others drawn
    sizes = design.kept.sum(1)
    for s in range(1, 20):
        expected = (1 / (s * (20 - s))) / sum(1 / (t * (20 - t)) for t in range(1, 20))
        assert design.weight[sizes == s].sum().item() == pytest.approx(expected, abs=2e-3)


def test_shapley_weights_equal_least_squares_with_a_word_eliminated():
    """The condition put into the fit the textbook way: the last weight is the change less the others."""
    design = coalitions(6, 40, 0)
    scores = torch.randn(1, len(design.kept), dtype=torch.float64)
    change = scores[0, 0] - scores[0, 1]
    masks = design.kept.double()
    rows = (masks[:, :-1] - masks[:, -1:]) * design.weight.sqrt()[:, None]
    wanted = (scores[0] - scores[0, 1] - masks[:, -1] * change) * design.weight.sqrt()
    first = np.linalg.lstsq(rows.numpy(), wanted.numpy(), rcond=None)[0]
    np.testing.assert_allclose(shapley_weights(design, scores)[0], [*first, change.item() - first.sum()], rtol=1e-8, atol=1e-10)


def test_too_few_variants_share_what_they_do_not_tell_equally():
    kept = torch.tensor([[True] * 4, [False] * 4, [True, False, False, False], [False, True, True, True]])
    design = Design(kept, torch.tensor([0.0, 0.0, 0.5, 0.5], dtype=torch.float64))
    scores = torch.tensor([[10.0, 0.0, 4.0, 6.0]], dtype=torch.float64)
    assert shapley_weights(design, scores)[0].tolist() == pytest.approx([4.0, 2.0, 2.0, 2.0])


def test_lime_recovers_the_weights_of_a_linear_model():
    weights = torch.tensor([[4.0], [-3.0], [2.0], [-1.0], [0.0], [0.5]])
    probe = linear_probe(weights, torch.ones(1, 6, 1))
    found = lime(probe, torch.zeros(1, 6, 1)).relevance[0]
    torch.testing.assert_close(found, weights[:, 0], rtol=0.01, atol=0.01)  # the ridge shrinks a little
    assert found.argsort().tolist() == weights[:, 0].argsort().tolist()


def test_limes_fit_equals_least_squares_with_ridge_rows():
    """A ridge is least squares with one more row per weight; the intercept has none."""
    design = nearby(5, 40, 0.25, 0)
    scores = torch.randn(1, 40, dtype=torch.float64)
    rows = np.hstack([design.kept.double(), np.ones((40, 1))]) * design.weight.sqrt()[:, None].numpy()
    rows = np.vstack([rows, np.sqrt(RIDGE) * np.eye(5, 6)])
    wanted = np.concatenate([scores[0] * design.weight.sqrt(), np.zeros(5)])
    expected = np.linalg.lstsq(rows, wanted, rcond=None)[0][:5]
    np.testing.assert_allclose(ridge_weights(design, scores, RIDGE)[0], expected, rtol=1e-8)


def test_nearness_by_hand():
    design = nearby(4, 400, 0.25, 0)
    for kept, weight in zip(design.kept.sum(1).tolist(), design.weight.tolist(), strict=True):
        assert weight == pytest.approx(math.exp(-((1 - math.sqrt(kept / 4)) ** 2) / 0.125))  # 3 of 4: cosine sqrt(3/4)


@pytest.mark.parametrize("size", [3, 5])
def test_lime_keeps_all_first_and_then_loses_at_least_one(size):
    kept = nearby(size, 200, 0.25, 0).kept
    assert kept[0].all()
    assert (~kept[1:]).sum(-1).unique().tolist() == list(range(1, size + 1))


@pytest.mark.parametrize("method", [lime, kernel_shap])
def test_surrogates_remove_words_whole_and_leave_special_tokens(method):
    groups = torch.tensor([[-1, 0, 0, 1]])
    probe = linear_probe(torch.tensor([[50.0], [1.0], [2.0], [4.0]]), torch.ones(1, 4, 1), groups=groups)
    found = method(probe, torch.zeros(1, 4, 1)).relevance[0]
    torch.testing.assert_close(found, torch.tensor([0.0, 1.5, 1.5, 4.0]), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("method", [lime, kernel_shap])
def test_padding_and_special_tokens_have_no_weight(method):
    task = Sentences()
    probe = ask(task, task.collate(sentences()))
    found = method(probe, baseline(probe)).relevance
    assert (found[probe.groups < 0] == 0).all()
    assert (found[probe.groups >= 0] != 0).all()


@pytest.mark.parametrize("method", [lime, kernel_shap])
def test_an_example_without_words_gets_no_weight(method):
    probe = linear_probe(torch.ones(2, 1), torch.ones(2, 2, 1), groups=torch.full((2, 2), -1))
    assert method(probe, 0 * probe.units).relevance.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("method", [lime, kernel_shap])
def test_words_can_be_cut_out_instead_of_replaced(method):
    worth = torch.tensor([10.0, 20.0, 40.0])
    probe = linear_probe(torch.ones(3, 1), torch.ones(1, 3, 1))
    shorter = dataclasses.replace(probe, cut=lambda removed: (~removed * worth).sum(-1))
    torch.testing.assert_close(method(shorter, None).relevance, worth[None], rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda p: lime(p, p.units, samples=1), "LIME needs 2 samples"),
        (lambda p: lime(p, p.units, width=0.0), "a width and a ridge above 0"),
        (lambda p: kernel_shap(p, p.units, samples=3), "Kernel SHAP needs at least 4"),
    ],
)
def test_a_fit_without_samples_is_refused(method, message):
    with pytest.raises(BadUsage, match=message):
        method(linear_probe(torch.ones(1, 1), torch.ones(1, 1, 1)))
