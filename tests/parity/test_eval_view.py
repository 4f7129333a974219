"""The test view equals timm's evaluation transform: on the reference numbers, and on photographs where they are present."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import create_transform

from pellucid.data import images, resize
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD, TestView
from pellucid.nn.pixels import factors, pixels

CASES = {"eval_224_0.95": (224, 0.95), "eval_160_0.95": (160, 0.95), "eval_224_0.875": (224, 0.875)}
FITS = [(interpolation, crop) for interpolation in ("bicubic", "bilinear") for crop in (0.875, 0.95, 1.0)]
IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


@pytest.fixture(scope="module")
def reference(references):
    folder = references / "vision/rsb"
    return json.loads((folder / "rsb.json").read_text()), load_file(folder / "rsb.safetensors")


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> str:
    """The picture of the reference: two gradients and a wave, 300 x 400."""
    down, across = np.mgrid[:300, :400]
    values = np.stack([across * 255 / 399, down * 255 / 299, 128 + 100 * np.sin(across / 17) * np.cos(down / 23)], -1)
    path = tmp_path_factory.mktemp("view") / "waves.png"
    Image.fromarray(values.astype(np.uint8)).save(path)
    return str(path)


def seen(source: str, view: TestView, fast: bool) -> torch.Tensor:
    return pixels(images.stacked([images.test_image(source, view, fast=fast)]), *factors(view.mean, view.std))[0]


@pytest.mark.parametrize("case", CASES)
def test_the_test_view_is_that_of_the_reference_case(case, reference, picture):
    (numbers, arrays), (size, crop) = reference, CASES[case]
    view = TestView(size, crop, **IMAGENET)
    assert resize.short_side(view) == numbers[case]["resize"]
    found = seen(picture, view, fast=False)
    assert list(found.shape) == numbers[case]["shape"]
    assert torch.allclose(found[:, :16], arrays[f"{case}_first16rows"], rtol=0, atol=1e-6)
    assert [found.mean().item(), found.std().item()] == pytest.approx([numbers[case]["mean"], numbers[case]["std"]], abs=1e-5)
    quick = seen(picture, view, fast=True)
    assert (quick - found).abs().max() <= 2.01 / 255 / min(view.std)
    assert (quick - found).abs().mean() < 2e-4


def test_the_reference_holds_no_case_that_is_not_checked(reference):
    numbers, arrays = reference
    assert sorted(key for key in numbers if key.startswith("eval_")) == sorted(CASES)
    assert sorted(key for key in arrays if key.startswith("eval_")) == sorted(f"{case}_first16rows" for case in CASES)


@pytest.mark.parametrize(("interpolation", "crop"), FITS)
@pytest.mark.parametrize("folder", ["imagenet_sample/images", "coco128/images/val2017"])
def test_photographs_are_seen_as_timm_sees_them(folder, interpolation, crop, shared):
    files = sorted((shared / "data" / folder).glob("*.jpg"))[::25]
    view = TestView(96, crop, interpolation=interpolation, **IMAGENET)
    transform = create_transform(96, is_training=False, crop_pct=crop, interpolation=interpolation, mean=view.mean, std=view.std)
    for file in files:
        theirs = transform(Image.open(file).convert("RGB"))
        assert torch.allclose(seen(str(file), view, fast=False), theirs, rtol=0, atol=1e-6)
        shrunk = min(Image.open(file).size) >= 2 * images.DRAFT_MARGIN * resize.short_side(view)
        # resampling alone is off by rounding; scaled decoding also reads the details differently
        assert (seen(str(file), view, fast=True) - theirs).abs().mean() < (0.08 if shrunk else 1e-4), file.name


@pytest.mark.parametrize(("width", "height"), [(300, 400), (401, 300), (97, 96), (96, 96), (30, 20), (150, 7)])
@pytest.mark.parametrize(("interpolation", "crop"), FITS)
def test_pictures_of_any_shape_are_seen_as_timm_sees_them(width, height, interpolation, crop, tmp_path):
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    view = TestView(96, crop, interpolation=interpolation, **IMAGENET)
    transform = create_transform(96, is_training=False, crop_pct=crop, interpolation=interpolation, mean=view.mean, std=view.std)
    theirs, one = transform(Image.fromarray(noise)), 1.01 / 255 / min(view.std)
    strip = max(width, height) / min(width, height) > 8
    assert (seen(str(tmp_path / "noise.png"), view, fast=False) - theirs).abs().max() <= (one if strip else 1e-6)
    assert (seen(str(tmp_path / "noise.png"), view, fast=True) - theirs).abs().max() <= 2 * one


def test_a_squished_view_is_torchvisions_resize_to_a_square(tmp_path):
    from torchvision import transforms

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8))
    noise.save(tmp_path / "noise.png")
    view = TestView(48, fit="squish", interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))
    theirs = transforms.ToTensor()(transforms.Resize((48, 48))(noise))
    assert torch.allclose(seen(str(tmp_path / "noise.png"), view, fast=False), theirs, rtol=0, atol=1e-6)
    assert (seen(str(tmp_path / "noise.png"), view, fast=True) - theirs).abs().max() <= 2.01 / 255
