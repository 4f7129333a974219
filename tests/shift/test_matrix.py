"""Train domains by test domains: means, intervals over seeds, drops, and the table."""

import numpy as np
import pytest
from scipy import stats

from pellucid.errors import BadUsage
from pellucid.shift.matrix import markdown, matrix

VALUES = {
    ("books", "books"): [0.90, 0.92, 0.94],
    ("books", "dvd"): [0.80, 0.84, 0.88],
    ("books", "music"): [0.70, 0.70, 0.70],
    ("dvd", "books"): [0.85],
    ("dvd", "dvd"): [0.86],
}


def test_a_cell_is_the_mean_over_seeds_with_students_interval():
    cell = matrix(VALUES)["cells"]["books"]["dvd"]
    expected = stats.t.interval(0.95, 2, loc=0.84, scale=stats.sem([0.80, 0.84, 0.88]))
    assert (cell["mean"], cell["low"], cell["high"], cell["n"]) == pytest.approx((0.84, *expected, 3))


def test_a_drop_is_taken_from_the_rows_own_domain():
    found = matrix(VALUES)
    assert found["cells"]["books"]["books"]["drop"] == 0
    assert found["cells"]["books"]["dvd"]["drop"] == pytest.approx(-0.08)
    assert found["mean_drop"] == pytest.approx({"books": (-0.08 - 0.22) / 2, "dvd": -0.01})
    assert (found["trains"], found["tests"]) == (["books", "dvd"], ["books", "dvd", "music"])


def test_one_seed_has_no_interval_and_no_home_no_drop():
    assert matrix(VALUES)["cells"]["dvd"]["dvd"]["low"] is None
    found = matrix({("sst", "imdb"): [0.9, 0.8]})
    assert found["cells"]["sst"]["imdb"]["drop"] is None
    assert found["mean_drop"] == {"sst": None}


def test_the_table_reads_as_markdown():
    half = 100 * stats.t.ppf(0.975, 2) * np.std([0.90, 0.92, 0.94], ddof=1) / np.sqrt(3)
    lines = markdown(matrix(VALUES)).splitlines()
    assert lines[0] == "| trained on | books | dvd | music | mean drop |"
    assert lines[1] == "| --- | --- | --- | --- | --- |"
    assert lines[2] == f"| books | 92.0 ± {half:.1f} | 84.0 ± 9.9 | 70.0 ± 0.0 | -15.0 |"
    assert lines[3] == "| dvd | 85.0 | 86.0 |  | -1.0 |"


def test_an_empty_cell_is_refused_by_name():
    with pytest.raises(BadUsage, match="trained on a, tested on b"):
        matrix({("a", "b"): []})
    with pytest.raises(BadUsage, match="no values"):
        matrix({})
