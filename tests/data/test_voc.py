"""PASCAL VOC: a class of difficult objects alone counts neither way; pixels are counted from 1 in its files."""

import logging

import pytest

from pellucid.data.read import read
from pellucid.data.voc import CLASSES
from pellucid.errors import BadData, UnsafeInput
from pellucid.recipe import Data

OBJECT = "<object><name>{}</name><difficult>{}</difficult><truncated>1</truncated><part><bndbox><xmin>1</xmin></bndbox></part>{}</object>"
BOX = "<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>"
PAGE = "<annotation><size><width>40</width><height>30</height><depth>3</depth></size>{}</annotation>"


def lay(root, states: dict[str, str], objects: dict[str, str] | None = None, pictures: str = "01 02") -> str:
    """A VOC folder: `states` are the lines of class files, `objects` the XML of pictures."""
    for folder in ("ImageSets/Main", "JPEGImages", *(("Annotations",) if objects else ())):
        (root / folder).mkdir(parents=True, exist_ok=True)
    names = pictures.split()
    (root / "ImageSets/Main/trainval.txt").write_text("\n".join(names) + "\n")
    for label, text in states.items():
        (root / f"ImageSets/Main/{label}_trainval.txt").write_text(text)
    for name in names:
        (root / f"JPEGImages/{name}.jpg").write_bytes(b"x")
    for name, text in (objects or {}).items():
        (root / f"Annotations/{name}.xml").write_text(text)
    return f"voc:{root}"


def all_states(**special: str) -> dict[str, str]:
    return dict.fromkeys(CLASSES, "01 -1\n02 -1\n") | special


def test_one_is_present_zero_unknown_and_minus_one_absent(tmp_path):
    first, second = read(Data(lay(tmp_path, all_states(dog="01  1\n02 -1\n", cat="01  0\n02 1\n"))))
    assert (first["labels"], first["unknown"], second["labels"], second["unknown"]) == (["dog"], ["cat"], ["cat"], [])
    assert first["classes"] == CLASSES and len(CLASSES) == 20 and "objects" not in first
    assert first["image"] == f"{tmp_path}/JPEGImages/01.jpg"


def test_objects_run_from_zero_to_the_far_edge_of_their_last_pixel(tmp_path):
    page = PAGE.format(OBJECT.format("dog", 0, BOX) + OBJECT.format("cat", 1, BOX))
    row = read(Data(lay(tmp_path, all_states(), {"01": page, "02": PAGE.format("")})))[0]
    assert (row["width"], row["height"]) == (40, 30)
    assert row["objects"][0] == {
        **{"label": "dog", "box_xyxy": [0, 10, 40, 30], "area": 800, "crowd": False},
        **{"difficult": False, "truncated": True, "id": 1},
    }
    assert row["objects"][1]["difficult"]


def test_objects_and_pictures_of_a_set_are_numbered_from_one(tmp_path):
    page = PAGE.format(OBJECT.format("dog", 0, BOX) + OBJECT.format("cat", 1, BOX))
    rows = read(Data(lay(tmp_path, all_states(), {"01": page, "02": page})))
    assert [row["image_id"] for row in rows] == [1, 2]
    assert [o["id"] for row in rows for o in row["objects"]] == [1, 2, 3, 4]
    assert dict(zip(rows[0]["classes"], rows[0]["category_ids"], strict=True)) == {name: i + 1 for i, name in enumerate(CLASSES)}


def test_an_object_on_the_pixel_past_the_edge_is_left_out(tmp_path, caplog):
    past = BOX.replace("<xmin>1<", "<xmin>41<").replace("<xmax>40<", "<xmax>41<")
    page = PAGE.format(OBJECT.format("dog", 0, past) + OBJECT.format("cat", 0, BOX))
    with caplog.at_level(logging.WARNING, "pellucid"):
        row = read(Data(lay(tmp_path, all_states(), {"01": page, "02": PAGE.format("")})))[0]
    assert [o["label"] for o in row["objects"]] == ["cat"]
    assert "01.xml: 1 objects lie past the edge of the picture and are left out" in caplog.text


def test_without_class_lists_the_objects_tell(tmp_path):
    two_cats = OBJECT.format("cat", 1, BOX) + OBJECT.format("cat", 0, BOX) + OBJECT.format("dog", 1, BOX)
    row = read(Data(lay(tmp_path, {}, {"01": PAGE.format(two_cats), "02": PAGE.format("")})))[0]
    assert (row["labels"], row["unknown"]) == (["cat"], ["dog"])
    assert row["classes"] == CLASSES
    lay(tmp_path, {}, {"02": PAGE.format(OBJECT.format("zebra", 0, BOX))})
    assert read(Data(f"voc:{tmp_path}"))[0]["classes"] == ("cat", "dog", "zebra")


def test_the_year_is_found_inside_the_kit(tmp_path):
    for year in ("2007", "2012"):
        lay(tmp_path / f"VOCdevkit/VOC{year}", all_states())
    assert read(Data(f"voc:{tmp_path}?year=2007"))[0]["id"] == "VOC2007:01"
    assert read(Data(f"voc:{tmp_path}/VOCdevkit?year=2012&set=trainval"))[0]["id"] == "VOC2012:01"
    with pytest.raises(BadData, match=r"several years; choose one with \?year=, of 2007, 2012"):
        read(Data(f"voc:{tmp_path}"))
    with pytest.raises(BadData, match=r"no file .*test.txt; choose one with \?set=, of trainval"):
        read(Data(f"voc:{tmp_path}?year=2007&set=test"))


def test_several_years_are_one_set_counted_through(tmp_path):
    page = PAGE.format(OBJECT.format("dog", 0, BOX))
    for year in ("2007", "2012"):
        lay(tmp_path / f"VOC{year}", all_states(), {"01": page, "02": page})
    rows = read(Data(f"voc:{tmp_path}?year=2007,2012"))
    assert [row["id"] for row in rows] == ["VOC2007:01", "VOC2007:02", "VOC2012:01", "VOC2012:02"]
    assert [row["image_id"] for row in rows] == [1, 2, 3, 4]
    assert [o["id"] for row in rows for o in row["objects"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("01 1\n02 2\n", r"dog_trainval.txt line 2: '02 2'; expected a picture's name and -1, 0 or 1"),
        ("01 1\n03 1\n", r"dog_trainval.txt line 2: picture 03 is not in the set"),
        ("01 1\n", r"dog_trainval.txt: picture 02 is missing, which the set has \(1 in all\)"),
    ],
)
def test_lists_that_contradict_each_other_are_told(tmp_path, text, told):
    with pytest.raises(BadData, match=told):
        read(Data(lay(tmp_path, all_states(dog=text))))


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("<annotation>", r"01.xml: not XML"),
        (PAGE.format(OBJECT.format("dog", 0, BOX.replace("40", "nought"))), r"01.xml: bndbox/xmax is 'nought'; expected a number"),
        (PAGE.format(OBJECT.format("dog", 0, BOX.replace("40", "90"))), "object 'dog' has the box 1, 11, 90, 30 in a picture of 40 x 30"),
        (PAGE.format(OBJECT.format("dog", 0, BOX.replace("40", "nan"))), r"01.xml: bndbox/xmax is 'nan'"),
        (PAGE.format(OBJECT.format("dog", 0, "")), r"01.xml: no bndbox/xmin; expected a number"),
    ],
)
def test_a_damaged_annotation_is_named(tmp_path, page, told):
    with pytest.raises(BadData, match=told):
        read(Data(lay(tmp_path, all_states(), {"01": page, "02": PAGE.format("")})))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_an_annotation_that_defines_entities_is_refused_unread(tmp_path, encoding):
    bomb = '<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>' + PAGE.format(OBJECT.format("&y;", 0, BOX))
    source = lay(tmp_path, all_states(), {"02": PAGE.format("")})
    (tmp_path / "Annotations/01.xml").write_bytes(bomb.encode(encoding))
    with pytest.raises(UnsafeInput, match=r"01.xml: defines a document type; refused"):
        read(Data(source))


def test_missing_files_are_named(tmp_path):
    source = lay(tmp_path, all_states(), {"02": PAGE.format("")})
    with pytest.raises(BadData, match=r"no file .*01.xml"):
        read(Data(source))
    lay(tmp_path, {}, {"01": PAGE.format("")})
    (tmp_path / "JPEGImages/02.jpg").unlink()
    with pytest.raises(BadData, match=r":02: no file .*02.jpg; 1 of 2"):
        read(Data(source))
    assert len(read(Data(source + "?missing=skip"))) == 1
