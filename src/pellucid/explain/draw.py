"""Random numbers that an example gets whatever batch and padding it comes in: drawn per size, by seed, on the CPU."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Draw:
    """A stream of draws for examples of given sizes; two examples of one size share them.

    Args:
        counts: number of things that each example needs numbers for.
    """

    def __init__(self, counts: Int[Tensor, " b"], seed: int):
        self.counts, self.device = counts.cpu(), counts.device
        self.sizes = sorted(set(self.counts.tolist()))
        self.generators = {size: torch.Generator().manual_seed(seed) for size in self.sizes}

    def uniform(self, copies: int) -> Float[Tensor, "b k p"]:
        """Numbers in 0..1, in the first places of each example's row; 0 after them."""
        filled = torch.zeros(len(self.counts), copies, max(self.sizes))
        for size, generator in self.generators.items():
            filled[self.counts == size, :, :size] = torch.rand(copies, size, generator=generator)
        return filled.to(self.device)

    def normal(self, copies: int, wanted: Bool[Tensor, "b n"], width: int) -> Float[Tensor, "k b n d"]:
        """Standard normal numbers at the units wanted, as many per example as it counts; 0 elsewhere."""
        wanted = wanted.cpu()
        filled = torch.zeros(copies, *wanted.shape, width)
        for size, generator in self.generators.items():
            alike = self.counts == size
            drawn = torch.randn(copies, size, width, generator=generator)
            filled[:, wanted & alike[:, None]] = drawn.repeat(1, int(alike.sum()), 1)
        return filled.to(self.device)
