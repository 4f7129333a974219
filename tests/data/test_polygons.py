"""Masks: polygons and run lengths agree with pycocotools, and a stranger's code that does not fit is refused before it is followed."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from pellucid.data.polygons import to_codes, to_masks
from pellucid.errors import BadData

SQUARE = [[1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0]]


def test_a_square_from_1_to_4_covers_three_columns_of_two_pixels():
    assert to_masks([SQUARE], 5, 6)[0].int().tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_runs_are_counted_down_the_columns_beginning_with_pixels_that_are_off():
    found = to_masks([{"size": [2, 3], "counts": [1, 2, 3]}, {"size": [2, 3], "counts": [0, 6]}], 2, 3)
    assert found.int().tolist() == [[[0, 1, 0], [1, 0, 0]], [[1, 1, 1], [1, 1, 1]]]


def test_an_object_of_two_polygons_covers_both():
    apart = [[8.0, 1.0, 9.0, 1.0, 9.0, 3.0, 8.0, 3.0]]
    both = to_masks([SQUARE + apart], 5, 10)
    assert both.equal(to_masks([SQUARE], 5, 10) | to_masks([apart], 5, 10))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([0.0, 0.02, 0.5, 1.0]), st.integers(0, 2**31))
def test_codes_are_those_of_pycocotools_and_lead_back(height, width, share, seed):
    masks = torch.from_numpy(np.random.default_rng(seed).random((3, height, width)) < share)
    codes = to_codes(masks)
    for mask, code in zip(masks, codes, strict=True):
        theirs = coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
        assert code == {"size": [height, width], "counts": theirs["counts"].decode()}
    assert json.loads(json.dumps(codes)) == codes
    assert to_masks(codes, height, width).equal(masks)


def test_outlines_of_real_objects_are_painted_as_by_pycocotools(shared):
    tree = json.loads((shared / "data/coco128/annotations/polygons_val2017.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in tree["images"]}
    for a in tree["annotations"][::4]:
        size = sizes[a["image_id"]]
        theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(a["segmentation"], *size))).astype(bool)
        assert np.array_equal(to_masks([a["segmentation"]], *size)[0].numpy(), theirs), a["id"]


def test_no_objects_have_no_masks():
    assert to_masks([], 4, 5).shape == (0, 4, 5)
    assert to_codes(torch.zeros(0, 4, 5, dtype=torch.bool)) == []


@pytest.mark.parametrize(
    ("segmentation", "told"),
    [
        ({"size": [3, 2], "counts": [6]}, r"the run-length code is of \[3, 2\]; the picture is 2 high and 3 wide"),
        ({"size": [2, 3], "counts": [7]}, r"'\[7\]' does not add up to the picture's 2 x 3 pixels"),
        ({"size": [2, 3], "counts": [-1, 7]}, "does not add up"),
        ({"size": [2, 3], "counts": [0.5]}, "does not add up"),
        ({"size": [2, 3], "counts": "7000"}, "does not add up"),
        ({"size": [2, 3], "counts": "oooooooooooooooooo0"}, "does not add up"),  # a number longer than any picture needs
        ({"size": [2, 3], "counts": "PPPPPPPPPPPP4" * 3 + "6"}, "does not add up"),  # in 64 bits it would: 4 * 2 ** 62 + 6
        ({"size": [2, 3], "counts": "o"}, "does not add up"),  # the number never ends
        ({"size": [2, 3], "counts": "é"}, "does not add up"),
        ({"size": [2, 3]}, "'None' does not add up"),
        (None, r"the segmentation is 'None'; expected a list of polygons \[x, y, x, y, ...\] or a run-length code"),
        ([], "expected a list of polygons"),
        ([[1, 2, 3, 4]], r"the polygon \[1, 2, 3, 4\] is no list of three or more corners x, y"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three or more corners"),
        ([[1, 2, 3, 4, 5, float("nan")]], "three or more corners"),
        ([[1, 2, 3, 1e9, 2, 1]], r"a corner of the polygon lies at 1e\+09 in a picture of 3 x 2"),
        ([[-9, 2, 3, 1, 2, 1]], "a corner of the polygon lies at -9"),
    ],
)
def test_what_is_no_mask_of_the_picture_is_refused_by_name(segmentation, told):
    with pytest.raises(BadData, match=told) as caught:
        to_masks([{"size": [2, 3], "counts": [6]}, segmentation], 2, 3, ["annotation 1", "annotation 2"])
    assert str(caught.value).startswith("annotation 2: ")
