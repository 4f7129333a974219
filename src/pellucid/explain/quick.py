"""Frozen linear layers on the faster of the two matrix libraries that torch carries for CPUs."""

import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

X86 = platform.machine().lower() in ("x86_64", "amd64")


def available() -> bool:
    """Whether this torch has oneDNN's linear operator, which torch's own compiler uses."""
    return X86 and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class QuickLinear(TorchFunctionMode):
    """Within the block, linear layers whose weights are frozen run on oneDNN in float32 where torch would take MKL.

    The numbers agree up to rounding. MKL holds back on processors that are not its maker's: there this is twice as fast. A row's
    result does not depend on how many rows there are, so an explanation is the same in any batch.
    """

    def __torch_function__(self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        """Takes the quick way where it may, for a call of `linear`."""
        if func is F.linear and not kwargs and _may(*args):
            return _Linear.apply(*args, *[None] * (3 - len(args)))
        return func(*args, **(kwargs or {}))


def _may(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    tensors = (x, weight) if bias is None else (x, weight, bias)
    frozen = not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors[1:]))
    plain = all(type(t) in (Tensor, torch.nn.Parameter) and t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
    return frozen and plain and x.ndim >= 2 and x.numel() > 0 and weight.ndim == 2 and not torch.is_autocast_enabled("cpu") and available()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight.detach().contiguous(), bias, "none", [], "")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return torch.ops.mkldnn._linear_pointwise(gradient.contiguous(), weight.t().contiguous(), None, "none", [], ""), None, None
