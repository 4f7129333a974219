"""Published weights become files and runs of ours and go back, and no file's code is run on the way."""

import argparse
import json
import os
from dataclasses import replace

import pytest
import torch

import pellucid
from pellucid import checkpoint, cli, starting
from pellucid import recipe as recipes
from pellucid.convert import convert, to_run
from pellucid.data.categories import categories
from pellucid.data.scenes import read_shapes
from pellucid.errors import BadData, BadUsage
from pellucid.nn import detr_names
from pellucid.nn.detr import Detr, Shape
from pellucid.nn.resnet import resnet
from pellucid.tasks.quality import names

SMALL = {"num_queries": 4, "width": 32, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 2, "feedforward": 16}
SHAPES = ("disc", "square", "triangle")
RECIPE = '''
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.recipe import Data, Recipe
from pellucid.tasks.detection.settings import DetectionSettings

def tiny() -> Recipe:
    """A small one."""
    small = DetectionSettings("resnet_tiny", "", num_queries=4, width=32, num_heads=2, encoder_layers=1, decoder_layers=2, feedforward=16,
                              view=BoxView(64, 96), train_view=BoxTrainView((64,), 96, crop_prob=0.0))
    return Recipe(small, Data("shapes:train?num=8"), tests={"home": Data("shapes:test?num=4")})
'''


@pytest.fixture
def mine(tmp_path, monkeypatch) -> str:
    """A recipe's name."""
    (tmp_path / "mine.py").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return "./mine.py:tiny"


def weights(num_classes: int = 3, **more) -> dict[str, torch.Tensor]:
    return Detr(resnet("resnet_tiny"), Shape(num_classes, **SMALL, **more)).state_dict()


def saved(path, tensors, **beside):
    torch.save({"model": tensors, **beside}, path)
    return path


FLAGS = argparse.Namespace(lr=1e-4, dataset_file="coco", masks=False, device="cuda", world_size=8)


def test_an_official_checkpoint_with_its_flags_becomes_a_file_of_our_names(tmp_path, capsys):
    ours = weights()
    file = saved(tmp_path / "detr.pth", detr_names.to_official(ours), optimizer={"state": {}}, args=FLAGS, epoch=299)
    assert cli.main(["convert", str(file)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/detr.safetensors: {len(ours)} tensors, the official DETR's names turned into ours\n"
    assert checkpoint.same(checkpoint.load(tmp_path / "detr.safetensors"), ours)


def test_a_checkpoint_that_would_run_something_is_refused_with_exit_4(tmp_path, capsys, mine):
    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for name, flags in (("a", argparse.Namespace(x=Runs())), ("b", Runs()), ("c", os.system)):
        file = saved(tmp_path / f"{name}.pth", detr_names.to_official(weights()), args=flags)
        for more in ([], ["--to-run", "run", "--recipe", mine]):
            assert cli.main(["convert", str(file), *more]) == 4
            assert "holds more than tensors" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"a.pth", "b.pth", "c.pth", "mine.py"}


@pytest.mark.parametrize("kind", ["official", "hf", "detectron2"])
def test_a_file_goes_from_any_names_to_any(tmp_path, kind):
    ours = weights()
    file = saved(tmp_path / "x.pth", detr_names.theirs(ours, kind))
    for to in ("ours", "official", "hf", "detectron2"):
        found = convert(file, tmp_path / f"{to}.safetensors", to)
        written = checkpoint.load(tmp_path / f"{to}.safetensors")
        assert checkpoint.same(written, ours if to == "ours" else detr_names.theirs(ours, to)) and found["num_tensors"] == len(written)
        assert ("as they were" in found["names"]) == (to == kind)


def test_a_head_over_cocos_numbers_becomes_one_over_its_80_classes_and_back(tmp_path):
    ours = weights(91)
    file = saved(tmp_path / "detr.pth", detr_names.to_official(ours))
    found = convert(file, tmp_path / "80.safetensors", classes="coco")
    chosen = checkpoint.load(tmp_path / "80.safetensors")
    assert found["names"] == "the official DETR's names turned into ours, 80 classes"
    numbers = [*categories("coco"), 91]
    assert numbers[:2] == [1, 2] and numbers[-2:] == [90, 91] and len(numbers) == 81
    assert torch.equal(chosen["class_head.weight"], ours["class_head.weight"][numbers])
    convert(tmp_path / "80.safetensors", tmp_path / "back.safetensors", "official", "coco")
    back = checkpoint.load(tmp_path / "back.safetensors")
    assert torch.equal(back["class_embed.bias"][numbers], ours["class_head.bias"][numbers])
    assert back["class_embed.bias"][[0, 12, 83]].tolist() == [detr_names.NO_CLASS] * 3 and len(back["class_embed.bias"]) == 92
    convert(tmp_path / "80.safetensors", tmp_path / "d2.safetensors", "detectron2", "coco")
    assert torch.equal(checkpoint.load(tmp_path / "d2.safetensors")["detr.class_embed.weight"], chosen["class_head.weight"])


def test_weights_of_another_network_keep_their_names_and_have_no_others(tmp_path):
    file = saved(tmp_path / "fc.pth", {"fc.weight": torch.ones(2, 2)})
    assert convert(file)["names"] == "names as they were"
    assert checkpoint.load(tmp_path / "fc.safetensors").keys() == {"fc.weight"}
    for asked in ({"to": "hf"}, {"classes": "coco"}):
        with pytest.raises(BadUsage, match=r"fc.pth: no weights of a DETR"):
            convert(file, tmp_path / "x.safetensors", **asked)


def test_nothing_is_written_over(tmp_path, mine):
    file = saved(tmp_path / "x.pth", detr_names.to_official(weights()))
    (tmp_path / "x.safetensors").touch()
    with pytest.raises(BadUsage, match="is there already"):
        convert(file)
    with pytest.raises(BadUsage, match="ends in"):
        convert(file, tmp_path / "x.bin")
    with pytest.raises(BadUsage, match="is there already"):
        to_run(file, tmp_path, mine, "coco")


# ---- runs -------------------------------------------------------------------------------------------------------------


def test_published_weights_become_a_run_that_predicts_and_is_measured_and_go_back(tmp_path, capsys, mine):
    (tmp_path / "names.txt").write_text("\n".join(SHAPES))
    official = detr_names.to_official(weights())
    saved(tmp_path / "detr.pth", official, args=FLAGS)
    assert (
        cli.main(["convert", "detr.pth", "--to-run", "run", "--recipe", mine, "--labels", "names.txt", "--set", "task.threshold=0.1"]) == 0
    )
    assert "3 classes" in capsys.readouterr().out
    run = pellucid.load("run")
    assert run.task.labels == SHAPES and run.recipe.task.threshold == 0.1
    assert checkpoint.same(detr_names.theirs(run.task.model.state_dict(), "official"), official)
    assert run.evaluate()["sets"]["home"]["n"] == 4
    assert [len(told["scores"]) for told in run.predict(read_shapes("test", {"num": "2"}))] == [4, 4]
    assert cli.main(["convert", "run", "--to", "official", "--out", "back.safetensors"]) == 0
    assert checkpoint.same(checkpoint.load(tmp_path / "back.safetensors"), official)
    capsys.readouterr()
    assert cli.main(["convert", "run", "--to", "hf", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "run/export/hf.safetensors"
    assert detr_names.kind_of(checkpoint.load(tmp_path / "run/export/hf.safetensors")) == "hf"


def test_a_run_of_cocos_weights_tells_its_80_classes(tmp_path, mine):
    to_run(saved(tmp_path / "detr.pth", detr_names.to_official(weights(91))), tmp_path / "run", mine)
    run = pellucid.load(tmp_path / "run")
    assert len(run.task.labels) == 80 and run.task.labels[0] == "person" and run.task.labels[-1] == "toothbrush"
    assert set(run.predict(read_shapes("test", {"num": "1"}))[0]["labels"]) <= set(run.task.labels)


def test_a_run_of_a_network_that_the_recipe_does_not_describe_is_refused_and_leaves_nothing(tmp_path, mine):
    file = saved(tmp_path / "detr.pth", detr_names.to_official(weights(91)))
    with pytest.raises(BadData, match=r"missing: net.decoder.layers.2\S+ .* the recipe, with --set, must be of the network"):
        to_run(file, tmp_path / "run", mine, settings={"task.decoder_layers": "3"})
    with pytest.raises(BadUsage, match="its task has no DETR"):
        to_run(file, tmp_path / "run", "rsb:tiny")
    with pytest.raises(BadData, match="no weights of a DETR"):
        to_run(saved(tmp_path / "fc.pth", {"fc.weight": torch.ones(2, 2)}), tmp_path / "run", mine)
    assert not (tmp_path / "run").exists()


def test_classes_without_names_are_asked_for_and_pre_training_has_none(tmp_path, mine):
    with pytest.raises(BadUsage, match="its 3 classes have no names; give them with --labels"):
        to_run(saved(tmp_path / "a.pth", detr_names.to_official(weights())), tmp_path / "run", mine)
    with pytest.raises(BadData, match=r"a.pth: a class head of 4 rows, the last of which is no-object, has none for the category 3"):
        to_run(tmp_path / "a.pth", tmp_path / "run", mine, "coco")
    pretrained = weights(2) | {"patch_to_query.weight": torch.ones(32, 192), "patch_to_query.bias": torch.ones(32)}
    with pytest.raises(BadUsage, match="weights of pre-training, which tell no classes"):
        to_run(saved(tmp_path / "b.pth", detr_names.to_official(pretrained)), tmp_path / "run", mine)


def test_a_name_that_no_detr_has_is_told_with_the_file(tmp_path):
    foreign = detr_names.to_official(weights()) | {"transformer.level_embed": torch.ones(4, 32)}
    with pytest.raises(BadData, match=r"x.pth: the official DETR's names: 'transformer.level_embed' is none that we know"):
        convert(saved(tmp_path / "x.pth", foreign))


def test_up_detrs_pre_training_becomes_a_run_that_goes_back_and_training_starts_from_its_file(tmp_path):
    task = recipes.get("updetr:shapes_pretrain").task.read(tmp_path)
    official = detr_names.theirs(task.model.state_dict(), "official")
    assert "patch2query.weight" in official
    file = saved(tmp_path / "up-detr.pth", official, args=FLAGS)
    to_run(file, tmp_path / "run", "updetr:shapes_pretrain")
    assert checkpoint.same(pellucid.load(tmp_path / "run").task.model.state_dict(), task.model.state_dict())
    convert(tmp_path / "run", tmp_path / "back.safetensors", "official")
    assert checkpoint.same(checkpoint.load(tmp_path / "back.safetensors"), official)
    convert(file)
    tuned = replace(recipes.get("updetr:shapes"), init=str(tmp_path / "up-detr.safetensors"))
    detector = tuned.task.build([{"id": "x", "image": "x", "objects": [], "classes": SHAPES}])
    starting.start(detector, tuned, expected=tuned.init_drop)
    assert torch.equal(detector.model.net.encoder.norm.weight, task.model.net.encoder.norm.weight)


def test_flags_that_do_nothing_are_refused(tmp_path, capsys):
    for flags in (["--recipe", "x:y"], ["--set", "a=b"], ["--to-run", "y"], ["--to-run", "y", "--recipe", "x:y", "--to", "hf"]):
        assert cli.main(["convert", "x.pth", *flags]) == 2
        assert "--to-run" in capsys.readouterr().err


def test_a_published_vtamiq_becomes_a_run_that_judges_as_its_weights_do(tmp_path):
    settings = {
        "task.vit.width": 32,
        "task.vit.heads": 4,
        "task.vit.mlp": 64,
        "task.vit.blocks": 2,
        "task.vit.patch": 8,
        "task.vit.grid": 4,
    }
    settings |= {"task.vit.grid": 4, "task.head.groups": 1, "task.head.blocks": 1, "task.sampling.num_test": 16, "task.linearise": False}
    torch.manual_seed(0)
    task = recipes.override(recipes.get("vtamiq:legacy"), settings).task.read(tmp_path)
    layout = names.Layout("2021", task.settings.vit, task.settings.head, "diff_net")
    weights = names.theirs({k: v for k, v in task.model.state_dict().items() if k.startswith("net.")}, layout)
    torch.save({"model_state_dict": weights, "epoch": 3, "SROCC": 0.9}, tmp_path / "vtamiq.pth")
    to_run(tmp_path / "vtamiq.pth", tmp_path / "run", "vtamiq:legacy", settings=settings)
    again = pellucid.load(tmp_path / "run")
    batch = {name: torch.rand(2, 1, 16, 3, 8, 8) * 255 for name in ("reference", "image")}
    batch |= {"position": torch.rand(2, 1, 16, 2) * 2 - 1, "scale_index": torch.zeros(2, 1, 16, dtype=torch.long)}
    task.model.eval()
    assert torch.equal(again.task.model(batch)["quality"], task.model(batch)["quality"])
    with pytest.raises(BadData, match="must be of the network"):
        to_run(tmp_path / "vtamiq.pth", tmp_path / "other", "vtamiq:legacy", settings=settings | {"task.vit.blocks": 3})
    assert not (tmp_path / "other").exists()
