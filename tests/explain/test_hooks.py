"""What lies below a site is not run again: equal scores and gradients, and whole passes where that would be wrong."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pellucid.explain.gradient import score_gradient
from pellucid.explain.probe import ask
from pellucid.task import Site
from toys import Pictures, Sentences, pictures, sentences


class Counted(nn.Linear):
    """A linear layer that counts its calls on a list, which it does not own."""

    def __init__(self, width, calls):
        super().__init__(width, width)
        self.calls = calls

    def forward(self, x):
        self.calls.append(len(x))
        return super().forward(x)


class Deep(nn.Module):
    """Four layers on `n b d` or `b n d`; `middle` is the site."""

    def __init__(self, width=6, sequence_first=False, twist=None):
        super().__init__()
        self.calls = []
        self.first, self.second, self.middle, self.last = (Counted(width, self.calls) for _ in range(4))
        self.act, self.sequence_first, self.twist = nn.ReLU(inplace=True), sequence_first, twist

    def forward(self, batch):
        x = batch["x"].transpose(0, 1) if self.sequence_first else batch["x"]
        below = self.second(self.act(self.first(x)))
        if self.twist == "in place":
            below += 1.0
        middle = self.middle(below)
        hidden = self.act(middle) + below  # what lies below is read above the site, too
        if self.twist == "in place":
            below.mul_(0.0)
        if self.twist == "chance":
            hidden = hidden + torch.rand_like(hidden)
        hidden = self.last(self.first(hidden)) if self.twist == "twice" else self.last(hidden)
        return {"value": hidden.mean((0, 2)) if self.sequence_first else hidden.mean((1, 2))}


class Numbers(Sentences):
    """The toy sentences' promises around any model of `Deep`'s kind; a batch is `x` alone."""

    def __init__(self, model):
        self.model = model
        self.sites = {"input": Site("first", "n b d" if model.sequence_first else "b n d", side="input")}
        self.sites["middle"] = Site("middle", "n b d" if model.sequence_first else "b n d")


def both_ways(task, batch, site):
    """Scores and gradients of three variants with what lies below kept, and the same by whole passes."""
    probe, whole = ask(task, batch, site), ask(task, batch, site)
    probe.score(probe.units)  # the second pass keeps
    whole.passes.count = 10  # past the pass that learns
    units = torch.cat([probe.units, probe.units + torch.randn_like(probe.units), torch.randn_like(probe.units)])
    return probe, score_gradient(probe, units), score_gradient(whole, units)


@pytest.mark.parametrize("twist", [None, "in place", "twice"])
@pytest.mark.parametrize("sequence_first", [False, True])
def test_what_lies_below_is_kept_and_scores_and_gradients_are_those_of_whole_passes(sequence_first, twist):
    task = Numbers(Deep(sequence_first=sequence_first, twist=twist))
    probe, kept, whole = both_ways(task, {"x": torch.randn(3, 5, 6)}, "middle")
    assert probe.passes.kept and not probe.passes.reason
    for found, expected in zip(kept, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_only_what_lies_above_is_run():
    task = Numbers(Deep())
    probe = ask(task, {"x": torch.randn(3, 5, 6)}, "middle")
    probe.score(probe.units)
    probe.score(probe.units)
    task.model.calls.clear()
    probe.score(probe.units)
    assert task.model.calls == [3]  # the last layer alone


@pytest.mark.parametrize(("task", "batch"), [(Pictures(), pictures()), (Sentences(), sentences())])
def test_every_site_of_a_task_gives_the_scores_of_whole_passes(task, batch):
    for site in task.sites:
        _, kept, whole = both_ways(task, task.collate(batch), site)
        for found, expected in zip(kept, whole, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


class Remembers(nn.Linear):
    def forward(self, x):
        self.seen = super().forward(x)
        return self.seen


class Hides(nn.Linear):
    def forward(self, x):
        self.__class__.box = super().forward(x)
        return {x}  # a set tells no order


class Draws(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.rand(())


class Opaque(Deep):
    def forward(self, batch):
        (x,) = self.second(self.first(batch["x"]))
        return {"value": self.last(self.middle(x)).mean((1, 2))}


@pytest.mark.parametrize(
    ("layer", "whole", "why"),
    [(Remembers, Deep, "keeps something"), (Draws, Deep, "other numbers"), (Hides, Opaque, "set")],
)
def test_a_model_where_it_would_be_wrong_is_run_whole_and_says_why(layer, whole, why):
    model = whole()
    model.second = layer(6, 6)
    torch.manual_seed(1)
    example = torch.randn(1, 5, 6)
    probe = ask(Numbers(model), {"x": torch.cat([example, 2 * example])}, "middle")
    for _ in range(3):
        torch.manual_seed(2)
        scores = probe.score(probe.units)
    assert probe.passes.kept is None and why in probe.passes.reason
    assert scores.shape == (2,)


def test_a_model_that_reads_what_a_skipped_layer_left_elsewhere_is_run_whole():
    class Leaves(Counted):
        def forward(self, x):
            self.calls[:] = [super().forward(x).mean()]
            return x * 1.0

    class Reads(Deep):
        def __init__(self):
            super().__init__()
            self.second = Leaves(6, self.calls)

        def forward(self, batch):
            self.calls[:] = []
            x = self.second(batch["x"])
            middle = F.relu(F.linear(self.middle(x), self.last.weight))
            return {"value": middle.mean((1, 2)) + self.calls[0]}

    task = Numbers(Reads())
    task.model.middle = nn.Linear(6, 6)
    task.model.first = nn.Identity()
    probe = ask(task, {"x": torch.randn(2, 5, 6)}, "middle")
    probe.score(probe.units)
    probe.score(probe.units)
    assert probe.passes.kept is None and "does not run without" in probe.passes.reason


def test_an_error_inside_the_model_leaves_it_as_it_was():
    class Breaks(Deep):
        def forward(self, batch):
            if len(batch["x"]) > 6:
                raise ValueError("too many")
            return super().forward(batch)

    task = Numbers(Breaks())
    task.model.train()
    probe = ask(task, {"x": torch.randn(3, 5, 6)}, "middle")
    probe.score(probe.units)
    probe.score(probe.units)
    with pytest.raises(ValueError, match="too many"):
        probe.score(torch.cat([probe.units] * 3))
    assert all(m.training and not m._forward_hooks and not m._forward_pre_hooks and "forward" not in vars(m) for m in task.model.modules())
    assert all(p.requires_grad for p in task.model.parameters())


def test_where_memory_does_not_suffice_fewer_copies_go_at_a_time():
    class Small(Deep):
        def forward(self, batch):
            if len(batch["x"]) > 4:
                raise torch.OutOfMemoryError("out of memory")
            return super().forward(batch)

    task, x = Numbers(Small()), torch.randn(2, 5, 6)
    probe = ask(task, {"x": x}, "middle")
    many = probe.units.repeat(7, 1, 1)
    assert probe.rows > 14
    torch.testing.assert_close(probe.score(many), probe.score(probe.units).repeat(7))
    task.model.forward = lambda batch: (_ for _ in ()).throw(torch.OutOfMemoryError("out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        probe.score(probe.units)
