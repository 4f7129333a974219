"""The leak check finds what was planted, and nothing that is not there."""

import json
import pathlib
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid import cli
from pellucid.data.leaks import _key, _shingles, counts, leaks
from pellucid.data.read import read
from pellucid.recipe import Data

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


def labelled(pairs: list[tuple[str, object]], prefix: str) -> list[dict]:
    return [{"id": f"{prefix}:{i}", "text": text, "label": label} for i, (text, label) in enumerate(pairs, 1)]


def test_a_repeated_pair_leaks_and_a_text_with_another_label_contradicts():
    train = labelled([("jump left", "I_TURN_LEFT I_JUMP"), ("walk", "I_WALK"), ("Walk.", "I_RUN"), ("look", "I_LOOK")], "s")
    test = labelled([("look", "I_look"), ("run", "I_RUN"), ("walk", "I_RUN"), ("Jump, left", "I_TURN_LEFT I_JUMP")], "t")
    found = leaks(train, {"t": test})["sets"]["t"]
    assert {key: found[key] for key in ("exact", "same_label", "other_label", "near", "near_same_label")} == {
        "exact": 3,
        "same_label": 2,
        "other_label": 1,
        "near": 0,
        "near_same_label": 0,
    }
    assert found["examples"] == [  # the leaked ones first, and of "walk" the training row whose label is the test row's
        {"test_id": "t:3", "train_id": "s:3", "kind": "exact", "label": "same"},
        {"test_id": "t:4", "train_id": "s:1", "kind": "exact", "label": "same"},
        {"test_id": "t:1", "train_id": "s:4", "kind": "exact", "label": "other"},
    ]
    assert counts(found) == ("3 (2 same label, 1 other)", "0")


def test_a_near_row_has_the_same_label_if_any_training_row_near_it_has():
    [text, other] = texts(2, 5, 30)
    changed = [" ".join([f"word{i}", *text.split()[1:]]) for i in range(4)]
    train = labelled([(changed[0], "a"), (changed[1], "b"), (other, "c")], "s")
    test = labelled([(changed[2], "b"), (changed[3], "c")], "t")
    found = leaks(train, {"t": test})["sets"]["t"]
    assert (found["exact"], found["near"], found["near_same_label"]) == (0, 2, 1)
    assert found["examples"] == [
        {"test_id": "t:1", "train_id": "s:2", "kind": "near", "label": "same"},
        {"test_id": "t:2", "train_id": "s:1", "kind": "near", "label": "other"},
    ]
    assert counts(found, " exact", " near") == ("0 exact", "2 near (1 same label)")


@pytest.mark.parametrize("label", [None, ["a", "b"]])
def test_labels_are_counted_only_where_every_row_has_one(label):
    whole, part = labelled([("one two", 1), ("three four", 2)], "s"), labelled([("one two", 1), ("three four", label)], "t")
    for train, test in ((whole, part), (part, whole)):
        found = leaks(train, {"t": test})["sets"]["t"]
        assert (found["exact"], "same_label" in found, "label" in found["examples"][0]) == (2, False, False)
    assert leaks(whole, {"t": whole})["sets"]["t"]["same_label"] == 2
    pictures = [{"id": "p", "image": b"the same bytes", "label": "cat"}]
    assert "same_label" not in leaks(pictures, {"t": pictures})["sets"]["t"]
    assert counts({"exact": 2000, "near": 1}) == ("2,000", "1")


def lay(root: pathlib.Path, clips: dict[str, bytes]) -> str:
    for name, content in clips.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return f"videos:{root}"


def test_a_clip_leaks_where_its_bytes_and_its_part_are_those_of_a_training_clip(tmp_path):
    lay(tmp_path, {"a.mp4": b"first film", "b.mp4": b"other film", "copy.mp4": b"first film"})
    train = [{"id": name, "video": f"{tmp_path}/{name}.mp4", "label": name} for name in "ab"]
    test = [{"id": "whole", "video": f"{tmp_path}/copy.mp4", "label": "a"}, {"id": "part", "video": f"{tmp_path}/copy.mp4", "start_s": 2.0}]
    found = leaks(train, {"t": test, "parts": [{**test[1], "start_s": "2"}]})["sets"]
    assert found["t"] == {"n": 2, "exact": 1, "near": 0, "examples": [{"test_id": "whole", "train_id": "a", "kind": "exact"}]}
    assert found["parts"]["exact"] == 0
    assert leaks([{**train[0], "start_s": 2}], {"t": test})["sets"]["t"]["examples"] == [
        {"test_id": "part", "train_id": "a", "kind": "exact"}
    ]


def test_folders_of_frames_leak_and_clips_in_memory_by_what_they_are_made_of(tmp_path):
    for name, pictures in {"one": "abcde", "same": "abcde", "fewer": "abcd", "other": "abxde"}.items():
        lay(tmp_path / name, {f"img_{i:05d}.jpg": picture.encode() for i, picture in enumerate(pictures, 1)})
    train, *test = ([{"id": name, "video": f"{tmp_path}/{name}"}] for name in ("one", "same", "fewer", "other"))
    assert [leaks(train, {"t": rows})["sets"]["t"]["exact"] for rows in test] == [1, 0, 0]
    one, two = (read(Data(f"flash:train?digits=digits&classes=1&length=2&per_class={count}")) for count in (2, 3))
    assert leaks(one, {"t": two})["sets"]["t"]["exact"] == 4


def test_two_sources_of_clips_are_compared_before_anyone_trains(tmp_path, capsys):
    first = lay(tmp_path / "train", {"run/a.mp4": b"a film", "run/b.mp4": b"b film", "wave/c.mp4": b"c film"})
    second = lay(tmp_path / "test", {"run/d.mp4": b"b film", "wave/e.mp4": b"e film"})
    assert cli.main(["check-data", first, "--against", second]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"in {second}"))
    assert line.endswith("1 exact (byte for byte)") and "near" not in line


def commands() -> list[str]:
    """SCAN's: all of one verb phrase, and pairs of them, by its grammar."""
    turns = [f"turn {way}{side}" for way in ("", "opposite ", "around ") for side in ("left", "right")]
    moves = [f"{verb}{way}" for verb in ("walk", "look", "run", "jump") for way in ("", *(turn.removeprefix("turn") for turn in turns))]
    single = [f"{phrase}{times}" for phrase in turns + moves for times in ("", " twice", " thrice")]
    return single + [f"{a} {link} {b}" for a in single for link in ("and", "after") for b in single]


def test_thousands_of_commands_that_are_nearly_all_alike_are_compared_in_little_time():
    everything = commands()
    assert len(everything) == len(set(everything)) == 20_910
    mixed = [everything[i] for i in np.random.default_rng(6).permutation(len(everything))]
    rows = labelled([(text, text.replace("opposite", "around")) for text in mixed], "c")
    started = time.process_time()
    found = leaks(rows[2000:], {"t": rows[:2000]})["sets"]["t"]
    assert time.process_time() - started < 10
    assert found["exact"] == 0 and found["near"] > 1_800 and 0 < found["near_same_label"] < found["near"]
