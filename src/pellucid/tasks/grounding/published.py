"""What weights of an MDETR tell about its network, and the task that they belong to; a file of them says nothing else of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import BadData, BadUsage
from pellucid.nn.mdetr import ANSWERS
from pellucid.nn.resnet import NAMES, resnet
from pellucid.nn.timm_maps import PREFIX, timm_maps
from pellucid.tasks.grounding.captions import WORDS, reader
from pellucid.tasks.grounding.replies import known
from pellucid.tasks.grounding.settings import GroundingSettings
from pellucid.tasks.grounding.task import Grounding, check, network

_NEEDED = ("queries.weight", "class_head.weight", "encoder.layers.0.linear1.weight", "decoder.layers.0.linear1.weight")
_HEADS = {"align": "align_queries.weight", "final": "final_head.weight", "contrast": "contrast_picture.weight"}
_TIMM = "backbone.net."
_NETS = tuple(f"{PREFIX}tf_efficientnet_b{i}" for i in range(8))  # the family of the published ones, b3 and b5
_USUAL = {"align": 1.0, "final": 1.0, "contrast": 0.1}  # weights of the losses, where the recipe's are 0


def recognised(tensors: Mapping[str, Tensor], settings: GroundingSettings) -> GroundingSettings:
    """The settings, with sizes, heads and backbone as the weights show them; all else, as the heads of attention, is the settings' own.

    Args:
        tensors: under the names of `Mdetr`.
    Raises:
        BadData: a backbone or heads for answers that we do not know, or a part without which there is no MDETR.
    """
    lacking = [key for key in _NEEDED if key not in tensors]
    if lacking:
        raise BadData(f"no whole MDETR: {lacking[0]} is not there")
    queries, slots = tensors["queries.weight"], len(tensors["class_head.weight"])
    told: dict[str, Any] = {"num_queries": len(queries), "width": queries.shape[1], "num_tokens": slots - 1}
    told |= {f"{coder}_layers": _num_layers(tensors, coder) for coder in ("encoder", "decoder")}
    told["feedforward"] = len(tensors["encoder.layers.0.linear1.weight"])
    told["backbone"] = _backbone(tensors, settings.backbone)
    for name, head in _HEADS.items():
        told[name] = (getattr(settings, name) or _USUAL[name]) if head in tensors else 0.0
    codes = [tensors[head] for head in (_HEADS["align"], _HEADS["contrast"]) if head in tensors]
    told |= {"align_width": len(codes[0])} if codes else {}
    told["answers"] = _answers(tensors)
    told["masks"] = "per_head" if any(key.startswith("mask_head.") for key in tensors) else ""
    return replace(settings, **told)


def task_of(settings: GroundingSettings) -> Grounding:
    """The task that the settings describe, its tokenizer and the sizes of its text encoder from their `text`; all weights are random.

    Raises:
        BadUsage: the settings' `text` learns its words from training captions, or it is not known what the heads answer, or the settings
            do not go together.
        BadData: no such text encoder.
    """
    if settings.text == WORDS:
        raise BadUsage(f"task.text={WORDS}: its words are its own training captions'; name a folder with config.json and tokenizer.json")
    if settings.answers.startswith("gqa") and not settings.answer_list:
        raise BadUsage("these weights answer GQA's questions by number; name the authors' file of answers with task.answer_list")
    check(settings)
    read = reader(replace(settings, from_random=True), ())
    replies = known(settings.answers, settings.answer_list) if settings.answers else None
    return Grounding(network(settings, read, ""), read, settings, replies)


# ---- parts ------------------------------------------------------------------------------------------------------------


def _num_layers(tensors: Mapping[str, Tensor], coder: str) -> int:
    return len({key.split(".")[2] for key in tensors if key.startswith(f"{coder}.layers.")})


def _answers(tensors: Mapping[str, Tensor]) -> str:
    """Whose answers the heads give."""
    heads = {key.split(".")[1].removeprefix("reply_") for key in tensors if key.startswith("answer_heads.")}
    found = next((name for name, those in ANSWERS.items() if heads == set(those)), "")
    if heads and not found:
        raise BadData(f"heads for answers called {', '.join(sorted(heads))}; known are those of {', '.join(ANSWERS)}")
    return found


def _backbone(tensors: Mapping[str, Tensor], first: str) -> str:
    """The name of the network with these weights; of several, as whether it is dilated cannot be seen, `first`."""
    shapes = {key.removeprefix("backbone."): value.shape for key, value in tensors.items() if key.startswith("backbone.")}
    timm = any(key.startswith(_TIMM) for key in tensors)
    for name in (first, *(_NETS if timm else NAMES)):
        if name.startswith(PREFIX) == timm and {key: value.shape for key, value in _bare(name).state_dict().items()} == shapes:
            return name
    told = f"name it with task.backbone={PREFIX}NAME" if timm else f"known are {', '.join(NAMES)}"
    raise BadData(f"a backbone that is none of {'an EfficientNet, b0 to b7' if timm else 'the ResNets'}; {told}")


def _bare(name: str) -> nn.Module:
    """The backbone without memory for its weights."""
    with torch.device("meta"):
        return timm_maps(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else resnet(name)
