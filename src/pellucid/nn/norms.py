"""Frozen batch norms of a pretrained backbone, made to learn again."""

from typing import Any

import torch
from timm.layers import FrozenBatchNormAct2d
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

from pellucid.nn.resnet import BatchNorm, FrozenNorm


def thaw_norms(module: nn.Module) -> None:
    """Puts in place of each frozen norm, ours or timm's, a batch norm that trains and begins where the frozen one stands."""
    for name, child in list(module.named_children()):
        if not isinstance(child, FrozenNorm | FrozenBatchNormAct2d):
            thaw_norms(child)
            continue
        state = child.state_dict()
        with torch.device(state["weight"].device):
            norm: Any = (BatchNorm if isinstance(child, FrozenNorm) else BatchNormAct2d)(len(state["weight"]), child.eps)
        if isinstance(child, FrozenBatchNormAct2d):
            norm.drop, norm.act = child.drop, child.act
        norm.load_state_dict(state | {"num_batches_tracked": torch.tensor(0)})
        setattr(module, name, norm.train(child.training))
