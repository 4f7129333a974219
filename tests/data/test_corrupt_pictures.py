"""Corruptions of pictures: each against its published definition with the same draws."""

import itertools
import math

import corruption_definitions as published
import numpy as np
import pytest
import torch
from scipy import ndimage

from pellucid.data.corrupt import MODALITIES, PICTURES
from pellucid.data.corrupt.levels import nearest_size
from pellucid.data.corrupt.names import stream
from pellucid.data.corrupt.pictures import APPLY, corrupt_images
from pellucid.data.corrupt.spatter import edges
from pellucid.errors import BadUsage

HEIGHT, WIDTH = 48, 56
LEVELS = [(kind, side, s) for kind, one in PICTURES.items() for side in one.levels for s in range(5)]
DRAWN = set(PICTURES) - {
    *("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur", "saturate")
}


def picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Smooth colours with some sharp edges, white, black and grey among them: h w 3."""
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.uniform(-300, 555, (height, width, 3)), (4, 4, 0)) * 3 - 250
    image[5:12, 8:30] = 255
    image[20:30, 40:50] = (0, 0, 0)
    image[31:40, 3:12] = 128
    return image.clip(0, 255).astype(np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def batch(num: int = 3, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.stack([tensor(picture(height, width, seed)) for seed in range(num)])


# a cut to whole levels in the middle (glass, snow, drops) can fall the other way for the last bit of a float32
LOOSE = {
    "glass_blur": (1.1, 0.01),
    "snow": (1.1, 0.01),
    "motion_blur": (1.01, 0.01),
    "pixelate": (1.1, 0.6),
    "jpeg_compression": (40, 1.2),
    "shot_noise": (20, 0.01),
}


@pytest.mark.parametrize(("kind", "side", "severity"), LEVELS)
def test_a_corruption_is_its_published_definition(kind, side, severity):
    level = PICTURES[kind].levels[side][severity]
    image = picture()
    mine = APPLY[kind](tensor(image), level, stream(7, kind, severity)).numpy().transpose(1, 2, 0)
    theirs = getattr(published, kind)(image / 255, level, stream(7, kind, severity)).clip(0, 1) * 255
    gap = np.abs(np.clip(mine, 0, 255) - theirs)
    most, mean = LOOSE.get(kind, (0.02, 0.005))
    assert gap.max() <= most and gap.mean() <= mean


def test_every_published_corruption_is_there_and_none_shares_a_name_with_a_text_corruption():
    assert len(PICTURES) == 19 and sum(one.extra for one in PICTURES.values()) == 4
    assert set(APPLY) == set(PICTURES)
    assert not set(MODALITIES["text"]) & set(MODALITIES["image"])
    assert all(len(levels) == 5 for one in PICTURES.values() for levels in one.levels.values())


# ---- what a copy depends on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PICTURES)
def test_a_copy_alone_is_the_copy_in_a_batch(kind):
    images = batch(3)
    together = corrupt_images(images, kind, 4, [5, 6, 7])
    for i in range(3):
        assert torch.equal(corrupt_images(images[i : i + 1], kind, 4, [5 + i])[0], together[i])
    assert torch.equal(corrupt_images(images.flip(0), kind, 4, [7, 6, 5]).flip(0), together)


@pytest.mark.parametrize("kind", PICTURES)
def test_a_copy_does_not_depend_on_the_number_of_threads(kind):
    images, threads = batch(3, 231, 223)[2:], torch.get_num_threads()  # zooms of these differ in their last bits
    try:
        found = []
        for num in (1, 2):
            torch.set_num_threads(num)
            found.append(corrupt_images(images, kind, 3, [1]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", PICTURES)
def test_another_seed_is_another_copy_where_anything_is_drawn(kind):
    images = batch(1).repeat(2, 1, 1, 1)
    one, other = corrupt_images(images, kind, 3, [1, 2])
    assert torch.equal(one, other) == (kind not in DRAWN)


def test_global_randomness_is_neither_read_nor_moved():
    images = batch(2)
    torch.manual_seed(1)
    np.random.seed(1)
    before = (torch.get_rng_state(), np.random.get_state()[1].copy())
    found = {kind: corrupt_images(images, kind, 2, [3, 4]) for kind in PICTURES}
    assert torch.equal(torch.get_rng_state(), before[0]) and (np.random.get_state()[1] == before[1]).all()
    torch.manual_seed(2)
    assert all(torch.equal(corrupt_images(images, kind, 2, [3, 4]), copy) for kind, copy in found.items())


@pytest.mark.parametrize("kind", PICTURES)
def test_the_pictures_themselves_stay_as_they_are(kind):
    images = batch(1)
    kept = images.clone()
    found = corrupt_images(images, kind, 5, [0])
    assert torch.equal(images, kept)
    assert found.dtype == torch.uint8 and found.shape == images.shape and not torch.equal(found, images)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (130, 32)])
def test_any_size_from_32_pixels_on_is_corrupted(kind, size):
    for severity in (1, 5):
        assert corrupt_images(batch(1, *size), kind, severity, [3]).shape == (1, 3, *size)


def test_what_cannot_be_corrupted_is_refused():
    with pytest.raises(ValueError, match="31 x 40; corruptions need 32"):
        corrupt_images(torch.zeros(1, 3, 31, 40, dtype=torch.uint8), "fog", 1, [0])
    with pytest.raises(ValueError, match="1 seeds for 2 pictures"):
        corrupt_images(batch(2), "fog", 1, [0])
    with pytest.raises(BadUsage, match="did you mean 'frost'"):
        corrupt_images(batch(1), "forst", 1, [0])
    with pytest.raises(BadUsage, match="severity 6"):
        corrupt_images(batch(1), "frost", 6, [0])


def test_the_published_numbers_are_those_of_the_nearest_size():
    sides = {side: nearest_size(side, 2 * side) for side in (32, 45, 46, 64, 119, 120, 224, 2000)}
    assert sides == {32: 32, 45: 32, 46: 64, 64: 64, 119: 64, 120: 224, 224: 224, 2000: 224}
    assert torch.equal(corrupt_images(batch(1, 64, 64), "contrast", 1, [0]), corrupt_images(batch(1, 64, 64), "contrast", 1, [9]))


# ---- what must come out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gaussian_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate", "contrast"])
def test_a_picture_of_one_colour_stays_one(kind):
    flat = torch.tensor([0, 77, 255], dtype=torch.uint8)[None, :, None, None].repeat(1, 1, 224, 224)
    for severity in range(1, 6):
        assert torch.equal(corrupt_images(flat, kind, severity, [2]), flat)


@pytest.mark.parametrize(
    "kind", sorted(set(PICTURES) - {"elastic_transform", "saturate", "snow", "spatter", "frost", "pixelate", "glass_blur"})
)
def test_a_higher_severity_changes_more(kind):
    images = batch(1, 224, 224)
    moved = [(corrupt_images(images, kind, s, [1]).float() - images.float()).abs().mean() for s in range(1, 6)]
    assert all(less < more for less, more in itertools.pairwise(moved))


def test_the_quality_of_the_jpeg_is_the_published_one():
    image = picture(224, 224)
    for severity in range(1, 6):
        (quality,) = PICTURES["jpeg_compression"].levels[224][severity - 1]
        mine = corrupt_images(tensor(image)[None], "jpeg_compression", severity, [0])[0].numpy().transpose(1, 2, 0) / 255
        gaps = [np.abs(mine - published.jpeg_compression(image / 255, (q,), None)).mean() for q in (0.85 * quality, quality, 1.2 * quality)]
        assert gaps[1] < min(gaps[0], gaps[2]) / 1.5


def test_noise_on_grey_has_the_published_deviation():
    grey = torch.full((1, 3, 224, 224), 128, dtype=torch.uint8)
    for kind, deviation in {
        "gaussian_noise": 0.08 * 255,
        "speckle_noise": 0.15 * 128,
        "shot_noise": math.sqrt(128 / 255 / 60) * 255,
    }.items():
        found = corrupt_images(grey, kind, 1, [0]).double() + 0.5
        assert found.mean() == pytest.approx(128, abs=0.3)
        assert found.std() == pytest.approx(deviation, rel=0.01)
    salted = corrupt_images(grey, "impulse_noise", 3, [0])
    assert [(salted == v).double().mean().item() for v in (0, 255)] == pytest.approx([0.045, 0.045], abs=0.002)


def test_black_stays_black_where_light_is_counted_or_scaled():
    black = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    for kind in ("shot_noise", "speckle_noise", "saturate", "fog"):
        assert not corrupt_images(black, kind, 5, [0]).any()


def test_drops_without_any_water_leave_the_picture():
    assert not edges(np.zeros((40, 50), np.uint8)).any()
    image = tensor(picture())
    dry = (0.0, 0.1, 1, 0.7, 0.6, 0)
    assert torch.equal(APPLY["spatter"](image, dry, stream(0, "spatter", 1)), image.float())
