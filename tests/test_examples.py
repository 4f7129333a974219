"""The examples are run as their readers would run them."""

import json
import pathlib
import shutil

import pytest

from pellucid import cli

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def test_a_new_task_is_checked_trained_shifted_and_explained(tmp_path, monkeypatch, capsys):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    verbs = ["check examples/my_task.py:recipe", "train examples/my_task.py:recipe --out run --quiet", "shift run --json", "report run"]
    for verb in verbs:
        assert cli.main(verb.split()) == 0
    capsys.readouterr()
    assert cli.main(["explain", "run", "--method", "integrated_gradients", "--json"]) == 0
    for record in json.loads(capsys.readouterr().out)["examples"]:
        one = record["methods"]["integrated_gradients"]
        relevance = {word: abs(value) for word, value in zip(record["words"], one["relevance"], strict=True)}
        assert relevance["income"] + relevance["debt"] > 3 * sum(relevance[word] for word in ("age", "height", "shoe", "luck"))
        assert one["gap"] == pytest.approx(0, abs=0.01)
