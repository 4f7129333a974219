"""One pass over one test set, the same numbers for any batch size, worker count and number of processes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from pellucid.data import loader
from pellucid.explain import probe
from pellucid.task import Example, Metric, Output, Task


@dataclass(frozen=True)
class Evaluation:
    """What one pass found; arrays are in the order of the examples.

    Args:
        metrics: the task's numbers over the whole set.
        higher_is_better: per metric.
        predictions: in the data set's units.
        scores: `score(output, answer(output))` per example, in `score_unit`.
        logits: `n c`, None where the output has no `logits` of that shape.
        features: `n d`, mean over the real units of a site; None unless a site was asked for.
    """

    metrics: dict[str, float]
    higher_is_better: dict[str, bool]
    predictions: list[Any]
    scores: np.ndarray
    score_unit: str
    logits: np.ndarray | None = None
    features: np.ndarray | None = None
    examples: Sequence[Example] = field(default=(), repr=False)


@dataclass(frozen=True)
class Pass:
    """How a pass is computed; at `32-true` nothing here changes a number.

    Args:
        precision: `32-true`; or `bf16-mixed`, faster, where batch size and processes move scores by a part in a hundred.
    """

    batch_size: int = 64
    workers: int = 0
    precision: str = "32-true"


def gather_metrics(task: Task, predictions: Sequence[Any], examples: Sequence[Example]) -> dict[str, Metric]:
    """The task's accumulators after all predictions."""
    metrics = task.metrics()
    for prediction, example in zip(predictions, examples, strict=True):
        for metric in metrics.values():
            metric.update(prediction, example)
    return metrics


def evaluate(
    task: Task,
    examples: Sequence[Example],
    how: Pass = Pass(),
    fabric: Fabric | None = None,
    site: str | None = None,
    labelled: bool = True,
) -> Evaluation:
    """Measures a task on examples.

    Args:
        fabric: shares the examples among its processes by index; every process gets the whole result.
        site: also keep the mean features there.
        labelled: without labels there are predictions and scores, but no metrics.
    """
    mine = _my_rows(examples, fabric)
    rows = sorted(mine, key=lambda i: -examples[i].get("length", 0))  # alike lengths together: less padding, same numbers
    lists = [rows[i : i + how.batch_size] for i in range(0, len(rows), how.batch_size)]
    found: dict[int, tuple[Any, ...]] = {}
    device = next(task.model.parameters()).device
    half = torch.autocast(device.type, torch.bfloat16, enabled=how.precision == "bf16-mixed")
    for indices, batch in zip(lists, loader.load(task, examples, lists, how.workers), strict=True):
        with torch.no_grad(), probe.still(task.model), half:
            found |= _run(task, loader.move(batch, device), indices, site)
    return _join(task, examples, _exchange(found, fabric), labelled)


def _my_rows(examples: Sequence[Example], fabric: Fabric | None) -> list[int]:
    first, step = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    return list(range(first, len(examples), step))


def _run(task: Task, batch: dict[str, Any], indices: list[int], site: str | None) -> dict[int, tuple[Any, ...]]:
    features: Any = [None] * len(indices)
    if site is None:
        output = task.model(batch)
    else:
        output, units, present = probe.read(task, batch, site)
        weight = present[..., None].to(units.dtype)
        features = ((units * weight).sum(1) / weight.sum(1).clamp_min(1)).cpu().numpy()
    scores = task.score(output, task.answer(output)).double().cpu().numpy()
    logits = _logits(output, len(indices))
    return dict(zip(indices, zip(task.predict(output, batch), scores, logits, features, strict=True), strict=True))


def _logits(output: Output, rows: int) -> Any:
    logits = output.get("logits")
    return [None] * rows if logits is None or logits.ndim != 2 else logits.double().cpu().numpy()


def _exchange(found: dict[int, tuple[Any, ...]], fabric: Fabric | None) -> dict[int, tuple[Any, ...]]:
    if fabric is None or fabric.world_size == 1:
        return found
    everyone: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(everyone, found)
    return {k: v for part in everyone for k, v in part.items()}


def _join(task: Task, examples: Sequence[Example], found: dict[int, tuple[Any, ...]], labelled: bool) -> Evaluation:
    assert len(found) == len(examples), "an example was lost or counted twice"
    columns = list(zip(*(found[i] for i in range(len(examples))), strict=True)) or [(), (), (), ()]
    predictions, scores, logits, features = columns
    metrics = gather_metrics(task, predictions, examples) if labelled else {}
    return Evaluation(
        {k: float(m.compute()) for k, m in metrics.items()},
        {k: m.higher_is_better for k, m in metrics.items()},
        list(predictions),
        np.asarray(scores, dtype=np.float64),
        task.score_unit,
        np.stack(logits) if logits and logits[0] is not None else None,
        np.stack(features) if features and features[0] is not None else None,
        examples,
    )
