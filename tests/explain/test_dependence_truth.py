"""Truths against the definition written out, point by point and set by set."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.data import functional
from pellucid.errors import BadUsage
from pellucid.explain.dependence import properties, sets, truth

XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])


def by_definition(points, labels):
    """All smallest I with: whoever agrees with x on I has x's label."""
    found = []
    for x, y in zip(points, labels, strict=True):
        for count in range(points.shape[1] + 1):
            right = [
                sets.mask_of(some)
                for some in combinations(range(points.shape[1]), count)
                if all(v == y for z, v in zip(points, labels, strict=True) if all(z[k] == x[k] for k in some))
            ]
            if right:
                break
        found.append(sorted(right))
    return found


@st.composite
def data_sets(draw):
    columns, rows = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    cells = draw(st.lists(st.tuples(*[st.integers(0, 2)] * columns), min_size=rows, max_size=rows, unique=True))
    return np.array(cells, dtype=float), np.array(draw(st.lists(st.integers(0, 2), min_size=len(cells), max_size=len(cells))))


@settings(max_examples=50, deadline=None)
@given(data_sets())
def test_the_smallest_deciding_sets_are_those_of_the_definition(data):
    found = truth.of_points(*data)
    assert [found.sets_of(i) for i in range(len(data[0]))] == by_definition(*data)


@settings(max_examples=50, deadline=None)
@given(data_sets())
def test_domains_keep_the_properties(data):
    points, labels = data
    found = truth.of_points(points, labels)
    assert properties.trivial_domains(found, labels)
    assert properties.grows(found)
    assert properties.closed(found, points)
    for choice in (found.smallest[:, 0], found.smallest.max(1)):
        assert properties.monotone(points, choice).all()
        assert properties.same_label(points, labels, choice).all()
        assert properties.sound(found, choice).all()
        assert properties.minimal(found, choice).all()


@settings(max_examples=30, deadline=None)
@given(data_sets(), st.randoms())
def test_moving_the_columns_moves_the_truth(data, random):
    points, labels = data
    order = list(range(points.shape[1]))
    random.shuffle(order)
    moved = truth.of_points(points[:, order], labels)
    here = truth.of_points(points, labels)
    for i in range(len(points)):
        assert {int(m) for m in properties.permuted(np.array(here.sets_of(i)), order)} == set(moved.sets_of(i))


def test_both_columns_of_an_exclusive_or_decide():
    found = truth.of_points(*XOR)
    assert found.smallest.tolist() == [[3], [3], [3], [3]]
    assert found.domain.tolist() == [[False, False, False, True]] * 4


def test_a_constant_label_needs_no_column():
    found = truth.of_points(XOR[0], np.ones(4, dtype=int))
    assert found.smallest.tolist() == [[0]] * 4


def test_equal_points_with_different_labels_have_no_explanation():
    found = truth.of_points(np.zeros((2, 2)), np.array([0, 1]))
    assert found.size.tolist() == [-1, -1]
    assert found.sets_of(0) == []


def test_a_vertex_three_flips_away_makes_three_right_answers():
    """Point 9 of the published task 4_2, whose maker says column 1 alone."""
    points = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1]], dtype=float)
    found = truth.of_points(points, np.array([0, 1, 1]))
    assert found.sets_of(0) == [0b0011, 0b0110, 0b1010]
    assert not properties.sound(found, np.array([0b0010] * 3))[0]


def test_a_copy_of_a_column_gives_two_answers():
    problem = functional.duplicated(functional.multivariate(np.random.default_rng(0), 3, functional.Shapes(2, drop=0.0)), 0)
    found = truth.of_points(problem.points, problem.labels)
    needing = (problem.stated & 1).astype(bool)
    assert needing.any()
    for i in np.flatnonzero(needing).tolist():
        first = int(problem.stated[i])
        assert found.sets_of(i) == sorted([first, first ^ 1 | 1 << 3])


def test_a_dummy_is_never_in_a_truth():
    problem = functional.with_dummies(functional.multivariate(np.random.default_rng(1), 3), 2)
    found = truth.of_points(problem.points, problem.labels)
    assert properties.free_of(np.where(found.smallest < 0, 0, found.smallest), 0b11000).all()


def test_asking_for_more_certainty_never_needs_fewer_columns():
    certainty = np.array([[0.5], [0.7], [0.6], [1.0]])
    sizes = [truth.relaxed(certainty, least).size[0] for least in (0.5, 0.65, 0.8, 1.0)]
    assert sizes == [0, 1, 2, 2]


def test_a_share_of_exceptions_may_be_allowed():
    points, labels = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 0.0]]), np.array([0, 0, 1, 1])
    assert truth.covered(points, labels).size.tolist() == truth.of_points(points, labels).size.tolist()
    assert truth.covered(points, labels, least=0.6).sets_of(0) == [0b01]


def test_too_many_columns_are_refused():
    with pytest.raises(BadUsage, match="16 are the most"):
        truth.of_points(np.zeros((2, 17)), np.array([0, 1]))


def test_exact_solutions_break_the_authors_property_and_not_ours():
    """x has one column, and whoever agrees with it needs another one: allowed by the definition, not by their property."""
    points = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    labels = np.array([0, 0, 1, 1])
    found = truth.of_points(points, labels)
    assert found.sets_of(0) == [0b001]
    selected = np.array([0b001, 0b001, 0b001, 0b100])
    assert properties.monotone(points, selected).all()
    assert not properties.official(points, np.zeros(4, dtype=int), selected).all()
