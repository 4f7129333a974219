"""Batches that depend only on seed, epoch and step, so that a run resumed anywhere sees what it would have seen."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pellucid.recipe import Loop
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


def epoch_batches(lengths: Sequence[int] | int, loop: Loop, epoch: int) -> list[list[int]]:
    """Indices of each batch of an epoch: shuffled, then sorted by length within groups of `loop.bucket` batches.

    Args:
        lengths: one per example, or their number where lengths are unknown.
    """
    rng, size = np.random.default_rng([loop.seed, epoch]), loop.batch_size
    order = rng.permutation(lengths if isinstance(lengths, int) else len(lengths))
    if loop.repeats > 1:
        order = repeated_order(len(order), loop.repeats, int(rng.integers(2**31)), spread=loop.spread)
    if isinstance(lengths, int) or not loop.bucket:
        batches = _cut(order, size)
    else:
        sizes = np.asarray(lengths)
        groups = [g[np.argsort(-sizes[g], kind="stable")] for g in _cut(order, size * loop.bucket)]
        sorted_ = [part for g in groups for part in _cut(g, size)]
        batches = [sorted_[i] for i in rng.permutation(len(sorted_))]
    whole = [part.tolist() for part in batches if not loop.drop_last or len(part) == size]
    return whole or [batches[0].tolist()]


def epoch_seeds(num: int, seed: int, epoch: int) -> list[int]:
    """A seed for each place of an epoch's order, from which what is random about the example there is drawn."""
    return np.random.default_rng([seed, epoch, 1]).integers(2**31, size=num).tolist()


def repeated_order(
    n: int, repeats: int, epoch_seed: int, spread: bool = False, process: tuple[int, int] = (0, 1), round_to: int = 256
) -> np.ndarray:
    """Indices of an epoch in which a third (of `repeats` 3) of the examples come three times, each time augmented anew.

    An epoch keeps its length: n rounded down to a multiple of `round_to`. Batches are cut from the order of process (0, 1); `share`
    then gives each process what the original sampler gives it, so `process` is only for comparing with it.

    Args:
        epoch_seed: other for every epoch.
        spread: the copies of an example stand at least a sixth (half of 1 / `repeats`) of an epoch apart, in different batches; in the
            original they are neighbours, and land on different processes where there are as many processes as copies.
        process: rank and number of processes.
    Source: Hoffer et al. 2020; Touvron et al. 2021 (DeiT).
    """
    rank, world = process
    draw = torch.Generator().manual_seed(epoch_seed)
    order = torch.randperm(n, generator=draw).numpy().repeat(repeats)
    kept = math.floor(n // round_to * round_to / world) if round_to and n >= round_to else math.ceil(n / world)
    places = np.arange(rank, math.ceil(n * repeats / world) * world, world)[:kept]
    order = order[places % len(order)]
    if not spread:
        return order
    passes = [half for copy in range(repeats) for half in np.array_split(order[copy::repeats], 2)]
    return np.concatenate([half[torch.randperm(len(half), generator=draw).numpy()] for half in passes])


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[i : i + size] for i in range(0, len(order), size)]


def share(indices: list[int], part: int, parts: int) -> tuple[list[int], float]:
    """One of `parts` shares of a batch and its weight in the batch's mean; an empty share borrows a row at weight 0."""
    mine = indices[part::parts]
    return (mine, len(mine) / len(indices)) if mine else (indices[:1], 0.0)


class Indexed(torch.utils.data.Dataset):
    """Examples by lists of indices: one item is one collated batch, of random views where there are seeds."""

    def __init__(self, task: Task, examples: Sequence[Example], index_lists: Sequence[list[int]], seeds: Sequence[list[int]] | None = None):
        self.task, self.examples, self.index_lists = task, examples, index_lists
        self.seeds = seeds if hasattr(task, "train_batch") else None

    def __len__(self) -> int:
        return len(self.index_lists)

    def __getitem__(self, item: int) -> Batch:
        chosen = [self.examples[i] for i in self.index_lists[item]]
        if self.seeds is None:
            return self.task.collate(chosen)
        return self.task.train_batch(chosen, self.seeds[item])  # type: ignore[attr-defined]


def load(
    task: Task, examples: Sequence[Example], index_lists: Sequence[list[int]], workers: int = 0, seeds: Sequence[list[int]] | None = None
) -> Iterator[Batch]:
    """Collated batches of the given indices, in order, whatever the number of workers.

    Args:
        seeds: one per index, for a task whose `train_batch` draws random views.
    """
    # a generator of its own: the loader would otherwise draw its workers' seed from the global stream
    loader = DataLoader(
        Indexed(task, examples, index_lists, seeds),
        batch_size=None,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)
