"""Corrupted test sets: what is kept, what is spoiled, what is forgotten."""

import pytest

from pellucid.data.corrupt import FEATURES, FRAMES, PICTURES, TEXT
from pellucid.errors import BadUsage
from pellucid.shift.corruption import corrupted, corrupted_sets, kinds_of

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


PICTURED = [{"id": f"photos/{i}.jpg", "image": f"photos/{i}.jpg", "label": "cat"} for i in range(3)]


def test_a_picture_is_left_where_it_lies_and_carries_what_is_to_be_done_to_it():
    for before, after in zip(PICTURED, corrupted(PICTURED, "fog", 2, seed=3), strict=True):
        assert {k: v for k, v in after.items() if k != "corruption"} == before
        assert (after["corruption"]["kind"], after["corruption"]["severity"]) == ("fog", 2)
    assert all("corruption" not in example for example in PICTURED)


def test_the_seed_of_a_picture_depends_on_its_id_and_the_seed_alone():
    seeds = [e["corruption"]["seed"] for e in corrupted(PICTURED, "fog", 2, seed=3)]
    assert seeds == [e["corruption"]["seed"] for e in corrupted(PICTURED[::-1], "snow", 5, seed=3)][::-1]
    assert len(set(seeds)) == 3 and not set(seeds) & {e["corruption"]["seed"] for e in corrupted(PICTURED, "fog", 2, seed=4)}
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_what_an_example_has_says_which_corruptions_there_are():
    assert kinds_of(EXAMPLES) == list(TEXT)
    assert kinds_of(PICTURED) == list(PICTURES)
    assert kinds_of([{"id": 1, "image": "x", "text": "y"}]) == [*TEXT, *PICTURES]
    assert kinds_of([{"id": 1, "image": "x", "text": "y"}, *PICTURED]) == list(PICTURES)
    with pytest.raises(BadUsage, match="'t:1' has no text, text_pair, caption, image, video or features"):
        kinds_of([{"id": "t:1", "x": 1.0}])


def test_a_corruption_of_the_other_modality_and_a_second_corruption_are_refused():
    with pytest.raises(BadUsage, match=r"'m.csv:0' has no image"):
        corrupted(EXAMPLES, "fog", 1)
    with pytest.raises(BadUsage, match="has no text or text_pair"):
        corrupted(PICTURED, "typos", 1)
    with pytest.raises(BadUsage, match="corrupted copy already"):
        corrupted(corrupted(PICTURED, "fog", 1), "snow", 1)
    with pytest.raises(BadUsage, match="did you mean 'contrast'"):
        corrupted(PICTURED, "contrats", 1)
    with pytest.raises(BadUsage, match="severity 0"):
        corrupted(PICTURED, "fog", 0)


FILMED = [{"id": f"v{i}", "video": f"{i}.mp4", "label": "run", "local": {"rgb": "held"}, "times_s": {"rgb": (0.0,)}} for i in range(3)]
EXTRACTED = [{"id": f"f{i}", "features": {"rgb": "held"}, "labels": ["run"]} for i in range(3)]


def test_a_clip_has_the_corruptions_of_its_frames_and_of_its_pictures_and_features_have_noise():
    assert kinds_of(FILMED) == [*FRAMES, *PICTURES]
    assert kinds_of(EXTRACTED) == [*FRAMES, *FEATURES]
    assert kinds_of([*FILMED, *EXTRACTED]) == list(FRAMES)


def test_what_was_extracted_of_a_clip_goes_with_its_pixels_and_stays_where_only_frames_move():
    for before, after in zip(FILMED, corrupted(FILMED, "fog", 2, seed=3), strict=True):
        assert set(after) == {"id", "video", "label", "corruption"} and after["video"] == before["video"]
    for rows, kind in ((FILMED, "frame_shuffle"), (EXTRACTED, "frame_drop"), (EXTRACTED, "feature_noise")):
        for before, after in zip(rows, corrupted(rows, kind, 4, seed=3), strict=True):
            assert {k: v for k, v in after.items() if k != "corruption"} == before
            assert (after["corruption"]["kind"], after["corruption"]["severity"]) == (kind, 4)
    assert all("local" in row and "corruption" not in row for row in FILMED)


def test_the_copies_of_a_clip_have_one_seed_whatever_is_done_to_them():
    seeds = [[e["corruption"]["seed"] for e in corrupted(FILMED, kind, 2, seed=3)] for kind in ("fog", "frame_drop")]
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == 3


def test_features_have_no_pixels_and_clips_no_features_to_spoil():
    with pytest.raises(BadUsage, match="'f0' has no image or video; fog needs it"):
        corrupted(EXTRACTED, "fog", 1)
    with pytest.raises(BadUsage, match="'v0' has no features; feature_noise needs it"):
        corrupted(FILMED, "feature_noise", 1)
    with pytest.raises(BadUsage, match="has no video or features; frame_rate needs it"):
        corrupted(PICTURED, "frame_rate", 1)
    with pytest.raises(BadUsage, match="severity 6"):
        corrupted(FILMED, "frame_drop", 6)
    with pytest.raises(BadUsage, match="did you mean 'frame_drop'"):
        corrupted(FILMED, "frame_dorp", 1)
