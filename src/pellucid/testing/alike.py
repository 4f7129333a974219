"""What two results are compared by."""

from typing import Any

import torch
from torch import Tensor

RTOL = ATOL = 1e-4


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal shapes and equal up to rounding."""
    return found.shape == expected.shape and torch.allclose(found.float(), expected.float(), RTOL, ATOL)


def same(found: Any, expected: Any) -> bool:
    """Equal up to rounding, through lists, dicts, tensors and arrays; NaN equals NaN."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    if isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(same(a, b) for a, b in zip(found, expected, strict=True))
    if isinstance(found, (int, float, Tensor)) or hasattr(found, "__array__"):
        a, b = torch.as_tensor(found).double(), torch.as_tensor(expected).double()
        return a.shape == b.shape and torch.allclose(a, b, RTOL, ATOL, equal_nan=True)
    return bool(found == expected)
