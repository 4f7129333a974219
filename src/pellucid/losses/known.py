"""A value whose gradient is known in closed form, told to autograd by the one custom function of the losses."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        ctx.dtype = logits.dtype
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        if upstream.is_cpu and upstream.ndim == 0 and not torch.compiler.is_compiling() and float(upstream) == 1:
            return slope.to(ctx.dtype), None, None  # a look costs less than a pass over memory
        # multiplied before it is narrowed: a loss scaled for half precision keeps its small gradients
        return (slope * upstream).to(ctx.dtype), None, None


def with_gradient(logits: Tensor, value: Tensor, slope: Float[Tensor, "*b c"]) -> Tensor:
    """The value, for which autograd takes `slope` to be the gradient with respect to the logits, entry by entry.

    Only `slope` is kept for the backward pass. It cannot be differentiated a second time.

    Args:
        value: of the logits' shape (each entry a function of one logit), or the sum of such entries.
    """
    return _Known.apply(logits, value, slope)
