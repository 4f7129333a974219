"""Where patches are taken: counts worked by hand, places inside the picture, one draw for both pictures, the map of weights."""

import dataclasses

import numpy as np
import pytest
import torch
from einops import reduce
from torch.nn import functional as F

from pellucid.errors import BadUsage
from pellucid.tasks.quality import sampling
from pellucid.tasks.quality.data import Pair
from pellucid.tasks.quality.sampling import counts_for, dissolved, grid_origins, position_of, radical_inverse, sample, scale_counts, take
from pellucid.tasks.quality.settings import Sampling, VitShape

MODES = ("grid", "blocks", "halton", "saliency")
LEGACY = VitShape(legacy=True)


def pair(height=60, width=80, changed=None, other=False):
    """Noise and the same noise, brighter where `changed` says."""
    draw = torch.Generator().manual_seed(3)
    reference = torch.randint(0, 200, (3, height, width), dtype=torch.uint8, generator=draw)
    image = reference.clone()
    image[(slice(None), *(changed or (slice(None), slice(None))))] += 50
    return Pair(reference, image, reference // 2 if other else None)


def drawn(how=None, num=40, seed=0, shape=None, **size):
    return sample(pair(**size), how or Sampling(), shape or VitShape(), num, np.random.default_rng(seed))


# ---- scales -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num", "scales", "ratio", "expected"),
    [
        (256, 2, 1.7, [61, 195]),
        (512, 5, 1.75, [3, 10, 32, 108, 359]),
        (512, 3, 2, [25, 98, 389]),
        (100, 4, 2, [2, 5, 19, 74]),
        (7, 1, 1.75, [7]),
    ],
)
def test_patches_are_shared_among_scales_as_worked_by_hand(num, scales, ratio, expected):
    assert scale_counts(num, scales, ratio) == expected


def test_a_scale_is_used_where_the_picture_is_well_larger_than_a_patch():
    sizes = [(384, 512), (288, 288), (1080, 1920), (16, 16), (16, 4000), (18, 18)]
    assert [sampling.usable_scales(size, 16, 5) for size in sizes] == [4, 4, 5, 1, 1, 1]
    assert sampling.usable_scales((1080, 1920), 16, 1) == 1
    assert sampling.usable_scales((53, 60), 16, 5) == 2  # 53, 18.5, 1.25, then below 1: three halvings


@pytest.mark.parametrize("num", range(1, 13))
def test_few_patches_leave_coarse_scales_out_rather_than_the_finest(num):
    counts = counts_for((1080, 1920), Sampling(scales=5), VitShape(), num)
    assert sum(counts) == num
    assert counts[-1] == max(counts)


# ---- patches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 300), (300, 16), (17, 18), (61, 79), (200, 220)])
@pytest.mark.parametrize("scales", [1, 3])
def test_patches_lie_in_the_picture_and_are_as_many_as_asked_for(mode, height, width, scales):
    found = drawn(Sampling(mode, scales=scales), height=height, width=width)
    assert found.image.shape == found.reference.shape == (40, 3, 16, 16)
    last = (torch.tensor([height, width]) >> found.scale_index[:, None]) - 16
    assert ((found.origin >= 0) & (found.origin <= last)).all()
    assert ((found.position >= 0) & (found.position < 1) & (found.centre > 0) & (found.centre < 1)).all()


@pytest.mark.parametrize("mode", MODES)
def test_all_pictures_of_a_pair_are_seen_at_the_same_places(mode):
    given = pair(other=True)
    found = sample(given, Sampling(mode), VitShape(), 30, np.random.default_rng(1))
    for picture, patches in ((given.reference, found.reference), (given.image, found.image), (given.other, found.other)):
        for (top, left), patch in zip(found.origin.tolist(), patches, strict=True):
            assert patch.equal(picture[:, top : top + 16, left : left + 16].float())


def test_a_patch_of_a_halved_picture_is_the_mean_of_what_it_covers():
    given = pair(height=203, width=151)
    found = sample(given, Sampling(scales=3), VitShape(), 50, np.random.default_rng(1))
    assert found.scale_index.unique().tolist() == [0, 1, 2]
    halved = F.avg_pool2d(given.image.float(), 2)  # 3 101 75
    levels = [given.image.float(), halved, F.avg_pool2d(halved, 2)]
    for (top, left), scale, patch in zip(found.origin.tolist(), found.scale_index.tolist(), found.image, strict=True):
        torch.testing.assert_close(patch, levels[scale][:, top : top + 16, left : left + 16], rtol=0, atol=1e-4)


def test_patches_of_a_patch_wide_picture_are_the_picture():
    given = pair(height=16, width=16)
    for mode in MODES:
        found = sample(given, Sampling(mode, scales=5), VitShape(), 9, np.random.default_rng(0))
        assert found.image.equal(given.image.float().expand(9, 3, 16, 16))


def test_patches_taken_again_at_the_same_places_are_the_same():
    given = pair(height=203, width=151)
    found = sample(given, Sampling("saliency", scales=2), VitShape(), 50, np.random.default_rng(1))
    assert take(given.image, found.origin, found.scale_index, 16).equal(found.image)


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_gives_the_same_places_and_another_seed_others(mode):
    first, again, other = (drawn(Sampling(mode), seed=seed).origin for seed in (5, 5, 6))
    assert first.equal(again)
    assert not first.equal(other)


def test_other_sides_of_a_patch_are_cut_as_well():
    shape = VitShape(patch=8)
    assert sampling.smallest(Sampling(), shape) == 8
    assert drawn(shape=shape, height=8, width=30).image.shape == (40, 3, 8, 8)


# ---- places -----------------------------------------------------------------------------------------------------------


def test_the_2024_layout_tells_a_patch_by_its_middle():
    found = position_of(np.array([[0.0, 0.0], [84.0, 184.0], [42.5, 92.0]]), (100, 200), VitShape())
    expected = [[8 / 92, 8 / 192], [1 - 1e-6, 1 - 1e-6], [50.5 / 92, 100 / 192]]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-7)


def test_the_2021_layout_tells_a_patch_by_its_corner():
    found = position_of(np.array([[0.0, 0.0], [84.0, 184.0], [42.5, 92.0]]), (100, 200), LEGACY)
    torch.testing.assert_close(found, torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert position_of(np.zeros((1, 2)), (16, 16), LEGACY).tolist() == [[-1, -1]]


def test_the_centre_of_a_patch_is_told_in_the_whole_picture():
    found = drawn(Sampling(scales=2), height=128, width=256)
    coarse, fine = found.scale_index == 1, found.scale_index == 0
    sides = torch.tensor([128, 256])
    torch.testing.assert_close(found.centre[fine], (found.origin[fine] + 8) / sides)
    torch.testing.assert_close(found.centre[coarse], (found.origin[coarse] * 2 + 16) / sides)


def test_a_jittered_grid_has_at_most_one_place_in_a_cell_near_its_middle():
    # 100 x 200 and 40 places: sqrt(80) = 8.9, so 9 cells across and, at half the height, 5 down
    places = grid_origins((84, 184), 0.5, 40, 0.2, np.random.default_rng(0)) / np.array([84, 184]) * np.array([5, 9])
    cells = np.floor(places)
    assert len(np.unique(cells, axis=0)) == 40
    assert np.abs(places - cells - 0.5).max() <= 0.4
    still = grid_origins((84, 184), 0.5, 45, 0.0, np.random.default_rng(0)) / np.array([84, 184]) * np.array([5, 9])
    np.testing.assert_allclose(sorted(set(still[:, 0].round(9))), np.arange(5) + 0.5)


def test_halton_mirrors_the_digits_at_the_point():
    assert radical_inverse(6, 2).tolist() == [1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8]
    np.testing.assert_allclose(radical_inverse(5, 3), [1 / 3, 2 / 3, 1 / 9, 4 / 9, 7 / 9], rtol=1e-15)


@pytest.mark.parametrize("num", [5, 31, 90])
def test_counts_of_blocks_sum_to_what_is_asked_for_whether_too_many_or_too_few(num):
    counts = np.array([3, 9, 1, 0, 20])
    found = dissolved(counts, num, np.random.default_rng(0))
    assert found.sum() == num
    assert found.min() >= 0
    assert counts.tolist() == [3, 9, 1, 0, 20]


def test_large_counts_of_blocks_are_kept_and_small_ones_give_way():
    counts = np.array([1] * 50 + [40])
    assert dissolved(counts, 80, np.random.default_rng(0))[-1] == 40


# ---- weights ----------------------------------------------------------------------------------------------------------


def share_inside(how, corner=48, height=160, width=160, num=400):
    """Of the patches, those whose middle lies in the changed upper left corner."""
    rows = columns = slice(0, corner)
    found = drawn(how, num, height=height, width=width, changed=(rows, columns))
    return float((found.centre * torch.tensor([height, width]) < corner + 8).all(1).float().mean())


@pytest.mark.parametrize("mode", ["blocks", "halton", "saliency"])
def test_more_patches_lie_where_the_pictures_differ(mode):
    towards = share_inside(Sampling(mode, centre=0.0, difference=5.0, uniform=0.25))
    anywhere = share_inside(Sampling(mode, centre=0.0, difference=0.0, uniform=1.0))
    assert anywhere < 0.2
    assert towards > 0.5


def test_a_grid_does_not_look_at_the_pictures():
    assert share_inside(Sampling("grid", difference=100.0)) < 0.2


def test_more_patches_lie_in_the_middle_where_the_centre_weighs():
    found = drawn(Sampling("saliency", centre=1.0, difference=0.0, uniform=0.0), 2000, height=400, width=300)
    # a Gaussian of a quarter of the side, cut off half a patch before the border, at 1.92 and 1.89 deviations
    for axis, expected in ((0, 0.2155), (1, 0.2140)):
        assert float(found.centre[:, axis].std()) == pytest.approx(expected, abs=0.01)
        assert float(found.centre[:, axis].mean()) == pytest.approx(0.5, abs=0.015)


def test_pictures_that_do_not_differ_are_looked_at_everywhere():
    reference = pair(height=100, width=100).reference
    found = sample(Pair(reference, reference), Sampling("saliency", centre=0.0, uniform=0.0), VitShape(), 4000, np.random.default_rng(0))
    down, across = (found.centre * 2).long().unbind(1)
    torch.testing.assert_close(torch.bincount(2 * down + across) / 4000, torch.full((4,), 0.25), rtol=0, atol=0.03)


def test_a_difference_is_the_squared_distance_in_colour_and_does_not_wrap_around():
    reference, image, other = (torch.full((3, 40, 50), value, dtype=torch.uint8) for value in (10, 13, 4))
    assert sampling.difference(Pair(reference, image)).tolist() == np.full((40, 50), 27.0).tolist()
    assert (sampling.difference(Pair(reference, other)) == 3 * 36).all()
    assert (sampling.difference(Pair(reference, image, other)) == 3 * 4.5**2).all()


def test_the_map_of_weights_is_that_of_the_formula():
    given = pair(height=60, width=80, changed=(slice(20, 30), slice(50, 60)))
    found = sampling.density((60, 80), Sampling("saliency", centre=0.0, difference=5.0, uniform=0.25), 16, sampling.difference(given))
    kernel = np.exp(-0.5 * (np.arange(-19, 20) / 512**0.25) ** 2)
    down, across = (np.convolve(np.r_[np.zeros(a), np.ones(10), np.zeros(b)], kernel, "same") for a, b in ((20, 30), (50, 20)))
    expected = 0.25 + 5 * np.outer(down / down.max(), across / across.max())
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_places_are_drawn_as_often_as_the_weights_say():
    weights = np.zeros((20, 21))
    weights[8, 8], weights[9, 12], weights[12, 13], weights[0, 0] = 1, 2, 5, 100  # the last is no patch's middle
    found = sampling.drawn_origins(weights, 16, 8000, np.random.default_rng(0))
    places, counts = np.unique(found, axis=0, return_counts=True)
    assert places.tolist() == [[0, 0], [1, 4], [4, 5]]
    np.testing.assert_allclose(counts / 8000, [1 / 8, 2 / 8, 5 / 8], atol=0.02)


def test_coarse_scales_look_where_the_pictures_differ_too():
    how = Sampling("saliency", centre=0.0, difference=1.0, uniform=0.0, scales=2)
    found = drawn(how, 60, height=256, width=256, changed=(slice(200, 220), slice(40, 60)))
    for scale in (0, 1):
        middle = reduce(found.centre[found.scale_index == scale], "n d -> d", "mean") * 256
        assert (middle - torch.tensor([210, 50])).abs().max() < 10


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (1.0, -1.0, 1.0)])
def test_weights_from_which_nothing_can_be_drawn_are_refused(weights):
    how = dataclasses.replace(Sampling("saliency"), **dict(zip(("centre", "difference", "uniform"), weights, strict=True)))
    with pytest.raises(BadUsage, match=r"task\.sampling\.centre="):
        drawn(how)
