"""Recipes of TripleNet: their schedules are BlitzNet's steps, their table switches one part after the other."""

import itertools

import pytest

from pellucid.nn.default_boxes import Tiling
from pellucid.recipe import get, names
from pellucid.recipes import triplenet

PUBLISHED = [name for name in names() if name.startswith("triplenet:") and "${VOC}" in get(name).train.source] + ["triplenet:coco"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_rate_falls_twice_before_the_end_in_blitznets_shares(name):
    one = get(name)
    first, second = one.schedule.drops
    shares = (3 / 5, 4 / 5) if one.task.view.size == 512 else (35 / 65, 50 / 65)
    assert (first / one.loop.epochs, second / one.loop.epochs) == pytest.approx(shares, rel=0.03)
    assert (one.optim.name, one.optim.lr, one.optim.weight_decay, one.schedule.gamma) == ("adam", 1e-4, 5e-5, 0.1)


def test_65_000_steps_of_32_are_126_epochs_of_vocs_two_years():
    one = get("triplenet:voc07")
    assert (one.loop.epochs, one.loop.batch_size, one.schedule.drops) == (126, 32, (67.67, 96.67))
    assert one.loop.epochs * 16_551 / 32 == pytest.approx(65_000, rel=0.005)


@pytest.mark.parametrize(("name", "smallest", "low"), [("triplenet:voc07", 0.1, 0.2), ("triplenet:voc07_512", 0.04, 0.1)])
def test_default_boxes_are_blitznets_for_the_size(name, smallest, low):
    task = get(name).task
    tiling = Tiling(task.smallest, task.low, task.high, task.ratios, task.scales)
    assert tiling.scales_of(6)[:2] == [smallest, low]
    assert tiling.scales_of(6)[5] == pytest.approx(0.95)


def test_each_row_of_the_table_has_what_the_one_below_has_and_one_part_more():
    parts = ("fused", "inner", "agnostic", "attention")
    rows = {cell.model: cell.recipe.task for cell in triplenet.table().cells}
    on = [{part for part in parts if getattr(task, part)} for task in rows.values() if task.jobs == "both"]
    assert on[0] == set(parts) and on[-1] == set()
    assert all(above > below and len(above - below) == 1 for above, below in itertools.pairwise(on))
    assert [task.jobs for task in rows.values()][-2:] == ["detection", "segmentation"]
    assert all(task.pair for task in rows.values())
    assert triplenet.table().seeds == (0, 1, 2)


def test_claims_are_those_of_the_abstract():
    claims = {name: dict(get(name).claims) for name in names() if name.startswith("triplenet:") and get(name).claims}
    assert claims == {
        "triplenet:voc12_512": {"val/voc_AP50": 0.819, "maps/mIoU": 0.833},
        "triplenet:coco_512": {"val/AP": 0.371, "val/mIoU": 0.596},
    }
