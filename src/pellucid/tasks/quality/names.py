"""VTAMIQ's weights under the names of the programs that publish them, and back: those of 2021, 2022 and 2024.

Ours are those of `Vtamiq`. A file tells its network's sizes, so the table is strict: a key without a place there, or of another shape, is
refused by name, and what a table brings in it takes out again.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor

from pellucid import checkpoint
from pellucid.checkpoint import Table, Tensors
from pellucid.errors import BadData
from pellucid.tasks.quality.model import Vtamiq
from pellucid.tasks.quality.settings import HeadShape, VitShape

_NETWORK = "net."  # a run's model keeps its network there
_CLASS = "transformer.embeddings.cls_token"
_PATCH = "transformer.embeddings.patch_embeddings.weight"
_POSITION = "transformer.embeddings.positional_embeddings.positional_embeddings"
_SCALE = "transformer.embeddings.scale_embeddings.scale_embeddings"
_DIFFERENCES = ("quality_decoder", "diff_net", "calibration_diff")
_LINEAR = 2  # axes of a dense layer's weight
_PARTS = {"q": "query", "k": "key", "v": "value"}


@dataclass(frozen=True)
class Layout:
    """What a file of published weights tells about its network.

    It does not tell the number of heads, which is 64 features to each by default, nor how pixels were scaled. A file of 2022 is one of
    2021 with a table of scales, whose first row the class token takes. Without one the two are named alike, and it is taken to be of 2021,
    whose positions are `legacy`.

    Args:
        names: the year of the program.
        difference: what the file calls the difference modulation network.
    """

    names: Literal["2021", "2022", "2024"]
    vit: VitShape
    head: HeadShape
    difference: str

    @property
    def whose(self) -> str:
        """What messages call the names."""
        return f"VTAMIQ's of {self.names}"


def is_published(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are a VTAMIQ's under published names."""
    return _CLASS in _plain(tensors)


def ours(tensors: Mapping[str, Tensor], heads: int = 0) -> tuple[Tensors, Layout]:
    """The tensors under our names, without `net.`, and what the file tells about the network.

    Args:
        heads: of the attention, where they are not of 64 features each.
    Raises:
        BadData: no VTAMIQ's, or keys that are missing, have no place or another shape; the message names them.
    """
    given = _plain(tensors)
    layout = _layout(given, heads)
    _check(given, layout)
    found = joined(checkpoint.rename(given, _table(layout), whose=layout.whose))
    found = {key: _linear(value) if key.startswith("difference.") else value for key, value in found.items()}
    if layout.names == "2022":
        found["cls"] = found["cls"] + found["scale"][:, :1]
    return found, layout


def theirs(tensors: Mapping[str, Tensor], layout: Layout) -> Tensors:
    """Our tensors, with or without `net.`, under the names of that layout; to the last bit what `ours` was given, of 2022 to rounding.

    Raises:
        BadData: a key that the layout has no name for.
    """
    plain = {key.removeprefix(_NETWORK): value for key, value in tensors.items()}
    if layout.names == "2022":
        plain["cls"] = plain["cls"] - plain["scale"][:, :1]
    kernel = "o i -> o i 1" if layout.names == "2024" else "o i -> o i 1 1"
    for key, value in plain.items():
        if key.startswith("difference.") and value.ndim == _LINEAR:
            plain[key] = rearrange(value, kernel)
    return checkpoint.rename(_split(plain), _table(layout), back=True, whose=layout.whose)


# ---- what a file tells ------------------------------------------------------------------------------------------------


def _plain(tensors: Mapping[str, Tensor]) -> Tensors:
    """Without the `module.` of a network that was trained on several devices."""
    wrapped = all(key.startswith("module.") for key in tensors)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in tensors.items()}


def _layout(given: Tensors, heads: int) -> Layout:
    block = (
        "transformer.encoder.layers."
        if any(key.startswith("transformer.encoder.layers.") for key in given)
        else "transformer.encoder.layer."
    )
    for key in (_CLASS, _PATCH, _POSITION, f"{block}0.ffn.fc1.weight"):
        if key not in given:
            raise BadData(f"no weights of a VTAMIQ: {key} is not there")
    names: Literal["2021", "2022", "2024"] = "2024" if block.endswith("layers.") else "2022" if _SCALE in given else "2021"
    width, _, patch, _ = given[_PATCH].shape
    vit = VitShape(
        width,
        heads or max(width // 64, 1),
        len(given[f"{block}0.ffn.fc1.weight"]),
        _count(given, re.escape(block) + r"(\d+)\."),
        patch,
        math.isqrt(given[_POSITION].shape[1] - 1),
        registers=given["transformer.embeddings.extra_tokens"].shape[1] if "transformer.embeddings.extra_tokens" in given else 0,
        scales=given[_SCALE].shape[1] - 1 if _SCALE in given else 1,
        layer_scale=f"{block}0.ls1.gamma" in given,
        adapters=f"{block}0.adapter1.adapter.0.weight" in given,
        legacy=names == "2021",
    )
    usual = "quality_decoder" if names == "2024" else "diff_net"
    difference = next((name for name in _DIFFERENCES if any(key.startswith(f"{name}.") for key in given)), usual)
    return Layout(names, vit, _head(given, width, difference, names), difference)


def _head(given: Tensors, width: int, difference: str, names: str) -> HeadShape:
    body = rf"(?:{difference}\.\d+|diff_embedding)\.body\.(\d+)\.body\."
    down = next((value for key, value in given.items() if re.fullmatch(body + r"4\.conv_du\.[01]\.weight", key) and value.ndim > 1), None)
    usual = HeadShape()
    return HeadShape(
        _count(given, rf"{difference}\.(\d+)\.body\."),
        _count(given, body) or usual.blocks,
        usual.reduction if down is None else width // len(down),
        "diff_scale.gamma" in given,
        "relu" if names == "2024" else "prelu",
        any(key.startswith("diff_embedding.") for key in given),
    )


def _count(given: Tensors, pattern: str) -> int:
    """One more than the largest number that the pattern finds."""
    return max((int(match[1]) + 1 for key in given if (match := re.match(pattern, key))), default=0)


def _check(given: Tensors, layout: Layout) -> None:
    """Compares with the weights of a network of these sizes, as the layout names them."""
    try:
        with torch.device("meta"):
            expected = theirs(Vtamiq(layout.vit, layout.head).state_dict(), layout)
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise BadData(f"no network of {layout.whose} has {layout.vit}, {layout.head} ({error})") from None
    missing = [key for key in expected if key not in given]
    unknown = [key for key in given if key not in expected]
    shapes = [key for key in expected if key in given and given[key].shape != expected[key].shape]
    told = [f"{key} {tuple(given[key].shape)}, expected {tuple(expected[key].shape)}" for key in shapes]
    wrong = [
        f"{what}: {checkpoint.few(keys)}" for what, keys in (("missing", missing), ("unknown", unknown), ("other shape", told)) if keys
    ]
    if wrong:
        raise BadData(f"{layout.whose} names: weights do not fit; {'; '.join(wrong)}")


# ---- the table --------------------------------------------------------------------------------------------------------


def _table(layout: Layout) -> Table:
    """Their names beside ours with queries, keys and values apart."""
    block = "transformer.encoder.layers.{}." if layout.names == "2024" else "transformer.encoder.layer.{}."
    modern, network, blocks = layout.names == "2024", layout.difference, layout.head.blocks
    return (
        (_CLASS, "cls"),
        ("transformer.embeddings.extra_tokens", "registers"),
        ("transformer.embeddings.patch_embeddings.", "patch."),
        (_POSITION, "position"),
        (_SCALE, "scale"),
        ("transformer.encoder.encoder_norm.", "norm."),
        (f"{block}attention_norm.", "blocks.{}.norm1."),
        (f"{block}ffn_norm.", "blocks.{}.norm2."),
        *((f"{block}attn.{there}.", f"blocks.{{}}.attention.{here}.") for here, there in _PARTS.items()),
        (f"{block}attn.out.", "blocks.{}.attention.out."),
        (f"{block}ffn.fc{{}}.", "blocks.{}.fc{}."),
        (f"{block}ls{{}}.gamma", "blocks.{}.scale{}"),
        (f"{block}adapter{{}}.adapter.0.", "blocks.{}.adapter{}.down."),
        (f"{block}adapter{{}}.adapter.2.", "blocks.{}.adapter{}.up."),
        *_gated(f"{network}.{{}}.body.{{}}.", "difference.groups.{}.blocks.{}.", modern),
        (f"{network}.{{}}.body.{blocks}.", "difference.groups.{}.tail."),
        (f"{network}.{layout.head.groups}.", "difference.tail."),
        *_gated("diff_embedding.body.{}.", "difference.embedding.blocks.{}.", modern),
        (f"diff_embedding.body.{blocks}.", "difference.embedding.tail."),
        ("diff_scale.gamma", "difference.scale"),
        ("q_predictor.1.", "head.fc1."),
        ("q_predictor.2.", "head.act."),
        ("q_predictor.4.", "head.fc2."),
    )


def _gated(there: str, here: str, modern: bool) -> Table:
    """A gated block: 2024's gate has its layers at other places and an activation without weights."""
    down, up = ("1", "4") if modern else ("0", "2")
    gate = () if modern else ((f"{there}body.4.conv_du.1.", f"{here}gate_act."),)
    return (
        (f"{there}body.1.", f"{here}act."),
        (f"{there}body.2.", f"{here}mix."),
        (f"{there}body.4.conv_du.{down}.", f"{here}down."),
        (f"{there}body.4.conv_du.{up}.", f"{here}up."),
        *gate,
    )


def joined(tensors: Mapping[str, Tensor]) -> Tensors:
    """Queries, keys and values of each block, which are apart as `attention.q`, in one layer.

    Raises:
        BadData: some of them are there, others not.
    """
    found: Tensors = {}
    for key, value in tensors.items():
        match = re.fullmatch(r"(.*\.attention)\.([qkv])\.(weight|bias)", key)
        if not match:
            found[key] = value
            continue
        parts = [f"{match[1]}.{part}.{match[3]}" for part in _PARTS]
        missing = [part for part in parts if part not in tensors]
        if missing:
            raise BadData(f"weights of attention without {', '.join(missing)}")
        found[f"{match[1]}.qkv.{match[3]}"] = torch.cat([tensors[part] for part in parts])
    return found


def _split(tensors: Tensors) -> Tensors:
    """Queries, keys and values of each block in layers of their own."""
    found: Tensors = {}
    for key, value in tensors.items():
        if ".attention.qkv." in key:
            parts = zip(_PARTS, value.chunk(3), strict=True)
            found |= {key.replace(".qkv.", f".{part}."): rows for part, rows in parts}
        else:
            found[key] = value
    return found


def _linear(value: Tensor) -> Tensor:
    """The weight of a dense layer, of a convolution's with a kernel of 1."""
    return value.flatten(1) if value.ndim > _LINEAR else value
