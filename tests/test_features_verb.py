"""Local features in a folder of their own: what the clips' rows say stays, numbers are the network's, and the same call goes on."""

import json
import pathlib

import numpy as np
import pytest
import torch

from films import noise
from pellucid import cli, features
from pellucid import recipe as recipes
from pellucid.data.clips.clip import VideoFile
from pellucid.data.clips.held import load
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data
from pellucid.tasks.video.streams import stream
from pellucid.tasks.video.views import pieces
from untrained import made

RECIPE = """
from pellucid.data.views import TestView
from pellucid.recipe import Data, Loop, Recipe
from pellucid.tasks.video.settings import Cluster, Stream, VideoSettings

def tiny():
    rgb = Stream("resnet_tiny", "$WEIGHTS", TestView(32, crop=1.0), rate=10)
    task = VideoSettings({"rgb": rgb}, Cluster(units=3), num_local=4, cache="$CACHE")
    return Recipe(task, Data("csv:$TRAIN"), loop=Loop(eval_batch_size=2))

def words():
    from pellucid.tasks.text_classification.settings import TextSettings
    return Recipe(TextSettings(), Data("csv:$TRAIN"))
"""


@pytest.fixture
def place(tmp_path) -> pathlib.Path:
    """Two classes of clips of noise, and a recipe whose backbone has weights in a file."""
    from pellucid import checkpoint
    from pellucid.nn.backbone import backbone

    for name, count in (("cold/a", 9), ("cold/b", 25), ("warm/c", 17)):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        noise(tmp_path / f"clips/{name}.mp4", count)
    torch.manual_seed(0)
    checkpoint.save(backbone("resnet_tiny", 0, "").state_dict(), tmp_path / "weights.safetensors")
    (tmp_path / "train.csv").write_text("video,label,group\n" + "".join(f"clips/{x}.mp4,{x[:4]},{x[-1]}\n" for x in ("cold/a", "warm/c")))
    text = RECIPE.replace("$WEIGHTS", str(tmp_path / "weights.safetensors")).replace("$CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(text.replace("$TRAIN", str(tmp_path / "train.csv")))
    return tmp_path


def asked(place: pathlib.Path, *more: str) -> int:
    return cli.main(["features", f"{place}/mine.py:tiny", f"videos:{place}/clips", "--out", str(place / "out"), *more])


def test_the_folder_is_a_source_of_the_networks_own_numbers(place, capsys):
    assert asked(place) == 0
    line = capsys.readouterr().out
    rows = read(Data(f"features:{place}/out"))
    assert [row["label"] for row in rows] == ["cold", "cold", "warm"]
    torch.manual_seed(0)
    told = recipes.get(f"{place}/mine.py:tiny").task.streams["rgb"]
    network = stream("rgb", told)
    counts = []
    for row, name in zip(rows, ("cold/a", "cold/b", "warm/c"), strict=True):
        seen = list(pieces("rgb", VideoFile(f"{place}/clips/{name}.mp4"), told))
        with torch.no_grad():
            expected = network(torch.stack([piece.picture() for piece in seen])).numpy()
        np.testing.assert_allclose(load(row["features"]["rgb"]), expected, atol=1e-5)
        assert row["times_s"]["rgb"] == pytest.approx([piece.time_s for piece in seen])
        counts.append(len(seen))
    assert line.startswith(f"{place}/out: 3 clips, {sum(counts)} rgb features, ") and line.count("\n") == 1
    assert "network busy" in line and "decoding threads" in line


def test_the_manifest_tells_what_made_them(place):
    assert asked(place) == 0
    about = json.loads((place / "out/manifest.json").read_text())
    assert about["rgb"]["model"] == "resnet_tiny" and about["rgb"]["rate"] == 10 and about["rgb"]["width"] == 64
    assert len(about["rgb"]["weights"]) == 64 and torch.__version__.startswith(about["versions"]["torch"])


def test_a_second_call_makes_what_is_new_and_nothing_else(place, capsys):
    assert asked(place, "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["clips"], first["made"], first["left_out"]) == (3, 3, 0) and 0 < first["network_busy"] <= 1
    before = {path.name: path.read_bytes() for path in (place / "out").glob("*.safetensors")}
    noise(place / "clips/warm/d.mp4", 5)
    assert asked(place, "--json") == 0
    second = json.loads(capsys.readouterr().out)
    assert (second["clips"], second["made"]) == (4, 1)
    after = {path.name: path.read_bytes() for path in (place / "out").glob("*.safetensors")}
    assert before.items() < after.items()
    assert len(read(Data(f"features:{place}/out"))) == 4
    assert asked(place) == 0
    assert capsys.readouterr().out.rstrip().endswith("features; all had been made before")


def test_features_made_otherwise_are_not_mixed(place, capsys):
    assert asked(place) == 0
    assert asked(place, "--set", "task.streams.rgb.rate=5") == 3
    shown = capsys.readouterr().err
    assert "rgb.rate is 10, not 5" in shown and shown.count("\n") == 1
    assert len(read(Data(f"features:{place}/out"))) == 3


def test_a_run_makes_them_with_its_own_weights(place):
    (place / "train.csv").write_text((place / "train.csv").read_text().replace("clips/", f"{place}/clips/"))
    run = made(f"{place}/mine.py:tiny", place / "run")
    with torch.no_grad():
        for weight in run.task.model.streams.parameters():
            weight.add_(0.1)
    from pellucid import checkpoint

    checkpoint.save(run.task.model.state_dict(), place / "run/model.safetensors")
    source = Data(f"csv:{place}/train.csv")
    mine = features.make(str(place / "run"), source, place / "moved")
    theirs = features.make(f"{place}/mine.py:tiny", source, place / "still")
    assert mine.features == theirs.features
    rows, others = read(Data(f"features:{place}/moved")), read(Data(f"features:{place}/still"))
    assert [(row["label"], row["group"]) for row in rows] == [("cold", "a"), ("warm", "c")]
    (example,) = run.task.prepare([{"id": "a", "video": f"{place}/clips/cold/a.mp4"}], "here")
    np.testing.assert_allclose(load(rows[0]["features"]["rgb"]), load(example["local"]["rgb"]), atol=1e-6)
    assert np.abs(load(rows[0]["features"]["rgb"]) - load(others[0]["features"]["rgb"])).max() > 1e-3
    with pytest.raises(BadUsage, match=r"--set task\.num_local: .* is a run"):
        features.make(str(place / "run"), source, place / "moved", {"task.num_local": "3"})


def test_a_broken_clip_is_refused_or_left_out_and_counted(place, capsys):
    (place / "clips/warm/bad.mp4").write_bytes(b"no video")
    assert asked(place) == 3
    shown = capsys.readouterr().err
    assert "bad.mp4" in shown and shown.count("\n") == 1
    assert asked(place, "--broken", "skip", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["clips"], told["left_out"]) == (3, 1)
    assert len(read(Data(f"features:{place}/out"))) == 3


def test_what_has_no_backbones_makes_no_features(place):
    source = Data(f"csv:{place}/train.csv")
    with pytest.raises(BadUsage, match="no backbone that makes features of clips"):
        features.make(f"{place}/mine.py:words", source, place / "out")
    (place / "text.csv").write_text("text,label\nfine,up\n")
    with pytest.raises(BadData, match="no column 'video'"):
        features.make(f"{place}/mine.py:tiny", Data(f"csv:{place}/text.csv"), place / "out")
    assert not (place / "out").exists()
