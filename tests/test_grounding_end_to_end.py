"""From a table of phrases and boxes to boxes with their words, through the command line; and a line where a row is wrong."""

import csv
import json
import pathlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from pellucid import cli, run
from pellucid.data import video
from pellucid.errors import BadUsage
from toy_detection import scene

RECIPE = """
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.recipe import Data, Loop, Optim, Recipe
from pellucid.tasks.grounding.settings import GroundingSettings

HALF = (0.5, 0.5, 0.5)


def squares():
    task = GroundingSettings(
        backbone="resnet_tiny", pretrained="", text="words", frozen="", view=BoxView(64, 64, HALF, HALF),
        train_view=BoxTrainView((64,), 64, 0.0, 0.0), num_queries=4, width=32, num_heads=4, encoder_layers=1, decoder_layers=2,
        feedforward=48, num_tokens=31, align_width=16,
        word_threshold=0.03,
    )
    return Recipe(task, Data("phrases:squares.csv"), optim=Optim("adamw", 1e-3), loop=Loop(2, 4))
"""
SQUARES = {"red": (4, 8, 24), "blue": (36, 30, 22)}
LINES = """image,caption,phrase,box
0.png,the red square left of the blue one,the red square,4 8 28 32
0.png,the red square left of the blue one,the blue one,36 30 58 52
1.png,🟥 over 🟦,🟥,4 8 28 32
2.png,הריבוע האדום ליד الأزرق,הריבוע האדום,4 8 28 32
3.png,a blue square,a blue square,36 30 58 52
"""
TEXTS = ("the red square", "a blue square", "🟥 over 🟦", "הריבוע האדום ליד الأزرق")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> pathlib.Path:
    """Four pictures, the table of their phrases, and a recipe."""
    folder = tmp_path_factory.mktemp("end_to_end")
    for i in range(4):
        Image.fromarray(scene(64, 60, **SQUARES)).save(folder / f"{i}.png")
    (folder / "squares.csv").write_text(LINES)
    Image.fromarray(scene(64, 60, red=(20, 20, 30))).save(folder / "dev.png")
    (folder / "dev.csv").write_text("image,phrase,box\ndev.png,a red square,20 20 50 50\n")
    (folder / "mine.py").write_text(RECIPE)
    return folder


def train(home: pathlib.Path, table: str, out: str) -> int:
    data = ["--data", f"phrases:{home / table}", "--dev", f"phrases:{home}/dev.csv", "--test", f"home=phrases:{home}/dev.csv"]
    return cli.main(["train", f"{home}/mine.py:squares", *data, "--out", str(home / out), "--quiet"])


@pytest.fixture(scope="module")
def done(home) -> pathlib.Path:
    """The run that everything below asks."""
    assert train(home, "squares.csv", "run") == 0
    return home / "run"


def told(capsys, *arguments, status=0) -> list[dict]:
    capsys.readouterr()
    assert cli.main(["predict", *map(str, arguments)]) == status
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ---- asking -----------------------------------------------------------------------------------------------------------


def test_each_text_has_an_answer_whose_labels_are_words_of_it(home, done, capsys):
    rows = told(capsys, done, home / "0.png", *(word for text in TEXTS for word in ("--text", text)), "--threshold", "0")
    assert [row["caption"] for row in rows] == list(TEXTS)
    assert all(any(row["labels"]) for row in rows)
    for row in rows:
        assert row["id"] == str(home / "0.png") and len(row["boxes_xyxy"]) == 4
        assert row["scores"] == sorted(row["scores"], reverse=True)
        for label, spans, answer in zip(row["labels"], row["spans"], row["answers"], strict=True):
            assert label == " ... ".join(row["caption"][b:e] for b, e in spans) and answer.startswith(f"{label}@")


def test_texts_together_say_what_each_says_alone_and_a_table_says(home, done, tmp_path, capsys):
    together = told(capsys, done, home / "0.png", "--text", TEXTS[0], "--text", TEXTS[1], "--threshold", "0")
    alone = [row for text in TEXTS[:2] for row in told(capsys, done, home / "0.png", "--text", text, "--threshold", "0")]
    (tmp_path / "t.csv").write_text(f"image,caption\n{home}/0.png,{TEXTS[0]}\n{home}/0.png,{TEXTS[1]}\n")
    table = told(capsys, done, tmp_path / "t.csv", "--threshold", "0")
    assert [row["id"] for row in table] == ["t.csv:1", "t.csv:2"]
    for one, *others in zip(together, alone, table, strict=True):
        for other in others:
            assert one["labels"] == other["labels"] and one["caption"] == other["caption"]
            assert np.array(one["boxes_xyxy"]) == pytest.approx(np.array(other["boxes_xyxy"]), abs=0.01)


def test_an_open_list_of_labels_has_one_answer_of_boxes_called_by_them(home, done, capsys):
    (row,) = told(capsys, done, home / "0.png", "--labels", "red square, blue square", "--threshold", "0")
    assert "caption" not in row and set(row["labels"]) <= {"red square", "blue square"} and row["labels"]
    assert row["scores"] == sorted(row["scores"], reverse=True) and len(row["answers"]) == len(row["labels"])
    (whole,) = run.load(done).predict([str(home / "0.png")], threshold=0, labels=["red square", "blue square"])
    assert whole == row


def test_folders_patterns_and_broken_pictures_are_as_ever(home, done, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes((home / "0.png").read_bytes())
    (tmp_path / "c.png").write_bytes(b"no picture")
    text = ("--text", TEXTS[0], "--text", TEXTS[1])
    assert [pathlib.Path(row["id"]).name for row in told(capsys, done, f"{tmp_path}/[ab].png", *text)] == [
        "a.png",
        "a.png",
        "b.png",
        "b.png",
    ]
    assert cli.main(["predict", str(done), str(tmp_path), *text]) == 3
    assert "c.png" in capsys.readouterr().err
    assert len(told(capsys, done, tmp_path, *text, "--broken", "skip")) == 4


def test_the_table_names_the_caption_of_each_box(home, done, tmp_path, capsys):
    file = tmp_path / "boxes.csv"
    told(capsys, done, home / "0.png", "--text", TEXTS[0], "--text", TEXTS[1], "--threshold", "0", "--csv", file)
    rows = list(csv.DictReader(file.open()))
    assert [row["caption"] for row in rows] == [TEXTS[0]] * 4 + [TEXTS[1]] * 4
    assert all(row["label"] in row["caption"] or " ... " in row["label"] for row in rows) and float(rows[0]["x0"]) < float(rows[0]["x1"])


def test_one_drawn_picture_has_all_captions_under_it_and_is_large_enough_to_read(home, done, tmp_path, capsys):
    told(capsys, done, home / "0.png", *(word for text in TEXTS for word in ("--text", text)), "--threshold", "0", "--draw", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0.boxes.png"]
    with Image.open(tmp_path / "0.boxes.png") as drawn:
        assert drawn.width == 512 and drawn.height > 480 + 4 * 12
        assert np.asarray(drawn)[484:].min(-1).mean() > 150  # mostly white
    told(capsys, done, home / "0.png", "--labels", "red,blue", "--threshold", "0", "--draw", tmp_path / "labels")
    with Image.open(tmp_path / "labels" / "0.boxes.png") as drawn:
        assert drawn.size == (512, 480)


def test_frames_of_a_video_are_searched_too(home, done, tmp_path, capsys):
    with video.Writer(tmp_path / "clip.mp4", Fraction(10)) as film:
        for i in range(4):
            film.add(scene(64, 60, red=(4 + i, 8, 24)))
    asked = (tmp_path / "clip.mp4", "--text", TEXTS[0], "--text", TEXTS[1], "--every", "2", "--threshold", "0")
    rows = told(capsys, done, *asked, "--draw", tmp_path / "d")
    assert [(row["frame"], row["caption"]) for row in rows] == [(i, text) for i in (0, 2) for text in TEXTS[:2]]
    assert {frame.picture.shape[1] for frame in video.frames(tmp_path / "d" / "clip.boxes.mp4")} == {512}


def test_the_python_face_takes_texts(home, done):
    loaded = run.load(done)
    (row,) = loaded.predict(str(home / "0.png"), threshold=0, texts=TEXTS[0])
    assert row["caption"] == TEXTS[0] and len(row["boxes_xyxy"]) == 4
    with pytest.raises(BadUsage, match="no words to look for"):
        loaded.predict(str(home / "0.png"))


# ---- what cannot be asked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ((), 2, "0.png: no words to look for; give --text"),
        (("--text", ""), 3, "--text: the caption is empty"),
        (("--labels", "cup,,laptop"), 3, "--labels: a label is empty"),
        (("--text", "word " * 400), 3, "--text: a caption of 400 words has more than 31 tokens"),
        (("--text", "a", "--labels", "b"), 2, "--text and --labels: both say what to look for"),
        (("--text", "a", "--probs"), 2, "--probs: Grounding gives the score of each box"),
        (("--text", "a", "--coco", "r.json"), 2, "--coco: COCO's results have categories and no words"),
    ],
)
def test_words_that_cannot_be_asked_are_one_line(home, done, asked, status, message, capsys):
    assert cli.main(["predict", str(done), str(home / "0.png"), *asked]) == status
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and message in err


def test_words_beside_those_of_a_table_are_refused(home, done, capsys):
    assert cli.main(["predict", str(done), f"phrases:{home}/squares.csv", "--text", "a"]) == 2
    assert "squares.csv:1: it has a caption of its own; leave --text and --labels out" in capsys.readouterr().err


# ---- bad rows ---------------------------------------------------------------------------------------------------------

HEAD = "image,caption,phrase,box,span\n0.png,a red square,a red square,4 8 28 32,\n"
WRONG = {
    "empty caption": ("1.png, ,red,4 8 28 32,", "bad.csv:2: the caption is empty"),
    "long caption": (f"1.png,{'red ' * 400},,4 8 28 32,0:3", "bad.csv:2: a caption of 400 words has more than 31 tokens"),
    "phrase without box": ("1.png,a red square,red square,,", "bad.csv:2: the phrase 'red square' has no box"),
    "phrase not there": ("1.png,a red square,blue,4 8 28 32,", "bad.csv:2: the phrase 'blue' is not in the caption 'a red square'"),
    "span outside": ("1.png,a red square,,4 8 28 32,6:99", "bad.csv:2: the span [6, 99] lies outside the caption of 12 characters"),
    "span outside among emoji": ("1.png,🟥🟦,,4 8 28 32,0:8", "bad.csv:2: the span [0, 8] lies outside the caption of 2 characters"),
    "span of other words": ("1.png,הריבוע האדום,האדום,4 8 28 32,0:6", "bad.csv:2: the span 0:6 is 'הריבוע' in the caption"),
    "box without phrase": ("1.png,a red square,,4 8 28 32,", "bad.csv:2: a box without a phrase"),
    "no phrase at all": ("1.png,a red square,,,", "bad.csv:2: a picture without any phrase or box"),
    "box outside": ("1.png,a red square,red,70 8 90 32,", "bad.csv:2: the box [70, 8, 90, 32] lies outside"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_row_is_one_line_before_training_and_before_any_answer(home, done, case, capsys):
    line, message = WRONG[case]
    (home / "bad.csv").write_text(HEAD + line + "\n")
    for verb in (lambda: train(home, "bad.csv", "none"), lambda: cli.main(["predict", str(done), f"phrases:{home}/bad.csv"])):
        capsys.readouterr()
        assert verb() == 3
        out, err = capsys.readouterr()
        assert not out and err.count("\n") == 1 and message in err
    assert not (home / "none").exists()


# ---- every span as text -----------------------------------------------------------------------------------------------


def test_every_span_is_printed_back_as_text(home, capsys):
    assert cli.main(["check-data", f"phrases:{home}/squares.csv", "--spans"]) == 0
    assert capsys.readouterr().out.splitlines()[:5] == [
        "squares.csv:1: the red square left of the blue one",
        "  [0:14] 'the red square' -> 4 8 28 32",
        "  [23:35] 'the blue one' -> 36 30 58 52",
        "squares.csv:3: 🟥 over 🟦",
        "  [0:1] '🟥' -> 4 8 28 32",
    ]
    assert cli.main(["check-data", f"phrases:{home}/squares.csv", "--spans", "--json"]) == 0
    row, *_ = json.loads(capsys.readouterr().out)
    assert [(one["words"], one["spans"]) for one in row["objects"]] == [("the red square", [[0, 14]]), ("the blue one", [[23, 35]])]


def test_spans_of_what_has_none_are_refused(home, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("text,label\na,b\n")
    assert cli.main(["check-data", str(tmp_path / "t.csv"), "--spans"]) == 2
    assert "has no captions with boxes" in capsys.readouterr().err
    assert cli.main(["check-data", f"phrases:{home}/squares.csv", "--spans", "--against", f"phrases:{home}/squares.csv"]) == 2
