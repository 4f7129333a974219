"""Training starts from other weights: every key is loaded, or left out by name, and told."""

import json

import pytest
import torch

from pellucid import checkpoint, cli, starting
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data, Recipe
from toys import Pictures

RECIPE = """
from dataclasses import replace
from pellucid import recipe

def carrying():
    return replace(recipe.get("robustness:tiny"), init_skip=("head.",), init_drop=("teacher.", "none."), tests={})
"""
TINY = ["--set", "loop.epochs=1", "--set", "optim.lr=0", "--set", "train.limit=40", "--set", "dev.limit=20", "--quiet"]


class Translating(Pictures):
    """Knows a publisher's names."""

    def translate(self, tensors):
        return checkpoint.rename(tensors, [("conv1.", "stem."), ("conv2.", "body."), ("fc.", "head.")])


def ones(model, **renamed):
    """Its weights, all 1, under other first names."""
    named = {k: torch.ones_like(v) for k, v in model.state_dict().items()}
    return {f"{renamed.get(k.split('.')[0], k.split('.')[0])}.{k.split('.')[1]}": v for k, v in named.items()}


def chosen(path, **fields):
    return Recipe(None, Data("toys"), init=str(path), **fields)


def test_every_key_of_file_and_model_is_in_the_report(tmp_path):
    task = Pictures()
    head = task.model.head.weight.clone()
    checkpoint.save({**ones(task.model), "teacher.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    found = starting.start(task, chosen(tmp_path / "w.safetensors", init_skip=("head.",), init_drop=("teacher.",)))
    assert found["loaded"] == ["stem.weight", "stem.bias", "body.weight", "body.bias"]
    assert (found["dropped"], found["fresh"], found["translated"]) == (["teacher.weight"], ["head.weight", "head.bias"], False)
    assert bool((task.model.body.weight == 1).all()) and torch.equal(task.model.head.weight, head)


def test_a_key_that_is_neither_loaded_nor_named_is_an_error(tmp_path):
    given = {**ones(Pictures().model), "teacher.weight": torch.ones(2)}
    del given["stem.bias"]
    checkpoint.save(given, tmp_path / "w.safetensors")
    with pytest.raises(
        BadData, match=r"w\.safetensors: .*missing: stem\.bias; unknown: teacher\.weight; init_drop leaves .* out by prefix"
    ):
        starting.start(Pictures(), chosen(tmp_path / "w.safetensors"))


def test_published_names_are_translated_before_they_must_fit(tmp_path):
    task = Translating()
    checkpoint.save(ones(task.model, stem="conv1", body="conv2", head="fc"), tmp_path / "w.safetensors")
    found = starting.start(task, chosen(tmp_path / "w.safetensors", init_skip=("head.",)))
    assert found["translated"] and found["fresh"] == ["head.weight", "head.bias"]
    assert bool((task.model.stem.weight == 1).all())
    with pytest.raises(BadData, match=r"unknown: .*conv1\.weight"):
        starting.start(Pictures(), chosen(tmp_path / "w.safetensors"))


class NeverTranslating(Pictures):
    def translate(self, tensors):
        raise AssertionError("these names are ours")


def test_our_own_names_are_left_as_they_are(tmp_path):
    task = NeverTranslating()
    checkpoint.save({**ones(task.model), "conv1.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    assert not starting.start(task, chosen(tmp_path / "w.safetensors", init_drop=("conv1.",)))["translated"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"init_drop": ("teecher.",)}, r"init_drop: no key begins with 'teecher\.'; did you mean 'teacher\.'"),
        ({"init_skip": ("haed.",)}, r"init_skip: no key begins with 'haed\.'; did you mean 'head\.'"),
    ],
)
def test_a_prefix_that_fits_nothing_is_a_typing_error_unless_expected(fields, message, tmp_path):
    task = Pictures()
    checkpoint.save({**ones(task.model), "teacher.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(BadUsage, match=message):
        starting.start(task, chosen(tmp_path / "w.safetensors", **fields))
    fitting = {"init_drop": ("teacher.", *fields.get("init_drop", ())), "init_skip": fields.get("init_skip", ())}
    assert starting.start(task, chosen(tmp_path / "w.safetensors", **fitting), ("teecher.", "haed."))["fresh"] == []


def test_a_recipe_says_itself_what_it_starts_without(tmp_path, capsys, caplog):
    """The user types --init; prefixes beside the recipe's own may be added, and a mistyped one is told."""
    (tmp_path / "mine.py").write_text(RECIPE)
    mine, first = f"{tmp_path}/mine.py:carrying", tmp_path / "first"
    assert cli.main(["train", mine, "--out", str(first), *TINY]) == 0
    weights = checkpoint.load(first / "model.safetensors")
    other = {**{k: v + 1 for k, v in weights.items()}, "teacher.x": torch.ones(1), "optimiser.step": torch.ones(1)}
    checkpoint.save(other, tmp_path / "w.safetensors")
    arguments = ["train", mine, "--init", f"{tmp_path}/w.safetensors", *TINY]
    assert cli.main([*arguments, "--out", f"{tmp_path}/a"]) == 3
    assert "unknown: optimiser.step" in capsys.readouterr().err
    assert cli.main([*arguments, "--init-drop", "optimizer.", "--out", f"{tmp_path}/a"]) == 2
    assert "did you mean 'optimiser.'" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert cli.main([*arguments, "--init-drop", "optimiser.", "--out", f"{tmp_path}/a"]) == 0
    trained = checkpoint.load(tmp_path / "a" / "model.safetensors")
    assert torch.equal(trained["embedding.weight"], other["embedding.weight"])
    assert not torch.equal(trained["head.weight"], other["head.weight"])
    kept = json.loads((tmp_path / "a/results/init.json").read_text())
    assert kept["dropped"] == ["optimiser.step", "teacher.x"] and kept["fresh"] == ["head.weight", "head.bias"]
    assert sorted(kept["loaded"]) == [k for k in sorted(weights) if not k.startswith("head.")]
    lines = [r.getMessage() for r in caplog.records if r.name == "pellucid"]
    assert f"{tmp_path}/w.safetensors: {len(kept['loaded'])} weights loaded" in lines
    assert "2 of the file left out: optimiser.step, teacher.x" in lines
    assert f"{len(kept['fresh'])} of the model fresh: head.weight, head.bias" in lines


def test_prefixes_without_weights_to_start_from_are_refused(capsys, tmp_path):
    assert cli.main(["train", "robustness:tiny", "--init-skip", "head.", "--out", f"{tmp_path}/a", *TINY]) == 2
    assert "go with --init" in capsys.readouterr().err
