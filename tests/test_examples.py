"""The examples are run as their readers would run them."""

import json
import pathlib
import shutil

import pytest
from PIL import Image

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


def test_photographs_are_explained_by_a_network_as_it_is(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import explain_a_picture

    for name, colour in (("a.png", "red"), ("b.png", "navy")):
        Image.new("RGB", (60, 40), colour).save(tmp_path / name)
    task = explain_a_picture.imagenet("resnet_tiny", "", 32)
    found = explain_a_picture.explained(task, [str(tmp_path / name) for name in ("a.png", "b.png")], "layer2")
    assert task.labels[281] == "tabby" and found.methods == list(explain_a_picture.METHODS)
    assert all(len(e["words"]) == e["picture"]["grid"][0] * e["picture"]["grid"][1] > 1 for e in found.examples)
    assert found.save(tmp_path / "why.html").stat().st_size > 5000


def test_patches_of_another_picture_are_told_apart_from_a_pictures_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import patches_matter

    from untrained import made

    made("updetr:shapes_pretrain", tmp_path / "run")
    told = patches_matter.main(str(tmp_path / "run"))
    assert set(told) == {"own patches", "another picture's"}
    assert all(0 <= numbers["mean_iou"] <= 1 for numbers in told.values())
    assert told["own patches"] != told["another picture's"]


def test_the_word_that_an_action_rests_on_is_the_one_that_changes_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import explain_a_parse

    from untrained import made

    assert explain_a_parse.truth("walk left and run") == [1, 0, 3]
    assert explain_a_parse.truth("jump around right") == [2, 0] * 4
    assert explain_a_parse.truth("look twice after turn opposite right") == [5, 5, 0, 0]  # I_TURN_RIGHT twice, then I_LOOK twice
    table = tmp_path / "commands.csv"
    table.write_text("text,label\nturn left,I_TURN_LEFT\nwalk and run,I_WALK I_RUN\n")
    sets = {"train.source": f"csv:{table}", "tests": f"{{home: {{source: 'csv:{table}'}}}}", "task.width": "8"}
    made("parsing:recurrent_scan", tmp_path / "run", **sets)
    told = explain_a_parse.main([str(tmp_path / "run"), "--sites", "memory"])
    assert list(told) == ["trained, memory", "random weights, memory", "chance"]
    assert set(told["chance"].values()) == {(1 / 2 + 1 / 3 + 1 / 3) / 3}
    assert all(rate in (0, 1 / 3, 2 / 3, 1) for row in list(told.values())[:2] for rate in row.values())
