"""Pictures of words: rows of tiles on one scale or on their own."""

import pytest

from pellucid.errors import BadData
from pellucid.report import heat

WORDS = ["not", "bad"]
FLOW = {"method": "iba", "unit": "nats", "sites": ["embedding", "layer.0"], "relevance": [[1.0, 3.0], [4.0, 0.0]]}


def test_the_lowest_site_is_at_the_bottom_and_all_share_one_scale():
    found = heat.flow(FLOW, WORDS, "x")
    assert [band.name for band in found.bands] == ["layer.0", "embedding"]
    assert [[tile.alpha for tile in band.tiles] for band in found.bands] == [[1.0, 0.0], [0.25, 0.75]]
    assert found.bands[1].tiles[1].title == "bad, embedding: 3.0"
    assert (found.largest, found.signed, found.title) == ("4.0 nats", False, "Information flow (IBA)")


def test_who_cannot_see_the_flow_hears_its_sites_and_its_strongest_words():
    spoken = heat.flow(FLOW, WORDS, "x").spoken
    assert "layer.0 on top and embedding at the bottom" in spoken
    assert spoken.endswith("Strongest: not at layer.0 4.0, bad at embedding 3.0, not at embedding 1.0 nats.")


def test_a_flow_that_fits_no_words_is_refused_and_one_of_no_sites_is_no_picture():
    with pytest.raises(BadData, match=r"here: flow has 2 rows of \[2\] for 2 sites and 1 words"):
        heat.flow(FLOW, ["not"], "here")
    assert heat.flow({"sites": [], "relevance": []}, WORDS, "here") is None


def test_a_flow_of_missing_numbers_has_no_colour():
    found = heat.flow({"sites": ["a"], "relevance": [[None, float("nan")]]}, WORDS, "x")
    assert [(t.sign, t.alpha, t.title) for t in found.bands[0].tiles] == [("", 0.0, "not, a: n/a"), ("", 0.0, "bad, a: n/a")]


def test_side_by_side_every_method_has_a_scale_of_its_own_and_says_how_far_it_agrees():
    methods = {"iba": {"relevance": [100.0, 50.0], "checks": {"agreement": 0.614}}, "lime": {"relevance": [-0.01, 0.005]}}
    found = heat.side_by_side(methods, WORDS)
    assert [[(t.sign, t.alpha) for t in b.tiles] for b in found.bands] == [[("pos", 1.0), ("pos", 0.5)], [("neg", 1.0), ("pos", 0.5)]]
    assert ([b.note for b in found.bands], found.note_name, found.signed) == (["0.61", ""], "agrees", True)


def test_one_method_has_nobody_to_stand_beside():
    assert heat.side_by_side({"iba": {"relevance": [1.0, 2.0]}}, WORDS) is None
    assert heat.side_by_side({"a": {"relevance": []}, "b": {"relevance": []}}, []) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["fine"], "ltr"), (["12", "فيلم", "fine"], "rtl"), (["(", "טוב"], "rtl"), (["好"], "ltr"), (["12", "!"], "ltr"), ([], "ltr")],
)
def test_words_run_the_way_their_first_letter_is_read(words, expected):
    assert heat.direction(words) == expected


def test_many_letters_are_turned_and_few_are_not():
    row = [1.0] * 30
    wide, narrow = (heat.flow({"sites": ["a"], "relevance": [row[:n]]}, ["word"] * n, "x") for n in (30, 10))
    assert (wide.across, narrow.across) == (False, True)
