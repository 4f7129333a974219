"""From units to words and back."""

import dataclasses

import torch

from pellucid.explain.probe import ask
from pellucid.explain.words import by_player, players, to_units, to_words
from toys import Pictures, Sentences, linear_probe, pictures, sentences


def test_a_word_gets_the_sum_of_its_tokens_and_special_tokens_are_dropped():
    probe = linear_probe(torch.ones(5, 1), torch.ones(1, 5, 1), groups=torch.tensor([[-1, 0, 0, 1, -1]]))
    probe = dataclasses.replace(probe, names=[["play", "on"]])
    ((words, values),) = to_words(torch.tensor([[100.0, 1.0, 2.0, -4.0, 100.0]]), probe)
    assert (words, values) == (["play", "on"], [3.0, -4.0])


def test_a_word_cut_off_by_truncation_keeps_its_place_at_0():
    probe = linear_probe(torch.ones(2, 1), torch.ones(1, 2, 1), groups=torch.tensor([[0, 2]]))
    probe = dataclasses.replace(probe, names=[["a", "lost", "c", "end"]])
    assert to_words(torch.tensor([[1.0, 2.0]]), probe) == [(["a", "lost", "c", "end"], [1.0, 0.0, 2.0, 0.0])]
    assert players(probe).tolist() == [[0, 1]]  # nothing is removed for a word that is not there


def test_units_without_names_are_told_by_their_index():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    words, values = to_words(probe.units.sum(-1), probe)[0]
    assert words == ["0", "1", "2", "3"] and len(values) == 4


def test_padding_is_left_out_of_the_words():
    task = Sentences()
    probe = ask(task, task.collate(sentences()))
    told = to_words(probe.present.float(), probe)
    assert [words for words, _ in told] == [row["text"].split() for row in sentences()]
    assert told[1][1] == [5.0]  # "wonderful" is five tokens


def test_names_without_groups_name_the_real_units():
    present = torch.tensor([[False, True, True]])  # padded on the left
    probe = dataclasses.replace(linear_probe(torch.ones(3, 1), torch.ones(1, 3, 1), present), names=[["x", "y"]])
    assert to_words(torch.tensor([[0.0, 1.0, 2.0]]), probe) == [(["x", "y"], [1.0, 2.0])]


def test_sharing_among_units_and_summing_again_changes_nothing():
    owner = torch.tensor([[-1, 0, 0, 1, 2, 2], [0, 1, 1, 1, -1, -1]])
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]])
    torch.testing.assert_close(by_player(to_units(values, owner), owner), values)
