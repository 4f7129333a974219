"""Attention clusters against the authors' class: outputs, attention, and every gradient of four shapes."""

import pytest
import torch
from safetensors.torch import load_file

from pellucid.tasks.video.clusters import AttentionCluster
from pellucid.tasks.video.names import ours
from pellucid.tasks.video.settings import Cluster

CASES = ("small", "flash", "one", "rgb")
THEIRS = {"weight": "attentions.weight", "bias": "attentions.bias", "scale": "w", "shift": "b"}


@pytest.fixture(scope="module")
def numbers(references):
    return load_file(references / "vision/attention_clusters/attention_clusters.safetensors")


def cluster(numbers, case):
    weights = {f"att.{name}": numbers[f"{case}_param_{name}"] for name in THEIRS.values()}
    units, width = numbers[f"{case}_param_attentions.weight"].shape[:2]
    head = {"fc.weight": torch.zeros(2, units * width), "fc.bias": torch.zeros(2)}
    found = ours({**weights, **head}, ["rgb"])
    model = AttentionCluster(width, Cluster(units))
    model.load_state_dict({name: found[f"clusters.rgb.{name}"] for name in THEIRS})
    return model


@pytest.mark.parametrize("case", CASES)
def test_the_authors_weights_give_the_authors_outputs_and_gradients(numbers, case):
    model, x = cluster(numbers, case), numbers[f"{case}_x"].clone().requires_grad_()
    y = model(x)
    (y * numbers[f"{case}_r"]).sum().backward()
    torch.testing.assert_close(model.weights(x), numbers[f"{case}_weights"], atol=1e-5, rtol=0)
    torch.testing.assert_close(y, numbers[f"{case}_y"], atol=1e-5, rtol=0)
    torch.testing.assert_close(x.grad, numbers[f"{case}_gx"], atol=1e-5, rtol=0)
    for name, theirs in THEIRS.items():
        found = model.get_parameter(name).grad
        torch.testing.assert_close(found, numbers[f"{case}_grad_{theirs}"].reshape(found.shape), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_set_of_equal_features_gives_the_authors_output(numbers, case):
    model, x = cluster(numbers, case), numbers[f"{case}_x"]
    there = numbers[f"{case}_const_y"]  # of a value that is not told; 0.7 lies where every unit has the sign that is there
    torch.testing.assert_close(model(torch.full((1, *x.shape[1:]), 0.7)), there, atol=1e-5, rtol=0)
