"""Loss and gradient of every entry of the asymmetric loss, a block of rows at a time.

Three ways lead to the same numbers: `_sparse` where targets are 0 or 1 and few are 1, as nearly always; `_terms` for all else,
soft targets among it; `_clamped_terms` for the authors' arithmetic. Where values may not be looked at (a compiled graph, a device that
would have to be waited for) `_terms` serves all.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

BLOCK = 65_536  # entries taken through all steps together, so that what lies between stays in the processor's cache
BLOCK_OFF_CPU = 1_048_576  # there a block need only be small beside the whole
FEW = 0.2  # share of positives up to which they are worked out apart
FLOOR = 1e-30  # base of a negative power; what such a power multiplies is smaller still
LEAST_MARGIN = 1e-6  # below it float32 cannot tell 1 - margin from 1
EPS = 1e-8  # of the authors' clamp
LARGEST_PRODUCT = 8  # exponents up to here are multiplied out

PerClass = float | Float[Tensor, "#c"] | Float[Tensor, ""]


@dataclass(frozen=True)
class Asymmetry:
    """How unequally present and absent classes are treated; gammas and margin may be one number or one per class.

    All 0 is binary cross-entropy; equal gammas and no margin the focal loss. The authors' order of trying for a new data set:
    (0, 0, 0), (2, 2, 0), (2, 1, 0), (4, 1, 0), (4, 1, .05) as (gamma_neg, gamma_pos, margin).

    Args:
        gamma_neg: focusing exponent of absent classes; whole numbers are fastest.
        gamma_pos: the same of present classes. The authors' class has 1, their training script and paper 0.
        margin: probability up to which an absent class costs nothing.
        detach_focus: treat the focusing weight as a constant in the gradient, as the authors' training script does.
        eps_compat: clamp probabilities at 1e-8 as the authors' code does; entries then equal theirs to the last bit.
    Raises:
        ValueError: a negative gamma, or a margin that is neither 0 nor in [1e-6, 1).
    """

    gamma_neg: PerClass = 4.0
    gamma_pos: PerClass = 0.0
    margin: PerClass = 0.05
    detach_focus: bool = False
    eps_compat: bool = False

    def __post_init__(self) -> None:
        for name in ("gamma_neg", "gamma_pos"):
            value = getattr(self, name)
            if not isinstance(value, Tensor) and not value >= 0:
                raise ValueError(f"{name}={value}; a focusing exponent is 0 or more")
        if not isinstance(self.margin, Tensor) and not (self.margin == 0 or LEAST_MARGIN <= self.margin < 1):
            raise ValueError(f"margin={self.margin}; a margin is 0 or between {LEAST_MARGIN} and 1")


@dataclass(frozen=True)
class Block:
    """Rows of logits with what is known of them; `present` is true where a target is known."""

    logits: Float[Tensor, "n c"]
    targets: Float[Tensor, "n c"] | Bool[Tensor, "n c"]
    present: Bool[Tensor, "n c"] | None

    def rows(self, start: int, stop: int) -> "Block":
        """Some of the rows."""
        present = None if self.present is None else self.present[start:stop]
        return Block(self.logits[start:stop], self.targets[start:stop], present)


@dataclass(frozen=True)
class _Terms:
    """What the loss of every entry is made of; `d_` is the derivative by the logit."""

    base: Tensor  # u, of the focusing weight
    nll: Tensor
    d_base: Tensor
    d_nll: Tensor


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type that a loss is computed in: float32, or float64 where the logits have it."""
    return dtype if dtype == torch.float64 else torch.float32


def _in_place(block: Block) -> bool:
    """Whether values may be looked at to choose a faster way: elsewhere that would stall the device or break the graph."""
    return block.logits.device.type == "cpu" and not torch.compiler.is_compiling()


def loss_and_slope(whole: Block, asymmetry: Asymmetry, entries: bool, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The loss, entry by entry or summed, and its gradient if wanted."""
    num, classes = whole.logits.shape
    size = max(1, (BLOCK if _in_place(whole) else BLOCK_OFF_CPU) // max(1, classes))
    if num <= size or torch.compiler.is_compiling():
        value, slope = _block(whole, asymmetry, wanted)
        return value if entries else value.sum(), slope
    dtype = wide(whole.logits.dtype)
    values = torch.empty_like(whole.logits, dtype=dtype) if entries else None
    slopes = torch.empty_like(whole.logits, dtype=dtype) if wanted else None
    sums = []
    for start in range(0, num, size):
        value, slope = _block(whole.rows(start, start + size), asymmetry, wanted)
        if values is None:
            sums.append(value.sum())
        else:
            values[start : start + size] = value
        if slopes is not None and slope is not None:
            slopes[start : start + size] = slope
    return (torch.stack(sums).sum() if values is None else values), slopes


def _block(block: Block, asymmetry: Asymmetry, wanted: bool) -> tuple[Tensor, Tensor | None]:
    logits = block.logits.to(wide(block.logits.dtype)).contiguous()
    targets = block.targets.contiguous()
    unknown = None if block.present is None else ~block.present
    if unknown is not None:
        targets = targets.masked_fill(unknown, 0)
    value, slope = _entries(logits, targets, asymmetry, wanted, _in_place(block))
    if unknown is None:
        return value, slope
    return value.masked_fill(unknown, 0), None if slope is None else slope.masked_fill(unknown, 0)


def _entries(logits: Tensor, targets: Tensor, asymmetry: Asymmetry, wanted: bool, look: bool) -> tuple[Tensor, Tensor | None]:
    if asymmetry.eps_compat:
        return _focused(_clamped_terms(logits, targets.to(logits.dtype), asymmetry), targets.to(logits.dtype), asymmetry, wanted)
    if look:
        places = targets.flatten().nonzero().squeeze(1)
        hard = targets.dtype == torch.bool or bool((targets.flatten()[places] == 1).all())
        if hard and len(places) <= FEW * targets.numel():
            return _sparse(logits, places, asymmetry, wanted)
        if not hard and not (targets.min() >= 0 and targets.max() <= 1):
            raise ValueError(f"targets lie in {float(targets.min()):g}..{float(targets.max()):g}; they must be between 0 and 1")
        targets = targets.bool() if hard else targets
    return _focused(_terms(logits, targets.to(logits.dtype), asymmetry), targets, asymmetry, wanted)


def _sparse(logits: Tensor, places: Tensor, asymmetry: Asymmetry, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Every entry as if absent, then the few present ones written over."""
    value, slope = _absent(logits, asymmetry, wanted)
    own = logits.flatten()[places]
    gamma = asymmetry.gamma_pos
    if isinstance(gamma, Tensor) and gamma.numel() > 1:
        gamma = gamma.to(own)[places % logits.shape[1]]
    nll, missed = -functional.logsigmoid(own), torch.sigmoid(-own)
    weight, d_weight = _powers(missed, gamma)
    value.view(-1)[places] = weight * nll
    if slope is not None:
        steep = weight if asymmetry.detach_focus else weight + d_weight * nll * torch.sigmoid(own)
        slope.view(-1)[places] = -missed * steep
    return value, slope


def _absent(logits: Tensor, asymmetry: Asymmetry, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Loss and gradient of absent classes, in as few passes over memory as there are steps."""
    probs = torch.sigmoid(logits)
    over, nll, ratio = _over_margin(logits, probs, asymmetry.margin)
    weight, d_weight = _powers(over, asymmetry.gamma_neg)
    if not wanted:
        return weight.mul_(nll), None
    slope = weight * ratio
    if isinstance(asymmetry.gamma_neg, Tensor) or asymmetry.gamma_neg == 0:
        slope.mul_(over > 0)  # elsewhere the weight itself is 0 up to the margin
    if not asymmetry.detach_focus:
        slope.addcmul_(d_weight.mul_(nll), 1 - probs)
    return weight.mul_(nll), slope.mul_(probs)


def _over_margin(logits: Tensor, probs: Tensor, margin: PerClass) -> tuple[Tensor, Tensor, Tensor]:
    """p_m, -log(1 - p_m), and (1 - p) / (1 - p_m) where p is over the margin."""
    if not isinstance(margin, Tensor) and margin == 0:
        return probs, -functional.logsigmoid(-logits), torch.ones_like(probs)
    if isinstance(margin, Tensor):
        margin = margin.to(logits)
    over = (probs - margin).clamp_(min=0)
    nll, rest = torch.log1p(-over).neg_(), 1 - probs
    if not isinstance(margin, Tensor):
        return over, nll, rest / (rest + margin)
    none = margin < LEAST_MARGIN
    ratio = torch.where(none, 1.0, rest / (rest + margin.clamp_min(LEAST_MARGIN)))
    return over, torch.where(none, -functional.logsigmoid(-logits), nll), ratio


def _terms(logits: Tensor, targets: Tensor, asymmetry: Asymmetry) -> _Terms:
    probs, missed = torch.sigmoid(logits), torch.sigmoid(-logits)
    over, nll, ratio = _over_margin(logits, probs, asymmetry.margin)
    charged = (1 - targets) * (over > 0)
    return _Terms(
        torch.lerp(over, missed, targets),
        torch.lerp(nll, -functional.logsigmoid(logits), targets),
        probs * missed * (charged - targets),
        charged * probs * ratio - targets * missed,
    )


def _clamped_terms(logits: Tensor, targets: Tensor, asymmetry: Asymmetry) -> _Terms:
    """The authors' arithmetic, in their order; a clamped logarithm has no gradient."""
    margin = asymmetry.margin.to(logits) if isinstance(asymmetry.margin, Tensor) else asymmetry.margin
    probs = torch.sigmoid(logits)
    shifted = 1 - probs + margin
    right = shifted.clamp(max=1)  # 1 - p_m
    log_likelihood = targets * probs.clamp(min=EPS).log() + (1 - targets) * right.clamp(min=EPS).log()
    steep = probs * (1 - probs)
    charged = (1 - targets) * (shifted <= 1)
    return _Terms(
        1 - (probs * targets + right * (1 - targets)),
        -log_likelihood,
        steep * (charged - targets),
        charged * steep / right.clamp(min=EPS) * (right >= EPS) - targets * (1 - probs) * (probs >= EPS),
    )


def _focused(terms: _Terms, targets: Tensor, asymmetry: Asymmetry, wanted: bool) -> tuple[Tensor, Tensor | None]:
    weight, d_weight = _weights(terms.base, targets, asymmetry)
    value = weight * terms.nll
    if not wanted:
        return value, None
    slope = weight * terms.d_nll
    return value, slope if asymmetry.detach_focus else slope + d_weight * terms.nll * terms.d_base


def _weights(base: Tensor, targets: Tensor, asymmetry: Asymmetry) -> tuple[Tensor, Tensor]:
    """The focusing weight and its derivative by its base."""
    up, down = ((g.to(base) if isinstance(g, Tensor) else g) for g in (asymmetry.gamma_pos, asymmetry.gamma_neg))
    if targets.dtype == torch.bool:
        pairs = zip(_powers(base, up), _powers(base, down), strict=True)
        weight, d_weight = (torch.where(targets, present, absent) for present, absent in pairs)
        return weight, d_weight
    exponent = up * targets + down * (1 - targets)
    if asymmetry.eps_compat:
        return base**exponent, exponent * base.clamp_min(FLOOR) ** (exponent - 1)
    return _powers(base, exponent)


def _powers(base: Tensor, exponent: PerClass) -> tuple[Tensor, Tensor]:
    """`base ** exponent` and its derivative by the base, finite at base 0; small whole exponents are multiplied out."""
    if isinstance(exponent, Tensor) or exponent != int(exponent) or exponent > LARGEST_PRODUCT:
        kept = base.clamp_min(FLOOR)
        lower = kept ** (exponent - 1)
        return lower * kept, lower * exponent
    if exponent == 0:
        return torch.ones_like(base), torch.zeros_like(base)
    lower = _product(base, int(exponent) - 1)
    return lower * base, lower * exponent


def _product(base: Tensor, times: int) -> Tensor:
    if times == 0:
        return torch.ones_like(base)
    half = _product(base, times // 2) if times > 1 else base
    if times == 1:
        return half
    return half * half if times % 2 == 0 else half * half * base
