"""MDETR's network against numbers of the authors' program: every stage, in every folder of the reference that holds one."""

import re

import pytest
import torch
from einops import rearrange
from torch import Tensor

from mdetr_cases import CASES, Case, configured
from pellucid.nn.mdetr import Mdetr
from pellucid.tasks.grounding.names import theirs

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
# the original's names for what each head says, and ours
HEADS = {"pred_logits": "logits", "pred_boxes": "boxes_cxcywh", "pred_isfinal": "final", "proj_queries": "query_code"}
OTHERS = r"(post\d+|flickr\d+)(\..*)?"  # what is made of the network's output; its own tests compare that


@pytest.fixture(params=CASES)
def case(request, references):
    return Case.read(references / "detection" / request.param)


def test_there_are_cases(references):
    assert CASES
    assert {p.name for p in (references / "detection").iterdir() if "text_encoder" in configured(p)} == set(CASES)


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
    parameters = list(case.net.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    found = {"parameters": sum(p.numel() for p in parameters), "trainable": trained}
    assert found | {"state_dict_elements": sum(v.numel() for v in case.net.state_dict().values())} == case.told["count"]
