"""Predictions that are boxes: as lines, as a table, drawn on pictures and on videos; and frames of videos for any task of pictures."""

import csv
import json
import pathlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from films import noise, rewritten
from pellucid import cli, drawing, finding, predicting, run
from pellucid import recipe as recipes
from pellucid.data import video
from pellucid.drawing import Gallery
from pellucid.errors import BadData, BadUsage
from pellucid.report import boxes
from pellucid.train.loop import start_fabric
from toy_detection import Detector, scene
from untrained import made

SQUARES = {"red": (8, 16, 12), "blue": (48, 4, 16), "green": (30, 30, 7)}  # the green is too small to be sure of
PLACES = {"red": [8, 16, 20, 28], "blue": [48, 4, 64, 20], "green": [30, 30, 37, 37]}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    return made("rsb:tiny", tmp_path_factory.mktemp("c") / "run")


@pytest.fixture
def finder(tmp_path, monkeypatch) -> run.Run:
    chosen = recipes.override(recipes.get("rsb:tiny"), {"loop.eval_batch_size": "4"})
    done = run.Run(tmp_path / "run", chosen, Detector(), start_fabric("32-true"))
    monkeypatch.setattr(run, "load", lambda folder: done)
    return done


@pytest.fixture
def album(tmp_path) -> pathlib.Path:
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    Image.fromarray(scene(70, 44, **SQUARES)).save(folder / "a.png")
    Image.fromarray(scene(40, 40)).save(folder / "empty.png")
    Image.fromarray(scene(64, 64, green=(10, 20, 24))).save(folder / "sub" / "a.png")
    return folder


@pytest.fixture
def clip(tmp_path) -> pathlib.Path:
    """A red square that goes one pixel to the right in each of ten frames."""
    with video.Writer(tmp_path / "clip.mp4", Fraction(10)) as film:
        for i in range(10):
            film.add(scene(64, 48, red=(8 + i, 16, 16)))
    return tmp_path / "clip.mp4"


def told(capsys, *arguments, status=0) -> list[dict]:
    assert cli.main(["predict", "run", *map(str, arguments)]) == status
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_boxes_told_are_those_from_the_threshold_on_the_strongest_first(finder, album, capsys):
    (row,) = told(capsys, album / "a.png")
    assert row["labels"] == ["blue", "red"] and row["answers"] == ["blue@2", "red@0"]
    assert row["boxes_xyxy"] == [PLACES["blue"], PLACES["red"]] and row["scores"][0] > row["scores"][1] >= 0.5
    (all_of_them,) = told(capsys, album / "a.png", "--threshold", "0")
    assert all_of_them["labels"] == ["blue", "red", "green"] and all_of_them["boxes_xyxy"][2] == PLACES["green"]
    (few,) = told(capsys, album / "a.png", "--threshold", str(row["scores"][0]))
    assert few["labels"] == ["blue"]


def test_a_score_that_is_the_threshold_is_told():
    given = {"labels": ["a", "b"], "scores": [0.7, 0.5], "boxes_xyxy": [[0, 0, 1, 1]] * 2, "queries": [4, 2], "masks": ["m", "n"]}
    kept = finding.above(given, 0.7)
    assert kept == {"labels": ["a"], "scores": [0.7], "boxes_xyxy": [[0, 0, 1, 1]], "masks": ["m"], "answers": ["a@4"]}


BOTH = {  # a map of a 5 x 5 square of the second class in the upper left corner of 8 x 7 pixels, and a row of the first below
    "labels": ["a", "a"],
    "scores": [0.7, 0.5],
    "boxes_xyxy": [[0, 0, 1, 1]] * 2,
    "default_boxes": [4, 2],
    "classes": ["a", "b"],
    "answers": ["a@4", "a@2", "b@map", "a@map"],
    "map": {"size": [7, 8], "values": [2, 0] * 5 + [0, 1], "counts": [5, 3] * 5 + [8, 8]},
}


def test_a_map_and_its_regions_are_told_whatever_the_threshold():
    kept = finding.above(BOTH, 0.6)
    assert kept["labels"] == ["a"] and kept["answers"] == ["a@4", "b@map", "a@map"] and kept["pixels"] == {"a": 8, "b": 25}
    assert kept["map"] == BOTH["map"] and kept["classes"] == ["a", "b"] and "default_boxes" not in kept
    alone = finding.above({key: BOTH[key] for key in ("classes", "map")} | {"answers": ["b@map"]}, 0.6)
    assert list(alone) == ["answers", "pixels", "classes", "map"] and alone["answers"] == ["b@map"]


def test_a_region_is_drawn_without_a_frame_and_named_in_its_middle_where_no_box_names_it():
    first, second = drawing.things(finding.above({**BOTH, "labels": ["a", "c"]}, 0.6))[1:]
    assert (first.label, first.named, second.label, second.named) == ("a", False, "b", True) and not (first.framed or second.framed)
    assert list(second.box_xyxy) == [2.5, 2.5, 2.5, 2.5] and second.mask.sum() == 25 and second.mask[:5, :5].all()


def test_the_table_has_a_row_for_each_box_and_none_for_a_picture_without(finder, album, tmp_path, capsys):
    assert told(capsys, album, "--csv", tmp_path / "b.csv") == []
    with open(tmp_path / "b.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["label"]) for row in rows] == [
        (str(album / "a.png"), "blue"),
        (str(album / "a.png"), "red"),
        (str(album / "sub/a.png"), "green"),
    ]
    assert [float(rows[1][key]) for key in ("x0", "y0", "x1", "y1")] == PLACES["red"] and rows[1]["answer"] == "red@0"
    told(capsys, album / "empty.png", "--csv", tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text() == "id,label,score,x0,y0,x1,y1,answer\n"


def test_boxes_have_no_probabilities_of_labels_and_labels_no_threshold(classifier, finder, album, capsys):
    assert cli.main(["predict", "run", str(album), "--probs"]) == 2
    assert "--threshold 0 tells all" in capsys.readouterr().err
    with pytest.raises(BadUsage, match="--threshold: ImageClassification predicts no boxes"):
        classifier.predict([str(album / "a.png")], threshold=0.5)


# ---- drawn ----------------------------------------------------------------------------------------------------------------


def test_every_picture_is_drawn_under_a_name_of_its_own_and_no_input_is_touched(finder, album, tmp_path, capsys):
    before = {path: path.read_bytes() for path in album.rglob("*.png")}
    told(capsys, album, "--draw", tmp_path / "drawn")
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == ["a.boxes-2.png", "a.boxes.png", "empty.boxes.png"]
    assert {path: path.read_bytes() for path in album.rglob("*.png")} == before
    image = np.asarray(Image.open(tmp_path / "drawn" / "a.boxes.png"))
    (row,) = told(capsys, album / "a.png")
    things = [boxes.Thing(*one) for one in zip(row["labels"], row["boxes_xyxy"], row["scores"], strict=True)]
    np.testing.assert_array_equal(image, boxes.drawn(Image.open(album / "a.png"), things, Detector.labels))
    empty = np.asarray(Image.open(tmp_path / "drawn" / "empty.boxes.png"))
    assert (empty == 128).all()


def test_drawing_into_the_inputs_own_folder_leaves_them_as_they_are(finder, album, capsys):
    told(capsys, album / "a.png", "--draw", album)
    drawn = (album / "a.boxes.png").read_bytes()
    told(capsys, album / "a.png", album / "a.boxes.png", "--draw", album)  # the drawn one is an input now
    assert (album / "a.boxes.png").read_bytes() == drawn
    assert (album / "a.boxes-2.png").read_bytes() == drawn and (album / "a.boxes.boxes.png").exists()


def test_names_from_elsewhere_become_names_of_files(tmp_path):
    gallery = Gallery(tmp_path)
    row = {"labels": [], "scores": [], "boxes_xyxy": []}
    picture = {"image": video.Frame(0, 0.0, scene(8, 8)).file()}
    names = [gallery.picture({**picture, "id": name}, [row]).name for name in ("../../up", "t.tar:7", "café:犬", "A", "a", "")]
    assert names == ["up.boxes.png", "t.tar_7.boxes.png", "café_犬.boxes.png", "A.boxes.png", "a.boxes-2.png", "picture.boxes.png"]
    assert {p.parent for p in tmp_path.rglob("*.png")} == {tmp_path}


def test_a_task_without_boxes_draws_nothing(classifier, album, tmp_path, capsys):
    assert cli.main(["predict", str(classifier.folder), str(album), "--draw", str(tmp_path / "drawn")]) == 2
    assert "--draw: ImageClassification predicts no boxes" in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()


# ---- videos ---------------------------------------------------------------------------------------------------------------


def test_every_frame_of_a_video_is_a_row_with_its_time_and_its_box(finder, clip, capsys):
    rows = told(capsys, clip)
    assert [(row["id"], row["path"], row["frame"]) for row in rows] == [(f"{clip}:{i}", str(clip), i) for i in range(10)]
    assert [row["time_s"] for row in rows] == pytest.approx([i / 10 for i in range(10)])
    for i, row in enumerate(rows):
        assert row["labels"] == ["red"]
        assert row["boxes_xyxy"][0] == pytest.approx([8 + i, 16, 24 + i, 32], abs=1.01)  # colours are stored at half the size


def test_some_frames_are_the_same_frames(finder, clip, capsys):
    whole = told(capsys, clip)
    assert told(capsys, clip, "--every", "4") == [whole[i] for i in (0, 4, 8)]
    assert cli.main(["predict", "run", str(clip), "--every", "0"]) == 2


def test_a_drawn_video_has_all_frames_and_those_between_keep_the_last_box(finder, clip, tmp_path, capsys):
    whole = told(capsys, clip)
    rows = told(capsys, clip, "--every", "4", "--draw", tmp_path / "drawn")
    assert [row["frame"] for row in rows] == [0, 4, 8]
    drawn = tmp_path / "drawn" / "clip.boxes.mp4"
    frames = list(video.frames(drawn))
    assert len(frames) == 10 and video.about(drawn) == video.about(clip)
    original = list(video.frames(clip))
    for i in (2, 6, 9):
        box = whole[4 * (i // 4)]["boxes_xyxy"][0]
        x, y = round(box[0]), round(box[3]) - 1  # the frame's left lower corner
        near = np.abs(frames[i].picture[y - 1 : y + 2, x - 1 : x + 2].astype(int) - original[i].picture[y - 1 : y + 2, x - 1 : x + 2])
        far = np.abs(frames[i].picture[40:, 40:].astype(int) - original[i].picture[40:, 40:])
        assert near.max() > 60 and far.max() < 12


def test_few_frames_are_held_at_a_time(finder, clip, monkeypatch, tmp_path):
    monkeypatch.setattr(predicting, "HELD", 3 * 64 * 48 * 3)
    held = []
    real = predicting._held
    monkeypatch.setattr(predicting, "_held", lambda frames, count: (held.append(len(some)) or some for some in real(frames, count)))
    asking = predicting.Asking(every=2, gallery=Gallery(tmp_path / "d"))
    assert [row["frame"] for row in predicting.predicted(finder, [{"id": "c", "video": str(clip)}], asking)] == [0, 2, 4, 6, 8]
    assert held == [3, 3, 3, 1]


def test_a_video_cut_short_gives_what_it_has_and_one_line(finder, tmp_path, capsys):
    avi = rewritten(noise(tmp_path / "long.mp4", 20), tmp_path / "long.avi", "mpeg4")
    avi.write_bytes(avi.read_bytes()[: avi.stat().st_size // 2])
    count = 0
    for flags in ((), ("--json",), ("--csv", str(tmp_path / "r.csv"))):
        assert cli.main(["predict", "run", str(avi), "--draw", str(tmp_path / "drawn"), *flags]) == 3
        out, err = capsys.readouterr()
        count = len(out.splitlines()) if not flags else len(json.loads(out)) if flags[0] == "--json" else count
        assert 0 < count < 20 and f"cut short; it ends after {count} frames" in err and len(err.splitlines()) <= 2
    assert (tmp_path / "r.csv").exists()
    assert sum(1 for _ in video.frames(tmp_path / "drawn" / "long.boxes.mp4")) == count


def test_pictures_come_before_videos_and_a_missing_one_stops_all(finder, album, clip, capsys):
    rows = told(capsys, clip, album / "a.png", "--every", "9")
    assert [pathlib.Path(row["id"]).name for row in rows] == ["a.png", "clip.mp4:0", "clip.mp4:9"]
    assert cli.main(["predict", "run", str(album / "a.png"), "gone.mp4"]) == 3
    assert capsys.readouterr().out == ""


def test_a_classifier_tells_of_frames_too(classifier, clip, tmp_path, capsys):
    assert cli.main(["predict", str(classifier.folder), str(clip), "--every", "5"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["frame"], row["time_s"]) for row in rows] == [(0, 0.0), (5, 0.5)]
    frame = list(video.frames(clip))[5].picture
    Image.fromarray(frame).save(tmp_path / "five.png")
    (still,) = classifier.predict([str(tmp_path / "five.png")])
    assert (rows[1]["prediction"], rows[1]["log_probability"]) == (still["prediction"], pytest.approx(still["log_probability"], abs=1e-6))


def test_a_file_that_is_no_video_is_one_line(finder, tmp_path, capsys):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    assert cli.main(["predict", "run", str(tmp_path / "x.mp4"), "--draw", str(tmp_path / "drawn")]) == 3
    assert capsys.readouterr().err.count("\n") == 1 and not list((tmp_path / "drawn").glob("*") if (tmp_path / "drawn").exists() else ())


def test_held_frames_before_a_fault_come_first():
    def broken():
        yield from (video.Frame(i, 0.0, scene(2, 2)) for i in range(5))
        raise BadData("cut")

    some = predicting._held(broken(), 2)
    assert [[f.index for f in next(some)] for _ in range(3)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(BadData, match="cut"):
        next(some)
