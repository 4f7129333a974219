"""Asymmetry that adjusts itself while training, until present and absent classes are believed alike."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed, nn

from pellucid.losses.asymmetric import Asymmetry


class AdaptiveAsymmetry(nn.Module):
    """A `gamma_neg` that moves after every step so that the gap of probabilities reaches a target.

    The gap is the mean probability of present classes less the mean of (1 - probability) of absent ones. Raising `gamma_neg`
    raises all probabilities and with them the gap, so `gamma_neg` rises while the gap is below its target.

    Source: Ben-Baruch et al. 2021, section 2.7, which the authors' code leaves out. Differs: the gap is smoothed.

    Args:
        target: gap aimed at; the paper tries 0 to .3.
        rate: change of `gamma_neg` per step and unit of gap.
        momentum: of the smoothed gap; 0 takes each batch by itself.
        highest: of `gamma_neg`, which starts at `start` and never falls below 0.
    """

    gamma_neg: Tensor
    gap: Tensor

    def __init__(self, target: float = 0.1, rate: float = 0.01, momentum: float = 0.9, start: float = 0.0, highest: float = 8.0):
        super().__init__()
        if not (0 <= start <= highest and 0 <= momentum < 1 and rate > 0):
            raise ValueError(
                f"start={start}, highest={highest}, momentum={momentum}, rate={rate}; need 0 <= start <= highest, "
                "0 <= momentum < 1 and rate > 0"
            )
        self.target, self.rate, self.momentum, self.highest = target, rate, momentum, highest
        self.register_buffer("gamma_neg", torch.tensor(float(start)))
        self.register_buffer("gap", torch.tensor(float("nan")))  # until a batch with present and absent classes was seen

    def asymmetry(self, gamma_pos: float = 0.0, margin: float = 0.0, detach_focus: bool = False) -> Asymmetry:
        """The settings of the loss for the next step."""
        return Asymmetry(self.gamma_neg.clone(), gamma_pos, margin, detach_focus)

    def update(
        self,
        logits: Float[Tensor, "*b c"],
        targets: Float[Tensor, "*b c"] | Bool[Tensor, "*b c"],
        present: Bool[Tensor, "*b c"] | None = None,
    ) -> None:
        """Moves `gamma_neg` once by what a batch shows; a batch without present or without absent classes moves nothing.

        With torch.distributed initialised the batches of all processes count as one, and all must call.

        Args:
            targets: 0 to 1; a soft target counts on both sides by its share.
            present: true where the target is known.
        """
        sums = self._sums(logits.detach(), targets.detach(), present)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        right_present, num_present, right_absent, num_absent = sums.tolist()
        if not num_present or not num_absent:
            return
        seen = right_present / num_present - right_absent / num_absent
        before = float(self.gap)
        gap = seen if before != before else self.momentum * before + (1 - self.momentum) * seen
        self.gap.fill_(gap)
        self.gamma_neg.add_(self.rate * (self.target - gap)).clamp_(0, self.highest)

    @staticmethod
    def _sums(logits: Tensor, targets: Tensor, present: Tensor | None) -> Tensor:
        probs = torch.sigmoid(logits.double())
        known = torch.ones_like(probs) if present is None else present.to(probs.dtype)
        yes = targets.to(probs.dtype).masked_fill(known == 0, 0)
        no = known - yes
        return torch.stack([(yes * probs).sum(), yes.sum(), (no * (1 - probs)).sum(), no.sum()])
