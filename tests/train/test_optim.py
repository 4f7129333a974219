import math

import pytest
import torch
from torch import nn

from pellucid.errors import BadUsage
from pellucid.recipe import Optim, Schedule
from pellucid.train.optim import optimizer, parameter_groups, rate_factor


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
