"""Models of a table of points: the exact mixture, or a network, behind one of three ways to meet a column."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pellucid.task import Batch, Output
from pellucid.tasks.synthetic.mixture import Mixture

PATCH = 4  # pixels along a side
NEVER = -1e9  # log-odds of a class that no point has

Embedding = Literal["columns", "tokens", "patches"]


class Columns(nn.Module):
    """A column is one number, as it is."""

    key, layout, width = "point", "b (n d)", 1

    def forward(self, points: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """The points."""
        return points

    def units(self, seen: Float[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Of width 1."""
        return rearrange(seen, "b n -> b n 1")

    def decode(self, seen: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """The columns' values."""
        return seen


class Tokens(nn.Module):
    """A column is a token, one per value; its vector holds the value along one direction, and noise across it."""

    key, layout = "tokens", "b n d"
    direction: Tensor
    known: Tensor

    def __init__(self, values: Sequence[Sequence[float]], width: int):
        super().__init__()
        self.width = width
        draw = torch.Generator().manual_seed(0)
        direction = torch.nn.functional.normalize(torch.randn(width, generator=draw), dim=0)
        flat = torch.tensor([v for column in values for v in column])
        across = torch.randn(len(flat), width, generator=draw) * 0.1
        across = across - einsum(across, direction, direction, "v d, d, e -> v e")
        self.vectors = nn.Embedding.from_pretrained(einsum(flat, direction, "v, d -> v d") + across, freeze=True)
        self.register_buffer("direction", direction)
        self.register_buffer("known", pad_sequence([torch.tensor(column) for column in values], True, math.inf))
        self.register_buffer("first", torch.tensor([sum(map(len, values[:k])) for k in range(len(values))]))

    def tokens(self, points: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
        """The tokens of the nearest known values."""
        apart = (rearrange(points, "b n -> b n 1") - self.known.cpu()).abs()
        return apart.argmin(-1) + self.get_buffer("first").cpu()

    def forward(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Their vectors."""
        return self.vectors(tokens)

    def units(self, seen: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """The vectors."""
        return seen

    def decode(self, seen: Float[Tensor, "b n d"]) -> Float[Tensor, "b n"]:
        """The columns' values."""
        return einsum(seen, self.direction, "b n d, d -> b n")


class Patches(nn.Module):
    """A column is a patch of a picture one patch high: a fixed texture, as strong as the value; filters look at each patch."""

    key, layout = "image", "b d h w"
    texture: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        draw = torch.Generator().manual_seed(0)
        self.register_buffer("texture", torch.randn(PATCH, PATCH, generator=draw))
        self.filters = nn.Conv2d(1, width, PATCH, PATCH, bias=False)
        with torch.no_grad():
            self.filters.weight.copy_(torch.randn(width, 1, PATCH, PATCH, generator=draw) / PATCH)
        self.filters.requires_grad_(False)

    def image(self, points: Float[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """The picture of a point."""
        return rearrange(einsum(points, self.texture.cpu().to(points.dtype), "b n, h w -> b n h w"), "b n h w -> b 1 h (n w)")

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """What the filters find in each patch."""
        return self.filters(image)

    def units(self, seen: Float[Tensor, "b d h w"]) -> Float[Tensor, "b n d"]:
        """Patches in reading order."""
        return rearrange(seen, "b d h w -> b (h w) d")

    def decode(self, seen: Float[Tensor, "b d h w"]) -> Float[Tensor, "b n"]:
        """The columns' values."""
        of_one = einsum(self.filters.weight[:, 0], self.texture, "d h w, h w -> d")
        return einsum(self.units(seen), of_one, "b n d, d -> b n") / of_one.square().sum()


Embedder = Columns | Tokens | Patches


def embedder(kind: Embedding, values: Sequence[Sequence[float]], width: int) -> Embedder:
    """How the model meets a column."""
    if kind == "tokens":
        return Tokens(values, width)
    return Patches(width) if kind == "patches" else Columns()


class Exact(nn.Module):
    """The mixture behind an embedding: `logits` are log-probabilities; `value` for values."""

    def __init__(self, embed: Embedder, mixture: Mixture):
        super().__init__()
        self.embed: Any = embed
        self.mixture = mixture

    def forward(self, batch: Batch) -> Output:
        """`logits` or `value`."""
        values = self.embed.decode(self.embed(batch[self.embed.key]))
        if not self.mixture.classes:
            return {"value": self.mixture(values)[:, 0]}
        near = rearrange(-self.mixture.energy(values), "b k -> b k 1")
        return {"logits": near.where(rearrange(self.mixture.targets, "k c -> 1 k c") > 0, NEVER).logsumexp(1)}


class Network(nn.Module):
    """An MLP over all columns; between tokens, first one transformer layer."""

    def __init__(self, embed: Embedder, columns: int, classes: int, width: int):
        super().__init__()
        self.embed: Any = embed
        self.classes = classes
        tokens = isinstance(embed, Tokens)
        self.position = nn.Parameter(0.02 * torch.randn(columns, width)) if tokens else None
        self.encoder = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True) if tokens else nn.Identity()
        size = columns * embed.width
        self.head = nn.Sequential(
            nn.Linear(size, 2 * width), nn.GELU(), nn.Linear(2 * width, 2 * width), nn.GELU(), nn.Linear(2 * width, classes or 1)
        )

    def forward(self, batch: Batch) -> Output:
        """`logits` or `value`."""
        units = self.embed.units(self.embed(batch[self.embed.key]))
        if self.position is not None:
            units = units + self.position
        found = self.head(rearrange(self.encoder(units), "b n d -> b (n d)"))
        return {"logits": found} if self.classes else {"value": reduce(found, "b 1 -> b", "sum")}
