"""An exported model computes what its run computes, for any number of examples, and says what is needed to use it."""

import json
import pathlib

import numpy as np
import pytest
import torch

from pellucid import checkpoint, cli, run
from pellucid import export as exporting
from pellucid import recipe as recipes
from pellucid.errors import BadData, BadUsage, PellucidError
from pellucid.export import trace
from pellucid.recipe import Data
from untrained import made

TEXT = ("tokens", "tokens_present", "segments")


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    return made("robustness:tiny", tmp_path_factory.mktemp("texts") / "run")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    return made("rsb:tiny", tmp_path_factory.mktemp("pictures") / "run")


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("robustness:tiny", {key: ["batch", "length"] for key in TEXT}, {"logits": ["batch", 2]}),
        ("functional:tiny", {"tokens": ["batch", 4]}, {"logits": ["batch", 2]}),
        ("rsb:tiny", {"picture": ["batch", 3, 32, 32]}, {"logits": ["batch", 10]}),
        ("asl:tiny", {"picture": ["batch", 3, 32, 32]}, {"logits": ["batch", 12]}),
        (
            "updetr:tiny",
            {"picture": ["batch", 3, "height", "width"], "pixel_present": ["batch", "height", "width"]},
            {"logits": ["batch", 9, 4], "boxes_cxcywh": ["batch", 9, 4]},
        ),
        (
            "triplenet:tiny",
            {"picture": ["batch", 3, 96, 96]},
            {
                "class_logits": ["batch", 4614, 4],
                "offsets": ["batch", 4614, 4],
                "default_boxes": ["batch", 4614, 4],
                "map_logits": ["batch", 4, 24, 24],
            },
        ),
        (
            "vtamiq:tiny",
            {
                "reference": ["batch", 1, 64, 3, 8, 8],
                "image": ["batch", 1, 64, 3, 8, 8],
                "position": ["batch", 1, 64, 2],
                "scale_index": ["batch", 1, 64],
            },
            {"quality": ["batch"]},
        ),
        (
            "attention_clusters:tiny",
            {"rgb": ["batch", "length", 50], "rgb_present": ["batch", "length"]},
            {"logits": ["batch", 4]},
        ),
    ],
)
def test_the_batch_of_every_task_is_free_and_named(name, inputs, outputs, tmp_path):
    done = made(name, tmp_path / "run")
    told = done.export("torch-export")
    assert {entry["name"]: entry["shape"] for entry in told["inputs"]} == inputs
    assert {entry["name"]: entry["shape"] for entry in told["outputs"]} == outputs
    loaded = torch.export.load(told["file"]).module()
    rows = done.prepared(Data(next(iter(done.recipe.tests.values())).source, limit=20))
    for count in (1, 3, 20):
        batch = done.task.collate(rows[:count])
        with torch.no_grad():
            torch.testing.assert_close(loaded({key: batch[key] for key in inputs}), done.task.model(batch))


def test_a_text_longer_than_any_compared_may_be_given(texts, tmp_path):
    told = texts.export("torch-export", out=tmp_path / "m.pt2")
    longest = max(batch["shapes"]["tokens"][1] for batch in told["parity"]["batches"])
    batch = texts.task.collate(texts._rows(["a superb film " * (longest // 3 + 2)]))
    assert batch["tokens"].shape[1] > longest
    found = torch.export.load(tmp_path / "m.pt2").module()({k: batch[k] for k in TEXT})
    torch.testing.assert_close(found["logits"], texts.task.model(batch)["logits"])


def test_sizes_from_1_to_more_than_traced_are_compared(texts, tmp_path):
    told = texts.export("torch-export", out=tmp_path / "m.pt2")
    assert [batch["shapes"]["tokens"][0] for batch in told["parity"]["batches"]] == [1, 2, 4, 9]
    assert told["parity"]["largest_relative"] <= told["parity"]["tolerance"] == 1e-4


def test_onnx_of_pictures_gives_the_runs_logits_in_another_engine(pictures, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    told = pictures.export("onnx", out=tmp_path / "m.onnx")
    assert told["opset"] >= 18 and {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.json"}
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    given = torch.randint(0, 256, (11, 3, 32, 32), dtype=torch.uint8)
    [found] = session.run(["logits"], {"picture": given.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, pictures.task.model({"picture": given})["logits"].numpy(), rtol=1e-4, atol=1e-5)


def test_onnx_of_texts_is_free_in_batch_and_length_from_the_command_line(texts, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert cli.main(["export", str(texts.folder), "--out", str(tmp_path / "m.onnx"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "m.json").read_text()) == {k: v for k, v in told.items() if k != "file"}
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    assert [entry.shape for entry in session.get_inputs()] == [["batch", "length"]] * 3
    assert session.get_outputs()[0].shape == ["batch", 2]


def test_the_json_says_what_is_needed_and_shows_one_example(texts, pictures, tmp_path):
    told = texts.export("torch-export", out=tmp_path / "t.pt2")
    assert told["labels"] == ["negative", "positive"] and told["preprocessing_folder"] == "t.preprocessing"
    assert json.loads((tmp_path / "t.preprocessing/vocabulary.json").read_text())
    row = told["example"]
    assert row["prediction"] == texts.predict([row["text"]])[0]["prediction"] == told["labels"][int(np.argmax(row["outputs"]["logits"]))]
    seen = pictures.export("torch-export", out=tmp_path / "p.pt2")
    assert seen["preprocessing"] == [
        "upright, 8-bit RGB",
        "the short side to 32 pixels (bicubic), then the middle 32 x 32",
        "channels first, values 0 to 255: the model normalises them itself",
    ]
    assert "preprocessing_folder" not in seen


def test_pictures_of_another_size_can_be_asked_for(pictures, tmp_path):
    told = pictures.export("torch-export", out=tmp_path / "p.pt2", size=48)
    assert told["inputs"] == [{"name": "picture", "dtype": "uint8", "shape": ["batch", 3, 48, 48]}]
    assert told["settings"]["view"]["size"] == 48


# ---- what goes wrong ------------------------------------------------------------------------------------------------------


def test_a_file_that_computes_something_else_is_not_kept_and_exits_with_5(texts, tmp_path, monkeypatch, capsys):
    place = tmp_path / "m.pt2"
    texts.export("torch-export", out=place)
    right = trace.as_torch
    monkeypatch.setattr(trace, "as_torch", lambda *a: lambda batch: {k: v * 1.001 for k, v in right(*a)(batch).items()})
    assert cli.main(["export", str(texts.folder), "--to", "torch-export", "--out", str(place)]) == 5
    assert "outputs differ from the run's by 0.001 of the largest, more than 0.0001; not kept" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("ours", "theirs", "apart"),
    [
        ([1.0, -4.0], [1.0, -4.002], 0.0005),
        ([0.0, 0.0], [0.0, 0.25], 0.25),
        ([1.0, float("nan")], [1.0, float("nan")], 0.0),
        ([1.0, float("-inf")], [1.0, float("-inf")], 0.0),
        ([1.0, 2.0], [1.0, float("nan")], float("inf")),
        ([1.0, float("inf")], [1.0, 2.0], float("inf")),
        ([1.0, 2.0], [1.0], float("inf")),
    ],
)
def test_the_difference_is_a_share_of_the_largest_number_and_nothing_hides_it(ours, theirs, apart):
    found = exporting.compared([{"logits": torch.tensor(ours)}], [{"logits": torch.tensor(theirs)}])
    assert found[0]["logits"] == pytest.approx(apart, rel=1e-3)


def test_a_model_that_a_graph_cannot_say_is_one_line(tmp_path):
    done = made("robustness:tiny", tmp_path / "run", **{"task.model": "lstm"})
    with pytest.raises(PellucidError, match=r"the model lstm does what an exported program cannot \(") as caught:
        done.export("torch-export")
    assert "\n" not in str(caught.value) and not list((tmp_path / "run/export").iterdir())


def test_the_length_of_texts_is_free_even_where_all_compared_are_equally_long():
    tensors = [torch.zeros(1, 7), torch.zeros(4, 7)]
    assert trace.Names().free("tokens", tensors, along=True) == {0: "batch", 1: "length"}
    assert trace.Names().free("point", tensors) == {0: "batch"}


def test_what_was_never_read_is_no_input_and_what_is_no_tensor_is_refused(texts):
    class Reads(torch.nn.Module):
        def forward(self, batch):
            return {"value": batch["tokens"].float().sum(1), "words": batch.get("words")}

    batches = [texts.task.collate(texts._rows([text])) for text in ("a film", "a very long film")]
    assert list(trace.inputs(texts.task, texts.task.model, batches, trace.Names())) == list(TEXT)
    with pytest.raises(PellucidError, match="the model reads words, which is no tensor"):
        trace.inputs(texts.task, Reads(), batches, trace.Names())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"to": "tflite"}, "no export format 'tflite'; there are onnx, torch-export"),
        ({"to": "torch-export", "out": "model.onnx"}, "model.onnx: a file of torch-export ends in .pt2"),
        ({"to": "torch-export", "size": 64}, "--size 64: TextClassification sees no pictures"),
    ],
)
def test_what_cannot_be_asked_is_one_line(texts, asked, message):
    with pytest.raises(BadUsage, match=message):
        texts.export(**asked)


def test_a_missing_package_is_named_with_its_remedy(texts, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(BadUsage, match=r"needs the package onnxscript: pip install 'pellucid\[onnx\]', or say --to torch-export"):
        texts.export("onnx")


def test_examples_that_are_gone_may_be_replaced(tmp_path):
    done = made("robustness:tiny", tmp_path / "run")
    done.recipe = recipes.override(done.recipe, {"tests": {"home": Data(f"csv:{tmp_path}/gone.csv")}})
    with pytest.raises(BadData, match=r"gone.csv.*; --data names other examples"):
        done.export("torch-export")
    assert pathlib.Path(done.export("torch-export", data=Data("polarity:away"))["file"]).is_file()


# ---- the other way ----------------------------------------------------------------------------------------------------------


def test_a_published_pickle_of_tensors_becomes_safetensors(tmp_path, capsys):
    weights = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "w.pth")
    assert cli.main(["convert", str(tmp_path / "w.pth")]) == 0
    assert "w.safetensors: 2 tensors, names as they were" in capsys.readouterr().out
    assert checkpoint.same(checkpoint.load(tmp_path / "w.safetensors"), weights)
    assert cli.main(["convert", str(tmp_path / "w.pth")]) == 2
    assert cli.main(["convert", str(tmp_path / "gone.pth")]) == 3


def test_an_official_tresnet_is_converted_to_timms_names(tmp_path, capsys):
    from timm.models.tresnet import TResNet

    from pellucid.nn import tresnet

    state = TResNet(layers=[1, 1, 1, 1], num_classes=2, width_factor=0.25).state_dict()
    state = {k: v + 0.5 if k.endswith("bn.weight") else v for k, v in state.items()}  # fresh ones end in 0
    torch.save({"model": tresnet.to_official(state), "num_classes": 2}, tmp_path / "w.pth")
    assert cli.main(["convert", str(tmp_path / "w.pth"), "--out", str(tmp_path / "timm.safetensors")]) == 0
    assert "the official TResNet's names turned into timm's" in capsys.readouterr().out
    found = checkpoint.load(tmp_path / "timm.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.allclose(found[k].float(), v.float(), atol=1e-6) for k, v in state.items())


def test_a_pickle_that_would_run_something_is_refused_and_nothing_is_written(tmp_path, capsys):
    class Runs:
        def __reduce__(self):
            return pathlib.Path.mkdir, (tmp_path / "ran",)

    torch.save({"a": torch.ones(1), "b": Runs()}, tmp_path / "w.pth")
    assert cli.main(["convert", str(tmp_path / "w.pth")]) == 4
    assert "holds more than tensors, which could run code" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"w.pth"}
