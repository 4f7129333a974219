"""NUS-WIDE's table of tags and Open Images' verified labels."""

import pytest

from pellucid.data.read import read
from pellucid.errors import BadData, UnsafeInput
from pellucid.recipe import Data

TABLE = 'filepath,label,split_name\n"d/1.jpg","[\'sky\', \'clouds\']",train\nd/2.jpg,[],val\nd/3.jpg,"[map]",val\n'


def nuswide(root, table=TABLE, pictures=("1", "2", "3")) -> str:
    (root / "d").mkdir(exist_ok=True)
    (root / "n.csv").write_text(table)
    for name in pictures:
        (root / f"d/{name}.jpg").write_bytes(b"x")
    return f"nuswide:{root}/n.csv"


def test_every_split_has_the_classes_of_the_whole_table(tmp_path):
    source = nuswide(tmp_path)
    train, val = (read(Data(f"{source}?split={split}")) for split in ("train", "val"))
    assert train[0]["classes"] == val[0]["classes"] == ("clouds", "map", "sky")
    assert [row["labels"] for row in train + val] == [["clouds", "sky"], [], ["map"]]
    assert train[0]["image"] == f"{tmp_path}/d/1.jpg" and val[1]["id"] == "n.csv:3"


def test_the_order_of_the_classes_may_be_given(tmp_path):
    (tmp_path / "81.txt").write_text("sky\nclouds\nmap\nzebra\n")
    assert read(Data(f"{nuswide(tmp_path)}?classes={tmp_path}/81.txt"))[0]["labels"] == ["sky", "clouds"]
    (tmp_path / "81.txt").write_text("sky\nclouds\n")
    with pytest.raises(BadData, match="tag 'map' is not one of the 2"):
        read(Data(f"{nuswide(tmp_path)}?classes={tmp_path}/81.txt"))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (TABLE.replace("[map]", "map"), r"n.csv:3: expected a list like \['clouds', 'sky'\], found 'map'"),
        ("a\nb\n", r"the columns are a; expected path, labels and split"),
        (TABLE.replace("d/2", "d/9"), r"n.csv:2: no file .*9.jpg; 1 of 3 pictures are missing"),
    ],
)
def test_a_row_of_another_kind_is_named(tmp_path, table, told):
    with pytest.raises(BadData, match=told):
        read(Data(nuswide(tmp_path, table)))


def test_a_split_that_is_not_there_and_a_path_outside_are_refused(tmp_path):
    with pytest.raises(BadData, match="no row of split 'test'; there are train, val"):
        read(Data(nuswide(tmp_path) + "?split=test"))
    with pytest.raises(UnsafeInput, match="outside"):
        read(Data(nuswide(tmp_path, TABLE.replace("d/2", "../2"))))


# ---- Open Images --------------------------------------------------------------------------------------------------

NAMES = 'LabelName,DisplayName\n/m/1,Cat\n/m/2,Dog\n/m/3,"Tree, large"\n/m/4,Bat\n/m/5,Bat\n'
LABELS = """ImageID,Source,LabelName,Confidence
bb,verification,/m/2,1
bb,verification,/m/1,0
aa,verification,/m/3,1
bb,crowdsource-verification,/m/2,1
bb,crowdsource-verification,/m/3,1
bb,verification,/m/3,0
"""


def openimages(root, labels=LABELS, names=NAMES, pictures=("aa", "bb")) -> str:
    (root / "validation").mkdir(exist_ok=True)
    (root / "validation-annotations-human-imagelabels.csv").write_text(labels)
    (root / "class-descriptions.csv").write_text(names)
    for name in pictures:
        (root / f"validation/{name}.jpg").write_bytes(b"x")
    return f"openimages:{root}"


def test_verified_labels_are_present_or_absent_and_disagreement_is_neither(tmp_path):
    first, second = read(Data(openimages(tmp_path)))
    assert (first["id"], first["labels"], first["absent"]) == ("validation-annotations-human-imagelabels.csv:bb", ["Dog"], ["Cat"])
    assert (second["labels"], second["absent"]) == (["Tree, large"], [])
    assert first["classes"] == ("Cat", "Dog", "Tree, large", "Bat (/m/4)", "Bat (/m/5)")
    assert first["image"] == f"{tmp_path}/validation/bb.jpg"


def test_trainable_classes_leave_the_others_out(tmp_path):
    (tmp_path / "oidv6-classes-trainable.txt").write_text("/m/1\n/m/3\n")
    first, second = read(Data(openimages(tmp_path) + "?classes=trainable"))
    assert first["classes"] == ("Cat", "Tree, large")
    assert (first["labels"], first["absent"], second["labels"]) == ([], ["Cat"], ["Tree, large"])


def test_the_header_of_descriptions_may_be_missing_as_in_version_five(tmp_path):
    assert read(Data(openimages(tmp_path, names=NAMES.partition("\n")[2])))[0]["classes"][0] == "Cat"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": LABELS.replace("/m/1,0", "/m/1,0.3")}, "bb /m/1 has confidence 0.3; expected 0 or 1"),
        ({"labels": LABELS.replace("Confidence", "Conf")}, "expected columns ImageID, LabelName, Confidence"),
        ({"labels": LABELS.splitlines()[0] + "\n"}, "no rows"),
        ({"names": "/m/1,Cat,more\n"}, "expected a machine id and a name"),
        ({"pictures": ("aa",)}, r":bb: no file .*bb.jpg; 1 of 2 pictures are missing: add \?missing=skip"),
    ],
)
def test_a_file_of_another_kind_is_told(tmp_path, change, told):
    with pytest.raises(BadData, match=told):
        read(Data(openimages(tmp_path, **change)))


def test_a_missing_file_of_labels_names_what_it_may_be_called(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(BadData, match=r"no file train-annotations-human-imagelabels.csv or oidv6-train-annotations"):
        read(Data(f"openimages:{tmp_path}/x?split=train"))
