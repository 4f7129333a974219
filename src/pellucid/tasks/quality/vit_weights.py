"""Pretrained weights of a plain vision transformer under our names: a registry package's, timm's, transformers', Google's."""

import logging
import math
import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Literal

import numpy as np
import timm
import torch
from einops import EinopsError, rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pellucid import checkpoint
from pellucid.checkpoint import Table, Tensors
from pellucid.coerce import nearest
from pellucid.data import networks
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.nn.backbone import weights_of
from pellucid.tasks.quality.names import joined
from pellucid.tasks.quality.settings import VitShape
from pellucid.tasks.quality.vit import PatchTransformer

log = logging.getLogger("pellucid")
Resize = Literal["", "linear", "bicubic"]
_FRESH = re.compile(r"registers|scale|blocks\.\d+\.adapter.*")  # what a plain transformer has not
# heads of classes, poolers, the token that hid patches in pre-training
_LEFT_OUT = re.compile(r"(head|pre_logits|pooler|classifier)[./].*|(.*\.)?mask_token")


def load_vit(net: PatchTransformer, source: str, resize: Resize = "") -> None:
    """Starts the transformer from pretrained weights; all else of the network stays as it is.

    Args:
        source, resize: as `vit_tensors` takes them.
    Raises:
        BadUsage, BadData, UnsafeInput: as `vit_tensors`.
    """
    tensors = vit_tensors(source, net.shape, resize)
    own = net.state_dict()
    net.load_state_dict({**own, **tensors})
    fresh = [key for key in own if key not in tensors]
    log.info("%s: %d weights of the transformer loaded, %d fresh: %s", source, len(tensors), len(fresh), checkpoint.few(fresh, 12))


def vit_tensors(source: str, shape: VitShape, resize: Resize = "") -> Tensors:
    """The weights of a plain transformer under our names: patches, class token, positions, the first blocks, the last norm.

    Heads of classes and blocks beyond `shape.blocks` are left out. Register tokens come where the file has as many. A factor per branch
    (LayerScale) that the file has and `shape` has not is multiplied into the branch; one that the file has not is 1.

    Args:
        source: `dinov2-small`; a name of timm's or `hf-hub:owner/name`, which are downloaded; a safetensors file, or a folder of one, with
            timm's, DINOv2's or transformers' names; Google's `.npz`.
        resize: how a table of positions of another grid is brought to `shape.grid`: "linear", from corner to corner, as VTAMIQ's program
            does and Google's is by default; or "bicubic" over areas, as timm does and all others are by default.
    Raises:
        BadUsage: no such source.
        BadData: the weights are not of such a transformer, or of another size; the message says which settings would fit.
        UnsafeInput: the file is a pickle.
    """
    tensors, label, heads = _read(source)
    tensors = {key: value.float() for key, value in tensors.items()}
    _agree(tensors, shape, heads, label)
    tensors["position"] = positions(_table(tensors["position"], label), shape.grid, resize or ("linear" if heads else "bicubic"))
    tensors = _scaled(tensors, shape)
    kept = {key: value for key, value in tensors.items() if _block(key) < shape.blocks}
    with torch.device("meta"):
        expected = PatchTransformer(shape).state_dict()
    missing = [key for key in expected if key not in kept and not _FRESH.fullmatch(key)]
    wrong = [key for key in kept if key not in expected or kept[key].shape != expected[key].shape]
    for what, keys in (("missing", missing), ("unknown or of another shape", wrong)):
        if keys:
            raise BadData(f"{label}: weights do not fit; {what}: {checkpoint.few(keys)}")
    return kept


def positions(table: Float[Tensor, "1 n d"], grid: int, resize: Literal["linear", "bicubic"]) -> Float[Tensor, "1 m d"]:
    """The table for `grid` rows and columns; its first row, the class token's, stays.

    Source: Chubarau and Clark 2021 zoom linearly, as Dosovitskiy et al. 2020 do; `timm.layers.resample_abs_pos_embed` bicubically.
    """
    first, rest = table[:, :1], table[:, 1:]
    side = math.isqrt(rest.shape[1])
    if side == grid:
        return table
    square = rearrange(rest, "1 (h w) d -> 1 d h w", h=side)
    if resize == "linear":
        square = F.interpolate(square, (grid, grid), mode="bilinear", align_corners=True)
    else:
        square = F.interpolate(square, (grid, grid), mode="bicubic", antialias=True)
    return torch.cat([first, rearrange(square, "1 d h w -> 1 (h w) d")], 1)


# ---- fitting ----------------------------------------------------------------------------------------------------------


def _agree(tensors: Tensors, shape: VitShape, heads: int, label: str) -> None:
    """Refuses weights of other sizes with the settings that would fit."""
    for key in ("cls", "patch.weight", "position", "blocks.0.fc1.weight"):
        if key not in tensors:
            raise BadData(f"{label}: weights do not fit; missing: {key}")
    width, _, patch, _ = tensors["patch.weight"].shape
    found = {"width": width, "mlp": len(tensors["blocks.0.fc1.weight"]), "patch": patch}
    if heads:
        found["heads"] = heads
    if "registers" in tensors:
        found["registers"] = tensors["registers"].shape[1]
    blocks = 1 + max(map(_block, tensors))
    if blocks < shape.blocks:
        found["blocks"] = blocks
    wrong = [name for name, number in found.items() if getattr(shape, name) != number]
    if wrong:
        here = ", ".join(f"{name}={getattr(shape, name)}" for name in wrong)
        fits = " ".join(f"--set task.vit.{name}={found[name]}" for name in wrong)
        raise BadData(f"{label}: weights of another transformer than {here}; {fits} would fit")


def _table(table: Tensor, label: str) -> Tensor:
    """A row for the class token, then a square; a file without such a row gives the class token no position."""
    rows = table.shape[1]
    if math.isqrt(rows - 1) ** 2 == rows - 1:
        return table
    if math.isqrt(rows) ** 2 == rows:
        return F.pad(table, (0, 0, 1, 0))
    raise BadData(f"{label}: a table of {rows} positions, expected a square, perhaps with a row for the class token")


def _scaled(tensors: Tensors, shape: VitShape) -> Tensors:
    """With a factor per branch where the shape has one; else the factor is in the branch's last layer."""
    found = dict(tensors)
    for block in range(1 + max(map(_block, tensors))):
        for name, layer in (("scale1", "attention.out"), ("scale2", "fc2")):
            key, last = f"blocks.{block}.{name}", f"blocks.{block}.{layer}"
            if shape.layer_scale:
                found.setdefault(key, torch.ones(shape.width))
            elif key in found:
                scale = found.pop(key)
                found |= {
                    f"{last}.weight": rearrange(scale, "d -> d 1") * found[f"{last}.weight"],
                    f"{last}.bias": scale * found[f"{last}.bias"],
                }
    return found


def _block(key: str) -> int:
    """The block that a key is of, -1 for none."""
    match = re.match(r"blocks\.(\d+)\.", key)
    return int(match[1]) if match else -1


# ---- reading ----------------------------------------------------------------------------------------------------------


def _read(source: str) -> tuple[Tensors, str, int]:
    """The tensors under our names, what messages call them, and the number of heads, which Google's alone tell, or 0."""
    path = pathlib.Path(source).expanduser()
    if path.suffix == ".npz":
        found, heads = _from_google(_arrays(path), source)
        return found, source, heads
    if source in networks.VITS:
        found, label = checkpoint.load(networks.network_file(source)), source
    elif source.startswith("hf-hub:") or (timm.is_model(source) and not path.exists()):
        found, label = weights_of(source, source if ":" in source else "hub")
    elif not path.suffix and not path.exists():
        raise BadUsage(f"pretrained={source}: no such file, nor a network of timm's{nearest(source, list(networks.VITS))}")
    else:
        found, label = weights_of("", source)
    return _renamed(found, label), label, 0


def _renamed(tensors: Mapping[str, Tensor], label: str) -> Tensors:
    """timm's, DINOv2's or transformers' names turned into ours."""
    stem = next((key for key in tensors if key.endswith((_TIMM_STEM, _HF_STEM))), "")
    if not stem:
        raise BadData(f"{label}: no weights of a vision transformer: neither {_TIMM_STEM} nor {_HF_STEM} is there")
    timms = stem.endswith(_TIMM_STEM)
    outer = stem.removesuffix(_TIMM_STEM if timms else _HF_STEM)
    plain = {key.removeprefix(outer): value for key, value in tensors.items()}
    return _moved(plain, _TIMM if timms else _hf_table(), label, "timm's" if timms else "transformers'")


def _moved(tensors: Mapping[str, Tensor], table: Table, label: str, whose: str) -> Tensors:
    left = [key for key in tensors if _LEFT_OUT.fullmatch(key)]
    if left:
        log.info("%s: %d weights left out: %s", label, len(left), checkpoint.few(left))
    try:
        return joined(checkpoint.rename({key: value for key, value in tensors.items() if key not in left}, table, whose=whose))
    except BadData as error:
        raise BadData(f"{label}: {error}") from None


_TIMM_STEM = "patch_embed.proj.weight"
_TIMM: Table = (
    ("cls_token", "cls"),
    ("reg_token", "registers"),
    ("register_tokens", "registers"),  # in DINOv2's own files
    ("pos_embed", "position"),
    ("patch_embed.proj.", "patch."),
    ("norm.", "norm."),
    ("blocks.{}.norm{}.", "blocks.{}.norm{}."),
    ("blocks.{}.attn.qkv.", "blocks.{}.attention.qkv."),
    ("blocks.{}.attn.proj.", "blocks.{}.attention.out."),
    ("blocks.{}.mlp.fc{}.", "blocks.{}.fc{}."),
    ("blocks.{}.ls{}.gamma", "blocks.{}.scale{}"),
)
_HF_STEM = "embeddings.patch_embeddings.projection.weight"
_HF_PARTS = {  # ViT's names, DINOv2's, and those of a network in memory since 5.0
    "norm1.": ("layernorm_before.", "norm1."),
    "norm2.": ("layernorm_after.", "norm2."),
    "attention.q.": ("attention.attention.query.", "attention.q_proj."),
    "attention.k.": ("attention.attention.key.", "attention.k_proj."),
    "attention.v.": ("attention.attention.value.", "attention.v_proj."),
    "attention.out.": ("attention.output.dense.", "attention.o_proj."),
    "fc1.": ("intermediate.dense.", "mlp.fc1."),
    "fc2.": ("output.dense.", "mlp.fc2."),
    "scale1": ("layer_scale1.lambda1",),
    "scale2": ("layer_scale2.lambda1",),
}


def _hf_table() -> Table:
    blocks = [
        (f"{block}.{{}}.{there}", f"blocks.{{}}.{here}")
        for block in ("encoder.layer", "layers")
        for here, names in _HF_PARTS.items()
        for there in names
    ]
    return (
        ("embeddings.cls_token", "cls"),
        ("embeddings.register_tokens", "registers"),
        ("embeddings.position_embeddings", "position"),
        ("embeddings.patch_embeddings.projection.", "patch."),
        ("layernorm.", "norm."),
        *blocks,
    )


# ---- Google -----------------------------------------------------------------------------------------------------------

_GOOGLE_BLOCK = "Transformer/encoderblock_{}/"
_GOOGLE: Table = (
    ("cls", "cls"),
    ("embedding/", "patch."),
    ("Transformer/posembed_input/pos_embedding", "position"),
    ("Transformer/encoder_norm/", "norm."),
    (f"{_GOOGLE_BLOCK}LayerNorm_0/", "blocks.{}.norm1."),
    (f"{_GOOGLE_BLOCK}LayerNorm_2/", "blocks.{}.norm2."),
    (f"{_GOOGLE_BLOCK}MultiHeadDotProductAttention_1/query/", "blocks.{}.attention.q."),
    (f"{_GOOGLE_BLOCK}MultiHeadDotProductAttention_1/key/", "blocks.{}.attention.k."),
    (f"{_GOOGLE_BLOCK}MultiHeadDotProductAttention_1/value/", "blocks.{}.attention.v."),
    (f"{_GOOGLE_BLOCK}MultiHeadDotProductAttention_1/out/", "blocks.{}.attention.out."),
    (f"{_GOOGLE_BLOCK}MlpBlock_3/Dense_0/", "blocks.{}.fc1."),
    (f"{_GOOGLE_BLOCK}MlpBlock_3/Dense_1/", "blocks.{}.fc2."),
)
_AXES = {  # of a layer's kernel, the input first and heads apart
    "embedding": "h w i o -> o i h w",
    **dict.fromkeys(("query", "key", "value"), "i h d -> (h d) i"),
    "out": "h d o -> o (h d)",
    "Dense_0": "i o -> o i",
    "Dense_1": "i o -> o i",
}
_QUERY = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/bias"


def _arrays(path: pathlib.Path) -> Tensors:
    """The arrays of an npz file, none of which may be a pickle."""
    if not path.is_file():
        raise BadData(f"{path}: no such weights file")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.tensor(file[name]) for name in file.files}
    except (OSError, ValueError, TypeError, AttributeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if "pickle" in str(error):
            raise UnsafeInput(f"{path}: holds a pickle, which can run code when loaded; refused") from None
        raise BadData(f"{path}: not a whole npz file of numbers ({' '.join(str(error).split())[:120]}); copy it again") from None


def _from_google(arrays: Tensors, label: str) -> tuple[Tensors, int]:
    """Google's names and kernels turned into ours, and the number of heads."""
    if _QUERY not in arrays or arrays[_QUERY].ndim < len(("heads", "features")):
        raise BadData(f"{label}: no weights of Google's vision transformer: no {_QUERY} with its heads apart")
    try:
        turned = dict(_turned(key, value) for key, value in arrays.items())
    except EinopsError as error:
        raise BadData(f"{label}: a kernel of another shape than Google's ({' '.join(str(error).split())[:120]})") from None
    return _moved(turned, _GOOGLE, label, "Google's"), len(arrays[_QUERY])


def _turned(key: str, value: Tensor) -> tuple[str, Tensor]:
    """A name that ends as ours do, and the array with the axes of a dense layer or a convolution here."""
    *places, leaf = key.split("/")
    layer = places[-1] if places else ""
    if leaf == "kernel" and layer in _AXES:
        value = rearrange(value, _AXES[layer])
    elif leaf == "bias":
        value = value.flatten()
    return "/".join([*places, {"kernel": "weight", "scale": "weight"}.get(leaf, leaf)]), value
