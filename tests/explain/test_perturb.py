"""Occlusion and chance: by hand, and on models whose answer is known."""

import dataclasses

import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.explain.attribution import baseline
from pellucid.explain.perturb import occlusion, random, scores_without
from pellucid.explain.probe import ask
from pellucid.explain.words import by_player, players
from toys import Pictures, Sentences, linear_probe, pictures, sentences


def on_grid(weights, grid, present=None):
    """A linear probe over a grid of units that are all 1."""
    units = torch.ones(1 if present is None else len(present), weights.numel(), 1)
    return dataclasses.replace(linear_probe(weights.reshape(-1, 1), units, present), grid=grid)


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


def test_a_window_slides_over_words_and_each_gets_the_mean_of_its_windows():
    units = torch.tensor([[[9.0], [1.0], [3.0], [5.0], [7.0]]])
    groups = torch.tensor([[-1, 0, 0, 1, 2]])  # words that weigh 4, 5, 7
    probe = linear_probe(torch.ones(5, 1), units, groups=groups)
    found = occlusion(probe, torch.zeros_like(units), window=(2,))  # windows lose 9 and 12
    assert found.relevance.tolist() == [[0.0, 4.5, 4.5, 10.5, 12.0]]


def test_the_last_window_is_cut_off_at_the_end():
    probe = linear_probe(torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]]), torch.ones(1, 5, 1))
    found = occlusion(probe, torch.zeros(1, 5, 1), window=(3,), stride=(3,))
    assert found.relevance.tolist() == [[7.0, 7.0, 7.0, 24.0, 24.0]]


def test_a_window_slides_over_a_grid():
    weights = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    found = occlusion(on_grid(weights, (2, 3)), torch.zeros(1, 6, 1), window=(2, 2))  # two windows: 27 and 54
    assert found.relevance.tolist() == [[27.0, 40.5, 54.0, 27.0, 40.5, 54.0]]
    one = occlusion(on_grid(weights, (2, 3)), torch.zeros(1, 6, 1))
    assert one.relevance.tolist() == weights.reshape(1, 6).tolist()


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_of_a_padded_picture_are_those_of_the_picture(stride):
    weights = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [3.0, 5.0, 7.0]])
    padded, present = torch.nn.functional.pad(weights, (0, 2, 0, 1), value=99.0), torch.ones(2, 4, 5, dtype=torch.bool)
    present[0, 3:], present[0, :, 3:] = False, False  # beside it a picture that fills the grid
    settings = {"window": (2,), "stride": (stride,)}
    alone = occlusion(on_grid(weights, (3, 3)), torch.zeros(1, 9, 1), **settings).relevance.reshape(3, 3)
    probe = on_grid(padded, (4, 5), present.reshape(2, -1))
    found = occlusion(probe, torch.zeros(2, 20, 1), **settings).relevance[0].reshape(4, 5)
    assert found[:3, :3].tolist() == alone.tolist() and found.sum() == alone.sum()


def test_what_cannot_be_cut_is_refused_and_what_can_is():
    probe = linear_probe(torch.tensor([[1.0], [2.0]]), torch.ones(1, 2, 1))
    with pytest.raises(BadUsage, match="cannot be cut out at this site; replace them by a baseline"):
        occlusion(probe, None)
    shorter = dataclasses.replace(probe, cut=lambda removed: (~removed * torch.tensor([10.0, 20.0])).sum(-1))
    assert occlusion(shorter, None).relevance.tolist() == [[3.0 - 20.0, 3.0 - 10.0]]


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [((2, 2, 2), (1,), "this site has 2 axes"), ((0,), (1,), "at least 1"), ((2,), (3,), "larger than the window")],
)
def test_windows_that_do_not_fit_are_refused(window, stride, message):
    with pytest.raises(BadUsage, match=message):
        occlusion(on_grid(torch.ones(2, 2), (2, 2)), torch.zeros(1, 4, 1), window, stride)


def test_occlusion_at_a_site_replaces_only_that_unit():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    start = baseline(probe)
    one = probe.units.clone()
    one[:, 2] = start[:, 2]
    expected = probe.score(probe.units) - probe.score(one)
    torch.testing.assert_close(occlusion(probe, start).relevance[:, 2], expected)


@pytest.mark.parametrize("method", [occlusion, lambda probe, start: random(probe, 3)], ids=["occlusion", "random"])
def test_padding_and_special_tokens_are_never_removed(method):
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


def test_an_example_without_words_gets_no_number():
    probe = linear_probe(torch.ones(2, 1), torch.ones(2, 2, 1), groups=torch.full((2, 2), -1))
    for found in (occlusion(probe, 0 * probe.units), random(probe)):
        assert found.relevance.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_chunks_change_no_score_of_a_removal():
    task = Pictures()
    batch = task.collate(pictures())
    one, all_at_once = (ask(task, batch, "body", rows=rows) for rows in (1, 99))
    removed = torch.rand(7, *one.present.shape) < 0.5
    start = baseline(one)
    torch.testing.assert_close(scores_without(one, removed, start), scores_without(all_at_once, removed, start))
