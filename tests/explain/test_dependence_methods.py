"""Set-function methods: hand-worked values, identities, and the authors' defects reproduced only where asked for."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.explain.dependence import game as games
from pellucid.explain.dependence import select, sets, subsets, weights
from pellucid.explain.dependence.game import Game
from pellucid.tasks.synthetic.mixture import Mixture


def game_of(points, labels, std=0.125):
    mixture = Mixture(torch.tensor(points), torch.tensor(labels), 2, std)
    columns = points.shape[1]
    known = torch.tensor(sets.member(sets.everything(columns), columns))

    def condition(some):
        probs = mixture.marginal(torch.tensor(some), known).numpy()
        return probs[..., 1], probs.max(-1)

    def predict(some):
        with torch.no_grad():
            return mixture(torch.tensor(some))[:, 1].numpy()

    def gradient(some):
        with torch.no_grad():
            return mixture.gradient(torch.tensor(some)).numpy()

    return Game(points, predict, gradient, condition, points, std)


@pytest.fixture
def square():
    """The exclusive or: four points a spacing apart."""
    return game_of(np.array([[0.0, 0.0], [0.0, 0.25], [0.25, 0.0], [0.25, 0.25]]) - 0.125, np.array([1, 0, 0, 1]))


@pytest.fixture
def five():
    rng = np.random.default_rng(0)
    return game_of(rng.normal(0, 0.3, (9, 5)), rng.integers(0, 2, 9))


def test_no_column_of_an_exclusive_or_tells_anything_alone(square):
    assert np.abs(weights.gam(square)).max() < 1e-12


def test_shapley_shares_an_exclusive_or_equally(square):
    probability = 1 / (1 + np.exp(-2.0))
    p = probability**2 + (1 - probability) ** 2  # both coordinates right, or both wrong
    signs = np.array([[1, 1], [-1, -1], [-1, -1], [1, 1]])
    assert np.allclose(weights.shapley_mean_function(square), signs * (p - 0.5) / 2)


def test_subset_methods_return_the_whole_exclusive_or(square):
    level = np.array([0.6])
    assert subsets.fanova(square, level).tolist() == [[3] * 4]
    assert subsets.afchar(square, np.array([0.1])).tolist() == [[3] * 4]
    assert subsets.archipelago(square, level).tolist() == [[3] * 4]


def test_shapley_values_sum_to_what_they_share(five):
    there = five.predict(five.points)
    mean = five.predict(five.background.mean(0, keepdims=True))
    expected = five.known[0]
    assert np.allclose(weights.shapley_mean_function(five).sum(1), there - expected)
    assert np.allclose(weights.shapley_function_mean(five).sum(1), there - mean)
    official = weights.shapley_function_mean(five, official=True).sum(1)
    assert np.abs(official - (there - mean)).max() > 0.01


def test_shapley_values_are_means_over_all_orders(five):
    orders = list(permutations(range(5)))
    total = np.zeros_like(five.points)
    for order in orders:
        before = 0
        for k in order:
            total[:, k] += five.replaced[before | 1 << k] - five.replaced[before]
            before |= 1 << k
    assert np.allclose(weights.shapley_function_mean(five), total / len(orders))


def test_random_orders_come_near_the_exact_shapley_values_and_late_values_do_not():
    rng = np.random.default_rng(1)
    game = game_of(rng.normal(0, 0.3, (12, 8)), rng.integers(0, 2, 12))
    exact = weights.shapley_mean_function(game)
    assert np.abs(weights.shapley_mean_function(game, official=True) - exact).max() < 0.1
    assert np.allclose(weights.shapley_mean_function(game, official=True).sum(1), exact.sum(1))
    late = weights.shapley_function_mean(game, official=True)
    assert np.abs(late.sum(1) - weights.shapley_function_mean(game).sum(1)).max() > 0.01


def test_integrated_gradients_are_complete(five):
    """To 1e-3 at 50 steps on the mixture whose gradients the authors take, twice as wide; sharper ones need more steps."""
    wide = game_of(five.points, np.random.default_rng(1).integers(0, 2, 9), std=0.25)
    for game, steps, gap in ((wide, 50, 1e-3), (five, 50, 2e-3), (five, 400, 1e-4)):
        change = game.predict(game.points) - game.predict(game.background.mean(0, keepdims=True))
        assert np.allclose(weights.integrated_gradients(game, steps).sum(1), change, atol=gap)


def test_expected_gradients_sum_to_the_distance_from_the_mean_prediction(five):
    draws = five.background[np.arange(20000) % 9] + np.random.default_rng(5).normal(0, five.std, (20000, 5))
    expected = five.predict(five.points) - five.predict(draws).mean()
    assert np.allclose(weights.expected_gradients(five, draws=5000).sum(1), expected, atol=0.05)


def test_lime_of_a_linear_function_is_its_coefficients():
    rng = np.random.default_rng(0)
    slope = np.array([1.0, -2.0, 0.0])
    rows = rng.normal(size=(50, 3))
    game = Game(rows[:4], lambda x: x @ slope, lambda x: np.tile(slope, (len(x), 1)), lambda x: (x, x), rows, 0.1)
    found = weights.lime_continuous(game)
    assert np.allclose(found, slope * rows.std(0), atol=0.03)


def test_categorical_lime_weighs_what_a_shared_value_adds():
    """Two columns of two values; the function is 1 where the first is 1: only sharing that value matters."""
    rows = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    game = Game(rows, lambda x: x[:, 0], lambda x: x, lambda x: (x, x), rows, 0.1)
    found = weights.lime_categorical(game)
    assert np.allclose(np.abs(found[:, 0]), 1, atol=0.05)
    assert np.abs(found[:, 1]).max() < 0.02
    assert (np.sign(found[:, 0]) == [-1, -1, 1, 1]).all()


def test_the_smallest_certain_set_is_found_and_the_best_one_where_none_is():
    certainty = np.array([[0.5], [0.6], [0.9], [0.95]])
    game = Game(np.zeros((1, 2)), *[lambda x: x] * 3, np.zeros((1, 2)), 0.1)
    object.__setattr__(game, "_conditioned", (certainty, certainty))
    levels = np.array([0.45, 0.55, 0.92, 0.99])
    assert subsets.fanova(game, levels)[:, 0].tolist() == [0b00, 0b10, 0b11, 0b11]
    assert subsets.fanova(game, levels, official=True)[:, 0].tolist() == [0b00, 0b10, 0b11, -1]
    assert subsets.fanova(game, levels, most=1)[:, 0].tolist() == [0b00, 0b10, 0b10, 0b10]
    assert subsets.fanova(game, levels, most=3, official=True)[:, 0].tolist() == [0b00, 0b10, 0b11, 0b00]


def test_afchar_multiplies_by_what_smaller_sets_leave_open():
    certainty = np.array([[0.5], [0.75], [0.75], [1.0]])  # g: 0, 1/4, 1/4, 1
    game = Game(np.zeros((1, 2)), *[lambda x: x] * 3, np.zeros((1, 2)), 0.1)
    object.__setattr__(game, "_conditioned", (certainty, certainty))
    # alpha: 0, 1/4, 1/4, 9/16
    assert subsets.afchar(game, np.array([0.2, 0.3]))[:, 0].tolist() == [0b01, 0b11]
    certainty[:, 0] = 0.5, 0.75, 0.5 + 0.5 * 0.5**0.5, 0.9  # g: 0, 1/4, 1/2, 0.64; alpha of both: 0.64 x 3/4 x 1/2 = 0.24
    assert subsets.afchar(game, np.array([0.9]))[:, 0].tolist() == [0b10]


def test_islands_are_the_connected_sets():
    joined = np.zeros((1, 1, 10), dtype=bool)
    joined[0, 0, [0, 9]] = True  # the pairs (0, 1) and (3, 4) of five columns
    assert subsets._islands(joined, 5)[0, 0].tolist() == [0b00011, 0b00011, 0, 0b11000, 0b11000]
    joined[0, 0, 5] = True  # and (1, 3)
    assert subsets._islands(joined, 5)[0, 0].tolist() == [0b11011, 0b11011, 0, 0b11011, 0b11011]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.floats(0.1, 0.95))
def test_the_share_rule_takes_the_column_that_crosses_the_level(values, level):
    given_weights = np.array([values])
    order, total, taken, expected = np.argsort(-given_weights[0], kind="stable"), sum(values), 0.0, 0
    for k in order:
        if taken > level:
            break
        taken += values[k] / total
        expected |= 1 << int(k)
    assert select.by_share(given_weights, np.array([level])).item() == expected


def test_the_share_rule_on_hand_worked_weights():
    some = np.array([[-0.25412457, -0.06214613], [0.19166127, 0.06710942], [0.0, 0.0], [0.009, 0.001]])
    assert select.by_share(some, np.array([0.75])).tolist() == [[1, 3, 0, 1]]
    assert select.by_share(some, np.array([0.75]), least=1e-2).tolist() == [[1, 3, 0, 0]]


def test_ratios_of_negative_logits_select_nothing_only_officially():
    logits = np.array([[-1.0, -3.0], [2.0, 1.9]])
    assert select.by_ratio(logits, np.array([0.8]), official=True).tolist() == [[0, 3]]
    assert select.by_ratio(logits, np.array([0.8])).tolist() == [[1, 3]]


def test_a_tie_at_the_cut_tells_nothing():
    some = np.array([[0.5, 0.5, 0.1], [0.5, 0.4, 0.4]])
    assert select.largest(some, np.array([1, 1])).tolist() == [-1, 1]
    assert select.largest(some, np.array([2, 2])).tolist() == [3, -1]
    assert select.largest(some, np.array([3, 0])).tolist() == [7, 0]


def test_chunks_change_nothing(five, monkeypatch):
    whole = weights.shapley_function_mean(five), weights.integrated_gradients(five)
    monkeypatch.setattr(games, "CELLS", 50)
    five.__dict__.pop("replaced")
    assert np.allclose(whole[0], weights.shapley_function_mean(five), atol=1e-12)
    assert np.allclose(whole[1], weights.integrated_gradients(five), atol=1e-12)
