"""Whole clips asked about: files, folders at any depth, folders of frames, tables; one answer each, also from Python and explained."""

import csv
import json
import os
import pathlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid import cli, filming, predicting, run
from pellucid.data import video
from pellucid.data.clips.clip import VideoFile
from pellucid.errors import BadData
from toys import Pictures
from untrained import made

RECIPE = """
from pellucid.data.views import TestView
from pellucid.recipe import Data, Loop, Recipe
from pellucid.tasks.video.settings import Cluster, Stream, VideoSettings

def tiny():
    rgb = Stream("resnet_tiny", "", TestView(32, crop=1.0), rate=10)
    task = VideoSettings({"rgb": rgb}, Cluster(units=3), num_local=4)
    return Recipe(task, Data("csv:$TRAIN"), loop=Loop(eval_batch_size=2))
"""
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (20, 40, 230)}


def filmed(path: pathlib.Path, colour: str, count: int = 8) -> pathlib.Path:
    """A square of that colour that goes to the right, ten frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with video.Writer(path, Fraction(10)) as film:
        for i in range(count):
            picture = np.full((48, 64, 3), 90, np.uint8)
            picture[12:36, 4 + 2 * i : 28 + 2 * i] = COLOURS[colour]
            film.add(picture)
    return path


def frames_of(clip: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(parents=True)
    for frame in video.frames(clip):
        Image.fromarray(frame.picture).save(folder / f"img_{frame.index + 1:05d}.png")
    return folder


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> pathlib.Path:
    """Three videos at different depths, one of them also as a folder of frames."""
    root = tmp_path_factory.mktemp("shelf") / "clips"
    filmed(root / "red.mp4", "red")
    filmed(root / "more/deep/green.mp4", "green")
    blue = filmed(root / "more/blue.mp4", "blue")
    frames_of(blue, root / "more/blue_frames")
    return root


@pytest.fixture(scope="module")
def done(tmp_path_factory, shelf) -> run.Run:
    """A classifier of clips that was never trained."""
    root = tmp_path_factory.mktemp("run")
    (root / "train.csv").write_text(f"video,label\n{shelf}/red.mp4,warm\n{shelf}/more/blue.mp4,cold\n")
    (root / "mine.py").write_text(RECIPE.replace("$TRAIN", str(root / "train.csv")))
    torch.manual_seed(0)
    return made(f"{root}/mine.py:tiny", root / "run", **{"task.cache": str(root / "cache")})


def told(capsys, done: run.Run, *arguments, status: int = 0) -> list[dict]:
    assert cli.main(["predict", str(done.folder), *map(str, arguments)]) == status
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_clip_has_one_answer_with_its_file_and_its_probability(done, shelf, capsys):
    clip = str(shelf / "red.mp4")
    (row,) = told(capsys, done, clip)
    assert list(row) == ["id", "path", "prediction", "log_probability"] and row["id"] == row["path"] == clip
    (more,) = told(capsys, done, clip, "--probs")
    assert more["probs"].keys() == {"warm", "cold"} and sum(more["probs"].values()) == pytest.approx(1)
    assert np.log(more["probs"][row["prediction"]]) == pytest.approx(row["log_probability"], abs=1e-5)


def test_a_folder_is_all_its_videos_and_folders_of_frames_at_any_depth(done, shelf, capsys):
    rows = told(capsys, done, shelf)
    names = [os.path.relpath(row["path"], shelf) for row in rows]
    assert names == ["more/blue.mp4", "more/blue_frames", "more/deep/green.mp4", "red.mp4"]
    for row in rows:
        assert told(capsys, done, row["path"])[0]["log_probability"] == pytest.approx(row["log_probability"], abs=1e-5)


def test_patterns_tables_and_sources_name_clips_too(done, shelf, tmp_path, capsys):
    every = {row["path"]: row["log_probability"] for row in told(capsys, done, shelf)}
    assert [row["path"] for row in told(capsys, done, f"{shelf}/**/*.mp4")] == sorted(p for p in every if p.endswith(".mp4"))
    (tmp_path / "t.csv").write_text(f"video,label\n{shelf}/red.mp4,nobody knows\n")
    for source in (tmp_path / "t.csv", f"csv:{tmp_path}/t.csv"):
        (row,) = told(capsys, done, source)
        assert row["id"] == "t.csv:1" and row["path"] == f"{shelf}/red.mp4"
        assert row["log_probability"] == pytest.approx(every[row["path"]], abs=1e-5)
    kind = told(capsys, done, f"videos:{shelf}/more?loose=drop")
    assert [(row["id"], row["path"]) for row in kind] == [("more/deep/green.mp4", f"{shelf}/more/deep/green.mp4")]


def test_python_gives_the_same_for_a_path_a_clip_and_a_row(done, shelf, capsys):
    clip = str(shelf / "red.mp4")
    (row,) = told(capsys, done, clip)
    (of_path,) = done.predict(clip)
    (of_clip,) = done.predict([{"id": "mine", "video": VideoFile(clip)}])
    assert of_path == row
    assert of_clip == {**row, "id": "mine"}


def test_part_of_a_file_is_another_clip_and_says_which(done, tmp_path):
    clip = filmed(tmp_path / "long.mp4", "red", 30)
    whole, part = done.predict([{"id": "a", "video": str(clip)}, {"id": "b", "video": str(clip), "start_s": 2.0, "end_s": 3.0}])
    assert (part["start_s"], part["end_s"]) == (2.0, 3.0) and "start_s" not in whole
    assert part["log_probability"] != whole["log_probability"]


def test_answers_come_before_all_clips_have_been_seen(done, shelf, monkeypatch):
    monkeypatch.setattr(filming, "TOGETHER", 1)
    rows = [{"id": "a", "video": str(shelf / "red.mp4")}, {"id": "b", "video": str(shelf / "gone.mp4")}]
    answers = predicting.predicted(done, rows)
    assert next(answers)["id"] == "a"
    with pytest.raises(BadData, match=r"gone\.mp4"):
        next(answers)


def test_a_broken_clip_is_one_line_or_is_left_out_though_it_be_the_first(done, shelf, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(filming, "TOGETHER", 1)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    assert cli.main(["predict", str(done.folder), str(tmp_path / "bad.mp4"), str(shelf / "red.mp4")]) == 3
    shown = capsys.readouterr()
    assert not shown.out and shown.err.count("\n") == 1 and "bad.mp4" in shown.err
    (row,) = told(capsys, done, tmp_path / "bad.mp4", shelf / "red.mp4", "--broken", "skip")
    assert row["path"] == str(shelf / "red.mp4")


def test_what_is_no_clip_is_said_in_one_line(done, shelf, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("none")
    for entry, line in ((tmp_path / "empty", "no videos (1 .txt)"), ("a superb film", "no such file"), (f"{shelf}/*.avi", "no file fits")):
        assert cli.main(["predict", str(done.folder), str(entry)]) == 3
        shown = capsys.readouterr()
        assert line in shown.err and shown.err.count("\n") == 1


def test_frames_and_boxes_are_not_asked_of_whole_clips(done, shelf, tmp_path, capsys):
    for flags in (["--every", "2"], ["--draw", str(tmp_path / "drawn")]):
        assert cli.main(["predict", str(done.folder), str(shelf / "red.mp4"), *flags]) == 2
        assert f"{flags[0]}: Video answers about each clip as a whole" in capsys.readouterr().err


def test_the_table_of_answers_has_a_row_for_each_clip(done, shelf, tmp_path, capsys):
    assert told(capsys, done, shelf / "red.mp4", shelf / "more/blue.mp4", "--probs", "--csv", tmp_path / "t.csv") == []
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(shelf / "red.mp4"), str(shelf / "more/blue.mp4")]
    for row in rows:
        assert float(row["p(warm)"]) + float(row["p(cold)"]) == pytest.approx(1)


def test_a_clip_is_explained_by_the_times_of_its_frames(done, shelf, capsys):
    given = ["--input", str(shelf / "red.mp4"), "--method", "occlusion", "--check", "none", "--json", "--quiet"]
    assert cli.main(["explain", str(done.folder), *given]) == 0
    (row,) = json.loads(capsys.readouterr().out)["examples"]
    assert row["words"] == ["0.10 s", "0.30 s", "0.50 s", "0.70 s"]  # the middles of four equal parts of eight frames
    assert len(row["methods"]["occlusion"]["relevance"]) == 4


def test_a_task_of_pictures_goes_on_reading_frames():
    assert not filming.takes_clips(Pictures())
