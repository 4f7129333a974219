"""Attention clusters by themselves: hand-worked values, what must not matter, and the network around them."""

import pytest
import torch
from torch import nn

from pellucid.tasks.video.clusters import AttentionCluster
from pellucid.tasks.video.model import VideoNetwork
from pellucid.tasks.video.places import places
from pellucid.tasks.video.settings import Cluster

KINDS = [
    Cluster(5),
    Cluster(5, "two_fc", hidden=6),
    Cluster(5, "two_fc", hidden=6, share_hidden=False),
    Cluster(5, "mean"),
    Cluster(5, shift="norm"),
]


def made(settings, width=7, seed=0):
    torch.manual_seed(seed)
    return AttentionCluster(width, settings)


def test_two_features_scored_alike_give_what_is_worked_by_hand():
    model = made(Cluster(4), width=2)
    with torch.no_grad():
        model.weight.zero_()
        model.scale.fill_(2.0)
        model.shift.fill_(1.0)
    found = model(torch.eye(2)[None])  # v = (.5, .5), 2 v + 1 = (2, 2) of length 2.828427, in four units
    torch.testing.assert_close(found, torch.full((1, 8), 2 / (2 * 8**0.5)))


@pytest.mark.parametrize("settings", KINDS)
def test_the_order_of_features_does_not_matter(settings):
    model, x = made(settings), torch.randn(3, 11, 7)
    torch.testing.assert_close(model(x[:, torch.randperm(11)]), model(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("settings", KINDS)
def test_every_feature_twice_says_nothing_new(settings):
    model, x = made(settings), torch.randn(3, 11, 7)
    torch.testing.assert_close(model(torch.cat([x, x], 1)), model(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("settings", KINDS)
def test_padding_changes_nothing(settings):
    model, x = made(settings), torch.randn(3, 11, 7)
    padded = torch.cat([x, torch.full((3, 4, 7), 1e4)], 1)
    present = torch.arange(15).expand(3, 15) < 11
    torch.testing.assert_close(model(padded, present), model(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("settings", KINDS)
def test_the_units_together_have_length_one_and_each_its_share(settings):
    model, x = made(settings), torch.randn(3, 11, 7)
    units = model(x).reshape(3, model.units, 7)
    torch.testing.assert_close(units.norm(dim=-1), torch.full((3, model.units), model.units**-0.5))


def test_scale_and_shift_times_one_number_change_nothing_but_the_sign():
    model, x = made(Cluster(5)), torch.randn(3, 11, 7)
    before = model(x)
    for factor, sign in ((3.0, 1), (-0.5, -1)):
        again = made(Cluster(5))
        with torch.no_grad():
            again.scale.mul_(factor)
            again.shift.mul_(factor)
        torch.testing.assert_close(again(x), sign * before)


def test_scores_of_zero_are_average_pooling():
    model, x = made(Cluster(3, shift="none")), torch.randn(2, 11, 7)
    with torch.no_grad():
        model.weight.zero_()
    torch.testing.assert_close(model(x), x.mean(1).repeat(1, 3))
    torch.testing.assert_close(made(Cluster(3, "mean", shift="none"))(x), x.mean(1))


def test_equal_features_are_weighed_alike_and_the_bias_has_no_gradient():
    model = made(Cluster(5))
    assert torch.equal(model.weights(torch.ones(1, 8, 7)), torch.full((1, 5, 8), 1 / 8))
    (model(torch.randn(3, 11, 7)) * torch.randn(3, 35)).sum().backward()
    assert model.bias.grad.abs().max() < 1e-6 * model.weight.grad.abs().max()


def test_a_clip_without_features_gives_zeros_and_finite_gradients():
    model, x = made(Cluster(5)), torch.randn(2, 11, 7)
    present = torch.tensor([[True] * 11, [False] * 11])
    found = model(x, present)
    assert not found[1].any()
    assert found[0].any()
    found.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_scale_and_shift_start_with_the_papers_deviation():
    model = made(Cluster(4096), width=2)
    for name in ("scale", "shift"):
        assert model.get_parameter(name).std().item() == pytest.approx(4096**-0.25, rel=0.05)


@pytest.mark.parametrize(
    ("units", "width", "classes", "count"),
    [(10, 50, 1024, 513_554), (1, 50, 1024, 52_277)],
)
def test_the_authors_network_has_as_many_parameters(units, width, classes, count):
    model = VideoNetwork({}, {"rgb": width}, {"rgb": Cluster(units)}, classes)
    assert sum(p.numel() for p in model.parameters()) == count


def test_paddles_network_has_as_many_parameters():
    with torch.device("meta"):
        model = VideoNetwork({}, {"rgb": 1024, "audio": 128}, {"rgb": Cluster(32), "audio": Cluster(32)}, 3862, (1024, 4096))
    assert sum(p.numel() for p in model.parameters()) == 57_807_830


def test_modalities_stand_side_by_side_and_one_that_is_absent_is_zero():
    torch.manual_seed(0)
    model = VideoNetwork({}, {"rgb": 4, "audio": 3}, {"rgb": Cluster(2), "audio": Cluster(5)}, 6).eval()
    seen: list[torch.Tensor] = []
    model.head = nn.Sequential(*model.head)
    model.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    batch = {"rgb": torch.randn(2, 3, 4), "rgb_present": torch.ones(2, 3, dtype=torch.bool)}
    batch |= {"audio": torch.randn(2, 5, 3), "audio_present": torch.tensor([[True] * 5, [False] * 5])}
    assert set(model(batch)) == {"logits"}
    assert seen[0].shape == (2, 8 + 15)
    torch.testing.assert_close(seen[0].norm(dim=1), torch.tensor([2**0.5, 1.0]))
    assert model(batch | {"with_attention": True})["pooling.local.audio"].shape == (2, 5, 5)


def test_places_are_the_middles_of_equal_parts_or_drawn_within_them():
    import numpy as np

    assert places(3, 5) == [0, 1, 2]
    assert places(10, 5) == [1, 3, 5, 7, 9]
    drawn = [places(100, 10, np.random.default_rng(seed)) for seed in range(20)]
    assert all([p // 10 for p in row] == list(range(10)) for row in drawn)
    assert len({tuple(row) for row in drawn}) == 20
