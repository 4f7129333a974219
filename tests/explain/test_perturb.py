"""Occlusion, LIME and chance: by hand, and on models whose answer is known."""

import math

import numpy as np
import pytest
import torch

from pellucid.explain.attribution import baseline
from pellucid.explain.perturb import RIDGE, _masks, _nearness, _ridge, lime, occlusion, random, scores_without
from pellucid.explain.probe import ask
from pellucid.explain.words import by_player, players
from toys import Pictures, Sentences, linear_probe, pictures, sentences


def test_occlusion_by_hand():
    units = torch.tensor([[[1.0], [3.0], [5.0]]])
    probe = linear_probe(torch.tensor([[2.0], [-1.0], [0.5]]), units)
    found = occlusion(probe, torch.ones_like(units))  # each unit becomes 1: 2-2, -3+1, 2.5-0.5
    assert found.relevance.tolist() == [[0.0, -2.0, 2.0]]


def test_occlusion_removes_a_word_whole_and_shares_its_loss():
    units = torch.tensor([[[1.0], [3.0], [5.0], [7.0]]])
    groups = torch.tensor([[-1, 0, 0, 1]])  # a special token, a word of two tokens, a word of one
    probe = linear_probe(torch.ones(4, 1), units, groups=groups)
    assert occlusion(probe, torch.zeros_like(units)).relevance.tolist() == [[0.0, 4.0, 4.0, 7.0]]


def test_occlusion_at_a_site_replaces_only_that_unit():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    start = baseline(probe)
    one = probe.units.clone()
    one[:, 2] = start[:, 2]
    expected = probe.score(probe.units) - probe.score(one)
    torch.testing.assert_close(occlusion(probe, start).relevance[:, 2], expected)


def test_lime_recovers_the_weights_of_a_linear_model():
    weights = torch.tensor([[4.0], [-3.0], [2.0], [-1.0], [0.0], [0.5]])
    probe = linear_probe(weights, torch.ones(1, 6, 1))
    found = lime(probe, torch.zeros(1, 6, 1)).relevance[0]
    torch.testing.assert_close(found, weights[:, 0], rtol=0.01, atol=0.01)  # the ridge shrinks a little
    assert found.argsort().tolist() == weights[:, 0].argsort().tolist()


def test_lime_removes_words_whole_and_leaves_special_tokens():
    groups = torch.tensor([[-1, 0, 0, 1]])
    probe = linear_probe(torch.tensor([[50.0], [1.0], [2.0], [4.0]]), torch.ones(1, 4, 1), groups=groups)
    found = lime(probe, torch.zeros(1, 4, 1)).relevance[0]
    torch.testing.assert_close(found, torch.tensor([0.0, 1.5, 1.5, 4.0]), rtol=0.02, atol=0.02)


def test_limes_fit_equals_least_squares_with_ridge_rows():
    """A ridge is least squares with one more row per weight; the intercept has none."""
    masks = _masks(torch.tensor([5]), 40, 0)[0].double()
    scores, nearness = torch.randn(40, dtype=torch.float64), torch.rand(40, dtype=torch.float64)
    rows = np.hstack([masks, np.ones((40, 1))]) * nearness.sqrt()[:, None].numpy()
    rows = np.vstack([rows, np.sqrt(RIDGE) * np.eye(5, 6)])
    wanted = np.concatenate([scores * nearness.sqrt(), np.zeros(5)])
    expected = np.linalg.lstsq(rows, wanted, rcond=None)[0][:5]
    np.testing.assert_allclose(_ridge(masks[None], scores[None], nearness[None])[0], expected, rtol=1e-9)


def test_nearness_by_hand():
    kept = torch.tensor([[[True, True, True, True], [False, False, False, True]]])  # cosine distance 0, 1 - 1/2
    assert _nearness(kept, torch.tensor([4]))[0].tolist() == pytest.approx([1.0, math.exp(-2)])


def test_masks_keep_all_first_and_then_lose_at_least_one():
    masks = _masks(torch.tensor([3, 5]), 200, 0)
    assert masks[:, 0].all() and masks[0, :, 3:].all()
    lost = (~masks[:, 1:]).sum(-1)
    assert lost[0].unique().tolist() == [1, 2, 3]
    assert lost[1].unique().tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("method", [lime, occlusion, lambda probe, start: random(probe, 3)], ids=["lime", "occlusion", "random"])
def test_padding_and_special_tokens_are_never_relevant(method):
    task = Sentences()
    probe = ask(task, task.collate(sentences()))
    assert (~probe.present).any()
    found = method(probe, baseline(probe)).relevance
    assert (found[probe.groups < 0] == 0).all()
    assert (found[probe.groups >= 0] != 0).all()


def test_random_gives_an_example_the_same_numbers_in_any_batch():
    task = Sentences()
    rows = sentences()
    together, alone = (ask(task, task.collate(some)) for some in (rows, rows[1:2]))
    values = by_player(random(together, 3).relevance, players(together))[1]
    assert values[: len(alone.names[0])].tolist() == by_player(random(alone, 3).relevance, players(alone))[0].tolist()
    assert values.max() <= 1


def test_an_example_without_words_gets_no_relevance():
    probe = linear_probe(torch.ones(2, 1), torch.ones(2, 2, 1), groups=torch.full((2, 2), -1))
    for found in (lime(probe, 0 * probe.units), occlusion(probe, 0 * probe.units), random(probe)):
        assert found.relevance.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_chunks_change_no_score():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    removed = torch.rand(7, *probe.present.shape) < 0.5
    start = baseline(probe)
    torch.testing.assert_close(scores_without(probe, removed, start, rows=1), scores_without(probe, removed, start, rows=99))
