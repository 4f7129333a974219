"""Losses of masks: focal, pixel by pixel, and the overlap of the whole."""

from collections.abc import Sequence

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.losses.focal import focal_loss


def mask_losses(
    logits: Float[Tensor, "m h w"], masks: Sequence[Bool[Tensor, "_ _"]], size: tuple[int, int], num_objects: int
) -> dict[str, Float[Tensor, ""]]:
    """`mask` (focal, nats a pixel) and `dice` of matched pairs, over the number of objects, at least 1.

    Args:
        masks: one for each of the logits', at the size of its own picture.
        size: height and width of the padded batch, to which logits are resized; what is padded counts as background.
    Source: Carion et al. 2020; Lin et al. 2017; Milletari et al. 2016.
    """
    if not len(logits):
        nothing = logits.float().sum() * 0
        return {"mask": nothing, "dice": nothing}
    wanted = torch.stack([_padded(mask, size) for mask in masks]).to(logits.device).float()
    given = F.interpolate(rearrange(logits.float(), "m h w -> m 1 h w"), size=size, mode="bilinear", align_corners=False)
    given, wanted = rearrange(given, "m 1 h w -> m (h w)"), rearrange(wanted, "m h w -> m (h w)")
    num, focal = max(1, num_objects), focal_loss(given, wanted, alpha=0.25, reduction="none")
    return {"mask": reduce(focal, "m p -> m", "mean").sum() / num, "dice": dice(given.sigmoid(), wanted).sum() / num}


def dice(probs: Float[Tensor, "m p"], target: Float[Tensor, "m p"]) -> Float[Tensor, " m"]:
    """1 less twice the shared part over the sum of both, each with 1 added."""
    return 1 - (2 * (probs * target).sum(1) + 1) / (probs.sum(1) + target.sum(1) + 1)


def _padded(mask: Tensor, size: tuple[int, int]) -> Tensor:
    return F.pad(mask, (0, size[1] - mask.shape[1], 0, size[0] - mask.shape[0]))
