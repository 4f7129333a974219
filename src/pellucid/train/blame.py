"""Where a step's numbers stopped being finite, in one line: the parameter, the batch, the module or the loss, and the examples."""

import os
from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pellucid.data import loader
from pellucid.explain.hooks import first_fault, spoiled
from pellucid.task import Batch, Example, Output, Task
from pellucid.train.passes import Share


def blame(task: Task, shares: Sequence[Share], examples: Sequence[Example], fabric: Fabric, remedy: str) -> str:
    """What is not finite and what would do, found by running the passes of a step once more in the mode that the model is in.

    Args:
        examples: that the passes' rows count in.
        remedy: against numbers that grow.
    """
    lost = next((name for name, value in task.model.named_parameters() if spoiled(value.abs()).any()), None)
    if lost:
        return f"parameter {lost} is not; {remedy}, or start from other weights"
    for share in shares:
        told = _of_pass(task, share, [examples[i] for i in share.rows], fabric, remedy)
        if told:
            return told
    return f"it is when the step is run again; {remedy}"


def _of_pass(task: Task, share: Share, examples: list[Example], fabric: Fabric, remedy: str) -> str:
    batch, precision = loader.move(share.batch, fabric.device), fabric._precision
    with torch.no_grad():
        with first_fault(task.model, len(examples)) as faults, fabric.autocast():
            output = task.model(precision.convert_input(batch))
        output = precision.convert_output(output)
        losses = [name for name, value in task.loss(output, batch).items() if not value.isfinite()]
        rows = faults[0].rows if faults else _alone(task, output, batch, len(examples)) if losses else []
    if not faults and not losses:
        return ""
    given = {key: _rows_spoiled(value) for key, value in batch.items()}
    for key, wrong in given.items():
        if wrong and (not rows or set(wrong) & set(rows)):
            return f"{key!r} of the batch is not{_named(wrong, examples)}; check what is written there"
    if faults:
        return f"first the {faults[0].side} of {faults[0].module}{_named(rows, examples)}; {remedy}, or look at what is special there"
    return f"only the loss, all that the model gives is{_named(rows, examples)}; check what is written there, or {remedy}"


def _alone(task: Task, output: Output, batch: Batch, size: int) -> list[int]:
    """Examples whose own loss is not finite; the example axis is first everywhere."""
    own = [[{k: v[i : i + 1] for k, v in whole.items()} for whole in (output, batch)] for i in range(size)]
    return [i for i, pair in enumerate(own) if not all(v.isfinite() for v in task.loss(*pair).values())]


def _rows_spoiled(value: Tensor | list[object]) -> list[int]:
    return [i for i, row in enumerate(value) if isinstance(row, Tensor) and spoiled(row).any()]


def _named(rows: Sequence[int], examples: Sequence[Example], most: int = 3) -> str:
    """`, for example 17 (photos/17.jpg)`; empty where no row is known."""
    if not rows:
        return ""
    if len(rows) == len(examples) > 1:
        return f", for all {len(rows)} examples of the pass"
    names = [f"{examples[i].get('id', i)}{_file(examples[i])}" for i in rows[:most]]
    return f", for example {', '.join(names)}" + (f" and {len(rows) - most} more" if len(rows) > most else "")


def _file(example: Mapping[str, object]) -> str:
    place = example.get("image")
    return f" ({os.fspath(place)})" if isinstance(place, (str, os.PathLike)) else ""


def overflow(model: nn.Module, remedy: str) -> str:
    """Which gradient is not finite, where the loss is: the first that the way back from the loss comes to."""
    lost = [name for name, value in model.named_parameters() if value.grad is not None and spoiled(value.grad.abs()).any()]
    if not lost:
        return f"the gradient is too large for its norm to be a number; {remedy}"
    others = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"the loss is finite, its gradient is not: first at parameter {lost[-1]}{others}; {remedy}"
