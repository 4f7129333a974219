import io

import numpy as np
import pytest
from PIL import Image

from pellucid.data import digits
from pellucid.errors import BadUsage


def pixels(row):
    return np.asarray(Image.open(io.BytesIO(row["image"])))


def test_training_and_test_digits_share_no_picture():
    train, test = digits.read("train"), digits.read("test")
    assert (len(train), len(test)) == (1200, 597)
    assert pixels(train[0]).shape == (32, 32)
    assert {row["label"] for row in train} == {str(d) for d in range(10)}


def test_a_grid_shows_a_digit_where_its_label_says():
    rows = digits.read_grids("test")
    cell = digits.SIDE
    for row in rows[:50]:
        picture = pixels(row)
        assert picture.shape == (2 * cell, 4 * cell)
        told = {tuple(map(int, label.partition(" at ")[2].split(","))) for label in row["labels"]}
        seen = {(r, c) for r in range(2) for c in range(4) if picture[r * cell : (r + 1) * cell, c * cell : (c + 1) * cell].any()}
        assert told == seen


def test_grids_have_two_and_a_half_digits_and_a_tenth_of_the_training_labels_is_missing():
    train, test = digits.read_grids("train"), digits.read_grids("test")
    assert (len(train), len(test), len(train[0]["classes"])) == (3000, 1000, 80)
    assert np.mean([len(row["labels"]) for row in test]) == pytest.approx(2.5, abs=0.15)
    assert np.mean([len(row["labels"]) for row in train]) == pytest.approx(2.25, abs=0.1)


def test_the_same_grids_come_every_time():
    first = digits.read_grids("test")
    digits.plain.cache_clear()
    assert digits.read_grids("test") == first


def test_another_part_is_refused_by_name():
    with pytest.raises(BadUsage, match="digits:tran: no such part; did you mean 'train'"):
        digits.read("tran")
