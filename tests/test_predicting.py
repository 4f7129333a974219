"""Predictions for whatever a command line names: texts, pictures, folders, patterns, tables; as lines of JSON or a table."""

import csv
import dataclasses
import json
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid import cli, predicting, run
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data
from untrained import made


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> pathlib.Path:
    """Pictures in folders and beside them, one of which is broken, and a file that is none."""
    folder = tmp_path_factory.mktemp("my photos") / "album"
    (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(("b.png", "a.png", "sub/c.jpg")):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("none")
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    return made("rsb:tiny", tmp_path_factory.mktemp("c") / "run")


@pytest.fixture(scope="module")
def tagger(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    return made("asl:tiny", tmp_path_factory.mktemp("t") / "run")


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    return made("robustness:tiny", tmp_path_factory.mktemp("r") / "run")


def told(capsys, *arguments, status=0) -> list[dict]:
    assert cli.main(["predict", *map(str, arguments)]) == status
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# ---- what is asked --------------------------------------------------------------------------------------------------------


def test_a_folder_gives_every_picture_in_it_by_its_path(classifier, photos, capsys):
    rows = told(capsys, classifier.folder, photos)
    assert [row["id"] for row in rows] == [str(photos / name) for name in ("a.png", "b.png", "sub/c.jpg")]
    assert all(row["prediction"] in classifier.task.labels and row["log_probability"] < 0 for row in rows)


def test_a_picture_a_pattern_a_folder_and_a_source_are_the_same_pictures(classifier, photos, capsys, monkeypatch):
    whole = {pathlib.Path(row["id"]).name: row["prediction"] for row in told(capsys, classifier.folder, photos)}
    for asked in ([photos / "a.png"], [f"{photos}/*.png"], [f"{photos}/**/*.jpg"], [f"folder:{photos}?loose=drop"]):
        rows = told(capsys, classifier.folder, *asked)
        assert rows and all(whole[pathlib.Path(row["id"]).name] == row["prediction"] for row in rows)
    monkeypatch.chdir(photos)
    assert [row["id"] for row in told(capsys, classifier.folder, "a.png", "sub")] == ["a.png", "sub/c.jpg"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(photos, tmp_path):
    (tmp_path / "x[1].png").write_bytes((photos / "a.png").read_bytes())
    assert predicting.examples_of([f"{tmp_path}/x[1].png"], "image") == [{"id": f"{tmp_path}/x[1].png", "image": f"{tmp_path}/x[1].png"}]


def test_tables_of_pictures_are_read_with_their_columns_and_labels_need_not_be_the_models(classifier, photos, tmp_path, capsys):
    (tmp_path / "t.csv").write_text(f"where,label\n{photos}/a.png,zebra\n{photos}/b.png,gnu\n")
    rows = told(capsys, classifier.folder, tmp_path / "t.csv", "--column", "image=where")
    assert [(row["id"], row["path"]) for row in rows] == [("t.csv:1", f"{photos}/a.png"), ("t.csv:2", f"{photos}/b.png")]


def test_texts_stay_texts_whatever_they_look_like(reader, capsys, monkeypatch, photos):
    monkeypatch.chdir(photos)
    asked = ["is it any good?", "album: a film", "*****", "sub", "a.png"]
    assert [row["id"] for row in told(capsys, reader.folder, *asked)] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("entry", "takes", "message"),
    [
        ("gone.png", "image", "gone.png: no such file"),
        ("gone/*.png", "image", r"gone/\*.png: no file fits"),
        ("gone.csv", "text", "gone.csv: no such file"),
        ("album/", "text", "album/: a folder; this run takes texts"),
    ],
)
def test_what_is_not_there_is_one_line(entry, takes, message, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    with pytest.raises((BadData, BadUsage), match=message):
        predicting.examples_of([entry], takes)


def test_a_folder_without_pictures_says_what_is_in_it(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(BadData, match=r"no pictures \(1 .txt\)"):
        predicting.examples_of([str(tmp_path)], "image")


def test_a_broken_picture_stops_all_unless_it_is_to_be_skipped(classifier, photos, tmp_path, capsys):
    good, bad = (photos / "sub/c.jpg").read_bytes(), tmp_path / "cut.jpg"
    bad.write_bytes(good[:-100])  # its header is whole
    (tmp_path / "whole.jpg").write_bytes(good)
    assert cli.main(["predict", str(classifier.folder), str(tmp_path)]) == 3
    assert "cut.jpg" in capsys.readouterr().err
    assert [pathlib.Path(row["id"]).name for row in told(capsys, classifier.folder, tmp_path, "--broken", "skip")] == ["whole.jpg"]


def test_skipping_broken_pictures_of_texts_is_a_mistake(reader):
    with pytest.raises(BadUsage, match="--broken skip: TextClassification reads no pictures"):
        predicting.leave_out_broken(reader.task)


# ---- what is answered -------------------------------------------------------------------------------------------------------


def test_probabilities_of_one_label_sum_to_1_where_a_softmax_was_trained(reader, capsys):
    for row in told(capsys, reader.folder, "a superb film", "a film", "--probs"):
        assert sum(row["probs"].values()) == pytest.approx(1)
        assert max(row["probs"], key=row["probs"].get) == row["prediction"]
        assert np.log(row["probs"][row["prediction"]]) == pytest.approx(row["log_probability"], abs=1e-6)


def test_probabilities_are_each_labels_own_sigmoid_where_those_were_trained(classifier, tagger, photos):
    for done in (classifier, tagger):
        rows = done.predict([str(photos / "a.png"), str(photos / "b.png")], probs=True)
        batch = done.task.collate(done._rows([str(photos / "a.png"), str(photos / "b.png")]))
        with torch.no_grad():
            expected = done.task.model(batch)["logits"].sigmoid()
        np.testing.assert_allclose([list(row["probs"].values()) for row in rows], expected, atol=1e-6)
        assert [list(row["probs"]) for row in rows] == [list(done.task.labels)] * 2


def test_probabilities_are_the_same_in_pieces(classifier, monkeypatch):
    logits = torch.randn(7, 10)
    whole = predicting.probabilities(classifier.task, logits)
    monkeypatch.setattr(predicting, "_CHUNK", 250)
    assert torch.equal(predicting.probabilities(classifier.task, logits), whole)


def test_a_tagger_names_its_labels_the_likeliest_first(tagger, photos):
    [row] = tagger.predict([str(photos / "a.png")], probs=True)
    likely = [label for label, p in sorted(row["probs"].items(), key=lambda item: -item[1]) if p >= tagger.task.settings.threshold]
    assert row["prediction"] == likely


def test_the_table_has_a_row_a_picture_and_a_column_a_label(tagger, photos, tmp_path, capsys):
    assert told(capsys, tagger.folder, photos, "--probs", "--csv", tmp_path / "out/p.csv") == []
    with open(tmp_path / "out/p.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = tagger.predict([str(photos / "a.png")], probs=True)[0]
    assert len(rows) == 3 and rows[0]["id"] == expected["id"]
    assert rows[0]["prediction"] == "|".join(expected["prediction"])
    assert float(rows[0]["p(even)"]) == pytest.approx(expected["probs"]["even"])


def test_what_has_no_logits_has_no_probabilities(reader):
    rows = reader.prepared(Data("polarity:test", limit=3))
    found = dataclasses.replace(reader.measure(rows), logits=None)
    with pytest.raises(BadUsage, match="--probs: TextClassification gives no probabilities of labels here"):
        predicting.answers(reader.task, rows, found, probs=True)


def test_rows_of_a_source_are_predicted_as_they_are_measured(reader, capsys):
    rows = told(capsys, reader.folder, "polarity:test", "--limit", "5")
    measured = reader.measure(reader.prepared(Data("polarity:test", limit=5)))
    assert [row["prediction"] for row in rows] == measured.predictions
    assert [row["id"] for row in rows] == [row["id"] for row in measured.examples]
