"""MDETR's published weights find their places, every one of them, and go back."""

import json
import re

import pytest
import torch
from transformers import RobertaConfig, RobertaModel

from pellucid import checkpoint
from pellucid.errors import BadData
from pellucid.nn.detr import Shape
from pellucid.nn.mdetr import Extras, Mdetr
from pellucid.nn.resnet import ResNet, resnet
from pellucid.nn.timm_maps import timm_maps
from pellucid.tasks.grounding.names import from_published, is_published, ours, theirs

PLACES = {
    "backbone.0.body.layer4.1.conv2.weight": "backbone.layer4.1.conv2.weight",
    "transformer.text_encoder.encoder.layer.0.output.dense.bias": "text.encoder.encoder.layer.0.output.dense.bias",
    "transformer.text_encoder.pooler.dense.weight": "text.encoder.pooler.dense.weight",
    "transformer.resizer.fc.weight": "text.resize.weight",
    "transformer.resizer.layer_norm.bias": "text.norm.bias",
    "transformer.CLS.weight": "summary.weight",
    "transformer.encoder.layers.1.norm2.weight": "encoder.layers.1.norm2.weight",
    "transformer.decoder.layers.0.self_attn.in_proj_bias": "decoder.layers.0.self_attention.in_proj_bias",
    "transformer.decoder.layers.0.cross_attn_image.out_proj.weight": "decoder.layers.0.cross_attention.out_proj.weight",
    "transformer.decoder.layers.1.norm1.bias": "decoder.layers.1.norm1.bias",
    "transformer.decoder.layers.1.norm3.bias": "decoder.layers.1.norm2.bias",
    "transformer.decoder.layers.1.norm4.bias": "decoder.layers.1.norm3.bias",
    "transformer.decoder.norm.weight": "decoder.norm.weight",
    "query_embed.weight": "queries.weight",
    "class_embed.bias": "class_head.bias",
    "bbox_embed.layers.2.weight": "box_head.layers.2.weight",
    "isfinal_embed.weight": "final_head.weight",
    "contrastive_align_projection_image.bias": "align_queries.bias",
    "contrastive_align_projection_text.weight": "align_tokens.weight",
    "contrastive_projection_image.weight": "contrast_picture.weight",
    "contrastive_projection_text.weight": "contrast_text.weight",
    "qa_embed.weight": "answer_queries.weight",
}
SMALL = Shape(7, 3, width=128, num_heads=8, encoder_layers=2, decoder_layers=2, feedforward=8)


def text(**changes) -> RobertaModel:
    small = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 6}
    return RobertaModel(RobertaConfig(**small | {"max_position_embeddings": 12, "type_vocab_size": 1} | changes))


def weights(answers: str = "gqa", masks: str = "", backbone=None) -> checkpoint.Tensors:
    """Our tensors, no two alike."""
    net = Mdetr(backbone or ResNet((1, 1, 1, 2), (4, 4, 4, 4), 4), SMALL, text(), 4, Extras(5, True, True, answers), masks=masks)
    return {name: torch.rand_like(value) for name, value in net.state_dict().items()}


@pytest.mark.parametrize("answers", ["gqa", "gqa_unified", "clevr"])
@pytest.mark.parametrize("masks", ["", "per_head"])
def test_every_tensor_goes_there_and_back_to_the_last_bit(answers, masks):
    mine = weights(answers, masks)
    published = theirs(mine)
    assert is_published(published)
    assert checkpoint.same(from_published(published), mine)
    assert checkpoint.same(theirs(ours(published)), published)
    outer = "detr." if masks else ""
    for there, here in PLACES.items():
        assert torch.equal(published[outer + there], mine[here])
    if masks:
        assert torch.equal(published["bbox_attention.q_linear.weight"], mine["mask_head.attention.q.weight"])
    question = {"gqa": "answer_cat_head.bias", "gqa_unified": "answer_head.bias", "clevr": "answer_reg_head.layers.2.bias"}[answers]
    found = {"gqa": "reply_cat.bias", "gqa_unified": "reply_answer.bias", "clevr": "reply_reg.layers.2.bias"}[answers]
    assert torch.equal(published[outer + question], mine[f"answer_heads.{found}"])


def test_a_network_of_timms_keeps_its_own_names_there():
    mine = weights(backbone=timm_maps("mobilenetv3_small_050"))
    published = theirs(mine)
    assert torch.equal(published["backbone.0.body.blocks.0.0.conv_dw.weight"], mine["backbone.net.blocks.0.0.conv_dw.weight"])
    assert checkpoint.same(from_published(published), mine)


def test_the_published_list_of_tensors_is_that_of_the_full_network(references):
    listed = json.loads((references / "detection" / "state_dicts" / "mdetr_r101_state_dict.json").read_text())
    assert len(listed) == 920
    sizes = {"vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    with torch.device("meta"):
        published = {name: torch.empty(shape) for name, shape in listed.items()}
        net = Mdetr(resnet("resnet101"), Shape(255), text(**sizes, max_position_embeddings=514), 768)
    found = {name: tuple(value.shape) for name, value in from_published(published).items()}
    assert found == {name: tuple(value.shape) for name, value in net.state_dict().items()}


def test_what_older_files_hold_beside_weights_is_left_out_and_nothing_else():
    published = theirs(weights())
    beside = {"transformer.text_encoder.embeddings.position_ids": torch.arange(12)[None]}
    assert from_published(published | beside).keys() == from_published(published).keys()
    for wrong in ("transformer.decoder.layers.0.cross_attn_text.in_proj_bias", "backbone.0.body.fc.weight", "position_ids"):
        with pytest.raises(BadData, match=re.escape(f"official MDETR's names: '{wrong}'")):
            from_published(published | {wrong: torch.zeros(1)})


def test_weights_of_another_network_are_refused():
    plain = {name: value for name, value in theirs(weights()).items() if "resizer" not in name}
    assert not is_published(plain)
    with pytest.raises(BadData, match="MDETR"):
        from_published(plain)
    with pytest.raises(BadData, match=r"official MDETR's names.*patches"):
        theirs({"patches.weight": torch.zeros(1)})
