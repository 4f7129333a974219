"""Which query answers for which object: the one-to-one match of least cost, for all decoder layers and pictures in one go."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pellucid.nn.boxes import cxcywh_to_xyxy, generalized_iou


@dataclass(frozen=True)
class Costs:
    """What a pair costs: its class's missing probability, the distance of the boxes, their missing overlap."""

    label: float = 1.0
    box: float = 5.0
    giou: float = 2.0


@dataclass(frozen=True)
class Matches:
    """Matched pairs, one a row, by layer, example, query and object of the example, queries ascending."""

    layer: Int[Tensor, " m"]
    example: Int[Tensor, " m"]
    query: Int[Tensor, " m"]
    target: Int[Tensor, " m"]

    def of_layer(self, layer: int) -> "Matches":
        """The pairs of one layer."""
        rows = self.layer == layer
        return Matches(self.layer[rows], self.example[rows], self.query[rows], self.target[rows])


@torch.no_grad()
def match(
    logits: Float[Tensor, "l b q c"],
    boxes_cxcywh: Float[Tensor, "l b q 4"],
    classes: Sequence[Int[Tensor, " _"]],
    boxes: Sequence[Float[Tensor, "_ 4"]],
    costs: Costs = Costs(),
    allowed: Bool[Tensor, "b q n"] | None = None,
) -> Matches:
    """The pairs of least total cost, in each layer and picture by itself; of more objects than queries some stay without.

    A cost that is not a number counts as very high, so that what is wrong shows in the loss and not here.

    Args:
        classes: of each example's objects.
        boxes: the same, as `boxes_cxcywh`.
        allowed: pairs that may be matched, padded to the largest number of objects; by default all.
    Source: Carion et al. 2020, equation 1. A cost is of one picture's queries and its own objects, and all leave the device together.
    """
    sizes = [len(c) for c in classes]
    if not any(sizes):
        empty = torch.zeros(0, dtype=torch.long, device=logits.device)
        return Matches(empty, empty, empty, empty)
    index, wanted = (pad_sequence(list(values), batch_first=True) for values in (classes, boxes))
    cost = pair_costs(logits, boxes_cxcywh, index, wanted, costs)
    if allowed is not None:
        cost = cost.masked_fill(~rearrange(allowed, "b q n -> b n q"), 1e6)
    table = np.nan_to_num(cost.cpu().numpy(), copy=False, nan=1e7, posinf=1e7, neginf=-1e7)  # l b n q
    found = [(i, j, *linear_sum_assignment(table[i, j, :n])) for i in range(len(table)) for j, n in enumerate(sizes) if n]
    counts = [len(targets) for _, _, targets, _ in found]
    columns = (
        np.repeat([i for i, _, _, _ in found], counts),
        np.repeat([j for _, j, _, _ in found], counts),
        np.concatenate([queries for _, _, _, queries in found]),
        np.concatenate([targets for _, _, targets, _ in found]),
    )
    order = np.lexsort(columns[2::-1])
    return Matches(*(torch.from_numpy(np.ascontiguousarray(column[order])).long().to(logits.device) for column in columns))


def pair_costs(
    logits: Float[Tensor, "l b q c"],
    boxes_cxcywh: Float[Tensor, "l b q 4"],
    classes: Int[Tensor, "b n"],
    boxes: Float[Tensor, "b n 4"],
    costs: Costs,
) -> Float[Tensor, "l b n q"]:
    """What each object would cost with each query of its own picture."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    probs = logits.to(wide).softmax(-1)  # Differs from a likelihood: the paper takes the probability, as it is of the boxes' size
    index = rearrange(classes, "b n -> 1 b 1 n").expand(*probs.shape[:3], -1)
    label = probs.gather(-1, index)
    given, wanted = boxes_cxcywh.to(wide), rearrange(boxes.to(wide), "b n d -> 1 b n d")
    distance = torch.cdist(given, wanted.expand(len(given), -1, -1, -1), p=1)
    overlap = generalized_iou(cxcywh_to_xyxy(given), cxcywh_to_xyxy(wanted))
    return rearrange(costs.box * distance - costs.label * label - costs.giou * overlap, "l b q n -> l b n q")
