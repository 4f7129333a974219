"""The 25 distortions of KADID-10k, ours: what each does to a picture and how its levels rise."""

import itertools
import math
import pathlib
import re

import numpy as np
import pytest
import torch
from einops import rearrange, reduce
from PIL import Image, features
from scipy import ndimage

from pellucid.data.distort import KINDS, LEVELS, distort
from pellucid.data.distort.colour import luma
from pellucid.data.distort.denoise import SHARES, scales, shrunk
from pellucid.data.distort.pictures import APPLY
from pellucid.errors import BadUsage

NAMES = [
    *("gaussian_blur", "lens_blur", "motion_blur", "colour_diffusion", "colour_shift", "colour_quantisation", "colour_saturation_hsv"),
    *("colour_saturation_lab", "jpeg_2000", "jpeg", "white_noise", "white_noise_ycbcr", "impulse_noise", "multiplicative_noise", "denoise"),
    *("brighten", "darken", "mean_shift", "jitter", "non_eccentricity_patch", "pixelate", "quantisation", "colour_block", "high_sharpen"),
    "contrast_change",
]
SEEDS = range(4)


def picture(height: int = 96, width: int = 120, seed: int = 0) -> torch.Tensor:
    """Smooth colours, fine texture, edges, white and black: 3 h w."""
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (6, 6, 0)) * 500 + 128
    image += ndimage.gaussian_filter(rng.normal(size=(height, width, 1)), (1, 1, 0)) * 40
    image[height // 4 : height // 2, width // 8 : width // 3] = 255
    image[height // 2 : height * 3 // 4, width // 2 : width * 3 // 4] = (0, 0, 0)
    return torch.from_numpy(rearrange(image.clip(0, 255).astype(np.uint8), "h w c -> c h w").copy())


def plain(*colour: int, side: int = 96) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8).reshape(3, 1, 1).repeat(1, side, side)


def soft() -> torch.Tensor:
    """A picture that stays well inside 0 to 255."""
    return (picture(seed=3).float() * 0.3 + 90).to(torch.uint8)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one.float() - other.float()).square().mean())


def numbers(kind: str, level: int) -> tuple[float, ...]:
    return KINDS[kind].levels[level - 1]


def test_the_kinds_are_kadids_in_its_order():
    assert list(KINDS) == NAMES and list(APPLY) == NAMES
    assert all(len(one.levels) == 5 for one in KINDS.values())


def test_the_page_of_kinds_tells_what_the_code_does():
    page = (pathlib.Path(__file__).parents[2] / "docs/distortions.md").read_text()
    told = [[cell.strip() for cell in line.split("|")[2:6]] for line in page.splitlines() if re.match(r"\| \d+ \|", line)]
    for (kind, about, levels, drawn), (name, one) in zip(told, KINDS.items(), strict=True):
        assert (kind, about, drawn) == (f"`{name}`", one.about, "yes" if one.drawn else "")
        found = [[float(number) for number in level.split(",")] for level in levels.split(";")]
        assert found == [pytest.approx(list(level), rel=0.03) for level in one.levels]


# ---- every kind ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_level_lies_farther_from_the_reference_in_mean_square(kind):
    for seed in SEEDS:
        image = picture(seed=seed)
        far = [distance(distort(image, kind, level, seed), image) for level in LEVELS]
        assert far[0] > 0 and all(a < b for a, b in itertools.pairwise(far)), (seed, far)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_a_function_of_picture_kind_level_and_seed(kind):
    image, threads = picture(61, 83), torch.get_num_threads()
    kept = image.clone()
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = distort(image, kind, 3, 7)
    try:
        torch.set_num_threads(2)
        assert torch.equal(distort(image, kind, 3, 7), first)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(image, kept), "the reference itself is left alone"
    assert torch.equal(torch.get_rng_state(), state) and (np.random.get_state()[1] == numpy_state).all()
    others = [distort(image, kind, 3, seed) for seed in range(8, 12)]
    assert any(not torch.equal(other, first) for other in others) == KINDS[kind].drawn


@pytest.mark.parametrize("size", [(16, 16), (16, 90), (57, 33)])
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_any_size_come_back_as_large(kind, size):
    image = picture(*size)
    for level in LEVELS:
        copy = distort(image, kind, level, 1)
        assert copy.dtype == torch.uint8 and copy.shape == image.shape and copy.is_contiguous()


@pytest.mark.parametrize("kind", KINDS)
def test_a_grey_picture_is_spoiled_too_unless_the_kind_is_about_colour_it_has_not(kind):
    grey = reduce(picture().float(), "c h w -> 1 h w", "mean").to(torch.uint8).repeat(3, 1, 1)
    moved = distance(distort(grey, kind, 5, 0), grey)
    colourless = kind in ("colour_diffusion", "colour_saturation_hsv", "colour_saturation_lab")
    assert moved < 0.5 if colourless else moved > 5


def test_a_wrong_name_level_or_size_is_told():
    with pytest.raises(BadUsage, match="no distortion 'jpg'; did you mean 'jpeg'"):
        distort(picture(), "jpg", 1, 0)
    with pytest.raises(BadUsage, match="jpeg: level 6; there are 1 to 5"):
        distort(picture(), "jpeg", 6, 0)
    with pytest.raises(ValueError, match="15 x 40; distortions need 16"):
        distort(picture(40, 40)[:, :15], "jpeg", 1, 0)


def test_jpeg_2000_without_its_library_is_one_line(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: False)
    assert distort(picture(), "jpeg", 1, 0).shape == (3, 96, 120)
    with pytest.raises(BadUsage, match=r"^jpeg_2000: this Pillow .* without_kinds=jpeg_2000$"):
        distort(picture(), "jpeg_2000", 1, 0)


def test_levels_of_one_seed_rise_on_a_photograph_too(shared):
    place = next((shared / "data/coco128/images/train2017").glob("*.jpg"))
    image = torch.from_numpy(rearrange(np.array(Image.open(place).convert("RGB").resize((112, 96))), "h w c -> c h w").copy())
    for kind in KINDS:
        far = [distance(distort(image, kind, level, 1), image) for level in LEVELS]
        assert all(a < b for a, b in itertools.pairwise(far)), (kind, far)


# ---- what each does -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_mean_shift_adds_one_amount_up_or_down_by_the_seed(level):
    found = {int(distort(plain(120, 100, 140), "mean_shift", level, seed)[0, 0, 0]) - 120 for seed in range(20)}
    (amount,) = numbers("mean_shift", level)
    assert found == {amount, -amount}
    copy = distort(plain(120, 100, 140), "mean_shift", level, 0).long() - plain(120, 100, 140).long()
    assert len(copy.unique()) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_quantisation_leaves_evenly_spaced_values_black_and_white_among_them(level):
    ramp = torch.arange(256, dtype=torch.uint8).repeat(3, 16, 1)
    (num,) = numbers("quantisation", level)
    values = distort(ramp, "quantisation", level, 0).unique()
    assert values.tolist() == [round(255 * i / (num - 1)) for i in range(int(num))]


@pytest.mark.parametrize("level", LEVELS)
def test_a_palette_has_no_more_colours_than_its_level_says(level):
    (num,) = numbers("colour_quantisation", level)
    colours = rearrange(distort(picture(200, 160), "colour_quantisation", level, 0), "c h w -> (h w) c").unique(dim=0)
    assert num / 2 < len(colours) <= num


@pytest.mark.parametrize("level", LEVELS)
def test_large_pixels_are_the_means_of_their_squares(level):
    side = round(1 / numbers("pixelate", level)[0])
    image = picture(60, 120)
    copy = distort(image, "pixelate", level, 0)
    means = reduce(image.float(), "c (h p) (w q) -> c h w", "mean", p=side, q=side)
    shown = rearrange(copy, "c (h p) (w q) -> c h w (p q)", p=side, q=side)
    assert (shown == shown[..., :1]).all() and (shown[..., 0] - means).abs().max() <= 1


@pytest.mark.parametrize(("kind", "sign"), [("brighten", 1), ("darken", -1)])
def test_bending_keeps_black_and_white_and_moves_what_lies_between_one_way(kind, sign):
    ramp = torch.arange(256, dtype=torch.uint8).repeat(3, 16, 1)
    for level in LEVELS:
        values = distort(ramp, kind, level, 0)[0, 0].long()
        assert (values[0], values[255]) == (0, 255) and (values.diff() >= 0).all()
        assert (sign * (values - torch.arange(256)) >= 0).all()
        assert values[128] == round(255 * (128 / 255) ** numbers(kind, level)[0])


@pytest.mark.parametrize("kind", ["colour_diffusion", "white_noise_ycbcr"])
def test_colour_goes_and_luma_stays_where_nothing_is_cut_off(kind):
    image = soft()
    for level in (1, 3, 5):
        copy = distort(image, kind, level, 0)
        inside = ((copy > 0) & (copy < 255)).all(0)
        assert inside.float().mean() > 0.5
        assert (luma(copy.float()) - luma(image.float()))[0, inside].abs().max() <= 0.51
        assert distance(copy, image) > 1  # rounding alone is a twelfth


def lab(image: torch.Tensor) -> np.ndarray:
    """L, a and b by their textbook formulas, 3 h w."""
    rgb = image.numpy() / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = np.einsum("xc,chw->xhw", [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]], linear)
    t = xyz / np.array([0.9505, 1.0, 1.089])[:, None, None]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("level", [1, 2, 3])
def test_saturation_in_lab_scales_a_and_b_and_leaves_lightness(level):
    image = (picture(seed=5).float() * 0.12 + 110).to(torch.uint8)
    before, copy = lab(image), distort(image, "colour_saturation_lab", level, 0)
    inside = ((copy > 0) & (copy < 255)).all(0).numpy()
    after, (factor,) = lab(copy), numbers("colour_saturation_lab", level)
    assert inside.mean() > 0.9
    assert np.abs(after[0] - before[0])[inside].max() < 0.5
    assert np.abs(after[1:] - factor * before[1:])[:, inside].max() < 1.0


def test_saturation_in_hsv_goes_down_to_grey_of_the_same_value():
    image = picture()
    assert torch.equal(distort(image, "colour_saturation_hsv", 5, 0), image.amax(0, keepdim=True).repeat(3, 1, 1))
    (factor,) = numbers("colour_saturation_hsv", 2)  # value 200; saturation 0.8 times the factor: 200 (1 - s)
    assert distort(plain(200, 40, 40), "colour_saturation_hsv", 2, 0)[:, 0, 0].tolist() == [200, *[round(200 * (1 - 0.8 * factor))] * 2]


@pytest.mark.parametrize("level", LEVELS)
def test_noises_have_the_deviation_and_the_share_that_they_state(level):
    grey = plain(128, 128, 128, side=256)
    white = (distort(grey, "white_noise", min(level, 4), 3).float() - 128).std()
    assert white == pytest.approx(255 * numbers("white_noise", min(level, 4))[0], rel=0.02)
    (speckle,) = numbers("multiplicative_noise", min(level, 4))
    product = (distort(plain(100, 50, 20, side=256), "multiplicative_noise", min(level, 4), 3).float()).std((1, 2))
    assert product.tolist() == pytest.approx([math.hypot(v * speckle, 12**-0.5) for v in (100, 50, 20)], rel=0.03)
    salted, (share,) = distort(grey, "impulse_noise", level, 3), numbers("impulse_noise", level)
    assert set(salted.unique().tolist()) == {0, 128, 255}
    assert [float((salted == v).float().mean()) for v in (0, 255)] == pytest.approx([share / 2] * 2, rel=0.15)


def test_noise_in_cb_and_cr_has_its_deviation_there():
    noise = distort(plain(128, 128, 128, side=256), "white_noise_ycbcr", 2, 3).float() - 128
    blue, red = noise[2] / 1.772, noise[0] / 1.402  # Cb and Cr, by ITU-R BT.601
    assert [float(blue.std()), float(red.std())] == pytest.approx([255 * numbers("white_noise_ycbcr", 2)[0]] * 2, rel=0.02)
    assert abs(float((blue * red).mean())) < 0.02 * float(blue.std() * red.std())


def test_only_green_moves_by_the_distance_of_the_level():
    image = plain(0, 0, 0, side=65)
    image[:, 32, 32] = 255
    for level, seed in itertools.product(LEVELS, range(6)):
        copy = distort(image, "colour_shift", level, seed)
        assert torch.equal(copy[[0, 2]], image[[0, 2]])
        (place,) = copy[1].nonzero().tolist()
        assert abs(math.dist(place, (32, 32)) - numbers("colour_shift", level)[0]) < 0.8


@pytest.mark.parametrize("kind", ["gaussian_blur", "lens_blur", "motion_blur"])
def test_a_blurred_point_keeps_its_light_and_its_place_and_spreads(kind):
    image = plain(0, 0, 0, side=97)
    image[:, 40:57, 40:57] = 255
    at, spreads = torch.arange(97.0) - 48, []
    for level in LEVELS:
        copy = distort(image, kind, level, 2)[0].double()
        assert float(copy.sum() / image[0].double().sum()) == pytest.approx(1, abs=0.01)
        down, across = ((copy.sum(1 - axis) * at).sum() / copy.sum() for axis in (0, 1))
        assert max(abs(float(down)), abs(float(across))) < 0.35
        spreads.append(float(((copy.sum(0) + copy.sum(1)) * at**2).sum() / copy.sum()))
    assert all(a < b for a, b in itertools.pairwise(spreads))


def test_a_smear_follows_one_line():
    image = plain(0, 0, 0, side=97)
    image[:, 48, 48] = 255
    for seed in SEEDS:
        places = distort(image, "motion_blur", 5, seed)[0].nonzero().double() - 48
        assert len(places) > 20
        spread = torch.linalg.eigvalsh(places.T @ places / len(places))
        assert spread[0] < 0.3 < 20 < spread[1]


def test_a_denoiser_takes_noise_and_keeps_edges():
    rng, step = np.random.default_rng(0), torch.full((3, 96, 96), 80.0)
    step[..., 48:] = 180
    noisy = step + torch.from_numpy(rng.normal(0, 20, step.shape)).float()
    cleaned = shrunk(noisy, 20)
    assert distance(cleaned[..., :40], step[..., :40]) < 0.1 * distance(noisy[..., :40], step[..., :40])
    assert float(cleaned[..., 51].mean() - cleaned[..., 44].mean()) > 80
    assert torch.equal(shrunk(plain(7, 8, 9).float(), 5).round(), plain(7, 8, 9).float())


def test_the_scales_of_the_denoiser_add_up_and_share_white_noise_as_stated():
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 256, 256))).float()
    details, coarse = scales(noise)
    assert torch.allclose(sum(details) + coarse, noise, atol=1e-5)
    assert [float(d[:, 40:-40, 40:-40].std()) for d in details] == pytest.approx(list(SHARES), rel=0.06)


def rounded_variance(sigma: float) -> float:
    """Of a Gaussian rounded to whole numbers."""
    below = [0.5 + math.erf((k + 0.5) / sigma / math.sqrt(2)) / 2 for k in range(-31, 31)]
    return sum(k**2 * (high - low) for k, (low, high) in zip(range(-30, 31), itertools.pairwise(below), strict=True))


def test_jitter_shows_at_each_pixel_one_that_lies_about_as_far_as_the_level_says():
    rows = torch.arange(256, dtype=torch.uint8)
    image = torch.stack([rearrange(rows, "h -> h 1").expand(256, 256), rearrange(rows, "w -> 1 w").expand(256, 256), torch.zeros(256, 256)])
    image = image.to(torch.uint8)
    for level in LEVELS:
        moved = (distort(image, "jitter", level, 0).float() - image.float())[:2, 20:-20, 20:-20]
        assert moved.mean().abs() < 0.05
        assert moved.std() == pytest.approx(math.sqrt(rounded_variance(numbers("jitter", level)[0])), rel=0.05)


def test_patches_show_what_lies_a_patch_away_and_a_higher_level_has_those_of_a_lower_one_too():
    rows = torch.arange(240, dtype=torch.uint8)
    image = torch.stack([rearrange(rows, "h -> h 1").expand(240, 240), rearrange(rows, "w -> 1 w").expand(240, 240), torch.zeros(240, 240)])
    image, before = image.to(torch.uint8), torch.zeros(240, 240, dtype=torch.bool)
    for level in LEVELS:
        moved = (distort(image, "non_eccentricity_patch", level, 5).float() - image.float())[:2]
        far = moved.square().sum(0).sqrt()
        touched = far > 0
        assert (far[touched] < 13).all()  # patches of 240 / 20 pixels; less at the edge only
        assert (far[touched] > 11).float().mean() > 0.6
        assert (before & ~touched).sum() == 0
        count = numbers("non_eccentricity_patch", level)[0]
        assert 0.75 * count * 144 < touched.sum() <= count * 144
        before = touched


def test_blocks_are_squares_of_one_colour_and_so_many():
    image = plain(1, 2, 3, side=240)
    for level in LEVELS:
        copy = distort(image, "colour_block", level, 5)
        touched = (copy != image).any(0)
        colours = rearrange(copy, "c h w -> (h w) c").unique(dim=0)
        assert len(colours) - 1 == numbers("colour_block", level)[0]
        assert touched.sum() <= numbers("colour_block", level)[0] * 20 * 20
    assert (distort(image, "colour_block", 1, 5) != image).any(0).sum() == 400


def test_sharpening_leaves_plains_and_adds_the_mask_at_an_edge():
    assert torch.equal(distort(plain(50, 90, 20), "high_sharpen", 5, 0), plain(50, 90, 20))
    step = plain(100, 100, 100, side=64)
    step[..., 32:] = 140
    row = distort(step, "high_sharpen", 1, 0)[0, 32].long()
    half = 40 * (0.5 - math.erf(0.5 / 1.5 / math.sqrt(2)) / 2)  # what a Gaussian of 1.5 pixels takes of the step at its foot
    assert row[31] == pytest.approx(100 - half, abs=1) and row[32] == pytest.approx(140 + half, abs=1)
    assert row[31] < row[20] == 100 and row[32] > row[44] == 140


def test_contrast_goes_down_or_up_about_the_mean_of_each_channel():
    image = plain(100, 60, 200, side=64)
    image[..., 32:] += 40
    copies, (kept,) = [distort(image, "contrast_change", 2, seed).long() for seed in range(12)], numbers("contrast_change", 2)
    assert {int(copy[0, 0, -1] - copy[0, 0, 0]) for copy in copies} == {2 * round(20 * kept), 2 * round(20 / kept)}
    assert all(copy.float().mean((1, 2)).tolist() == [120, 80, 220] for copy in copies)


def test_codings_are_files_of_the_size_they_state():
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(256, 256, 3)), (3, 3, 0)) * 400 + 128
    image = torch.from_numpy(rearrange(smooth.clip(0, 255).astype(np.uint8), "h w c -> c h w").copy())
    coarse = [distance(distort(image, "jpeg_2000", level, 0), image) for level in LEVELS]
    assert coarse[0] < 20 and coarse[4] > 10 * coarse[0]
    blocks = distort(image, "jpeg", 5, 0).float().diff(dim=2).abs().mean((0, 1))
    assert blocks[7::8].mean() > 1.5 * np.delete(blocks.numpy(), slice(7, None, 8)).mean()  # steps between blocks of 8
