"""Of a detector's many overlapping boxes, those that are told."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms


@dataclass(frozen=True)
class Keep:
    """Which boxes of a picture are told.

    Args:
        score: a probability below which none is.
        candidates: of each class, the likeliest, before any is suppressed.
        iou: of a likelier box of its class, above which one is suppressed.
        per_class: of each class, after that.
        total: of a picture.
    Source: BlitzNet.
    """

    score: float = 0.01
    candidates: int = 400
    iou: float = 0.45
    per_class: int = 50
    total: int = 200


@dataclass(frozen=True)
class Kept:
    """A picture's boxes, likeliest first.

    Args:
        box: which of the boxes given.
    """

    box: Int[Tensor, " m"]
    label: Int[Tensor, " m"]
    prob: Float[Tensor, " m"]


def kept(probs: Float[Tensor, "n c"], boxes_xyxy: Float[Tensor, "n 4"], keep: Keep = Keep()) -> Kept:
    """The boxes that are told, one of them for each of its classes.

    Args:
        probs: without the background's.
    """
    prob, box = probs.topk(min(keep.candidates, len(probs)), 0)  # k c
    label = torch.arange(probs.shape[1], device=probs.device).expand_as(box)
    likely = prob > keep.score
    prob, box, label = prob[likely], box[likely], label[likely]
    left = batched_nms(boxes_xyxy[box].float(), prob.float(), label, keep.iou)  # likeliest first
    one_hot = F.one_hot(label[left], probs.shape[1])
    rank = one_hot.cumsum(0).gather(1, rearrange(label[left], "m -> m 1"))
    left = left[rearrange(rank, "m 1 -> m") <= keep.per_class][: keep.total]
    return Kept(box[left], label[left], prob[left])
