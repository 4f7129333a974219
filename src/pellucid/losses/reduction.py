"""How the entries of a loss become one number."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

Reduction = Literal["none", "sum", "mean", "mean_samples"]


def reduced(
    entries: Float[Tensor, "*b c"], present: Bool[Tensor, "*b c"] | None = None, reduction: Reduction = "sum"
) -> Float[Tensor, "..."]:
    """The entries themselves, their sum, their mean over what is present, or the mean over examples of sums over classes.

    Args:
        entries: 0 where unknown.
    Raises:
        ValueError: an unknown reduction.
    """
    return entries if known(reduction) == "none" else scaled(entries.sum(), entries, present, reduction)


def scaled(total: Float[Tensor, ""], like: Tensor, present: Tensor | None, reduction: Reduction) -> Float[Tensor, ""]:
    """The sum of all entries, divided as the reduction has it; `like` has the entries' shape."""
    if reduction == "mean":
        return total / (max(1, like.numel()) if present is None else present.sum().clamp_min(1))
    return total / max(1, like[..., 0].numel()) if reduction == "mean_samples" else total


def known(reduction: str) -> str:
    """The reduction itself.

    Raises:
        ValueError: it is unknown.
    """
    if reduction not in ("none", "sum", "mean", "mean_samples"):
        raise ValueError(f"no reduction {reduction!r}; there are none, sum, mean, mean_samples")
    return reduction
