import io
import random
from collections import Counter

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image
from torchvision.transforms import functional as tv

from pellucid.data import patches
from pellucid.data.patch_views import PatchView
from pellucid.data.read import read
from pellucid.errors import BadData
from pellucid.recipe import Data

SMALL = PatchView(patch_size=32, short_sides=(48, 56), test_side=64, longest=96)


def encoded(array):
    held = io.BytesIO()
    Image.fromarray(array).save(held, "PNG")
    return held.getvalue()


def ramp(height, width):
    """Red tells the column, green the row: what lies where can be read off the colours."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 100)], -1).astype(np.uint8)


def test_sides_and_places_of_patches_are_those_of_the_paper():
    boxes = patches.random_boxes(19, 18, 4000, SMALL, random.Random(0))
    widths, heights = Counter(b[2] - b[0] for b in boxes), Counter(b[3] - b[1] for b in boxes)
    assert set(widths) == {8, 9, 10, 11} and set(heights) == {8, 9, 10}
    assert max(widths.values()) < 1.15 * min(widths.values()), "sides are drawn evenly"
    # of a side of w there are W - w places, the last of W - w + 1 never taken
    assert all({b[0] for b in boxes if b[2] - b[0] == w} == set(range(19 - w)) for w in widths)
    assert all({b[1] for b in boxes if b[3] - b[1] == h} == set(range(18 - h)) for h in heights)


def test_a_patch_shows_what_lies_in_its_box():
    found = patches.measured_patches(encoded(ramp(200, 250)), 6, SMALL, 3)
    assert found.size == (200, 250) and found.patches.shape == (6, 3, 32, 32)
    for patch, (left, top, right, bottom) in zip(found.patches.float(), found.boxes_xyxy.tolist(), strict=True):
        assert patch[0].mean().item() == pytest.approx((left + right - 1) / 2, abs=1)
        assert patch[1].mean().item() == pytest.approx((top + bottom - 1) / 2, abs=1)
        assert patch[0, 0, 0].item() == pytest.approx(left, abs=1 + (right - left) / 32)


def test_a_random_view_depends_on_its_seed_alone():
    source = encoded(ramp(60, 80))
    first = [patches.random_patches(source, 3, SMALL, seed) for seed in range(12)]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    again = [patches.random_patches(source, 3, SMALL, seed) for seed in range(12)]
    assert all(torch.equal(a.patches, b.patches) and torch.equal(a.picture, b.picture) for a, b in zip(first, again, strict=True))
    assert len({a.boxes_xyxy.numpy().tobytes() for a in first}) == 12
    assert {min(a.picture.shape[1:]) for a in first} == {48, 56}


def test_the_long_side_of_a_picture_has_a_limit():
    found = patches.measured_patches(encoded(ramp(40, 120)), 2, SMALL, 0)
    assert found.picture.shape == (3, 32, 96)


def test_test_patches_follow_from_the_id_alone():
    assert patches.id_seed("photos/1.jpg") == 204653242225689059, "numbers of earlier versions were measured with other patches"
    assert patches.id_seed("photos/1.jpg") != patches.id_seed("photos/2.jpg")


def test_hues_turn_as_torchvision_turns_them():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    for share in (-0.1, 0.03, 0.1):
        assert np.array_equal(np.array(patches.turned(noise, share)), np.array(tv.adjust_hue(noise, share)))


def test_changes_come_as_often_as_they_should():
    """Of 1,000 patches about 800 are jittered, 200 grey, 500 blurred; none is mirrored."""
    rough = np.random.default_rng(0).integers(0, 40, (32, 32, 3), dtype=np.uint8)
    patch, draw = Image.fromarray(ramp(32, 32) * 4 + rough), random.Random(0)
    only = {"jitter_prob": PatchView(grey_prob=0, blur_prob=0), "grey_prob": PatchView(jitter_prob=0, blur_prob=0)}
    only["blur_prob"] = PatchView(jitter_prob=0, grey_prob=0, blur=(1.0, 2.0))
    shares = {}
    for name, view in only.items():
        made = [np.array(patches.changed(patch, view, draw)) for _ in range(1000)]
        shares[name] = np.mean([not np.array_equal(one, np.array(patch)) for one in made])
        if name != "grey_prob":
            assert all(one[:, :4, 0].mean() < one[:, -4:, 0].mean() for one in made if one[..., 0].std() > 5), "a mirrored patch"
    assert shares == pytest.approx({"jitter_prob": 0.8, "grey_prob": 0.2, "blur_prob": 0.5}, abs=0.04)
    grey = np.array(patches.changed(patch, PatchView(jitter_prob=0, blur_prob=0, grey_prob=1), draw))
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 1] == grey[..., 2]).all()


def test_pictures_without_room_for_patches_are_left_out_and_counted(caplog):
    rows = [{"id": str(side), "image": encoded(ramp(side, 40))} for side in (16, 17, 30, 9)]
    kept = patches.large_enough(rows, "photos", SMALL)
    assert [row["id"] for row in kept] == ["17", "30"]
    assert "photos: 2 pictures with a side of 16 pixels or fewer are left out" in caplog.text
    with pytest.raises(BadData, match="photos: every picture has a side of 16 pixels or fewer"):
        patches.large_enough(rows[:1], "photos", SMALL)
    with pytest.raises(BadData, match=r"tiny.png: 40 x 16 pixels; patches need sides of more than 16"):
        patches.measured_patches(rows[0]["image"], 1, SMALL, 0, "tiny.png")


def test_patches_may_come_from_other_pictures(tmp_path):
    picture, other = encoded(ramp(100, 90)), encoded(ramp(60, 80))
    (tmp_path / "other.png").write_bytes(other)
    queries = [other, str(tmp_path / "other.png"), {"image": other, "box_xyxy": [10.4, 20, 50, 70]}]
    found = patches.given_patches(picture, queries, SMALL)
    assert found.boxes_xyxy is None and found.size == (100, 90)
    assert torch.equal(found.patches[0], found.patches[1])
    part = Image.fromarray(ramp(60, 80)).crop((10, 20, 50, 60)).resize((32, 32), Image.Resampling.BILINEAR)
    assert torch.equal(found.patches[2], rearrange(torch.from_numpy(np.array(part)), "h w c -> c h w"))
    for box in ([90, 0, 100, 10], [5, 5, 5, 9], [0, 0, float("nan"), 4], [1, 2, 3]):
        with pytest.raises(BadData, match=r"street, patch 1: box .* has no part in the picture of 80 x 60 pixels"):
            patches.given_patches(picture, [{"image": other, "box_xyxy": box}], SMALL, "street")


def test_a_flat_folder_of_pictures_needs_no_labels(tmp_path):
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(encoded(ramp(20, 20)))
    (tmp_path / "deeper").mkdir()
    rows = read(Data(f"folder:{tmp_path}"))
    assert [row["id"].split("/")[1] for row in rows] == ["a.png", "b.png"] and all("label" not in row for row in rows)
    assert len(patches.large_enough(rows, "photos", SMALL)) == 2
