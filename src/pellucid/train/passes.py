"""The passes that a step is split into, over time and over processes, and how much each counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pellucid.task import Batch, Task


@dataclass(frozen=True)
class Share:
    """What one pass of a step computes in this process.

    Args:
        rows: places of its examples among the training examples.
        weight: its share of the step's examples; 0 where its one example is borrowed.
    """

    batch: Batch
    rows: list[int]
    weight: float


def own_weights(task: Task, shares: Sequence[Share], fabric: Fabric) -> list[dict[str, float]]:
    """For each pass, the weights of those losses that the task's `amounts` says are means over something else than examples.

    A loss's weights sum to one over all passes and processes of the step; where there is nothing to take a mean over, each is one.
    """
    if not hasattr(task, "amounts"):
        return [{} for _ in shares]
    found = [{name: amount if s.weight else 0.0 for name, amount in task.amounts(s.batch).items()} for s in shares]
    whole = torch.tensor([[one[name] for name in found[0]] for one in found], dtype=torch.float64).sum(0)
    if fabric.world_size > 1:
        whole = fabric.all_reduce(whole.to(fabric.device), reduce_op="sum")  # type: ignore[assignment]
    totals = dict(zip(found[0], whole.tolist(), strict=True))
    return [{name: amount / totals[name] if totals[name] else 1.0 for name, amount in one.items()} for one in found]


def weighted(parts: Mapping[str, Tensor], weight: float, own: Mapping[str, float], factor: float) -> Tensor:
    """The sum of the losses, each by its own weight or else by `weight`, times `factor`."""
    means = [value for name, value in parts.items() if name not in own]
    terms = [torch.stack(means).sum() * (weight * factor)] if means else []
    return torch.stack([*terms, *(parts[name] * (own[name] * factor) for name in parts if name in own)]).sum()
