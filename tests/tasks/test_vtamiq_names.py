"""VTAMIQ's weights under published names: each has its place, what is left over is named, and a checkpoint's file comes through whole."""

import numpy as np
import pytest
import torch

from pellucid import checkpoint, cli
from pellucid.errors import BadData
from pellucid.tasks.quality.model import Vtamiq
from pellucid.tasks.quality.names import Layout, is_published, ours, theirs
from pellucid.tasks.quality.settings import HeadShape, VitShape

PAPER = Layout(
    "2021",
    VitShape(32, 1, 48, 2, 8, 3, registers=0, layer_scale=False, legacy=True),
    HeadShape(3, 2, 4, scale=False, gate="prelu"),
    "diff_net",
)
V2 = Layout("2024", VitShape(32, 1, 48, 2, 8, 3, registers=2, scales=3), HeadShape(2, 3, 8), "quality_decoder")
EMBEDDED = Layout("2021", PAPER.vit, HeadShape(2, 3, 4, scale=False, gate="prelu", embedding=True), "calibration_diff")
ADAPTED = Layout("2024", VitShape(32, 1, 48, 1, 8, 3, registers=0, layer_scale=False, adapters=True), HeadShape(0), "quality_decoder")
SCALES = Layout(
    "2022",
    VitShape(32, 1, 48, 2, 8, 3, registers=0, scales=5, layer_scale=False),
    HeadShape(1, 1, 4, scale=False, gate="prelu"),
    "diff_net",
)


def weights(layout: Layout) -> checkpoint.Tensors:
    return {key: torch.rand_like(value) for key, value in Vtamiq(layout.vit, layout.head).state_dict().items()}


def published(layout: Layout) -> checkpoint.Tensors:
    return theirs(weights(layout), layout)


@pytest.mark.parametrize("layout", [PAPER, V2, EMBEDDED, ADAPTED], ids=["2021", "2024", "embedding", "adapters"])
def test_a_file_tells_its_network_and_comes_back_to_the_last_bit(layout):
    file = published(layout)
    found, told = ours(file)
    assert told == layout
    Vtamiq(told.vit, told.head).load_state_dict(found)
    assert checkpoint.same(theirs({f"net.{key}": value for key, value in found.items()}, told), file)


def test_rows_of_queries_keys_and_values_lie_in_this_order():
    file = published(PAPER)
    place = "transformer.encoder.layer.1.attn"
    assert torch.equal(
        ours(file)[0]["blocks.1.attention.qkv.bias"], torch.cat([file[f"{place}.{part}.bias"] for part in ("query", "key", "value")])
    )


def test_the_class_token_of_2022_takes_the_first_row_of_the_table_of_scales():
    file = published(SCALES)
    found, told = ours(file)
    assert told == SCALES
    table = file["transformer.embeddings.scale_embeddings.scale_embeddings"]
    assert torch.equal(found["cls"], file["transformer.embeddings.cls_token"] + table[:, :1])
    back = theirs(found, told)
    assert back.keys() == file.keys()
    for key, value in file.items():
        torch.testing.assert_close(back[key], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.update(surprise=torch.zeros(1)), "unknown: surprise"),
        (lambda t: t.update({"diff_net.0.body.9.weight": torch.zeros(1)}), "unknown: diff_net.0.body.9.weight"),
        (
            lambda t: t.update({"calibration_diff.0.body.0.body.1.weight": torch.zeros(1)}),
            "unknown: calibration_diff.0.body.0.body.1.weight",
        ),
        (lambda t: t.pop("diff_net.1.body.0.body.4.conv_du.1.weight"), "missing: diff_net.1.body.0.body.4.conv_du.1.weight"),
        (lambda t: t.update({"q_predictor.4.bias": torch.zeros(2)}), r"other shape: q_predictor.4.bias \(2,\), expected \(1,\)"),
        (lambda t: t.pop("transformer.embeddings.cls_token"), "no weights of a VTAMIQ: transformer.embeddings.cls_token is not there"),
    ],
)
def test_a_key_without_a_place_is_named(spoil, message):
    file = published(PAPER)
    spoil(file)
    with pytest.raises(BadData, match=message):
        ours(file)


def test_a_checkpoint_as_it_was_saved_in_training_is_converted_and_read(tmp_path):
    file = published(V2)
    wrapped = {f"module.{key}": value for key, value in file.items()}
    beside = {
        "epoch": 3,
        "SROCC": 0.9,
        "test_accuracy": np.float64(0.9),
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-4}]},
    }
    torch.save({"model_state_dict": wrapped, **beside}, tmp_path / "best.pth")
    assert cli.main(["convert", str(tmp_path / "best.pth")]) == 0
    found = checkpoint.load(tmp_path / "best.safetensors")
    assert checkpoint.same(found, file) and is_published(found) and is_published(wrapped)
    assert checkpoint.same(ours(found)[0], ours(wrapped)[0])
    assert not is_published(ours(found)[0])
