"""Every recipe of the package is built, written, read back; every tiny one trains."""

import dataclasses
import json
import re

import pytest

from pellucid import recipe, run, table
from pellucid.data.read import read
from pellucid.errors import BadUsage, PellucidError

TINY = [name for name in recipe.names() if name.partition(":")[2].startswith("tiny") and "imagenet" not in name]
FOLDERS = [name for name in recipe.names() if "${" in recipe.get(name).train.source]


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_comes_back_from_its_yaml(name):
    one = recipe.get(name)
    assert dataclasses.asdict(recipe.from_yaml(recipe.to_yaml(one))) == dataclasses.asdict(one)


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_says_how_to_run_it(name):
    place, _, function = name.partition(":")
    module = __import__(f"pellucid.recipes.{place}", fromlist=[function])
    assert f"pellucid train {name}" in (getattr(module, function).__doc__ or "")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_not_named_or_holds_nothing_is_told_in_one_line(name, tmp_path, monkeypatch):
    source = recipe.get(name).train
    variables = re.findall(r"\$\{(\w+)\}", source.source)
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(BadUsage, match=f"set {variables[0]} to the folder"):
        read(source)
    for variable in variables:
        monkeypatch.setenv(variable, str(tmp_path))
    with pytest.raises(PellucidError) as told:
        read(source)
    assert str(tmp_path) in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("place", recipe.places())
def test_every_paper_has_a_tiny_recipe(place):
    assert f"{place}:tiny" in TINY


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_recipe_learns(name, tmp_path):
    trained = run.train(name, tmp_path / "run")
    home = next(iter(json.loads((tmp_path / "run/results/evaluate.json").read_text())["sets"].values()))
    first = next(iter(home["metrics"].values()))
    assert first["value"] > 0.9
    assert run.load(trained.folder).recipe == trained.recipe


@pytest.mark.parametrize("place", [p for p in recipe.places() if "table" in vars(__import__(f"pellucid.recipes.{p}", fromlist=["table"]))])
def test_a_table_names_each_run_once(place):
    cells = table.find(place).cells
    assert len({(c.train, c.model) for c in cells}) == len(cells)
