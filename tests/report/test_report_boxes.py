"""Boxes on pictures: where they are told, seen on any ground, coloured by class, named within the picture."""

from itertools import pairwise

import numpy as np
import pytest
from faster_coco_eval.core import mask as rle
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pellucid.report import boxes, colour, letters
from pellucid.report.boxes import Thing

LABELS = ("cat", "dog", "bird")


def plain(value=128, size=(200, 120)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


def changed(picture, image) -> np.ndarray:
    return (np.asarray(picture.convert("RGB")) != np.asarray(image)).any(-1)


def untagged(monkeypatch):
    monkeypatch.setattr(boxes, "_tags", lambda *_: None)


def test_a_frame_lies_on_the_edge_of_its_box_in_its_classes_colour(monkeypatch):
    untagged(monkeypatch)
    picture = plain()
    image = boxes.drawn(picture, [Thing("dog", (20, 30, 80, 90), 0.9)], LABELS)
    ys, xs = np.nonzero((np.asarray(image) == boxes.colour_of("dog", LABELS)).all(-1))
    assert (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == (20, 80, 30, 90)
    inside = np.asarray(image)[35:85, 25:75]
    assert (inside == 128).all() and picture.getcolors() == [(200 * 120, (128, 128, 128))]  # the picture given stays as it is


def test_what_has_no_frame_is_outlined_where_its_mask_ends_inside_the_picture():
    mask = np.zeros((120, 200), bool)
    mask[:, :50] = True
    thing = Thing("dog", (25, 60, 25, 60), None, mask, framed=False, named=False)
    for times in (1, 3):
        image = np.asarray(boxes.drawn(plain(), [thing], LABELS, times)).astype(int)
        paint, last = np.array(boxes.colour_of("dog", LABELS)), 50 * times
        assert (image[:, last - 1] == paint).all() and (image[:, last + 2 * times :] == 128).all()
        assert np.abs(image[:, : last - 10 * times] - (128 + paint) / 2).max() <= 1


def test_what_is_not_named_has_no_tag_and_what_has_no_frame_may_have_one():
    picture, place = plain(), (25, 60, 25, 60)
    assert not changed(picture, boxes.drawn(picture, [Thing("dog", place, framed=False, named=False)], LABELS)).any()
    ys, xs = np.nonzero(changed(picture, boxes.drawn(picture, [Thing("dog", place, framed=False)], LABELS)))
    assert xs.min() == 25 and ys.max() < 60


@given(st.lists(st.tuples(*[st.floats(-60, 260) | st.sampled_from([float("nan"), float("inf")])] * 4), max_size=4))
def test_any_box_is_drawn_within_the_picture_or_left_out(found):
    picture = plain()
    image = boxes.drawn(picture, [Thing("dog", box, 0.5) for box in found], LABELS)
    assert image.size == picture.size
    seen = [box for box in found if np.isfinite(box).all() and _meets(box)]
    assert changed(picture, image).any() == bool(seen)


def _meets(box):
    left, right = sorted((box[0], box[2]))
    top, bottom = sorted((box[1], box[3]))
    return right >= 0 and left <= 200 and bottom >= 0 and top <= 120


@pytest.mark.parametrize("value", [0, 90, 128, 200, 255])
@pytest.mark.parametrize("label", LABELS)
def test_a_frame_stands_out_on_any_ground(value, label):
    image = np.asarray(boxes.drawn(plain(value), [Thing(label, (20, 30, 80, 90))], LABELS))
    ground = colour.oklab(np.full(3, value / 255))
    line = image[60, 17:24] / 255  # across the left side
    assert np.linalg.norm(colour.oklab(line) - ground, axis=1).max() > 0.25  # 0.02 is just noticeable


def test_a_class_keeps_its_colour_and_neighbours_differ():
    names = tuple(f"class {i}" for i in range(91))
    tones = [colour.oklab(np.array(boxes.colour_of(name, names)) / 255) for name in names]
    assert boxes.colour_of("dog") == boxes.colour_of("dog", ("cat",)) != boxes.colour_of("cat")  # outside the list its letters tell
    assert min(np.linalg.norm(a - b) for a, b in pairwise(tones)) > 0.1
    assert len({tuple(np.round(tone, 3)) for tone in tones}) == 91


@pytest.mark.parametrize("label", ["dog", "σκύλος", "собака", "犬", "x" * 300, "a\nb\t\x00c", "\ud83d", ""])
def test_any_name_becomes_a_tag_within_the_picture(label):
    picture = plain()
    image = boxes.drawn(picture, [Thing(label, (150, 2, 198, 60), 0.87)], LABELS)
    paint = (np.asarray(image) == boxes.colour_of(label, LABELS)).all(-1)
    assert image.size == picture.size and paint.sum() > 100
    assert letters.clean(Thing(label, (0, 0, 1, 1), 0.87).caption).endswith("0.87")


@pytest.mark.parametrize("paint", [(255, 255, 0), (0, 0, 160), (255, 255, 255), (0, 0, 0), (200, 60, 60)])
def test_letters_on_a_tag_keep_the_contrast_that_wcag_asks(paint):
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    one, other = sorted((luminance(paint), luminance(boxes.ink_on(paint))))
    assert (other + 0.05) / (one + 0.05) >= 4.5


def test_tags_of_boxes_in_one_place_do_not_hide_each_other():
    taken = []
    for _ in range(3):
        taken.append(boxes._free((60.0, 14.0), (40.0, 40.0, 160.0, 100.0), (200, 120), taken))
    pairs = [(a, b) for i, a in enumerate(taken) for b in taken[:i]]
    assert all(boxes._overlap(a, b) == 0 for a, b in pairs)
    assert taken[0][3] == 40  # above its box first


def test_lines_and_letters_grow_with_the_picture():
    small, large = (
        boxes.drawn(plain(size=size), [Thing("dog", (0.2 * size[0], 0.3 * size[1], 0.8 * size[0], 0.9 * size[1]))])
        for size in ((600, 400), (3000, 2000))
    )
    share = [changed(plain(size=image.size), image).mean() for image in (small, large)]
    assert share[0] == pytest.approx(share[1], rel=0.5)


def test_a_mask_veils_its_own_pixels_alone(monkeypatch):
    untagged(monkeypatch)
    from faster_coco_eval.core import mask as rle

    wanted = np.zeros((120, 200), dtype=np.uint8)
    wanted[50:70, 90:130] = 1
    code = rle.encode(np.asfortranarray(wanted))
    for counts in (code["counts"], code["counts"].decode()):
        image = boxes.drawn(
            plain(),
            [Thing("dog", (300, 300, 310, 310), mask=None), Thing("dog", (10, 10, 30, 30), 0.5, {"size": [120, 200], "counts": counts})],
            LABELS,
        )
        seen = changed(plain(), image)
        seen[8:32, 8:32] = False  # the frame
        np.testing.assert_array_equal(seen, wanted.astype(bool))
        middle = np.asarray(image)[60, 110]
        np.testing.assert_allclose(middle, (np.array(boxes.colour_of("dog", LABELS)) + 128) / 2, atol=1)


def test_a_mask_of_another_size_is_told():
    from faster_coco_eval.core import mask as rle

    code = rle.encode(np.zeros((10, 20), dtype=np.uint8, order="F"))
    with pytest.raises(ValueError, match="a mask of 10 x 20 on a picture of 120 x 200"):
        boxes.drawn(plain(), [Thing("dog", (10, 10, 30, 30), 0.5, code)])


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_oklab_and_back_is_the_same_colour(rgb):
    shares = np.array(rgb) / 255
    np.testing.assert_allclose(colour.srgb(colour.oklab(shares)), shares, atol=1e-4)


def test_boxes_are_enlarged_with_their_picture(monkeypatch):
    untagged(monkeypatch)
    mask = {"size": [12, 20], "counts": rle.encode(np.ones((12, 20), dtype=np.uint8, order="F"))["counts"]}
    image = boxes.drawn(plain(size=(20, 12)), [Thing("dog", (2, 3, 8, 9), 0.9, mask)], LABELS, 10)
    ys, xs = np.nonzero((np.asarray(image) == boxes.colour_of("dog", LABELS)).all(-1))
    assert image.size == (200, 120) and (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == (20, 80, 30, 90)
