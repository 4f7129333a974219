"""The leak check finds what was planted, and nothing that is not there."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.data.leaks import _key, _shingles, leaks

WORDS = [
    f"{a}{b}{c}" for a in ("ka", "lo", "mi", "ru", "se") for b in ("ban", "den", "fis", "gor", "tul") for c in ("a", "esh", "on", "ip")
]


def texts(num: int, seed: int, length: int = 20) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, length)) for _ in range(num)]


def rows(sentences: list[str], prefix: str) -> list[dict]:
    return [{"id": f"{prefix}:{i}", "text": text} for i, text in enumerate(sentences, 1)]


def pieces(text: str) -> set[bytes]:
    """Every five bytes of the normalised text, the plain way."""
    raw = _key({"text": text}, ["text"]).encode().ljust(5)
    return {raw[i : i + 5] for i in range(len(raw) - 4)}


def test_planted_duplicates_are_found_and_unrelated_rows_are_not():
    train = texts(2000, 0)
    near = train[7].split()
    near[3] = "changed"
    planted = ["  " + train[1900].upper().replace(" ", ",  ") + "!", " ".join(near)]
    found = leaks(rows(train, "train.csv"), {"test": rows(texts(500, 1) + planted, "test.csv"), "other": rows(texts(50, 2), "o.csv")})
    assert found == {
        "train": 2000,
        "sets": {
            "test": {
                "n": 502,
                "exact": 1,
                "near": 1,
                "examples": [
                    {"test_id": "test.csv:501", "train_id": "train.csv:1901", "kind": "exact"},
                    {"test_id": "test.csv:502", "train_id": "train.csv:8", "kind": "near"},
                ],
            },
            "other": {"n": 50, "exact": 0, "near": 0, "examples": []},
        },
    }
    assert json.loads(json.dumps(found)) == found


def test_near_means_what_comparing_every_pair_finds():
    rng = np.random.default_rng(3)
    train = texts(200, 4, 12)
    test = []
    for text in train:  # from untouched to rewritten
        words = text.split()
        for i in rng.choice(12, rng.integers(0, 6), replace=False):
            words[i] = str(rng.choice(WORDS))
        test.append(" ".join(words))
    exact = [t in train for t in test]
    sets = [pieces(s) for s in train]
    best = [max(len(p & s) / len(p | s) for s in sets) for p in map(pieces, test)]
    expected = [b >= 0.8 and not e for b, e in zip(best, exact, strict=True)]
    found = leaks(rows(train, "s"), {"t": rows(test, "t")})["sets"]["t"]
    assert 10 < sum(expected) < 150
    assert (found["exact"], found["near"]) == (sum(exact), sum(expected))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=8))
def test_a_set_against_itself_is_all_exact_save_empty_rows(sentences):
    examples = rows(sentences, "x")
    found = leaks(examples, {"x": examples})["sets"]["x"]
    assert (found["exact"], found["near"]) == (sum(bool(_key(e, ["text"])) for e in examples), 0)


@given(st.lists(st.text(max_size=40), max_size=8))
def test_shingles_of_many_texts_are_those_of_each_alone(sentences):
    encoded = [s.encode("utf-8", "ignore").decode() for s in sentences]
    codes, starts = _shingles(encoded)
    for i, text in enumerate(encoded):
        alone, _ = _shingles([text])
        assert codes[starts[i] : starts[i + 1]].tolist() == alone.tolist() == sorted(set(alone.tolist()))


def test_pairs_are_compared_as_pairs():
    train = [{"id": "a", "text": "one two three", "text_pair": "four five six"}]
    tests = {
        "same": [{"id": "b", "text": "One two three.", "text_pair": "four, five six"}],
        "half": [{"id": "b", "text": "one two three", "text_pair": "seven eight nine ten"}],
        "moved": [{"id": "b", "text": "one two threefo", "text_pair": "ur five six"}],
    }
    found = leaks(train, tests)["sets"]
    assert [found[name]["exact"] for name in tests] == [1, 0, 0]
    assert found["half"]["near"] == 0


def test_texts_of_punctuation_alone_are_told_apart():
    found = leaks(rows(["?!", ":-)"], "s"), {"t": rows(["!?", ":-)", "", "..."], "t")})["sets"]["t"]
    assert (found["exact"], found["near"]) == (1, 0)


def test_a_repeated_training_row_is_reported_by_its_first():
    found = leaks(rows(["same text here", "same text here"], "s"), {"t": rows(["Same text, here"], "t")})["sets"]["t"]
    assert found["examples"] == [{"test_id": "t:1", "train_id": "s:1", "kind": "exact"}]


@pytest.mark.parametrize("num", [0, 1])
def test_empty_sets_leak_nothing(num):
    found = leaks(rows(["some text"] * num, "s"), {"none": [], "one": rows(["other words altogether"], "t")})
    assert found["sets"]["none"] == {"n": 0, "exact": 0, "near": 0, "examples": []}
    assert found["sets"]["one"]["near"] == 0
