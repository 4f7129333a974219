"""Views of a picture with its objects: boxes and masks go where the pixels go, and what does not fit the picture is told."""

import io
import random

import numpy as np
import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid.data import boxes
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.boxes import Crop, Mirror, Resize, draw_steps, moved, objects_of, resized_size, train_boxes
from pellucid.data.corrupt.pictures import corrupt_images
from pellucid.data.decode import look
from pellucid.errors import BadData

SMALL = BoxTrainView(shorts=(40, 56), longest=90, crop_shorts=(36, 48), crop_range=(24, 40))
ALWAYS_CUT = BoxTrainView(shorts=(40, 56), longest=90, crop_shorts=(36, 48), crop_range=(24, 40), crop_prob=1.0)


def encoded(array, kind="PNG", **options) -> bytes:
    held = io.BytesIO()
    Image.fromarray(array).save(held, kind, **options)
    return held.getvalue()


def found(label: str, box, **more) -> dict:
    x0, y0, x1, y1 = box
    outline = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    return {"label": label, "box_xyxy": list(box), "area": (x1 - x0) * (y1 - y0), "crowd": False, "segmentation": outline, **more}


def red_square(width=70, height=50, box=(40, 10, 60, 34)) -> dict:
    """A black picture in which the object alone is red, as its box and its outline say."""
    array = np.zeros((height, width, 3), np.uint8)
    array[box[1] : box[3], box[0] : box[2], 0] = 255
    return {"id": "x:1", "image": encoded(array), "width": width, "height": height, "objects": [found("square", box, id=5)]}


def extent(mask) -> list[int]:
    """The box around the pixels that are true."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


# ---- objects go with the pixels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [SMALL, ALWAYS_CUT], ids=["sometimes cut", "always cut"])
@pytest.mark.parametrize("exact", [False, True])
def test_boxes_and_masks_lie_where_the_object_is_seen(view, exact):
    left = 0
    for seed in range(20):
        framed = train_boxes(red_square(), view, seed, exact)
        if not framed.labels or min(framed.boxes_xyxy[0, 2:] - framed.boxes_xyxy[0, :2]) < 4:
            continue  # of a sliver no pixel may be left
        left += 1
        red = framed.picture[0].numpy() > 127
        mask = framed.masks[0].numpy()
        assert np.abs(np.array(extent(red)) - framed.boxes_xyxy[0].numpy()).max() <= 1.01, seed
        # nearest-neighbour resampling takes the pixel before: up to one too far, and where a part is cut again, at up to 56 / 24
        assert np.abs(np.array(extent(mask)) - framed.boxes_xyxy[0].numpy()).max() <= 1.01 + 56 / 24, seed
        assert mask.shape == framed.picture.shape[1:]
        assert framed.area[0] == pytest.approx(red.sum(), rel=0.12)
    assert left > 8


def test_a_measured_view_keeps_every_object_and_all_of_the_picture():
    framed = boxes.test_boxes(red_square(), BoxView(short=100, longest=1000))
    assert framed.picture.shape == (3, 100, 140)
    assert framed.boxes_xyxy.tolist() == [[80, 20, 120, 68]] and framed.area.tolist() == [1920]
    assert (framed.labels, framed.size_hw, framed.kept) == (("square",), (50, 70), (0,))
    assert extent(framed.masks[0].numpy()) == [80, 20, 120, 68]
    assert framed.picture[0, 20:68, 80:120].float().mean() > 240 and framed.picture[1:].max() == 0


def test_a_view_is_a_function_of_its_seed_alone():
    example, before = red_square(), random.getstate()
    first = [train_boxes(example, ALWAYS_CUT, seed) for seed in range(12)]
    random.seed(3)
    again = [train_boxes(example, ALWAYS_CUT, seed) for seed in reversed(range(12))][::-1]
    random.setstate(before)
    for a, b in zip(first, again, strict=True):
        assert a.picture.equal(b.picture) and a.boxes_xyxy.equal(b.boxes_xyxy) and a.kept == b.kept
    assert len({a.picture.numpy().tobytes() for a in first}) == 12


def test_crowds_are_left_out_and_the_places_of_the_others_are_told():
    objects = [found("a", (1, 1, 5, 5), crowd=True), found("b", (2, 2, 9, 9)), found("c", (3, 3, 3, 8)), found("d", (4, 4, 99, 99))]
    framed = boxes.test_boxes({**red_square(), "objects": objects}, BoxView(50))
    assert (framed.labels, framed.kept) == (("b", "d"), (1, 3))
    assert framed.boxes_xyxy.tolist() == [[2, 2, 9, 9], [4, 4, 70, 50]]  # cut off at the edge
    assert len(framed.masks) == 2


def test_a_cut_takes_the_area_of_what_is_left_and_drops_what_is_not_there():
    objects = [found("a", (0, 0, 20, 20), area=123.0), found("b", (60, 40, 70, 50)), found("c", (30, 0, 31, 20))]
    whole = objects_of({**red_square(), "objects": objects}, (70, 50))
    cut = moved(whole, Crop(left=10, top=5, width=20, height=30))
    assert (cut.boxes_xyxy.tolist(), cut.area.tolist(), cut.kept, cut.size) == ([[0, 0, 10, 15]], [150], (0,), (20, 30))


def test_a_cut_that_leaves_no_object_still_trains():
    example = red_square(box=(0, 0, 2, 2))
    empty = [train_boxes(example, ALWAYS_CUT, seed) for seed in range(30)]
    bare = [framed for framed in empty if not framed.labels]
    assert bare and all(f.boxes_xyxy.shape == (0, 4) and f.area.shape == (0,) and f.kept == () for f in bare)
    assert all(f.masks.shape == (0, *f.picture.shape[1:]) for f in bare)


def test_a_picture_without_objects_or_of_which_nothing_is_told_has_a_view():
    picture = red_square()["image"]
    for example in ({"id": "1", "image": picture, "objects": []}, {"id": "1", "image": picture}):
        framed = train_boxes(example, SMALL, 3)
        assert (framed.boxes_xyxy.shape, framed.masks, framed.size_hw) == ((0, 4), None, (50, 70))


def test_two_mirrors_are_none():
    whole = objects_of(red_square(), (70, 50))
    once = moved(whole, Mirror())
    assert once.boxes_xyxy.tolist() == [[10, 10, 30, 34]]
    assert moved(once, Mirror()).boxes_xyxy.equal(whole.boxes_xyxy)


# ---- what is drawn ------------------------------------------------------------------------------------------------


def test_the_draws_have_the_papers_shares_and_bounds():
    view = BoxTrainView()
    plans = [draw_steps((640, 480), view, random.Random(seed)) for seed in range(2000)]
    assert np.mean([Mirror() in plan for plan in plans]) == pytest.approx(0.5, abs=0.04)
    cuts = [step for plan in plans for step in plan if isinstance(step, Crop)]
    assert len(cuts) / len(plans) == pytest.approx(0.5, abs=0.04)
    assert {min(cut.width for cut in cuts), min(cut.height for cut in cuts)} == {384}
    assert max(cut.width for cut in cuts) == 600 and max(cut.height for cut in cuts) == 600
    before = [plan[plan.index(cut) - 1] for plan in plans for cut in plan if isinstance(cut, Crop)]
    assert {size.height for size in before} == {400, 500, 600}
    assert {min(plan[-1]) for plan in plans if len(plan) <= 2} == set(range(480, 801, 32))
    assert max(max(plan[-1]) for plan in plans) <= 1333


def test_a_short_side_that_gives_way_is_rounded_and_the_long_one_cut():
    # 1333 * 213 / 640 = 443.6 becomes 444, and 444 * 640 / 213 = 1334.1 becomes 1334, as in DETR's own rule
    assert resized_size((640, 213), 800, 1333) == (1334, 444)
    assert resized_size((213, 640), 800, 1333) == (444, 1334)
    assert resized_size((640, 213), 400, 1333) == (1201, 400)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**31))
def test_a_part_lies_in_its_picture_whatever_the_shape(width, height, seed):
    size = (width, height)
    for step in draw_steps(size, BoxTrainView(crop_prob=1.0), random.Random(seed)):
        if isinstance(step, Crop):
            assert min(step.left, step.top) >= 0 and min(step.width, step.height) > 0
            assert step.left + step.width <= size[0] and step.top + step.height <= size[1]
            size = (step.width, step.height)
        elif isinstance(step, Resize):
            size = tuple(step)
    assert max(size) <= 1333 + max(size) / min(size) and min(size) >= 1


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 2), (3, 800)])
def test_a_picture_of_any_shape_has_views(width, height):
    example = {"id": "thin", "image": encoded(np.full((height, width, 3), 7, np.uint8)), "objects": [found("all", (0, 0, width, height))]}
    for framed in (boxes.test_boxes(example, BoxView()), *(train_boxes(example, BoxTrainView(crop_prob=1.0), seed) for seed in range(2))):
        assert (framed.picture == 7).all() and max(framed.picture.shape[1:]) <= 2500
        assert framed.boxes_xyxy[0].tolist() == pytest.approx([0, 0, framed.picture.shape[2], framed.picture.shape[1]])


def test_a_part_of_a_long_strip_takes_little_memory():
    objects = [found("all", (0, 0, 1, 200_000))]
    example = {"id": "thin", "image": encoded(np.full((200_000, 1, 3), 7, np.uint8)), "objects": objects}
    framed = train_boxes(example, BoxTrainView(crop_prob=1.0), 0)  # resized as a whole it would take a hundred gigabytes and more
    assert (framed.picture == 7).all() and framed.masks.shape == (1, *framed.picture.shape[1:])


def test_a_part_of_a_strip_is_the_same_as_cut_from_the_whole():
    array = np.random.default_rng(0).integers(0, 256, (30, 400, 3), np.uint8)
    steps = [Resize(800, 60), Crop(left=333, top=7, width=50, height=40)]
    whole = np.asarray(Image.fromarray(array).resize((800, 60), Image.Resampling.BILINEAR))[7:47, 333:383]
    assert np.abs(boxes.shown(look(encoded(array)), steps).astype(int) - whole).max() <= 1


# ---- pixels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("width", "height"), [(803, 601), (800, 605), (606, 810)])
def test_a_large_jpeg_decoded_smaller_shows_the_same_at_the_same_places(width, height, mirrored):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = np.stack([128 + 100 * np.sin(x / 31 + k) * np.cos(y / 27) for k in range(3)], -1)
    picture = encoded(waves.astype(np.uint8), "JPEG", quality=95)
    steps = [*([Mirror()] if mirrored else []), Resize(*resized_size((width, height), 100))]
    assert look(picture).scale(200) == 2
    quick, exact = (boxes.shown(look(picture), steps, exact).astype(int) for exact in (False, True))
    assert quick.shape == exact.shape and np.abs(quick - exact).mean() < 0.8  # a shift by half a pixel would give 7


def test_a_turned_picture_is_upright_and_annotations_for_the_stored_one_are_refused():
    array = np.zeros((30, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    example = {"id": "set:9", "image": encoded(array, "JPEG", exif=exif), "objects": []}
    assert boxes.test_boxes(example, BoxView(30)).size_hw == (60, 30)
    told = r"set:9: the picture is 30 x 60 pixels and its boxes are for 60 x 30; it is turned by its EXIF block"
    with pytest.raises(BadData, match=told):
        boxes.test_boxes({**example, "width": 60, "height": 30}, BoxView(30))


def test_annotations_for_another_size_are_refused_naming_the_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(red_square()["image"])
    example = {**red_square(), "image": str(tmp_path / "a.png"), "width": 640, "height": 480}
    for view in (lambda: boxes.test_boxes(example, BoxView()), lambda: train_boxes(example, SMALL, 0)):
        with pytest.raises(BadData, match=r"a.png: the picture is 70 x 50 pixels and its boxes are for 640 x 480; give the annotations"):
            view()


def test_an_object_without_outline_among_others_with_is_named():
    objects = [found("a", (1, 1, 9, 9), id=3), found("b", (1, 1, 9, 9), id=4)]
    del objects[1]["segmentation"]
    with pytest.raises(BadData, match=r"x:1: object 4 has no segmentation and others have; read without \?masks=yes"):
        boxes.test_boxes({**red_square(), "objects": objects}, BoxView())
    objects[1]["segmentation"] = [[1, 2]]
    with pytest.raises(BadData, match=r"x:1: object 4: the polygon \[1, 2\] is no list"):
        boxes.test_boxes({**red_square(), "objects": objects}, BoxView())


def test_a_corruption_is_that_of_the_resized_picture_and_moves_no_box():
    example, view = red_square(), BoxView(64)
    clean = boxes.test_boxes(example, view)
    spoiled = boxes.test_boxes({**example, "corruption": {"kind": "gaussian_noise", "severity": 3, "seed": 11}}, view)
    assert spoiled.picture.equal(corrupt_images(rearrange(clean.picture, "c h w -> 1 c h w"), "gaussian_noise", 3, [11])[0])
    assert not spoiled.picture.equal(clean.picture) and spoiled.boxes_xyxy.equal(clean.boxes_xyxy)
    tiny = {**example, "corruption": {"kind": "fog", "severity": 1, "seed": 0}}
    with pytest.raises(BadData, match=r"x:1: 28 x 20 pixels once resized; corruptions are for pictures of 32 pixels"):
        boxes.test_boxes(tiny, BoxView(20))


def test_pictures_lie_in_memory_as_decoders_leave_them():
    for framed in (boxes.test_boxes(red_square(), BoxView(60)), train_boxes(red_square(), ALWAYS_CUT, 1)):
        assert rearrange(framed.picture, "c h w -> h w c").is_contiguous()
        assert framed.picture.dtype == torch.uint8
