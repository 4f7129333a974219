"""The PNG: colours that mean what the page's mean, nothing outside the picture, any letters."""

import io

import pytest
import report_run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.errors import BadData, BadUsage
from pellucid.report import letters, picture, spoken
from pellucid.report.sheet import MARGIN, TEXT, WIDTH


def found(words, relevance, **more):
    """Explanations of one example."""
    return {"examples": [{"id": "1", "prediction": "x", "words": words, "methods": {"iba": {"relevance": relevance}}} | more]}


def share(image, colour):
    """Pixels of exactly that colour."""
    return sum(count for count, there in image.getcolors(1 << 24) if there == colour)


@pytest.mark.parametrize(("dark", "palette"), [(False, picture.LIGHT), (True, picture.DARK)])
def test_words_for_are_blue_words_against_orange_on_the_page_s_ground(dark, palette):
    both, one_for, one_against = (picture.draw(found(["good", "dull"], r), dark) for r in ([2.0, -2.0], [2.0, 0.0], [0.0, -2.0]))
    assert both.getpixel((0, 0)) == palette.card
    for sign, alone, other in (("pos", one_for, one_against), ("neg", one_against, one_for)):
        fullest = palette.ground(sign, 0.72)
        assert share(both, fullest) == share(alone, fullest) > share(other, fullest)  # which has no more of it than the legend


def test_the_strongest_place_of_a_flow_has_the_fullest_tile_and_the_half_as_strong_one_half_of_it():
    flow = {"unit": "nats", "sites": ["embedding", "layer.0"], "relevance": [[0.0, 2.0], [4.0, 0.0]]}
    sheet = picture.Sheet(picture.LIGHT)
    picture._heat(sheet, picture.heat.flow(flow, ["not", "bad"], "x"))
    tiles = [m for m in sheet.marks if isinstance(m, picture.Box) and m.height == picture.TILE - 1]
    top, below = tiles[:2], tiles[2:]
    assert [t.fill for t in top] == [picture.LIGHT.pos, picture.LIGHT.card]
    assert [t.fill for t in below] == [picture.LIGHT.card, picture.LIGHT.ground("pos", 0.5)]
    assert top[0].y < below[0].y and top[0].x < top[1].x


def test_words_read_from_the_right_begin_at_the_right():
    sheet = picture.Sheet(picture.LIGHT)
    spoken.write(sheet, picture.words.coloured(["فيلم", "رائع"], [1.0, 0.5]), (MARGIN, WIDTH - 2 * MARGIN), TEXT)
    first, second = [m for m in sheet.marks if isinstance(m, picture.Letters)]
    assert first.x > second.x
    assert first.x + letters.width(first.text, first.size) == pytest.approx(picture.WIDTH - picture.MARGIN)


@given(st.lists(st.floats(1, 400), max_size=40), st.floats(50, 300))
@settings(max_examples=50, deadline=None)
def test_no_piece_passes_the_edge_unless_it_is_alone_and_too_wide(widths, room):
    places = spoken.lines(widths, [5.0] * len(widths), room)
    assert all(start + width <= room or start == 0 for width, (_, start) in zip(widths, places, strict=True))
    assert [line for line, _ in places] == sorted(line for line, _ in places)


@given(st.integers(1, 300), st.floats(50, 700))
@settings(max_examples=50)
def test_every_column_of_a_wide_picture_is_in_one_of_its_rows_and_the_rows_are_even(count, room):
    rows = picture.groups(count, room)
    assert [i for row in rows for i in row] == list(range(count))
    assert max(len(row) for row in rows) * picture.NARROWEST <= room + picture.NARROWEST


def test_nothing_is_drawn_outside_the_picture():
    words = ["unbelievablylong" * 12, *("the jokes are older than the hills and " * 8).split()]
    flow = {"sites": [f"layer.{k}" for k in range(12)], "relevance": [[float(i + k) for i in range(len(words))] for k in range(12)]}
    methods = {name: {"relevance": [1.0] * len(words), "checks": {"deletion": 0.5}} for name in ("iba", "integrated_gradients")}
    view = picture.words.view(found(words, [1.0] * len(words), methods=methods, flow=flow), "x")
    sheet = picture.Sheet(picture.LIGHT)
    picture._example(sheet, view.examples[0])
    for mark in sheet.marks:
        long = mark.width if isinstance(mark, picture.Box) else 0 if mark.turned else letters.width(mark.text, mark.size)
        assert mark.x >= picture.MARGIN - 3 and mark.x + long <= picture.WIDTH - picture.MARGIN + 3, mark
    lowest = max(m.y + (letters.width(m.text, m.size) if isinstance(m, picture.Letters) and m.turned else 0) for m in sheet.marks)
    assert lowest <= sheet.y + picture.MARGIN


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_any_letters_make_a_picture(words):
    image = picture.draw(found(words, [float(i) for i in range(len(words))], flow={"sites": ["a"], "relevance": [[1.0] * len(words)]}))
    assert image.width == picture.WIDTH * picture.SCALE


@pytest.mark.parametrize("word", ["a\nb", "\ud83d", "\x00", "", "👩‍👩‍👧", "好看", "\u202eabc", "ﷺ"])
def test_letters_that_fonts_choke_on_make_a_picture(word):
    assert picture.draw(found([word, word], [1.0, -1.0])).height > 100


def test_a_text_is_drawn_on_one_line_without_what_has_no_shape():
    assert letters.clean("a\x00\ud83d\n\u2028b") == "a ? b"


def test_without_any_installed_font_the_one_of_pillow_serves(monkeypatch):
    monkeypatch.setattr(letters, "FAMILIES", ())
    for cache in (letters._fonts, letters._has, letters._which):
        cache.cache_clear()
    assert picture.draw(found(["Mädchen", "好"], [1.0, -0.5])).height > 100
    assert letters.font("plain", 20).getname()[0] == "Aileron"
    for cache in (letters._fonts, letters._has, letters._which):
        cache.cache_clear()


def test_the_file_is_a_png_and_written_whole(tmp_path):
    path = picture.write(report_run.explanations(), tmp_path / "x.png")
    assert Image.open(path).format == "PNG"
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
    with pytest.raises(BadUsage, match="cannot be written"):
        picture.write(report_run.explanations(), tmp_path / "none" / "x.png")
    assert picture.png(report_run.explanations()) == path.read_bytes()
    assert Image.open(io.BytesIO(picture.png(report_run.explanations(), dark=True))).getpixel((0, 0)) == picture.DARK.card


def test_a_picture_of_very_many_examples_ends_and_says_so(monkeypatch):
    many = report_run.explanations()
    monkeypatch.setattr(picture, "TALLEST", 0)
    height = picture.draw(many).height
    many["examples"] *= 4
    assert picture.draw(many).height == height


def test_what_is_no_explanation_is_no_picture():
    with pytest.raises(BadData, match="examples is 3, expected a list"):
        picture.draw({"examples": 3})
