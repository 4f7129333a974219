"""Default boxes: the boxes that a detector on several maps starts from, several in each cell of each map."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

Side = int | torch.SymInt


@dataclass(frozen=True)
class Tiling:
    """How large the boxes of each map are, as shares of the picture's sides.

    Args:
        smallest: of the finest map; the next one has `low`, the last one `high`, those between lie evenly.
        ratios: width by height of a cell's boxes, all of the scale's area; one more is a square between this scale and the next.
        scales: of the maps, finest first, and one beyond the last; in place of the three numbers above.
    Source: BlitzNet, which has .1, .2 for 300 pixels and a finest stride of 8, .04, .1 for a stride of 4 or for 512 pixels, .02, .08 for
        both; with `scales` SSD.
    """

    smallest: float = 0.1
    low: float = 0.2
    high: float = 0.95
    ratios: tuple[float, ...] = (1, 2, 1 / 2, 3, 1 / 3)
    scales: tuple[float, ...] = ()

    @property
    def per_cell(self) -> int:
        """Boxes of a cell."""
        return len(self.ratios) + 1

    def scales_of(self, num_maps: int) -> list[float]:
        """The scale of each map and, one more, that beyond the last.

        Raises:
            ValueError: scales are given, but not as many.
        """
        if self.scales and len(self.scales) != num_maps + 1:
            raise ValueError(f"{len(self.scales)} scales for {num_maps} maps; give {num_maps + 1}: one for each and one beyond the last")
        step = (self.high - self.low) / max(1, num_maps - 2)
        return list(self.scales) or [self.smallest, *(self.low + i * step for i in range(num_maps))]

    def sides(self, num_maps: int) -> list[list[tuple[float, float]]]:
        """Width and height of a cell's boxes, by map."""
        scales = self.scales_of(num_maps)
        found = []
        for scale, following in itertools.pairwise(scales):
            square = (scale * following) ** 0.5
            found.append([*((scale * r**0.5, scale / r**0.5) for r in self.ratios), (square, square)])
        return found


def default_boxes(
    sizes: Sequence[tuple[Side, Side]], tiling: Tiling = Tiling(), device: torch.device | str | None = None
) -> Float[Tensor, "n 4"]:
    """Centre, width and height of each box as shares of the picture: map after map, row after row, a cell's together.

    They may reach out of the picture.

    Args:
        sizes: height and width of each map, finest first.
    """
    maps = []
    for (height, width), sides in zip(sizes, tiling.sides(len(sizes)), strict=True):
        rows, columns = torch.meshgrid(_centres(height, device), _centres(width, device), indexing="ij")
        centres = rearrange(torch.stack([columns, rows], -1), "h w d -> (h w) 1 d")
        shapes = rearrange(torch.tensor(sides, device=device), "a d -> 1 a d")
        boxes = torch.cat(torch.broadcast_tensors(centres, shapes), -1)
        maps.append(rearrange(boxes, "n a d -> (n a) d"))
    return torch.cat(maps)


def _centres(num: Side, device: torch.device | str | None) -> Float[Tensor, " n"]:
    return (torch.arange(num, device=device) + 0.5).div(num)  # type: ignore[arg-type]
