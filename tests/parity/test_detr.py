"""DETR against numbers of the original program: every stage, losses, gradients, matches, post-processing and six steps of training.

Every folder of the reference with a DETR's config is a case; each test takes its keys out of the whole set and the last holds that none
is left over.
"""

import json
import os
import pathlib
import re
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pellucid.data.polygons import to_codes
from pellucid.losses.masks import covered, mask_losses, shown_masks
from pellucid.losses.matching import match
from pellucid.losses.set_prediction import Truth, Weights, named, set_losses
from pellucid.nn.detr import Detr, Shape, layers_of, queries_attention
from pellucid.nn.detr_names import from_official
from pellucid.nn.resnet import ResNet, reduced, resnet
from pellucid.recipe import Optim
from pellucid.tasks.detection.masks import panoptic
from pellucid.tasks.detection.model import DetectionModel
from pellucid.tasks.detection.settings import DetectionSettings
from pellucid.tasks.detection.task import Detection
from pellucid.train.optim import optimizer

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
PLACE = pathlib.Path(os.environ.get("PELLUCID_REFERENCE", pathlib.Path(__file__).parents[3] / "shared" / "reference")) / "detection"


def configured(folder: pathlib.Path) -> dict:
    file = folder / "config.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def is_detr(config: dict) -> bool:
    return {"num_queries", "num_classes", "enc_layers"} <= config.keys() and not {"num_patches", "text_encoder"} & config.keys()


CASES = sorted(p.name for p in PLACE.iterdir() if is_detr(configured(p))) if PLACE.is_dir() else []
# which test compares a key of the outputs or of the losses
CLAIMED = {
    r"pred_(logits|boxes)|aux\d+\.pred_(logits|boxes)|backbone\d+|input_proj|encoder_memory|decoder_hs": "stages",
    r"pos\d+|backbone_mask\d+|bbox_attention|pred_masks": "stages",
    r"post\d+\.(labels|scores|boxes|masks)": "post",
    r"panoptic\d+(\.ids)?": "panoptic",
    r"losses|weights|total|empty_second_image|both_empty": "losses",
    r"grad_norms": "gradients",
    r"matching_(last|aux)": "matching",
    r"train_float64": "training",
    r"count": "count",
    r"max_abs_f32_vs_f64": "stages",  # how far the original is from itself
}


@dataclass
class Case:
    """One folder of the reference."""

    config: dict
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    losses: dict
    net: Detr

    @property
    def present(self) -> Tensor:
        return self.inputs["mask"] == 0

    @property
    def truth(self) -> Truth:
        return Truth(*([self.inputs[f"target{i}.{key}"] for i in range(len(self.inputs["mask"]))] for key in ("labels", "boxes")))

    def run(self) -> dict[str, Tensor]:
        return self.net(self.inputs["padded"].to(self.net.queries.weight), self.present)

    def loss(self, told: dict[str, Tensor], truth: Truth) -> dict[str, Tensor]:
        """Unweighted, under the original's names."""
        logits, boxes = layers_of(told, "logits"), layers_of(told, "boxes_cxcywh")
        matches = match(logits, boxes, truth.classes, truth.boxes)
        parts = named(set_losses(logits, boxes, truth, matches, Weights(1, 1, 1)))
        if "mask_logits" in told and "target0.masks" in self.inputs:
            last = matches.of_layer(len(logits) - 1)
            pairs = zip(last.example.tolist(), last.target.tolist(), strict=True)
            masks = [self.inputs[f"target{i}.masks"][j].bool() for i, j in pairs]
            size = tuple(self.inputs["mask"].shape[1:])
            parts |= mask_losses(told["mask_logits"][last.example, last.query], masks, size, truth.num, alone=False)
        return {f"loss_{name}": value for name, value in parts.items()} | errors(told, truth, matches)


def errors(told, truth, matches):
    """What the original only logs: missed classes among the matched, in %, and how far the number of found objects is off."""
    found = {}
    logits = layers_of(told, "logits")
    num = torch.tensor([len(c) for c in truth.classes], dtype=logits.dtype)
    for i, layer in enumerate(logits):
        there = (layer.argmax(-1) != layer.shape[-1] - 1).sum(1)
        found["cardinality_error" + (f"_{i}" if i + 1 < len(logits) else "")] = (there - num).abs().mean()
    last = matches.of_layer(len(logits) - 1)
    right = logits[-1][last.example, last.query].argmax(-1) == truth.matched(truth.classes, last)
    return found | {"class_error": 100 - 100 * right.double().mean() if len(right) else torch.tensor(100.0)}


def backbone_of(config: dict) -> ResNet:
    text = config.get("backbone", "stem 8, planes (8,16,32,64), blocks per stage (1,1,1,2)")
    dilate = bool(config.get("dilation"))
    if not re.search(r"planes \(", text):
        return resnet(text, dilate)
    stem = int(re.search(r"stem (\d+)", text)[1])
    planes, blocks = (
        [int(n) for n in re.search(pattern, text)[1].split(",")] for pattern in (r"planes \(([\d, ]+)\)", r"stage \(([\d, ]+)\)")
    )
    return ResNet(blocks, planes, stem, bottleneck="Basic" not in text, norm="group" if "GroupNorm" in text else "frozen", dilate=dilate)


def shape_of(config: dict) -> Shape:
    return Shape(
        config["num_classes"],
        config["num_queries"],
        config["hidden_dim"],
        config["nheads"],
        config["enc_layers"],
        config["dec_layers"],
        config["dim_feedforward"],
        config.get("dropout", 0.0),
        bool(config.get("pre_norm")),
        config.get("position_embedding", "sine"),
    )


@pytest.fixture(params=CASES)
def case(request, references):
    folder = references / "detection" / request.param
    config = configured(folder)
    softmax = config.get("mask_softmax", "joint")
    net = Detr(backbone_of(config), shape_of(config), mask_padding=False, masks=softmax if config.get("masks") else "")
    net.load_state_dict(from_official(load_file(folder / "weights.safetensors")))
    net.backbone.freeze()
    inputs, outputs = (load_file(folder / f"{part}.safetensors") for part in ("inputs", "outputs"))
    return Case(config, inputs, outputs, json.loads((folder / "losses.json").read_text()), net.eval())


def test_there_are_cases(references):
    assert CASES
    assert {p.name for p in (references / "detection").iterdir() if is_detr(configured(p))} == set(CASES)


def test_every_stage_gives_what_the_original_gives(case):
    wanted = case.outputs
    with torch.no_grad():
        told, seen = case.run(), case.net.see(case.inputs["padded"], case.present)
        states = case.net.decoder(case.net.query_positions(len(case.present)), seen.memory)
    layers = len(states)
    found = {"pred_logits": told["logits"], "pred_boxes": told["boxes_cxcywh"], "input_proj": seen.projected}
    for i in range(layers - 1):
        found |= {f"aux{i}.pred_logits": told["aux_logits"][:, i], f"aux{i}.pred_boxes": told["aux_boxes_cxcywh"][:, i]}
    found |= {"encoder_memory": seen.memory.values.transpose(0, 1), "decoder_hs": states.transpose(1, 2)}
    maps = seen.maps if "backbone1" in wanted else seen.maps[-1:]
    for i, one in enumerate(maps):
        cells = reduced(case.present, one)
        found |= {f"backbone{i}": one, f"pos{i}": case.net.position(cells), f"backbone_mask{i}": (~cells).to(torch.uint8)}
    if case.net.mask_head is not None:
        found["pred_masks"] = told["mask_logits"]
        found["bbox_attention"] = case.net.mask_head.attention(states[-1], seen.encoded, seen.cells)
    for key in keys_of("stages", wanted):
        value = found[key]
        # of the decoder's layers a file may hold the last alone, and the queries before the examples
        if key == "decoder_hs":
            value = value if value.ndim == wanted[key].ndim and value.shape == wanted[key].shape else states.reshape(wanted[key].shape)
        torch.testing.assert_close(value, wanted[key], **CLOSE)


def test_all_losses_are_the_originals(case):
    told = case.run()
    empty = [torch.zeros(0, dtype=torch.long), torch.zeros(0, 4)]
    truth = case.truth
    sets = {"losses": truth}
    if "empty_second_image" in case.losses:
        sets["empty_second_image"] = Truth([truth.classes[0], empty[0]], [truth.boxes[0], empty[1]])
        sets["both_empty"] = Truth([empty[0]] * 2, [empty[1]] * 2)
    for name, objects in sets.items():
        found = case.loss(told, objects)
        assert found.keys() == case.losses[name].keys()
        for key, value in case.losses[name].items():
            assert float(found[key]) == pytest.approx(value, rel=1e-4, abs=1e-4), f"{name} {key}"
    found = case.loss(told, truth)
    weights = case.losses["weights"]
    total = sum(float(found[key]) * weights[key] for key in weights if key in found)
    assert total == pytest.approx(case.losses["total"], rel=1e-4)


def total(case):
    found = case.loss(case.run(), case.truth)
    return torch.stack([found[key] * weight for key, weight in case.losses["weights"].items() if key in found]).sum()


def test_every_parameter_gets_the_originals_gradient(case):
    total(case).backward()
    sizes = {key: torch.tensor(value, dtype=torch.double) for key, value in case.losses["grad_norms"].items()}
    wanted = {key: float(value) for key, value in from_official(sizes).items()}
    found = {name: float(p.grad.norm()) for name, p in case.net.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    for name, norm in wanted.items():
        assert found[name] == pytest.approx(norm, rel=1e-4, abs=1e-4), name


def test_queries_are_matched_as_the_original_matches_them(case):
    told, truth = case.run(), case.truth
    logits, boxes = layers_of(told, "logits"), layers_of(told, "boxes_cxcywh")
    matches = match(logits, boxes, truth.classes, truth.boxes)
    wanted = [*case.losses.get("matching_aux", []), case.losses["matching_last"]]
    if "matching_aux" not in case.losses:
        logits = logits[-1:]
        matches = matches.of_layer(len(boxes) - 1)
    for i, layer in enumerate(wanted):
        of_layer = matches.of_layer(i) if "matching_aux" in case.losses else matches
        for j, (queries, objects) in enumerate(layer):
            rows = of_layer.example == j
            assert (of_layer.query[rows].tolist(), of_layer.target[rows].tolist()) == (queries, objects)


def test_six_steps_of_training_give_the_originals_losses(case):
    if "train_float64" not in case.losses:
        pytest.skip("this case has no training")
    wanted = case.losses["train_float64"]
    model = case.net.double().train()
    case.inputs = {k: v.double() if v.is_floating_point() else v for k, v in case.inputs.items()}
    optim = Optim("adamw", 1e-4, 1e-4, no_decay_1d=False, lr_scale={"backbone.": 0.1}, clip_norm=0.1)
    stepper = optimizer(model, optim)
    for loss, norm in zip(wanted["total_loss_before_each_step"], wanted["grad_norm_before_clip"], strict=True):
        value = total(case)
        assert float(value) == pytest.approx(loss, rel=1e-6)
        stepper.zero_grad()
        value.backward()
        assert float(torch.nn.utils.clip_grad_norm_(model.parameters(), optim.clip_norm)) == pytest.approx(norm, rel=1e-4)
        stepper.step()


def batch_of(case):
    """What the task's predictions need; pictures are stored at twice the size that the model saw, where the reference says so."""
    factor = 2 if any("post" in key for key in case.outputs) else 1
    sizes = [case.inputs[f"image{i}"].shape[1:] for i in range(len(case.present))]
    return {"pixel_present": case.present, "size_hw": torch.tensor([[factor * h, factor * w] for h, w in sizes])}


def test_boxes_and_masks_of_the_picture_are_the_originals(case):
    with torch.no_grad():
        told = case.run()
    labels = [str(i) for i in range(case.config["num_classes"])]
    task = Detection(DetectionModel(case.net, (0.5,) * 3, (0.5,) * 3), labels, DetectionSettings(num_queries=case.config["num_queries"]))
    batch = batch_of(case)
    predictions = task.predict(told, batch)
    for i, made in enumerate(predictions):
        rows = torch.tensor(made["queries"]).argsort()
        wanted = {key: case.outputs[f"post{i}.{key}"] for key in ("scores", "labels", "boxes")}
        torch.testing.assert_close(torch.tensor(made["scores"])[rows], wanted["scores"], **CLOSE)
        torch.testing.assert_close(torch.tensor(made["boxes_xyxy"])[rows], wanted["boxes"], rtol=1e-4, atol=1e-2)
        assert [int(made["labels"][j]) for j in rows] == wanted["labels"].tolist()
        if f"post{i}.masks" in case.outputs:
            codes = to_codes(covered(told["mask_logits"][i], batch, i, torch.arange(len(rows)), alone=False))
            assert (decoded(codes) == case.outputs[f"post{i}.masks"][:, 0].numpy()).mean() > 0.9999


def decoded(codes):
    from pycocotools import mask

    return mask.decode([{**code, "counts": code["counts"].encode()} for code in codes]).transpose(2, 0, 1)


def test_panoptic_maps_are_the_originals(case):
    if "panoptic0" not in case.losses:
        pytest.skip("this case has no panoptic map")
    with torch.no_grad():
        told = case.run()
    for i in range(len(case.present)):
        wanted, size = case.losses[f"panoptic{i}"], tuple(case.outputs[f"panoptic{i}.ids"].shape)
        shown = shown_masks(told["mask_logits"][i], {"pixel_present": case.present}, i, alone=False)
        ids, segments = panoptic(told["logits"][i], shown, size, stuff=range(3, case.config["num_classes"]), threshold=0.0)
        told_as = [{"id": s["id"], "isthing": s["thing"], "category_id": s["class_index"], "area": s["area"]} for s in segments]
        assert told_as == wanted
        assert torch.equal(ids, case.outputs[f"panoptic{i}.ids"])


def test_parameters_are_as_many_as_the_originals(case):
    wanted, net = case.losses["count"], case.net
    assert sum(p.numel() for p in net.parameters()) == wanted["parameters"]
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == wanted["trainable"]
    assert sum(v.numel() for v in net.state_dict().values()) == wanted["state_dict_elements"]


def test_attention_of_queries_sums_to_one_over_real_cells(case):
    with torch.no_grad():
        seen = case.net.see(case.inputs["padded"], case.present)
        shares = queries_attention(case.net, seen)
    torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:-1]))
    assert (shares[~seen.cells.flatten(1)[:, None, None].expand_as(shares)] == 0).all()


def keys_of(test: str, keys) -> list[str]:
    return [key for key in keys if any(re.fullmatch(pattern, key) and by == test for pattern, by in CLAIMED.items())]


def test_no_number_of_the_reference_is_left_out(case):
    left = [key for key in (*case.outputs, *case.losses) if not any(re.fullmatch(pattern, key) for pattern in CLAIMED)]
    assert not left
