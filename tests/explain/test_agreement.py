"""Agreement of explanations: against scipy, by hand, and what must hold for any."""

import math

import pytest
import scipy.stats
import torch

from pellucid.explain.agreement import agreement, join, matrix, mean_ranks, pearson, sign_agreement, spearman, summary, top_overlap
from pellucid.explain.probe import ask
from toys import Sentences, linear_probe, sentences


def ragged(rows=6, width=9):
    counts = torch.randint(3, width + 1, (rows, 1))
    return torch.arange(width) < counts


def test_correlations_equal_scipys_also_under_ties_and_padding():
    exists = ragged()
    one, two = torch.randint(-3, 4, (2, 6, 9)).float()
    for i, row in enumerate(exists):
        a, b = one[i][row].numpy(), two[i][row].numpy()
        assert spearman(one, two, exists)[i].item() == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-6)
        assert pearson(one, two, exists)[i].item() == pytest.approx(scipy.stats.pearsonr(a, b).statistic, abs=1e-6)
        assert mean_ranks(one, exists)[i][row].tolist() == scipy.stats.rankdata(a).tolist()


def test_a_constant_explanation_has_no_correlation():
    exists = torch.ones(1, 7, dtype=torch.bool)
    constant, other = torch.full((1, 7), 0.1, dtype=torch.float64), torch.rand(1, 7)  # whose mean is 0.1 but for a rounding
    assert spearman(constant, other, exists).isnan() and pearson(constant, other, exists).isnan()


def test_the_top_counts_by_strength_whatever_the_sign():
    exists = torch.ones(1, 10, dtype=torch.bool)
    one = torch.tensor([[9.0, -8, 1, 1, 1, 1, 1, 1, 1, 1]])
    two = torch.tensor([[-9.0, 1, 8, 1, 1, 1, 1, 1, 1, 1]])
    assert top_overlap(one, two, exists).item() == 0.5  # a fifth of ten words: two, one of which is shared
    assert top_overlap(one, -one, exists).item() == 1


def test_signs_by_hand():
    exists = torch.tensor([[True, True, True, True, False]])
    one, two = torch.tensor([[1.0, -1, 0, 2, 5]]), torch.tensor([[3.0, 1, 0, -1, 5]])
    assert sign_agreement(one, two, exists).item() == 0.5


def test_an_explanation_agrees_with_itself_and_opposes_its_opposite():
    probe = linear_probe(torch.ones(7, 1), torch.ones(3, 7, 1))
    one = torch.randn(3, 7)
    found = agreement(probe, {"a": one, "same": 2 * one, "opposite": -one})
    for name, (same, opposite) in {"spearman": (1, -1), "pearson": (1, -1), "top_overlap": (1, 1), "sign": (1, 0)}.items():
        torch.testing.assert_close(found[name]["a", "same"], torch.full((3,), float(same)))
        torch.testing.assert_close(found[name]["a", "opposite"], torch.full((3,), float(opposite)))


def test_an_example_agrees_alike_alone_and_in_a_batch():
    task = Sentences()
    values = []
    for some in (sentences(), sentences()[3:]):
        probe = ask(task, task.collate(some))
        maps = {"norm": probe.units.norm(dim=-1), "sum": probe.units.sum(-1)}
        values.append(agreement(probe, maps))
    for name, pairs in values[0].items():
        torch.testing.assert_close(pairs["norm", "sum"][3], values[1][name]["norm", "sum"][0])


def test_a_matrix_is_symmetric_and_says_how_many_it_saw():
    probe = linear_probe(torch.ones(5, 1), torch.ones(20, 5, 1))
    maps = {"a": torch.randn(20, 5), "b": torch.randn(20, 5), "flat": torch.ones(20, 5)}
    found = agreement(probe, maps)
    table = matrix(join([found, found])["spearman"])
    assert list(table) == ["a", "b", "flat"] and list(table["a"]) == ["b", "flat"]
    assert table["a"]["b"] == table["b"]["a"] and table["a"]["b"]["n"] == 40
    assert table["a"]["flat"]["n"] == 0 and math.isnan(table["a"]["flat"]["mean"])


def test_a_summary_leaves_out_what_is_undefined():
    found = summary(torch.tensor([1.0, 3.0, float("nan"), 2.0]))
    assert (found["mean"], found["n"]) == (2.0, 3)
    assert 1 <= found["low"] < 2 < found["high"] <= 3


def test_a_summarys_interval_is_that_of_the_normal_law_on_many_examples():
    values = torch.randn(400)
    found, error = summary(values, resamples=2000), values.std().item() / 20
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.08)
