"""Networks of pictures: any of timm's, with the weights of a registry package, the hub or a file, every key of which has a place."""

import difflib
import logging
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack

import timm
from timm.models import adapt_input_conv
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

from pellucid import checkpoint
from pellucid.coerce import nearest
from pellucid.data import networks
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.nn import tresnet

log = logging.getLogger("pellucid")
TINY = "resnet_tiny"
_NAMED = (*networks.NETWORKS, TINY)
# of timm's classes, by what their blocks give: rows of tokens without a prefix (a class token joins later, if at all), maps with
# channels last, and several tensors or now this and now that
_TOKENS = ("MlpMixer", "Hiera", "Levit", "LevitDistilled", "Cait", "Xcit")
_CHANNELS_LAST = ("VOLO",)
_MIXED = ("HighResolutionNet", "CrossVit", "TNT", "CoaT", "Twins", "EfficientFormer")


class Options(TypedDict, total=False):
    """How a network differs from timm's own settings.

    drop_path: probability of leaving out the deepest residual branch.
    drop: dropout before the last layer.
    global_pool: how the last map becomes one row, as "avg", "max", "token".
    in_size: side of the pictures it will see, for networks that must know.
    small_stem: the first convolution keeps the resolution, and no pooling follows, for pictures of 32 or 64 pixels.
    in_chans: channels of a picture, where they are not three; pretrained weights of the first convolution are repeated, or summed to one.
    """

    drop_path: float
    drop: float
    global_pool: str | None
    in_size: int | None
    small_stem: bool
    in_chans: int


class Block(NamedTuple):
    """A module whose output is a map or a row of tokens.

    `layout` is its einops pattern: `b d h w`, `b h w d` or `b n d`; `prefix` counts the tokens before those of the picture.
    """

    module: str
    layout: str
    prefix: int = 0


def backbone(name: str, num_classes: int, pretrained: str = "", **options: Unpack[Options]) -> nn.Module:
    """The network; of `pretrained` weights all but a head of another size are in place, and `left_fresh` names those that are not.

    Args:
        name: of `pellucid list models`, of timm, or `resnet_tiny`: a ResNet of four small blocks.
        num_classes: 0 leaves out the head; the network then gives what the head would see.
        pretrained: empty for random weights; a name of `pellucid list models`, or `auto` for the one that goes with `name`; `hub` for
            timm's own, or `hf-hub:owner/name`; else a safetensors file, with timm's, torchvision's or the official TResNet's names.
        options: as `Options` says.
    Raises:
        BadUsage: no such network or weights, or the network has no such option.
        BadData: the weights do not fit, or cannot be had.
    """
    model = _network(name, num_classes, options)
    stem = _small_stem(model, name) if options.get("small_stem") else ()
    left = list(model.state_dict())
    if pretrained:
        tensors, source = weights_of(name, pretrained)
        left = load_weights(model, tensors, source, stem, options.get("in_chans", 3))
        log.info("%s: weights of %s; %s", name, source, f"fresh are {', '.join(left)}" if left else "all in place")
    model.left_fresh = tuple(left)  # type: ignore[assignment]
    return model


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str, stem: Sequence[str] = (), in_chans: int = 3) -> list[str]:
    """Loads weights into a network of `backbone`; gives the names of those that stay fresh.

    These are those of `stem` that have another shape, and the head's where it has another number of classes or the file has none. A
    network without a head takes none. Of a network whose pictures have not three channels, a first convolution that has is adapted.

    Raises:
        BadData: any other key is missing, unknown or of another shape.
        BadUsage: the first convolution cannot be adapted.
    """
    own, given = model.state_dict(), _timm_names(model, tensors)
    if in_chans != 3:
        given |= _adapted(model, given, source, in_chans)

    def differs(key: str) -> bool:
        return key not in given or given[key].shape != own[key].shape

    of_head = tuple(f"{head}." for head in _heads(model))
    heads = [key for key in own if key.startswith(of_head)]
    if not heads:
        given = {key: value for key, value in given.items() if not key.startswith(of_head)}
    left = [key for key in stem if differs(key)] + (heads if any(map(differs, heads)) else [])
    given |= {k: own[k] for k in own if k.endswith("num_batches_tracked") and k not in given}  # older files do without
    checkpoint.load_into(model, given, source, skip=left)
    return left


def blocks_of(model: nn.Module) -> dict[str, Block]:
    """The modules whose outputs are feature maps or tokens, first to last; each runs once per forward. None where they are neither."""
    if type(model).__name__ in _MIXED:
        return {}
    modules = dict(model.named_modules())
    told = [entry.get("module", "") for entry in getattr(model, "feature_info", None) or ()]
    names = [name for name in dict.fromkeys(told) if name and name in modules]
    rows = [name for name in ("blocks", "stages", "layers") if isinstance(modules.get(name), (nn.Sequential, nn.ModuleList))]
    if not names and rows:
        names = [f"{rows[0]}.{child}" for child, _ in modules[rows[0]].named_children()]
    elif not names:
        names = [name for name, _ in model.named_children() if name.startswith(("layer", "stage"))]
    layout, prefix = _layout(model)
    return {name: Block(name, layout, prefix) for name in names}


def _layout(model: nn.Module) -> tuple[str, int]:
    kind, prefix = type(model).__name__, getattr(model, "num_prefix_tokens", None)
    if kind in _CHANNELS_LAST or getattr(model, "output_fmt", None) == "NHWC":
        return "b h w d", 0
    if kind in _TOKENS:
        return "b n d", 0
    return ("b d h w", 0) if prefix is None else ("b n d", prefix)


# ---- the network ------------------------------------------------------------------------------------------------------


def _architecture(name: str) -> tuple[str, dict[str, Any]]:
    """timm's name, and the settings of it that are ours."""
    return networks.network_architecture(name) if name in networks.NETWORKS else (name, {})


def _network(name: str, num_classes: int, options: Options) -> nn.Module:
    architecture, given = _architecture(name)
    if name != TINY and not timm.is_model(architecture):
        close = difflib.get_close_matches(name, [*_NAMED, *timm.list_models()], 1, 0.5)
        raise BadUsage(f"no network {name!r}" + nearest(name, close or [*_NAMED, "all of timm's"]))
    if "." in architecture and architecture not in timm.list_pretrained():
        kind = architecture.split(".")[0]
        tags = [known for known in timm.list_pretrained() if known.startswith(f"{kind}.")]
        raise BadUsage(f"no network {name!r}{nearest(name, tags) if tags else f'; say {kind}, it has no tags'}")
    names = {"drop_path": "drop_path_rate", "drop": "drop_rate", "global_pool": "global_pool", "in_chans": "in_chans"}
    given |= {names[key]: value for key, value in options.items() if key in names and value}
    size = options.get("in_size")
    if name != TINY and size and _fixed_size(architecture) not in (0, size):
        given["img_size"] = size
    try:
        if name == TINY:
            block: Any = BasicBlock
            return ResNet(block, (1, 1, 1, 1), num_classes=num_classes, channels=(12, 24, 48, 64), **given)
        return timm.create_model(architecture, num_classes=num_classes, **given)
    except (TypeError, AssertionError) as error:
        asked = ", ".join(f"{key}={value}" for key, value in given.items())
        raise BadUsage(f"network {name!r} cannot be made with {asked} ({error})") from None


def _fixed_size(architecture: str) -> int:
    """The side of pictures that the network is made for, 0 where it takes any."""
    config = timm.get_pretrained_cfg(architecture)
    return config.input_size[-1] if config and config.fixed_input_size else 0


def _small_stem(model: nn.Module, name: str) -> tuple[str, ...]:
    """Has the first convolution keep the resolution; gives the weights that pretrained ones may not fit."""
    stem = getattr(model, "conv1" if isinstance(model, ResNet) else "conv_stem", None)
    if not isinstance(stem, nn.Conv2d):
        raise BadUsage(f"small_stem: {name} has no single first convolution, as ResNets, EfficientNets and MobileNets have")
    if not isinstance(model, ResNet):
        stem.stride = (1, 1)
        return ()
    fresh = nn.Conv2d(stem.in_channels, stem.out_channels, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    model.add_module("conv1", fresh)
    model.add_module("maxpool", nn.Identity())
    return ("conv1.weight",)


# ---- weights ----------------------------------------------------------------------------------------------------------


def weights_of(name: str, pretrained: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of pretrained weights, as `backbone` takes them, and what messages call them.

    Raises:
        BadUsage, BadData, UnsafeInput: as `backbone`.
    """
    if pretrained == "auto" or pretrained in networks.NETWORKS:
        found = _registry_name(name, pretrained)
        return checkpoint.load(networks.network_file(found)), found
    if pretrained == "hub" or pretrained.startswith("hf-hub:"):
        path, source = _hub_file(name, pretrained)
        return checkpoint.load(path), source
    path = pathlib.Path(pretrained).expanduser()
    if path.is_dir():
        path = path / "model.safetensors"  # a run
    if not path.suffix and not path.exists():
        raise BadUsage(f"pretrained={pretrained}: no such file{nearest(pretrained, ['auto', 'hub', *networks.NETWORKS])}")
    try:
        return checkpoint.load(path), str(path)
    except UnsafeInput as error:
        raise UnsafeInput(f"{error}, which `pellucid convert {path}` makes of a file that holds tensors only") from None


def _registry_name(name: str, pretrained: str) -> str:
    """The registry weights that go with a network."""
    made = _architecture(name)
    found = next((known for known in networks.NETWORKS if networks.network_architecture(known) == made), "")
    if pretrained == "auto" and not found:
        raise BadUsage(
            f"no registry package carries weights of {name}, only of {', '.join(networks.NETWORKS)}: "
            "say pretrained=hub for timm's own, a safetensors file, or nothing for random weights"
        )
    if pretrained not in ("auto", found):
        raise BadUsage(f"the weights {pretrained} are not of {name}; they go with model={pretrained}")
    return found


def _hub_file(name: str, pretrained: str) -> tuple[pathlib.Path, str]:
    """The safetensors file of a model on the hub, downloaded once; never another format."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    config = None if name == TINY else timm.get_pretrained_cfg(_architecture(name)[0])
    place = pretrained.removeprefix("hf-hub:") if pretrained != "hub" else config.hf_hub_id if config else None
    if not place:
        raise BadUsage(f"pretrained=hub: timm has no weights of {name} on the hub; `hf-hub:owner/name` or a safetensors file names others")
    try:
        return pathlib.Path(hf_hub_download(place, "model.safetensors")), f"hf-hub:{place}"
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        why = " ".join(str(error).split())[:160]
        remedy = "try again with a network, or say pretrained=FILE.safetensors"
        raise BadData(f"hf-hub:{place}: model.safetensors cannot be had ({why}); {remedy}") from None


def _heads(model: nn.Module) -> tuple[str, ...]:
    """Names of the last layers."""
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or "fc"
    return (named,) if isinstance(named, str) else tuple(named)


def _adapted(model: nn.Module, given: Mapping[str, Tensor], source: str, in_chans: int) -> dict[str, Tensor]:
    """First convolutions of three channels for pictures of another number, as timm adapts them."""
    told = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv") or "conv1"
    own, found = model.state_dict(), {}
    for key in (f"{name}.weight" for name in ((told,) if isinstance(told, str) else told)):
        if key in given and key in own and given[key].shape != own[key].shape:
            try:
                found[key] = adapt_input_conv(in_chans, given[key])
            except NotImplementedError:
                raise BadUsage(f"{source}: {key} cannot be adapted to pictures of {in_chans} channels; take another network") from None
    return found


def _timm_names(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under timm's names and at the size of the model's pictures."""
    given = dict(tensors)
    if given and all(key.startswith("net.") for key in given):
        given = {key.removeprefix("net."): value for key, value in given.items()}  # a run's own weights
    if tresnet.is_official(given):
        given = tresnet.from_official(given)
    suit = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)  # timm's: old names, positions of another size
    return dict(suit(given, model)) if suit else given
