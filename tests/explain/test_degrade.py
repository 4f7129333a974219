"""Degradation curves: by hand on a linear model, and what must hold for any."""

import json
import math

import pytest
import torch

from pellucid.explain.attribution import baseline
from pellucid.explain.degrade import degradation, degradations, on_scale
from pellucid.explain.probe import ask
from toys import Pictures, Sentences, linear_probe, pictures, sentences


def test_curves_by_hand():
    weights, units = torch.tensor([[1.0], [4.0], [2.0], [3.0]]), torch.ones(1, 4, 1)
    probe = linear_probe(weights, units)  # score 10
    found = degradation(probe, weights.T, 0 * units, fractions=4)
    assert found.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.most_first.tolist() == [[10, 6, 3, 1, 0]]
    assert found.least_first.tolist() == [[10, 9, 7, 4, 0]]
    assert found.area.tolist() == [pytest.approx((3 + 4 + 3) / 4)]
    assert found.random[0, 0] == 10 and found.random[0, -1] == 0


def test_random_orders_fall_evenly_and_get_no_area_on_a_linear_model():
    weights = torch.rand(8, 1)
    probe = linear_probe(weights, torch.ones(1, 8, 1))
    few, many = (degradation(probe, weights.T, 0 * probe.units, fractions=8, random_orders=k) for k in (3, 60))
    even = few.most_first[0, 0] * (1 - few.fractions)
    torch.testing.assert_close(few.random[0, 4], even[4])  # half way, an order and its reverse remove everything once
    torch.testing.assert_close(many.random[0], even, rtol=0.05, atol=0.05)
    assert abs(many.random_area.item()) < 0.2 * many.area.item()


def test_a_perfect_ranking_beats_chance_and_chance_beats_its_reverse():
    weights = torch.rand(12, 1)
    probe = linear_probe(weights, torch.ones(3, 12, 1))
    perfect = degradation(probe, weights.T.repeat(3, 1), 0 * probe.units)
    worst = degradation(probe, -weights.T.repeat(3, 1), 0 * probe.units)
    assert (perfect.area > perfect.random_area.abs()).all()
    torch.testing.assert_close(worst.area, -perfect.area)
    assert (perfect.most_first <= perfect.random + 1e-5).all() and (perfect.random <= perfect.least_first + 1e-5).all()


def test_equal_relevance_has_no_area():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    found = degradation(probe, torch.ones_like(probe.units[..., 0]), baseline(probe))
    assert found.area.tolist() == [0.0] * 4


def test_words_fall_whole_and_special_tokens_stay():
    units = torch.tensor([[[16.0], [8.0], [4.0], [2.0], [1.0]]])
    groups = torch.tensor([[-1, 0, 0, 1, -1]])
    probe = linear_probe(torch.ones(5, 1), units, groups=groups)
    found = degradation(probe, torch.tensor([[9.0, 1.0, 1.0, 3.0, 9.0]]), 0 * units, fractions=2)
    assert found.most_first.tolist() == [[31, 29, 17]]  # word 1 (relevance 3), then word 0 (1 + 1)
    assert found.least_first.tolist() == [[31, 19, 17]]


def test_an_example_degrades_alike_alone_and_in_a_batch():
    task = Sentences()
    rows = sentences()
    curves = []
    for some in (rows, rows[1:2]):  # the shortest: one word among rows of up to five
        probe = ask(task, task.collate(some), "encoder")
        curves.append(degradation(probe, probe.units.norm(dim=-1), baseline(probe)))
    batch, alone = curves
    for name in ("most_first", "least_first", "random", "area", "random_area"):
        torch.testing.assert_close(getattr(batch, name)[1], getattr(alone, name)[0], rtol=1e-4, atol=1e-5)


def test_several_relevances_get_the_curves_that_each_gets_alone():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    start, relevance = baseline(probe), {"one": torch.rand_like(probe.units[..., 0]), "two": torch.rand_like(probe.units[..., 0])}
    together = degradations(probe, relevance, start)
    for name, some in relevance.items():
        alone = degradation(probe, some, start)
        assert torch.equal(together[name].most_first, alone.most_first) and torch.equal(together[name].random, alone.random)


def test_log_probabilities_are_shown_as_probabilities():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    shown = on_scale(probe, task.score_unit)
    torch.testing.assert_close(shown.score(probe.units), probe.score(probe.units).exp())
    assert on_scale(probe, "value") is probe


def test_curves_are_ready_for_json():
    probe = linear_probe(torch.rand(4, 1), torch.ones(2, 4, 1))
    record = degradation(probe, torch.rand(2, 4), 0 * probe.units).as_dict(1)
    assert json.loads(json.dumps(record)) == record
    assert list(record) == ["fractions", "most_first", "least_first", "random", "area", "random_area"]
    assert len(record["random"]) == len(record["fractions"]) == 11 and math.isfinite(record["area"])
