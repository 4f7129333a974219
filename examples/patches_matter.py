"""Does a pre-trained UP-DETR look at the patches it is given? Its numbers with a picture's own patches, and with another picture's.

    python examples/patches_matter.py runs/unlabelled

Where both are alike, boxes come from habit and not from the patches, and nothing was learned that a detector could use.
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch

import pellucid


def numbers(run: Any, examples: Sequence[dict[str, Any]], others: bool) -> dict[str, float]:
    """The task's metrics, each picture asked for its own patches or for those of the picture before it."""
    task, metrics = run.task, run.task.metrics()
    batch = task.collate(examples)
    asked = {**batch, "query_patch": batch["query_patch"].roll(1, 0)} if others else batch
    with torch.no_grad():
        output = task.model.eval()(asked)
    for prediction, example in zip(task.predict(output, batch), examples, strict=True):
        for metric in metrics.values():
            metric.update(prediction, example)
    return {name: round(metric.compute(), 3) for name, metric in metrics.items()}


def main(folder: str) -> dict[str, dict[str, float]]:
    """Both sets of numbers on the run's held-out pictures."""
    run = pellucid.load(folder)
    examples = run.prepared(next(iter(run.recipe.tests.values())))
    return {"own patches": numbers(run, examples, False), "another picture's": numbers(run, examples, True)}


if __name__ == "__main__":
    for name, told in main(sys.argv[1]).items():
        print(f"{name}: {told}")
