"""The command line in-process: what it prints, and one line and the right exit status for whatever is wrong."""

import json
import os
import pathlib
import pickle
import shutil

import pytest

from pellucid import checkpoint, cli

TINY = ["--set", "loop.epochs=1", "--set", "train.limit=300", "--quiet"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on one's own CSV, as a user makes it."""
    folder = tmp_path_factory.mktemp("own")
    rows = ["review,stars"] + [f"a {'superb' if i % 2 else 'dreadful'} film number {i},{'up' if i % 2 else 'down'}" for i in range(60)]
    (folder / "reviews.csv").write_text("\n".join(rows) + "\n")
    columns = ["--column", "text=review", "--column", "label=stars"]
    status = cli.main(["train", "robustness:tiny", "--data", f"csv:{folder}/reviews.csv", *columns, "--out", f"{folder}/run", "--quiet"])
    assert status == 0
    return folder


def out(capsys, *arguments, status=0):
    assert cli.main(list(arguments)) == status
    return capsys.readouterr().out


# ---- what works -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["recipes", "models", "data", "methods", "shifts"])
def test_what_there_is_can_be_read_by_a_program(what, capsys):
    assert len(json.loads(out(capsys, "list", what, "--json"))) >= 4


def test_show_prints_what_train_would_use(capsys):
    assert "lr: 0.5" in out(capsys, "show", "robustness:tiny", "--set", "optim.lr=0.5")


def test_own_data_needs_no_python(trained, capsys):
    found = json.loads(out(capsys, "evaluate", f"{trained}/run", "--json"))
    assert found["sets"]["home"]["n"] == 6
    held = json.loads((trained / "run/results/leaks.json").read_text())
    assert held["train"] == 48


def test_the_card_says_what_was_measured(trained):
    assert "| home (home) | 6 | 1.000 |" in (trained / "run/README.md").read_text()


def test_predictions_are_in_the_words_of_the_data(trained, capsys):
    lines = [json.loads(line) for line in out(capsys, "predict", f"{trained}/run", "a superb film", "a dreadful film").splitlines()]
    assert [row["prediction"] for row in lines] == ["up", "down"]


def test_the_other_verbs_follow_one_another(trained, capsys):
    run = f"{trained}/run"
    away = f"csv:{trained}/reviews.csv"
    columns = ["--column", "text=review", "--column", "label=stars"]
    found = json.loads(out(capsys, "shift", run, "--home", away, "--away", f"same={away}", "--corrupt", "1,5", *columns, "--json"))
    assert list(found["sets"])[:2] == ["home", "same"]
    assert found["sets"]["same"]["metrics"]["accuracy"]["drop"] == 0
    told = json.loads(out(capsys, "explain", run, "--input", "a superb film", "--method", "occlusion,iba", "--json"))
    [record] = told["examples"]
    strongest = max(zip(record["methods"]["occlusion"]["relevance"], record["words"], strict=True))
    assert strongest[1] == "superb"
    assert (
        "superb" in out(capsys, "explain", run, "--num", "1", "--html", f"{trained}/page.html", "--method", "iba")
        or (trained / "page.html").exists()
    )
    page = pathlib.Path(out(capsys, "report", run).strip())
    assert "<html" in page.read_text()
    assert "keeps its promises" in out(capsys, "check", f"{run}/recipe.yaml")
    assert "FAIL" not in out(capsys, "check-method", "occlusion", "--only", "promises")
    assert "rows           60" in out(capsys, "check-data", away, *columns)


def test_corruptions_are_chosen_by_name_and_compared_with_another_run(trained, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(trained / "run", other)
    out(capsys, "shift", f"{other}", "--corrupt", "1,3", "--kinds", "case,drop", "--site", "none")
    told = out(capsys, "shift", f"{trained}/run", "--corrupt", "1,3", "--kinds", "drop", "--against", f"{other}", "--site", "none")
    assert "corruption" in told and "mean corruption error" in told and "typos" not in told and "home/drop" not in told
    found = json.loads((trained / "run/results/shift.json").read_text())
    assert list(found["sets"]) == ["home", "home/drop-1", "home/drop-3"]
    assert found["corruption"]["baseline"] == f"{other}" and list(found["corruption"]["kinds"]["drop"]["values"]) == ["1", "3"]
    assert cli.main(["shift", f"{trained}/run", "--kinds", "drop"]) == 2
    assert "no severities" in capsys.readouterr().err
    assert cli.main(["shift", f"{trained}/run", "--corrupt", "1", "--kinds", "dorp"]) == 2
    assert "did you mean 'drop'" in capsys.readouterr().err


def test_the_quick_demo_compares_two_models_and_writes_a_page(tmp_path, capsys):
    lines = out(capsys, "demo", "--quick", "--quiet", "--out", str(tmp_path)).splitlines()
    assert lines[1].split() == ["films", "(home)", "household", "mean", "drop"]
    assert [line.split("  ")[0] for line in lines[2:4]] == ["mean of word vectors", "bag of words"]
    assert "mean of word vectors" in pathlib.Path(lines[-1]).read_text()


def test_the_doctor_finds_this_installation_well(capsys):
    assert json.loads(out(capsys, "doctor", "--json"))["torchvision"].endswith("compiled operators work")


def test_a_method_that_knows_nothing_is_found_out(capsys):
    assert "FAIL the units that decide the score rank first" in out(capsys, "check-method", "random", "--only", "promises", status=5)


def test_a_gate_that_is_missed_gives_5(trained, capsys):
    assert cli.main(["evaluate", f"{trained}/run", "--gate", "home/accuracy=0.5"]) == 0
    assert cli.main(["evaluate", f"{trained}/run", "--gate", "home/accuracy=1.01"]) == 5
    assert "home/accuracy is 1.000, the gate is 1.01" in capsys.readouterr().err


def test_a_finished_run_trained_again_changes_nothing(trained, capsys):
    before = (trained / "run/model.safetensors").read_bytes()
    assert cli.main(["train", f"{trained}/run/recipe.yaml", "--out", f"{trained}/run", "--quiet"]) == 0
    assert (trained / "run/model.safetensors").read_bytes() == before


def test_the_face_is_a_few_lines(trained):
    import pellucid

    run = pellucid.load(f"{trained}/run")
    assert run.evaluate()["sets"]["home"]["metrics"]["accuracy"]["value"] == 1.0
    assert run.predict(["a superb film"])[0]["prediction"] == "up"
    copy = run.save_pretrained(trained / "copy")
    again = pellucid.from_pretrained(str(copy))
    assert checkpoint.same(again.task.model.state_dict(), run.task.model.state_dict())
    assert "| home (home) | " in (copy / "README.md").read_text()
    assert callable(pellucid.train)


# ---- what is wrong ----------------------------------------------------------------------------------------------------------


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


GOOD = "text,label\n" + "".join(f"a {w} film,{w}\n" for w in ("good", "bad") * 10)
FILES = {
    "missing column": ("a.csv", "words,label\nx,y\n", 3, "no column 'text'"),
    "empty file": ("a.csv", "", 3, "empty"),
    "unreadable encoding": ("a.csv", b"text,label\ncaf\xe9,good\n", 3, "encoding"),
    "duplicate column": ("a.csv", "text,label,text\na,b,c\n", 3, "text"),
    "ragged row": ("a.csv", "text,label\na,b,c\n", 3, "row"),
    "bad line": ("a.jsonl", '{"text": "a", "label": "b"}\n{"text": \n', 3, "2"),
    "nothing there": ("", "", 3, "no file"),
}


def one_line(capsys, arguments, status, *words):
    assert cli.main(arguments) == status
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith(f"pellucid {arguments[0]}: ")
    for word in words:
        assert word in told, told


@pytest.mark.parametrize("wrong", FILES)
def test_a_bad_file_is_refused_before_anything_is_written(wrong, tmp_path, capsys):
    name, content, status, word = FILES[wrong]
    path = write(tmp_path, name, content) if name else tmp_path / "gone.csv"
    run = tmp_path / "run"
    one_line(capsys, ["train", "robustness:tiny", "--data", str(path), "--out", str(run), *TINY], status, path.name, word)
    assert not run.exists()


def test_a_label_that_training_lacks_is_refused_before_training(tmp_path, capsys):
    train, test = write(tmp_path, "a.csv", GOOD), write(tmp_path, "b.csv", "text,label\nx,good\ny,so so\n")
    arguments = ["train", "robustness:tiny", "--data", str(train), "--test", f"home={test}", "--out", str(tmp_path / "run"), *TINY]
    one_line(capsys, arguments, 3, "b.csv", "so so", "bad, good")
    assert not (tmp_path / "run").exists()


def test_a_target_that_is_no_number_is_refused(tmp_path, capsys):
    path = write(tmp_path, "a.csv", "text,label\nx,1.5\ny,nan\nz,2\n")
    one_line(
        capsys,
        ["train", "robustness:tiny", "--data", str(path), "--out", str(tmp_path / "r"), "--set", "task.target=value", *TINY],
        3,
        "nan",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "robustnes:tiny"], ["robustness:tiny"]),
        (["show", "robustness:tinny"], ["did you mean 'robustness:tiny'"]),
        (["show", "robustness:tiny", "--set", "optim.lrr=1"], ["did you mean 'optim.lr'"]),
        (["show", "robustness:tiny", "--set", "loop.epochs=many"], ["loop.epochs=many", "expected int"]),
        (["check-method", "ibba"], ["did you mean 'iba'"]),
        (["bench", "lightspeed"], ["no benchmark"]),
        (["table", "robustnes"], ["robustness"]),
        (["check-data", "cvs:a.csv"], ["csv"]),
    ],
)
def test_a_wrong_name_gets_the_nearest(arguments, words, capsys):
    one_line(capsys, arguments, 2, *words)


@pytest.fixture
def broken(trained, tmp_path):
    """A copy of the run to spoil."""
    import shutil

    return shutil.copytree(trained / "run", tmp_path / "run")


def test_missing_weights_are_told(broken, capsys):
    (broken / "model.safetensors").unlink()
    one_line(capsys, ["evaluate", str(broken)], 3, "model.safetensors", "missing")


def test_truncated_weights_are_told(broken, capsys):
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    one_line(capsys, ["evaluate", str(broken)], 3, "not a whole safetensors file")


def test_a_pickle_offered_as_weights_is_refused(broken, capsys):
    (broken / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    one_line(capsys, ["evaluate", str(broken)], 4, "a pickle can run code")
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))
    one_line(capsys, ["evaluate", str(broken)], 4, "pytorch_model.bin")


def test_a_pickle_is_no_start_either(trained, tmp_path, capsys):
    path = write(tmp_path, "w.pt", pickle.dumps({"a": 1}))
    one_line(capsys, ["train", "robustness:tiny", "--init", str(path), "--out", str(tmp_path / "r"), *TINY], 4, "a pickle can run code")


def test_a_folder_of_another_run_is_left_alone(trained, capsys):
    before = (trained / "run/recipe.yaml").read_text()
    one_line(capsys, ["train", "robustness:tiny", "--out", f"{trained}/run", *TINY], 2, "holds another run", "choose another --out")
    assert (trained / "run/recipe.yaml").read_text() == before


def test_a_folder_of_other_files_is_left_alone(tmp_path, capsys):
    write(tmp_path, "thesis.txt", "years of work")
    one_line(capsys, ["train", "robustness:tiny", "--out", str(tmp_path), *TINY], 2, "not empty and holds no run")


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.isdir("/proc/self"), reason="needs a place that nobody may write")
def test_a_place_that_cannot_be_written_is_told(capsys):
    one_line(capsys, ["train", "robustness:tiny", "--out", "/proc/self/run", *TINY], 2, "cannot be written")


def test_a_folder_that_is_no_run_is_told(tmp_path, capsys):
    one_line(capsys, ["report", str(tmp_path)], 3, "recipe.yaml")
    one_line(capsys, ["evaluate", str(tmp_path)], 3, "not a run")
