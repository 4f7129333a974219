"""A step of several passes, weighted as training weights them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.task import Batch, Task


def gradient(task: Task, batches: Sequence[Batch]) -> Float[Tensor, " n"]:
    """All parameters' gradient of one step over the batches, each part of the loss by its amount."""
    task.model.zero_grad()
    amounts = [task.amounts(batch) for batch in batches]  # type: ignore[attr-defined]
    for batch, own in zip(batches, amounts, strict=True):
        parts = task.loss(task.model(batch), batch)
        total = {name: sum(a[name] for a in amounts) for name in own}
        sum(value * own[name] / total[name] for name, value in parts.items()).backward()  # type: ignore[union-attr]
    return torch.cat([p.grad.flatten() for p in task.model.parameters() if p.grad is not None])
