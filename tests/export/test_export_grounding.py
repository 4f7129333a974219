"""A text-conditioned detector leaves as one program, or as one that looks at a picture and one that asks about it, once per caption."""

import copy
import json
import pathlib

import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel

from pellucid import cli, run
from pellucid.errors import BadUsage, GateMissed
from pellucid.export import trace
from pellucid.nn.detr import Shape
from pellucid.nn.mdetr import Mdetr
from pellucid.nn.resnet import ResNet
from pellucid.tasks.grounding.model import GroundingModel
from untrained import made

RECIPE = """
from pellucid.data.box_views import BoxView
from pellucid.recipe import Data, Recipe
from pellucid.tasks.grounding.settings import GroundingSettings

SIZES = dict(num_queries=5, width=32, num_heads=4, encoder_layers=1, decoder_layers=1, feedforward=48, num_tokens=31, align_width=16)

def tiny():
    settings = GroundingSettings("resnet_tiny", "", "words", frozen="", view=BoxView(64, 128), **SIZES)
    return Recipe(settings, Data("phrases:$TABLE"), tests={"home": Data("phrases:$TABLE")})
"""
TEXT = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
PHRASES = ("the red cup", "a laptop", "two dogs on the left of the bench", "the man")
INPUTS = {
    "picture": ["batch", 3, "height", "width"],
    "pixel_present": ["batch", "height", "width"],
    "tokens": ["batch", "length"],
    "tokens_present": ["batch", "length"],
}
OUTPUTS = {
    "logits": ["batch", 5, 32],
    "boxes_cxcywh": ["batch", 5, 4],
    "query_code": ["batch", 5, 16],
    "token_code": ["batch", "length", 16],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pathlib.Path:
    """Four small pictures of noise, upright and wide, with a phrase or two each."""
    root = tmp_path_factory.mktemp("photos")
    rows = ["image,phrase,box"]
    for i, size in enumerate([(64, 128), (64, 90), (64, 64), (130, 64)]):
        Image.effect_noise(size, 60).convert("RGB").save(root / f"{i}.png")
        rows += [f"{i}.png,{phrase},5 6 40 50" for phrase in PHRASES[: 1 + i]]
    (root / "phrases.csv").write_text("\n".join(rows) + "\n")
    (root / "mine.py").write_text(RECIPE.replace("$TABLE", str(root / "phrases.csv")))
    return root


@pytest.fixture(scope="module")
def done(table) -> run.Run:
    torch.manual_seed(0)
    return made(f"{table}/mine.py:tiny", table / "run")


@pytest.fixture(scope="module")
def staged(done, tmp_path_factory) -> pathlib.Path:
    """The folder into which the command line has exported two programs; something of somebody's lay there."""
    pytest.importorskip("onnxruntime")
    place = tmp_path_factory.mktemp("staged")
    (place / "m.older.onnx").write_text("somebody's")
    assert cli.main(["export", str(done.folder), "--stages", "--out", str(place / "m.onnx")]) == 0
    return place


@pytest.fixture(scope="module")
def told(staged) -> dict:
    return json.loads((staged / "m.json").read_text())


def asked(done: run.Run, table: pathlib.Path, *captions: str, picture: str = "1.png") -> dict[str, torch.Tensor]:
    """A batch of one picture with each of the captions."""
    rows = [{"id": str(i), "image": str(table / picture), "caption": one} for i, one in enumerate(captions)]
    return done.task.collate(done.task.prepare(rows, "here"))


def shapes(entries: list[dict]) -> dict:
    return {entry["name"]: entry["shape"] for entry in entries}


def test_batch_length_and_size_of_pictures_are_free_in_one_program(table, tmp_path):
    torch.manual_seed(0)
    one = made(f"{table}/mine.py:tiny", tmp_path / "run", **{"task.final": "1.0"})
    told = one.export("torch-export")
    assert shapes(told["inputs"]) == INPUTS
    assert shapes(told["outputs"]) == OUTPUTS | {"final": ["batch", 5]}
    program = torch.export.load(told["file"]).module()
    batch = asked(one, table, *["the man left of the red cup and of two dogs, the bench, a laptop"] * 3)
    with torch.no_grad():
        torch.testing.assert_close(program({key: batch[key].contiguous() for key in INPUTS}), one.task.model(batch))


def test_one_look_at_a_picture_answers_captions_of_any_number_and_length_in_another_engine(done, table, staged):
    onnxruntime = pytest.importorskip("onnxruntime")
    look, ask = (onnxruntime.InferenceSession(str(staged / f"m.{stage}.onnx")) for stage in ("look", "ask"))
    batch = asked(done, table, "a laptop", "two dogs on the bench", "the man", "the red cup", "dogs " * 20, picture="3.png")
    given = {key: batch[key].numpy() for key in INPUTS}
    seen = look.run(["picture_map", "picture_cells"], {key: given.pop(key)[:1] for key in ("picture", "pixel_present")})
    each = {key: value.repeat(5, 0) for key, value in zip(("picture_map", "picture_cells"), seen, strict=True)}
    found = ask.run(list(OUTPUTS), {**each, **given})
    with torch.no_grad():
        right = done.task.model(batch)
    for key, value in zip(OUTPUTS, found, strict=True):
        torch.testing.assert_close(torch.from_numpy(value), right[key], rtol=1e-4, atol=1e-5)


def test_the_json_tells_of_both_programs_and_of_all_that_goes_in(staged, told):
    [look, ask] = told["stages"]
    between = {"picture_map": ["batch", 32, "picture_map_2", "picture_map_3"], "picture_cells": ["batch", "picture_map_2", "picture_map_3"]}
    assert shapes(told["inputs"]) == INPUTS and shapes(told["outputs"]) == OUTPUTS == shapes(ask["outputs"])
    assert shapes(look["inputs"]) == {key: INPUTS[key] for key in ("picture", "pixel_present")} and shapes(look["outputs"]) == between
    assert shapes(ask["inputs"]) == between | {key: INPUTS[key] for key in ("tokens", "tokens_present")}
    assert (look["file"], ask["file"], told["preprocessing_folder"]) == ("m.look.onnx", "m.ask.onnx", "m.preprocessing")
    assert {path.name for path in staged.iterdir()} == {"m.look.onnx", "m.ask.onnx", "m.json", "m.preprocessing", "m.older.onnx"}


def test_the_json_shows_the_tokens_of_its_example(staged, told):
    vocabulary, example = json.loads((staged / "m.preprocessing/vocabulary.json").read_text()), told["example"]
    words = example["caption"].replace(".", " .").split()
    assert [vocabulary[i] for i in example["inputs"]["tokens"]] == words
    assert "at most 31 tokens a caption; shorter ones filled up with 0, where tokens_present is false" in told["preprocessing"]


def test_what_both_programs_compute_is_compared_with_the_run_on_a_size_that_none_was_traced_with(told):
    batches = told["parity"]["batches"]
    assert [batch["shapes"]["picture"][0] for batch in batches] == [1, 2, 4, 9]
    sides = [batch["shapes"]["picture"][2:] for batch in batches]
    assert all(sides[3][i] > max(side[i] for side in sides[:3]) for i in (0, 1))
    assert batches[0]["relative"].keys() == {"picture_map", "picture_cells", *OUTPUTS}


def test_each_program_is_made_of_its_own_weights_and_no_others(done, table):
    model = copy.deepcopy(done.task.model).cpu()
    batch = asked(done, table, "a laptop")
    held = {**batch, **model.look(batch)}
    look, ask = ({name for name, _ in trace.lightened(model, stage, held).net.named_parameters()} for stage in ("look", "ask"))
    assert look | ask == {name for name, _ in model.net.named_parameters()}
    assert not look & ask and {name.split(".")[0] for name in look} == {"backbone", "input_proj"}


@pytest.fixture
def quick(monkeypatch):
    """Programs that are the model itself, so that no time goes into tracing; what the first one tells may be scaled."""
    scale = {"picture_map": 1.0}

    def written(program, file: pathlib.Path):
        file.write_text("a program")
        model, stage = program
        return lambda batch: {k: v * scale[k] if k in scale else v for k, v in getattr(model, stage)(batch).items()}

    monkeypatch.setattr(trace, "program", lambda model, given, axes, what, stage: (model, stage))
    monkeypatch.setattr(trace, "as_torch", written)
    return scale


def test_a_first_program_that_sees_something_else_leaves_nothing(done, tmp_path, quick):
    quick["picture_map"] = 1.001
    with pytest.raises(GateMissed, match=r"m.pt2: outputs differ from the run's by 0.00\d+ of the largest"):
        done.export("torch-export", out=tmp_path / "m.pt2", stages=True)
    assert not list(tmp_path.iterdir())


def test_programs_of_stages_are_gone_when_the_whole_is_exported_in_their_place_and_nothing_else(done, tmp_path, quick):
    for name in ("m.look.pt2", "m.ask.pt2", "m.ask.pt2.data", "m.best.pt2"):
        (tmp_path / name).write_text("old")
    done.export("torch-export", out=tmp_path / "m.pt2")
    assert {path.name for path in tmp_path.iterdir()} == {"m.pt2", "m.json", "m.preprocessing", "m.best.pt2"}


def test_stages_of_a_model_that_computes_all_in_one_call_are_refused(tmp_path):
    with pytest.raises(BadUsage, match="--stages: ImageClassification computes all in one call; leave it away"):
        made("rsb:tiny", tmp_path / "run").export("torch-export", stages=True)


@pytest.mark.parametrize("padding", [True, False])
def test_a_mask_head_gets_the_finer_maps_through_the_stages(padding):
    torch.manual_seed(0)
    shape = Shape(12, 5, width=128, num_heads=8, encoder_layers=1, decoder_layers=1, feedforward=24, dropout=0.0)
    text = BertModel(BertConfig(**TEXT), add_pooling_layer=False)
    net = Mdetr(ResNet((1, 1, 1, 1), (8, 8, 8, 16), 8, norm="group"), shape, text, 8, mask_padding=padding, masks="per_head")
    model = GroundingModel(net, (0.5,) * 3, (0.5,) * 3).eval()
    present = torch.arange(96) < torch.tensor([96, 64]).view(2, 1, 1).expand(2, 64, 1)
    picture, tokens = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8), torch.randint(0, 30, (2, 7))
    batch = {"picture": picture, "pixel_present": present, "tokens": tokens, "tokens_present": torch.ones(2, 7, dtype=torch.bool)}
    with torch.no_grad():
        told = model.ask({**batch, **model.look(batch)})
        torch.testing.assert_close(told, model(batch))
    assert told["mask_logits"].shape == (2, 5, 16, 24)


# ---- names ----------------------------------------------------------------------------------------------------------------


def test_square_pictures_have_a_height_and_a_width_and_what_lies_over_them_has_the_same():
    names = trace.Names({"picture"})
    sides = (64, 64, 96)
    assert names.free("picture", [torch.zeros(2, 3, side, side) for side in sides]) == {0: "batch", 2: "height", 3: "width"}
    assert names.free("pixel_present", [torch.zeros(2, side, side) for side in sides]) == {0: "batch", 1: "height", 2: "width"}
    assert names.free("tokens", [torch.zeros(2, n) for n in (7, 9, 9)]) == {0: "batch", 1: "length"}
    assert names.free("masks", [torch.zeros(2, n, 5) for n in (3, 4, 6)]) == {0: "batch", 1: "masks_1"}


def test_room_beside_pictures_is_larger_than_any_of_them_and_holds_nothing():
    def batch(high: int, wide: int) -> dict:
        return {"picture": torch.ones(1, 3, high, wide), "pixel_present": torch.ones(1, high, wide), "tokens": torch.ones(1, high)}

    found = trace.roomier([batch(96, 160), batch(32, 64)], {"picture"})
    assert found["picture"].shape == (1, 3, 160, 192) and found["pixel_present"].shape == (1, 160, 192)
    assert found["picture"].sum() == 3 * 32 * 64 and found["pixel_present"][:, :32, :64].all() and found["pixel_present"].sum() == 32 * 64
    assert found["tokens"].shape == (1, 32)
    assert trace.roomier([batch(32, 32)], ())["picture"].shape == (1, 3, 32, 32)
