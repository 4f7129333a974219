"""Batches that depend only on seed, epoch and step, so that a run resumed anywhere sees what it would have seen."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pellucid.task import Batch, Example, Task


def move(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors, also those in lists, on `device`."""
    return {k: _move(v, device) for k, v in batch.items()}


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, list) and value and isinstance(value[0], Tensor):
        return [v.to(device, non_blocking=True) for v in value]
    return value


def steps_of(num_examples: int, batch_size: int) -> int:
    """Optimiser steps in an epoch; the last batch may be smaller."""
    return -(-num_examples // batch_size)


def epoch_batches(lengths: Sequence[int] | int, batch_size: int, bucket: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of an epoch: shuffled, then sorted by length within groups of `bucket` batches.

    Args:
        lengths: one per example, or their number where lengths are unknown.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(lengths if isinstance(lengths, int) else len(lengths))
    if isinstance(lengths, int) or not bucket:
        return [part.tolist() for part in _cut(order, batch_size)]
    sizes = np.asarray(lengths)
    groups = [g[np.argsort(-sizes[g], kind="stable")] for g in _cut(order, batch_size * bucket)]
    batches = [part for g in groups for part in _cut(g, batch_size)]
    return [batches[i].tolist() for i in rng.permutation(len(batches))]


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[i : i + size] for i in range(0, len(order), size)]


def share(indices: list[int], part: int, parts: int) -> tuple[list[int], float]:
    """One of `parts` shares of a batch and its weight in the batch's mean; an empty share borrows a row at weight 0."""
    mine = indices[part::parts]
    return (mine, len(mine) / len(indices)) if mine else (indices[:1], 0.0)


class Indexed(torch.utils.data.Dataset):
    """Examples by lists of indices: one item is one collated batch."""

    def __init__(self, task: Task, examples: Sequence[Example], index_lists: Sequence[list[int]]):
        self.collate, self.examples, self.index_lists = task.collate, examples, index_lists

    def __len__(self) -> int:
        return len(self.index_lists)

    def __getitem__(self, item: int) -> Batch:
        return self.collate([self.examples[i] for i in self.index_lists[item]])


def load(task: Task, examples: Sequence[Example], index_lists: Sequence[list[int]], workers: int = 0) -> Iterator[Batch]:
    """Collated batches of the given indices, in order, whatever the number of workers."""
    # a generator of its own: the loader would otherwise draw its workers' seed from the global stream
    loader = DataLoader(
        Indexed(task, examples, index_lists), batch_size=None, num_workers=workers, generator=torch.Generator().manual_seed(0)
    )
    return iter(loader)
