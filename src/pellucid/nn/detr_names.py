"""Weights of DETR under the names of the programs that publish them, and back: the authors', Hugging Face's, detectron2's.

Ours are those of `Detr` (`backbone.conv1.weight`), with `mask_head` beside it where there are masks. Each table is strict: a key that no
rule fits is refused by name, and what a table brings in it takes out again, bit for bit.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pellucid import checkpoint
from pellucid.checkpoint import Table, Tensors
from pellucid.errors import BadData

_AUTHORS = "the official DETR's"
KINDS = {"official": _AUTHORS, "hf": "Hugging Face DETR's", "detectron2": "detectron2's DETR's"}
NO_CLASS = -1e4  # logit of a row that stands for no class; half precision holds it, and its probability is 0
PRETRAINING = ("patch_to_query.", "feature_head.", "class_head.")  # of UP-DETR's pre-training: what detection does without, or learns anew
_NETWORK = "net."  # a run's model keeps its network there

# where a published DETR keeps its backbone's first convolution; each is found in one kind alone
_STEMS = {
    "official": ("backbone.0.body.conv1.weight", "detr.backbone.0.body.conv1.weight"),
    "detectron2": ("detr.backbone.0.backbone.stem.conv1.weight", "detr.detr.backbone.0.backbone.stem.conv1.weight"),
    "hf": tuple(
        f"{outer}model.backbone.{inner}{stem}.weight"
        for outer in ("", "detr.")
        for inner in ("conv_encoder.model.", "model.")
        for stem in ("conv1", "embedder.embedder.convolution")
    ),
}


def kind_of(tensors: Mapping[str, Tensor]) -> str:
    """Whose names these are: `official`, `hf`, `detectron2`, `ours` (with or without `net.`), or empty for none of a DETR's."""
    found = next((kind for kind, stems in _STEMS.items() if any(stem in tensors for stem in stems)), "")
    ours = any(f"{outer}queries.weight" in tensors and f"{outer}backbone.conv1.weight" in tensors for outer in ("", _NETWORK))
    return found or ("ours" if ours else "")


def to_ours(tensors: Mapping[str, Tensor]) -> tuple[Tensors, str]:
    """The tensors under our names, without `net.`, and the kind that they were of.

    Raises:
        BadData: no DETR's, or a key that has no place in one.
    """
    kind = kind_of(tensors)
    if kind == "ours":
        return _counted_out({key.removeprefix(_NETWORK): value for key, value in tensors.items()}), kind
    if not kind:
        raise BadData(f"no weights of a DETR: none of {', '.join(stems[0] for stems in _STEMS.values())} is there")
    return _FROM[kind](tensors), kind


def ours(tensors: Mapping[str, Tensor]) -> tuple[Tensors, str]:
    """The tensors under the names of a run of detection, which begin with `net.`, and the kind that they were of.

    Raises:
        BadData: no DETR's, or a key that has no place in one.
    """
    found, kind = to_ours(tensors)
    return {_NETWORK + key: value for key, value in found.items()}, kind


def theirs(tensors: Mapping[str, Tensor], kind: str) -> Tensors:
    """Our tensors, with or without `net.`, under the names of that kind.

    Raises:
        BadData: a key that the kind has no name for.
    """
    plain = {key.removeprefix(_NETWORK): value for key, value in tensors.items()}
    return _TO[kind](plain)


def is_pretraining(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these tensors, under our names, are of UP-DETR's pre-training, whose classes are matched or not."""
    return any(f"{outer}patch_to_query.weight" in tensors for outer in ("", _NETWORK))


# ---- the authors ------------------------------------------------------------------------------------------------------

_RESNET: Table = (  # torchvision's and timm's names, which are ours
    ("conv1.", "backbone.conv1."),
    ("bn1.", "backbone.bn1."),
    ("layer{}.{}.conv{}.", "backbone.layer{}.{}.conv{}."),
    ("layer{}.{}.bn{}.", "backbone.layer{}.{}.bn{}."),
    ("layer{}.{}.downsample.{}.", "backbone.layer{}.{}.downsample.{}."),
)
_TRANSFORMER: Table = (
    ("transformer.encoder.layers.{}.self_attn.", "encoder.layers.{}.attention."),
    ("transformer.encoder.layers.{}.linear{}.", "encoder.layers.{}.linear{}."),
    ("transformer.encoder.layers.{}.norm{}.", "encoder.layers.{}.norm{}."),
    ("transformer.encoder.norm.", "encoder.norm."),
    ("transformer.decoder.layers.{}.self_attn.", "decoder.layers.{}.self_attention."),
    ("transformer.decoder.layers.{}.multihead_attn.", "decoder.layers.{}.cross_attention."),
    ("transformer.decoder.layers.{}.linear{}.", "decoder.layers.{}.linear{}."),
    ("transformer.decoder.layers.{}.norm{}.", "decoder.layers.{}.norm{}."),
    ("transformer.decoder.norm.", "decoder.norm."),
    ("input_proj.", "input_proj."),
    ("query_embed.", "queries."),
    ("class_embed.", "class_head."),
    ("bbox_embed.layers.{}.", "box_head.layers.{}."),
)
_LEARNED: Table = (("backbone.1.row_embed.", "position.rows."), ("backbone.1.col_embed.", "position.columns."))
_PRETRAINED: Table = (("patch2query.", "patch_to_query."), ("feature_align.layers.{}.", "feature_head.layers.{}."))
_MASKS: Table = (
    ("bbox_attention.q_linear.", "mask_head.attention.q."),
    ("bbox_attention.k_linear.", "mask_head.attention.k."),
    ("mask_head.lay{}.", "mask_head.lay{}."),
    ("mask_head.gn{}.", "mask_head.gn{}."),
    ("mask_head.adapter{}.", "mask_head.adapter{}."),
    ("mask_head.out_lay.", "mask_head.out_lay."),
)


def from_official(tensors: Mapping[str, Tensor], more: Table = (), whose: str = _AUTHORS) -> Tensors:
    """Weights of the authors' DETR or UP-DETR, with masks or without, under our names; counts of batches are left out.

    Args:
        more: names of a program that was made of theirs, which go before.
        whose: what messages call it.
    Raises:
        BadData: a key that neither has.
    """
    return checkpoint.rename(_counted_out(tensors), official_table(_with_masks(tensors), more), whose=whose)


def to_official(tensors: Mapping[str, Tensor], more: Table = (), whose: str = _AUTHORS) -> Tensors:
    """Our weights as the authors' programs have them.

    Args:
        more, whose: as of `from_official`.
    Raises:
        BadData: a key that they have no name for.
    """
    return checkpoint.rename(tensors, official_table(_with_masks(tensors), more), back=True, whose=whose)


def official_table(masks: bool, more: Table = ()) -> Table:
    """The authors' names beside ours; a network with masks holds the one without as `detr`."""
    body = (*more, *_under("backbone.0.body.", _RESNET), *_TRANSFORMER, *_LEARNED, *_PRETRAINED)
    return (*_under("detr.", body), *_MASKS) if masks else body


# ---- detectron2 -------------------------------------------------------------------------------------------------------


def from_detectron2(tensors: Mapping[str, Tensor]) -> Tensors:
    """Weights of the authors' detectron2 wrapper under our names; its classes are contiguous, as ours.

    The loss's weight of no-object, which a checkpoint of training holds, is left out.

    Raises:
        BadData: a key that it does not have.
    """
    tensors = {key: value for key, value in tensors.items() if key != "criterion.empty_weight"}
    return _renamed(tensors, detectron2_table(_with_masks(tensors, "detr.")), "detectron2")


def to_detectron2(tensors: Mapping[str, Tensor]) -> Tensors:
    """Our weights as the authors' detectron2 wrapper has them.

    Raises:
        BadData: a key that it has no name for.
    """
    return checkpoint.rename(tensors, detectron2_table(_with_masks(tensors)), back=True, whose=KINDS["detectron2"])


def detectron2_table(masks: bool) -> Table:
    """detectron2's names beside ours: a ResNet has a stem and the stages 2 to 5, a norm belongs to its convolution."""
    resnet = [("stem.conv1.weight", "backbone.conv1.weight"), ("stem.conv1.norm.", "backbone.bn1.")]
    for stage in range(1, 5):
        there, here = f"res{stage + 1}.{{}}.", f"backbone.layer{stage}.{{}}."
        for i in range(1, 4):
            resnet += [(f"{there}conv{i}.weight", f"{here}conv{i}.weight"), (f"{there}conv{i}.norm.", f"{here}bn{i}.")]
        resnet += [(f"{there}shortcut.weight", f"{here}downsample.0.weight"), (f"{there}shortcut.norm.", f"{here}downsample.1.")]
    body = (*_under("backbone.0.backbone.", resnet), *_TRANSFORMER)
    return _under("detr.", (*_under("detr.", body), *_MASKS) if masks else body)


# ---- Hugging Face -----------------------------------------------------------------------------------------------------

_HF_MODEL: Table = (  # the first name of a part is the one that files have; later ones are those of a network in memory, since 5.0
    ("input_projection.", "input_proj."),
    ("query_position_embeddings.", "queries."),
    ("position_embedding.row_embeddings.", "position.rows."),
    ("position_embedding.column_embeddings.", "position.columns."),
    ("backbone.position_embedding.row_embeddings.", "position.rows."),  # before 5.0
    ("backbone.position_embedding.column_embeddings.", "position.columns."),
    ("encoder.layers.{}.self_attn_layer_norm.", "encoder.layers.{}.norm1."),
    ("encoder.layers.{}.final_layer_norm.", "encoder.layers.{}.norm2."),
    ("decoder.layers.{}.self_attn_layer_norm.", "decoder.layers.{}.norm1."),
    ("decoder.layers.{}.encoder_attn_layer_norm.", "decoder.layers.{}.norm2."),
    ("decoder.layers.{}.final_layer_norm.", "decoder.layers.{}.norm3."),
    ("decoder.layernorm.", "decoder.norm."),
    *(
        (f"{coder}.layers.{{}}.{mlp}fc{{}}.", f"{coder}.layers.{{}}.linear{{}}.")
        for coder in ("encoder", "decoder")
        for mlp in ("", "mlp.")
    ),
    *(
        (f"{there}.{projection}_proj.", f"{here}.{part}.")
        for there, here in (
            ("encoder.layers.{}.self_attn", "encoder.layers.{}.attention"),
            ("decoder.layers.{}.self_attn", "decoder.layers.{}.self_attention"),
            ("decoder.layers.{}.encoder_attn", "decoder.layers.{}.cross_attention"),
        )
        for projection, part in (("q", "q"), ("k", "k"), ("v", "v"), ("out", "out_proj"), ("o", "out_proj"))
    ),
)
_HF_HEADS: Table = (("class_labels_classifier.", "class_head."), ("bbox_predictor.layers.{}.", "box_head.layers.{}."))
_HF_MASKS: Table = (
    *_MASKS,
    ("bbox_attention.q_proj.", "mask_head.attention.q."),
    ("bbox_attention.k_proj.", "mask_head.attention.k."),
    *((f"mask_head.conv{i}.conv.", f"mask_head.lay{i}.") for i in (1, 2)),
    *((f"mask_head.conv{i}.norm.", f"mask_head.gn{i}.") for i in (1, 2)),
    *((f"mask_head.fpn_stages.{i}.refine.conv.", f"mask_head.lay{i + 3}.") for i in range(3)),
    *((f"mask_head.fpn_stages.{i}.refine.norm.", f"mask_head.gn{i + 3}.") for i in range(3)),
    *((f"mask_head.fpn_stages.{i}.fpn_adapter.", f"mask_head.adapter{i + 1}.") for i in range(3)),
    ("mask_head.output_conv.", "mask_head.out_lay."),
)
_QKV = ("q", "k", "v")
_JOINED = re.compile(r"((?:encoder|decoder)\..*attention)\.in_proj_(weight|bias)")
_SPLIT = re.compile(r"((?:encoder|decoder)\..*attention)\.([qkv])\.(weight|bias)")


def from_hf(tensors: Mapping[str, Tensor]) -> Tensors:
    """Weights of `DetrForObjectDetection` or `DetrForSegmentation`, of a file or a network, under our names; counts are left out.

    Raises:
        BadData: a key that neither has, or an attention without one of its parts.
    """
    return _join(_renamed(tensors, hf_table(_with_masks(tensors)), "hf"))


def to_hf(tensors: Mapping[str, Tensor], transformers_resnet: bool = False) -> Tensors:
    """Our weights as transformers' files have them, whichever its version.

    Args:
        transformers_resnet: the backbone is transformers' own ResNet instead of timm's.
    Raises:
        BadData: a key that it has no name for, as norms before attention and pre-training have none.
    """
    table = hf_table(_with_masks(tensors), transformers_resnet)
    return checkpoint.rename(_split(tensors), table, back=True, whose=KINDS["hf"])


def hf_table(masks: bool, transformers_resnet: bool = False) -> Table:
    """transformers' names, of all versions, beside ours with queries, keys and values apart; the first fit is what files have."""
    resnets = [_RESNET, _hf_resnet()]
    if transformers_resnet:
        resnets.reverse()
    places = ("backbone.conv_encoder.model.", "backbone.model.")
    backbones = [rule for place in places for resnet in resnets for rule in _under(place, resnet)]
    body = (*_under("model.", (*backbones, *_HF_MODEL)), *_HF_HEADS)
    return (*_under("detr.", body), *_HF_MASKS) if masks else body


def _hf_resnet() -> Table:
    parts = (("convolution", "conv", 0), ("normalization", "bn", 1))
    rules = [(f"embedder.embedder.{part}.", f"backbone.{name}1.") for part, name, _ in parts]
    for stage in range(4):
        there, here = f"encoder.stages.{stage}.layers.{{}}.", f"backbone.layer{stage + 1}.{{}}."
        rules += [(f"{there}shortcut.{part}.", f"{here}downsample.{at}.") for part, _, at in parts]
        rules += [(f"{there}layer.{i}.{part}.", f"{here}{name}{i + 1}.") for i in range(3) for part, name, _ in parts]
    return rules


def _join(tensors: Tensors) -> Tensors:
    joined: Tensors = {}
    for key, value in tensors.items():
        found = _SPLIT.fullmatch(key)
        if not found:
            joined[key] = value
            continue
        place, _, leaf = found.groups()
        parts = [f"{place}.{part}.{leaf}" for part in _QKV]
        missing = [part for part in parts if part not in tensors]
        if missing or len({tensors[part].shape for part in parts}) > 1:
            said = f"has no {missing[0]}" if missing else "has parts of several shapes"
            raise BadData(f"{KINDS['hf']} weights: the attention {place} {said}")
        joined[f"{place}.in_proj_{leaf}"] = torch.cat([tensors[part] for part in parts])
    return joined


def _split(tensors: Mapping[str, Tensor]) -> Tensors:
    split: Tensors = {}
    for key, value in tensors.items():
        found = _JOINED.fullmatch(key)
        if not found:
            split[key] = value
            continue
        place, leaf = found.groups()
        split |= {f"{place}.{part}.{leaf}": piece for part, piece in zip(_QKV, value.chunk(3), strict=True)}
    return split


# ---- classes ----------------------------------------------------------------------------------------------------------


def class_rows(num_rows: int, ids: Sequence[int]) -> list[int]:
    """Which rows of a class head are the classes with these ids: a head of one row more than classes has them in order, else by id.

    Args:
        num_rows: of the head, the last of which is no-object.
    Raises:
        BadData: the head has no row for an id.
    """
    if num_rows == len(ids) + 1:
        return list(range(len(ids)))
    beyond = [i for i in ids if not 0 <= i < num_rows - 1]
    if beyond:
        raise BadData(f"a class head of {num_rows} rows, the last of which is no-object, has none for the category {beyond[0]}")
    return list(ids)


def choose_classes(tensors: Mapping[str, Tensor], rows: Sequence[int]) -> Tensors:
    """The weights with a class head of these rows, in this order, and no-object last.

    Raises:
        BadData: there is no class head, or it has no such row.
    """
    chosen = dict(tensors)
    for key, value in _class_head(tensors):
        wrong = next((row for row in rows if not 0 <= row < len(value) - 1), None)
        if wrong is not None:
            raise BadData(f"{key} has {len(value)} rows, the last of which is no-object; there is no class in row {wrong}")
        chosen[key] = value[[*rows, len(value) - 1]]
    return chosen


def spread_classes(tensors: Mapping[str, Tensor], rows: Sequence[int], num_rows: int) -> Tensors:
    """The weights with a class head of `num_rows` rows: each class in the row that `rows` says, no-object in the last one.

    A row between them stands for no class and never wins: its weights are 0 and its bias is -10,000.

    Raises:
        BadData: there is no class head, or its classes are not as many as `rows`, or a row would lie beyond.
    """
    spread = dict(tensors)
    for key, value in _class_head(tensors):
        if len(rows) != len(value) - 1 or len(set(rows)) < len(rows) or not all(0 <= row < num_rows - 1 for row in rows):
            raise BadData(f"{key} has {len(value) - 1} classes and no-object; they cannot lie in {len(rows)} of {num_rows} rows")
        wide = value.new_full((num_rows, *value.shape[1:]), NO_CLASS if key.endswith(".bias") else 0.0)
        wide[[*rows, num_rows - 1]] = value
        spread[key] = wide
    return spread


def num_class_rows(tensors: Mapping[str, Tensor]) -> int:
    """Rows of the class head, no-object among them.

    Raises:
        BadData: there is no class head.
    """
    return len(_class_head(tensors)[0][1])


def _class_head(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    found = [(key, value) for key, value in tensors.items() if key.removeprefix(_NETWORK).startswith("class_head.")]
    if not found:
        raise BadData("these weights have no class_head")
    return found


# ---- what the tables share --------------------------------------------------------------------------------------------

_Turn = Callable[[Mapping[str, Tensor]], Tensors]
_FROM: dict[str, _Turn] = {"official": from_official, "hf": from_hf, "detectron2": from_detectron2}
_TO: dict[str, _Turn] = {"official": to_official, "hf": to_hf, "detectron2": to_detectron2}


def _under(prefix: str, table: Table) -> Table:
    return [(prefix + there, here) for there, here in table]


def _with_masks(tensors: Mapping[str, Tensor], outer: str = "") -> bool:
    return any(key.startswith(f"{outer}mask_head.") for key in tensors)


def _renamed(tensors: Mapping[str, Tensor], table: Table, kind: str) -> Tensors:
    return checkpoint.rename(_counted_out(tensors), table, whose=KINDS[kind])


def _counted_out(tensors: Mapping[str, Tensor]) -> Tensors:
    """Without counts of batches, which norms that stay as they are have no use for."""
    return {key: value for key, value in tensors.items() if not key.endswith(".num_batches_tracked")}
