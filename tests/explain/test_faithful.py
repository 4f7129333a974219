"""Comprehensiveness, sufficiency, infidelity, insertion and deletion: by hand on linear models."""

import pytest
import torch

from pellucid.explain.degrade import degradation
from pellucid.explain.faithful import comprehensiveness, infidelity, random_sets, sufficiency
from pellucid.explain.probe import ask
from pellucid.explain.remove import Removal
from toys import Sentences, linear_probe, sentences


def to_zero(probe):
    return Removal(probe, torch.zeros_like(probe.units))


def test_comprehensiveness_and_sufficiency_by_hand():
    """Ten words of score 10, 9, ... 1 and sum 55: the top 1, 1, 1, 2, 5 are 10, 10, 10, 19, 40."""
    weights = torch.arange(10.0, 0.0, -1)[:, None]
    removal = to_zero(linear_probe(weights, torch.ones(1, 10, 1)))
    map_ = {"one": weights.T}
    assert comprehensiveness(removal, map_)["one"].item() == pytest.approx((10 + 10 + 10 + 19 + 40) / 5)
    assert sufficiency(removal, map_)["one"].item() == pytest.approx((45 + 45 + 45 + 36 + 15) / 5)


def test_what_is_taken_and_what_is_kept_are_complements_also_under_ties():
    removal = to_zero(linear_probe(torch.rand(10, 1), torch.ones(3, 10, 1)))
    tied = {"one": torch.ones(3, 10)}
    whole = removal.original()
    torch.testing.assert_close(comprehensiveness(removal, tied)["one"] + sufficiency(removal, tied)["one"], whole)


def test_words_count_whole_and_special_tokens_stay():
    units = torch.tensor([[[16.0], [8.0], [4.0], [2.0], [1.0]]])
    probe = linear_probe(torch.ones(5, 1), units, groups=torch.tensor([[-1, 0, 0, 1, -1]]))
    relevance = {"one": torch.tensor([[9.0, 1.0, 1.0, 3.0, 9.0]])}
    assert comprehensiveness(to_zero(probe), relevance)["one"].tolist() == [2.0]  # half of two words is one: word 1
    assert sufficiency(to_zero(probe), relevance)["one"].tolist() == [12.0]


def test_the_true_parts_of_a_linear_score_have_no_infidelity():
    weights, units = torch.randn(6, 2), torch.randn(3, 6, 2)
    removal = to_zero(linear_probe(weights, units))
    truth = (weights * units).sum(-1)
    maps = {"truth": truth, "double": 2 * truth, "opposite": -truth, "other": torch.randn(3, 6), "nothing": torch.zeros(3, 6)}
    plain, scaled = (infidelity(removal, maps, scaled=s) for s in (False, True))
    torch.testing.assert_close(plain["truth"], torch.zeros(3), atol=1e-9, rtol=0)
    for name in ("truth", "double", "opposite"):
        torch.testing.assert_close(scaled[name], torch.zeros(3), atol=1e-9, rtol=0)
    torch.testing.assert_close(plain["double"], plain["nothing"])  # 2t - t and 0 - t
    assert (scaled["other"] <= plain["other"]).all() and (scaled["other"] < plain["nothing"]).all()
    torch.testing.assert_close(scaled["nothing"], plain["nothing"])


def test_infidelity_by_hand():
    """One unit of score 3, said to be 1: every set is that unit, and every error 2."""
    removal = to_zero(linear_probe(torch.tensor([[3.0]]), torch.ones(1, 1, 1)))
    assert infidelity(removal, {"one": torch.ones(1, 1)}, scaled=False)["one"].tolist() == [4.0]


def test_random_sets_have_every_size_and_do_not_depend_on_the_batch():
    task = Sentences()
    many, one = (to_zero(ask(task, task.collate(some))) for some in (sentences(), sentences()[3:]))
    sets = random_sets(many, 300)
    taken = [{len(set(many.probe.groups[i][row].tolist())) for row in sets[:, i]} for i in range(4)]
    assert taken == [set(range(1, size + 1)) for size in (3, 1, 5, 4)]
    width = one.probe.present.shape[1]
    assert torch.equal(sets[:, 3, :width], random_sets(one, 300)[:, 0]) and not sets[:, 3, width:].any()


def test_insertion_and_deletion_areas_by_hand():
    weights, units = torch.tensor([[1.0], [4.0], [2.0], [3.0]]), torch.ones(1, 4, 1)
    found = degradation(linear_probe(weights, units), weights.T, 0 * units, fractions=4)
    assert found.deletion().item() == pytest.approx((10 / 2 + 6 + 3 + 1 + 0) / 4)
    assert found.insertion().item() == pytest.approx((0 + 4 + 7 + 9 + 10 / 2) / 4)  # 4 comes first, then 3, 2, 1
    torch.testing.assert_close(found.area, found.insertion() - found.deletion())
