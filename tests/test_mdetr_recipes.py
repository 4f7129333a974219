"""MDETR's recipes say what its paper and program do: who learns at which rate, what is measured, what begins anew."""

from dataclasses import replace

import pytest

from pellucid import recipe
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.read import read
from pellucid.recipe import Data
from pellucid.recipes import mdetr
from pellucid.train.optim import parameter_groups

NAMES = sorted(recipe.functions("mdetr"))
PUBLISHED = [name for name in NAMES if getattr(mdetr, name)().claims]
SMALL = {
    "backbone": "resnet_tiny",
    "pretrained": "",
    "frozen": "",
    "text": "words",
    "view": BoxView(64, 64),
    "train_view": BoxTrainView((64,), 64, 0.0, 0.0),
    "width": 128,
    "num_heads": 8,
    "num_queries": 3,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "feedforward": 32,
}


@pytest.fixture(scope="module")
def rows():
    return read(Data("grounding-world:train?num=4&size=64"))


def built(one, rows):
    """The recipe's task with a small network, which has all of its parts."""
    answer = {"answer": {"type": "obj" if one.task.answers == "gqa" else "binary", "value": "yes"}}
    return replace(one.task, **SMALL).build([row | answer for row in rows])


def learned(one, model):
    """Rate and schedule of each part that learns."""
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, one.optim, one.schedules)
    found = {}
    for group in groups:
        for parameter in group["params"]:
            part = ".".join(named[id(parameter)].split(".")[: 3 if ".text." in named[id(parameter)] else 2])
            found.setdefault(part, set()).add((group["lr"], group["schedule"]))
    assert all(len(some) == 1 for some in found.values())
    return {part: some.pop() for part, some in found.items()}


def test_backbone_text_encoder_and_the_rest_learn_at_three_rates_and_by_two_schedules(rows):
    one = mdetr.pretrain()
    found = learned(one, built(one, rows).model)
    assert found.pop("net.backbone") == (pytest.approx(1e-5), "")
    assert found.pop("net.text.encoder") == (pytest.approx(5e-5), "net.text.encoder.")
    assert {"net.text.resize", "net.text.norm", "net.encoder", "net.decoder", "net.align_tokens"} < set(found)
    assert set(found.values()) == {(1e-4, "")}
    assert (one.schedule.step_epochs, one.schedule.gamma, one.loop.epochs, one.loop.ema) == (35, 0.1, 40, 0.9998)


def test_masks_are_learned_by_the_mask_head_alone(rows):
    one = mdetr.phrasecut_masks()
    assert set(learned(one, built(one, rows).model)) == {"net.mask_head"}


@pytest.mark.parametrize("name", ["gqa", "clevr", "cogent", "phrasecut_masks"])
def test_what_begins_anew_is_all_that_the_stage_before_has_not_and_what_is_left_out_all_that_this_one_has_not(name, rows):
    before = {"gqa": "pretrain", "clevr": "clevr_medium", "cogent": "clevr_medium", "phrasecut_masks": "phrasecut"}[name]
    one = getattr(mdetr, name)()
    old, new = (set(built(getattr(mdetr, stage)(), rows).model.state_dict()) for stage in (before, name))
    assert new - old == {key for key in new if key.startswith(one.init_skip or ("-",))}
    assert old - new == {key for key in old if key.startswith(one.init_drop or ("-",))}
    assert new - old


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_claim_is_of_a_number_that_is_measured_and_of_a_set_that_is(name, rows):
    one = getattr(mdetr, name)()
    measured = built(one, rows).metrics()
    sets, metrics = zip(*(claim.split("/") for claim in one.claims), strict=True)
    hidden = {"testA", "testB"} if name == "cogent" else set()  # its answers are not public
    assert set(sets) <= set(one.tests) | hidden
    assert set(metrics) <= set(measured)
    assert all(0 < value <= 1 for value in one.claims.values())


def test_the_table_compares_one_network_with_and_without_each_loss():
    cells = mdetr.table().cells
    weights = {cell.model: (cell.recipe.task.align, cell.recipe.task.soft_tokens) for cell in cells}
    assert weights == {"full": (1, 1), "no alignment": (0, 1), "no soft tokens": (1, 0)}
    alike = [replace(cell.recipe, task=replace(cell.recipe.task, align=1.0, soft_tokens=1.0)) for cell in cells]
    assert all(one == alike[0] for one in alike)
    assert all({"test", "combinations"} == set(cell.recipe.tests) for cell in cells)
