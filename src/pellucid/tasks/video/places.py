"""Which of a clip's local features are looked at: evenly over the whole, or drawn anew from equal parts of it."""

import numpy as np


def places(n: int, num: int, rng: np.random.Generator | None = None) -> list[int]:
    """Places of `num` of n features, in order: one of each of `num` equal parts, all n where there are no more.

    Args:
        rng: draws the place within its part; None takes the middle.
    """
    if n <= num:
        return list(range(n))
    within = 0.5 if rng is None else rng.random(num)
    return np.minimum((np.arange(num) + within) * n / num, n - 1).astype(int).tolist()
