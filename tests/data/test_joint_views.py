"""Random views of pictures with boxes and maps: all three show the same part of the world, and one seed decides everything."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.data import joint, photometric
from pellucid.data.joint import Window, draw_window, holds, shown_map, test_joint, train_joint
from pellucid.data.joint_views import JointTrainView, JointView
from pellucid.data.maps import encode, read_map
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data

test_joint.__test__ = False  # type: ignore[attr-defined]
STILL = JointTrainView(colour_prob=0.0, zoom_prob=0.0, crop_prob=0.0, flip=0.0)
RED, BLUE = (230, 20, 20), (20, 20, 230)


def example(box=(20, 8, 60, 40), size=(96, 64), **more) -> dict:
    """A blue picture with a red rectangle, its box, and its map."""
    pixels = np.full((size[1], size[0], 3), BLUE, np.uint8)
    found = np.zeros((size[1], size[0]), np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1], found[y0:y1, x0:x1] = RED, 1
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    one = {"label": "red", "box_xyxy": [float(x) for x in box], "area": float((x1 - x0) * (y1 - y0)), "crowd": False, "id": 1}
    return {"id": "1", "image": file.getvalue(), "classes": ("red",), "objects": [one], "map": encode(found)} | more


def is_red(picture: torch.Tensor) -> torch.Tensor:
    return (picture[0].int() - picture[2].int()) > 0


@pytest.mark.parametrize("seed", range(12))
def test_box_map_and_pixels_show_the_same_object(seed):
    framed = train_joint(example(), replace(JointTrainView(), colour_prob=0.0, fill=BLUE), 80, seed)
    red = is_red(framed.picture)
    assert ((framed.map == 1) != red).float().mean() < 0.03  # edges alone
    rows, columns = torch.nonzero(framed.map == 1).unbind(-1)
    tight = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
    assert (framed.boxes_xyxy[0] - tight).abs().max() <= 1


def test_the_test_view_is_the_whole_picture_stretched():
    framed = test_joint(example(), JointView(size=48))
    assert framed.picture.shape == (3, 48, 48) and framed.size_hw == (64, 96)
    assert framed.boxes_xyxy.tolist() == [[10, 6, 30, 30]]
    assert (framed.map[6:30, 10:30] == 1).all() and (framed.map == 1).sum() == 24 * 20


def test_a_seed_decides_everything_and_another_changes_it():
    views = [train_joint(example(), JointTrainView(), 48, seed) for seed in (3, 3, 4)]
    assert (views[0].picture == views[1].picture).all() and (views[0].map == views[1].map).all()
    assert (views[0].boxes_xyxy == views[1].boxes_xyxy).all()
    assert (views[0].picture != views[2].picture).any()


def test_a_mirror_image_mirrors_all_three():
    plain, mirrored = (train_joint(example(), replace(STILL, flip=flip), 96, 0) for flip in (0.0, 1.0))
    assert (mirrored.picture == plain.picture.flip(-1)).all() and (mirrored.map == plain.map.flip(-1)).all()
    x0, _, x1, _ = plain.boxes_xyxy[0].tolist()
    assert mirrored.boxes_xyxy[0, ::2].tolist() == [96 - x1, 96 - x0]


def test_what_zooming_out_adds_is_the_fill_and_void_or_background():
    view = replace(STILL, zoom_prob=1.0, zoom=(2.0, 2.0), fill=(1, 2, 3))
    for outside, index in (("void", 255), ("background", 0)):
        framed = train_joint(example(), replace(view, outside=outside), 96, 5)
        added = (framed.picture == torch.tensor([1, 2, 3]).reshape(3, 1, 1)).all(0)
        assert added.float().mean() == pytest.approx(0.75, abs=0.03)
        assert (framed.map[added] == index).all()
        assert set(framed.map[~added].unique().tolist()) == {0, 1}


def test_hand_worked_map_of_a_window_beyond_the_picture():
    found = shown_map(np.array([[1, 2], [3, 4]], np.uint8), Window(-1, 0, 4, 2), 4, 255)
    assert found.tolist() == [[255, 1, 2, 255], [255, 1, 2, 255], [255, 3, 4, 255], [255, 3, 4, 255]]


def test_objects_stay_by_their_middle_and_are_cut_off():
    inside = joint.placed(objects((0, 0, 10, 10), (8, 0, 20, 10), (13, 0, 20, 10)), Window(0, 0, 15, 20), False, 30, 2.0)
    assert inside.kept == (0, 1)
    assert inside.boxes_xyxy.tolist() == [[0, 0, 20, 15], [16, 0, 30, 15]]


def test_boxes_too_small_to_learn_are_left_out_of_training_and_not_of_the_test():
    tiny = example(box=(50, 10, 51, 11))
    assert train_joint(tiny, STILL, 48, 0).kept == () and test_joint(tiny, JointView(48)).kept == (0,)


def test_difficult_objects_can_be_left_unlearned():
    hard = example()
    hard["objects"][0]["difficult"] = True
    assert train_joint(hard, STILL, 48, 0).kept == (0,) and train_joint(hard, replace(STILL, difficult=False), 48, 0).kept == ()


def objects(*boxes):
    return joint.Objects((20, 20), torch.tensor(boxes, dtype=torch.float32), torch.ones(len(boxes)), tuple(range(len(boxes))))


def test_a_crop_holds_the_drawn_share_of_an_object_and_its_middle():
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    assert holds(Window(0, 0, 10, 8), boxes, 0.7) and not holds(Window(0, 0, 10, 6), boxes, 0.7)
    assert not holds(Window(0, 0, 10, 4), boxes, 0.0)
    view = JointTrainView(coverages=(0.9,), tries=300)
    for seed in range(60):
        part = draw_window((96, 64), boxes[:1], view, joint.random.Random(seed))
        assert holds(part, boxes[:1], 0.9)


def test_crops_have_the_areas_and_ratios_that_are_asked_for():
    view = JointTrainView(zoom_prob=0.0, coverages=(0.0,), tries=1000)
    parts = [draw_window((300, 200), np.zeros((0, 4), np.float32), view, joint.random.Random(seed)) for seed in range(200)]
    areas = [p.width * p.height / 60000 for p in parts]
    assert 0.29 < min(areas) < 0.34 and max(areas) > 0.8
    assert all(0.49 < p.width / p.height < 2.02 for p in parts)
    assert all(p.left >= 0 and p.top >= 0 and p.left + p.width <= 300 and p.top + p.height <= 200 for p in parts)


def test_without_a_map_all_is_void_and_without_boxes_nothing_is_said_of_objects():
    bare = example()
    del bare["map"]
    framed = train_joint(bare, JointTrainView(), 48, 1)
    assert not framed.mapped and framed.boxed and (framed.map == 255).all()
    lone = example(objects=None)
    framed = train_joint(lone, JointTrainView(), 48, 1)
    assert framed.mapped and not framed.boxed and framed.boxes_xyxy.shape == (0, 4) and (framed.map == 1).any()
    assert test_joint({"id": "1", "image": bare["image"]}, JointView(48)).kept == ()


def test_a_map_of_another_size_is_named():
    with pytest.raises(BadData, match="1: its map: the map is 5 x 5 pixels and its picture 96 x 64"):
        train_joint(example(map=encode(np.zeros((5, 5), np.uint8))), JointTrainView(), 48, 0)


def test_colours_are_changed_by_what_is_asked_and_hand_worked():
    grey = np.full((1, 2, 3), 100, np.uint8)
    grey[0, 1] = 140
    assert photometric.changed(grey, [("brightness", 0.1)]).tolist() == [[[126] * 3, [166] * 3]]  # 25.5 more, halves up
    assert photometric.changed(grey, [("contrast", 1.5)])[0, :, 0].tolist() == [90, 150]
    red = np.array([[[200, 100, 100]]], np.uint8)
    assert photometric.changed(red, [("hue", 1 / 3)])[0, 0].tolist() == pytest.approx([100, 200, 100], abs=2)
    assert photometric.changed(red, [("saturation", 0.0)])[0, 0].tolist() == [200, 200, 200]


def test_colours_move_neither_boxes_nor_maps():
    plain, coloured = (train_joint(example(), replace(JointTrainView(), colour_prob=prob), 48, 9) for prob in (0.0, 1.0))
    assert (plain.boxes_xyxy == coloured.boxes_xyxy).all() and (plain.map == coloured.map).all()
    assert (plain.picture != coloured.picture).any()


def test_a_corrupted_picture_keeps_its_map():
    spoiled = test_joint(example(corruption={"kind": "gaussian_noise", "severity": 3, "seed": 1}), JointView(48))
    clean = test_joint(example(), JointView(48))
    assert (spoiled.map == clean.map).all() and (spoiled.picture != clean.picture).any()


# ---- the generated world ------------------------------------------------------------------------------------------


def test_generated_boxes_are_those_of_the_maps_pixels():
    for row in read(Data("shapes:train?num=30&maps=yes&sizes=mixed")):
        found, classes = read_map(row), {label: i for i, label in enumerate(row["classes"], 1)}
        for one in row["objects"]:
            x0, y0, x1, y1 = (int(x) for x in one["box_xyxy"])
            inside = found[y0:y1, x0:x1] == classes[one["label"]]
            assert inside.any(0).mean() > 0.9 and inside.any(1).mean() > 0.9, row["id"]
        wild = found > 0
        for one in row["objects"]:
            x0, y0, x1, y1 = (int(x) for x in one["box_xyxy"])
            wild[y0:y1, x0:x1] = False
        assert not wild.any()


def test_maps_leave_the_generated_pictures_as_they_were():
    plain, mapped = read(Data("shapes:test?num=5")), read(Data("shapes:test?num=5&maps=yes"))
    assert [r["image"] for r in plain] == [r["image"] for r in mapped] and "map" not in plain[0]


def test_every_generated_picture_has_boxes_or_a_map_and_as_few_as_can_be_both():
    for boxes, maps in ((0.5, 0.5), (0.8, 0.3)):
        rows = read(Data(f"shapes:train?num=50&boxes={boxes}&maps={maps}"))
        boxed, mapped = (sum(key in r for r in rows) for key in ("objects", "map"))
        assert (boxed, mapped) == (pytest.approx(50 * boxes, abs=1), pytest.approx(50 * maps, abs=1))
        assert all("objects" in r or "map" in r for r in rows)
        assert sum("objects" in r and "map" in r for r in rows) == pytest.approx(50 * (boxes + maps - 1), abs=2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("boxes=0.5", "boxes=0.5 and maps=0: some pictures would have neither"),
        ("maps=2", "shapes: maps=2: expected yes, no, or a share of the pictures from 0 to 1"),
        ("maps=some", "shapes: maps=some: expected yes, no, or a share"),
    ],
)
def test_shares_by_which_a_picture_would_have_nothing_are_refused(options, told):
    with pytest.raises(BadUsage, match=told):
        read(Data(f"shapes:train?num=1&{options}"))
