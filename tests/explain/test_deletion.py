"""The paper's deletion protocol: by hand on a linear model, and what must hold for any."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.explain.degrade import on_scale
from pellucid.explain.deletion import DegradationScore, degradation_score, deletion, deletions, points, rows, taken
from pellucid.explain.probe import Probe
from pellucid.explain.remove import Removal
from toys import linear_probe


def cuttable(weights, present=None, groups=None):
    """A question to a sum: the score is the weight of the units that are left."""
    weights = torch.as_tensor(weights)
    present = torch.ones_like(weights, dtype=torch.bool) if present is None else present
    seen = []

    def cut(removed):
        seen.append(removed)
        return ((present & ~removed) * weights).sum(-1)

    probe = Probe(weights[..., None], present, lambda units: units.sum((1, 2)), torch.zeros(len(weights)), groups=groups, cut=cut)
    return probe, seen


def test_points_by_hand():
    assert points(torch.tensor([10])).T.tolist() == [[1, 2, 3, 4, 6, 7, 8, 9, 10]]  # 10/9 -> 1, 20/9 -> 2, ..., 50/9 -> 6
    assert points(torch.tensor([9, 3])).T.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 3, 3, 3, 3, 3, 3]]


def test_curves_by_hand():
    """Start and end are special and least relevant: 11 tokens, of which 9 may go, 8 where the word of 9 is last in the order."""
    weights = torch.tensor([[10.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20]])
    groups = torch.tensor([[-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, -1]])
    probe, _ = cuttable(weights, groups=groups)
    found = deletion(probe, weights.where(groups >= 0, 0.0))
    assert (found.original, found.emptied) == (75, 30)
    # 11/9 -> 1, 2, 4, 5, 6, 7, 9, 10, 11: 9 goes first, then 8, ...
    assert found.most_first.tolist() == [[66, 58, 45, 40, 36, 33, 30, 30, 30]]
    assert found.least_first.tolist() == [[74, 72, 65, 60, 54, 47, 39, 39, 39]]
    gaps = [0, 8, 14, 20, 20, 18, 14, 9, 9, 9]
    assert found.area.item() == pytest.approx(np.trapezoid(gaps, dx=1 / 9))


def test_the_last_in_the_order_is_never_taken():
    weights = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    found = deletion(cuttable(weights)[0], weights)
    assert found.most_first[0, -1] == 1 and found.least_first[0, -1] == 4
    relevance = torch.tensor([[4.0, 3.0, 2.0, 1.0]])  # now the last is special: all others go
    found = deletion(cuttable(weights, groups=torch.tensor([[0, 1, 2, -1]]))[0], relevance)
    assert found.most_first[0, -1] == 1 and found.least_first[0, -1] == 5  # least first begins at the special, ends before 4


def test_taking_out_nothing_is_the_untouched_score():
    probe, _ = cuttable(torch.rand(3, 7))
    nothing = torch.zeros(2, 3, 7, dtype=torch.bool)
    assert torch.equal(Removal(probe).scores(nothing)[1], probe.score(probe.units))
    assert torch.equal(deletion(probe, torch.rand(3, 7)).original, probe.score(probe.units))


def test_most_first_is_least_first_of_the_opposite():
    probe, _ = cuttable(torch.randn(4, 9))
    relevance = torch.randn(4, 9)
    one, other = deletion(probe, relevance), deletion(probe, -relevance)
    assert torch.equal(one.most_first, other.least_first) and torch.equal(one.least_first, other.most_first)
    torch.testing.assert_close(one.area, -other.area)


def test_padding_changes_no_curve():
    weights, relevance = torch.rand(1, 6), torch.rand(1, 6)
    alone = deletion(cuttable(weights)[0], relevance)
    present = torch.tensor([[True] * 6 + [False] * 3])
    wide = [torch.cat([x, torch.full((1, 3), 9.0)], 1) for x in (weights, relevance)]
    padded = deletion(cuttable(wide[0] * present, present)[0], wide[1])
    for field in dataclasses.fields(alone):
        torch.testing.assert_close(getattr(alone, field.name), getattr(padded, field.name))


def test_what_goes_is_nested_and_as_much_as_the_points_say():
    gone = points(torch.tensor([12]))
    out = taken(torch.rand(1, 12), torch.ones(1, 12, dtype=torch.bool), torch.ones(1, 12, dtype=torch.bool), gone)
    assert out.sum(-1)[:, 0].tolist() == [*gone[:-1, 0].tolist(), 11]
    assert (out[:-1] <= out[1:]).all()


def test_every_set_of_tokens_is_scored_once():
    weights = torch.rand(2, 20)
    probe, seen = cuttable(weights)
    removal = Removal(probe)
    relevances = {"one": weights, "same": weights.clone(), "other": -weights}
    found = deletions(removal, relevances)
    assert torch.equal(found["one"].most_first, found["other"].least_first)
    assert len(seen) == 1 and len(seen[0]) == 20  # untouched, emptied and two ways of nine points
    again = deletions(removal, {"one": weights})["one"]
    assert len(seen) == 1 and torch.equal(again.area, found["one"].area)


def test_fuller_texts_go_first_so_that_a_pass_holds_alike_lengths():
    probe, seen = cuttable(torch.rand(3, 15))
    deletion(probe, torch.rand(3, 15))
    lost = seen[0].sum(-1)
    assert (lost.diff(dim=0) >= 0).all() and lost[0].tolist() == [0, 0, 0]


def test_a_model_is_never_given_an_empty_example():
    probe, seen = cuttable(torch.rand(2, 5), groups=torch.tensor([[0, 1, 2, 3, 4], [-1, 0, 1, 2, 3]]))
    Removal(probe).scores(torch.ones(1, 2, 5, dtype=torch.bool))
    assert seen[0][0, 0].tolist() == [False, True, True, True, True]


def test_a_probability_is_cut_and_replaced_on_one_scale():
    probe, _ = cuttable(-torch.rand(2, 5))
    shown, removed = on_scale(probe, "log-probability"), torch.rand(3, 2, 5) < 0.5
    torch.testing.assert_close(shown.cut(removed), probe.cut(removed).exp())
    removal = Removal(probe)
    torch.testing.assert_close(removal.scaled(torch.exp).scores(removed), removal.scores(removed).exp())


def test_a_site_without_cutting_is_refused():
    with pytest.raises(BadUsage, match="cannot be taken out"):
        deletion(linear_probe(torch.ones(3, 1), torch.ones(1, 3, 1)), torch.ones(1, 3))


# ---- a whole set ------------------------------------------------------------------------------------------------------


def test_a_sets_score_by_hand():
    """Untouched 1.0 and 0.8, emptied 0.2 and 0.0: normalised by 0.9 - 0.1."""
    most, least = np.full((2, 9), 0.1), np.array([[0.9] * 9, [0.5] * 9])
    score = DegradationScore()
    for ends, there, back in zip(([1.0, 0.2], [0.8, 0.0]), most, least, strict=True):
        score.update(np.concatenate([ends, there, back]))
    area = (8 + 0.5) / 9 * 0.6  # apart by 0.6 from the first of nine points on, rising to it from 0
    assert score.compute() == pytest.approx(area / 0.8)


def test_a_perfect_explanation_of_a_switch_gets_nearly_one():
    """The answer hangs on one of 18 tokens; found first, the score falls at once, found last, only when all is gone."""
    switch = torch.zeros(4, 18)
    switch[torch.arange(4), torch.tensor([2, 5, 11, 17])] = 1.0
    found = deletion(cuttable(switch)[0], switch)
    assert found.most_first.sum() == 0 and found.least_first.min() == 1  # the last is never taken
    score = degradation_score(found)
    assert score["mean"] == pytest.approx(1 - 0.5 / 9)  # the first step is a slope, not a cliff
    assert (score["low"], score["high"], score["n"]) == (pytest.approx(score["mean"]), pytest.approx(score["mean"]), 4)


def test_batches_are_joined_and_merging_changes_nothing():
    parts = [deletion(cuttable(torch.rand(3, 8))[0], torch.rand(3, 8)) for _ in range(2)]
    one, two, both = DegradationScore(), DegradationScore(), DegradationScore()
    for part, score in zip(parts, (one, two), strict=True):
        for row in rows(part):
            score.update(row)
            both.update(row)
    one.merge(two)
    assert one.compute() == both.compute() == degradation_score(parts)["mean"]


def test_the_interval_holds_the_mean_and_narrows_with_more_examples():
    weights = torch.rand(200, 12)
    found = deletion(cuttable(weights)[0], weights + 0.5 * torch.randn(200, 12))
    few = dataclasses.replace(found, **{f.name: getattr(found, f.name)[:20] for f in dataclasses.fields(found)})
    wide, narrow = degradation_score(few), degradation_score(found)
    assert narrow["low"] < narrow["mean"] < narrow["high"]
    assert narrow["high"] - narrow["low"] < 0.6 * (wide["high"] - wide["low"])


def test_where_emptying_costs_nothing_there_is_no_score():
    found = deletion(cuttable(torch.zeros(2, 6))[0], torch.rand(2, 6))
    assert np.isnan(degradation_score(found)["mean"])


def test_a_record_is_ready_for_json():
    record = deletion(cuttable(torch.rand(2, 6))[0], torch.rand(2, 6)).as_dict(1)
    assert json.loads(json.dumps(record)) == record and len(record["most_first"]) == 9
