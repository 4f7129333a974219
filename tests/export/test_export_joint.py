"""A network for boxes and a map leaves without what only teaches it, and what it tells can be read as the JSON says."""

import json

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms

from pellucid import cli, run
from pellucid.export import about
from pellucid.metrics.segmentation import unpack_map
from pellucid.nn.fusion import resized
from pellucid.recipe import Data
from untrained import made

NARROW = {"width": "16", "extra_channels": "32", "residual": "8", "squeeze": "4", "inner_widths": "[4, 8, 16]"}
OUTPUTS = {"class_logits", "offsets", "default_boxes", "map_logits"}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> run.Run:
    torch.manual_seed(0)
    return made("triplenet:tiny", tmp_path_factory.mktemp("joint") / "run", **{f"task.{name}": value for name, value in NARROW.items()})


@pytest.fixture(scope="module")
def exported(done, tmp_path_factory):
    """What the command line prints and the program that it wrote."""
    place = tmp_path_factory.mktemp("exported") / "m.pt2"
    assert cli.main(["export", str(done.folder), "--to", "torch-export", "--out", str(place)]) == 0
    return json.loads(place.with_suffix(".json").read_text()), torch.export.load(place)


@pytest.fixture(scope="module")
def batch(done) -> dict:
    return done.task.collate(done.prepared(Data("shapes:test?maps=yes&num=3&sizes=mixed")))


def test_the_program_tells_boxes_and_map_as_the_run_does_and_how_far_apart_they_are(done, exported, batch):
    told, program = exported
    assert {entry["name"] for entry in told["outputs"]} == OUTPUTS and [entry["name"] for entry in told["inputs"]] == ["picture"]
    assert told["parity"]["largest_relative"] <= told["parity"]["tolerance"] == 1e-4
    with torch.no_grad():
        torch.testing.assert_close(program.module()({"picture": batch["picture"]}), done.task.model.eval()(batch))


def test_heads_that_only_teach_are_not_in_the_graph(done, exported):
    weights = {name for node in exported[1].graph_signature.input_specs if node.target for name in [str(node.target)]}
    used = {node.name for node in exported[1].graph.nodes if node.op == "placeholder" and node.users}
    live = {str(one.target) for one in exported[1].graph_signature.input_specs if one.target and one.arg.name in used}
    assert any(".agnostic." in name for name, _ in done.task.model.named_parameters(prefix="model"))
    assert not any(".agnostic." in name for name in live)
    assert any(".heads.0.aware." in name for name in live) and live <= weights
    assert not any("nms" in str(node.target) for node in exported[1].graph.nodes)


def test_boxes_and_map_read_as_the_json_says_are_those_that_the_run_predicts(done, exported, batch):
    told, program = exported
    with torch.no_grad():
        output = program.module()({"picture": batch["picture"]})
        right = done.task.predict(done.task.model.eval()(batch), batch)
    assert "middle is the default box's + 0.1 x offset x its side, a side is its side x exp(0.2 x offset)" in " ".join(
        told["preprocessing"]
    )
    for i, (height, width) in enumerate(batch["size_hw"].tolist()):
        at, by = output["default_boxes"][i], output["offsets"][i]
        middle, side = at[:, :2] + 0.1 * by[:, :2] * at[:, 2:], at[:, 2:] * (0.2 * by[:, 2:]).exp()
        boxes = torch.cat([middle - side / 2, middle + side / 2], -1).clamp(0, 1)
        probs = output["class_logits"][i].softmax(-1)[:, 1:]
        surest = batched_nms(boxes, probs.amax(-1), probs.argmax(-1), 0.45)[0]
        assert right[i]["default_boxes"][0] == surest
        pixels = boxes[surest] * torch.tensor([width, height, width, height])
        assert right[i]["boxes_xyxy"][0] == pytest.approx(pixels.tolist(), abs=1e-3)
        large = resized(resized(output["map_logits"][i : i + 1], (96, 96), False), (height, width), False)
        assert (unpack_map(right[i]["map"]) == large[0].argmax(0).numpy()).mean() > 0.999


def test_onnx_gives_the_same_for_another_number_of_pictures_in_another_engine(done, batch, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    told = done.export("onnx", out=tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    names = [entry["name"] for entry in told["outputs"]]
    found = dict(zip(names, session.run(names, {"picture": batch["picture"].contiguous().numpy()}), strict=True))
    with torch.no_grad():
        right = done.task.model.eval()(batch)
    assert found.keys() == OUTPUTS
    for name, value in found.items():
        assert value.shape[0] == 3
        np.testing.assert_allclose(value, right[name].numpy(), rtol=1e-3, atol=1e-4 * float(right[name].abs().max()))


def test_the_json_shows_its_example_s_numbers_but_not_those_of_thousands_of_boxes(exported):
    told, _ = exported
    assert set(told["example"]["outputs"]) == OUTPUTS and told["example"]["prediction"]["map"]["size"]
    large = {"class_logits": torch.zeros(2, 11_658, 21), "map_logits": torch.zeros(2, 4, 38, 38)}
    assert set(about.shown(large)) == {"map_logits"}
