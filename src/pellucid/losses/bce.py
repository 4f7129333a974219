"""Cross-entropies for one label per example, with targets that may be mixed, smoothed or thresholded."""

import warnings

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from pellucid.losses.reduction import reduced


def smoothed(targets: Float[Tensor, "b c"], smoothing: float) -> Float[Tensor, "b c"]:
    """Targets of which a share `smoothing` is spread evenly over all classes.

    A mixture of smoothed targets is the smoothed mixture, so mixing may come before or after.

    Raises:
        ValueError: smoothing outside [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing={smoothing}; the share taken from the target lies in [0, 1)")
    return targets * (1 - smoothing) + smoothing / targets.shape[-1] if smoothing else targets


def binary_cross_entropy(
    logits: Float[Tensor, "b c"],
    targets: Int[Tensor, " b"] | Float[Tensor, "b c"],
    smoothing: float = 0.0,
    threshold: float | None = None,
    sum_classes: bool = False,
    present: Bool[Tensor, "b c"] | None = None,
) -> Float[Tensor, ""]:
    """Every class as a yes-or-no question, averaged over classes and examples, in nats, in float32 or wider.

    Source: Wightman et al. 2021, "ResNet strikes back". Differs: timm's loss leaves mixed targets as they are, since its Mixup has
    smoothed them; here `smoothing` holds for all targets, to the same values, and is left at 0 where it was done before.

    Args:
        targets: class indices, or one weight per class.
        threshold: a smoothed target strictly above it counts as 1, any other as 0; this leaves nothing of the smoothing.
        sum_classes: sum over classes before averaging over examples.
        present: true where the target is known; an unknown class costs nothing and does not count in the average.
    Raises:
        ValueError: smoothing outside [0, 1).
    """
    if threshold is not None and smoothing:
        warnings.warn(f"threshold={threshold} undoes smoothing={smoothing}: targets become 0 or 1; set one of them", stacklevel=2)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    soft = smoothed(_one_per_class(targets, wide), smoothing)
    if threshold is not None:
        soft = (soft > threshold).to(wide.dtype)
    if present is None and not sum_classes:
        return functional.binary_cross_entropy_with_logits(wide, soft)
    if present is not None:
        soft = soft.masked_fill(~present, 0)  # whatever marks the unknown, nan among it, must not reach the gradient
    entries = functional.binary_cross_entropy_with_logits(wide, soft, reduction="none")
    return reduced(entries if present is None else entries.masked_fill(~present, 0), present, "mean_samples" if sum_classes else "mean")


def _one_per_class(targets: Tensor, like: Tensor) -> Tensor:
    return (functional.one_hot(targets, like.shape[-1]) if targets.ndim == 1 else targets).to(like.dtype)


def soft_cross_entropy(
    logits: Float[Tensor, "b c"], targets: Int[Tensor, " b"] | Float[Tensor, "b c"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Cross-entropy against class indices or one weight per class, averaged over examples, in nats, in float32 or wider.

    Raises:
        ValueError: smoothing outside [0, 1).
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    soft = smoothed(_one_per_class(targets, wide), smoothing)
    return -(soft * functional.log_softmax(wide, dim=-1)).sum(-1).mean()
