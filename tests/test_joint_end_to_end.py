"""From a VOC folder with boxes and maps to both drawn over a picture, through the command line; and a line where a file is wrong."""

import csv
import io
import json
import math
import pathlib
import shutil
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from pellucid import cli, run
from pellucid.data import video
from pellucid.data.maps import encode, palette
from pellucid.errors import BadUsage
from pellucid.report.boxes import colour_of

RECIPE = """
from dataclasses import replace

from pellucid.data.joint_views import JointView
from pellucid.recipe import Data, Loop, get


def squares():
    one = get("triplenet:tiny")
    narrow = dict(patch=8, width=16, extra_channels=32, residual=8, squeeze=4, inner_widths=(4, 8, 16))
    task = replace(one.task, view=JointView(32), average_precision="voc", **narrow)
    return replace(one, task=task, train=Data("voc:voc"), tests={}, loop=Loop(2, 4))
"""
WIDE, HIGH = 60, 48
LABELS = ("cat", "dog")
PAGE = "<annotation><size><width>60</width><height>48</height></size>{}</annotation>"
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
NAMES = ("both", "boxes", "map", "void", "point")


def one(label: str, *box: int) -> str:
    return f"<object><name>{label}</name><difficult>0</difficult>{BOX.format(*box)}</object>"


BOTH = PAGE.format(one("cat", 7, 9, 30, 30) + one("dog", 37, 21, 56, 44))


def scene() -> np.ndarray:
    found = np.full((HIGH, WIDE, 3), 110, np.uint8)
    found[8:30, 6:30], found[20:44, 36:56] = (220, 30, 30), (30, 30, 220)
    return found


def indices() -> np.ndarray:
    found = np.zeros((HIGH, WIDE), np.uint8)
    found[8:30, 6:30], found[20:44, 36:56], found[7] = 1, 2, 255
    return found


def png(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> pathlib.Path:
    """A VOC folder of five pictures: with both, without map, without boxes, with a map all void, with a box of one pixel."""
    folder = tmp_path_factory.mktemp("joint")
    root = folder / "voc"
    for name in ("ImageSets/Main", "JPEGImages", "Annotations", "SegmentationClass"):
        (root / name).mkdir(parents=True)
    (root / "ImageSets/Main/trainval.txt").write_text("\n".join(NAMES) + "\n")
    (root / "names.txt").write_text("\n".join(LABELS) + "\n")
    for i, name in enumerate(NAMES):
        Image.fromarray(scene() + np.uint8(3 * i)).save(root / f"JPEGImages/{name}.jpg", quality=95)
        if name != "map":
            (root / f"Annotations/{name}.xml").write_text(BOTH if name != "point" else PAGE.format(one("cat", 7, 9, 7, 9)))
        if name != "boxes":
            found = np.full_like(indices(), 255) if name == "void" else indices()
            (root / f"SegmentationClass/{name}.png").write_bytes(encode(found))
    (folder / "mine.py").write_text(RECIPE)
    return folder


def source(root: pathlib.Path) -> str:
    return f"voc:{root}?set=trainval&maps=yes&boxes=some&classes={root}/names.txt"


def train(home: pathlib.Path, root: pathlib.Path, out: pathlib.Path, *more: str) -> int:
    data = ["--data", source(root), "--dev", source(root), "--test", f"home={source(root)}"]
    return cli.main(["train", f"{home}/mine.py:squares", *data, "--out", str(out), "--quiet", *more])


@pytest.fixture(scope="module")
def done(home) -> pathlib.Path:
    """The run that everything below asks; its data have all that is legal."""
    assert train(home, home / "voc", home / "run") == 0
    return home / "run"


@pytest.fixture(scope="module")
def mapper(home) -> pathlib.Path:
    """A run that tells maps alone."""
    assert train(home, home / "voc", home / "mapper", "--set", "task.jobs=segmentation") == 0
    return home / "mapper"


def told(capsys, *arguments, status=0) -> list[dict]:
    capsys.readouterr()
    assert cli.main(["predict", *map(str, arguments)]) == status
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def unpacked(row: dict) -> np.ndarray:
    return np.repeat(row["map"]["values"], row["map"]["counts"]).reshape(row["map"]["size"])


# ---- asking -----------------------------------------------------------------------------------------------------------


def test_boxes_from_the_threshold_on_and_the_whole_map_are_told(home, done, capsys):
    picture = home / "voc/JPEGImages/both.jpg"
    (row,) = told(capsys, done, picture, "--threshold", "0")
    (few,) = told(capsys, done, picture, "--threshold", str(row["scores"][0]))
    assert row["id"] == str(picture) and len(row["labels"]) > len(few["labels"]) == 1
    found = unpacked(row)
    assert found.shape == (HIGH, WIDE) and row["classes"] == list(LABELS)
    assert row["pixels"] == {label: n for k, label in enumerate(LABELS, 1) if (n := int((found == k).sum()))}
    for one in (row, few):
        boxes = [answer for answer in one["answers"] if not answer.endswith("@map")]
        assert [answer.split("@")[0] for answer in boxes] == one["labels"] and all(answer.split("@")[1].isdecimal() for answer in boxes)
    assert few["map"] == row["map"] and few["answers"] == [row["answers"][0], *row["answers"][len(row["labels"]) :]]


def test_what_is_printed_measures_as_the_run_itself(home, done, tmp_path, capsys):
    rows = told(capsys, done, source(home / "voc"), "--threshold", "0")
    (tmp_path / "told.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = []
    for more in ([], ["--predictions", str(tmp_path / "told.jsonl")]):
        assert cli.main(["evaluate", str(done), "--data", source(home / "voc"), "--json", *more]) == 0
        (one,) = json.loads(capsys.readouterr().out)["sets"].values()
        found.append({name: metric["value"] for name, metric in one["metrics"].items()})
    assert found[0] == pytest.approx(found[1], abs=1e-3) and found[0]["mIoU"] == found[1]["mIoU"]
    assert "unmeasured" not in one and all(map(math.isfinite, found[0].values()))


def test_all_void_and_a_box_of_one_pixel_learn_without_a_loss_that_is_none(home, done, tmp_path):
    shutil.copytree(home / "voc", tmp_path / "voc")
    for file in (tmp_path / "voc/SegmentationClass").iterdir():
        file.write_bytes(encode(np.full_like(indices(), 255)))
    assert train(home, tmp_path / "voc", tmp_path / "run") == 0  # all of it void
    for folder in (done, tmp_path / "run"):
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses = [value for line in lines for name, value in line.items() if name.startswith("train/")]
        assert losses and all(map(math.isfinite, losses))


def test_the_table_has_a_line_for_each_box_and_for_each_class_of_the_map(home, done, tmp_path, capsys):
    picture, file = home / "voc/JPEGImages/both.jpg", tmp_path / "found.csv"
    (row,) = told(capsys, done, picture, "--threshold", "0")
    told(capsys, done, picture, "--threshold", "0", "--csv", file)
    lines = list(csv.DictReader(file.open()))
    count = len(row["labels"])
    assert [(line["label"], line["answer"]) for line in lines[:count]] == list(zip(row["labels"], row["answers"][:count], strict=True))
    assert {line["label"]: int(line["pixels"]) for line in lines[count:]} == row["pixels"] and not any(
        line["score"] for line in lines[count:]
    )


def test_maps_are_written_as_vocs_are(home, done, tmp_path, capsys):
    rows = told(capsys, done, home / "voc/JPEGImages", "--maps", tmp_path / "maps")
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [f"{name}.png" for name in sorted(NAMES)]
    for row in rows:
        with Image.open(tmp_path / "maps" / f"{pathlib.Path(row['id']).stem}.png") as image:
            assert image.mode == "P" and image.getpalette()[: 3 * 256] == palette().ravel().tolist()
            assert (np.asarray(image) == unpacked(row)).all()


def test_no_map_is_written_over_a_picture(home, done, tmp_path, capsys):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    told(capsys, done, tmp_path / "a.png", "--maps", tmp_path)
    assert (tmp_path / "a.png").read_bytes() == before and (tmp_path / "a-2.png").exists()


def test_a_run_of_maps_alone_tells_and_draws_them(home, mapper, tmp_path, capsys):
    picture = home / "voc/JPEGImages/both.jpg"
    (row,) = told(capsys, mapper, picture, "--draw", tmp_path)
    assert "labels" not in row and all(answer.endswith("@map") for answer in row["answers"]) and unpacked(row).shape == (HIGH, WIDE)
    with Image.open(tmp_path / "both.boxes.jpg") as drawn:
        assert drawn.size == (8 * WIDE, 8 * HIGH)
    told(capsys, mapper, picture, "--csv", tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().startswith("id,label,answer,pixels\n")
    assert run.load(mapper).predict(str(picture)) == [row]
    for flag in (("--threshold", "0.5"), ("--probs",), ("--coco", str(tmp_path / "c.json"))):
        assert cli.main(["predict", str(mapper), source(home / "voc"), *flag]) == 2
        assert f"{flag[0]}: DetectionSegmentation" in capsys.readouterr().err


def test_frames_of_a_video_have_maps_too(home, mapper, tmp_path, capsys):
    with video.Writer(tmp_path / "clip.mp4", Fraction(10)) as film:
        for i in range(3):
            film.add(np.roll(scene(), i, 1))
    rows = told(capsys, mapper, tmp_path / "clip.mp4", "--every", "2", "--draw", tmp_path / "d", "--maps", tmp_path / "m")
    assert [row["frame"] for row in rows] == [0, 2] and len(list((tmp_path / "m").iterdir())) == 2
    assert [frame.picture.shape for frame in video.frames(tmp_path / "d/clip.boxes.mp4")] == [(8 * HIGH, 8 * WIDE, 3)] * 3


def test_a_run_without_maps_writes_none(home, tmp_path, capsys):
    assert train(home, home / "voc", tmp_path / "run", "--set", "task.jobs=detection", "--set", "loop.epochs=1") == 0
    capsys.readouterr()
    asked = ["predict", str(tmp_path / "run"), str(home / "voc/JPEGImages/both.jpg")]
    assert cli.main([*asked, "--maps", str(tmp_path / "maps")]) == 2
    assert "--maps: DetectionSegmentation predicts no map" in capsys.readouterr().err
    with pytest.raises(BadUsage, match="gives the score of each box"):
        run.load(tmp_path / "run").predict(asked[-1], probs=True)


# ---- bad files --------------------------------------------------------------------------------------------------------


def mask(found: bytes):
    return lambda root: (root / "SegmentationClass/both.png").write_bytes(found)


def page(text: str):
    return lambda root: (root / "Annotations/both.xml").write_text(text)


GREY = np.where(indices() == 1, np.uint8(128), np.uint8(0))
WRONG = {
    "map of another size": (mask(encode(indices()[:40])), "both.png: the map is 60 x 40 pixels and its picture 60 x 48; give the map"),
    "map on its side": (mask(encode(indices().T.copy())), "both.png: the map is 48 x 60 pixels and its picture 60 x 48; perhaps"),
    "map of colours": (mask(png(Image.fromarray(palette()[indices()]))), "both.png: a picture of mode RGB, without a palette; expected"),
    "map of grey values": (
        mask(png(Image.fromarray(GREY))),
        "both.png: a pixel is of class 128, and the boxes have the 2 classes cat, dog",
    ),
    "class without boxes": (mask(encode(np.full_like(indices(), 3))), "both.png: a pixel is of class 3, and the boxes have the 2 classes"),
    "map as a JPEG": (mask(png(Image.fromarray(indices()), "JPEG")), "both.png: a JPEG, which changes indices as it compresses"),
    "map cut short": (mask(encode(indices())[:-40]), "both.png: a broken PNG picture"),
    "map without bytes": (mask(b""), "both.png: 0 bytes, so no picture"),
    "annotation without size": (page(PAGE.replace("size>", "form>").format("")), "both.xml: no size/width; expected a number of pixels"),
    "annotation of another picture": (
        page(PAGE.replace("60", "70").format("")),
        "both.jpg: the picture is 60 x 48 pixels and its boxes are for",
    ),
    "annotation empty": (page(""), "both.xml: not XML (no element found"),
    "annotation cut short": (page(BOTH[:90]), "both.xml: not XML"),
    "box outside": (
        page(PAGE.format(one("cat", 70, 9, 80, 20))),
        "both.xml: object 'cat' has the box 70, 9, 80, 20 in a picture of 60 x 48",
    ),
    "box without corners": (
        page(PAGE.format("<object><name>cat</name></object>")),
        "both.xml: no bndbox/xmin; expected a number of pixels",
    ),
    "class nobody named": (page(PAGE.format(one("cow", 7, 9, 20, 20))), "a label is unknown to training, which has 2: 'cow'"),
}


def refused(capsys, verb, status: int, message: str) -> None:
    capsys.readouterr()
    assert verb() == status
    out, err = capsys.readouterr()
    assert not out and message in err.splitlines()[-1]


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_line_before_training_and_before_measuring(home, done, case, tmp_path, capsys):
    change, message = WRONG[case]
    root = shutil.copytree(home / "voc", tmp_path / "voc")
    change(root)
    refused(capsys, lambda: train(home, root, tmp_path / "none"), 3, message)
    refused(capsys, lambda: cli.main(["evaluate", str(done), "--data", source(root)]), 3, message)
    assert not (tmp_path / "none").exists()


def test_a_map_larger_than_memory_and_an_annotation_with_entities_are_unsafe(home, tmp_path, capsys, monkeypatch):
    root = shutil.copytree(home / "voc", tmp_path / "voc")
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "3000")
    (root / "SegmentationClass/both.png").write_bytes(encode(np.zeros((60, 60), np.uint8)))
    refused(capsys, lambda: train(home, root, tmp_path / "none"), 4, "both.png: its header claims 60 x 60 pixels")
    (root / "Annotations/both.xml").write_text("<!DOCTYPE a [<!ENTITY b 'c'>]>" + BOTH)
    refused(capsys, lambda: train(home, root, tmp_path / "none"), 4, "both.xml: defines a document type")


def test_an_answer_needs_no_map_of_the_source(home, done, tmp_path, capsys):
    root = shutil.copytree(home / "voc", tmp_path / "voc")
    WRONG["map of colours"][0](root)
    assert [row["id"] for row in told(capsys, done, source(root))] == [f"voc:{name}" for name in NAMES]


def test_a_look_at_the_data_counts_maps_and_names_bad_ones(home, tmp_path, capsys, caplog):
    root = shutil.copytree(home / "voc", tmp_path / "voc")
    WRONG["map of colours"][0](root)
    assert cli.main(["check-data", source(root)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.replace("broken maps", "broken_maps").splitlines())
    assert (lines["rows"], lines["maps"], lines["broken_maps"]) == ("5", "4", "1")
    assert "both.png: a picture of mode RGB" in caplog.text


def test_colours_of_a_drawn_map_are_those_of_its_boxes(home, mapper, tmp_path, capsys):
    (row,) = told(capsys, mapper, home / "voc/JPEGImages/both.jpg", "--maps", tmp_path)
    (row_again,) = told(capsys, mapper, home / "voc/JPEGImages/both.jpg", "--draw", tmp_path)
    assert row == row_again
    with Image.open(tmp_path / "both.boxes.jpg") as drawn:
        seen = np.asarray(drawn).astype(int)
    for label in row["pixels"]:
        assert np.abs(seen - np.array(colour_of(label, LABELS))).max(-1).min() < 40  # its outline; a JPEG is not exact
