import dataclasses
from dataclasses import dataclass

import pytest

from pellucid import recipe
from pellucid.errors import BadUsage
from pellucid.recipe import Data, Recipe, get, override, parse_settings


@dataclass(frozen=True)
class Settings:
    width: int = 4

    def build(self, train):
        return None


BASE = Recipe(Settings(), Data("csv:a.csv"), tests={"home": Data("csv:b.csv")})


def test_an_override_takes_the_type_of_its_field():
    new = override(BASE, parse_settings(["optim.lr=4e-3", "loop.epochs=2", "task.width=8", "optim.betas=0.8,0.9", "loop.patience=none"]))
    assert (new.optim.lr, new.loop.epochs, new.task.width, new.optim.betas, new.loop.patience) == (4e-3, 2, 8, (0.8, 0.9), None)


def test_an_override_adds_what_needs_no_more_to_be_told():
    videos = get("attention_clusters:videos")
    new = override(videos, {"task.streams.audio.rate": "1", "task.clusters.audio.units": "4"})
    assert list(new.task.streams) == ["rgb", "audio"] and new.task.streams["audio"].rate == 1
    assert new.task.clusters["audio"].units == 4
    with pytest.raises(BadUsage, match="no field"):
        override(videos, {"tests.new.part": "dev"})


def test_an_override_reaches_into_named_test_sets():
    assert override(BASE, {"tests.home.limit": "7"}).tests["home"].limit == 7
    assert override(BASE, {"tests.away": "csv:c.csv"}).tests["away"] == Data("csv:c.csv")
    assert override(BASE, {"train.columns.text": "review"}).train.columns == {"text": "review"}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("optim.lrr=1", "'optim.lr'"),
        ("optm.lr=1", "optim.lr"),
        ("loop.epochs=two", "expected int"),
        ("loop.epochs=2.5", "expected int"),
        ("optim.lr=fast", "expected float"),
        ("optim.name=adamww", "'adamw'"),
        ("loop.epochs", "expected FIELD=VALUE"),
    ],
)
def test_a_wrong_override_says_what_would_do(pair, message):
    with pytest.raises(BadUsage, match=message):
        override(BASE, parse_settings([pair]))


def test_yaml_brings_back_every_value(tmp_path, monkeypatch):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import dataclass\nfrom pellucid.recipe import Recipe, Data\n"
        "@dataclass(frozen=True)\nclass S:\n    width: int = 4\n    def build(self, train): return None\n"
        "def tiny() -> Recipe:\n    return Recipe(S(), Data('csv:a.csv'))\n"
    )
    first = override(
        recipe.get(f"{mine}:tiny"), {"task.width": 9, "optim.betas": "[0.5, 0.6]", "tests.away": "csv:c.csv", "loop.patience": "3"}
    )
    again = recipe.from_yaml(recipe.to_yaml(first))
    assert dataclasses.asdict(again) == dataclasses.asdict(first)


def test_a_run_may_not_bring_its_own_code(tmp_path):
    from pellucid.errors import UnsafeInput

    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    (tmp_path / "recipe.yaml").write_text(f"recipe: {tmp_path}/evil.py:tiny\n")
    with pytest.raises(UnsafeInput, match="inside its own folder"):
        recipe.read(tmp_path / "recipe.yaml", run=tmp_path)


def test_yaml_cannot_construct_objects(tmp_path):
    with pytest.raises(BadUsage, match="not YAML"):
        recipe.from_yaml("recipe: !!python/object/apply:os.system ['true']\n")
