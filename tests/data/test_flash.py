"""Films of flashing digits: the sets and their numbers, what each frame shows, the noise, and faults in MNIST's files."""

import gzip
import pickle
import struct
from types import SimpleNamespace

import numpy as np
import pytest

from pellucid.data import flash, idx
from pellucid.data.clips.clip import Clip, clip_of
from pellucid.data.flash import NOISE, FlashClip
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data

PREFIXES = {"train": "train", "test": "t10k"}


def write_idx(folder, num=20):
    """MNIST's four files with random pictures of the ten digits, two files of them compressed."""
    draw = np.random.default_rng(3)
    for part, prefix in PREFIXES.items():
        pictures = draw.integers(0, 256, (num, 28, 28)).astype(np.uint8) * (draw.random((num, 28, 28)) < 0.2)
        labels = draw.permutation(np.arange(num) % 10).astype(np.uint8)
        write = (lambda name, raw: (folder / f"{name}.gz").write_bytes(gzip.compress(raw))) if part == "test" else None
        write = write or (lambda name, raw: (folder / name).write_bytes(raw))
        write(f"{prefix}-images-idx3-ubyte", struct.pack(">4I", 0x803, num, 28, 28) + pictures.astype(np.uint8).tobytes())
        write(f"{prefix}-labels-idx1-ubyte", struct.pack(">2I", 0x801, num) + labels.tobytes())
    return folder


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    return str(write_idx(tmp_path_factory.mktemp("mnist")))


def rows_of(part="train", **options):
    return flash.read(part, {name: str(value) for name, value in options.items()})


# ---- rows -------------------------------------------------------------------------------------------------------------


def test_of_mnist_there_are_the_papers_102400_films_of_1024_sets_and_10240_to_test(mnist, monkeypatch):
    monkeypatch.setattr(flash, "FlashClip", lambda *told: SimpleNamespace(name=str(told), length=told[4]))  # checked ones take seconds
    train, test = rows_of("train", digits=mnist), rows_of("test", digits=mnist)
    assert (len(train), len(test)) == (102_400, 10_240)
    assert len({row["label"] for row in train}) == len({row["label"] for row in test}) == 1024
    assert {row["video"].length for row in train + test} == {25}
    assert len({row["id"] for row in train + test}) == 112_640


def test_of_the_small_digits_there_are_64_sets_in_16_frames():
    train, test = rows_of("train"), rows_of("test")
    assert (len(train), len(test), len({row["label"] for row in train})) == (64 * 80, 64 * 20, 64)
    assert {row["video"].length for row in train} == {16}


def test_a_label_tells_the_set_and_the_empty_set_has_a_name_of_its_own():
    told = {row["label"]: row["digits"] for row in rows_of(per_class=1, classes=3)}
    expected = {"none": [], "0": [0], "1": [1], "0 1": [0, 1], "2": [2], "0 2": [0, 2], "1 2": [1, 2], "0 1 2": [0, 1, 2]}
    assert told == expected


def test_a_source_with_options_gives_clips_that_other_processes_can_make():
    rows = read(Data("flash:test?classes=2&length=9&per_class=3&seed=7"))
    assert len(rows) == 12
    clip = clip_of(rows[-1])
    assert isinstance(clip, Clip) and clip.name == rows[-1]["id"] == "flash:test/01#3"
    again = pickle.loads(pickle.dumps(clip))
    assert again == clip and hash(again) == hash(clip) and (again.frames() == clip.frames()).all() and clip.frames().shape == (9, 8, 8)
    assert clip.sound() is None


@pytest.mark.parametrize(
    ("part", "options", "told"),
    [
        ("tran", {}, "flash:tran: no such part; did you mean 'train'"),
        ("train", {"clases": 3}, "has no option 'clases'; did you mean 'classes'"),
        ("train", {"classes": 64}, "classes=64: expected a whole number, 1 to 10"),
        ("train", {"per_class": 0}, "per_class=0: expected a whole number, 1 to"),
        ("train", {"seed": "-1"}, "seed=-1: expected a whole number, 0 to"),
        ("train", {"classes": 6, "length": 11}, "length=11: too short for 6 digits in two frames each; expected 12 or more"),
    ],
)
def test_what_cannot_be_asked_for_is_told_in_one_line(part, options, told):
    with pytest.raises(BadUsage, match=told):
        rows_of(part, **options)


# ---- films ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "test"])
def test_every_digit_of_the_set_and_no_other_is_in_one_or_two_frames(mnist, part):
    counts = []
    for row in rows_of(part, digits=mnist, per_class=1):
        truth = row["video"].truth()
        seen = [truth.count(digit) for digit in row["digits"]]
        assert len(truth) == 25 and set(truth) - {NOISE} == set(row["digits"]) and set(seen) <= {1, 2}
        assert sum(seen) == 25 - truth.count(NOISE) <= 20
        counts += seen
    assert np.mean(counts) == pytest.approx(1.5, abs=0.04)  # 5,120 digits: 0.007 standard error


def test_flashes_may_be_in_any_frame():
    truths = np.array([row["video"].truth() for row in rows_of(classes=4)])
    shares = (truths != NOISE).mean(0)  # of each of 16 frames: 4 digits, half of them there, 1.5 frames each
    assert shares == pytest.approx(np.full(16, 3 / 16), abs=0.04)


def test_a_frame_is_the_brighter_of_noise_and_a_picture_of_its_digit_of_the_right_part():
    other = {"train": "test", "test": "train"}
    for part in other:
        for row in rows_of(part, per_class=2):
            frames, truth, parts = row["video"].frames(), row["video"].truth(), flash.load("digits").parts
            assert frames.dtype == np.uint8
            for frame, digit in zip(frames, truth, strict=True):
                if digit != NOISE:
                    below = {name: (frame >= one.pictures[one.labels == digit]).all((1, 2)).any() for name, one in parts.items()}
                    assert below[part]


def test_noise_covers_a_digit_only_where_it_is_brighter(monkeypatch):
    clip = FlashClip("digits", "test", (2, 7), 5, 12)
    at = [i for i, digit in enumerate(clip.truth()) if digit != NOISE]
    noise = {}
    whole = flash.Digits.noise
    monkeypatch.setattr(flash.Digits, "noise", lambda self, draw, num: noise.setdefault("was", whole(self, draw, num)).copy())
    frames = clip.frames()
    pictures = flash.load("digits").parts["test"].pictures
    for i, frame in enumerate(frames):
        if i in at:
            assert (np.maximum(pictures, noise["was"][i]) == frame).all((1, 2)).any() and (frame != noise["was"][i]).any()
        else:
            assert (frame == noise["was"][i]).all()


def test_pixels_of_noise_have_the_values_of_the_digits_as_often(mnist):
    for digits in ("digits", mnist):
        held = flash.load(digits)
        pixels = np.concatenate([part.pictures.ravel() for part in held.parts.values()])
        shares = np.bincount(pixels, minlength=256) / len(pixels)
        noise = held.noise(np.random.default_rng(11), 1_000_000 // held.side**2)
        found, expected = np.bincount(noise.ravel(), minlength=256), shares * noise.size
        assert not found[shares == 0].any()
        possible = shares > 0
        chi_square = ((found - expected)[possible] ** 2 / expected[possible]).sum()
        free = possible.sum() - 1
        assert chi_square < free + 4 * np.sqrt(2 * free)
        neighbours = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
        assert abs(neighbours) < 0.005


def test_noise_keeps_to_the_shares_where_two_values_meet_in_one_entry_of_its_table():
    parts = flash.load("digits").parts
    third = flash.Digits(parts, "", np.array([1, 3]), np.array([-1, 1], np.int16))  # a pixel of 0, two of 1: they meet in the first half
    noise = third.noise(np.random.default_rng(2), 5000)
    assert set(np.unique(noise)) == {0, 1} and noise.mean() == pytest.approx(2 / 3, abs=0.003)


def test_a_film_depends_on_its_own_number_alone():
    few, many = rows_of(per_class=2, classes=3, length=16), rows_of(per_class=5, classes=6)
    by_id = {row["id"]: row["video"] for row in many}
    shuffled = [few[i] for i in np.random.default_rng(0).permutation(len(few))]
    assert all((row["video"].frames() == by_id[row["id"]].frames()).all() for row in shuffled)
    assert all(row["video"].key() == by_id[row["id"]].key() for row in few)


def test_another_seed_part_number_or_set_is_another_film_under_another_key():
    clips = [
        FlashClip("digits", "train", (3,), 1, 16),
        FlashClip("digits", "train", (3,), 1, 16, seed=1),
        FlashClip("digits", "test", (3,), 1, 16),
        FlashClip("digits", "train", (3,), 2, 16),
        FlashClip("digits", "train", (4,), 1, 16),
    ]
    assert len({clip.frames().tobytes() for clip in clips}) == len({clip.key() for clip in clips}) == 5


def test_features_of_the_same_digits_in_another_folder_are_found_again(tmp_path, mnist):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    keys = {FlashClip(str(write_idx(tmp_path / name)), "train", (1,), 1, 25).key() for name in ("here", "there")}
    assert keys == {FlashClip(mnist, "train", (1,), 1, 25).key()}
    assert FlashClip(str(write_idx(tmp_path, num=30)), "train", (1,), 1, 25).key() not in keys


def test_shots_show_the_frames_in_grey_evenly_and_repeat_the_last():
    clip = FlashClip("digits", "train", (0, 5), 1, 16)
    frames = clip.frames()
    shots = list(clip.shots())
    assert [shot.index for shot in shots] == list(range(16)) and shots[3].time_s == pytest.approx(0.12)
    assert all((shot.pictures == frames[i][None, :, :, None]).all() and shot.pictures.shape == (1, 8, 8, 3) for i, shot in enumerate(shots))
    assert [shot.index for shot in clip.shots(most=4)] == [2, 6, 10, 14]
    last = list(clip.shots(run=3))[-1]
    assert (last.pictures[..., 0] == frames[15]).all() and last.pictures.shape == (3, 8, 8, 3)


# ---- single pictures --------------------------------------------------------------------------------------------------


def test_single_frames_to_learn_from_are_every_digit_five_times_on_fresh_noise_and_noise_alone():
    held = flash.load("digits")
    pictures, labels = flash.noisy("digits", "train")
    assert np.bincount(labels).tolist() == [5 * n for n in np.bincount(held.parts["train"].labels)] + [600]
    digits = np.tile(held.parts["train"].pictures, (5, 1, 1))
    assert (pictures[:6000] >= digits).all()
    copies = pictures[:6000].reshape(5, 1200, 8, 8)
    assert all((copies[0] != copies[k]).any((1, 2)).all() for k in range(1, 5))
    covered = (pictures[:6000] > digits)[digits == 0].mean()  # where the digit is black, whatever noise is not shows
    everything = np.concatenate([part.pictures.ravel() for part in held.parts.values()])
    assert covered == pytest.approx((everything > 0).mean(), abs=0.005)
    assert (flash.noisy("digits", "train", epoch=1)[0] != pictures).any() and (flash.noisy("digits", "train")[0] == pictures).all()
    assert np.bincount(flash.noisy("digits", "test")[1]).tolist() == [*np.bincount(held.parts["test"].labels), 60]


# ---- MNIST's files ----------------------------------------------------------------------------------------------------


def test_plain_and_compressed_files_give_the_pictures_beside_their_labels(shared):
    read_parts = idx.read(str(shared / "data/mnist"))
    assert {part: pictures.shape for part, (pictures, _) in read_parts.items()} == {"train": (60000, 28, 28), "test": (10000, 28, 28)}
    assert read_parts["train"][1][:5].tolist() == [5, 0, 4, 1, 9] and read_parts["test"][1][:5].tolist() == [7, 2, 1, 0, 4]
    assert read_parts["train"][0].mean() / 255 == pytest.approx(0.1307, abs=5e-5)


def images(num=10, begins=0x803, side=28, size=None):
    return struct.pack(">4I", begins, num, side, side) + bytes(num * side * side if size is None else size)


def labels(values, begins=0x801):
    return struct.pack(">2I", begins, len(values)) + bytes(values)


@pytest.mark.parametrize(
    ("name", "raw", "told"),
    [
        ("train-images-idx3-ubyte", labels(range(10)), r"begins with 00 00 08 01; an idx file of pictures begins with 00 00 08 03"),
        ("train-images-idx3-ubyte", b"", r"begins with nothing; an idx file of pictures"),
        ("train-images-idx3-ubyte", b"\0\0\x08", r"begins with 00 00 08; an idx file of pictures"),
        ("train-images-idx3-ubyte", images(side=32), r"pictures of 32 x 32 pixels; expected 28 x 28"),
        ("train-images-idx3-ubyte", images(num=2**31, size=0), r"tells of 2147483648 items; expected 1 to 1,000,000"),
        ("train-images-idx3-ubyte", images(size=7000), r"ends after 7,000 of 7,840 bytes; fetch it again"),
        ("train-images-idx3-ubyte", images() + b"x", r"goes on after the 10 items that its head tells of"),
        ("train-images-idx3-ubyte", images(num=11), r"train-labels-idx1-ubyte: 20 labels, but train-images-idx3-ubyte has 11 pictures"),
        ("train-labels-idx1-ubyte", images(), r"begins with 00 00 08 03; an idx file of labels begins with 00 00 08 01"),
        ("train-labels-idx1-ubyte", labels([0] * 12 + [11] + [0] * 7), r"label 11 of picture 13; expected digits, 0 to 9"),
        ("train-labels-idx1-ubyte", labels([0, 1, 2, 3, 4, 5, 6, 8, 9, 9] * 2), r"no picture shows a 7; expected all ten digits"),
        ("t10k-labels-idx1-ubyte.gz", b"\0\0\x08\x01", r"t10k-labels-idx1-ubyte.gz: not a whole gzip file"),
        ("t10k-labels-idx1-ubyte.gz", gzip.compress(labels(range(10)))[:-9], r"t10k-labels-idx1-ubyte.gz: not a whole gzip file"),
    ],
)
def test_a_file_that_is_not_what_it_promises_is_named_in_one_line(tmp_path, name, raw, told):
    (write_idx(tmp_path) / name).write_bytes(raw)
    with pytest.raises(BadData, match=told) as caught:
        idx.read(str(tmp_path))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_file_or_a_folder_that_is_missing_is_named(tmp_path):
    (write_idx(tmp_path) / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(BadData, match=r"no file t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz; expected MNIST's four files"):
        rows_of(digits=tmp_path)
    with pytest.raises(BadData, match="no folder"):
        read(Data(f"flash:train?digits={tmp_path / 'nowhere'}"))
