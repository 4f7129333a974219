"""What errors predicted for pairs of pictures cost: their distance, their order, their correlation, and preferences between two.

An error is 0 for a picture like its reference and larger for a worse one, in predictions and in targets. Everything is computed
in float32 or wider; of no rows every loss is 0.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.losses.entries import wide

TINY = 1e-6  # the authors', in the denominators of the rank and the Pearson loss


def mean_absolute(errors: Float[Tensor, " b"], targets: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean distance of predicted and target errors, in the targets' unit."""
    errors, targets = _wide(errors, targets)
    return (errors - targets).abs().sum() / max(1, len(errors))


def rank_loss(errors: Float[Tensor, " b"], targets: Float[Tensor, " b"], floor: float = 0.1) -> Float[Tensor, ""]:
    """How far pairs stand in the wrong order, relative to the larger of their two errors, averaged over all pairs; 0 of none.

    Source: Chubarau & Clark 2021, the authors' code. Differs: the denominator is no smaller than `floor`; without one the loss
    grows beyond bounds while predictions are near 0, and training from scratch collapses.

    Args:
        floor: in the unit of the errors; 0 gives the authors' loss.
    Raises:
        ValueError: a negative floor.
    """
    if floor < 0:
        raise ValueError(f"floor={floor}; it is a magnitude of errors, 0 or more")
    errors, targets = _wide(errors, targets)
    first, second = torch.triu_indices(len(errors), len(errors), 1, device=errors.device)
    apart, wanted = errors[first] - errors[second], targets[first] - targets[second]
    wrong = torch.relu(-apart * wanted / (wanted.abs() + TINY))
    size = torch.maximum(errors[first].abs(), errors[second].abs()).clamp_min(floor)
    size = torch.where(size > 0, size, 1)  # two errors of 0 are in no order, and cost 0
    return (wrong / size).sum() / max(1, len(first))


def pearson_loss(errors: Float[Tensor, " b"], targets: Float[Tensor, " b"], published: bool = False) -> Float[Tensor, ""]:
    """1 less the linear correlation of predicted and target errors, 0 to 2.

    Where there is no correlation nothing is learnt: equal targets, as those of one row, cost 0; equal predictions of unequal
    targets cost 1. Neither has a gradient.

    Args:
        published: a correlation below 0 costs 1 and teaches nothing, as does none; equal predictions have gradients near 1e6.
    Source: Chubarau & Clark 2021, the authors' code. Differs: see `published`.
    """
    errors, targets = _wide(errors, targets)
    a, b = _centred(errors), _centred(targets)
    norm_a, norm_b = torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
    correlation = (a / (norm_a + TINY) * (b / (norm_b + TINY))).sum()
    if published:
        return 1 - correlation.clamp(0, 1)
    return torch.where(_varies(norm_b, targets), 1 - torch.where(_varies(norm_a, errors), correlation, 0), 0)


def preference_loss(
    error_a: Float[Tensor, " b"],
    error_b: Float[Tensor, " b"],
    preference: Float[Tensor, " b"],
    slope: float | Float[Tensor, ""] = 1.0,
    kind: Literal["mse", "mae"] = "mse",
) -> Float[Tensor, ""]:
    """Distance of the probability that A is preferred to B from the share of people who did prefer it.

    The probability is sigmoid(slope (error_b - error_a)): the smaller error is preferred.

    Args:
        preference: of A, 0 to 1.
        slope: how soon a difference of errors decides; a tensor may be learnt.
        kind: mean of squares as in 2021, or of magnitudes as in 2024.
    Source: Prashnani et al. 2018, PieAPP. Differs: VTAMIQ's code of 2024 has the opposite sign.
    """
    error_a, error_b = _wide(error_a, error_b)
    missed = torch.sigmoid(slope * (error_b - error_a)) - preference
    return (missed**2 if kind == "mse" else missed.abs()).sum() / max(1, len(missed))


def weighted(parts: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> dict[str, Float[Tensor, ""]]:
    """The parts, which sum to their mean under the weights; a part of weight 0 is left out.

    Source: Chubarau & Clark 2021: MAE 1 (times 0.975 an epoch), rank 1, Pearson 0.2. Differs: the code of 2024 accepts weights
    and takes rank + Pearson.

    Raises:
        ValueError: a part without weight or a weight without part, a negative weight, or none above 0.
    """
    if parts.keys() != weights.keys():
        raise ValueError(f"weights of {', '.join(weights)} for the parts {', '.join(parts)}; name the same")
    if min(weights.values(), default=0) < 0 or not any(weights.values()):
        raise ValueError(f"weights {dict(weights)}; none may be negative and one must be above 0")
    whole = sum(weights.values())
    return {name: weight / whole * parts[name] for name, weight in weights.items() if weight}


def _wide(errors: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32 or wider."""
    return errors.to(wide(errors.dtype)), targets.to(wide(targets.dtype))


def _centred(values: Tensor) -> Tensor:
    return values - values.sum() / max(1, len(values))


def _varies(norm: Tensor, values: Tensor) -> Tensor:
    """Whether what is left after centring is more than rounding."""
    return norm > 8 * torch.finfo(values.dtype).eps * torch.linalg.vector_norm(values)
