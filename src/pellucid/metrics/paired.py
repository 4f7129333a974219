"""What every accumulator of predictions against targets shares: reading the target, refusing what is not a number."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from pellucid.task import Example


def target_of(example: Example, key: str) -> Any:
    """The target of an example.

    Raises:
        ValueError: the example has none, or it is NaN.
    """
    if key not in example:
        raise ValueError(f"example {_name(example)} has no {key!r}; it has {', '.join(example)}")
    return checked(example[key], example, key)


def checked(value: Any, example: Example, what: str = "prediction") -> Any:
    """The value itself.

    Raises:
        ValueError: it is NaN.
    """
    if isinstance(value, (float, np.floating)) and math.isnan(value):
        raise ValueError(f"{what} of example {_name(example)} is NaN; metrics of NaN mean nothing")
    return value


def finite(value: Any, example: Example, what: str = "prediction") -> float:
    """The value as a float.

    Raises:
        ValueError: it is no number, NaN or infinite.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{what} of example {_name(example)} is {value!r}, not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{what} of example {_name(example)} is {'NaN' if math.isnan(number) else number}, not a finite number")
    return number


def once(num_examples: int) -> Float[np.ndarray, "1 n"]:
    """Multiplicities of the sample itself: every example once."""
    return np.ones((1, num_examples))


def _name(example: Example) -> str:
    return repr(example.get("id", "without id"))
