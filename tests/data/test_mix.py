import numpy as np
import pytest
import torch
from einops import repeat
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data import Mixup

from pellucid.data.mix import mix
from pellucid.data.views import Mix

MODES = ["batch", "pair", "elem"]


def batch(num, classes=5, size=12):
    """Pictures that are one number throughout, each its own, and one label each."""
    images = repeat(torch.arange(1.0, num + 1), "b -> b 3 h w", h=size, w=size)
    return images, torch.nn.functional.one_hot(torch.arange(num) % classes, classes).float()


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(MODES), st.integers(1, 9), st.integers(0, 2**31), st.sampled_from([(0.2, 1.0), (0.0, 1.0), (0.4, 0.0), (1.0, 1.0)]))
def test_targets_have_the_share_that_the_pictures_have(mode, num, seed, alphas):
    images, targets = batch(num, classes=num)
    mixed, soft = mix(images, targets, Mix(*alphas, mode=mode), seed)
    torch.testing.assert_close(soft.sum(1), torch.ones(num))
    # of pictures of one number each, the mean tells the shares; with a label each, so does the target
    torch.testing.assert_close(mixed.mean((1, 2, 3)), soft @ torch.arange(1.0, num + 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_the_partner_is_at_the_mirror_place_and_the_middle_stays(mode):
    images, targets = batch(5, classes=5)
    for seed in range(20):
        mixed, soft = mix(images, targets, Mix(0.5, 1.0, mode=mode), seed)
        torch.testing.assert_close((mixed[2], soft[2]), (images[2], targets[2]))
        assert all(set(soft[i].nonzero().flatten().tolist()) <= {i, 4 - i} for i in range(5))


def test_a_pasted_rectangle_is_the_partners_at_the_same_place():
    images, targets = torch.rand(4, 3, 16, 16), torch.eye(4)
    for seed in range(30):
        mixed, soft = mix(images, targets, Mix(cutmix=1.0), seed)
        own, partner = mixed == images, mixed == images.flip(0)
        assert (own | partner).all()
        area = (~own[:, 0]).float().mean((1, 2))
        torch.testing.assert_close(1 - area, soft.diagonal())
        assert (area == area[0]).all(), "one rectangle for the batch"


def test_a_batch_has_one_share_pairs_one_each_and_pictures_their_own():
    images, targets = batch(6, classes=6)
    shares = {mode: mix(images, targets, Mix(1.0, mode=mode), 7)[1].diagonal() for mode in MODES}
    assert shares["batch"].unique().numel() == 1
    assert shares["pair"].equal(shares["pair"].flip(0))
    assert shares["pair"].unique().numel() == 3
    assert shares["elem"].unique().numel() == 6


def test_mixing_agrees_with_timm_where_nothing_is_pasted():
    images, labels = torch.rand(8, 3, 10, 10), torch.arange(8)
    for mode in MODES:
        np.random.seed(3)
        expected = Mixup(mixup_alpha=0.4, label_smoothing=0.0, num_classes=8, mode=mode)(images.clone(), labels)
        found = mix(images, torch.eye(8), Mix(0.4, mode=mode), 3)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_mixed_at_probability_0_or_without_a_law(mode):
    images, targets = torch.rand(4, 3, 8, 8), torch.eye(4)
    for setting in (Mix(0.2, 1.0, prob=0.0, mode=mode), Mix(mode=mode)):
        mixed, soft = mix(images, targets, setting, 0)
        assert mixed.equal(images)
        assert soft.equal(targets)


def test_what_is_given_is_not_changed_and_a_seed_gives_one_result():
    images, targets = torch.rand(4, 3, 8, 8), torch.eye(4)
    before = images.clone()
    first, again, other = (mix(images, targets, Mix(0.2, 1.0, mode="elem"), seed)[0] for seed in (1, 1, 2))
    assert images.equal(before)
    assert first.equal(again)
    assert not first.equal(other)


def test_cutmix_is_drawn_as_often_as_asked():
    images, targets = torch.rand(2, 3, 8, 8), torch.eye(2)
    pasted = 0
    for seed in range(400):
        mixed = mix(images, targets, Mix(1.0, 1.0, switch=0.25), seed)[0]
        pasted += bool(((mixed == images) | (mixed == images.flip(0))).all())
    assert 0.18 < pasted / 400 < 0.32
