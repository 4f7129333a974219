"""A mixture of equal round Gaussians, one around each labelled point: every conditional of its labels is exact."""

import math

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

OFFICIAL_EPS = 1.1920928955078125e-07  # of the authors' denominators: far from all points every label has probability 0
CELLS = 8_000_000  # numbers held at once


class Mixture(nn.Module):
    """p(label | x), or E[value | x], with the points as centres.

    Args:
        labels: class indices, or values.
        classes: how many; 0 for values.
        eps: added to the density; 0 is right, `OFFICIAL_EPS` restates the authors' program.
        dtype: of the centres; with float64 all is computed so.
    """

    centres: Tensor
    targets: Tensor

    def __init__(
        self,
        points: Float[Tensor, "k n"],
        labels: Shaped[Tensor, " k"],
        classes: int = 2,
        std: float = 0.125,
        eps: float = 0.0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.classes, self.eps = classes, eps
        targets = nn.functional.one_hot(labels.long(), classes) if classes else rearrange(labels, "k -> k 1")
        self.register_buffer("centres", points.to(dtype))
        self.register_buffer("targets", targets.to(dtype))
        self.log_std = nn.Parameter(torch.tensor(math.log(std), dtype=dtype))

    def variance(self) -> Float[Tensor, ""]:
        """Of each Gaussian, in every direction."""
        return (2 * self.log_std).exp()

    def shares(self, energy: Float[Tensor, "*b k"], dims: int | Float[Tensor, "*#b"]) -> Float[Tensor, "*b k"]:
        """How much each centre explains a point; sums to 1 but for eps.

        Args:
            energy: squared distance over twice the variance.
            dims: columns that the distance counts.
        """
        if not self.eps:
            return (-energy).softmax(-1)
        least = energy.min(-1, keepdim=True).values
        near = (least - energy).exp()
        floor = self.eps * (least[..., 0] + 0.5 * dims * (2 * math.pi * self.variance()).log()).exp()
        return near / (reduce(near, "... k -> ... 1", "sum") + floor[..., None])

    def energy(self, points: Float[Tensor, "b n"]) -> Float[Tensor, "b k"]:
        """Squared distance to each centre over twice the variance; as one matrix product, which is what makes it quick."""
        points = points.to(self.centres.dtype)
        own, theirs = reduce(points.square(), "b n -> b 1", "sum"), reduce(self.centres.square(), "k n -> k", "sum")
        return (own + theirs - 2 * points @ self.centres.T).clamp_min(0.0) / (2 * self.variance())

    def forward(self, points: Float[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Probability of each class, or the expected value (c = 1)."""
        return self.shares(self.energy(points), points.shape[-1]) @ self.targets

    def gradient(self, points: Float[Tensor, "b n"], column: int = -1) -> Float[Tensor, "b n"]:
        """The derivative of one class's probability, or of the value, in closed form (eps counted as constant)."""
        shares, target = self.shares(self.energy(points), points.shape[-1]), self.targets[:, column]
        pull = shares * (target - rearrange(shares @ target, "b -> b 1"))  # b k
        return (pull @ self.centres - pull.sum(-1, keepdim=True) * points) / self.variance()

    @torch.no_grad()
    def marginal(self, points: Float[Tensor, "b n"], known: Bool[Tensor, "s n"]) -> Float[Tensor, "s b c"]:
        """The same when only some columns of the points are known; exact, as the Gaussians are round."""
        apart = rearrange(points.to(self.centres.dtype), "b n -> b 1 n") - self.centres  # b k n
        squares = apart.square() / (2 * self.variance())
        each = max(1, CELLS // (squares.shape[0] * squares.shape[1]))
        return torch.cat([self._marginal(squares, some.to(squares.dtype)) for some in known.split(each)])

    def _marginal(self, squares: Float[Tensor, "b k n"], known: Float[Tensor, "s n"]) -> Float[Tensor, "s b c"]:
        dims = rearrange(known.sum(1), "s -> s 1")
        found = self.shares(einsum(known, squares, "s n, b k n -> s b k"), dims) @ self.targets
        return torch.where(dims[..., None] == 0, self.targets.mean(0), found)

    @torch.no_grad()
    def spread(self, points: Float[Tensor, "b n"], known: Bool[Tensor, "s n"]) -> Float[Tensor, "s b"]:
        """Variance of the value when only some columns are known."""
        squared = Mixture(self.centres, self.targets[:, 0].square(), 0, float(self.log_std.detach().exp()), self.eps, self.centres.dtype)
        mean = self.marginal(points, known)[..., 0]
        return (squared.marginal(points, known)[..., 0] - mean.square()).clamp_min(0.0)

    @torch.no_grad()
    def official_gradient(self, points: Float[Tensor, "b n"], std: float = 0.25) -> Float[Tensor, "b n"]:
        """Gradient of p(class 1) as the authors' evaluation has it: of wider Gaussians, with eps in its own denominator."""
        variance, label = std**2, self.targets[:, -1]
        energy = self.energy(points) * (self.variance() / variance)
        density = (-energy).exp() / math.sqrt((2 * math.pi * variance) ** points.shape[-1])  # b k
        whole, ones = density.mean(-1), (density * label).mean(-1)
        pull = density * (label * rearrange(whole, "b -> b 1") - rearrange(ones, "b -> b 1")) / variance
        total = (pull @ self.centres - pull.sum(-1, keepdim=True) * points) / len(label)
        return total / (whole.square() + OFFICIAL_EPS)[:, None]
