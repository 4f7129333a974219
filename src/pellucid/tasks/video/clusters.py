"""Attention clusters: several attention units over one set of local features, kept apart by the shifting operation.

Source: Long et al. 2018, "Attention clusters: purely attention based local feature integration for video classification", CVPR,
arXiv 1711.09550. No feature knows its place: the same set in another order gives the same.
"""

import math

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.tasks.video.settings import Cluster

EPS = 1e-12  # a sum shorter than this is divided by it and not by its length


class AttentionCluster(nn.Module):
    """Units that each weigh all local features of a clip; their sums side by side, unit after unit, of length 1 together.

    Unit k scores each feature (linearly, or by a hidden layer), takes the softmax over features and sums up: v = a X. It becomes
    (scale_k v + shift_k) / (sqrt(units) * its length); all units begin alike but for that scale and shift, which pull them apart.

    Args:
        width: numbers in a local feature.
    """

    def __init__(self, width: int, settings: Cluster):
        super().__init__()
        self.settings = settings
        self.units = 1 if settings.weighting == "mean" else settings.units
        self.width = self.units * width
        self._make_scoring(width)
        if settings.shift == "shift":
            self.scale = nn.Parameter(torch.empty(self.units))
            self.shift = nn.Parameter(torch.empty(self.units))
        self.reset_parameters()

    def _make_scoring(self, width: int) -> None:
        told, units = self.settings, self.units
        if told.weighting == "mean":
            return
        inner = width
        if told.weighting == "two_fc":
            inner = told.hidden
            self.hidden_weight = nn.Parameter(torch.empty(1 if told.share_hidden else units, inner, width))
            self.hidden_bias = nn.Parameter(torch.empty(1 if told.share_hidden else units, inner))
        self.weight = nn.Parameter(torch.empty(units, inner))
        self.bias = nn.Parameter(torch.empty(units))  # the softmax takes no notice of it; published weights have it

    def reset_parameters(self) -> None:
        """Scores begin as torch's linear layers do; scale and shift are drawn with a deviation of units ** -1/4."""
        for name, parameter in self.named_parameters():
            if name in ("scale", "shift"):
                nn.init.normal_(parameter, std=self.units**-0.25)
            else:
                inputs = self.hidden_weight.shape[-1] if name.startswith("hidden") else self.weight.shape[-1]
                nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5)

    def weights(self, x: Float[Tensor, "b n f"], present: Bool[Tensor, "b n"] | None = None) -> Float[Tensor, "b u n"]:
        """What each unit gives each feature: not negative, 0 where none is, of sum 1, or 0 for a clip without any."""
        scores = self._scores(x)
        if present is None:
            return scores.softmax(-1)
        kept = rearrange(present, "b n -> b 1 n")
        lowest = torch.finfo(scores.dtype).min  # finite: a clip without any feature must not become NaN
        return scores.masked_fill(~kept, lowest).softmax(-1) * kept

    def _scores(self, x: Float[Tensor, "b n f"]) -> Float[Tensor, "b u n"]:
        told = self.settings
        if told.weighting == "mean":
            return x.new_zeros(x.shape[0], 1, x.shape[1])
        if told.weighting == "one_fc" or told.share_hidden:
            seen = x if told.weighting == "one_fc" else (F.linear(x, self.hidden_weight[0], self.hidden_bias[0])).tanh()
            return rearrange(F.linear(seen, self.weight, self.bias), "b n u -> b u n")
        inner = einsum(x, self.hidden_weight, "b n f, u h f -> b u n h") + rearrange(self.hidden_bias, "u h -> u 1 h")
        return einsum(inner.tanh(), self.weight, "b u n h, u h -> b u n") + rearrange(self.bias, "u -> u 1")

    def pool(
        self, x: Float[Tensor, "b n f"], weights: Float[Tensor, "b u n"], present: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b uf"]:
        """The units' sums, shifted and scaled; zeros for a clip without any feature.

        A unit's length follows from the products of the clip's features with each other, and so its sum is laid out once, as it is given
        on: neither the sums before that nor their gradients are ever held.
        """
        if self.settings.shift == "none":
            return rearrange(weights @ x, "b u f -> b (u f)")
        mean = x.mean(-1, keepdim=True)  # b n 1
        basis = torch.cat([x - mean, torch.ones_like(x[:, :1])], 1)  # the last row is what a shift adds; the others lie across it
        told = self._in_rows(weights, mean)
        told = told / (lengths(told, basis) * math.sqrt(self.units))
        if present is not None:
            told = told * rearrange(present.any(1), "b -> b 1 1")
        return rearrange(told @ basis, "b u f -> b (u f)")

    def _in_rows(self, weights: Float[Tensor, "b u n"], mean: Float[Tensor, "b n 1"]) -> Float[Tensor, "b u m"]:
        """How much of each row of the basis is in each unit's shifted sum; one row more than there are features."""
        if self.settings.shift == "norm":
            return torch.cat([weights, weights @ mean], -1)
        scaled = weights * rearrange(self.scale, "u -> u 1")
        return torch.cat([scaled, scaled @ mean + rearrange(self.shift, "u -> u 1")], -1)

    def forward(self, x: Float[Tensor, "b n f"], present: Bool[Tensor, "b n"] | None = None) -> Float[Tensor, "b uf"]:
        """One row per clip.

        Args:
            present: true where a feature is real.
        """
        return self.pool(x, self.weights(x, present), present)


def lengths(told: Float[Tensor, "b u m"], rows: Float[Tensor, "b m f"]) -> Float[Tensor, "b u 1"]:
    """The length of each row of `told @ rows`, from products of the rows with each other alone.

    Of rows that cancel but for the last digit the length is not known; it is then no less than what the digits leave open, nor than EPS.
    """
    exact = torch.promote_types(rows.dtype, torch.float32)
    with torch.autocast(rows.device.type, enabled=False):
        told, rows = told.to(exact), rows.to(exact)
        products = rows @ rearrange(rows, "b m f -> b f m")
        squared = reduce((told @ products) * told, "b u m -> b u 1", "sum")
        with torch.no_grad():
            each = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)  # b m 1
            least = torch.finfo(exact).eps * (told.abs() @ each).square()
        return torch.maximum(squared, least.clamp_min(EPS**2)).sqrt()
