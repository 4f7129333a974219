"""Selectors that are trained on draws of one problem: which columns a second network needs to tell the label.

Source: Chen et al. 2018, L2X; Yoon et al. 2019, INVASE (its variant without a baseline network); sizes and rates as the authors of
the benchmark have them. Differs: the budget is a number of steps, by default a tenth of theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

Sampler = Callable[[int, int], tuple[Float[np.ndarray, "m n"], Shaped[np.ndarray, " m"]]]  # count, seed -> points, labels


@dataclass(frozen=True)
class Budget:
    """How a selector is trained.

    Args:
        steps: updates at most; the authors' 50,000 take a minute a problem.
        every: steps between looks at the selection; training stops when `patience` looks in a row found the same.
        after: looks before stopping is considered.
    """

    steps: int = 5000
    batch_size: int = 512
    every: int = 100
    patience: int = 10
    after: int = 20
    width: int = 100


DEFAULT = Budget()


class L2X:
    """Columns by the Gumbel-softmax of a selector: `most` are drawn, with repetition, and their maximum is the mask."""

    temperature, most, lr, looks_at = 0.1, 5, 1e-3, 0.7

    def __init__(self, points: Float[np.ndarray, "b n"], classes: int, seed: int = 0, budget: Budget = DEFAULT):
        self.budget, self.seed, self.classes = budget, seed, classes
        self.draw = torch.Generator().manual_seed(seed)
        self.points = torch.tensor(points, dtype=torch.float32)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            columns, width = points.shape[1], budget.width
            self.selector = nn.Sequential(
                nn.Linear(columns, width), nn.SELU(), nn.Linear(width, width), nn.SELU(), nn.Linear(width, columns)
            )
            hidden = (
                nn.Linear(columns, width),
                nn.SELU(),
                nn.BatchNorm1d(width),
                nn.Linear(width, width),
                nn.SELU(),
                nn.BatchNorm1d(width),
            )
            self.teller = nn.Sequential(*hidden, nn.Linear(width, max(classes, 1)))
        self.adam = torch.optim.Adam([*self.selector.parameters(), *self.teller.parameters()], lr=self.lr, eps=1e-7)

    def fit(self, sampler: Sampler) -> "L2X":
        """Trains until the selection of the points rests, or the budget is spent."""
        last, same, budget = None, 0, self.budget
        for step in range(1, budget.steps + 1):
            points, labels = sampler(budget.batch_size, self.seed * budget.steps + step)
            self.update(torch.as_tensor(points, dtype=torch.float32), torch.as_tensor(labels))
            if step % budget.every == 0:
                found = self.chosen()
                same = same + 1 if last is not None and step > budget.after * budget.every and torch.equal(found, last) else 0
                last = found
                if same >= budget.patience:
                    break
        return self

    def update(self, points: Float[Tensor, "b n"], labels: Shaped[Tensor, " b"]) -> None:
        """One step."""
        logits = self.selector(points)
        noise = -torch.log(-torch.log(torch.rand(len(points), min(self.most, points.shape[1]), points.shape[1], generator=self.draw)))
        soft = ((rearrange(logits, "b n -> b 1 n") + noise) / self.temperature).softmax(-1)
        loss = self.missed(points * reduce(soft, "b k n -> b n", "max"), labels).mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()

    def missed(self, masked: Float[Tensor, "b n"], labels: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Cross-entropy, or squared error, of the second network on what it is shown."""
        told = self.teller(masked)
        if not self.classes:
            return (told[:, 0] - labels.float()).square()
        return F.cross_entropy(told, labels.long(), reduction="none")

    @torch.no_grad()
    def chosen(self) -> Tensor:
        """The selection of the points by which rest is judged."""
        logits = self.selector(self.points)
        return logits >= logits.amax(-1, keepdim=True) * self.looks_at

    @torch.no_grad()
    def weights(self, points: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
        """Logits of the selector; a larger one is likelier selected."""
        return self.selector(torch.as_tensor(points, dtype=torch.float32)).double().numpy()


class INVASE(L2X):
    """Columns by independent coin tosses of an actor, rewarded when the critic still tells the label; fewer cost less."""

    lr, price = 1e-4, 0.01

    def update(self, points: Float[Tensor, "b n"], labels: Shaped[Tensor, " b"]) -> None:
        """One step of critic and actor."""
        logits = self.selector(points)
        with torch.no_grad():
            mask = (torch.rand(logits.shape, generator=self.draw) <= logits.sigmoid()).float()
        missed = self.missed(points * mask, labels)
        likely = -F.binary_cross_entropy_with_logits(logits, mask, reduction="none").sum(-1)
        actor = (missed.detach() * likely).mean() + self.price * logits.sigmoid().mean()
        self.adam.zero_grad()
        (missed.mean() + actor).backward()
        self.adam.step()


SELECTORS: dict[str, type[L2X]] = {"l2x": L2X, "invase": INVASE}
