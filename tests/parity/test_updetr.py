"""UP-DETR's pre-training network and losses against the official modules with the same weights."""

import json
from types import SimpleNamespace

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file

from pellucid.losses.features import feature_loss
from pellucid.losses.matching import match
from pellucid.losses.set_prediction import Truth, named, set_losses
from pellucid.nn.detr import Shape, layers_of
from pellucid.nn.detr_names import from_official, to_official
from pellucid.nn.patch_detr import PatchDetr, Patches, Told
from pellucid.nn.resnet import ResNet

NEAR = {"rtol": 1e-4, "atol": 1e-4}
HEADS = {"logits": "pred_logits", "boxes_cxcywh": "pred_boxes", "features": "pred_feature"}


def folders(references):
    found = [f for f in sorted((references / "detection").iterdir()) if f.name.startswith("updetr") and (f / "config.json").is_file()]
    assert found, "no case of UP-DETR among the references"
    return found


def case_of(folder):
    """Everything of one case: the network with the official weights, what went in, what came out."""
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(
        num_classes=config["num_classes"],
        num_queries=config["num_queries"],
        width=config["hidden_dim"],
        num_heads=config["nheads"],
        encoder_layers=config["enc_layers"],
        decoder_layers=config["dec_layers"],
        feedforward=config["dim_feedforward"],
        dropout=0.0,
        pre_norm=config["pre_norm"],
    )
    backbone = ResNet((1, 1, 1, 2), (8, 16, 32, 64), 8)
    backbone.freeze(all_of_it=config["freeze_cnn"])
    net = PatchDetr(backbone, shape, Patches(config["num_patches"], config["feature_recon"]), mask_padding=False)
    weights = load_file(folder / "weights.safetensors")
    net.load_state_dict(from_official(weights), strict=True)
    inputs = load_file(folder / "inputs.safetensors")
    present = inputs["mask"] == 0
    image = inputs["padded"] * rearrange(present, "b h w -> b 1 h w")
    truth = Truth(*([inputs[f"target{i}.{name}"] for i in range(len(image))] for name in ("labels", "boxes")))
    told = Told(keep=rearrange(inputs["query_patch_keep"], "q b 1 -> b q") != 0)
    expected, numbers = load_file(folder / "outputs.safetensors"), json.loads((folder / "losses.json").read_text())
    return SimpleNamespace(
        folder=folder,
        net=net,
        weights=weights,
        inputs=inputs,
        image=image,
        present=present,
        truth=truth,
        told=told,
        expected=expected,
        numbers=numbers,
    )


@pytest.fixture(scope="module")
def cases(references):
    return [case_of(folder) for folder in folders(references)]


def test_the_names_go_there_and_back(cases):
    for case in cases:
        again = to_official(from_official(case.weights))
        assert again.keys() == case.weights.keys() and all(torch.equal(again[k], v) for k, v in case.weights.items())


def test_measuring_gives_the_official_numbers_with_all_patches_and_with_one(cases):
    for case in cases:
        case.net.eval()
        with torch.no_grad():
            runs = {
                "eval": case.net(case.image, case.present, case.inputs["patches"]),
                "eval_one_patch": case.net(case.image, case.present, case.inputs["patches"][:, :1]),
            }
        compared = compare(case, runs)
        assert compared == {name for name in case.expected if not name.startswith("train.")}, "numbers that were not compared"


def test_training_with_the_same_patches_dropped_gives_the_official_numbers(cases):
    for case in cases:
        case.net.train()
        told = case.net(case.image, case.present, case.inputs["patches"], case.told)
        compared = compare(case, {"train": told})
        states = case.net.decoder(
            case.net.told_positions(case.net.patch_features(case.inputs["patches"]), case.told),
            case.net.see(case.image, case.present).memory,
            case.net.among(case.inputs["patches"].shape[1]),
        )
        torch.testing.assert_close(rearrange(states, "l b q d -> l q b d"), case.expected["train.decoder_hs"], **NEAR)
        assert compared | {"train.decoder_hs"} == {name for name in case.expected if name.startswith("train.")}


def compare(case, runs):
    """The names of the official numbers that the runs were found equal to."""
    compared = set()
    for run, told in runs.items():
        if f"{run}.gt_feature" in case.expected:
            compared.add(f"{run}.gt_feature")
            features = rearrange(told["patch_features"], "b p e -> (b p) e")
            torch.testing.assert_close(features, case.expected[f"{run}.gt_feature"], **NEAR)
        for ours, theirs in HEADS.items():
            *first, last = layers_of(told, ours) if ours in told else [None]
            named = {f"{run}.{theirs}": last} | {f"{run}.aux{i}.{theirs}": value for i, value in enumerate(first)}
            for name in named.keys() & case.expected.keys():
                compared.add(name)
                torch.testing.assert_close(named[name], case.expected[name], **NEAR)
    return compared


def test_losses_matches_and_gradients_are_the_official_ones(cases):
    for case in cases:
        case.net.train().zero_grad()
        told = case.net(case.image, case.present, case.inputs["patches"], case.told)
        logits, boxes = layers_of(told, "logits"), layers_of(told, "boxes_cxcywh")
        matches = match(logits, boxes, case.truth.classes, case.truth.boxes)
        losses = set_losses(logits, boxes, case.truth, matches)
        if "features" in told:
            losses["feature"] = feature_loss(layers_of(told, "features"), list(told["patch_features"]), case.truth, matches)
        found, weights = named(losses), case.numbers["weights"]
        weighted = {name: value * weights[name] for name, value in case.numbers["losses"].items() if name in weights}
        assert {f"loss_{name}": value.item() for name, value in found.items()} == pytest.approx(weighted, rel=1e-4, abs=1e-4)
        total = torch.stack(list(found.values())).sum()
        assert total.item() == pytest.approx(case.numbers["total"], rel=1e-5)
        last = matches.layer == len(logits) - 1
        for i, pairs in enumerate(case.numbers["matching_last"]):
            here = last & (matches.example == i)
            assert [matches.query[here].tolist(), matches.target[here].tolist()] == pairs
        total.backward()
        trainable = {name: p for name, p in case.net.named_parameters() if p.requires_grad}
        norms = to_official({name: p.grad.norm() for name, p in trainable.items()})
        assert {name: norm.item() for name, norm in norms.items()} == pytest.approx(case.numbers["grad_norms"], rel=1e-4, abs=1e-4)


def test_parameters_are_as_many_as_the_official_ones(cases):
    for case in cases:
        count = case.numbers["count"]
        assert sum(p.numel() for p in case.net.parameters()) == count["parameters"]
        assert sum(p.numel() for p in case.net.parameters() if p.requires_grad) == count["trainable"]
        assert sum(v.numel() for v in case.net.state_dict().values()) == count["state_dict_elements"]
