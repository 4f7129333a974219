"""The asymmetric loss: binary cross-entropy that lets easy negatives go, with its gradient in closed form.

Source: Ben-Baruch et al. 2021, "Asymmetric Loss For Multi-Label Classification".
With p the probability, y the target and p_m = max(p - margin, 0), a class costs
    -(1 - p)^gamma_pos log p     where it is present (y = 1),
    -p_m^gamma_neg log(1 - p_m)  where it is absent (y = 0);
for a soft target the weight's base and exponent and the logarithm are each interpolated between the two, as the authors do.
Differs: logarithms are taken of logits and never clamped, so a positive at logit -30 still has a gradient of -1 (the authors': 0).
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, distributed, nn
from torch.nn import functional

from pellucid.losses.entries import FLOOR, Asymmetry, Block, loss_and_slope, wide
from pellucid.losses.known import with_gradient
from pellucid.losses.reduction import Reduction, known, scaled

__all__ = ["AdaptiveAsymmetry", "Asymmetry", "asymmetric_loss", "single_label_asymmetric_loss"]

PAPER = Asymmetry(gamma_neg=4.0, gamma_pos=0.0, margin=0.05)


def asymmetric_loss(
    logits: Float[Tensor, "*b c"],
    targets: Float[Tensor, "*b c"] | Bool[Tensor, "*b c"],
    asymmetry: Asymmetry = PAPER,
    present: Bool[Tensor, "*b c"] | None = None,
    reduction: Reduction = "sum",
) -> Float[Tensor, "..."]:
    """Binary cross-entropy that lets easy negatives go, in nats, always computed in float32 or wider.

    Args:
        targets: 0 to 1; bool, or floats of which some are soft.
        present: true where the target is known; an unknown class costs nothing, whatever its target says.
        reduction: `sum` over classes and examples as the authors have it; `mean` over known entries; `mean_samples` sums over
            classes and averages over examples; `none` keeps every entry.
    Raises:
        ValueError: a target outside [0, 1] (seen on the CPU only), or an unknown reduction.
    """
    entries = known(reduction) == "none"
    wanted = torch.is_grad_enabled() and logits.requires_grad
    rows, truth = (rearrange(t.detach(), "... c -> (...) c") for t in (logits, targets))
    told = None if present is None else rearrange(present, "... c -> (...) c")
    value, slope = loss_and_slope(Block(rows, truth, told), asymmetry, entries, wanted)
    if entries:
        value = value.reshape(logits.shape)
    if slope is not None:
        value = with_gradient(logits, value, slope.reshape(logits.shape))
    return value if entries else scaled(value, logits, present, reduction)


def single_label_asymmetric_loss(
    logits: Float[Tensor, "b c"],
    targets: Int[Tensor, " b"] | Float[Tensor, "b c"],
    gamma_neg: float = 4.0,
    gamma_pos: float = 0.0,
    smoothing: float = 0.1,
) -> Float[Tensor, ""]:
    """Cross-entropy of one label per example with asymmetric focusing weights, averaged over examples, in nats.

    Source: the authors' `ASLSingleLabel`. The target is smoothed after the weights were formed, so without smoothing `gamma_neg`
    has no effect, and with `gamma_pos` 0 besides it is plain cross-entropy.

    Args:
        targets: class indices, or probabilities that sum to 1.
    """
    log_probs = functional.log_softmax(logits.to(wide(logits.dtype)), dim=-1)
    num_classes = logits.shape[-1]
    own = functional.one_hot(targets, num_classes) if targets.ndim == 1 else targets
    own = own.to(log_probs.dtype)
    missed = torch.lerp(log_probs.exp(), -log_probs.expm1(), own)  # p where absent, 1 - p where present
    weights = missed.clamp_min(FLOOR) ** (gamma_neg + (gamma_pos - gamma_neg) * own)
    smooth = own * (1 - smoothing) + smoothing / num_classes
    return -(smooth * weights * log_probs).sum(-1).mean()


class AdaptiveAsymmetry(nn.Module):
    """A `gamma_neg` that moves while training until the gap between the probabilities of present and absent classes is as wanted.

    The gap is the mean probability of present classes less the mean of (1 - probability) of absent ones. Raising `gamma_neg`
    raises all probabilities and with them the gap, so `gamma_neg` rises while the gap is below its target.

    Source: Ben-Baruch et al. 2021, section 2.7, which the authors' code leaves out. Differs: the gap is smoothed over steps.

    Args:
        target: gap aimed at; the paper tries 0 to .3.
        start: first `gamma_neg`; it stays between 0 and `highest`.
        rate: change of `gamma_neg` per step and unit of gap.
        momentum: of the smoothed gap; 0 takes each batch by itself.
    """

    gamma_neg: Tensor
    gap: Tensor

    def __init__(self, target: float = 0.1, start: float = 0.0, rate: float = 0.01, momentum: float = 0.9, highest: float = 8.0):
        super().__init__()
        if not 0 <= start <= highest:
            raise ValueError(f"start={start}; gamma_neg lies between 0 and highest={highest}")
        if not (0 <= momentum < 1 and rate > 0):
            raise ValueError(f"momentum={momentum}, rate={rate}; momentum lies in [0, 1) and rate is above 0")
        self.target, self.rate, self.momentum, self.highest = target, rate, momentum, highest
        self.register_buffer("gamma_neg", torch.tensor(float(start)))
        self.register_buffer("gap", torch.tensor(float("nan")))  # until a batch with present and absent classes was seen

    def forward(
        self,
        logits: Float[Tensor, "*b c"],
        targets: Float[Tensor, "*b c"] | Bool[Tensor, "*b c"],
        present: Bool[Tensor, "*b c"] | None = None,
    ) -> Float[Tensor, ""]:
        """`gamma_neg` for this batch; in training mode the batch then moves it for the next."""
        gamma_neg = self.gamma_neg.clone()
        if self.training:
            self.update(logits, targets, present)
        return gamma_neg

    def update(
        self,
        logits: Float[Tensor, "*b c"],
        targets: Float[Tensor, "*b c"] | Bool[Tensor, "*b c"],
        present: Bool[Tensor, "*b c"] | None = None,
    ) -> None:
        """Moves `gamma_neg` by what a batch shows; one without present or without absent classes moves nothing.

        Where torch.distributed runs, the batches of all processes count as one, and all must call.

        Args:
            targets: 0 to 1; a soft target counts on both sides by its share.
            present: true where the target is known.
        """
        sums = _sums(logits.detach(), targets.detach(), present)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        right_present, num_present, right_absent, num_absent = sums.tolist()
        if not (num_present and num_absent):
            return
        seen = right_present / num_present - right_absent / num_absent
        gap = seen if self.gap.isnan() else self.momentum * float(self.gap) + (1 - self.momentum) * seen
        self.gap.fill_(gap)
        self.gamma_neg.add_(self.rate * (self.target - gap)).clamp_(0, self.highest)


def _sums(logits: Tensor, targets: Tensor, present: Tensor | None) -> Float[Tensor, "4"]:
    """Of present classes the probability and the number, of absent ones 1 - probability and the number."""
    probs = torch.sigmoid(logits.double())
    counted = torch.ones_like(probs) if present is None else present.to(probs.dtype)
    yes = targets.to(probs.dtype).masked_fill(counted == 0, 0)
    no = counted - yes
    return torch.stack([(yes * probs).sum(), yes.sum(), (no * (1 - probs)).sum(), no.sum()])
