"""From mask logits to one map that gives every pixel to one segment.

Source: Carion et al. 2020, section 4.4 and the authors' post-processing.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.losses.masks import nearest

SMALL = 4  # pixels: a segment that is no larger is none


def panoptic(
    logits: Float[Tensor, "q c"], masks: Float[Tensor, "q h w"], size: tuple[int, int], stuff: Sequence[int], threshold: float = 0.85
) -> tuple[Int[Tensor, "y x"], list[dict[str, Any]]]:
    """The segment of every pixel, and of each segment its `id`, `class_index`, `thing` and `area`.

    Queries that are sure of a class compete for every pixel; those of one class of `stuff` are one segment; what is left with four
    pixels or fewer drops out, and the others compete again.

    Args:
        masks: mask logits without padding, as `shown_masks` gives them.
        size: height and width of the map.
        stuff: classes without instances.
        threshold: probability above which a query is sure.
    Differs: the authors resize the padded map to the picture's size, which shifts it where a batch is padded.
    """
    scores, classes = logits.float().softmax(-1).max(-1)
    keep = ((classes < logits.shape[-1] - 1) & (scores > threshold)).nonzero()[:, 0]
    if not len(keep):
        return torch.zeros(size, dtype=torch.long), []
    joined = True
    while True:
        ids = nearest(masks[keep].argmax(0), size)
        if joined:  # as the authors: only the first time
            for kind in stuff:
                same = (classes[keep] == kind).nonzero()[:, 0]
                if len(same) > 1:
                    ids = torch.where(torch.isin(ids, same), same[0], ids)
        joined = False
        areas = torch.bincount(ids.flatten(), minlength=len(keep))
        large = areas > SMALL
        if large.all():
            break
        keep = keep[large]
        if not len(keep):
            return torch.zeros(size, dtype=torch.long), []
    told = [
        {"id": i, "class_index": int(classes[q]), "thing": int(classes[q]) not in stuff, "area": int(areas[i])} for i, q in enumerate(keep)
    ]
    return ids.cpu(), told
