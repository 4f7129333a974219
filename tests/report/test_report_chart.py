import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.report import chart, number, sections
from pellucid.report.chart import Axis, Series

reals = st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-9)


@given(reals, reals)
def test_ticks_are_even_round_few_and_cover_the_values(a, b):
    low, high = min(a, b), max(a, b)
    ticks = chart.nice_ticks(low, high)
    steps = [y - x for x, y in itertools.pairwise(ticks)]
    assert 2 <= len(ticks) <= 7
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3)
    if high - low > 1e-6 * max(abs(low), abs(high)):
        assert ticks[0] <= low + 1e-6 * steps[0]
        assert ticks[-1] >= high - 1e-6 * steps[0]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 1.0, (0, 0.5, 1)), (0.2, 0.71, (0.2, 0.4, 0.6, 0.8)), (83.3, 84.7, (83, 83.5, 84, 84.5, 85)), (0.0, 0.0, (-0.5, 0, 0.5))],
)
def test_ticks_worked_by_hand(low, high, ticks):
    assert chart.nice_ticks(low, high) == pytest.approx(ticks)


def test_axis_labels_are_in_per_cent_where_the_axis_is():
    found = chart.axis("accuracy", [0.833, 0.847], scale=100.0)
    assert found.labels == ("83.0", "83.5", "84.0", "84.5", "85.0")
    assert found.ticks == pytest.approx((0.83, 0.835, 0.84, 0.845, 0.85))


def test_epochs_have_no_fractions():
    assert chart.axis("epoch", [1.0, 2.0], whole=True).labels == ("1", "2")
    assert chart.axis("epoch", [1.0], whole=True).labels == ("1",)


def test_a_point_lands_where_its_axis_says_and_higher_is_up():
    axes = (Axis("x", 0.0, 10.0, (0.0, 10.0), ("0", "10")), Axis("y", 0.0, 1.0, (0.0, 1.0), ("0", "1")))
    found = chart.plot(
        "i", "t", "d", axes, [Series("s", [(0.0, 0.0), (5.0, 1.0), (10.0, 0.5)])], chart.Frame(120.0, 70.0, 10.0, 10.0, 10.0, 10.0)
    )
    assert found.curves[0].path == "M10 60L60 10L110 35"


def test_a_line_breaks_where_a_value_is_missing():
    assert chart.path_of([(0.0, 0.0), (1.0, 1.0), None, None, (4.0, 4.0), (5.0, 5.0)]) == "M0 0L1 1M4 4L5 5"
    axes = (chart.unit_axis("x"), chart.unit_axis("y"))
    assert chart.plot("i", "t", "d", axes, [Series("s", [(0.0, math.nan)], dots=["n"])]).curves[0].dots == ()


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=1000))
def test_thinning_keeps_the_mean_roughly_and_the_count_bounded(points):
    found = chart.thinned(points, 50)
    assert len(found) == min(50, len(points))
    if len(points) % 50 == 0 or len(points) < 50:
        assert sum(p[1] for p in found) / len(found) == pytest.approx(sum(p[1] for p in points) / len(points), abs=1e-9)


def test_a_constant_stays_itself_when_smoothed():
    assert [y for _, y in chart.smoothed([(float(i), 3.0) for i in range(9)])] == pytest.approx([3.0] * 9)


def test_a_bar_begins_at_zero():
    x = chart.axis("v", [0.8, 0.9], zero=True)
    found = chart.rows("i", "t", "d", x, [chart.Row("a", [chart.Item(0.8, "a", 0.7, 0.9)], "0.8")], guide=0.8)
    spot = found.rows[0].spots[0]
    assert found.zero == found.frame.left
    assert found.zero < spot.low < spot.x == found.guide < spot.high


def test_a_long_name_is_shortened_but_kept_whole_for_the_tooltip():
    found = chart.rows("i", "t", "d", chart.axis("v", [1.0]), [chart.Row("a very long name of a set", [chart.Item(1.0, "x")])])
    assert found.rows[0].short == "a very long n\u2026"
    assert found.rows[0].label == "a very long name of a set"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), (math.nan, "n/a"), (-0.0001, "0.000"), (-1.5, "\u22121.500"), (math.inf, "\u221e"), (0.12345, "0.123")],
)
def test_numbers_are_written_for_people(value, text):
    assert number.fixed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.0321, "0.0321"), (1234.5, "1234"), (5e-5, "5.00e\u22125"), (0.99999, "1.00"), (-2.5e7, "\u22122.50e7")],
)
def test_three_significant_digits_worked_by_hand(value, text):
    assert number.significant(value) == text


def test_shares_are_per_cent_and_correlations_are_not():
    share, pearson = number.unit_of("macro_f1", [0.849]), number.unit_of("pearson", [0.69])
    assert (share.value(0.849), share.change(-0.0991), share.amount(-0.0991)) == ("84.9%", "\u22129.9", "9.9 points")
    assert (pearson.value(0.687), pearson.change(0.1), pearson.interval(0.6, None)) == ("0.687", "+0.100", "")
    assert number.unit_of("accuracy", [84.9, 75.0]).value(84.9) == "84.9%"
    assert number.unit_of("mean_absolute_error", [0.4]).value(0.4) == "0.400"


def test_a_step_logged_twice_counts_once_with_its_later_value():
    logged = [
        {"step": 1.0, "train/loss": 1.0},
        {"step": 2.0, "train/loss": 9.0},
        {"step": 2.0, "train/loss": 0.5},
        {"step": 3.0, "train/loss": None},
    ]
    assert sections._points(logged, "step", "train/loss") == [(1.0, 1.0), (2.0, 0.5)]
