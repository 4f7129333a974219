"""TResNet against the names that its authors' class has and logits of the published small one."""

import json

import timm
import torch
from safetensors.torch import load_file
from timm.models.tresnet import TResNet

from pellucid import checkpoint
from pellucid.nn import tresnet
from pellucid.nn.backbone import backbone, load_weights


def test_every_official_name_and_shape_has_its_place_and_comes_back(references):
    names = json.loads((references / "vision/asl/official_tresnet_m_state_names.json").read_text())
    assert len(names) == len({name for name, _ in names}) == 434
    official = {name: torch.rand(shape) + 0.5 if shape else torch.tensor(0) for name, shape in names}
    with torch.device("meta"):
        expected = timm.create_model("tresnet_m", num_classes=80).state_dict()
    moved = tresnet.from_official(official)
    assert {k: tuple(v.shape) for k, v in moved.items()} == {k: tuple(v.shape) for k, v in expected.items()}
    assert list(tresnet.to_official(moved)) == list(official)
    assert (
        sum(v.numel() for k, v in expected.items() if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))) == 29_503_952
    )


def test_the_small_network_gives_the_published_logits_under_either_name(references):
    folder = references / "vision/asl"
    state, io = load_file(folder / "tresnet_small_timm_state.safetensors"), load_file(folder / "tresnet_small_timm_io.safetensors")
    assert io.keys() == {"x", "y"}, "a case that is not compared"
    model = TResNet(layers=[1, 1, 1, 1], num_classes=5, width_factor=0.25).eval()
    assert sum(p.numel() for p in model.parameters()) == 487_509
    for weights in (state, tresnet.to_official(state)):
        assert load_weights(model, weights, "x") == []
        with torch.no_grad():
            torch.testing.assert_close(model(io["x"]), io["y"], rtol=0, atol=1e-5)


def test_official_weights_of_another_head_leave_the_head_fresh(references, tmp_path):
    names = json.loads((references / "vision/asl/official_tresnet_m_state_names.json").read_text())
    checkpoint.save({name: torch.rand(shape) + 0.5 if shape else torch.tensor(0) for name, shape in names}, tmp_path / "m.safetensors")
    model = backbone("tresnet_m", 20, str(tmp_path / "m.safetensors"))
    assert model.left_fresh == ("head.fc.weight", "head.fc.bias")
    assert float(model.state_dict()["body.layer4.2.conv3.bn.weight"].min()) > 0.5
