"""Boxes: their ways of being written, and how far two of them agree. Computed in 32 bits at least, whatever the model's precision."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def cxcywh_to_xyxy(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Centre, width and height as left, top, right, bottom."""
    centre, size = boxes.split(2, -1)
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def xyxy_to_cxcywh(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Left, top, right, bottom as centre, width and height."""
    low, high = boxes.split(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1)


Variances = tuple[float, float, float, float]
VARIANCES: Variances = (0.1, 0.1, 0.2, 0.2)  # SSD's: what an offset of 1 stands for


def offsets_from(
    defaults: Float[Tensor, "*#b n 4"], boxes_cxcywh: Float[Tensor, "*b n 4"], variances: Variances = VARIANCES
) -> Float[Tensor, "*b n 4"]:
    """How far each box lies from the default box opposite, in its sizes, and the logarithms of how much larger it is, over the variances.

    Source: Liu et al. 2016, SSD. A side of nothing counts as the smallest there is, so that no offset is infinite.
    """
    (centre, size), (at, of) = _wide(boxes_cxcywh).split(2, -1), _wide(defaults).split(2, -1)
    size = size.clamp_min(torch.finfo(size.dtype).tiny)
    code = torch.cat([(centre - at) / of, (size / of).log()], -1)
    return code / code.new_tensor(variances)


def boxes_at(
    defaults: Float[Tensor, "*#b n 4"], offsets: Float[Tensor, "*b n 4"], variances: Variances = VARIANCES
) -> Float[Tensor, "*b n 4"]:
    """The boxes at these offsets from the default boxes, as `offsets_from` gives them, all cxcywh; they may reach out of the picture."""
    wide = _wide(offsets)
    (shift, growth), (at, of) = (wide * wide.new_tensor(variances)).split(2, -1), _wide(defaults).split(2, -1)
    return torch.cat([at + shift * of, growth.exp() * of], -1)


def clipped(boxes_xyxy: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Boxes in shares of a picture, without what lies beside it.

    Differs: BlitzNet moves the left edge and keeps the width.
    """
    return boxes_xyxy.clamp(0, 1)


def area(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Width times height of boxes in xyxy."""
    low, high = boxes.split(2, -1)
    return (high - low).prod(-1)


def iou(a: Float[Tensor, "*#b n 4"], b: Float[Tensor, "*#b m 4"]) -> Float[Tensor, "*c n m"]:
    """Intersection over union of each box of `a` with each of `b`, both xyxy; 0 where both have no area."""
    return _overlap(rearrange(a, "... n d -> ... n 1 d"), rearrange(b, "... m d -> ... 1 m d"))[0]


def generalized_iou(a: Float[Tensor, "*#b n 4"], b: Float[Tensor, "*#b m 4"]) -> Float[Tensor, "*c n m"]:
    """Generalized IoU of each box of `a` with each of `b`, both xyxy, between -1 and 1.

    Source: Rezatofighi et al. 2019: IoU less the share of the smallest box around both that neither fills.
    """
    return paired_generalized_iou(rearrange(a, "... n d -> ... n 1 d"), rearrange(b, "... m d -> ... 1 m d"))


def paired_generalized_iou(a: Float[Tensor, "*#b 4"], b: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*c"]:
    """Generalized IoU of boxes that stand opposite each other, both xyxy."""
    a, b = _wide(a), _wide(b)
    shared, union = _overlap(a, b)
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    around = (high - low).prod(-1)
    # Differs: two points at one place give 0 here, NaN in the authors' code
    return shared - (around - union) / around.clamp_min(torch.finfo(around.dtype).tiny)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and union of boxes that broadcast against each other."""
    a, b = _wide(a), _wide(b)
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    union = area(a) + area(b) - shared
    return shared / union.clamp_min(torch.finfo(union.dtype).tiny), union


def _wide(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype == torch.float64 else boxes.float()
