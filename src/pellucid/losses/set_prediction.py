"""The loss of a set: a class for every query, a box for every matched one, of all decoder layers at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from pellucid.losses.matching import Classes, Matches
from pellucid.nn.boxes import cxcywh_to_xyxy, paired_generalized_iou


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts.

    Args:
        no_object: class weight of a query that answers for nothing, beside 1 of all others.
    """

    label: float = 1.0
    box: float = 5.0
    giou: float = 2.0
    no_object: float = 0.1


@dataclass(frozen=True)
class Truth:
    """The objects of a batch: for each example their classes, as of `match`, and their boxes, as `boxes_cxcywh`."""

    classes: Classes
    boxes: Sequence[Float[Tensor, "_ 4"]]

    @property
    def num(self) -> int:
        """Objects in the batch."""
        return sum(map(len, self.classes))

    def matched(self, values: Sequence[Tensor], matches: Matches) -> Tensor:
        """One value per matched pair, out of lists of values by example."""
        sizes = torch.tensor([0, *map(len, self.classes)], device=matches.target.device)
        return torch.cat(list(values))[sizes.cumsum(0)[matches.example] + matches.target]


def set_losses(
    logits: Float[Tensor, "l b q c"], boxes_cxcywh: Float[Tensor, "l b q 4"], truth: Truth, matches: Matches, weights: Weights = Weights()
) -> dict[str, Float[Tensor, " l"]]:
    """The weighted `ce`, `bbox` and `giou` of each layer.

    Cross-entropy, in nats, is a mean over all queries by their class's weight; for the boxes see `box_losses`.

    Source: Carion et al. 2020, equation 2.
    """
    ce = class_loss(logits, truth, matches, weights.no_object)
    return {"ce": weights.label * ce} | box_losses(boxes_cxcywh, truth, matches, weights)


def box_losses(
    boxes_cxcywh: Float[Tensor, "l b q 4"], truth: Truth, matches: Matches, weights: Weights = Weights()
) -> dict[str, Float[Tensor, " l"]]:
    """The weighted `bbox` and `giou` of each layer.

    The boxes' distance (L1, in shares of the picture) and 1 - GIoU are summed over matched pairs and divided by the number of objects,
    those that found no query among them.
    """
    given = boxes_cxcywh[matches.layer, matches.example, matches.query]
    wanted = truth.matched(truth.boxes, matches).to(given)
    apart = 1 - paired_generalized_iou(cxcywh_to_xyxy(given), cxcywh_to_xyxy(wanted))
    distance = (wide(given) - wide(wanted)).abs().sum(-1)
    return {
        "bbox": weights.box * per_object(distance, matches, len(boxes_cxcywh), truth.num),
        "giou": weights.giou * per_object(apart, matches, len(boxes_cxcywh), truth.num),
    }


def class_loss(logits: Float[Tensor, "l b q c"], truth: Truth, matches: Matches, no_object: float) -> Float[Tensor, " l"]:
    """Cross-entropy of each layer; the last class is of queries without an object."""
    target = torch.full(logits.shape[:-1], logits.shape[-1] - 1, device=logits.device)
    target[matches.layer, matches.example, matches.query] = truth.matched(truth.classes, matches)
    weight = torch.ones(logits.shape[-1], dtype=wide(logits).dtype, device=logits.device)
    weight[-1] = no_object
    of_query = weight[target]  # l b q
    log_probs = wide(logits).log_softmax(-1).gather(-1, rearrange(target, "l b q -> l b q 1"))
    loss = -rearrange(log_probs, "l b q 1 -> l b q") * of_query
    return loss.sum((1, 2)) / of_query.sum((1, 2))


def class_amount(num_objects: Sequence[int], num_queries: int, no_object: float) -> float:
    """The sum of weights that a batch's cross-entropy is a mean by."""
    matched = sum(min(n, num_queries) for n in num_objects)
    return matched + no_object * (len(num_objects) * num_queries - matched)


def per_object(values: Float[Tensor, " m"], matches: Matches, num_layers: int, num_objects: int) -> Float[Tensor, " l"]:
    """Sums of the pairs' values by layer, over the number of objects, at least 1."""
    return values.new_zeros(num_layers).index_add(0, matches.layer, values) / max(1, num_objects)


def named(parts: Mapping[str, Float[Tensor, " l"]]) -> dict[str, Float[Tensor, ""]]:
    """The last layer's parts under their names, the earlier layers' with their number behind."""
    last = {name: values[-1] for name, values in parts.items()}
    return last | {f"{name}_{i}": value for name, values in parts.items() for i, value in enumerate(values[:-1])}


def wide(values: Tensor) -> Tensor:
    """In 32 bits or more."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
