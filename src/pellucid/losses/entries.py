"""Loss and gradient of every entry of the asymmetric loss, a block of rows at a time.

Three ways lead to the same numbers: `_sparse` where targets are 0 or 1 and few are 1, as nearly always; `_terms` for all else,
soft targets among it; `_clamped_terms` for the authors' arithmetic. Where values may not be looked at (a compiled graph, a device that
would have to be waited for) `_terms` serves all.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

BLOCK = 65_536  # entries taken through all steps together, so that what lies between stays in the processor's cache
BLOCK_OFF_CPU = 1_048_576  # there a block need only be small beside the whole
FEW = 0.2  # share of positives up to which they are worked out apart
SPARE = 4  # tensors of a block's size that the fastest way works in
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

    def rows(self, some: slice) -> "Block":
        """Some of the rows."""
        return Block(self.logits[some], self.targets[some], None if self.present is None else self.present[some])


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


def loss_and_slope(whole: Block, asymmetry: Asymmetry, entries: bool, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """The loss, entry by entry or summed, and its gradient by the logits if wanted."""
    if torch.compiler.is_compiling():  # one fused pass, that nothing may break
        value, slope = _whole_block(whole, asymmetry, wanted)
        return value if entries else value.sum(), slope
    if whole.logits.is_cpu:  # elsewhere a look at values would stall the device
        places, hard = _positives(whole)
        if hard and not asymmetry.eps_compat and len(places) <= FEW * whole.logits.numel():
            return _sparse(whole, places, asymmetry, entries, wanted)
    return _dense(whole, asymmetry, entries, wanted)


def _positives(whole: Block) -> tuple[Int[Tensor, " k"], bool]:
    """Flat places of known targets that are not 0, and whether all these are 1.

    Raises:
        ValueError: a target outside [0, 1].
    """
    chosen = whole.targets.bool() if whole.present is None else whole.targets.bool() & whole.present
    places = torch.from_numpy(np.flatnonzero(chosen.numpy()))  # several times faster than torch's nonzero
    if whole.targets.dtype == torch.bool:
        return places, True
    found = whole.targets.reshape(-1).index_select(0, places)
    if bool((found == 1).all()):
        return places, True
    if not (found.min() > 0 and found.max() <= 1):
        raise ValueError(f"targets lie in {float(found.min()):g}..{float(found.max()):g}; they must be between 0 and 1")
    return places, False


def _dense(whole: Block, asymmetry: Asymmetry, entries: bool, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Any targets, a block of rows at a time."""
    slopes = whole.logits.new_empty(whole.logits.shape, dtype=wide(whole.logits.dtype)) if wanted else None
    values = [_nothing(whole, entries)]
    for rows in _blocks(whole.logits):
        value, slope = _whole_block(whole.rows(rows), asymmetry, wanted)
        values.append(value if entries else value.sum())
        if slopes is not None and slope is not None:
            slopes[rows] = slope
    return torch.cat(values) if entries else torch.stack(values).sum(), slopes


def _sparse(whole: Block, places: Tensor, asymmetry: Asymmetry, entries: bool, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Targets of which those at `places` are 1 and all others 0: every class as if absent, then the few present ones written over."""
    num, classes = whole.logits.shape
    dtype, blocks = wide(whole.logits.dtype), _blocks(whole.logits)
    slopes = whole.logits.new_empty((num, classes), dtype=dtype) if wanted else None
    spare = whole.logits.new_empty((SPARE, blocks[0].stop if blocks else 0, classes), dtype=dtype) if _plain(asymmetry) else None
    values = [_nothing(whole, entries)]
    for rows in blocks:
        logits, slope = whole.logits[rows].to(dtype).contiguous(), None if slopes is None else slopes[rows]
        absent = partial(_absent_in_place, spare=spare[:, : len(logits)]) if spare is not None else _absent
        weight, log_right = absent(logits, asymmetry, slope)
        weight.addcmul_(weight, whole.targets[rows].to(dtype), value=-1)  # what is present costs nothing here
        if whole.present is not None:
            unknown = ~whole.present[rows]
            weight.masked_fill_(unknown, 0)
            if slope is not None:
                slope.masked_fill_(unknown, 0)
        values.append(-weight * log_right if entries else -torch.dot(weight.view(-1), log_right.view(-1)))
    own, own_slope = _present(whole.logits.reshape(-1).index_select(0, places).to(dtype), places, classes, asymmetry)
    if slopes is not None:
        slopes.view(-1).index_copy_(0, places, own_slope)
    if entries:
        return torch.cat(values).view(-1).index_copy_(0, places, own).view(num, classes), slopes
    return torch.stack([*values, own.sum()]).sum(), slopes


def _blocks(logits: Tensor) -> list[slice]:
    num, classes = logits.shape
    size = max(1, (BLOCK if logits.is_cpu else BLOCK_OFF_CPU) // max(1, classes))
    return [slice(start, min(start + size, num)) for start in range(0, num, size)]


def _nothing(whole: Block, entries: bool) -> Tensor:
    return whole.logits.new_zeros((0, whole.logits.shape[1]) if entries else (), dtype=wide(whole.logits.dtype))


def _present(logits: Float[Tensor, " k"], places: Int[Tensor, " k"], classes: int, asymmetry: Asymmetry) -> tuple[Tensor, Tensor]:
    """Loss of present classes and its gradient."""
    gamma = asymmetry.gamma_pos
    if isinstance(gamma, Tensor):
        gamma = gamma.to(logits) if gamma.numel() == 1 else gamma.to(logits)[places % classes]
    nll, missed = -functional.logsigmoid(logits), torch.sigmoid(-logits)
    if not isinstance(gamma, Tensor) and gamma == 0:
        return nll, -missed
    weight, d_weight = _powers(missed, gamma)
    steep = weight if asymmetry.detach_focus else weight + d_weight * nll * torch.sigmoid(logits)
    return weight * nll, -missed * steep


def _whole_block(block: Block, asymmetry: Asymmetry, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Loss and gradient of every entry, without a look at any value."""
    dtype, unknown = wide(block.logits.dtype), None if block.present is None else ~block.present
    logits, targets = block.logits.to(dtype), block.targets.to(dtype)
    if unknown is not None:
        targets = targets.masked_fill(unknown, 0)
    terms = (_clamped_terms if asymmetry.eps_compat else _terms)(logits, targets, asymmetry)
    value, slope = _focused(terms, targets, asymmetry, wanted)
    if unknown is None:
        return value, slope
    return value.masked_fill(unknown, 0), None if slope is None else slope.masked_fill(unknown, 0)


def _plain(asymmetry: Asymmetry) -> bool:
    """One margin above 0 for all classes, and one gamma_neg that is a whole number."""
    gamma, margin = asymmetry.gamma_neg, asymmetry.margin
    if isinstance(gamma, Tensor) or isinstance(margin, Tensor):
        return False
    return margin > 0 and gamma == int(gamma) and 1 <= gamma <= LARGEST_PRODUCT


def _absent_in_place(logits: Tensor, asymmetry: Asymmetry, slope: Tensor | None, spare: Tensor) -> tuple[Tensor, Tensor]:
    """As `_absent` for plain settings: few passes, each written over what is no longer needed, so that it stays in the cache."""
    probs, over, log_right, weight = spare
    gamma = int(asymmetry.gamma_neg)
    torch.sigmoid(logits, out=probs)
    torch.ops.aten.softshrink.out(probs, asymmetry.margin, out=over)  # p_m: what is beyond the margin, else 0
    torch.neg(over, out=log_right)
    if slope is not None:
        torch.div(over, torch.add(log_right, 1, out=slope), out=slope)
    log_right.log1p_()
    weight.fill_(1) if gamma == 1 else weight.copy_(over) if gamma == 2 else torch.mul(over, over, out=weight)
    for _ in range(gamma - 3):
        weight.mul_(over)  # p_m ** (gamma - 1)
    if slope is not None:  # p (1 - p) p_m^(gamma - 1) (p_m / (1 - p_m) - gamma log(1 - p_m))
        if not asymmetry.detach_focus:
            slope.sub_(log_right, alpha=gamma)
        slope.mul_(weight).mul_(probs.addcmul_(probs, probs, value=-1))
    return weight.mul_(over), log_right


def _absent(logits: Tensor, asymmetry: Asymmetry, slope: Tensor | None) -> tuple[Tensor, Tensor]:
    """Focusing weight of absent classes and log(1 - p_m); the gradient of -weight * log(1 - p_m) goes into `slope`."""
    probs = torch.sigmoid(logits)
    over, log_right, ratio = _over_margin(logits, probs, asymmetry.margin)
    weight, d_weight = _powers(over, asymmetry.gamma_neg)
    if slope is not None:
        torch.mul(weight, ratio, out=slope).mul_(over > 0)
        if not asymmetry.detach_focus:
            slope.addcmul_(d_weight.mul_(log_right), 1 - probs, value=-1)
        slope.mul_(probs)
    return weight, log_right


def _over_margin(logits: Tensor, probs: Tensor, margin: PerClass) -> tuple[Tensor, Tensor, Tensor]:
    """p_m, log(1 - p_m), and (1 - p) / (1 - p_m) where p is over the margin."""
    if not isinstance(margin, Tensor) and margin == 0:
        return probs, functional.logsigmoid(-logits), torch.ones_like(probs)
    if isinstance(margin, Tensor):
        margin = margin.to(logits)
    over, rest = (probs - margin).clamp_(min=0), 1 - probs
    log_right = torch.log1p(-over)
    if not isinstance(margin, Tensor):
        return over, log_right, rest / (rest + margin)
    none = margin < LEAST_MARGIN
    ratio = torch.where(none, 1.0, rest / (rest + margin.clamp_min(LEAST_MARGIN)))
    return over, torch.where(none, functional.logsigmoid(-logits), log_right), ratio


def _terms(logits: Tensor, targets: Tensor, asymmetry: Asymmetry) -> _Terms:
    probs, missed = torch.sigmoid(logits), torch.sigmoid(-logits)
    over, log_right, ratio = _over_margin(logits, probs, asymmetry.margin)
    charged = (1 - targets) * (over > 0)
    return _Terms(
        torch.lerp(over, missed, targets),
        -torch.lerp(log_right, functional.logsigmoid(logits), targets),
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
    exponent = up * targets + down * (1 - targets)
    if asymmetry.eps_compat:
        return base**exponent, exponent * base.clamp_min(FLOOR) ** (exponent - 1)
    return _powers(base, exponent)


def _powers(base: Tensor, exponent: float | Tensor) -> tuple[Tensor, Tensor]:
    """`base ** exponent` and its derivative by the base, finite at base 0; small whole exponents are multiplied out."""
    if isinstance(exponent, Tensor) or exponent != int(exponent) or exponent > LARGEST_PRODUCT:
        kept = base.clamp_min(FLOOR)
        weight = torch.exp(exponent * torch.log(kept))  # half the time of torch.pow, a third when compiled
        return weight, weight / kept * exponent
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
