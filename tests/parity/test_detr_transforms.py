"""The geometry of views is that of DETR's own transforms: every case of the reference, and pixels against Pillow."""

import io
import json
import random

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from torch.nn import functional

from pellucid.data import boxes
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.boxes import Crop, Mirror, Resize, moved, objects_of, resized_size
from pellucid.data.decode import look
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.nn.boxes import xyxy_to_cxcywh
from pellucid.nn.pixels import factors, pixels

STEPS = {
    "hflip": Mirror(),
    "crop_i50_j40_h200_w300": Crop(left=40, top=50, width=300, height=200),
    "resize_800_1333": Resize(*resized_size((500, 375), 800, 1333)),
}
WORDS = ("positive_map", "isfinal", "caption", "tokens_positive")  # what text-conditioned detection adds


@pytest.fixture(scope="module")
def reference(references):
    return json.loads((references / "detection/metrics/transforms.json").read_text())


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """The picture of the reference, 500 x 375: its first pixel and its mean tell how it was drawn."""
    return np.random.RandomState(0).randint(0, 255, (375, 500, 3)).astype(np.uint8)


def png(array) -> bytes:
    held = io.BytesIO()
    Image.fromarray(array).save(held, "PNG")
    return held.getvalue()


def example_of(given: dict, image: bytes = b"") -> dict:
    rows = zip(given["boxes"], given["labels"], given["area"], given["iscrowd"], strict=True)
    objects = [{"box_xyxy": box, "label": str(label), "area": area, "crowd": bool(crowd)} for box, label, area, crowd in rows]
    return {"id": "reference", "image": image, "height": given["size"][0], "width": given["size"][1], "objects": objects}


@pytest.mark.parametrize("case", STEPS)
def test_objects_go_where_the_reference_has_them(case, reference):
    given, wanted = reference["input"], reference[case]
    found = moved(objects_of(example_of(given), (500, 375)), STEPS[case])
    assert found.boxes_xyxy.tolist() == wanted["boxes"]
    assert found.area.tolist() == pytest.approx(wanted["area"], rel=1e-6)
    assert [given["labels"][i] for i in found.kept] == wanted["labels"]
    assert list(found.size[::-1]) == wanted["size"]
    assert wanted["orig_size"] == given["orig_size"]


def test_the_picture_of_the_reference_has_the_size_it_had_there(reference, noise):
    framed = boxes.test_boxes(example_of(reference["input"], png(noise)), BoxView(), exact=True)
    wanted = reference["resize_800_1333"]
    assert [framed.picture.shape[2], framed.picture.shape[1]] == wanted["image_size_wh"]
    assert (framed.boxes_xyxy.tolist(), list(framed.size_hw)) == (wanted["boxes"], wanted["orig_size"])


def test_pixels_and_boxes_are_normalised_as_in_the_reference(reference, noise):
    wanted = reference["normalize"]
    seen = pixels(rearrange(torch.from_numpy(noise), "h w c -> 1 c h w"), *factors(IMAGENET_MEAN, IMAGENET_STD))[0]
    assert seen[:, 0, 0].tolist() == pytest.approx(wanted["first_pixel"], abs=1e-6)
    assert seen.mean().item() == pytest.approx(wanted["mean"], abs=1e-6)
    found = xyxy_to_cxcywh(objects_of(example_of(reference["input"]), (500, 375)).boxes_xyxy) / torch.tensor([500, 375, 500, 375])
    assert found.flatten().tolist() == pytest.approx(np.ravel(wanted["boxes"]).tolist(), abs=1e-7)


def test_sizes_are_those_of_the_reference(reference):
    table = reference["resize_table_w_h_size_max_outw_outh"]
    assert len(table) == 27
    for width, height, short, longest, *wanted in table:
        assert list(resized_size((width, height), short, longest or 0)) == wanted, (width, height, short, longest)


def test_the_reference_holds_no_case_that_is_not_checked(reference):
    assert set(reference) == {"input", "normalize", "resize_table_w_h_size_max_outw_outh", *STEPS}
    assert set(reference["input"]) == {"boxes", "labels", "area", "iscrowd", "size", "orig_size", *WORDS}


# ---- pixels and masks, against the same steps by Pillow and torch -------------------------------------------------


def by_pillow(image: Image.Image, steps) -> Image.Image:
    for step in steps:
        if isinstance(step, Mirror):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif isinstance(step, Crop):
            image = image.crop((step.left, step.top, step.left + step.width, step.top + step.height))
        else:
            image = image.resize(tuple(step), Image.Resampling.BILINEAR)
    return image


def masks_by_torch(masks: torch.Tensor, steps) -> torch.Tensor:
    for step in steps:
        if isinstance(step, Mirror):
            masks = masks.flip(-1)
        elif isinstance(step, Crop):
            masks = masks[:, step.top : step.top + step.height, step.left : step.left + step.width]
        else:
            values = rearrange(masks.float(), "n h w -> n 1 h w")
            masks = rearrange(functional.interpolate(values, (step.height, step.width), mode="nearest"), "n 1 h w -> n h w") > 0.5
    return masks


@pytest.mark.parametrize("seed", range(6))
def test_exact_views_are_pillows_to_the_bit_and_quick_ones_within_three_of_255(seed, shared):
    file = sorted((shared / "data/coco128/images/val2017").glob("*.jpg"))[seed]
    picture = look(str(file))
    steps = boxes.draw_steps(picture.size, BoxTrainView(), random.Random(seed))
    theirs = np.asarray(by_pillow(Image.open(file).convert("RGB"), steps))
    assert np.array_equal(boxes.shown(look(str(file)), steps, exact=True), theirs)
    difference = np.abs(boxes.shown(picture, steps).astype(int) - theirs)
    assert difference.max() <= 3 and difference.mean() < 0.02, (difference.max(), difference.mean())


@pytest.mark.parametrize("seed", range(8))
def test_masks_are_those_of_nearest_resampling_step_by_step(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 90, 2).tolist()
    masks = torch.from_numpy(rng.random((2, height, width)) < 0.5)
    view = BoxTrainView((40, 64, 100), 130, crop_shorts=(30, 50), crop_range=(20, 45), crop_prob=1.0)
    steps = boxes.draw_steps((width, height), view, random.Random(seed))
    down, across = map(torch.from_numpy, boxes.nearest_pixels((width, height), steps))
    found = masks[:, down][:, :, across]
    assert found.equal(masks_by_torch(masks, steps))


@pytest.mark.parametrize("old", [1, 7, 333, 427, 640])
def test_nearest_places_are_torchs(old):
    for new in (1, 5, 479, 640, 999, 1333):
        theirs = functional.interpolate(torch.arange(old, dtype=torch.float32).reshape(1, 1, old), size=new, mode="nearest")
        assert np.array_equal(boxes.nearest_pixels((old, 1), [Resize(new, 1)])[1], theirs.flatten().long().numpy()), new
