"""Where a cell of a feature map lies, as features that are added to what attends."""

import math

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pellucid.errors import BadUsage


class SinePosition(nn.Module):
    """Sines and cosines of each cell's place within its own picture, whatever is padded around it; rows first, then columns.

    Args:
        width: of the features, half for each axis.
        temperature: ratio of the longest wave to the shortest.
    Source: Carion et al. 2020, after Vaswani et al. 2017.
    """

    def __init__(self, width: int, temperature: float = 10_000.0):
        super().__init__()
        self.each, self.temperature = width // 2, temperature

    def forward(self, present: Bool[Tensor, "b h w"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "b d h w"]:
        """Features of every cell, from which cells are real."""
        place = present.to(dtype)
        down, across = place.cumsum(1), place.cumsum(2)
        down = down / (down[:, -1:, :] + 1e-6) * (2 * math.pi)
        across = across / (across[:, :, -1:] + 1e-6) * (2 * math.pi)
        wave = torch.arange(self.each, device=present.device) // 2 * 2
        period = self.temperature ** (wave.to(dtype) / self.each)
        return torch.cat([self._waves(axis, period) for axis in (down, across)], 1)

    @staticmethod
    def _waves(axis: Float[Tensor, "b h w"], period: Float[Tensor, " d"]) -> Float[Tensor, "b d h w"]:
        angle = rearrange(axis, "b h w -> b h w 1") / period
        pairs = torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], -1)
        return rearrange(pairs, "b h w d two -> b (d two) h w")


class LearnedPosition(nn.Module):
    """A learned row for each row and column of a map, columns first.

    Args:
        cells: most rows or columns of a map; 50 of 32 pixels make 1,600.
    """

    def __init__(self, width: int, cells: int = 50):
        super().__init__()
        self.rows, self.columns = nn.Embedding(cells, width // 2), nn.Embedding(cells, width // 2)
        nn.init.uniform_(self.rows.weight)
        nn.init.uniform_(self.columns.weight)

    def forward(self, present: Bool[Tensor, "b h w"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "b d h w"]:
        """Features of every cell.

        Raises:
            BadUsage: the map has more rows or columns than were learned.
        """
        b, h, w = present.shape
        if max(h, w) > self.rows.num_embeddings:
            most = self.rows.num_embeddings
            raise BadUsage(f"a map of {h} x {w} cells, but positions were learned for {most}; show smaller pictures, or position=sine")
        down = repeat(self.rows.weight[:h].to(dtype), "h d -> b d h w", b=b, w=w)
        across = repeat(self.columns.weight[:w].to(dtype), "w d -> b d h w", b=b, h=h)
        return torch.cat([across, down], 1)


POSITIONS = {"sine": SinePosition, "learned": LearnedPosition}
