"""The script that makes a set of videos to classify of a few films."""

import importlib.util
import pathlib
import sys
from fractions import Fraction

import numpy as np
import pytest

from pellucid.data import video
from pellucid.data.read import read
from pellucid.recipe import Data

SCRIPT = pathlib.Path(__file__).parent.parent / "docs" / "cut_clips.py"


def film(path: pathlib.Path, count: int, rate: int = 10) -> None:
    """Each frame is two shades brighter than the one before, so that its shade tells which it is."""
    path.parent.mkdir(exist_ok=True)
    with video.Writer(path, Fraction(rate)) as into:
        for shade in range(count):
            into.add(np.full((64, 80, 3), 40 + 2 * shade, np.uint8))


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """Runs the script over the films of a folder, with three training and two test clips of each."""
    spec = importlib.util.spec_from_file_location("cut_clips", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "cut_clips", script)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "SIDE", 32)

    def run(out: str, *flags: str) -> pathlib.Path:
        monkeypatch.setattr(
            sys, "argv", ["cut_clips.py", str(tmp_path / "films"), str(tmp_path / out), "--train", "3", "--test", "2", *flags]
        )
        script.main()
        return tmp_path / out

    return run


def frames_of(path: pathlib.Path) -> set[int]:
    """Which frames of its film a clip shows."""
    return {round((float(frame.picture.mean()) - 40) / 2) for frame in video.frames(path)}


def test_no_frame_of_a_film_is_in_a_training_and_a_test_clip(tmp_path, cut):
    for name in ("a.mp4", "b.mp4"):
        film(tmp_path / "films" / name, 60)
    out = cut("set", "--train", "10", "--test", "4")
    for name in "ab":
        train, test = (set.union(*map(frames_of, sorted((out / split / name).iterdir()))) for split in ("train", "test"))
        assert max(train) < 42 <= min(test) and len(train | test) > 30
    assert [row["label"] for row in read(Data(f"videos:{out}?split=train"))] == ["a"] * 10 + ["b"] * 10


def test_clips_depend_on_the_seed_and_not_on_other_films(tmp_path, cut, capsys):
    for name, count in {"a.mp4": 60, "a.avi": 60, "b.mp4": 60, "short.mp4": 20}.items():
        film(tmp_path / "films" / name, count)
    first, again, other = cut("first"), cut("again"), cut("other", "--seed", "1")
    assert sorted(path.name for path in (first / "train").iterdir()) == ["a_avi", "a_mp4", "b"]
    assert "short: 2.0 s long, left out" in capsys.readouterr().err
    (tmp_path / "films" / "a.avi").unlink()
    (tmp_path / "films" / "a.mp4").unlink()
    film(tmp_path / "films" / "c.mp4", 60)
    fewer = cut("fewer")
    content = [[path.read_bytes() for path in sorted((out / "test" / "b").iterdir())] for out in (first, again, fewer, other)]
    assert content[0] == content[1] == content[2] != content[3]


def test_what_cannot_be_cut_is_one_line_and_nothing_is_overwritten(tmp_path, cut, capsys):
    film(tmp_path / "films" / "a.mp4", 60)
    with pytest.raises(SystemExit) as left:
        cut("set")
    assert left.value.code == 3 and "1 films of 5 s or more; expected two at least" in capsys.readouterr().err
    (tmp_path / "set").mkdir()
    with pytest.raises(SystemExit):
        cut("set")
    assert "is there already; name another folder" in capsys.readouterr().err
