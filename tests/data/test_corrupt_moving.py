"""Corruptions of moving pictures: what is seen of a clip, how much of it, and on what alone a copy depends."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from pellucid.data.corrupt import FEATURES, FRAMES, MODALITIES, SEVERITIES, VIDEO, find
from pellucid.data.corrupt.moving import moved, noised
from pellucid.errors import BadUsage

NUMS = (1, 2, 3, 10, 25, 100)
MANY = 1000


def levels(numbers):
    return list(zip(SEVERITIES, numbers, strict=True))


def clip(num=4000, width=3, seed=0):
    """Features whose deviations over the clip are 1, 10 and 100, about means that are not 0."""
    rng = np.random.default_rng(seed)
    return ((rng.standard_normal((num, width)) + 5) * [1, 10, 100]).astype(np.float32)


@pytest.mark.parametrize(("severity", "share"), levels((0.8, 0.6, 0.4, 0.25, 0.1)))
def test_a_drop_keeps_the_stated_share_of_frames_in_their_order(severity, share):
    for num in NUMS:
        kept = moved(num, "frame_drop", severity, 7)
        assert kept == sorted(set(kept)) and set(kept) <= set(range(num))
        assert len(kept) >= 1 and abs(len(kept) - max(1, share * num)) <= 0.5


def test_every_frame_may_be_dropped_the_first_and_the_last_too():
    seen = [set(moved(10, "frame_drop", 3, seed)) for seed in range(200)]
    counts = [sum(i in kept for kept in seen) for i in range(10)]
    assert all(50 < count < 110 for count in counts)  # 80 are expected of each


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_shuffle_keeps_every_frame_within_its_window(severity):
    share = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)[severity - 1]
    for num in NUMS:
        places, window = moved(num, "frame_shuffle", severity, 7), max(2, -int(-num * share // 1))
        assert sorted(places) == list(range(num))
        assert all(i // window == place // window for i, place in enumerate(places))


def test_the_whole_clip_is_shuffled_at_last_and_every_place_is_as_likely():
    firsts = [moved(5, "frame_shuffle", 5, seed)[0] for seed in range(500)]
    assert all(70 < firsts.count(place) < 130 for place in range(5))


@pytest.mark.parametrize(("severity", "share"), levels((0.1, 0.25, 0.5, 0.75, 0.9)))
def test_the_stated_share_of_frames_repeats_the_one_before(severity, share):
    for num in NUMS:
        places = moved(num, "frame_repeat", severity, 7)
        assert len(places) == num and places[0] == 0
        frozen = [i for i in range(1, num) if places[i] != i]
        assert all(places[i] == places[i - 1] for i in frozen)
        assert abs(len(frozen) - share * (num - 1)) <= 0.5


@pytest.mark.parametrize(("severity", "step"), levels((2, 3, 4, 6, 8)))
def test_a_lower_rate_keeps_every_second_to_every_eighth_frame(severity, step):
    for num in NUMS:
        assert moved(num, "frame_rate", severity, 7) == [i for i in range(num) if i % step == 0]


@pytest.mark.parametrize("kind", FRAMES)
def test_a_higher_severity_moves_frames_farther(kind):
    def moves(severity):  # how far the place shown at each moment of the clip lies from that moment, or how much of it is lost
        places = moved(MANY, kind, severity, 3)
        return sum(abs(i - place) for i, place in enumerate(places)) if len(places) == MANY else MANY - len(places)

    amounts = [moves(severity) for severity in SEVERITIES]
    assert amounts[0] > 0 and all(a < b for a, b in itertools.pairwise(amounts))


@pytest.mark.parametrize("kind", ["frame_drop", "frame_shuffle", "frame_repeat"])
def test_another_seed_draws_anew(kind):
    assert moved(MANY, kind, 5, 0) == moved(MANY, kind, 5, 0) != moved(MANY, kind, 5, 1)


@pytest.mark.parametrize(("severity", "share"), levels((0.1, 0.25, 0.5, 1, 2)))
def test_noise_is_in_units_of_each_numbers_own_deviation_over_the_clip(severity, share):
    before = clip()
    noise = noised(before, severity, 7).astype(np.float64) - before
    assert noise.std(0) / before.std(0) == pytest.approx([share] * 3, rel=0.05)
    assert np.abs(noise.mean(0) / before.std(0)) == pytest.approx(0, abs=0.05 * share)
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.06


def test_noise_leaves_what_does_not_vary_and_does_not_touch_what_it_is_given():
    before = clip(50)
    before[:, 1] = 3.25
    kept = before.copy()
    after = noised(before, 5, 7)
    assert (before == kept).all() and after.dtype == before.dtype
    assert (after[:, 1] == 3.25).all() and (after[:, [0, 2]] != before[:, [0, 2]]).all()
    assert (noised(before[:1], 5, 7) == before[:1]).all()


def test_noise_moves_no_frame():
    assert moved(9, "feature_noise", 5, 0) == list(range(9))


def test_each_modality_has_noise_of_its_own_in_every_copy_the_same():
    before = clip(50)
    copies = [noised(before, 3, seed, modality) for seed, modality in ((7, "rgb"), (7, "flow"), (8, "rgb"))]
    assert all((a != b).any() for a, b in itertools.combinations(copies, 2))
    assert (noised(before, 3, 7, "rgb") == copies[0]).all()


def test_a_copy_is_the_same_in_every_process():
    code = "from pellucid.data.corrupt.moving import moved; print(moved(12, 'frame_shuffle', 5, 3), moved(12, 'frame_drop', 3, 3))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"})
    assert run.stdout.strip() == f"{moved(12, 'frame_shuffle', 5, 3)} {moved(12, 'frame_drop', 3, 3)}"


def test_kinds_have_names_of_their_own_and_say_what_they_do():
    assert MODALITIES["video"] == VIDEO == {**FRAMES, **FEATURES}
    assert not set(VIDEO) & (set(MODALITIES["image"]) | set(MODALITIES["text"]))
    for kind, one in VIDEO.items():
        assert find("video", kind, 5) is one and len(set(one.levels)) == 5 and ". Numbers: " in one.about


def test_what_does_not_exist_is_refused():
    with pytest.raises(BadUsage, match="did you mean 'frame_drop'"):
        moved(5, "frame_drops", 1, 0)
    with pytest.raises(BadUsage, match="no video corruption 'fog'"):
        moved(5, "fog", 1, 0)
    with pytest.raises(BadUsage, match="severity 6"):
        moved(5, "frame_rate", 6, 0)
    with pytest.raises(BadUsage, match="severity 0"):
        noised(clip(2), 0, 0)
