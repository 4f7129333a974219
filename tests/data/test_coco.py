"""COCO's instances: ids with gaps, objects by picture, and each way in which a file can be wrong."""

import copy
import json
import logging

import pytest

from pellucid.data.read import read
from pellucid.errors import BadData, UnsafeInput
from pellucid.recipe import Data

TREE = {
    "images": [{"id": 7, "file_name": "b.jpg", "width": 100, "height": 50}, {"id": 3, "file_name": "a.jpg", "width": 10, "height": 10}],
    "annotations": [
        {"id": 11, "image_id": 7, "category_id": 90, "bbox": [10, 20, 30, 5], "area": 80.5, "iscrowd": 0},
        {"id": 12, "image_id": 7, "category_id": 1, "bbox": [0, 0, 100.4, 50], "area": 5000, "iscrowd": 1},
        {"id": 10, "image_id": 7, "category_id": 90, "bbox": [1, 1, 1, 1], "area": 1},
    ],
    # written out of order and with gaps, as COCO's 80 classes lie in 1 to 90
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 13, "name": "stop sign"}],
}


def lay(root, tree=TREE, pictures=("a.jpg", "b.jpg")) -> str:
    (root / "annotations").mkdir(exist_ok=True)
    (root / "images/small").mkdir(parents=True, exist_ok=True)
    (root / "annotations/instances_small.json").write_text(json.dumps(tree))
    for name in pictures:
        (root / "images/small" / name).write_bytes(b"x")
    return f"coco:{root}"


def changed(part: str, index: int, **values) -> dict:
    tree = copy.deepcopy(TREE)
    tree[part][index] |= values
    return tree


def test_labels_come_in_the_order_of_category_ids_with_gaps(tmp_path):
    first, second = read(Data(lay(tmp_path)))
    assert first["classes"] == ("person", "stop sign", "toothbrush")
    assert first["labels"] == ["person", "toothbrush"] and second["labels"] == []
    assert first["category_ids"] == (1, 13, 90)
    assert (first["id"], first["image_id"], first["width"], first["height"]) == ("instances_small.json:7", 7, 100, 50)
    assert first["image"] == f"{tmp_path}/images/small/b.jpg"


def test_objects_have_corners_in_pixels_cut_off_at_the_edge(tmp_path):
    objects = read(Data(lay(tmp_path)))[0]["objects"]
    assert objects[0] == {"label": "toothbrush", "box_xyxy": [10, 20, 40, 25], "area": 80.5, "crowd": False, "id": 11}
    assert objects[1]["box_xyxy"] == [0, 0, 100, 50] and objects[1]["crowd"]
    assert "objects" not in read(Data(lay(tmp_path) + "?objects=drop"))[0]


def test_pictures_without_annotations_are_kept_unless_dropped(tmp_path):
    assert [row["image_id"] for row in read(Data(lay(tmp_path) + "?split=small&empty=drop"))] == [7]
    assert len(read(Data(lay(tmp_path)))) == 2


def test_missing_pictures_are_named_or_skipped(tmp_path, caplog):
    source = lay(tmp_path, pictures=("a.jpg",))
    with pytest.raises(BadData, match=r"instances_small.json:7: no file .*/b.jpg; 1 of 2 pictures are missing: add \?missing=skip"):
        read(Data(source))
    with caplog.at_level(logging.WARNING, "pellucid"):
        assert [row["image_id"] for row in read(Data(source + "?missing=skip"))] == [3]
    assert "1 of 2 pictures are missing and left out" in caplog.text
    (tmp_path / "images/small/a.jpg").unlink()
    with pytest.raises(BadData, match=r"none of the 2 pictures is there: say where they are with \?images=FOLDER"):
        read(Data(source + "?missing=skip"))


def test_pictures_are_found_where_the_usual_layouts_have_them(tmp_path):
    lay(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images/small" / name).rename(tmp_path / "elsewhere" / name)
    assert len(read(Data(f"coco:{tmp_path}/annotations/instances_small.json?images={tmp_path}/elsewhere"))) == 2
    (tmp_path / "elsewhere").rename(tmp_path / "small")
    (tmp_path / "images/small").rmdir()
    assert read(Data(f"coco:{tmp_path}"))[0]["image"] == f"{tmp_path}/small/b.jpg"
    (tmp_path / "annotations/instances_small.json").rename(tmp_path / "small/_annotations.coco.json")
    assert read(Data(f"coco:{tmp_path}"))[0]["id"] == "_annotations.coco.json:7"
    assert read(Data(str(tmp_path)))[0]["image_id"] == 7  # a bare folder is told by what it holds


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        (changed("annotations", 2, id=11), "two annotations have the id 11"),
        (changed("images", 1, id=7), "two images have the id 7"),
        (changed("categories", 1, id=90), "two categories have the id 90"),
        (changed("categories", 1, name="toothbrush"), "two categories are called 'toothbrush'"),
        (changed("annotations", 0, image_id=8), "annotation 11 is of image 8, which the file does not have"),
        (changed("annotations", 0, category_id=2), "annotation 11 is of category 2; there are 3 others"),
        (changed("annotations", 0, bbox=[0, 0, float("nan"), 5]), r"annotation 11: the box \[0, 0, nan, 5\] .* is not finite"),
        (changed("annotations", 0, bbox=[10, 20, -5, 5]), "annotation 11: .* has a negative side"),
        (changed("annotations", 0, bbox=[90, 20, 30, 5]), r"in a picture of 100 x 50 reaches over the edge; add \?boxes=clip"),
        (changed("annotations", 0, bbox=[200, 20, 3, 5]), "lies outside the picture"),
        (changed("annotations", 2, bbox=[1, 2, 3]), r"annotation 10 has the bbox \[1, 2, 3\]; expected \[x, y, width, height\]"),
        (changed("annotations", 2, bbox=None), "annotation 10 has the bbox None"),
        (changed("annotations", 2, id="x"), "annotation 3 has the id 'x'; expected an integer"),
        (changed("images", 1, width=0), "image 3 has the width 0; expected pixels"),
        (changed("images", 1, file_name=None), "image 3: expected the name of a picture file, found None"),
        (changed("annotations", 0, area=-1), "annotation 11 has the area -1; expected square pixels"),
        (changed("annotations", 0, area=float("nan")), "annotation 11 has the area nan"),
        (changed("categories", 0, name=""), "category 90 has the name ''"),
        ({"images": []}, "no list 'annotations'"),
        ([], "no list 'images'"),
        ({"images": [3], "annotations": [], "categories": []}, "images holds int"),
        ({"images": [], "annotations": [], "categories": []}, "no pictures"),
    ],
)
def test_what_is_wrong_is_named_by_its_id(tmp_path, tree, told):
    with pytest.raises(BadData, match=told) as caught:
        read(Data(lay(tmp_path, tree)))
    assert "\n" not in str(caught.value)


def test_a_box_without_an_area_counts_among_the_labels_and_is_no_object(tmp_path, caplog):
    tree = changed("annotations", 1, bbox=[5, 5, 0, 10])
    tree["annotations"][2]["bbox"] = [100, 3, 1, 1]  # of it nothing lies in the picture
    with caplog.at_level(logging.WARNING, "pellucid"):
        row = read(Data(lay(tmp_path, tree)))[0]
    assert [o["id"] for o in row["objects"]] == [11] and row["labels"] == ["person", "toothbrush"]
    assert "2 boxes have no width or no height and are left out, first that of annotation 12" in caplog.text


def test_a_box_whose_area_is_not_told_has_that_of_its_sides(tmp_path):
    tree = changed("annotations", 0, area=None)
    del tree["annotations"][2]["area"]
    assert [o["area"] for o in read(Data(lay(tmp_path, tree)))[0]["objects"]] == [150, 5000, 1]


def test_outlines_are_kept_where_asked_for(tmp_path):
    outline = [[10, 20, 40, 20, 40, 25]]
    source = lay(tmp_path, changed("annotations", 0, segmentation=outline))
    assert [o.get("segmentation") for o in read(Data(source + "?masks=yes"))[0]["objects"]] == [outline, None, None]
    assert not any("segmentation" in o for o in read(Data(source))[0]["objects"])


def boxed(*boxes) -> dict:
    """A set of one picture of 100 x 50 with these boxes."""
    annotations = [{"id": 20 + i, "image_id": 7, "category_id": 1, "bbox": list(box)} for i, box in enumerate(boxes)]
    return {**TREE, "annotations": annotations}


def test_corners_given_for_sizes_are_told_as_such_and_read_where_asked(tmp_path):
    corners = [[60, 10, 90, 40], [70, 30, 95, 45], [5, 5, 20, 15]]
    told = r"2 of 3 boxes, as \[60.0, 10.0, 90.0, 40.0\], reach over the edge, .* look like corners \(xyxy\); .* add \?format=xyxy"
    source = lay(tmp_path, boxed(*corners))
    for options in ("", "?boxes=clip"):  # cut off, they would be wrong boxes that nobody notices
        with pytest.raises(BadData, match=told):
            read(Data(source + options))
    assert [o["box_xyxy"] for o in read(Data(source + "?format=xyxy"))[0]["objects"]] == corners


def test_one_box_over_the_edge_among_many_is_told_for_itself(tmp_path):
    source = lay(tmp_path, boxed([5, 5, 20, 15], [5, 5, 20, 16], [60, 10, 90, 40]))
    with pytest.raises(BadData, match=r"annotation 22: .* reaches over the edge; add \?boxes=clip .*; or all these look like corners"):
        read(Data(source))
    source = lay(tmp_path, boxed([60, 10, 90, 40], [70, 30, 25, 12]))  # the second is surely not corners
    with pytest.raises(BadData, match=r"annotation 20: .* to cut such boxes off \(1 such boxes\)"):
        read(Data(source))


def test_corners_in_the_wrong_order_are_a_negative_side(tmp_path):
    with pytest.raises(BadData, match=r"annotation 20: .* has a negative side"):
        read(Data(lay(tmp_path, boxed([60, 10, 50, 40])) + "?format=xyxy"))


def test_fractions_of_the_picture_are_told_from_pixels(tmp_path):
    with pytest.raises(BadData, match=r"the boxes look like fractions of their pictures, as \[0.1, 0.2, 0.5, 0.25\]; COCO's are in pixels"):
        read(Data(lay(tmp_path, boxed([0.1, 0.2, 0.5, 0.25]))))
    assert len(read(Data(lay(tmp_path, boxed([0, 0, 1, 1]))))[0]["objects"]) == 1  # one whole pixel


def test_a_set_without_any_object_is_read(tmp_path):
    rows = read(Data(lay(tmp_path, boxed())))
    assert [row["objects"] for row in rows] == [[], []]


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "x.json").write_text("")
    with pytest.raises(BadData, match=r"x.json: not JSON"):
        read(Data(f"coco:{tmp_path}/x.json"))


def test_boxes_over_the_edge_are_cut_off_where_asked(tmp_path):
    rows = read(Data(lay(tmp_path, changed("annotations", 0, bbox=[90, 20, 30, 5])) + "?boxes=clip"))
    assert rows[0]["objects"][0]["box_xyxy"] == [90, 20, 100, 25]


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/secret.jpg", "c:\\secret.jpg", "x/../../s.jpg"])
def test_a_file_name_that_leads_outside_is_refused(tmp_path, name):
    with pytest.raises(UnsafeInput, match="leads outside the folder of pictures"):
        read(Data(lay(tmp_path, changed("images", 0, file_name=name))))


def test_a_split_must_be_chosen_where_there_are_several(tmp_path):
    lay(tmp_path)
    (tmp_path / "annotations/instances_big.json").write_text("{}")
    with pytest.raises(BadData, match=r"several splits; choose one with \?split=, of big, small"):
        read(Data(f"coco:{tmp_path}"))
    with pytest.raises(BadData, match="no split 'huge'; choose one"):
        read(Data(f"coco:{tmp_path}?split=huge"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match=r"no annotations/instances_SPLIT.json; or name the file: coco:FILE.json"):
        read(Data(f"coco:{tmp_path}/empty"))
    (tmp_path / "x.json").write_text('{"images": [')
    with pytest.raises(BadData, match=r"x.json: not JSON"):
        read(Data(f"coco:{tmp_path}/x.json"))


def test_labels_are_renamed_everywhere_and_may_become_one(tmp_path):
    row = read(Data(lay(tmp_path), labels={"toothbrush": "person"}))[0]
    assert (row["labels"], row["classes"]) == (["person"], ("person", "stop sign"))
    assert {o["label"] for o in row["objects"]} == {"person"}
    assert row["category_ids"] == (1, 13)  # of the two that became one, the first class's
    with pytest.raises(BadData, match="no label is 'tooth'; the values are person, stop sign, toothbrush"):
        read(Data(lay(tmp_path), labels={"tooth": "x"}))


def test_the_small_real_set_agrees_with_a_count_of_its_file(shared):
    place = shared / "data/coco128"
    tree = json.loads((place / "annotations/instances_train2017.json").read_text())
    rows = read(Data(f"coco:{place}?split=train2017"))
    names = {c["id"]: c["name"] for c in tree["categories"]}
    assert len(rows) == 128 and len(rows[0]["classes"]) == 80
    assert sum(len(row["objects"]) for row in rows) == len(tree["annotations"]) == 929
    pairs = {(a["image_id"], names[a["category_id"]]) for a in tree["annotations"]}
    assert {(row["image_id"], name) for row in rows for name in row["labels"]} == pairs
