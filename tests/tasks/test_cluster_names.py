"""Published attention clusters under our names: the same numbers come out as of the programs they were trained by, restated here."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import BadData
from pellucid.tasks.video.model import VideoNetwork
from pellucid.tasks.video.names import ours
from pellucid.tasks.video.settings import Cluster


def drawn(shapes: dict[str, tuple[int, ...]], device: str = "cpu") -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {key: torch.randn(shape, device=device) for key, shape in shapes.items()}


def authors(units: int, width: int, classes: int) -> dict[str, Tensor]:
    cluster = {"att.w": (units,), "att.b": (units,), "att.attentions.weight": (units, width, 1), "att.attentions.bias": (units,)}
    return drawn({**cluster, "fc.weight": (classes, units * width), "fc.bias": (classes,)})


def baidus(sizes: list[tuple[int, int]], inner: tuple[int, int], classes: int, device: str = "cpu") -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (units, width) in enumerate(sizes):
        shapes |= {f"satt{i}.conv.weight": (units, width, 1, 1), f"satt{i}.conv.bias": (units,)}
        shapes |= {f"satt{i}.shift_w": (units,), f"satt{i}.shift_b": (units,)}
    into = sum(units * width for units, width in sizes)
    for name, out in zip(("fc1", "fc2", "logistic"), (*inner, classes), strict=True):
        shapes |= {f"{name}.weights": (into, out), f"{name}.bias": (out,)}
        into = out
    return drawn(shapes, device)


def one_by_one(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The published form: a convolution of width 1, then each unit by itself."""
    scores = F.conv1d(x.transpose(1, 2), weight.reshape(len(weight), -1, 1), bias).softmax(2)  # b u n
    sums = []
    for k in range(len(weight)):
        v = (scores[:, k : k + 1] @ x)[:, 0] * scale[k] + shift[k]
        sums.append(v / v.norm(dim=1, keepdim=True) / math.sqrt(len(weight)))
    return torch.cat(sums, 1)


def network(sizes: dict[str, tuple[int, int]], head: tuple[int, ...], classes: int) -> nn.Module:
    clusters = {name: Cluster(units=units) for name, (units, _) in sizes.items()}
    return VideoNetwork({}, {name: width for name, (_, width) in sizes.items()}, clusters, classes, head).eval()


def test_weights_of_the_authors_give_their_log_probabilities():
    given, x = authors(4, 5, 3), torch.randn(2, 7, 5)
    model = network({"rgb": (4, 5)}, (), 3)
    model.load_state_dict(ours(given, ["rgb"]))
    cluster = one_by_one(x, *(given[f"att.{name}"] for name in ("attentions.weight", "attentions.bias", "w", "b")))
    expected = F.linear(cluster, given["fc.weight"], given["fc.bias"]).log_softmax(1)
    found = model({"rgb": x, "rgb_present": torch.ones(2, 7, dtype=torch.bool)})["logits"].log_softmax(1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_weights_of_baidus_program_give_its_logits_whatever_order_the_file_has():
    sizes = {"rgb": (3, 6), "audio": (2, 4)}
    given = baidus(list(sizes.values()), (8, 7), 5)
    features = {"rgb": torch.randn(2, 9, 6), "audio": torch.randn(2, 9, 4)}
    model = network(sizes, (8, 7), 5)
    model.load_state_dict(ours(dict(reversed(given.items())), list(sizes)))
    parts = ("conv.weight", "conv.bias", "shift_w", "shift_b")
    hidden = torch.cat([one_by_one(x, *(given[f"satt{i}.{part}"] for part in parts)) for i, x in enumerate(features.values())], 1)
    for name in ("fc1", "fc2"):
        hidden = (hidden @ given[f"{name}.weights"] + given[f"{name}.bias"]).tanh()
    expected = hidden @ given["logistic.weights"] + given["logistic.bias"]
    present = {f"{name}_present": torch.ones(2, 9, dtype=torch.bool) for name in features}
    torch.testing.assert_close(model({**features, **present})["logits"], expected, atol=1e-5, rtol=0)


def test_the_number_of_parameters_is_that_of_both_programs():
    paddle = baidus([(32, 1024), (32, 128)], (1024, 4096), 3862, device="meta")
    assert sum(value.numel() for value in ours(paddle, ["rgb", "audio"]).values()) == 57_807_830
    assert sum(value.numel() for value in ours(authors(10, 50, 1024), ["rgb"]).values()) == 513_554


def test_a_network_trained_on_several_devices_is_the_same():
    given = authors(2, 3, 4)
    wrapped = {f"module.{key}": value for key, value in given.items()}
    plain = ours(given, ["rgb"])
    assert all(torch.equal(value, plain[key]) for key, value in ours(wrapped, ["rgb"]).items())


def test_our_own_names_are_not_published_ones():
    own = network({"rgb": (2, 3)}, (), 4).state_dict()
    with pytest.raises(BadData, match=r"no published attention clusters \(att.attentions.weight .* the keys are clusters.rgb.weight"):
        ours(own, ["rgb"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("satt1.shift_w"), "missing: satt1.shift_w"),
        (lambda t: t.pop("satt1.conv.weight"), "missing: satt1.conv.weight"),
        (lambda t: t.update({"fc3.weights": torch.zeros(1, 1)}), "unknown: fc3.weights"),
        (lambda t: t.update({"satt1.shift_b": torch.zeros(3)}), r"other shape: satt1.shift_b \(3,\), expected \(2,\)"),
        (lambda t: t.update({"fc2.weights": torch.zeros(9, 7)}), r"other shape: fc2.weights \(9, 7\), expected \(8, 7\)"),
        (lambda t: t.update({"logistic.bias": torch.zeros(4)}), r"other shape: logistic.bias \(4,\), expected \(5,\)"),
    ],
)
def test_a_key_that_does_not_fit_is_named(spoil, message):
    given = baidus([(3, 6), (2, 4)], (8, 7), 5)
    spoil(given)
    with pytest.raises(BadData, match=message):
        ours(given, ["rgb", "audio"])


def test_a_file_of_two_modalities_is_none_of_three():
    with pytest.raises(BadData, match="2 clusters, here are 3: rgb, flow, audio"):
        ours(baidus([(3, 6), (2, 4)], (8, 7), 5), ["rgb", "flow", "audio"])
