import math

import pytest
import torch
from torch import nn

from pellucid.errors import BadUsage
from pellucid.recipe import Optim, Schedule
from pellucid.train.optim import clip_units, momentum_at, optimizer, parameter_groups, rate_factor, set_rate


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(2, 4)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.head = nn.Linear(4, 2)


def rates(optim):
    model = Net()
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in parameter_groups(model, optim) for p in g["params"]}


def test_each_layer_below_the_head_learns_more_slowly():
    found = rates(Optim(lr=1.0, layer_decay=0.5))
    assert [found[f"{n}.weight"][0] for n in ("head", "blocks.2", "blocks.1", "blocks.0", "stem")] == [1, 0.5, 0.25, 0.125, 0.0625]


def test_biases_are_not_decayed():
    found = rates(Optim(weight_decay=0.3))
    assert (found["head.weight"][1], found["head.bias"][1]) == (0.3, 0.0)
    assert rates(Optim(weight_decay=0.3, no_decay_1d=False))["head.bias"][1] == 0.3


def test_a_rate_of_zero_freezes():
    assert {n.split(".")[0] for n in rates(Optim(lr_scale={"blocks": 0.0, "stem": 2.0}))} == {"stem", "head"}
    with pytest.raises(BadUsage, match="no parameter begins so; they begin blocks, head, stem"):
        rates(Optim(lr_scale={"encoder": 0.0}))


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Schedule("linear", warmup=0), [1, 0.75, 0.5, 0.25]),
        (Schedule("linear", warmup=0, final=0.2), [1, 0.8, 0.6, 0.4]),
        (Schedule("cosine", warmup=0), [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        (Schedule("step", warmup=0, gamma=0.1), [1, 1, 0.1, 0.1]),
        (Schedule("constant", warmup=0.5), [1 / 3, 2 / 3, 1, 1]),
        (Schedule("linear", warmup=1), [0.5, 1, 2 / 3, 1 / 3]),
    ],
)
def test_schedules_by_hand(schedule, factors):
    assert [rate_factor(schedule, step, 4, 2) for step in range(4)] == pytest.approx(factors)


def test_one_step_of_lamb_by_hand():
    """The layer's step is as long as its weights (You et al. 2020): Adam's first step is the sign, scaled to the weights' norm."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[3.0, 4.0]])
    model(torch.tensor([[1e-2, -2e-2]])).sum().backward()
    inner = optimizer(model, Optim("lamb", lr=0.1, weight_decay=0.0, eps=1e-12))
    # timm's LAMB adapts the step of decayed groups alone unless told otherwise
    before = model.weight.detach().clone()
    inner.step()
    step = (before - model.weight).flatten()
    assert step.sign().tolist() == [1, -1]
    assert abs(step[0].item()) == pytest.approx(abs(step[1].item()), rel=1e-4)


def stepped(optim, weights, gradients, steps=1):
    """A weight `1 2` after steps of the same gradient."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([weights])
    inner = optimizer(model, optim)
    for _ in range(steps):
        model.weight.grad = torch.tensor([gradients])
        inner.step()
    return model.weight[0].tolist()


def test_a_decayed_step_of_lamb_by_hand():
    """Norm 1, so no clipping; Adam's first step is (1, 1), with the decay (1.3, 1.4), brought to the length of (3, 4), which is 5."""
    step = 0.1 * 5 / math.hypot(1.3, 1.4)
    expected = [3 - step * 1.3, 4 - step * 1.4]
    assert stepped(Optim("lamb", lr=0.1, weight_decay=0.1, eps=1e-6), [3.0, 4.0], [0.6, 0.8]) == pytest.approx(expected, abs=4e-6)
    assert expected == pytest.approx([2.659774, 3.633603], abs=1e-6)


def test_lamb_clips_the_whole_gradient_unless_told_otherwise():
    """Two steps of gradients 1 and 4 differ from two of 1 and 1 only where the 4 is not clipped to norm 1."""

    def second_step(optim, gradient):
        model = nn.Linear(1, 1, bias=False)
        model.weight.data = torch.ones(1, 1)
        inner = optimizer(model, optim)
        for value in (1.0, gradient):
            model.weight.grad = torch.full((1, 1), value)
            inner.step()
        return model.weight.item()

    clipped, free = Optim("lamb", lr=0.1, weight_decay=0.0), Optim("lamb", lr=0.1, weight_decay=0.0, max_grad_norm=None)
    assert second_step(clipped, 4.0) == second_step(clipped, 1.0)
    assert second_step(free, 4.0) != second_step(free, 1.0)


def test_adam_adds_the_decay_to_the_gradient_and_adamw_to_the_step():
    """Adam's first step has length lr whatever the gradient, so its decay shows in the sign alone; AdamW's shortens the weights."""
    assert stepped(Optim("adam", lr=0.1, weight_decay=1.0), [1.0, 2.0], [-0.5, -3.0]) == pytest.approx([0.9, 2.1])
    assert stepped(Optim("adamw", lr=0.1, weight_decay=1.0), [1.0, 2.0], [-0.5, -3.0]) == pytest.approx([1.0, 1.9])


def test_rmsprop_begins_at_a_mean_square_of_one_and_has_the_rate_in_its_momentum():
    """TensorFlow's: mean square .9 + .1 x 4 = 1.3, eps under the root; the first step is .1 x 2 / sqrt(1.3 + eps)."""
    first = 0.1 * 2 / math.sqrt(1.3 + 0.7)
    optim = Optim("rmsprop_tf", lr=0.1, weight_decay=0.0, eps=0.7, momentum=0.5, alpha=0.9)
    assert stepped(optim, [1.0, 1.0], [2.0, 0.0]) == pytest.approx([1 - first, 1.0])
    second = 0.5 * first + 0.1 * 2 / math.sqrt(0.9 * 1.3 + 0.4 + 0.7)
    assert stepped(optim, [1.0, 1.0], [2.0, 0.0], steps=2) == pytest.approx([1 - first - second, 1.0])


def test_nesterovs_first_step_is_longer_by_the_momentum():
    assert stepped(Optim("sgd", lr=0.1, weight_decay=0.0), [1.0, 1.0], [1.0, 0.0]) == pytest.approx([0.9, 1.0])
    assert stepped(Optim("sgd", lr=0.1, weight_decay=0.0, nesterov=True), [1.0, 1.0], [1.0, 0.0]) == pytest.approx([0.81, 1.0])


def test_units_gradients_are_kept_to_a_share_of_their_weights_but_the_last_layers():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].weight.data = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    model[0].weight.grad = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    model[0].bias.data, model[0].bias.grad = torch.tensor([0.0, 2.0]), torch.tensor([0.001, 0.0])
    model[1].weight.grad, model[1].bias.grad = torch.tensor([[7.0, 7.0]]), torch.tensor([7.0])
    clip_units(model, 0.1)
    torch.testing.assert_close(model[0].weight.grad, torch.tensor([[0.0, 0.5], [1e-4, 0.0]]))  # weights of norm 0 count as 1e-3
    torch.testing.assert_close(model[0].bias.grad, torch.tensor([0.001, 0.0]))
    assert model[1].weight.grad.tolist() == [[7.0, 7.0]]
    assert model[1].bias.grad.tolist() == [7.0]


def test_one_cycle_is_torchs_though_it_stops_early():
    inner = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=1e-4)
    theirs = torch.optim.lr_scheduler.OneCycleLR(inner, 1e-4, epochs=80, steps_per_epoch=5, pct_start=0.2)
    schedule = Schedule("onecycle", 0.2, 4e-6, epochs=80, momentum=(0.85, 0.95))
    for step in range(400):
        group = inner.param_groups[0]
        assert 1e-4 * rate_factor(schedule, step, 41 * 5, 5) == pytest.approx(group["lr"], rel=1e-9)
        assert momentum_at(schedule, step, 41 * 5, 5) == pytest.approx(group["betas"][0], rel=1e-9)
        inner.step()
        if step < 399:
            theirs.step()
    assert rate_factor(schedule, 41 * 5 - 1, 41 * 5, 5) == pytest.approx(0.67, abs=0.01)
    assert momentum_at(Schedule("cosine"), 0, 10, 5) is None


def test_momentum_is_set_where_the_optimiser_keeps_it():
    for optim in (Optim("adam"), Optim("sgd")):
        inner = optimizer(Net(), optim)
        set_rate(inner, 0.5, 0.7)
        assert {group.get("momentum", group.get("betas", [0])[0]) for group in inner.param_groups} == {0.7}
        set_rate(inner, 1.0)
        assert {group.get("momentum", group.get("betas", [0])[0]) for group in inner.param_groups} == {0.7}


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        # the rate holds for the two steps of an epoch
        (Schedule("linear", 0, by="epoch"), [1, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3]),
        (Schedule("step", 0, 0.03, by="epoch", gamma=0.1), [1, 1, 0.1, 0.1, 0.03, 0.03]),
        # from a tenth in two steps; the line below it is laid over the whole
        (Schedule("linear", 2, warmup_start=0.1, after_warmup=False), [0.1, 0.55, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (Schedule("linear", 2, warmup_start=0.1), [0.1, 0.55, 1, 3 / 4, 2 / 4, 1 / 4]),
        # an epoch at the lowest rate after a shape of two
        (Schedule("linear", 0, 0.2, epochs=2), [1, 0.8, 0.6, 0.4, 0.2, 0.2]),
        # cut off in the middle of six epochs
        (Schedule("linear", 0, epochs=6), [1, 11 / 12, 10 / 12, 9 / 12, 8 / 12, 7 / 12]),
        (Schedule("step", 0.5, warmup_start=0.4, gamma=0.5, step_epochs=2), [0.4, 0.6, 0.8, 1, 0.5, 0.5]),
        (Schedule("step", 0, gamma=0.1, drops=(0.5, 2)), [1, 0.1, 0.1, 0.1, 0.01, 0.01]),
    ],
)
def test_schedules_of_three_epochs_of_two_steps_by_hand(schedule, factors):
    assert [rate_factor(schedule, step, 6, 2) for step in range(6)] == pytest.approx(factors)


def test_a_part_of_the_model_can_have_a_schedule_of_its_own():
    """MDETR's, in 200 steps of 40 epochs: all falls to a tenth after 35; one part warms up for a hundredth, then falls to 0 in a line."""
    step, line = Schedule("step", warmup=0, step_epochs=35), Schedule("linear", warmup=0.01)
    model = Net()
    inner = optimizer(model, Optim(lr=1e-4, lr_scale={"stem.": 0.1, "blocks.1.": 0.5}), {"blocks.1.": line})
    names = {id(p): n for n, p in model.named_parameters()}

    def rates_at(number):
        set_rate(inner, rate_factor(step, number, 200, 5), others={"blocks.1.": rate_factor(line, number, 200, 5)})
        found = {names[id(p)]: g["lr"] for g in inner.param_groups for p in g["params"]}
        assert {n.rpartition(".")[0] for n in found} == {"stem", "blocks.0", "blocks.1", "blocks.2", "head"}
        return [found[f"{name}.bias"] for name in ("head", "blocks.0", "stem", "blocks.1")]

    assert rates_at(0) == pytest.approx([1e-4, 1e-4, 1e-5, 5e-5 / 3])
    assert rates_at(2) == pytest.approx([1e-4, 1e-4, 1e-5, 5e-5])
    assert rates_at(101) == pytest.approx([1e-4, 1e-4, 1e-5, 2.5e-5])
    assert rates_at(174) == pytest.approx([1e-4, 1e-4, 1e-5, 5e-5 * 26 / 198])
    assert rates_at(175) == pytest.approx([1e-5, 1e-5, 1e-6, 5e-5 * 25 / 198])


def test_of_two_schedules_that_fit_the_one_of_the_longer_prefix_counts():
    names = {g["schedule"] for g in parameter_groups(Net(), Optim(no_decay_1d=False), ["blocks.", "blocks.2.", "b"])}
    assert names == {"", "blocks.", "blocks.2."}
    with pytest.raises(BadUsage, match=r"schedules\.encoder: no parameter begins so; they begin blocks, head, stem"):
        parameter_groups(Net(), Optim(), ["encoder"])
