"""The focal loss: binary cross-entropy in which what is already right counts little."""

from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.losses.asymmetric import Asymmetry, asymmetric_loss
from pellucid.losses.reduction import Reduction, reduced


def focal_loss(
    logits: Float[Tensor, "*b c"],
    targets: Float[Tensor, "*b c"] | Bool[Tensor, "*b c"],
    gamma: float = 2.0,
    alpha: float | None = None,
    present: Bool[Tensor, "*b c"] | None = None,
    reduction: Reduction = "sum",
) -> Float[Tensor, "..."]:
    """`-(1 - p_t)^gamma log p_t`, where p_t is the probability given to the truth, in nats, in float32 or wider.

    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection". It is the asymmetric loss without asymmetry.

    Args:
        targets: 0 to 1; bool, or floats of which some are soft.
        alpha: weight of present classes, absent ones having `1 - alpha` (detection: .25); without it all weigh 1.
        present: true where the target is known; an unknown class costs nothing.
        reduction: `sum`, `mean` over known entries, `mean_samples` (sum over classes, mean over examples) or `none`.
    Raises:
        ValueError: alpha outside [0, 1], a target outside [0, 1] (seen on the CPU only), or an unknown reduction.
    """
    same = Asymmetry(gamma, gamma, 0.0)
    if alpha is None:
        return asymmetric_loss(logits, targets, same, present, reduction)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}; the weight of present classes lies in [0, 1]")
    entries = asymmetric_loss(logits, targets, same, present, "none")
    return reduced(entries * (alpha * targets + (1 - alpha) * (1 - targets.to(entries.dtype))), present, reduction)
