"""The loss of default boxes: each object's are matched by overlap, and of all others the worst mistakes count.

Source: Liu et al. 2016, SSD.
"""

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from pellucid.nn.boxes import VARIANCES, Variances, cxcywh_to_xyxy, iou, offsets_from


@dataclass(frozen=True)
class BoxTruth:
    """The objects of a batch, padded to the most that a picture has.

    Args:
        labels: from 0; background is none of them.
        present: true at real objects.
        known: pictures whose objects somebody has marked; None if all are.
    """

    boxes_cxcywh: Float[Tensor, "b t 4"]
    labels: Int[Tensor, "b t"]
    present: Bool[Tensor, "b t"]
    known: Bool[Tensor, " b"] | None = None


@dataclass(frozen=True)
class Rules:
    """How default boxes are matched and which of them count.

    Args:
        iou: from which a box is an object's.
        first_wins: of two objects whose best box is the same, as in BlitzNet; else the last one has it, as in torchvision.
        negatives: boxes without an object that count, for each with one.
        per_image: these are taken in each picture; else wherever in the batch they are worst, as in BlitzNet.
        variances: of offsets.
    """

    iou: float = 0.5
    first_wins: bool = False
    negatives: int = 3
    per_image: bool = True
    variances: Variances = VARIANCES


@torch.no_grad()
def matched(
    defaults: Float[Tensor, "n 4"], boxes_cxcywh: Float[Tensor, "b t 4"], present: Bool[Tensor, "b t"], rules: Rules = Rules()
) -> Int[Tensor, "b n"]:
    """Which object of its picture each default box answers for, -1 for none.

    Each object has the box that overlaps it most, whatever else that overlaps; other boxes have the object they overlap most, if enough.

    Args:
        defaults: cxcywh.
    Differs: an object that no box overlaps has none; with torchvision it has the first.
    """
    num, width = defaults.shape[0], present.shape[1]
    if not width:
        return torch.full((len(present), num), -1, device=present.device)
    overlap = iou(cxcywh_to_xyxy(boxes_cxcywh), cxcywh_to_xyxy(defaults))  # b t n
    overlap = overlap.masked_fill(~rearrange(present, "b t -> b t 1"), -1)
    best, found = overlap.max(1)
    found = found.masked_fill(best < rules.iou, -1)
    most, box = overlap.max(2)
    order = torch.arange(width, device=present.device)
    # a box that several objects claim is the first one's, or the last one's, whatever the device
    rank = repeat(width - order if rules.first_wins else order + 1, "t -> b t", b=len(present))
    claims = torch.zeros_like(found).scatter_reduce(1, box, rank * (most > 0), "amax")
    owner = width - claims if rules.first_wins else claims - 1
    return torch.where(claims > 0, owner, found)


def multibox_losses(
    class_logits: Float[Tensor, "b n c"],
    offsets: Float[Tensor, "b n 4"],
    defaults: Float[Tensor, "n 4"],
    truth: BoxTruth,
    rules: Rules = Rules(),
) -> dict[str, Float[Tensor, ""]]:
    """`loc`, the smooth L1 distance of matched boxes' offsets, and `conf`, cross-entropy in nats of these and of the worst others.

    Both are sums over the batch, over the number of matched boxes; 0 where there is none. A picture of unknown objects has no part.

    Args:
        class_logits: background first.
        defaults: cxcywh.
    """
    owner = matched(defaults, truth.boxes_cxcywh, truth.present, rules)
    if truth.known is not None:
        owner = owner.masked_fill(~rearrange(truth.known, "b -> b 1"), -1)
    positive = owner >= 0
    count = positive.sum().clamp_min(1)
    wanted, labels = _wanted(owner, defaults, truth)
    code = offsets_from(defaults, wanted, rules.variances).to(torch.promote_types(offsets.dtype, torch.float32))
    distance = F.smooth_l1_loss(offsets.to(code.dtype), code, reduction="none").sum(-1)
    wide = class_logits.to(code.dtype)
    entropy = F.cross_entropy(rearrange(wide, "b n c -> b c n"), labels, reduction="none")
    loc = torch.where(positive, distance, 0).sum()
    conf = torch.where(positive, entropy, 0).sum() + _hardest(entropy, positive, truth.known, rules)
    return {"loc": loc / count, "conf": conf / count}


def _wanted(owner: Int[Tensor, "b n"], defaults: Float[Tensor, "n 4"], truth: BoxTruth) -> tuple[Tensor, Tensor]:
    """Box and class index that each default box should tell: itself and background where it has no object."""
    if not truth.labels.shape[1]:
        return defaults.expand(len(owner), -1, -1), torch.zeros_like(owner)
    at, positive = owner.clamp_min(0), owner >= 0
    boxes = truth.boxes_cxcywh.gather(1, repeat(at, "b n -> b n d", d=4)).to(defaults.dtype)
    labels = truth.labels.long().gather(1, at) + 1
    return torch.where(rearrange(positive, "b n -> b n 1"), boxes, defaults), labels * positive


def _hardest(
    entropy: Float[Tensor, "b n"], positive: Bool[Tensor, "b n"], known: Bool[Tensor, " b"] | None, rules: Rules
) -> Float[Tensor, ""]:
    """The sum over the boxes without an object whose cross-entropy is largest, so many for each that has one.

    Differs: BlitzNet, which takes them from the whole batch, takes at most as many as one picture has.
    """
    out = positive if known is None else positive | ~rearrange(known, "b -> b 1")
    negative = entropy.masked_fill(out, -1)  # cross-entropy is never below 0
    if not rules.per_image:
        negative, positive = rearrange(negative, "b n -> 1 (b n)"), rearrange(positive, "b n -> 1 (b n)")
    worst = negative.sort(1, descending=True).values
    rank = torch.arange(worst.shape[1], device=worst.device)
    taken = (rank < rules.negatives * positive.sum(1, keepdim=True)) & (worst >= 0)
    return torch.where(taken, worst, 0).sum()
