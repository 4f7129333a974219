import io
import math
import random

import numpy as np
import pytest
import torch
from einops import rearrange
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision.transforms import functional as tv

from pellucid.data.augment import FILL, RandAugment, cut_out, erase, jitter, random_crop, seeded, train_image
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD, TrainView
from pellucid.errors import BadData, BadUsage

EVERYTHING = TrainView(rand_augment="rand-m9-mstd0.5-inc1", cutout=0.5, erasing=1.0, interpolation="random")


def encoded(array, kind="PNG", **options):
    held = io.BytesIO()
    Image.fromarray(array).save(held, kind, **options)
    return held.getvalue()


def smooth(height, width):
    """A picture without sharp edges, so that resampling by any good method gives the same."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    layers = [128 + 100 * np.sin(x / width * 5 + k) * np.cos(y / height * 4) for k in range(3)]
    return np.stack(layers, -1).round().astype(np.uint8)


def test_a_view_is_a_function_of_its_seed_alone():
    source = encoded(smooth(50, 70))
    first = [train_image(source, EVERYTHING, 32, seed) for seed in range(20)]
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    again = [train_image(source, EVERYTHING, 32, seed) for seed in reversed(range(20))][::-1]
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert len({a.numpy().tobytes() for a in first}) == 20


@pytest.mark.parametrize("view", [EVERYTHING, TrainView(color_jitter=0.4)], ids=["everything", "jitter"])
def test_views_leave_the_global_random_streams_alone(view):
    def streams():
        return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()

    before, source = streams(), encoded(smooth(50, 70))
    for seed in range(5):
        train_image(source, view, 32, seed)
    with pytest.raises(BadData):
        train_image(b"no picture", view, 32, 0)
    assert streams() == before


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 2**31))
@example(2000, 40, 0)  # so long a strip that only its middle is left
@example(40, 2000, 0)
def test_the_part_cut_out_is_the_one_timm_cuts_out(width, height, seed):
    random.seed(seed)
    top, left, down, across = RandomResizedCropAndInterpolation.get_params(Image.new("L", (width, height)), (0.08, 1.0), (3 / 4, 4 / 3))
    if min(down, across) == 0:
        return  # of a picture a few pixels small timm may cut out nothing, and then fail
    assert random_crop(width, height, TrainView(), random.Random(seed)) == (left, top, left + across, top + down)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
@example(1, 1, 4)  # first a part that, rounded, is no pixel wide
def test_the_part_cut_out_lies_in_the_picture_and_holds_something(width, height, seed):
    left, top, right, bottom = random_crop(width, height, TrainView(), random.Random(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_a_cut_out_part_is_resampled_as_pillow_does(kernel):
    picture, view = np.random.default_rng(0).integers(0, 256, (180, 240, 3), np.uint8), TrainView(flip=0.0, interpolation=kernel)
    for seed in range(10):
        box = random_crop(240, 180, view, random.Random(seed))
        expected = np.array(Image.fromarray(picture).crop(box).resize((64, 64), Image.Resampling[kernel.upper()]))
        found = rearrange(train_image(encoded(picture), view, 64, seed), "c h w -> h w c").numpy()
        assert np.abs(found.astype(int) - expected).max() <= 2


def test_a_part_of_a_large_jpeg_is_decoded_smaller_and_looks_the_same():
    picture, view = smooth(1200, 1600), TrainView(flip=0.0)
    jpeg = encoded(picture, "JPEG", quality=95)
    for seed in range(5):
        large, small = train_image(encoded(picture), view, 64, seed), train_image(jpeg, view, 64, seed)
        assert (large.float() - small.float()).abs().mean() < 2


def test_a_mirror_image_is_the_same_view_mirrored():
    source = encoded(smooth(60, 90))
    for fit in ("random_crop", "pad", "squish"):
        straight, mirrored = (train_image(source, TrainView(fit=fit, flip=flip), 32, 3) for flip in (0.0, 1.0))
        if fit == "squish":
            assert mirrored.equal(straight.flip(-1))
    flipped = [
        train_image(source, TrainView(fit="squish"), 32, seed).equal(train_image(source, TrainView(fit="squish", flip=1.0), 32, 0))
        for seed in range(200)
    ]
    assert 70 < sum(flipped) < 130


def test_padding_shifts_the_whole_picture_by_up_to_so_many_pixels():
    picture = np.random.default_rng(0).integers(1, 256, (16, 16, 3), np.uint8)
    found = set()
    for seed in range(200):
        shown = rearrange(train_image(encoded(picture), TrainView(fit="pad", padding=2, flip=0.0), 16, seed), "c h w -> h w c").numpy()
        inside = shown.any(-1)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        down = rows[0] if rows[0] else rows[-1] - 15
        right = columns[0] if columns[0] else columns[-1] - 15
        moved = np.zeros_like(picture)
        moved[max(down, 0) : 16 + min(down, 0), max(right, 0) : 16 + min(right, 0)] = picture[
            max(-down, 0) : 16 - max(down, 0), max(-right, 0) : 16 - max(right, 0)
        ]
        np.testing.assert_array_equal(shown, moved)
        found.add((int(down), int(right)))
    assert found == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_squishing_shows_the_whole_picture():
    picture = smooth(40, 120)
    shown = rearrange(train_image(encoded(picture), TrainView(fit="squish", flip=0.0), 32, 0), "c h w -> h w c").numpy()
    expected = np.array(Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.abs(shown.astype(int) - expected).max() <= 2


def test_a_cut_out_rectangle_has_the_proportions_of_the_picture_and_one_colour():
    areas = []
    for seed in range(300):
        painted = cut_out(np.full((20, 60, 3), 77, np.uint8), 0.5, random.Random(seed))
        changed = (painted != 77).any(-1)
        if not changed.any():
            continue  # the colour may be the picture's own
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert len(rows) <= 10
        assert len(columns) <= 30
        assert len(np.unique(painted[changed], axis=0)) == 1
        areas.append(len(rows) * len(columns))
    assert max(areas) == 300
    # the middle lies anywhere, so that of each side 7/16 is painted on average, not 1/2
    assert np.mean(areas) / 1200 == pytest.approx((7 / 16) ** 2, rel=0.1)


def test_erased_rectangles_hold_normal_noise_of_the_told_area():
    shares, noise = [], []
    for seed in range(200):
        erased = erase(np.zeros((40, 50, 3), np.uint8), random.Random(seed))
        changed = (erased != 0).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        patch = erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        shares.append(patch[..., 0].size / 2000)
        noise.append(rearrange(patch, "h w c -> (h w) c"))
    assert 0.01 < min(shares) < 0.04
    assert 0.28 < max(shares) < 0.35
    values = (np.concatenate(noise) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    assert np.median(values, 0) == pytest.approx([0, 0, 0], abs=0.02)
    inner = np.quantile(values, [0.1587, 0.8413], axis=0)
    assert inner[1] - inner[0] == pytest.approx([2, 2, 2], abs=0.05)


def test_colours_change_as_torchvision_changes_them():
    image = Image.fromarray(smooth(20, 30))
    operations = [tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation]
    for seed in range(5):
        draw = random.Random(seed)
        draw.shuffle(operations)
        expected = image
        for operation in operations:
            expected = operation(expected, draw.uniform(0.6, 1.4))
        found = jitter(image, 0.4, random.Random(seed))
        assert np.array_equal(np.array(found), np.array(expected))
        operations = [tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation]
    assert np.array_equal(np.array(jitter(image, 0.0, random.Random(0))), np.array(image))


def test_rand_augment_turns_the_colours_of_few_operations_at_most():
    image = Image.fromarray(smooth(24, 24))
    with seeded(0):
        unchanged = sum(RandAugment("rand-m9-p0")(image, np.random.RandomState(seed)) is image for seed in range(20))
        inverted = {np.array(RandAugment("rand-m9-n1-p1-inc1")(image, np.random.RandomState(seed))).tobytes() for seed in range(200)}
    assert unchanged == 20
    assert np.array(tv.invert(image)).tobytes() in inverted


def test_what_comes_in_from_outside_is_the_mean_colour():
    assert FILL == (124, 116, 104)
    image = Image.new("RGB", (40, 40), "white")
    with seeded(1):
        seen = {
            colour
            for seed in range(60)
            for _, colour in RandAugment("rand-m10-n1-p1-inc1")(image, np.random.RandomState(seed)).getcolors(10_000)
        }
    assert FILL in seen


def test_the_strongest_posterizing_leaves_black():
    image = Image.fromarray(smooth(24, 24))
    operation = next(o for o in RandAugment("rand-m10-p1-inc1").policy.ops if o.name == "PosterizeIncreasing")
    assert operation(image).getextrema() == ((0, 0),) * 3
    weaker = next(o for o in RandAugment("rand-m5-p1-inc1").policy.ops if o.name == "PosterizeIncreasing")
    np.testing.assert_array_equal(np.array(weaker(image)), np.array(image) & 0b11000000)


def test_the_strength_of_an_operation_follows_the_magnitude():
    def turned(magnitude):
        operation = next(o for o in RandAugment(f"rand-m{magnitude}-p1-inc1").policy.ops if o.name == "Rotate")
        angle = operation.level_fn(magnitude, operation.hparams)[0]
        return abs(angle)

    assert [turned(m) for m in (0, 5, 10)] == pytest.approx([0, 15, 30])


@pytest.mark.parametrize("notation", ["randm7", "rand-x3", "augmix-m3", "rand-m", "original", "rand-m7-"])
def test_a_wrong_notation_is_told(notation):
    with pytest.raises(BadUsage, match=f"rand_augment={notation}: expected timm's notation, as rand-m7-mstd0.5-inc1"):
        train_image(encoded(smooth(8, 8)), TrainView(rand_augment=notation), 8, 0)


def test_a_broken_picture_is_told_by_its_name(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(encoded(smooth(64, 64), "JPEG")[:300])
    with pytest.raises(BadData, match=r"cut\.jpg"):
        train_image(str(tmp_path / "cut.jpg"), TrainView(), 32, 0)


def test_crops_have_the_shares_and_ratios_asked_for():
    view = TrainView(scale=(0.2, 0.4), ratio=(0.5, 2.0))
    boxes = np.array([random_crop(1000, 800, view, random.Random(seed)) for seed in range(500)])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share, ratio = across * down / 800_000, across / down
    assert (share.min(), share.max()) == (pytest.approx(0.2, abs=0.01), pytest.approx(0.4, abs=0.01))
    assert (ratio.min(), ratio.max()) == (pytest.approx(0.5, abs=0.02), pytest.approx(2.0, abs=0.05))
    assert np.log(ratio).mean() == pytest.approx(0, abs=3 * math.log(2) / math.sqrt(3 * 500))
