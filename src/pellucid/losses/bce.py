"""Cross-entropies for one label per example, with targets that may be mixed, smoothed or thresholded."""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def smoothed(targets: Int[Tensor, " b"] | Float[Tensor, "b c"], num_classes: int, smoothing: float) -> Float[Tensor, "b c"]:
    """Targets of which a share `smoothing` is spread evenly over all classes.

    A mixture of smoothed targets is the smoothed mixture, so mixing may come before.

    Args:
        targets: class indices, or one weight per class summing to 1.
    Raises:
        ValueError: smoothing outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing={smoothing}; the share taken from the target lies in [0, 1)")
    soft = functional.one_hot(targets, num_classes).to(torch.float32) if targets.ndim == 1 else targets
    return soft * (1 - smoothing) + smoothing / num_classes if smoothing else soft


def binary_cross_entropy(
    logits: Float[Tensor, "b c"],
    targets: Int[Tensor, " b"] | Float[Tensor, "b c"],
    smoothing: float = 0.0,
    threshold: float | None = None,
    sum_classes: bool = False,
) -> Float[Tensor, ""]:
    """Every class as a yes-or-no question, averaged over classes and examples, in nats, in float32 or wider.

    Source: Wightman et al. 2021, "ResNet strikes back". Differs: timm smooths mixed targets where it mixes them, so its loss leaves
    them as they are; here they are smoothed like others, to the same values.

    Args:
        targets: class indices, or one weight per class, not yet smoothed.
        threshold: a smoothed target strictly above it counts as 1, any other as 0; this leaves nothing of the smoothing.
        sum_classes: sum over classes before averaging over examples.
    Raises:
        ValueError: smoothing outside [0, 1).
    """
    if threshold is not None and smoothing:
        warnings.warn(f"threshold={threshold} undoes smoothing={smoothing}: targets become 0 or 1; set one of them", stacklevel=2)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    soft = smoothed(targets, logits.shape[-1], smoothing).to(wide.dtype)
    if threshold is not None:
        soft = (soft > threshold).to(wide.dtype)
    loss = functional.binary_cross_entropy_with_logits(wide, soft)
    return loss * logits.shape[-1] if sum_classes else loss


def soft_cross_entropy(
    logits: Float[Tensor, "b c"], targets: Int[Tensor, " b"] | Float[Tensor, "b c"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Cross-entropy against class indices or one weight per class, averaged over examples, in nats, in float32 or wider.

    Raises:
        ValueError: smoothing outside [0, 1).
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    soft = smoothed(targets, logits.shape[-1], smoothing).to(wide.dtype)
    return -(soft * functional.log_softmax(wide, dim=-1)).sum(-1).mean()
