"""Which query answers for which object: the one-to-one match of least cost, for all decoder layers and pictures in one go."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

Classes = Sequence[Int[Tensor, " _"]] | Sequence[Float[Tensor, "_ _c"]]  # of objects: an index each, or a row of weights

FORBIDDEN, BROKEN = 1e6, 1e7  # costs of a pair that may not be, and of one that is not a number


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
    classes: Classes,
    boxes: Sequence[Float[Tensor, "_ 4"]],
    costs: Costs = Costs(),
    allowed: Sequence[Bool[Tensor, "q _"]] | None = None,
) -> Matches:
    """The pairs of least total cost, in each layer and picture by itself; of more objects than queries some stay without.

    A cost that is not a number counts as very high, so that what is wrong shows in the loss and not here.

    Args:
        classes: of each example's objects; or for each object a row of weights, by which the probabilities of all classes are summed.
        boxes: the same, as `boxes_cxcywh`.
        allowed: of each example, pairs that may be matched; by default all.
    Source: Carion et al. 2020, equation 1. A cost is of one picture's queries and its own objects, and all leave the device together.
    """
    sizes = [len(c) for c in classes]
    if not any(sizes):
        return Matches(*torch.zeros(4, 0, dtype=torch.long, device=logits.device))
    with torch.inference_mode():
        cost = pair_costs(logits, boxes_cxcywh, classes, boxes, costs)
    if allowed is not None:
        pairs = torch.cat([rearrange(some, "q n -> n 1 q") for some in allowed])
        cost = cost.masked_fill(~pairs, FORBIDDEN)
    table = cost.cpu().numpy()  # t l q
    if not np.isfinite(table).all():
        table = np.nan_to_num(table, nan=BROKEN, posinf=BROKEN, neginf=-BROKEN)
    starts = np.cumsum([0, *sizes])
    places = [(i, j) for i in range(len(logits)) for j, n in enumerate(sizes) if n]
    found = [linear_sum_assignment(table[starts[j] : starts[j + 1], i]) for i, j in places]
    counts = [len(targets) for targets, _ in found]
    target, query = (np.concatenate(column) for column in zip(*found, strict=True))
    columns = np.stack([*np.repeat(np.array(places).T, counts, axis=1), query, target])
    columns = columns[:, np.lexsort(columns[2::-1])]
    return Matches(*torch.from_numpy(columns).to(logits.device))


def pair_costs(
    logits: Float[Tensor, "l b q c"],
    boxes_cxcywh: Float[Tensor, "l b q 4"],
    classes: Classes,
    boxes: Sequence[Float[Tensor, "_ 4"]],
    costs: Costs,
) -> Float[Tensor, "t l q"]:
    """What each object of the batch would cost with each query of its own picture."""
    wide, sizes = torch.promote_types(logits.dtype, torch.float32), list(map(len, classes))
    example = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(logits.device)
    # the paper takes probabilities, being of the boxes' size
    cost = _label_probs(logits.to(wide), classes, example).mul_(-costs.label)
    queries = _planes(rearrange(boxes_cxcywh.to(wide), "l b q d -> d b (l q)"))
    objects = _planes(rearrange(torch.cat(list(boxes)).to(wide), "t d -> d t 1"))
    if logits.device.type == "cpu":  # a picture's own numbers fit its cache, and need not be copied for each of its objects
        ends = np.cumsum([0, *sizes])
        for j, (start, end) in enumerate(itertools.pairwise(ends)):
            _add_boxes(cost[start:end], queries[:, j : j + 1], objects[:, start:end], costs)
    else:
        _add_boxes(cost, queries[:, example], objects, costs)
    return rearrange(cost, "t (l q) -> t l q", l=len(logits))


def _label_probs(logits: Float[Tensor, "l b q c"], classes: Classes, example: Int[Tensor, " t"]) -> Float[Tensor, "t lq"]:
    """What each query gives the class of each object, or its classes by their weights, layer after layer."""
    if not classes[0].is_floating_point():
        index = torch.cat(list(classes))
        return torch.cat([layer.softmax(-1)[example, :, index] for layer in logits], 1)  # a layer's fit a CPU's cache
    rows = pad_sequence(list(classes), batch_first=True).to(logits)  # b n c
    place = torch.cat([torch.arange(len(of_one), device=logits.device) for of_one in classes])
    with torch.autocast(logits.device.type, enabled=False):
        probs = torch.matmul(rows, logits.softmax(-1).mT)  # l b n q: no picture's queries meet another's objects
    return rearrange(probs[:, example, place], "l t q -> t (l q)")


def _planes(boxes: Float[Tensor, "4 ..."]) -> Float[Tensor, "9 ..."]:
    """Centre, size, left and top, right and bottom, area: each by itself, as the steps of a cost need them."""
    centre, size = boxes[:2], boxes[2:]
    return torch.cat([centre, size, centre - size / 2, centre + size / 2, size.prod(0, keepdim=True)])


def _add_boxes(cost: Float[Tensor, "t q"], one: Float[Tensor, "9 #t q"], other: Float[Tensor, "9 t 1"], costs: Costs) -> None:
    """Adds the distance and the missing overlap of boxes, given as `_planes`."""
    centre_size, low, high, area = one.split((4, 2, 2, 1))
    centre_size_, low_, high_, area_ = other.split((4, 2, 2, 1))
    cost.add_((centre_size - centre_size_).abs_().sum(0), alpha=costs.box)
    within = torch.minimum(high, high_).sub_(torch.maximum(low, low_))  # along both axes; below 0 where boxes lie apart
    around = (centre_size[2:] + centre_size_[2:]).sub_(within).prod(0)  # from the first edge to the last
    shared = within.clamp_min_(0).prod(0)
    union = (area[0] + area_[0]).sub_(shared)
    # of generalized IoU, shared / union - (around - union) / around, the 1 that is the same for all pairs is left out
    cost.addcdiv_(shared, union, value=-costs.giou).addcdiv_(union, around, value=-costs.giou)
