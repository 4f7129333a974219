"""What an answer that is a query of a detector is about: which one, and where its box lies."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.nn.boxes import cxcywh_to_xyxy


def queries_of(logits: Float[Tensor, "b q c"], answer: Int[Tensor, "b s"]) -> Int[Tensor, " b"]:
    """The query of each answer that is a query and a class, or a query and for each class whether it is meant.

    Of a query below 0, which is any, it is the one that says the class, or one of those meant, most.
    """
    query, told = answer[:, 0], answer[:, 1:]
    if (query >= 0).all():
        return query
    log_probs = logits.float().log_softmax(-1)
    meant = torch.zeros_like(log_probs[:, 0], dtype=torch.bool)
    meant = (
        meant.scatter(1, told, True)
        if told.shape[1] == 1
        else meant.index_copy(1, torch.arange(told.shape[1], device=told.device), told.bool())
    )
    surest = log_probs.masked_fill(~rearrange(meant, "b c -> b 1 c"), -torch.inf).logsumexp(-1).argmax(1)
    return torch.where(query < 0, surest, query)


def placed(
    boxes_cxcywh: Float[Tensor, "b q 4"], queries: Int[Tensor, " b"], names: Sequence[str], size_hw: Int[Tensor, "b 2"]
) -> list[dict[str, Any]]:
    """The name of each answer, as `answer`, and its query's box, `box_xyxy`, with the picture's `size_hw`, both in its pixels."""
    boxes = cxcywh_to_xyxy(boxes_cxcywh[torch.arange(len(queries), device=queries.device), queries].float())
    found = []
    for name, box, (height, width) in zip(names, boxes.tolist(), size_hw.tolist(), strict=True):
        pixels = [round(x * side, 3) for x, side in zip(box, (width, height, width, height), strict=True)]
        found.append({"answer": name, "box_xyxy": pixels, "size_hw": [height, width]})
    return found
