"""A mask for each query: where its attention falls on the encoder's map, sharpened on the backbone's finer maps.

Source: Carion et al. 2020, section 4.4.
"""

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import BadUsage
from pellucid.nn.resnet import GroupNorm, reduced, zeroed


class MapAttention(nn.Module):
    """How much each query looks at each cell, by head; there are no values.

    Args:
        joint: the shares of all heads and cells together sum to 1, as the published DETR weights want it; else those of each head,
            as UP-DETR and MDETR have it.
    """

    def __init__(self, width: int, num_heads: int, joint: bool):
        super().__init__()
        self.num_heads, self.joint = num_heads, joint
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width)
        for linear in (self.q, self.k):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, queries: Float[Tensor, "b q d"], encoded: Float[Tensor, "b d h w"], cells: Bool[Tensor, "b h w"]
    ) -> Float[Tensor, "b q m h w"]:
        """Shares by query, head and cell."""
        q = rearrange(self.q(queries), "b q (m d) -> b q m d", m=self.num_heads)
        k = rearrange(self.k(rearrange(encoded, "b d h w -> b h w d")), "b h w (m d) -> b h w m d", m=self.num_heads)
        logits = torch.einsum("bqmd,bhwmd->bqmhw", q * q.shape[-1] ** -0.5, k)
        logits = logits.masked_fill(~rearrange(cells, "b h w -> b 1 1 h w"), -torch.inf)
        flat = rearrange(logits, "b q m h w -> b q (m h w)" if self.joint else "b q m h w -> b q m (h w)")
        return flat.softmax(-1).reshape(logits.shape)


class MaskHead(nn.Module):
    """Mask logits at a quarter of the picture's side.

    Args:
        channels: of the backbone's first three maps.
    """

    def __init__(self, width: int, num_heads: int, channels: Sequence[int], joint: bool = False):
        super().__init__()
        if width % 128 or num_heads % 8:
            raise BadUsage(f"masks with width={width}, num_heads={num_heads}: the width must be a multiple of 128, the heads of 8")
        self.attention = MapAttention(width, num_heads, joint)
        widths = [width + num_heads, width // 2, width // 4, width // 8, width // 16]
        inside = widths[0]
        for i, out in enumerate(widths, 1):
            self.add_module(f"lay{i}", nn.Conv2d(inside, out, 3, padding=1))
            self.add_module(f"gn{i}", GroupNorm(out, 8))
            inside = out
        self.out_lay = nn.Conv2d(inside, 1, 3, padding=1)
        for i, (fine, out) in enumerate(zip(reversed(channels), widths[1:4], strict=True), 1):
            self.add_module(f"adapter{i}", nn.Conv2d(fine, out, 1))
        for module in self.children():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        encoded: Float[Tensor, "b d h w"],
        projected: Float[Tensor, "b d h w"],
        cells: Bool[Tensor, "b h w"],
        finer: Sequence[Float[Tensor, "b _ _ _"]],
        present: Bool[Tensor, "b _ _"] | None = None,
    ) -> Float[Tensor, "b q y x"]:
        """Mask logits of each query.

        Args:
            finer: the backbone's first three maps.
            present: true at real pixels; given, padding is kept out of convolutions and norms, as in `ResNet`.
        """
        shares = self.attention(queries, encoded, cells)
        b, q = shares.shape[:2]
        image = repeat(projected, "b d h w -> (b q) d h w", q=q)
        x = torch.cat([image, rearrange(shares, "b q m h w -> (b q) m h w")], 1)
        real = None if present is None else repeat(cells, "b h w -> (b q) h w", q=q)
        x = self._layer(2, self._layer(1, x, real), real)
        for i, fine in enumerate(reversed(finer), 1):
            real = None if present is None else repeat(reduced(present, fine), "b h w -> (b q) h w", q=q)
            detail = repeat(self.get_submodule(f"adapter{i}")(fine), "b d h w -> (b q) d h w", q=q)
            x = self._layer(2 + i, detail + F.interpolate(x, size=detail.shape[-2:], mode="nearest"), real)
        return rearrange(self.out_lay(zeroed(x, real)), "(b q) 1 h w -> b q h w", b=b)

    def _layer(self, i: int, x: Tensor, real: Tensor | None) -> Tensor:
        return self.get_submodule(f"gn{i}")(self.get_submodule(f"lay{i}")(zeroed(x, real)), real).relu()
