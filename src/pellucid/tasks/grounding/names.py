"""MDETR's weights under the names of its authors' program, and back.

Ours are those of `Mdetr`. The table is strict: a key that no rule fits is refused by name, and what it brings in it takes out again, bit
for bit. What it shares with DETR's is DETR's own table.
"""

from collections.abc import Mapping

from torch import Tensor

from pellucid.checkpoint import Table, Tensors
from pellucid.errors import BadData
from pellucid.nn import detr_names

WHOSE = "the official MDETR's"
LEFT_OUT = ("transformer.text_encoder.embeddings.position_ids",)  # a count from 0 up, which older versions of transformers stored
POOLER = "net.text.encoder.pooler."  # of a run; files hold the text encoder's, although nothing but a contrast with pictures reads it
_NETWORK = "net."  # a run's model keeps its network there
_MARK = "transformer.resizer.fc.weight"
_OUR_MARK = "text.resize.weight"

_HEADS = ("type", "obj", "rel", "attr", "cat", "global", "binary")
_TABLE: Table = (
    ("transformer.text_encoder.", "text.encoder."),
    ("transformer.resizer.fc.", "text.resize."),
    ("transformer.resizer.layer_norm.", "text.norm."),
    ("transformer.CLS.", "summary."),
    ("transformer.decoder.layers.{}.cross_attn_image.", "decoder.layers.{}.cross_attention."),
    ("transformer.decoder.layers.{}.norm1.", "decoder.layers.{}.norm1."),
    ("transformer.decoder.layers.{}.norm3.", "decoder.layers.{}.norm2."),  # their second, for the text alone, does not exist
    ("transformer.decoder.layers.{}.norm4.", "decoder.layers.{}.norm3."),
    ("isfinal_embed.", "final_head."),
    ("contrastive_align_projection_image.", "align_queries."),
    ("contrastive_align_projection_text.", "align_tokens."),
    ("contrastive_projection_image.", "contrast_picture."),
    ("contrastive_projection_text.", "contrast_text."),
    ("qa_embed.", "answer_queries."),
    *((f"answer_{name}_head.", f"answer_heads.reply_{name}.") for name in _HEADS),
    ("answer_reg_head.layers.{}.", "answer_heads.reply_reg.layers.{}."),
    ("answer_head.", "answer_heads.reply_answer."),
)
_TIMM: Table = (("backbone.0.body.", "backbone.net."),)  # a network of timm's keeps its own names


def is_published(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are an MDETR's under its authors' names."""
    return any(outer + _MARK in tensors for outer in ("", "detr."))


def kind_of(tensors: Mapping[str, Tensor]) -> str:
    """Whose names an MDETR's weights have: `official`, `ours` (with or without `net.`), or empty for no MDETR's."""
    if is_published(tensors):
        return "official"
    return "ours" if any(outer + _OUR_MARK in tensors for outer in ("", _NETWORK)) else ""


def to_ours(tensors: Mapping[str, Tensor]) -> tuple[Tensors, str]:
    """The tensors under the names of `Mdetr`, without `net.`, and the kind that they were of.

    Raises:
        BadData: as `from_published`.
    """
    kind = kind_of(tensors)
    if kind == "ours":
        return {key.removeprefix(_NETWORK): value for key, value in tensors.items()}, kind
    return from_published(tensors), kind


def from_published(tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors under the names of `Mdetr`; `LEFT_OUT` and counts of batches are left out.

    Raises:
        BadData: no MDETR's, or a key that has no place in one.
    """
    if not is_published(tensors):
        raise BadData(f"no weights of an MDETR under its authors' names: {_MARK} is not there")
    kept = {key: value for key, value in tensors.items() if key.removeprefix("detr.") not in LEFT_OUT}
    resnet = bool(detr_names.kind_of(tensors))  # which knows a DETR by a ResNet's first convolution
    return detr_names.from_official(kept, _TABLE if resnet else (*_TABLE, *_TIMM), WHOSE)


def ours(tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors, the authors' or those of `Mdetr`, under the names of a run of grounding, which begin with `net.`.

    Raises:
        BadData: as `from_published`.
    """
    return {_NETWORK + key: value for key, value in to_ours(tensors)[0].items()}


def theirs(tensors: Mapping[str, Tensor]) -> Tensors:
    """Our tensors, with or without `net.`, as the authors' program has them.

    Raises:
        BadData: a key that it has no name for.
    """
    plain = {key.removeprefix(_NETWORK): value for key, value in tensors.items()}
    timm = any(key.startswith("backbone.net.") for key in plain)
    return detr_names.to_official(plain, (*_TABLE, *_TIMM) if timm else _TABLE, WHOSE)
