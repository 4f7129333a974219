"""VTAMIQ against the published programs of 2021 and 2024 on random weights: outputs, tokens, gradients; five networks."""

import pytest
import torch
from safetensors.torch import load_file

from pellucid.tasks.quality.model import Vtamiq
from pellucid.tasks.quality.names import ours, theirs

CASES = ("head_default", "head_scales", "head_nocalib", "paper", "paper_diffemb")
HEADS = 4
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module", params=CASES)
def case(request, references):
    """The network with the program's weights, what it was shown and what it answered, and the gradients of the sum of squared answers."""
    folder = references / "vision" / "vtamiq"
    if not (folder / f"{request.param}_state.safetensors").is_file():
        pytest.skip(f"the references hold no {request.param}")
    weights, told, gradients = (load_file(folder / f"{request.param}_{kind}.safetensors") for kind in ("state", "io", "grads"))
    tensors, layout = ours(weights, HEADS)
    net = Vtamiq(layout.vit, layout.head)
    net.load_state_dict({name.removeprefix("net."): value for name, value in tensors.items()})
    return net.eval(), layout, told, gradients


def answer(net, told, reference, image):
    scales = told.get("scales", torch.zeros(told["pos"].shape[:2], dtype=torch.long)).long()
    first, second = net.classes([reference, image], told["pos"], scales)
    return net.error(first, second)


def test_the_error_is_the_published_one(case):
    net, _, told, _ = case
    torch.testing.assert_close(answer(net, told, told["patches_ref"], told["patches_dist"]), told["q"], **CLOSE)


def test_an_identical_pair_has_the_published_constant_whatever_it_shows(case):
    net, _, told, _ = case
    for patches in (told["patches_ref"], told["patches_dist"], torch.zeros_like(told["patches_ref"])):
        found = answer(net, told, patches, patches)
        assert (found == found[0]).all()
        torch.testing.assert_close(found, told["q_identical"], **CLOSE)


def test_every_token_is_the_published_one(case):
    net, _, told, _ = case
    scales = told.get("scales", torch.zeros(told["pos"].shape[:2], dtype=torch.long)).long()
    for side in ("ref", "dist"):
        found = net(told[f"patches_{side}"], told["pos"], scales, whole=True)
        if f"tokens_{side}" in told:  # the class token and the registers
            torch.testing.assert_close(found[:, : net.prefix], told[f"tokens_{side}"], **CLOSE)
        if f"cls_{side}" in told:
            torch.testing.assert_close(found[:, 0], told[f"cls_{side}"], **CLOSE)
        if f"encoded_{side}" in told:
            torch.testing.assert_close(found, told[f"encoded_{side}"], **CLOSE)
        torch.testing.assert_close(net(told[f"patches_{side}"], told["pos"], scales)[:, 0], found[:, 0], **CLOSE)


def test_the_gradients_of_pixels_and_of_every_weight_are_the_published_ones(case):
    net, layout, told, gradients = case
    reference, image = (told[f"patches_{side}"].clone().requires_grad_() for side in ("ref", "dist"))
    answer(net, told, reference, image).square().sum().backward()
    torch.testing.assert_close(reference.grad, told["grad_patches_ref"], **CLOSE)
    torch.testing.assert_close(image.grad, told["grad_patches_dist"], **CLOSE)
    found = theirs({name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in net.named_parameters()}, layout)
    for name, value in gradients.items():
        torch.testing.assert_close(found[name], value, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
    assert max(value.abs().max() for value in gradients.values()) > 1e-3


def test_patches_and_their_places_may_come_in_any_order(case):
    net, _, told, _ = case
    order = torch.randperm(told["pos"].shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = {key: value[:, order] for key, value in told.items() if key in ("pos", "scales")}
    found = answer(net, shuffled, told["patches_ref"][:, order], told["patches_dist"][:, order])
    torch.testing.assert_close(found, told["q"], **CLOSE)


def test_picture_and_reference_cannot_change_places(case):
    net, _, told, _ = case
    assert (answer(net, told, told["patches_dist"], told["patches_ref"]) - told["q"]).abs().max() > 1e-4
