"""Repeated augmentation: which examples an epoch shows, and where their copies lie."""

import numpy as np
import pytest
from timm.data.distributed_sampler import RepeatAugSampler

from pellucid.data.loader import repeated_order, share


@pytest.mark.parametrize(("n", "repeats", "world"), [(600, 3, 1), (600, 3, 2), (517, 4, 4), (100, 3, 3)])
def test_processes_get_what_timms_sampler_gives_them(n, repeats, world):
    for rank in range(world):
        sampler = RepeatAugSampler(range(n), num_replicas=world, rank=rank, num_repeats=repeats)
        sampler.set_epoch(5)
        assert repeated_order(n, repeats, 5, process=(rank, world)).tolist() == list(sampler)


def test_batches_cut_from_the_one_order_and_shared_are_the_processes_batches():
    whole, world, per_process = repeated_order(1000, 3, 2), 4, 16
    batches = [whole[i : i + world * per_process].tolist() for i in range(0, len(whole), world * per_process)]
    for rank in range(world):
        mine = [i for batch in batches for i in share(batch, rank, world)[0]]
        assert mine == repeated_order(1000, 3, 2, process=(rank, world)).tolist()


def test_an_epoch_keeps_its_length_and_shows_one_in_three():
    order = repeated_order(2000, 3, 0)
    assert len(order) == 1792  # 7 x 256
    assert len(set(order.tolist())) == 598  # 1792 / 3, the last cut short
    assert repeated_order(2000, 3, 1).tolist() != order.tolist()


@pytest.mark.parametrize(("n", "repeats"), [(1000, 3), (513, 2), (64, 3), (10, 3)])
def test_spread_copies_are_the_same_examples_in_different_batches(n, repeats):
    near, far = repeated_order(n, repeats, 4), repeated_order(n, repeats, 4, spread=True)
    assert sorted(near) == sorted(far)
    apart = min(np.diff(np.flatnonzero(far == i)).min(initial=n) for i in set(far.tolist()))
    size = int(apart)
    assert size >= len(far) // repeats // 2
    batches = [far[i : i + size] for i in range(0, len(far), size)]
    assert all(len(set(batch.tolist())) == len(batch) for batch in batches)


def test_spread_copies_meet_other_neighbours_each_time():
    order = repeated_order(1000, 2, 0, spread=True)
    first, second = order[:384], order[384:]
    assert sorted(first) == sorted(second)
    assert (first != second).mean() > 0.9
