"""Corrupted test sets: what is kept, what is spoiled, what is forgotten."""

import pytest

from pellucid.errors import BadUsage
from pellucid.shift.corruption import corrupted, corrupted_sets

LONG = "a film of rare patience and of very little plot that leaves you wanting more"
EXAMPLES = [
    {"id": f"m.csv:{i}", "text": LONG, "text_pair": LONG, "label": "pos", "stars": 4, "tokens": [1, 2], "length": 2} for i in range(5)
]


def test_only_the_text_changes_and_what_was_cached_from_it_goes():
    for before, after in zip(EXAMPLES, corrupted(EXAMPLES, "typos", 4), strict=True):
        assert set(after) == {"id", "text", "text_pair", "label", "stars"}
        assert (after["id"], after["label"], after["stars"]) == (before["id"], "pos", 4)
        assert after["text"] != LONG
    assert EXAMPLES[0]["text"] == LONG
    assert EXAMPLES[0]["tokens"] == [1, 2]


def test_the_two_sentences_of_an_example_are_spoiled_differently():
    assert all(e["text"] != e["text_pair"] for e in corrupted(EXAMPLES, "typos", 5))


def test_a_copy_does_not_depend_on_the_rest_of_the_set():
    whole = corrupted(EXAMPLES, "swap", 3, seed=2)
    assert corrupted(EXAMPLES[3:4], "swap", 3, seed=2) == whole[3:4]
    assert corrupted(EXAMPLES[::-1], "swap", 3, seed=2) == whole[::-1]


def test_an_example_of_one_sentence_gets_no_second():
    assert set(corrupted([{"id": "a", "text": LONG, "text_pair": None}], "case", 1)[0]) == {"id", "text", "text_pair"}
    assert set(corrupted([{"id": "a", "text": LONG}], "case", 1)[0]) == {"id", "text"}


def test_sets_are_named_after_home_kind_and_severity():
    sets = corrupted_sets(EXAMPLES, ["typos", "drop"], [1, 5], name="movies")
    assert list(sets) == ["movies/typos-1", "movies/typos-5", "movies/drop-1", "movies/drop-5"]
    assert sets["movies/drop-5"] == corrupted(EXAMPLES, "drop", 5)


def test_an_example_without_text_is_named():
    with pytest.raises(BadUsage, match=r"'t\.csv:3' has no text or text_pair"):
        corrupted([{"id": "t.csv:3", "image": "x.jpg"}], "typos", 1)
    with pytest.raises(BadUsage, match=r"has no id"):
        corrupted([{"text": "x"}], "typos", 1)
