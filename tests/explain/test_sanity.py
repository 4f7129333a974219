"""Random weights and small moves: everything comes back, and the numbers are those of hand-worked cases."""

import pytest
import torch
from torch import nn

from pellucid.explain.attribution import Attribution, Statistics
from pellucid.explain.gradient import gradient_x_input, score_gradient
from pellucid.explain.perturb import random
from pellucid.explain.probe import ask
from pellucid.explain.sanity import Block, Setting, blocks, cascade, max_sensitivity, randomised
from toys import Pictures, Sentences, linear_probe, pictures, sentences


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.start = nn.Parameter(torch.randn(4))
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Sequential(nn.BatchNorm1d(4), nn.ReLU())])
        self.head = nn.Linear(4, 1)
        self.reader = nn.Linear(4, 9, bias=False)
        self.reader.weight = self.embedding.weight
        self.register_buffer("places", torch.arange(3.0))


def test_the_parts_are_in_order_open_lists_and_leave_out_no_weight():
    model = Net()
    model.layers[1][0].running_mean.normal_()
    found = blocks(model)
    assert [b.name for b in found] == ["model", "embedding", "layers.0", "layers.1.0", "head"]
    assert sum(len(b.weights) for b in found) == len(list(model.parameters())) + 2  # and a batch norm's mean and variance
    assert not any(w is model.places for b in found for w in b.weights)


def test_every_weight_moves_and_comes_back_bit_for_bit():
    model = Net().train()
    model.layers[1][0].running_mean.normal_()
    model.layers[1][0].running_var.uniform_(0.5, 2)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    with randomised(blocks(model)):
        during = {k: v.clone() for k, v in model.state_dict().items()}
        assert (during["layers.1.0.running_var"] > 0).all()
        assert all(p.requires_grad and p.grad is None for p in model.parameters())
    after = model.state_dict()
    kept = {"places", "layers.1.0.num_batches_tracked"}
    assert {k for k in before if torch.equal(before[k], during[k])} == kept
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert torch.equal(state, torch.get_rng_state()) and model.training


def test_weights_come_back_after_an_error():
    model = nn.Linear(5, 5)
    before = model.weight.clone()
    with pytest.raises(RuntimeError, match="stop"), randomised(blocks(model)):
        raise RuntimeError("stop")
    assert torch.equal(before, model.weight)


def test_random_weights_keep_their_scale():
    weight = nn.Parameter(3 + 0.5 * torch.randn(100, 100))
    with randomised([Block("one", (weight,))]):
        assert weight.mean().item() == pytest.approx(3, abs=0.03) and weight.std().item() == pytest.approx(0.5, rel=0.05)


def setting(task, examples):
    batch = task.collate(examples)
    probe = ask(task, batch)
    return Setting(task, batch, "input", probe.answer, lambda: None), probe


def test_a_method_that_looks_at_the_model_changes_and_one_that_does_not_stays():
    task = Pictures()
    asked, probe = setting(task, pictures())
    methods = {"gradient": lambda p, s, seed: gradient_x_input(p), "random": lambda p, s, seed: random(p, seed)}
    truth = {name: method(probe, None, 0).relevance for name, method in methods.items()}
    found = cascade(asked, methods, truth)
    assert found.stages == ("head", "body", "stem")
    assert found.likeness["random"].shape == (3, 4)
    torch.testing.assert_close(found.likeness["random"], torch.ones(3, 4))
    assert (found.likeness["gradient"].abs() < 0.7).all()  # not 0: the input itself is a factor of it, as Adebayo et al. found
    last = cascade(asked, methods, truth, only_full=True)
    assert last.stages == ("stem",)
    torch.testing.assert_close(last.likeness["gradient"][0], found.likeness["gradient"][-1])


def test_a_stage_randomises_what_lies_above_and_nothing_below():
    """A map that is the input's own size notices the embedding alone, which goes last."""
    task = Sentences()
    asked, probe = setting(task, sentences()[2:])
    size = lambda p, s, seed: Attribution(p.units.norm(dim=-1) * p.present)  # noqa: E731
    found = cascade(asked, {"size": size}, {"size": size(probe, None, 0).relevance})
    assert found.stages == ("head", "encoder", "embedding")
    torch.testing.assert_close(found.likeness["size"][:2], torch.ones(2, 2))
    assert (found.likeness["size"][2] < 0.99).all()


# ---- small moves ------------------------------------------------------------------------------------------------------


def as_map(probe, statistics, seed):
    return Attribution(probe.units.sum(-1) * probe.present)


def test_an_explanation_that_cannot_move_has_no_sensitivity():
    probe = linear_probe(torch.randn(5, 3), torch.randn(2, 5, 3))
    gradient = lambda p, s, seed: Attribution(score_gradient(p, p.units)[1].sum(-1))  # noqa: E731
    assert max_sensitivity(probe, gradient, None).tolist() == [0.0, 0.0]  # a linear score has the same gradient everywhere


def test_sensitivity_is_proportional_to_the_radius_and_bounded_by_it():
    probe = linear_probe(torch.randn(5, 3), torch.randn(2, 5, 3))
    statistics = Statistics(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))
    small, large = (max_sensitivity(probe, as_map, statistics, radius=r, samples=20) for r in (0.01, 0.1))
    torch.testing.assert_close(large, 10 * small, rtol=1e-3, atol=1e-5)
    length = probe.units.sum(-1).norm(dim=1)
    most = 0.1 * (1 + 2 + 3) * 5**0.5 / length
    assert (large < most).all() and (large > 0.2 * most).all()
    wide = Statistics(statistics.mean, 10 * statistics.std)
    torch.testing.assert_close(max_sensitivity(probe, as_map, wide, radius=0.01, samples=20), large, rtol=1e-3, atol=1e-5)


def test_sensitivity_is_the_same_alone_and_in_a_batch_and_ignores_padding():
    task = Sentences()
    values = [max_sensitivity(ask(task, task.collate(some)), as_map, None) for some in (sentences(), sentences()[1:2])]
    torch.testing.assert_close(values[0][1], values[1][0])
