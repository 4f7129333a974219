"""Predictions of another program: read from what such programs write, matched to the data, measured as the run's own are."""

import gzip
import hashlib
import json
import pathlib

import pyarrow
import pytest
import torch
from pyarrow import parquet

from pellucid import cli, judging, predicting, run
from pellucid import recipe as recipes
from pellucid.errors import BadData
from pellucid.metrics.classification import Accuracy, TopK
from pellucid.metrics.coco import coco_metrics
from pellucid.metrics.multilabel import MeanAveragePrecision
from pellucid.recipe import Data
from pellucid.train.loop import start_fabric
from toys import Mean, Pictures, Sentences
from untrained import made

LABELS = ("positive", "negative", "positive", "negative", "negative")
GIVEN = ("positive", "negative", "negative", "negative", "negative")  # the third is wrong
IDS = [f"films.csv:{i}" for i in range(1, 6)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    return made("robustness:tiny", tmp_path_factory.mktemp("j") / "run")


@pytest.fixture
def films(tmp_path) -> pathlib.Path:
    path = tmp_path / "films.csv"
    path.write_text("text,label\n" + "".join(f"film number {i},{label}\n" for i, label in enumerate(LABELS)))
    return path


def measured(capsys, done, films, file, *flags) -> dict:
    assert cli.main(["evaluate", str(done.folder), "--data", str(films), "--predictions", str(file), "--json", *flags]) == 0
    [(name, found)] = json.loads(capsys.readouterr().out)["sets"].items()
    assert (name, found["n"]) == ("films.csv", 5)
    return {metric: value["value"] for metric, value in found["metrics"].items()}


def refused(capsys, done, films, file, *flags, status=3) -> str:
    assert cli.main(["evaluate", str(done.folder), "--data", str(films), "--predictions", str(file), *flags]) == status
    [line] = capsys.readouterr().err.splitlines()
    return line


def toy(folder, examples, **promises) -> tuple[run.Run, Data]:
    """A run of a task with these promises in the place of its own, and a source of the examples, whose ids are toy.jsonl:1, 2, ..."""
    (folder / "toy.jsonl").write_text("\n".join(map(json.dumps, examples)))
    task = Pictures()
    vars(task).update(promises)
    return run.Run(folder, recipes.get("rsb:tiny"), task, start_fabric("32-true")), Data(f"jsonl:{folder}/toy.jsonl")


def numbers(done, data, file) -> dict:
    [found] = judging.measured(done, data, str(file))["sets"].values()
    return {metric: value["value"] for metric, value in found["metrics"].items()}


# ---- what is measured -------------------------------------------------------------------------------------------------


def test_the_runs_own_predictions_have_the_runs_own_numbers_in_any_order_and_nothing_is_written(reader, films, tmp_path, capsys):
    def everything():
        return {path: hashlib.sha256(path.read_bytes()).digest() for path in reader.folder.rglob("*") if path.is_file()}

    before = everything()
    assert cli.main(["evaluate", str(reader.folder), "--data", str(films), "--json"]) == 0
    own = json.loads(capsys.readouterr().out)
    assert cli.main(["predict", str(reader.folder), str(films), "--csv", str(tmp_path / "answers.csv")]) == 0
    assert cli.main(["predict", str(reader.folder), str(films)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (tmp_path / "answers.jsonl").write_text("\n".join(reversed(lines)) + "\n")
    (tmp_path / "answers.txt").write_text("\n".join(lines[2:] + lines[:2]) + "\n")  # as `predict ... > answers.txt` leaves it
    for name in ("answers.csv", "answers.jsonl", "answers.txt"):
        assert cli.main(["evaluate", str(reader.folder), "--data", str(films), "--json", "--predictions", str(tmp_path / name)]) == 0
        assert json.loads(capsys.readouterr().out) == own
    assert everything() == before


def test_a_line_each_is_measured_by_hand_whatever_the_file(reader, films, tmp_path, capsys):
    rows = [{"id": name, "prediction": label, "text": "positive"} for name, label in zip(IDS, GIVEN, strict=True)]
    lines = "\n".join(GIVEN)
    files = {
        "p.txt": lines.encode(),  # transformers ends the file without a line's end
        "p": lines.replace("\n", "\r\n").encode() + b"\r\n",
        "p.txt.gz": gzip.compress(lines.encode()),
        "p.csv": ("text\n" + lines).encode(),
        "p.tsv": ("prediction\ttext\n" + "".join(f"{label}\tpositive\n" for label in GIVEN)).encode(),
        "p.jsonl": "\n".join(json.dumps(row) for row in rows[::-1]).encode(),
        "p.json": json.dumps(rows[2:] + rows[:2]).encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    parquet.write_table(pyarrow.Table.from_pylist(rows[1:] + rows[:1]), tmp_path / "p.parquet")
    for name in (*files, "p.parquet"):
        found = measured(capsys, reader, films, tmp_path / name)
        assert found["accuracy"] == pytest.approx(4 / 5), name
        assert found["macro_f1"] == pytest.approx((2 / 3 + 6 / 7) / 2), name  # 1 of 2 positives, 3 negatives and one too many
    latin = tmp_path / "latin.csv"
    latin.write_bytes(("prediction,by\n" + "".join(f"{label},Zoé\n" for label in GIVEN)).encode("latin-1"))
    assert measured(capsys, reader, films, f"{latin}?encoding=latin-1")["accuracy"] == pytest.approx(4 / 5)


def test_labels_of_the_data_that_are_renamed_are_renamed_in_predictions(reader, films, tmp_path, capsys):
    films.write_text(films.read_text().replace("positive", "1").replace("negative", "0"))
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(json.dumps({"prediction": int(label == "positive")}) for label in GIVEN))
    assert measured(capsys, reader, films, file, "--label", "1=positive", "--label", "0=negative")["accuracy"] == pytest.approx(4 / 5)


def test_numbers_are_read_as_numbers(films, tmp_path, capsys):
    torch.manual_seed(0)
    rater = made("robustness:tiny", tmp_path / "run", **{"task.target": "value"})
    films.write_text("text,label\n" + "".join(f"film number {i},{i}\n" for i in range(5)))
    (tmp_path / "p.csv").write_text("prediction\n1\n1.0\n2\n3\n 6e0\n")
    found = measured(capsys, rater, films, tmp_path / "p.csv")
    assert found["rmse"] == pytest.approx(1.0)  # off by 1, 0, 0, 0, 2
    for wrong, told in (("much", "is 'much', not a number"), ("nan", "is NaN, not a finite number")):
        (tmp_path / "p.csv").write_text(f"prediction\n1\n1\n{wrong}\n3\n4\n")
        line = refused(capsys, rater, films, tmp_path / "p.csv")
        assert "p.csv row 3" in line and told in line


def test_classes_that_are_numbers_are_read_as_numbers(tmp_path):
    (tmp_path / "p.txt").write_text("3\n1\n")
    assert numbers(*toy(tmp_path, [{"label": 3}, {"label": 2}]), tmp_path / "p.txt") == {"accuracy": 0.5}


def test_a_score_that_is_a_value_makes_predictions_numbers_whatever_the_target_is_called(tmp_path):
    (tmp_path / "p.txt").write_text("3\n1.5\n")
    done, data = toy(tmp_path, [{"rating": 3}, {"rating": 2}])
    done.task = Sentences()
    assert numbers(done, data, tmp_path / "p.txt") == {"squared_error": 0.125}


def test_a_task_makes_its_predictions_of_what_was_written_and_takes_its_own_as_they_are(tmp_path):
    exact, length = Mean(lambda p, e: p["text"] == e["label"], True), Mean(lambda p, e: len(p["tokens"]), True)
    done, data = toy(
        tmp_path,
        [{"label": "go left"}, {"label": "stop"}, {"label": "wait"}],
        prediction=lambda text: {"text": " ".join(text.split()), "tokens": [len(word) for word in text.split()]},
        metrics=lambda: {"exact": exact, "length": length},
    )
    whole = {"text": "wait", "tokens": [7, 8, 9], "answers": []}
    (tmp_path / "p.jsonl").write_text(f'{{"text": " go  left"}}\n{{"text": ""}}\n{json.dumps({"prediction": whole})}\n')
    assert numbers(done, data, tmp_path / "p.jsonl") == pytest.approx({"exact": 2 / 3, "length": (2 + 0 + 3) / 3})
    predicting.write_csv([{"id": "c", "prediction": whole}, {"id": "a", "prediction": {"text": "left"}}], tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == "id,prediction\nc,wait\na,left\n"
    (tmp_path / "p.jsonl").write_text('{"text": "go left"}\n{"text": ["stop"]}\n{"text": "wait"}\n')
    with pytest.raises(BadData, match=r"p.jsonl row 2: the prediction is \['stop'\], expected a text"):
        numbers(done, data, tmp_path / "p.jsonl")


def test_boxes_are_read_from_the_lines_that_predict_prints_and_not_from_its_table(tmp_path):
    objects = [[{"label": "cat", "box_xyxy": [0, 0, 10, 10]}], [{"label": "cat", "box_xyxy": [5, 5, 25, 25]}]]
    done, data = toy(tmp_path, [{"classes": ["cat"], "objects": some} for some in objects], metrics=coco_metrics, labels=("cat",))
    rows = [
        {"id": "toy.jsonl:2", "labels": ["cat"], "scores": [0.9], "boxes_xyxy": [[5, 5, 25, 25]], "answers": ["cat@1"]},
        {"id": "toy.jsonl:1", "labels": ["cat"] * 2, "scores": [0.8, 0.7], "boxes_xyxy": [[40, 40, 50, 50], [0, 0, 10, 10]]},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    # right, wrong, right: precision is 1 to recall .5, then 2 of 3
    assert numbers(done, data, tmp_path / "p.jsonl")["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    predicting.write_csv(rows, tmp_path / "p.csv")
    with pytest.raises(BadData, match=r"p.csv row 1: no column 'prediction'.* boxes are read from the lines of JSON"):
        numbers(done, data, tmp_path / "p.csv")


def test_a_metric_that_wants_more_than_the_file_tells_is_left_out_with_its_reason(tmp_path, monkeypatch, capsys):
    metrics = {"top1": Accuracy, "top5": TopK}
    names = {"metrics": lambda: {name: kind() for name, kind in metrics.items()}, "labels": ("cat", "dog")}
    done, data = toy(tmp_path, [{"label": "cat"}, {"label": "dog"}], **names)
    monkeypatch.setattr(run, "load", lambda folder: done)
    (tmp_path / "p.txt").write_text("cat\ncat\n")
    asked = ["evaluate", "RUN", "--data", data.source, "--predictions", str(tmp_path / "p.txt")]
    assert cli.main([*asked, "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)["sets"]["toy.jsonl"]
    assert {name: value["value"] for name, value in found["metrics"].items()} == {"top1": 0.5, "top5": None}
    assert told.err == "top5: n/a (prediction 'cat' of example 'toy.jsonl:1' has no ranking; give a Ranked)\n"
    assert cli.main(asked) == 0
    assert "n/a" in capsys.readouterr().out
    assert cli.main([*asked, "--gate", "toy.jsonl/top5=0"]) == 5


def test_predictions_that_no_metric_takes_are_refused(tmp_path):
    labels = ("cat", "dog")
    done, data = toy(tmp_path, [{"labels": ["cat"]}, {"labels": []}], metrics=lambda: {"mAP": MeanAveragePrecision(labels)}, labels=labels)
    (tmp_path / "p.txt").write_text("cat|dog\ndog\n")
    with pytest.raises(BadData, match=r"p.txt row 1: prediction of example 'toy.jsonl:1' has no scores"):
        numbers(done, data, tmp_path / "p.txt")
    done.task.metrics = lambda: {"mAP": MeanAveragePrecision(labels), "any": Mean(lambda p, e: 1, True)}
    (tmp_path / "p.jsonl").write_text('{"prediction": {"scores": [1, 0]}}\n{"prediction": {"scores": [1]}}\n')
    with pytest.raises(BadData, match=r"p.jsonl row 2: prediction of example 'toy.jsonl:2' has scores of shape"):
        numbers(done, data, tmp_path / "p.jsonl")


def test_gates_hold_for_predictions_too(reader, films, tmp_path, capsys):
    (tmp_path / "p.txt").write_text("\n".join(GIVEN))
    asked = ["evaluate", str(reader.folder), "--data", str(films), "--predictions", str(tmp_path / "p.txt"), "--gate"]
    assert cli.main([*asked, "films.csv/accuracy=0.79"]) == 0
    assert cli.main([*asked, "films.csv/accuracy=0.81"]) == 5
    assert "films.csv/accuracy is 0.800, the gate is 0.81" in capsys.readouterr().err


# ---- what is wrong ----------------------------------------------------------------------------------------------------


def by_id(names, column="id") -> str:
    return f"{column},prediction\n" + "".join(f"{name},positive\n" for name in names)


WRONG = {
    "too few lines": ("p.txt", "positive\n" * 3, "3 predictions for the 5 examples of", "the first without one is 'films.csv:4'"),
    "too many lines": ("p.txt", "positive\n" * 7, "7 predictions for the 5 examples of", "the first too many is p.txt row 6"),
    "an id missing": ("p.csv", by_id([IDS[4], *IDS[:3]]), "4 predictions for the 5 examples of", "the first without one is 'films.csv:4'"),
    "an unknown id": ("p.csv", by_id([*IDS[:2], "9", *IDS[3:]]), "p.csv row 3: ", "no id '9', but such as 'films.csv:1'"),
    "more ids than examples": ("p.csv", by_id([*IDS, "films.csv:6"]), "p.csv row 6: ", "6 predictions for the 5 examples of"),
    "an id twice": ("p.csv", by_id([*IDS[:3], IDS[1], IDS[4]]), "p.csv row 4: the id 'films.csv:2' is that of p.csv row 2, too"),
    "a row without its id": ("p.csv", by_id([*IDS[:3], "", IDS[4]]), "p.csv row 4: the row has no id"),
    "a null": ("p.jsonl", '{"text": "positive"}\n' * 4 + '{"text": null}', "p.jsonl row 5: no prediction"),
    "no column": ("p.csv", "answer\n" + "positive\n" * 5, "no column 'prediction'; the columns are answer; name it so"),
    "another label": ("p.txt", "positive\n" * 4 + "good\n", "p.txt row 5: the prediction 'good' is not one of", "--label good=NAME"),
    "an empty line": ("p.txt", "positive\n\n" + "positive\n" * 3, "p.txt row 2: the prediction '' is not one of"),
    "an empty file": ("p.txt", "", "p.txt: the file is empty"),
    "broken JSON": ("p.jsonl", '{"text": "positive"}\n{"text"\n', "p.jsonl line 2: not JSON"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_that_does_not_fit_the_data_is_one_line(wrong, reader, films, tmp_path, capsys):
    name, content, *words = WRONG[wrong]
    (tmp_path / name).write_text(content)
    line = refused(capsys, reader, films, tmp_path / name)
    assert line.startswith("pellucid evaluate: ")
    for word in words:
        assert word in line


def test_what_was_asked_wrongly_is_one_line(reader, films, tmp_path, capsys):
    assert "no file" in refused(capsys, reader, films, tmp_path / "gone.txt")
    assert cli.main(["evaluate", str(reader.folder), "--predictions", "p.txt"]) == 2
    assert "--predictions p.txt: needs --data" in capsys.readouterr().err


def test_ids_that_the_data_have_twice_match_nothing(tmp_path):
    (tmp_path / "p.csv").write_text("id,prediction\na,1\nb,1\n")
    done, data = toy(tmp_path, [{"label": 1}, {"label": 1}], prepare=lambda examples, source: [{**e, "id": "a"} for e in examples])
    with pytest.raises(BadData, match=r"toy.jsonl: the id 'a' is there twice"):
        numbers(done, data, tmp_path / "p.csv")
