"""VTAMIQ: what a transformer sees in a picture and in its reference, the difference modulated, and one number of it."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from timm.layers import DropPath
from torch import Tensor, nn

from pellucid.nn.pixels import factors
from pellucid.task import Batch, Output
from pellucid.tasks.quality.settings import HeadShape, VitShape
from pellucid.tasks.quality.vit import PatchTransformer

Anchor = Literal["none", "zero", "positive"]
BEND = 0.02  # error within which "positive" is round instead of pointed


class GatedBlock(nn.Module):
    """A bent and mixed copy of the features, weighed by a gate, beside them.

    On one vector the published channel attention (Zhang et al. 2018, RCAN) has nothing to pool: convolutions of 1 x 1 are linear.
    """

    def __init__(self, width: int, shape: HeadShape):
        super().__init__()
        self.act, self.mix = nn.PReLU(), nn.Linear(width, width)
        self.down, self.up = nn.Linear(width, width // shape.reduction), nn.Linear(width // shape.reduction, width)
        self.gate_act: nn.Module = nn.PReLU() if shape.gate == "prelu" else nn.ReLU()

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """The features, modulated."""
        mixed = self.mix(self.act(x))
        return x + mixed * self.up(self.gate_act(self.down(mixed))).sigmoid()


class ResidualGroup(nn.Module):
    """Gated blocks and a linear layer, beside what they are given."""

    def __init__(self, width: int, shape: HeadShape, drop_path: float = 0.0):
        super().__init__()
        self.blocks = nn.Sequential(*(GatedBlock(width, shape) for _ in range(shape.blocks)))
        self.tail, self.drop_path = nn.Linear(width, width), DropPath(drop_path)

    def body(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """What is added."""
        return self.tail(self.blocks(x))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """The features and what is added."""
        return x + self.drop_path(self.body(x))


class Difference(nn.Module):
    """The difference modulation network: how much each way of being different matters."""

    def __init__(self, width: int, shape: HeadShape, drop_path: float = 0.0):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width)) if shape.scale else None
        self.embedding = ResidualGroup(width, shape) if shape.embedding else None
        self.groups = nn.Sequential(*(ResidualGroup(width, shape, drop_path) for _ in range(shape.groups)))
        self.tail = nn.Linear(width, width) if shape.groups else nn.Identity()

    def forward(self, reference: Float[Tensor, "b d"], image: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """The modulated difference of two class tokens, reference first."""
        found = reference - image
        if self.scale is not None:
            found = found * self.scale
        if self.embedding is not None:
            found = found * self.embedding.body(reference)
        return self.tail(self.groups(found))


class Head(nn.Module):
    """One number of the difference."""

    def __init__(self, width: int, dropout: float = 0.0):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, width // 4), nn.PReLU(), nn.Linear(width // 4, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """The error, 0 for none."""
        return self.fc2(self.dropout(self.act(self.fc1(self.dropout(x)))))[:, 0]


class Vtamiq(PatchTransformer):
    """The whole network: patches of a picture and of its reference, taken at the same places, to an error.

    Source: Chubarau and Clark 2021, arXiv 2110.01655.
    Differs: the two pictures go through the transformer together, not one after the other.
    """

    def __init__(
        self,
        shape: VitShape,
        head: HeadShape,
        token_dropout: float = 0.0,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        head_dropout: float = 0.0,
    ):
        super().__init__(shape, token_dropout, dropout)
        self.difference, self.head = Difference(shape.width, head, drop_path), Head(shape.width, head_dropout)

    def error(self, reference: Float[Tensor, "b d"], image: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """The error between two class tokens."""
        return self.head(self.difference(reference, image))

    def classes(
        self,
        patches: Sequence[Float[Tensor, "b n 3 p p"]],
        position: Float[Tensor, "b n 2"],
        scale_index: Int[Tensor, "b n"],
    ) -> list[Float[Tensor, "b d"]]:
        """The class token of each of several pictures, looked at in the same places, in one pass; an example's rows lie side by side."""
        k = len(patches)
        rows = rearrange(torch.stack(list(patches), 1), "b k n c p q -> (b k) n c p q")
        x = self(rows, repeat(position, "b n two -> (b k) n two", k=k), repeat(scale_index, "b n -> (b k) n", k=k))
        return list(rearrange(x, "(b k) 1 d -> k b d", k=k))


class QualityNetwork(nn.Module):
    """Patches in 0 to 255 to the quality of a picture.

    Reads `reference` and `image` (b r n 3 p p; r samplings of n patches), `position` (b r n 2), `scale_index` (b r n) and, of preference
    rows, `other` and `other_present` (b).

    Args:
        mean: of pixel values between 0 and 1, that the transformer was trained with.
        anchor: what an identical pair's answer does: `none` leaves it as it falls (published), `zero` is subtracted, so that an identical
            pair has error 0, and `positive` also folds what would be better than the reference, so that nothing is.
    """

    def __init__(self, net: Vtamiq, mean: Sequence[float], std: Sequence[float], anchor: Anchor = "zero"):
        super().__init__()
        self.net, self.anchor = net, anchor
        self.change = nn.Identity()  # where what was done to each patch can be read and undone
        for name, value in zip(("pixel_scale", "pixel_shift"), factors(mean, std), strict=True):
            self.register_buffer(name, value, persistent=False)

    def normalised(self, patches: Float[Tensor, "*b 3 p p"]) -> Float[Tensor, "*b 3 p p"]:
        """The patches as the transformer takes them."""
        scale, shift = (rearrange(cast(Tensor, v), "c -> c 1 1") for v in (self.pixel_scale, self.pixel_shift))
        return patches * scale + shift

    def forward(self, batch: Batch) -> Output:
        """`quality` (b); of several samplings their mean, and `spread`, its standard error; perhaps `other_quality` (b)."""
        reference = self.normalised(batch["reference"])
        image = reference + self.change(self.normalised(batch["image"]) - reference)
        r = reference.shape[1]
        flat = [rearrange(t, "b r ... -> (b r) ...") for t in (reference, image, batch["position"], batch["scale_index"])]
        places = flat[2], flat[3]
        first, second = self.net.classes(flat[:2], *places)
        quality = rearrange(1 - self.error(first, second), "(b r) -> b r", r=r)
        output = {"quality": quality.mean(1)} | ({"spread": quality.std(1) / r**0.5} if r > 1 else {})
        if "other" in batch:
            (other,) = self.net.classes([rearrange(self.normalised(batch["other"]), "b r ... -> (b r) ...")], *places)
            output["other_quality"] = rearrange(1 - self.error(first, other), "(b r) -> b r", r=r).mean(1)
        return output

    def error(self, reference: Float[Tensor, "b d"], image: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """The anchored error between two class tokens."""
        found = self.net.error(reference, image)
        if self.anchor == "none":
            return found
        found = found - self.net.error(reference, reference)
        return found if self.anchor == "zero" else (found**2 + BEND**2).sqrt() - BEND
