"""The encoder and decoder of detectors: positions join queries and keys in every layer, values stay free of them."""

import itertools
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

Tokens = Float[Tensor, "b n d"]
Present = Bool[Tensor, "b m"] | None  # keys that are real
Among = Bool[Tensor, "n m"] | None  # true where a query may look at a key


class Attention(nn.Module):
    """Several heads of scaled dot products; the three input matrices lie in one, queries' on top, then keys', then values'."""

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tokens, key: Float[Tensor, "b m d"], value: Float[Tensor, "b m d"], present: Present = None, among: Among = None
    ) -> Tokens:
        """What each query gathers from the keys that are real and that it may look at."""
        q, k, v = self._heads(query, key, value)
        dropout = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(q, k, v, _pairs(present, among), dropout)
        return self.out_proj(rearrange(found, "b h n d -> b n (h d)"))

    def weights(self, query: Tokens, key: Float[Tensor, "b m d"], present: Present = None) -> Float[Tensor, "b h n m"]:
        """How much each query looks at each key, by head; rows sum to 1."""
        q, k, _ = self._heads(query, key, key)
        logits = torch.einsum("bhnd,bhmd->bhnm", q, k) * q.shape[-1] ** -0.5
        allowed = _pairs(present, None)
        return (logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)).softmax(-1)

    def _heads(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        made = (F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
        return [rearrange(x, "b n (h d) -> b h n d", h=self.num_heads) for x in made]


def _pairs(present: Present, among: Among) -> Tensor | None:
    """The masks as one that broadcasts over batch, heads and queries."""
    keys = None if present is None else rearrange(present, "b m -> b 1 1 m")
    pairs = None if among is None else rearrange(among, "n m -> 1 1 n m")
    return keys if pairs is None else pairs if keys is None else keys & pairs


class EncoderLayer(nn.Module):
    """Self-attention and two dense layers, each added to what comes in; norms after each sum, or before each part (`pre_norm`)."""

    def __init__(self, width: int, num_heads: int, feedforward: int, dropout: float, pre_norm: bool):
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = Attention(width, num_heads, dropout)
        self.linear1, self.linear2 = _linears(width, feedforward)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tokens, position: Tokens, present: Bool[Tensor, "b n"] | None) -> Tokens:
        """The tokens after the layer."""
        y = self.norm1(x) if self.pre_norm else x
        placed = y + position
        x = x + self.dropout(self.attention(placed, placed, y, present))
        x = x if self.pre_norm else self.norm1(x)
        y = self.norm2(x) if self.pre_norm else x
        x = x + self.dropout(self.linear2(self.dropout(self.linear1(y).relu())))
        return x if self.pre_norm else self.norm2(x)


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the memory, then two dense layers."""

    def __init__(self, width: int, num_heads: int, feedforward: int, dropout: float, pre_norm: bool):
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attention, self.cross_attention = (Attention(width, num_heads, dropout) for _ in range(2))
        self.linear1, self.linear2 = _linears(width, feedforward)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tokens, query_position: Tokens, memory: "Memory", among: Bool[Tensor, "n n"] | None) -> Tokens:
        """The queries after the layer.

        Args:
            among: true where a query may look at another.
        """
        y = self.norm1(x) if self.pre_norm else x
        placed = y + query_position
        x = x + self.dropout(self.self_attention(placed, placed, y, among=among))
        x = x if self.pre_norm else self.norm1(x)
        y = self.norm2(x) if self.pre_norm else x
        x = x + self.dropout(self.cross_attention(y + query_position, memory.keys, memory.values, memory.present))
        x = x if self.pre_norm else self.norm2(x)
        y = self.norm3(x) if self.pre_norm else x
        x = x + self.dropout(self.linear2(self.dropout(self.linear1(y).relu())))
        return x if self.pre_norm else self.norm3(x)

    def looks(self, x: Tokens, query_position: Tokens, memory: "Memory", among: Bool[Tensor, "n n"] | None) -> Float[Tensor, "b h n m"]:
        """How much each query looks at each token of the memory in this layer, by head."""
        y = self.norm1(x) if self.pre_norm else x
        placed = y + query_position
        x = x + self.self_attention(placed, placed, y, among=among)
        y = self.norm2(x) if self.pre_norm else self.norm1(x)
        return self.cross_attention.weights(y + query_position, memory.keys, memory.present)


class Memory:
    """What a decoder looks at: tokens as values, with their positions as keys, and which of them are real."""

    def __init__(self, tokens: Tokens, position: Tokens, present: Bool[Tensor, "b n"] | None):
        self.values, self.keys, self.present = tokens, tokens + position, present


class Encoder(nn.Module):
    """Layers, and with `pre_norm` a last norm."""

    def __init__(self, num_layers: int, width: int, num_heads: int, feedforward: int, dropout: float = 0.0, pre_norm: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, num_heads, feedforward, dropout, pre_norm) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width) if pre_norm else None

    def forward(self, tokens: Tokens, position: Tokens, present: Bool[Tensor, "b n"] | None = None) -> Tokens:
        """The tokens, each of which has seen the others."""
        for layer in self.layers:
            tokens = layer(tokens, position, present)
        return tokens if self.norm is None else self.norm(tokens)


class Decoder(nn.Module):
    """Layers that begin at nothing, each one's queries told through one shared norm."""

    def __init__(self, num_layers: int, width: int, num_heads: int, feedforward: int, dropout: float = 0.0, pre_norm: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, num_heads, feedforward, dropout, pre_norm) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, query_position: Tokens, memory: Memory, among: Bool[Tensor, "n n"] | None = None, all_layers: bool = True
    ) -> Float[Tensor, "l b n d"]:
        """The queries after each layer, or after the last alone."""
        x, found = torch.zeros_like(query_position), []
        for layer in self.layers:
            x = layer(x, query_position, memory, among)
            found.append(x)
        return self.norm(torch.stack(found if all_layers else found[-1:]))

    def looks(self, query_position: Tokens, memory: Memory, among: Bool[Tensor, "n n"] | None = None) -> Float[Tensor, "b h n m"]:
        """How much each query looks at each token of the memory in the last layer, by head."""
        x = torch.zeros_like(query_position)
        for layer in self.layers[:-1]:
            x = layer(x, query_position, memory, among)
        return cast(DecoderLayer, self.layers[-1]).looks(x, query_position, memory, among)


def _linears(width: int, inner: int) -> tuple[nn.Linear, nn.Linear]:
    there, back = nn.Linear(width, inner), nn.Linear(inner, width)
    return there, back


class Mlp(nn.Module):
    """Dense layers with ReLU between."""

    def __init__(self, *widths: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n e"]:
        """The last layer's values."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


def spread_evenly(module: nn.Module) -> None:
    """Gives every matrix inside Xavier's uniform weights, as DETR's transformer starts."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
