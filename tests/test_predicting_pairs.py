"""Pictures asked about beside their references: one for all, folders paired by name, tables; networks and classic metrics alike."""

import csv
import json
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid
from pellucid import checkpoint, cli, judging, pairing, predicting, run
from pellucid import recipe as recipes
from pellucid.data import loader
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data
from untrained import made

RECIPE = """
from pellucid.recipe import Data, Loop, Recipe
from pellucid.tasks.quality.settings import HeadShape, QualitySettings, Sampling, VitShape

def tiny():
    vit, head = VitShape(32, 4, 64, 2, patch=8, grid=4, registers=1), HeadShape(1, 1)
    task = QualitySettings(vit, head, Sampling(num_train=16, num_test=16, samplings=2))
    return Recipe(task, Data(""), loop=Loop(eval_batch_size=2))
"""
NAMES = ("I01_01.png", "I01_02.png", "I02_01.png")


def saved(path: pathlib.Path, seed: int, noise: int = 0) -> str:
    """Squares of a colour each, perhaps spoiled by noise of its own seed."""
    squares = np.kron(np.random.default_rng(seed).integers(0, 256, (5, 6, 3)), np.ones((8, 8, 1)))
    path.parent.mkdir(parents=True, exist_ok=True)
    spoiled = squares + np.random.default_rng(noise).normal(0, 20 * noise, squares.shape)
    Image.fromarray(spoiled.clip(0, 255).astype(np.uint8)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def album(tmp_path_factory) -> pathlib.Path:
    """`bad` with three distorted pictures of the two of `good`."""
    root = tmp_path_factory.mktemp("album")
    for name in ("I01", "I02"):
        saved(root / f"good/{name}.png", int(name[1:]))
    for name in NAMES:
        saved(root / "bad" / name, int(name[1:3]), int(name[5]))
    return root


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> run.Run:
    """A small network that was never trained."""
    root = tmp_path_factory.mktemp("judge")
    (root / "mine.py").write_text(RECIPE)
    chosen = recipes.get(f"{root}/mine.py:tiny")
    torch.manual_seed(0)
    task = chosen.task.build([{"id": "1", "image": "a", "reference": "b"}])
    for value in task.model.parameters():
        value.data += 0.1 * torch.randn_like(value)  # fresh ones find no difference that six figures would show
    (root / "run").mkdir()
    chosen.task.write(task, root / "run/preprocessing")
    checkpoint.save(task.model.state_dict(), root / "run/model.safetensors")
    (root / "run/recipe.yaml").write_text(recipes.to_yaml(chosen))
    return run.load(root / "run")


def told(capsys, *arguments, status=0, verb="predict") -> list[dict]:
    assert cli.main([verb, *map(str, arguments)]) == status
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(capsys, *arguments, status=3, verb="predict") -> str:
    assert cli.main([verb, *map(str, arguments)]) == status
    shown = capsys.readouterr()
    assert not shown.out
    (line,) = shown.err.splitlines()
    return line


# ---- pairs ------------------------------------------------------------------------------------------------------------------


def test_one_reference_serves_all_pictures_and_itself_has_the_best_quality(judge, album, capsys):
    good = album / "good/I01.png"
    rows = told(capsys, judge.folder, "--reference", good, album / "bad/I01_01.png", album / "bad/I01_02.png", good)
    assert [pathlib.Path(row["image"]).name for row in rows] == ["I01_01.png", "I01_02.png", "I01.png"]
    assert all(row["reference"] == str(good) for row in rows)
    assert rows[2]["quality"] == 1 and rows[2]["spread"] == 0  # anchored: an identical pair has no error
    assert abs(rows[0]["quality"] - 1) > 1e-4 and rows[0]["spread"] > 0


def assert_same(found: list[dict], expected: list[dict]) -> None:
    """Equal but for the sixth figure, which may turn with the pictures that share a batch."""
    numbers = ("quality", "spread")
    for one, other in zip(found, expected, strict=True):
        assert {k: v for k, v in one.items() if k not in numbers} == {k: v for k, v in other.items() if k not in numbers}
        assert [one[k] for k in numbers] == pytest.approx([other[k] for k in numbers], abs=2e-6)


def test_a_folder_of_references_serves_a_folder_and_files_alike(judge, album, capsys):
    whole = told(capsys, judge.folder, "--reference", album / "good", album / "bad")
    assert [pathlib.Path(row["reference"]).name for row in whole] == ["I01.png", "I01.png", "I02.png"]
    assert told(capsys, judge.folder, "--reference", album / "good", *(album / "bad" / name for name in NAMES)) == whole


def test_a_table_and_python_tell_what_the_folder_tells(judge, album, tmp_path, capsys):
    whole = told(capsys, judge.folder, "--reference", album / "good", album / "bad")
    lines = [f"{album}/bad/{name},{album}/good/{name[:3]}.png" for name in NAMES]
    (tmp_path / "pairs.csv").write_text("\n".join(["dist,ref", *lines]) + "\n")
    columns = ["--column", "image=dist", "--column", "reference=ref"]
    rows = told(capsys, judge.folder, tmp_path / "pairs.csv", *columns)
    assert [row["id"] for row in rows] == ["pairs.csv:1", "pairs.csv:2", "pairs.csv:3"]
    assert [row["image"] for row in rows] == [row["image"] for row in whole]
    asked = [{"image": row["image"], "reference": row["reference"], "id": row["id"]} for row in whole]
    assert_same(judge.predict(asked), whole)
    assert_same(judge.predict(whole[0]["image"], reference=whole[0]["reference"]), whole[:1])


def test_a_table_of_answers_has_a_column_for_each_number(judge, album, tmp_path, capsys):
    assert cli.main(["predict", str(judge.folder), "--reference", f"{album}/good", f"{album}/bad", "--csv", f"{tmp_path}/a.csv"]) == 0
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "image", "reference", "quality", "spread"]
    whole = judge.predict([f"{album}/bad/{name}" for name in NAMES], reference=album / "good")
    assert [float(row["quality"]) for row in rows] == [row["quality"] for row in whole]


@pytest.mark.parametrize(
    ("inside", "name", "found"),
    [
        (["a/x.png", "b/x.png"], "a/x.png", "a/x.png"),  # the path inside the folder before the name
        (["a/x.jpg", "b/x.jpg"], "b/x.png", "b/x.jpg"),
        (["x.png"], "deep/x.bmp", "x.png"),
        (["I1.png", "I1_2.png"], "I1_2-3.png", "I1_2.png"),  # the longest
        (["I1.png", "I10.png"], "I10.5.png", "I10.png"),
        (["I01.BMP"], "i01_03_2.bmp", "I01.BMP"),
    ],
)
def test_a_reference_is_found_by_path_then_name_then_the_longest_beginning(inside, name, found, tmp_path):
    for one in inside:
        saved(tmp_path / "good" / one, 1)
    known = pairing.References(str(tmp_path / "good"))
    assert known.find(str(tmp_path / "bad" / name), [str(tmp_path / "bad")]) == f"{tmp_path}/good/{found}"


@pytest.mark.parametrize(
    ("inside", "name", "message"),
    [
        (
            ["I1.png"],
            "I10.png",
            r"I10.png: no reference in .*good \(I1.png\): .*begins with it and _, - or .*columns image",
        ),
        (["a/x.png", "b/x.jpg"], "x_1.png", r"x_1.png: a/x.png and b/x.jpg in .*good could both be its reference"),
    ],
)
def test_a_picture_without_a_reference_or_with_two_is_named(inside, name, message, tmp_path):
    for one in inside:
        saved(tmp_path / "good" / one, 1)
    with pytest.raises(BadData, match=message):
        pairing.References(str(tmp_path / "good")).find(name)


def test_what_cannot_be_a_pair_is_one_line(judge, album, tmp_path, capsys):
    bad, good = f"{album}/bad/I01_01.png", f"{album}/good/I01.png"
    assert "I01_01.png: no reference; Quality compares with one: give --reference" in refused(capsys, judge.folder, bad, status=2)
    assert "gone.png: no such file or folder" in refused(capsys, judge.folder, bad, "--reference", "gone.png")
    Image.new("RGB", (40, 48)).save(tmp_path / "tall.png")
    assert "40 x 48, its reference 48 x 40" in refused(capsys, judge.folder, tmp_path / "tall.png", "--reference", good)
    (tmp_path / "t.csv").write_text(f"image,reference\n{bad},{good}\n")
    assert "t.csv:1" in (line := refused(capsys, judge.folder, tmp_path / "t.csv", "--reference", good, status=2)) or bad in line
    assert "--draw" in refused(capsys, judge.folder, bad, "--reference", good, "--draw", tmp_path / "drawn", status=2)
    with pytest.raises(BadUsage, match=r"film.mp4: a video; Quality compares pictures"):
        pairing.paired(judge.task, [{"id": "film.mp4", "video": "film.mp4"}], good)


def test_a_reference_where_none_is_compared_with_is_a_mistake(album, tmp_path, capsys):
    classifier = made("rsb:tiny", tmp_path / "run")
    line = refused(capsys, classifier.folder, album / "good", "--reference", album / "good", status=2)
    assert "compares with no reference; leave it out" in line
    assert cli.main(["explain", str(classifier.folder), "--reference", f"{album}/good"]) == 2
    assert "needs --input" in capsys.readouterr().err


# ---- explaining and measuring -------------------------------------------------------------------------------------------------


def test_a_pair_is_explained_where_it_was_spoiled(album, tmp_path, capsys):
    good = np.asarray(Image.open(album / "good/I01.png")).copy()
    good[32:, :16] = 255 - good[32:, :16]
    Image.fromarray(good).save(tmp_path / "corner.png")
    asked = ["--input", tmp_path / "corner.png", "--reference", album / "good/I01.png", "--method", "occlusion", "--set"]
    arguments = ["explain", "metric:psnr", *asked, "occlusion.baseline=zero", "--check", "none", "--json", "--quiet"]
    assert cli.main(list(map(str, arguments))) == 0
    (row,) = json.loads(capsys.readouterr().out)["examples"]
    relevance = dict(zip(row["words"], row["methods"]["occlusion"]["relevance"], strict=True))
    assert len(relevance) == 9 and [name for name, r in relevance.items() if r < 0] == ["2,0"]
    assert all(r == 0 for name, r in relevance.items() if name != "2,0")


def test_a_metric_stands_for_a_run_when_a_set_is_measured(judge, album, tmp_path, capsys):
    lines = [f"{album}/bad/{name},{album}/good/{name[:3]}.png,noise,{label}" for name, label in zip(NAMES, (0.9, 0.2, 0.7), strict=True)]
    (tmp_path / "set.csv").write_text("\n".join(["image,reference,distortion,label", *lines]) + "\n")
    for name in ("metric:psnr", judge.folder):
        assert cli.main(["evaluate", str(name), "--data", f"{tmp_path}/set.csv", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["sets"]["set.csv"]
        assert found["n"] == 3
        if name == "metric:psnr":
            assert next(iter(found["metrics"].values()))["value"] == pytest.approx(1)  # more noise, lower quality
    assert not (pathlib.Path.cwd() / "metric:psnr").exists()


def test_a_metric_of_no_such_name_is_told_with_the_nearest(album, capsys):
    line = refused(capsys, "metric:sim", "--reference", album / "good", album / "bad", status=2)
    assert "no classic metric 'sim'; did you mean 'ssim'?" in line
    assert pellucid.from_pretrained("metric:ssim").predict(f"{album}/good/I01.png", reference=f"{album}/good/I01.png")[0]["ssim"] == 1


def test_every_metric_is_listed_with_its_direction(capsys):
    assert cli.main(["list", "metrics"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "lower is better, from 0, 0 of identical pictures" in lines["lpips"]
    assert "higher is better, -1 to 1, 1 of identical pictures" in lines["ssim"]


def test_pairs_load_in_as_many_processes_as_asked_for_and_say_the_same(judge, album, capsys, monkeypatch):
    asked = [judge.folder, "--reference", album / "good", album / "bad"]
    alone, seen, load = told(capsys, *asked), [], loader.load

    def counting(task, examples, lists, workers=0, seeds=None):
        seen.append(workers)
        return load(task, examples, lists, workers, seeds)

    monkeypatch.setattr(loader, "load", counting)
    assert told(capsys, *asked, "--workers", 2) == alone and seen == [2]
    assert "--workers -1: expected 0" in refused(capsys, *asked, "--workers", -1, status=2)


# ---- training ---------------------------------------------------------------------------------------------------------------


def test_a_reference_on_both_sides_is_refused_before_training(album, tmp_path, capsys):
    def table(name: str, *numbers: int) -> str:
        lines = [f"{album}/bad/{NAMES[i]},{album}/good/{NAMES[i][:3]}.png,0.{i}" for i in numbers]
        (tmp_path / name).write_text("\n".join(["image,reference,label", *lines]) + "\n")
        return f"csv:{tmp_path / name}"

    (tmp_path / "mine.py").write_text(RECIPE)
    train, same, other = table("train.csv", 0), table("same.csv", 1), table("other.csv", 2)
    arguments = ["train", f"{tmp_path}/mine.py:tiny", "--data", train, "--dev", other, "--test", f"home={same}", "--out", f"{tmp_path}/run"]
    assert cli.main(arguments) == 3
    line = capsys.readouterr().err.splitlines()[-1]
    assert "I01.png" in line and "home" in line
    assert not (tmp_path / "run").exists()


def test_qualities_that_predict_wrote_are_measured_as_the_runs_own(judge, album, tmp_path):
    table = tmp_path / "pairs.csv"
    rows = [f"{album}/bad/{name},{album}/good/{name[:3]}.png,{0.2 * i}" for i, name in enumerate(NAMES, 1)]
    table.write_text("image,reference,label\n" + "\n".join(rows) + "\n")
    data = Data(f"csv:{table}")
    answers = judge.predict(read(data))
    written = tmp_path / "answers.csv"
    predicting.write_csv(answers, written)
    found = judging.measured(judge, data, str(written))
    (own,) = judge.measured({"own": data})["sets"].values()
    (told,) = found["sets"].values()
    assert told["metrics"]["rmse"]["value"] == pytest.approx(own["metrics"]["rmse"]["value"], abs=1e-5)
