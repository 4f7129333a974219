"""A published MDETR becomes a file and a run that answers as its weights do, its averaged weights first, and nothing of the file is run."""

import argparse
import json
import os
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

import pellucid
from pellucid import checkpoint, cli, starting
from pellucid import recipe as recipes
from pellucid.convert import convert, to_run
from pellucid.errors import BadData, BadUsage
from pellucid.nn.detr import Shape
from pellucid.nn.mdetr import Extras, Mdetr
from pellucid.nn.resnet import resnet
from pellucid.nn.timm_maps import timm_maps
from pellucid.tasks.grounding.names import from_published, theirs
from pellucid.tasks.grounding.published import recognised
from pellucid.tasks.grounding.settings import GroundingSettings

FLAGS = argparse.Namespace(lr=1e-4, text_encoder_type="roberta-base", dataset_config={"combine_datasets": ["flickr"]}, ema=True)
RECIPE = '''
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.recipe import Data, Recipe
from pellucid.tasks.grounding.settings import GroundingSettings

def plain() -> Recipe:
    """What the weights do not tell: heads of attention, how pictures are shown."""
    task = GroundingSettings(num_heads=8, pretrained="", view=BoxView(64, 64), train_view=BoxTrainView((64,), 64, 0.0, 0.0), threshold=0.0)
    data = Data("grounding-world:train?num=4&size=64")
    return Recipe(task, data, tests={"home": data})
'''
ALIGNED = Extras()
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 130}
CAPTION = "the red cup"


@pytest.fixture
def place(tmp_path, monkeypatch, references):
    """A folder with a recipe, and as `text` the text encoder's configuration and tokenizer, without weights."""
    (tmp_path / "mine.py").write_text(RECIPE)
    RobertaTokenizerFast.from_pretrained(references / "detection/mdetr_tokenizer").save_pretrained(tmp_path / "text")
    text_config().save_pretrained(tmp_path / "text")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_config() -> RobertaConfig:
    return RobertaConfig(vocab_size=420, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, **TEXT)


def network(extras: Extras = ALIGNED, masks: str = "", backbone: str = "resnet18") -> Mdetr:
    shape = Shape(63, 6, width=128, num_heads=8, encoder_layers=2, decoder_layers=3, feedforward=40)
    return Mdetr(resnet(backbone), shape, RobertaModel(text_config()), 16, extras, masks=masks).eval()


def saved(file, weights, average=None, **beside):
    torch.save({"model": weights, "model_ema": average, "optimizer": {"state": {}}, "epoch": 39, "args": FLAGS, **beside}, file)
    return file


# ---- files ------------------------------------------------------------------------------------------------------------


def test_the_average_of_the_weights_is_taken_where_there_is_one(references, tmp_path, capsys):
    average = load_file(references / "detection/mdetr_small/weights.safetensors")
    other = {name: torch.zeros_like(value) for name, value in average.items()}
    for name, file in (("a", (other, average)), ("b", (average, None))):
        assert cli.main(["convert", str(saved(tmp_path / f"{name}.pth", *file))]) == 0
        assert "the official MDETR's names turned into ours" in capsys.readouterr().out
        assert checkpoint.same(checkpoint.load(tmp_path / f"{name}.safetensors"), from_published(average))


def test_every_tensor_of_the_published_r101_has_its_place_and_goes_back(references, tmp_path):
    listed = json.loads((references / "detection/state_dicts/mdetr_r101_state_dict.json").read_text())
    small = {name: torch.rand([min(side, 2) for side in shape]) for name, shape in listed.items()}
    saved(tmp_path / "r101.pth", {**small, "transformer.text_encoder.embeddings.position_ids": torch.arange(514)[None]})
    assert convert(tmp_path / "r101.pth")["num_tensors"] == 920
    convert(tmp_path / "r101.safetensors", tmp_path / "back.safetensors", "official")
    assert checkpoint.same(checkpoint.load(tmp_path / "back.safetensors"), small)


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path, capsys):
    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for flags in (argparse.Namespace(x=Runs()), Runs()):
        assert cli.main(["convert", str(saved(tmp_path / "x.pth", theirs(network().state_dict()), args=flags))]) == 4
        assert "holds more than tensors" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"x.pth"}


def test_an_mdetr_has_no_classes_no_other_names_and_no_key_without_a_place(tmp_path):
    weights = theirs(network().state_dict())
    file = saved(tmp_path / "x.pth", weights)
    for asked in ({"to": "hf"}, {"classes": "coco"}):
        with pytest.raises(BadUsage, match="weights of an MDETR, which has no classes, and ours or its authors' names"):
            convert(file, tmp_path / "y.safetensors", **asked)
    saved(file, weights | {"transformer.level_embed": torch.zeros(1)})
    with pytest.raises(BadData, match=r"x.pth: the official MDETR's names: 'transformer.level_embed' is none that we know"):
        convert(file)


# ---- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extras", "masks", "told"),
    [
        (Extras(8), "", {"align": 1.0, "align_width": 8, "answers": ""}),
        (Extras(8, final=True, contrast=True), "", {"final": 1.0, "contrast": 0.1, "align_width": 8}),
        (Extras(align=False, answers="clevr"), "", {"align": 0.0, "answers": "clevr"}),
        (Extras(align=False), "per_head", {"align": 0.0, "masks": "per_head"}),
    ],
)
def test_published_weights_become_a_run_that_answers_as_they_do(place, extras, masks, told, capsys):
    net = network(extras, masks)
    published = theirs(net.state_dict())
    file = saved(place / "mdetr.pth", {name: torch.zeros_like(value) for name, value in published.items()}, published)
    assert cli.main(["convert", str(file), "--to-run", "run", "--recipe", "./mine.py:plain", "--set", "task.text=text"]) == 0
    assert "backbone=resnet18" in capsys.readouterr().out
    run = pellucid.load("run")
    settings = run.recipe.task
    assert (settings.num_queries, settings.num_tokens, settings.decoder_layers, settings.feedforward) == (6, 63, 3, 40)
    assert {name: getattr(settings, name) for name in told} == told
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save("photo.png")
    row = {"id": "1", "image": "photo.png", "caption": CAPTION}
    found = run.predict([row])[0]
    batch = run.task.collate(run.task.prepare([row], "test"))
    image = run.task.model.normalised(batch["picture"]) * batch["pixel_present"][:, None]
    with torch.no_grad():
        wanted = net(image, batch["pixel_present"], batch["tokens"], batch["tokens_present"])
    scores = (1 - wanted["logits"][0].softmax(-1)[:, -1]).sort(descending=True).values
    assert found["scores"] == pytest.approx(scores.tolist(), abs=1e-5)
    assert ("reply" in found) == bool(extras.answers) and ("masks" in found) == bool(masks)
    assert cli.main(["convert", "run", "--to", "official", "--out", "back.safetensors"]) == 0
    back = checkpoint.load(place / "back.safetensors")
    assert checkpoint.same(back, {name: value for name, value in published.items() if name in back})
    left = {name.removeprefix("detr.") for name in published.keys() - back.keys()}
    assert left == set() if extras.contrast else {"pooler"} == {name.split(".")[2] for name in left}


def test_a_run_needs_nothing_of_the_text_encoders_folder_any_more(place):
    saved(place / "mdetr.pth", theirs(network().state_dict()))
    told = to_run(place / "mdetr.pth", place / "run", "./mine.py:plain", settings={"task.text": "text"})
    assert "left out net.text.encoder.pooler.dense.weight, net.text.encoder.pooler.dense.bias" in told["names"]
    (place / "text").rename(place / "elsewhere")
    assert pellucid.load("run").task.reader.tokenizer.encode([CAPTION], None, 63)[0].tokens[0] == 0


def test_what_no_run_can_be_made_of_is_refused_and_leaves_nothing(place):
    plain = theirs(network().state_dict())
    saved(place / "a.pth", plain)
    RobertaConfig(**text_config().to_dict() | {"num_hidden_layers": 2}).save_pretrained(place / "text")
    with pytest.raises(BadData, match="must be of the network that the weights are of"):
        to_run(place / "a.pth", place / "run", "./mine.py:plain", settings={"task.text": "text"})
    with pytest.raises(BadUsage, match=r"task.text=words: its words are its own training captions'"):
        to_run(place / "a.pth", place / "run", "./mine.py:plain", settings={"task.text": "words"})
    with pytest.raises(BadUsage, match="--classes: an MDETR has none"):
        to_run(place / "a.pth", place / "run", "./mine.py:plain", "coco", {"task.text": "text"})
    saved(place / "b.pth", {name: value for name, value in plain.items() if "layer4.1" not in name})
    with pytest.raises(BadData, match=r"b.pth: a backbone that is none of the ResNets"):
        to_run(place / "b.pth", place / "run", "./mine.py:plain", settings={"task.text": "text"})
    saved(place / "c.pth", theirs(network(Extras(answers="gqa")).state_dict()))
    with pytest.raises(BadUsage, match=r"GQA's questions by number; .*task.answer_list"):
        to_run(place / "c.pth", place / "run", "./mine.py:plain", settings={"task.text": "text"})
    saved(place / "d.pth", {"fc.weight": torch.ones(2, 2)})
    with pytest.raises(BadData, match=r"d.pth: no weights of an MDETR"):
        to_run(place / "d.pth", place / "run", "./mine.py:plain", settings={"task.text": "text"})
    assert not (place / "run").exists()


@pytest.mark.parametrize("name", ["resnet101", "timm:tf_efficientnet_b3", "timm:tf_efficientnet_b5"])
def test_the_published_backbones_are_told_by_the_shapes_of_their_weights(name):
    with torch.device("meta"):
        backbone = timm_maps(name.removeprefix("timm:")) if name.startswith("timm:") else resnet(name)
        net = Mdetr(backbone, Shape(255), RobertaModel(text_config()), 16)
    told = recognised(from_published(theirs(net.state_dict())), GroundingSettings(backbone="resnet50", num_queries=7))
    assert (told.backbone, told.num_queries, told.width, told.feedforward) == (name, 100, 256, 2048)
    assert (told.num_tokens, told.encoder_layers, told.decoder_layers, told.align_width) == (255, 6, 6, 64)


def test_training_starts_from_a_published_file_and_says_that_the_pooler_was_left_out(place):
    published = theirs(network().state_dict())
    convert(saved(place / "mdetr.pth", published))
    checkpoint.save(published, place / "published.safetensors")
    to_run(place / "mdetr.pth", place / "run", "./mine.py:plain", settings={"task.text": "text"})
    run = pellucid.load("run")
    kept = {name: value.clone() for name, value in run.task.model.state_dict().items()}
    for file in ("mdetr.safetensors", "published.safetensors"):
        for value in run.task.model.state_dict().values():
            value.zero_()
        told = starting.start(run.task, replace(recipes.get("./mine.py:plain"), init=str(place / file)))
        assert checkpoint.same(run.task.model.state_dict(), kept)
        assert set(told["dropped"]) == {f"net.text.encoder.pooler.dense.{part}" for part in ("weight", "bias")} and told["translated"]
