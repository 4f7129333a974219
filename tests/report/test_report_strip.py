"""A caption under its picture: every word is there, those of a box on its colour, in the direction in which they are read."""

import numpy as np
import pytest
from PIL import Image

from pellucid.report import letters, strip
from pellucid.report.strip import Mark

RED, BLUE = (240, 90, 90), (90, 120, 250)


def columns(image, paint) -> list[int]:
    """The columns where a colour stands."""
    return np.flatnonzero((np.asarray(image) == paint).all(-1).any(0)).tolist()


def test_the_words_of_a_box_stand_on_its_colour_and_no_others():
    image = strip.strip("the red cup, left", [Mark(4, 11, RED)], 400, 14)
    found, edge = columns(image, RED), 7
    begin, end = edge + sum(letters.width(text, 14) for text in ("the", " ")), letters.width("red cup", 14)
    assert found[0] == pytest.approx(begin, abs=1) and found[-1] == pytest.approx(begin + end, abs=3)
    assert found == list(range(found[0], found[-1] + 1))  # the space between, too
    assert not columns(strip.strip("the red cup, left", [], 400, 14), RED)


def test_words_of_one_colour_on_two_lines_end_with_their_lines():
    image = strip.strip("abcdefgh abcdefgh", [Mark(0, 17, RED)], 120, 14)
    assert image.height > 2 * 14 and columns(image, RED)[-1] < 120 - 7


def test_the_first_mark_of_a_letter_has_it():
    image = strip.strip("cup", [Mark(0, 3, RED), Mark(0, 3, BLUE)], 100, 14)
    assert columns(image, RED) and not columns(image, BLUE)
    part = strip.strip("cups", [Mark(0, 3, RED), Mark(0, 4, BLUE)], 100, 14)
    assert max(columns(part, RED)) < max(columns(part, BLUE))


@pytest.mark.parametrize("caption", ["הכוס האדומה ליד השולחן", "كوب أحمر على الطاولة"])
def test_what_is_read_from_the_right_begins_there(caption):
    first = caption.index(" ")
    image = strip.strip(caption, [Mark(0, first, RED), Mark(caption.rindex(" ") + 1, len(caption), BLUE)], 400, 14)
    assert min(columns(image, RED)) > max(columns(image, BLUE)) and max(columns(image, RED)) >= 400 - 9


def test_words_from_the_left_keep_their_order_within_a_line_from_the_right():
    words = [[strip._Piece(text, None, 1.0)] for text in ("הכוס", "the", "big", "laptop", "השחור")]
    assert [word[0].text for word in strip._in_sight(words, True)] == ["השחור", "the", "big", "laptop", "הכוס"]
    assert [word[0].text for word in strip._in_sight(words, False)] == ["הכוס", "the", "big", "laptop", "השחור"]


@pytest.mark.parametrize("caption", ["", "   ", "🍎👩‍👩‍👧 e\u0301", "a \ud800 \x00\u202e b", "x" * 3000, "一二三四五" * 40])
@pytest.mark.parametrize("width", [1, 12, 300])
def test_any_caption_fits_any_width(caption, width):
    image = strip.strip(caption, [Mark(0, len(caption) + 5, RED)], width, 12)
    assert image.width == width
    under = strip.stacked(Image.new("RGB", (width, 9)), [image])
    assert under.size == (width, 9 + image.height)


def test_a_word_wider_than_the_strip_goes_on_in_the_next_line():
    one, two = (strip.strip("x" * count, [], 100, 12).height for count in (5, 40))
    assert two > one + 2 * 12
