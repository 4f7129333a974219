"""Losses of masks, focal, pixel by pixel, and the overlap of the whole; and the pixels that mask logits stand for."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from pellucid.losses.focal import focal_loss
from pellucid.losses.matching import Matches
from pellucid.task import Batch


def set_mask_losses(
    logits: Float[Tensor, "b q h w"], masks: Sequence[Bool[Tensor, "_ _ _"]], last: Matches, size: tuple[int, int], alone: bool = True
) -> dict[str, Float[Tensor, ""]]:
    """`mask_losses` of the last layer's matched pairs.

    Args:
        masks: of each example's objects.
    """
    pairs = zip(last.example.tolist(), last.target.tolist(), strict=True)
    wanted = [masks[i][j] for i, j in pairs]
    return mask_losses(logits[last.example, last.query], wanted, size, sum(map(len, masks)), alone)


def mask_losses(
    logits: Float[Tensor, "m h w"],
    masks: Sequence[Bool[Tensor, "_ _"]],
    size: tuple[int, int],
    num_objects: int,
    alone: bool = True,
) -> dict[str, Float[Tensor, ""]]:
    """`mask` (focal, nats a pixel) and `dice` of matched pairs, over the number of objects, at least 1.

    Args:
        masks: one for each of the logits', at the size of its own picture.
        size: height and width of the padded batch, of which the logits are a quarter.
        alone: only a picture's own pixels count; else padding does, too, as background, as with the authors.
    Source: Carion et al. 2020; Lin et al. 2017; Milletari et al. 2016.
    """
    if not len(logits):
        nothing = logits.float().sum() * 0
        return {"mask": nothing, "dice": nothing}
    num, focal, overlap = max(1, num_objects), [], []
    for one, mask in zip(logits, masks, strict=True):
        shape = (mask.shape[0], mask.shape[1])
        given = enlarged(one, shape) if alone else resized(one, size)
        wanted = mask if alone else F.pad(mask, (0, size[1] - shape[1], 0, size[0] - shape[0]))
        flat, target = given.flatten(), wanted.to(given.device).flatten()
        focal.append(focal_loss(flat, target, alpha=0.25, reduction="none").mean())
        overlap.append(dice(flat.sigmoid(), target.float()))
    return {"mask": torch.stack(focal).sum() / num, "dice": torch.stack(overlap).sum() / num}


def resized(logits: Float[Tensor, "*m h w"], size: tuple[int, int]) -> Float[Tensor, "*m y x"]:
    """Logits at another size."""
    flat = rearrange(logits.float(), "... h w -> (...) 1 h w")
    return F.interpolate(flat, size=size, mode="bilinear", align_corners=False).reshape(*logits.shape[:-2], *size)


def enlarged(logits: Float[Tensor, "*m h w"], size: tuple[int, int]) -> Float[Tensor, "*m {size[0]} {size[1]}"]:
    """Four times as large and cut to a picture's size; what lies beside the picture has no part in it."""
    height, width = (-(-side // 4) for side in size)
    return resized(logits[..., :height, :width], (4 * height, 4 * width))[..., : size[0], : size[1]]


def dice(probs: Float[Tensor, " p"], target: Float[Tensor, " p"]) -> Float[Tensor, ""]:
    """1 less twice the shared part over the sum of both, each with 1 added."""
    return 1 - (2 * (probs * target).sum() + 1) / (probs.sum() + target.sum() + 1)


# ---- what is shown ------------------------------------------------------------------------------------------------


def shown_masks(logits: Float[Tensor, "q h w"], batch: Batch, i: int, alone: bool = True) -> Float[Tensor, "q y x"]:
    """Mask logits at the size that the model saw picture `i` in, without its padding.

    Args:
        alone: nothing beside the picture has a part in them, so that they do not depend on the batch; else as with the authors.
    """
    present = batch["pixel_present"][i]
    height, width = int(present.any(1).sum()), int(present.any(0).sum())
    return enlarged(logits, (height, width)) if alone else resized(logits, (present.shape[0], present.shape[1]))[:, :height, :width]


def nearest(image: Shaped[Tensor, "*n h w"], size: tuple[int, int]) -> Shaped[Tensor, "*n y x"]:
    """A map at another size, each pixel from the one below its middle, as Pillow does it."""
    rows, columns = (((torch.arange(new) + 0.5) * old / new).long() for new, old in zip(size, image.shape[-2:], strict=True))
    return image[..., rows, :][..., columns]


def covered(
    logits: Float[Tensor, "q h w"], batch: Batch, i: int, order: Int[Tensor, " q"], alone: bool = True, smooth: bool = False
) -> Bool[Tensor, "q y x"]:
    """Which pixels of the stored picture `i` each query covers, queries in the order given.

    Args:
        smooth: logits are brought to the stored size, as MDETR's authors do; else, as DETR's, what is covered at the size that was seen.
    """
    height, width = batch["size_hw"][i].tolist()
    shown = shown_masks(logits, batch, i, alone)[order]
    if smooth:  # one by one: at the size of a photo all queries' logits may be more than memory holds
        return torch.stack([resized(one[None], (height, width))[0] > 0 for one in shown])
    return nearest(shown > 0, (height, width))  # a probability above a half
