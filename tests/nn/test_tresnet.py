"""The authors' TResNet weights and timm's are the same network under other names."""

import pytest
import torch
from timm.models.tresnet import TResNet

from pellucid.errors import BadData
from pellucid.nn import tresnet


def small() -> torch.nn.Module:
    model = TResNet(layers=[1, 1, 1, 1], num_classes=3, width_factor=0.25)
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.running_mean, -0.5, 0.5)
    return model.eval()


def test_there_and_back_is_the_same_network():
    state = small().state_dict()
    official = tresnet.to_official(state)
    assert tresnet.is_official(official) and not tresnet.is_official(state)
    back = tresnet.from_official(official)
    assert list(back) == list(state)
    for key, value in state.items():
        torch.testing.assert_close(back[key], value, rtol=1e-6, atol=1e-9)


def test_an_in_place_norm_scales_by_the_size_of_its_weight():
    model = small()
    pictures = torch.rand(2, 3, 64, 64)
    before = model(pictures)
    official = tresnet.to_official(model.state_dict())
    norms = [key for key in official if key.endswith(".weight") and official[key].ndim == 1]
    flipped = official | {key: -official[key] for key in norms[::2]}
    model.load_state_dict(tresnet.from_official(flipped))
    torch.testing.assert_close(model(pictures), before)


@pytest.mark.parametrize(
    ("timm_key", "official"),
    [
        ("body.conv1.conv.weight", "body.conv1.0.weight"),
        ("body.layer1.0.conv1.bn.bias", "body.layer1.0.conv1.1.bias"),
        ("body.layer2.0.conv1.conv.weight", "body.layer2.0.conv1.0.0.weight"),
        ("body.layer2.0.conv2.bn.weight", "body.layer2.0.conv2.1.weight"),
        ("body.layer3.0.conv2.bn.running_var", "body.layer3.0.conv2.0.1.running_var"),
        ("body.layer3.0.conv3.conv.weight", "body.layer3.0.conv3.0.weight"),
        ("body.layer3.0.downsample.1.bn.bias", "body.layer3.0.downsample.1.1.bias"),
        ("body.layer3.0.se.fc1.weight", "body.layer3.0.se.fc1.weight"),
        ("head.fc.bias", "head.fc.bias"),
    ],
)
def test_a_strided_convolution_stands_one_deeper(timm_key, official):
    state = small().state_dict()
    assert dict(zip(state, tresnet.to_official(state), strict=True))[timm_key] == official


def test_a_norm_that_an_in_place_one_cannot_be_is_refused():
    state = small().state_dict()
    state["body.conv1.bn.weight"][0] = -0.5
    with pytest.raises(BadData, match=r"body.conv1.bn.weight is as low as -0.5; an in-place norm has no weight below 1e-05"):
        tresnet.to_official(state)
