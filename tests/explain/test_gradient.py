"""Gradient methods: completeness, agreement with captum, padding."""

import captum.attr
import pytest
import torch

from pellucid.explain.attribution import baseline, completeness_gap
from pellucid.explain.gradient import gradient_x_input, integrated_gradients
from pellucid.explain.probe import ask
from toys import Pictures, Sentences, linear_probe, pictures, sentences


@pytest.mark.parametrize("site", ["input", "encoder"])
def test_integrated_gradients_equal_captums(site):
    task = Sentences()
    probe = ask(task, task.collate(sentences()), site)
    start = baseline(probe)
    ours = integrated_gradients(probe, start, steps=20)
    theirs = captum.attr.IntegratedGradients(probe.score).attribute(probe.units, start, n_steps=20, method="riemann_middle")
    torch.testing.assert_close(ours.relevance, theirs.sum(-1), rtol=1e-4, atol=1e-4)


def test_gradient_x_input_equals_captums():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    theirs = captum.attr.InputXGradient(probe.score).attribute(probe.units.clone().requires_grad_())
    torch.testing.assert_close(gradient_x_input(probe).relevance, theirs.sum(-1))


@pytest.mark.parametrize("site", ["input", "body"])
def test_integrated_gradients_sum_to_the_change_of_score(site):
    task = Pictures()
    probe = ask(task, task.collate(pictures()), site)
    found = integrated_gradients(probe, baseline(probe))
    assert found.gap.abs().max() < 0.02


def test_chunks_of_steps_change_no_relevance():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    start = baseline(probe)
    one, all_at_once = (integrated_gradients(probe, start, 12, rows).relevance for rows in (1, 100))
    torch.testing.assert_close(one, all_at_once)


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
