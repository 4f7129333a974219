"""Losses of maps that say a class for each pixel, of which some are void."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional as F

VOID = 255  # the label of pixels that are no class's


def pixel_loss(logits: Float[Tensor, "b c h w"], labels: Integer[Tensor, "b y x"], align_corners: bool = False) -> Float[Tensor, ""]:
    """Cross-entropy in nats, averaged over the batch's pixels that are not void; 0 where all are.

    Args:
        logits: of any size; they are brought to that of the labels, bilinearly.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if wide.shape[-2:] != labels.shape[-2:]:
        wide = F.interpolate(wide, size=labels.shape[-2:], mode="bilinear", align_corners=align_corners)
    # a mean over nothing would be NaN
    return F.cross_entropy(wide, labels.long(), ignore_index=VOID, reduction="sum") / (labels != VOID).sum().clamp_min(1)


def agnostic_labels(labels: Integer[Tensor, "b y x"]) -> Integer[Tensor, "b y x"]:
    """1 where there is any class but background, 0 where background is; void stays void."""
    return labels.where(labels == VOID, (labels > 0).to(labels.dtype))


def segmentation_losses(
    labels: Integer[Tensor, "b y x"],
    map_logits: Float[Tensor, "b c h w"],
    aware_logits: Sequence[Float[Tensor, "b c _ _"]] = (),
    agnostic_logits: Sequence[Float[Tensor, "b 2 _ _"]] = (),
    align_corners: bool = False,
) -> dict[str, Float[Tensor, ""]]:
    """`map`, and, of those that are given, `aware` and `agnostic`, each summed over its maps.

    Args:
        labels: 0 is background; a picture that nobody has drawn is void throughout and costs nothing.
    """
    losses = {"map": pixel_loss(map_logits, labels, align_corners)}
    for name, maps, wanted in (("aware", aware_logits, labels), ("agnostic", agnostic_logits, agnostic_labels(labels))):
        if maps:
            losses[name] = torch.stack([pixel_loss(one, wanted, align_corners) for one in maps]).sum()
    return losses
