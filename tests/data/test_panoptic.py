"""COCO's panoptic format: segments are objects, things and stuff alike, and the pictures of segments agree with the file."""

import copy
import json

import numpy as np
import pytest
from PIL import Image

from pellucid.data.polygons import to_masks
from pellucid.data.read import read
from pellucid.errors import BadData, UnsafeInput
from pellucid.recipe import Data

DOG, GRASS, CROWD = 70_000, 5, 256  # ids of segments: all three channels are needed
SEGMENTS = [
    {"id": DOG, "category_id": 18, "iscrowd": 0, "bbox": [1, 1, 2, 3], "area": 6},
    {"id": GRASS, "category_id": 193, "iscrowd": 0, "bbox": [0, 0, 6, 5], "area": 20},
    {"id": CROWD, "category_id": 18, "iscrowd": 1, "bbox": [4, 0, 2, 1], "area": 2},
]
TREE = {
    "images": [{"id": 4, "file_name": "a.jpg", "width": 6, "height": 5}],
    "annotations": [{"image_id": 4, "file_name": "a.png", "segments_info": SEGMENTS}],
    "categories": [{"id": 193, "name": "grass", "isthing": 0}, {"id": 18, "name": "dog", "isthing": 1}],
}


def ids_map() -> np.ndarray:
    ids = np.full((5, 6), GRASS)
    ids[1:4, 1:3] = DOG
    ids[0, 4:] = CROWD
    ids[4, 4:] = 0
    return ids


def lay(root, tree=TREE, ids=None) -> str:
    (root / "annotations/panoptic_small").mkdir(parents=True, exist_ok=True)
    (root / "images/small").mkdir(parents=True, exist_ok=True)
    (root / "annotations/panoptic_small.json").write_text(json.dumps(tree))
    (root / "images/small/a.jpg").write_bytes(b"x")
    ids = ids_map() if ids is None else ids
    channels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(channels).save(root / "annotations/panoptic_small/a.png")
    return f"panoptic:{root}"


def changed(**values) -> dict:
    """The set with its first segment changed."""
    tree = copy.deepcopy(TREE)
    tree["annotations"][0]["segments_info"][0] |= values
    return tree


def test_segments_are_objects_of_things_and_of_stuff(tmp_path):
    (row,) = read(Data(lay(tmp_path)))
    assert (row["classes"], row["category_ids"], row["stuff"]) == (("dog", "grass"), (18, 193), ("grass",))
    assert [(o["label"], o["box_xyxy"], o["area"], o["crowd"], o["id"]) for o in row["objects"]] == [
        ("dog", [1, 1, 3, 4], 6, False, 1),
        ("grass", [0, 0, 6, 5], 20, False, 2),
        ("dog", [4, 0, 6, 1], 2, True, 3),
    ]
    assert row["panoptic"] == {
        "ids": f"{tmp_path}/annotations/panoptic_small/a.png",
        "segments": [
            {"id": DOG, "label": "dog", "thing": True, "crowd": False},
            {"id": GRASS, "label": "grass", "thing": False, "crowd": False},
            {"id": CROWD, "label": "dog", "thing": True, "crowd": True},
        ],
    }
    assert "segmentation" not in row["objects"][0]


def test_masks_are_the_pixels_of_each_segments_id(tmp_path):
    (row,) = read(Data(lay(tmp_path) + "?masks=yes"))
    masks = to_masks([o["segmentation"] for o in row["objects"]], 5, 6).numpy()
    assert all(np.array_equal(mask, ids_map() == segment) for mask, segment in zip(masks, (DOG, GRASS, CROWD), strict=True))


def test_labels_are_renamed_in_segments_too(tmp_path):
    (row,) = read(Data(lay(tmp_path), labels={"grass": "ground"}))
    assert row["stuff"] == ("ground",) and row["panoptic"]["segments"][1]["label"] == row["objects"][1]["label"] == "ground"


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        (changed(bbox=[1, 1, 90, 3]), r"segment 70000 of image 4: the box .* reaches over the edge"),
        (changed(category_id=3), "segment 70000 of image 4 is of category 3"),
        (changed(id="x"), "image 4 has the segment .*; expected an object with an id"),
        ({**TREE, "annotations": []}, "image 4 has no annotation, so no segments"),
        ({**TREE, "annotations": TREE["annotations"] * 2}, "two annotations are of image 4"),
        ({**TREE, "annotations": [{"image_id": 4, "bbox": [1, 2, 3, 4]}]}, "expected COCO's panoptic format"),
        ([], "expected COCO's panoptic format"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path, tree, told):
    with pytest.raises(BadData, match=told):
        read(Data(lay(tmp_path, tree)))


def test_pictures_of_segments_that_are_missing_or_contradict_the_file_are_named(tmp_path):
    source = lay(tmp_path, ids=np.where(ids_map() == DOG, GRASS, ids_map()))
    assert len(read(Data(source))) == 1  # not looked at unless masks are asked for
    with pytest.raises(BadData, match=r"a.png: no pixel is of segment 70000, which the file has"):
        read(Data(source + "?masks=yes"))
    lay(tmp_path, ids=ids_map()[:4])
    with pytest.raises(BadData, match=r"a.png: 6 x 4 pixels; its picture has 6 x 5"):
        read(Data(source + "?masks=yes"))
    (tmp_path / "annotations/panoptic_small").rename(tmp_path / "elsewhere")
    with pytest.raises(BadData, match=r"no file .*a.png; say where the segments' pictures are with \?segments=FOLDER"):
        read(Data(source))
    assert read(Data(source + f"?segments={tmp_path}/elsewhere"))[0]["panoptic"]["ids"] == f"{tmp_path}/elsewhere/a.png"


def test_a_picture_of_segments_outside_its_folder_is_refused(tmp_path):
    tree = {**TREE, "annotations": [{**TREE["annotations"][0], "file_name": "../../a.png"}]}
    with pytest.raises(UnsafeInput, match="leads outside"):
        read(Data(lay(tmp_path, tree)))


def test_real_segments_have_the_area_and_the_box_that_the_file_says(shared, tmp_path):
    place = shared / "data/coco128"
    pictures = place / "panoptic_segmentation/annotations/panoptic_val2017"
    tree = json.loads(pictures.with_suffix(".json").read_text())
    kept = {image["id"]: image for image in tree["images"] if (place / "images/val2017" / image["file_name"]).is_file()}
    few = dict(list(kept.items())[:5])
    annotations = [entry for entry in tree["annotations"] if entry["image_id"] in few]
    (tmp_path / "few.json").write_text(json.dumps({**tree, "images": list(few.values()), "annotations": annotations}))
    rows = read(Data(f"panoptic:{tmp_path}/few.json?images={place}/images/val2017&segments={pictures}&masks=yes"))
    assert len(rows) == 5
    for row in rows:
        masks = to_masks([o["segmentation"] for o in row["objects"]], row["height"], row["width"]).numpy()
        for found, mask in zip(row["objects"], masks, strict=True):
            down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert found["area"] == mask.sum()
            assert found["box_xyxy"] == [across[0], down[0], across[-1] + 1, down[-1] + 1]
