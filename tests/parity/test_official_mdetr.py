"""MDETR's network against numbers of the authors' program: every stage, in every folder of the reference that holds one."""

import json
import os
import pathlib
import re
from dataclasses import dataclass

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor
from transformers import RobertaConfig, RobertaModel

from pellucid.nn.detr import Shape
from pellucid.nn.mdetr import Extras, Mdetr
from pellucid.nn.resnet import ResNet
from pellucid.tasks.grounding.names import from_published, theirs

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
PLACE = pathlib.Path(os.environ.get("PELLUCID_REFERENCE", pathlib.Path(__file__).parents[3] / "shared" / "reference")) / "detection"
# the original's names for what each head says, and ours
HEADS = {"pred_logits": "logits", "pred_boxes": "boxes_cxcywh", "pred_isfinal": "final", "proj_queries": "query_code"}
OTHERS = r"(post\d+|flickr\d+)(\..*)?"  # what is made of the network's output; its own tests compare that


def configured(folder: pathlib.Path) -> dict:
    file = folder / "config.json"
    return json.loads(file.read_text()) if file.is_file() else {}


CASES = sorted(p.name for p in PLACE.iterdir() if "text_encoder" in configured(p)) if PLACE.is_dir() else []


def numbers(text: str, *patterns: str) -> list[int]:
    return [int(re.search(pattern, text)[1]) for pattern in patterns]


def text_encoder(text: str) -> RobertaModel:
    vocab, hidden, layers, heads, inner, most = numbers(
        text, r"vocab (\d+)", r"hidden (\d+)", r"(\d+) layers", r"(\d+) heads", r"intermediate (\d+)", r"max_pos (\d+)"
    )
    config = RobertaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=most,
        type_vocab_size=1,
        pad_token_id=1,
        layer_norm_eps=1e-5,
    )
    return RobertaModel(config)


def network(config: dict) -> Mdetr:
    stem, planes, blocks = re.search(r"stem (\d+), planes \(([\d,]+)\), blocks per stage \(([\d,]+)\)", config["backbone"]).groups()
    backbone = ResNet([int(n) for n in blocks.split(",")], [int(n) for n in planes.split(",")], int(stem))
    sizes = [config[key] for key in ("num_queries", "hidden_dim", "nheads", "enc_layers", "dec_layers", "dim_feedforward")]
    extras = Extras(
        config["contrastive_hdim"],
        config.get("predict_final", False),
        config.get("contrastive_loss", False),
        config.get("qa_dataset", ""),
        config["contrastive_align_loss"],
    )
    text = text_encoder(config["text_encoder"])
    masks = "per_head" if config.get("masks") else ""
    return Mdetr(backbone, Shape(255, *sizes, dropout=0.0), text, text.config.hidden_size, extras, mask_padding=False, masks=masks)


@dataclass
class Case:
    """One folder of the reference."""

    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    losses: dict
    net: Mdetr

    @property
    def given(self) -> list[Tensor]:
        return [self.inputs["padded"], self.inputs["mask"] == 0, self.inputs["input_ids"], self.inputs["attention_mask"] == 1]


@pytest.fixture(params=CASES)
def case(request, references):
    folder = references / "detection" / request.param
    weights, inputs, outputs = (load_file(folder / f"{part}.safetensors") for part in ("weights", "inputs", "outputs"))
    net = network(configured(folder)).eval()
    net.load_state_dict(from_published(weights))
    return Case(weights, inputs, outputs, json.loads((folder / "losses.json").read_text()), net)


def test_there_are_cases(references):
    assert CASES
    assert {p.name for p in (references / "detection").iterdir() if p.name.startswith("mdetr_small")} == set(CASES)


def compare(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name in sorted(found.keys() & wanted.keys()):
        value = found[name].to(wanted[name].dtype)
        torch.testing.assert_close(value.reshape(wanted[name].shape), wanted[name], **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


@torch.no_grad()
def test_every_stage_gives_what_the_original_gives(case):
    image, present, tokens, tokens_present = case.given
    net = case.net
    read = net.read(tokens, tokens_present)
    encoded = net.join(net.look(image, present), read)
    memory, positions = encoded.seen.memory, net.query_positions(len(image))
    states = net.decoder(positions, memory)
    found = {
        "text_last_hidden": read.hidden,
        "text_pooler": read.pooled,
        "text_resized": sequence(read.resized),
        "encoder_memory": sequence(memory.values),
        "decoder_hs": rearrange(states, "l b q d -> l q b d"),
        "cache.img_memory": sequence(memory.values),
        "cache.mask": ~memory.present,
        "cache.pos_embed": sequence(memory.keys - memory.values),
        "cache.query_embed": sequence(positions),
        "cache.text_attention_mask": ~encoded.text_present,
        "cache.text_memory": sequence(encoded.text),
        "cache.text_memory_resized": sequence(read.resized),
    }
    if encoded.picture_code is not None:
        found |= {"cache.img_pooled_op": encoded.picture_code, "cache.text_pooled_op": encoded.caption_code}
    if net.mask_head is not None:
        found["bbox_attention"] = net.mask_head.attention(states[-1], encoded.seen.encoded, encoded.seen.cells)
    compare(found, case.outputs)
    claimed = {name for name in case.outputs if name in found}
    told = net(*case.given)
    heads = said(told)
    compare(heads, case.outputs)
    left = {name for name in case.outputs if name not in claimed and name not in heads and not re.fullmatch(OTHERS, name)}
    assert not left, "numbers that were not compared"


def sequence(x: Tensor) -> Tensor:
    """The original has the sequence first."""
    return rearrange(x, "b n d -> n b d")


def said(told: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the heads say under the original's names."""
    found = {}
    for theirs_, ours in HEADS.items():
        if ours in told:
            found |= {theirs_: told[ours]} | {f"aux{i}.{theirs_}": told[f"aux_{ours}"][:, i] for i in range(told[f"aux_{ours}"].shape[1])}
    found |= {name.replace("reply_", "pred_answer_"): value for name, value in told.items() if name.startswith("reply_")}
    renamed = {"token_code": "proj_tokens", "mask_logits": "pred_masks"}
    return found | {renamed[name]: value for name, value in told.items() if name in renamed}


@torch.no_grad()
def test_an_answer_needs_no_other_layers_to_be_told(case):
    compare(said(case.net(*case.given, all_layers=False) | empty_aux(case.net)), case.outputs)


def empty_aux(net: Mdetr) -> dict[str, Tensor]:
    return {f"aux_{name}": torch.zeros(1, 0) for name in HEADS.values()}


def test_the_names_go_there_and_back(case):
    again = theirs(case.net.state_dict())
    assert again.keys() == case.weights.keys()
    assert all(torch.equal(again[name], value) for name, value in case.weights.items())


def test_parameters_are_as_many_as_the_originals(case):
    if "count" not in case.losses:
        pytest.skip("this case does not say")
    wanted = case.losses["count"]
    case.net.backbone.freeze()
    assert sum(p.numel() for p in case.net.parameters()) == wanted["parameters"]
    assert sum(p.numel() for p in case.net.parameters() if p.requires_grad) == wanted["trainable"]
