"""The transformer that looks at sampled patches: quantised positions, scale embedding, register tokens, pre-norm blocks."""

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.tasks.quality.settings import VitShape

Tokens = Float[Tensor, "b n d"]
Asked = Float[Tensor, "b m d"]  # of them the first m, or all
STD = 0.02  # of fresh weights, tokens and tables


class Attention(nn.Module):
    """Self-attention of which only the first tokens may ask."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tokens, asking: int | None = None) -> Asked:
        """What the first `asking` tokens, by default all, gather from all."""
        query, key_value = self.qkv.weight.tensor_split([x.shape[-1]])
        query_bias, key_value_bias = self.qkv.bias.tensor_split([x.shape[-1]])
        if asking is None:
            q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        else:
            q = rearrange(F.linear(x[:, :asking], query, query_bias), "b n (h d) -> b h n d", h=self.heads)
            k, v = rearrange(F.linear(x, key_value, key_value_bias), "b n (two h d) -> two b h n d", two=2, h=self.heads)
        return self.out(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))


class Adapter(nn.Module):
    """A bottleneck of a quarter of the width, beside what it is given."""

    def __init__(self, width: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, width // 4), nn.Linear(width // 4, width)

    def forward(self, x: Asked) -> Asked:
        """The same, adapted."""
        return x + self.up(F.gelu(self.down(x)))


class Block(nn.Module):
    """Attention, then a network per token; each reads normalised tokens and is added to them."""

    def __init__(self, shape: VitShape, dropout: float, drop_path: float):
        super().__init__()
        width = shape.width
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, shape.heads)
        self.fc1, self.fc2 = nn.Linear(width, shape.mlp), nn.Linear(shape.mlp, width)
        self.dropout, self.drop_path = nn.Dropout(dropout), DropPath(drop_path)
        self.scale1, self.scale2 = (nn.Parameter(torch.ones(width)) if shape.layer_scale else None for _ in range(2))
        self.adapter1, self.adapter2 = (Adapter(width) if shape.adapters else nn.Identity() for _ in range(2))

    def forward(self, x: Tokens, asking: int | None = None) -> Asked:
        """The tokens after the block, or its first `asking`."""
        x = x[:, :asking] + self._branch(self.adapter1(self.attention(self.norm1(x), asking)), self.scale1)
        inner = self.fc2(self.dropout(F.gelu(self.fc1(self.norm2(x)))))
        return x + self._branch(self.adapter2(self.dropout(inner)), self.scale2)

    def _branch(self, x: Asked, scale: nn.Parameter | None) -> Asked:
        return self.drop_path(x if scale is None else x * scale)


class PatchTransformer(nn.Module):
    """Patches of a picture, taken anywhere and at several scales, to the class token.

    Args:
        token_dropout: on embedded tokens.
        dropout: inside the blocks.
    """

    def __init__(self, shape: VitShape, token_dropout: float = 0.0, dropout: float = 0.0, drop_path: float = 0.0):
        super().__init__()
        self.shape, width = shape, shape.width
        self.patch = nn.Conv2d(3, width, shape.patch, shape.patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.registers = nn.Parameter(torch.zeros(1, shape.registers, width)) if shape.registers else None
        self.position = nn.Parameter(torch.zeros(1, shape.grid**2 + 1, width))
        self.scale = nn.Parameter(torch.zeros(1, shape.scales + 1, width)) if shape.scales > 1 else None
        self.token_dropout = nn.Dropout(token_dropout)
        rates = torch.linspace(0, drop_path, shape.blocks, device="cpu").tolist()  # also where the network is built on "meta"
        self.blocks = nn.ModuleList(Block(shape, dropout, rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.reset()

    def reset(self) -> None:
        """Fresh weights."""
        for table in (self.cls, self.registers, self.position, self.scale):
            if table is not None:
                nn.init.normal_(table, std=STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=STD)
                nn.init.zeros_(module.bias)

    @property
    def prefix(self) -> int:
        """Tokens before those of the patches."""
        return 1 + self.shape.registers

    def embed(
        self, patches: Float[Tensor, "b n 3 p p"], position: Float[Tensor, "b n 2"], scale_index: Int[Tensor, "b n"]
    ) -> Float[Tensor, "b m d"]:
        """Class token, registers, patches."""
        b = patches.shape[0]  # len would make an exported program's batch fixed
        # one output per patch: a matrix product, many times faster than a convolution of pictures one patch large
        x = F.linear(rearrange(patches, "b n c p q -> b n (c p q)"), rearrange(self.patch.weight, "d c p q -> d (c p q)"), self.patch.bias)
        x = x + self.position[0][table_rows(position, self.shape.grid, self.shape.legacy)]
        if self.scale is not None:
            x = x + self.scale[0][scale_index.clamp(0, self.shape.scales - 1) + 1]
        cls = self.cls if self.shape.legacy else self.cls + self.position[:, :1]
        first = [cls] if self.registers is None else [cls, self.registers]
        return self.token_dropout(torch.cat([*(repeat(token, "1 k d -> b k d", b=b) for token in first), x], 1))

    def forward(
        self,
        patches: Float[Tensor, "b n 3 p p"],
        position: Float[Tensor, "b n 2"],
        scale_index: Int[Tensor, "b n"],
        whole: bool = False,
    ) -> Float[Tensor, "b m d"]:
        """The normalised class token, `b 1 d`, or all tokens; the last block asks for no more than is read."""
        x = self.embed(patches, position, scale_index)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(self.blocks[-1](x, None if whole else 1))


def table_rows(position: Float[Tensor, "*n 2"], grid: int, legacy: bool = False) -> Int[Tensor, "*n"]:
    """The row of the table of positions for each place: row 0 is the class token's.

    Args:
        position: down and across, in [0, 1) of the picture; of the 2021 layout in [-1, 1].
        legacy: as the 2021 layout counts, without leaving out the class token's row.
    """
    share = (position + 1) / (2 + 1e-6) if legacy else position
    down, across = (share * grid).floor().long().clamp(0, grid - 1).unbind(-1)
    return grid * down + across + (0 if legacy else 1)
