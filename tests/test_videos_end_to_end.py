"""From a folder of videos to answers through the command line: trained, asked, corrupted, explained; and a line where a file is broken."""

import base64
import io
import json
import pathlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

import films
from pellucid import checkpoint, cli
from pellucid.data import video
from pellucid.data.clips.held import load
from pellucid.data.read import read
from pellucid.recipe import Data

COLOURS = {"blue": (20, 40, 230), "green": (30, 200, 40), "red": (220, 30, 30)}
SMALL = {
    "task.streams.rgb.model": "resnet_tiny",
    "task.streams.rgb.pretrained": "",
    "task.streams.rgb.view.size": "32",
    "task.streams.rgb.rate": "10",
    "task.num_local": "4",
    "task.cluster.units": "8",
    "task.dropout": "0",
    "loop.batch_size": "6",
    "optim.lr": "0.1",
}
BOTH = """
recipe: attention_clusters:videos
task:
  streams:
    rgb: {model: resnet_tiny}
    audio: {model: resnet_tiny, pretrained: '', rate: 4, window_s: 0.2, mels: 16}
"""


def filmed(path: pathlib.Path, colour: str, count: int = 6, seed: int = 0) -> pathlib.Path:
    """A square of that colour that goes its way over noise, ten frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    top, left = draw.integers(0, 6, 2)
    with video.Writer(path, Fraction(10)) as film:
        for i in range(count):
            picture = draw.integers(60, 110, (40, 56, 3), dtype=np.uint8)
            picture[top : top + 30, left + 2 * i : left + 2 * i + 30] = COLOURS[colour]
            film.add(picture)
    return path


def settings(**more: str) -> list[str]:
    told = {**SMALL, **more}
    return [word for name, value in told.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> pathlib.Path:
    """Three classes: four films each to train on, two to test."""
    root = tmp_path_factory.mktemp("end_to_end") / "clips"
    for split, count in (("train", 4), ("test", 2)):
        for at, colour in enumerate(COLOURS):
            for i in range(count):
                filmed(root / split / colour / f"{i}.mp4", colour, 4 + i, 10 * at + i + 100 * (split == "test"))
    return root


def train(clips: pathlib.Path, out: pathlib.Path, name: str = "attention_clusters:videos", **told: str) -> int:
    """The status of a training on the clips, whose features are kept beside them."""
    data = ["--data", f"videos:{clips}?split=train", "--test", f"home=videos:{clips}?split=test", "--dev", f"videos:{clips}?split=test"]
    flags = settings(**{"task.cache": str(clips.parent / "cache"), **told})
    return cli.main(["train", name, *data, "--out", str(out), "--quiet", *flags])


@pytest.fixture(scope="module")
def done(clips) -> pathlib.Path:
    """The run that everything below asks."""
    assert train(clips, clips.parent / "run", **{"loop.epochs": "25"}) == 0
    return clips.parent / "run"


def said(capsys, *words: object, status: int = 0) -> str:
    """What a command prints that ends with that status; of a refusal its one line."""
    capsys.readouterr()
    assert cli.main([str(word) for word in words]) == status
    shown = capsys.readouterr()
    if status:
        assert not shown.out and shown.err.count("\n") == 1 and "Traceback" not in shown.err
    return shown.err if status else shown.out


def answers(capsys, done: pathlib.Path, *words: object) -> list[dict]:
    return [json.loads(line) for line in said(capsys, "predict", done, *words).splitlines()]


def test_a_folder_of_clips_trains_and_names_a_new_film(done, tmp_path, capsys):
    found = json.loads((done / "results/evaluate.json").read_text())["sets"]["home"]
    assert found["n"] == 6 and found["metrics"]["top1"]["value"] >= 5 / 6
    (row,) = answers(capsys, done, filmed(tmp_path / "new.mp4", "green", 9, 77), "--probs")
    assert row["prediction"] == "green" and row["probs"].keys() == COLOURS.keys() and sum(row["probs"].values()) == pytest.approx(1)
    assert row["probs"]["green"] == max(row["probs"].values()) == pytest.approx(np.exp(row["log_probability"]), rel=1e-4)


def test_features_made_once_are_trained_on_in_the_place_of_videos(done, clips, tmp_path, capsys):
    for split, count in (("train", 12), ("test", 6)):
        told = json.loads(said(capsys, "features", done, f"videos:{clips}?split={split}", "--out", tmp_path / split, "--json"))
        assert told["clips"] == count and told["made"] == 0  # training has made them
    assert [row["label"] for row in read(Data(f"features:{tmp_path}/test"))] == ["blue", "blue", "green", "green", "red", "red"]
    both = ["--data", f"features:{tmp_path}/train", "--test", f"home=features:{tmp_path}/test", "--dev", f"features:{tmp_path}/test"]
    flags = settings(**{"loop.epochs": "25"})
    assert cli.main(["train", "attention_clusters:videos", *both, "--out", str(tmp_path / "run"), "--quiet", *flags]) == 0
    found = json.loads((tmp_path / "run/results/evaluate.json").read_text())["sets"]["home"]
    assert found["n"] == 6 and found["metrics"]["top1"]["value"] >= 5 / 6
    assert not [name for name in checkpoint.load(tmp_path / "run/model.safetensors") if name.startswith("streams.")]
    assert "task.streams" in said(capsys, "predict", tmp_path / "run", clips / "test/red/0.mp4", status=2)


def test_shuffled_frames_change_no_number_and_other_corruptions_do(done, capsys):
    said(capsys, "shift", done, "--corrupt", "5", "--kinds", "frame_drop,frame_shuffle,gaussian_noise")
    sets = json.loads((done / "results/shift.json").read_text())["sets"]
    assert sets.keys() == {"home", *(f"home/{kind}-5" for kind in ("frame_drop", "frame_shuffle", "gaussian_noise"))}

    def sureness(name):
        return sum(part["confidence"] * part["n"] for part in sets[name]["calibration"]["bins"]) / sets[name]["n"]

    assert sets["home/frame_shuffle-5"]["metrics"] == sets["home"]["metrics"] | sets["home/frame_shuffle-5"]["metrics"]
    assert sureness("home/frame_shuffle-5") == pytest.approx(sureness("home"), abs=1e-6)
    for kind in ("frame_drop", "gaussian_noise"):
        assert abs(sureness(f"home/{kind}-5") - sureness("home")) > 1e-3


def test_an_explained_clip_is_shown_as_its_frames(done, capsys):
    said(capsys, "explain", done, "--method", "attention,iba", "--num", "2", "--quiet")
    found = json.loads((done / "results/explanations.json").read_text())["examples"]
    assert len(found) == 2
    for example in found:
        assert [frame["name"] for frame in example["film"]] == example["words"] and len(example["words"]) == 4
        assert sum(example["methods"]["attention"]["relevance"]) == pytest.approx(1, abs=1e-3)
        assert all(np.isfinite(example["methods"]["iba"]["relevance"]))
        for frame in example["film"]:
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(frame["src"].split(",")[1])))).astype(float)
            square = picture[picture.std(2) > 40]  # noise is grey
            assert len(square) > 0.1 * picture.shape[0] * picture.shape[1]
            np.testing.assert_allclose(square.mean(0), COLOURS[example["label"]], atol=40)
    said(capsys, "report", done)
    page = (done / "report.html").read_text()
    assert page.count('<figure class="film">') == 2 and page.count("data:image/") == 8
    assert all(frame["src"] in page for example in found for frame in example["film"])


# ---- what is wrong with a file --------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_refused_in_a_line_that_names_it(done, clips, tmp_path, capsys):
    whole = (clips / "test/red/1.mp4").read_bytes()
    films.rewritten(films.noise(tmp_path / "noise.mp4", 60), tmp_path / "long.mkv", "mpeg4")
    long = (tmp_path / "long.mkv").read_bytes()
    broken = {
        "no_index.mp4": whole[: len(whole) // 2],
        "cut.mkv": long[: len(long) * 2 // 3],
        "text.mp4": b"no film at all",
        "empty.mp4": b"",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        line = said(capsys, "predict", done, tmp_path / name, status=3)
        assert name in line
        good, skipped = clips / "test/red/1.mp4", tmp_path / name
        (row,) = answers(capsys, done, good, skipped, "--broken", "skip")
        assert row["path"] == str(good)
    assert "no such file" in said(capsys, "predict", done, tmp_path / "gone.mp4", status=3)
    (tmp_path / "gone.csv").write_text(f"video,label\n{tmp_path}/gone.mp4,red\n")
    assert "gone.mp4" in said(capsys, "predict", done, tmp_path / "gone.csv", status=3)


def test_training_refuses_a_broken_clip_before_it_begins_or_leaves_it_out_and_counts_it(clips, tmp_path, capsys, caplog):
    for split, colour in ((split, colour) for split in ("train", "test") for colour in ("red", "blue")):
        place = tmp_path / "clips" / split / colour
        place.mkdir(parents=True)
        (place / "good.mp4").write_bytes((clips / split / colour / "0.mp4").read_bytes())
    (tmp_path / "clips/train/red/bad.mp4").write_bytes(b"no film at all")
    capsys.readouterr()
    assert train(tmp_path / "clips", tmp_path / "run", **{"loop.epochs": "1"}) == 3
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "train/red/bad.mp4" in line and not (tmp_path / "run").exists()
    assert train(tmp_path / "clips", tmp_path / "run", **{"loop.epochs": "1", "task.broken": "skip"}) == 0
    assert "1 of 3 clips cannot be used; left out: train/red/bad.mp4" in caplog.text
    assert json.loads((tmp_path / "run/results/leaks.json").read_text())["train"] == 2


def test_odd_films_are_answered_like_any_other(done, tmp_path, capsys):
    one = filmed(tmp_path / "one.mp4", "red", 1, 5)
    uneven = films.numbers(tmp_path / "uneven.mkv", 0, times_s=(0, 0.03, 0.4, 0.45, 1.3, 1.31, 2.2))
    for row in answers(capsys, done, one, uneven, "--probs"):
        assert row["prediction"] in COLOURS and sum(row["probs"].values()) == pytest.approx(1)
    found = json.loads(said(capsys, "explain", done, "--input", uneven, "--method", "attention", "--check", "none", "--json", "--quiet"))
    assert found["examples"][0]["words"] == ["0.03 s", "0.45 s", "1.31 s"]  # on the screen at the middle of each tenth


def test_a_film_that_a_phone_took_upright_is_seen_upright(done, tmp_path, capsys):
    (tmp_path / "clips").mkdir()
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[24:] = 220
    for name, shown in (("a_plain", picture), ("c_upright", np.ascontiguousarray(np.rot90(picture, -1)))):
        with video.Writer(tmp_path / f"clips/{name}.mp4", Fraction(25)) as film:
            film.add(shown)  # bright below, and on its left
    films.turned(tmp_path / "clips/a_plain.mp4", tmp_path / "clips/b_turned.mp4")
    said(capsys, "features", done, f"videos:{tmp_path}/clips", "--out", tmp_path / "features")
    flat, turned, upright = (load(row["features"]["rgb"]) for row in read(Data(f"features:{tmp_path}/features")))
    assert np.abs(turned - upright).max() < 0.2 * np.abs(flat - upright).max()


def test_a_film_without_sound_is_answered_by_a_run_that_listens(tmp_path, capsys):
    sound = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)[None].astype(np.float32)
    for place in (f"{split}/{colour}" for split in ("train", "test") for colour in ("blue", "red")):
        (tmp_path / "clips" / place).mkdir(parents=True)
        films.numbers(tmp_path / "clips" / place / "loud.mp4", 6, sound=sound)
        films.noise(tmp_path / "clips" / place / "still.mp4", 5)
    (tmp_path / "both.yaml").write_text(BOTH)
    assert train(tmp_path / "clips", tmp_path / "run", name=str(tmp_path / "both.yaml"), **{"loop.epochs": "1"}) == 0
    loud, still = answers(capsys, tmp_path / "run", f"{tmp_path}/clips/test/red/*.mp4", "--probs")
    assert all(sum(row["probs"].values()) == pytest.approx(1) for row in (loud, still))
    asked = ["explain", tmp_path / "run", "--site", "audio", "--method", "attention,occlusion", "--check", "none", "--json", "--quiet"]
    (of_loud,) = json.loads(said(capsys, *asked, "--input", loud["path"]))["examples"]
    assert len(of_loud["words"]) > 1
    (of_still,) = json.loads(said(capsys, *asked, "--input", still["path"]))["examples"]
    assert of_still["words"] == []
