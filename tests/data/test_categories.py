"""Classes have the names and numbers that their data sets give them."""

import json

import pytest

from pellucid.data.categories import categories
from pellucid.errors import BadData, BadUsage


def test_cocos_classes_are_numbered_with_gaps():
    things, all_of_them = categories("coco"), categories("coco-panoptic")
    assert len(things) == 80 and things[1] == "person" and things[90] == "toothbrush" and things[13] == "stop sign"
    assert not things.keys() & {0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    assert len(all_of_them) == 133 and things.items() <= all_of_them.items() and all_of_them[200] == "rug-merged"
    assert list(all_of_them) == sorted(all_of_them)


def test_cocos_classes_are_those_of_its_files(shared):
    instances = json.loads((shared / "data/coco128/annotations/instances_val2017.json").read_text())
    panoptic = json.loads((shared / "data/coco128/panoptic_segmentation/annotations/panoptic_val2017.json").read_text())
    for name, tree in (("coco", instances), ("coco-panoptic", panoptic)):
        assert categories(name) == {c["id"]: c["name"] for c in tree["categories"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps({"categories": [{"id": 7, "name": "dog"}, {"id": 2, "name": "cat"}]})),
        ("config.json", json.dumps({"id2label": {"2": "cat", "0": "N/A", "7": "dog"}})),
    ],
)
def test_a_file_gives_names_by_number_in_the_numbers_order(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert list(categories(str(tmp_path / name)).items()) == [(2, "cat"), (7, "dog")]


def test_a_text_gives_a_name_on_each_line(tmp_path):
    (tmp_path / "names.txt").write_text("hot dog\n\ncat\n")
    assert categories(str(tmp_path / "names.txt")) == {0: "hot dog", 1: "cat"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "no classes; expected COCO's list"),
        ("{", "no classes; expected COCO's list"),
        ('{"categories": [{"id": 1}]}', "no classes; expected COCO's list"),
        ('{"categories": []}', "no classes"),
        ('{"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "two categories have the id 1"),
        ('{"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}', "two classes are called 'a'"),
        ('{"id2label": {"1": 5}}', "class 1 is called 5"),
        ('{"id2label": {"-1": "a"}}', "class -1 is called 'a'"),
    ],
)
def test_a_file_without_classes_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BadData, match=message):
        categories(str(tmp_path / "a.json"))


def test_a_name_that_is_near_is_told():
    with pytest.raises(BadUsage, match="classes 'coc': no such file; did you mean 'coco'"):
        categories("coc")
