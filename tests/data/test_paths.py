"""Tables that name pictures: paths from the table's folder, lists of labels, pictures inside Parquet."""

import pytest

from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data


def lay(root, table: str, name: str = "t.csv", pictures=("p/a.jpg", "p/b.png")) -> str:
    (root / name).write_text(table)
    for picture in pictures:
        (root / picture).parent.mkdir(exist_ok=True)
        (root / picture).write_bytes(b"x")
    return str(root / name)


@pytest.mark.parametrize("column", ["image", "path", "file", "filename"])
def test_a_column_of_picture_files_is_read_from_the_tables_folder(tmp_path, column):
    rows = read(Data(lay(tmp_path, f"{column},label\np/a.jpg,cat\np/b.png,dog\n")))
    assert [row["image"] for row in rows] == [f"{tmp_path}/p/a.jpg", f"{tmp_path}/p/b.png"]
    assert rows[0]["label"] == "cat" and rows[0]["id"] == "t.csv:1"


def test_any_column_can_be_mapped_and_keeps_its_own_name_too(tmp_path):
    row = read(Data(lay(tmp_path, "photo,y\np/a.jpg,cat\n"), columns={"image": "photo", "label": "y"}))[0]
    assert row == {"photo": "p/a.jpg", "y": "cat", "image": f"{tmp_path}/p/a.jpg", "label": "cat", "id": "t.csv:1"}


def test_absolute_paths_stay_and_another_folder_can_be_named(tmp_path):
    assert read(Data(lay(tmp_path, f"image\n{tmp_path}/p/a.jpg\n")))[0]["image"] == f"{tmp_path}/p/a.jpg"
    table = lay(tmp_path, "image\na.jpg\n")
    assert read(Data(f"csv:{table}?images={tmp_path}/p"))[0]["image"] == f"{tmp_path}/p/a.jpg"


def test_a_text_table_with_a_column_of_other_files_is_left_alone(tmp_path):
    row = read(Data(lay(tmp_path, "file,text,labels\nnotes.md,good,a|b\n")))[0]
    assert "image" not in row and row["labels"] == "a|b"
    with pytest.raises(BadUsage, match="missing= is for pictures and videos; name their column with --column image=NAME or video=NAME"):
        read(Data(f"csv:{tmp_path}/t.csv?missing=skip"))


def test_missing_pictures_are_named_with_their_row_or_skipped(tmp_path):
    path = lay(tmp_path, "image,label\np/a.jpg,x\np/none.jpg,y\n")
    with pytest.raises(BadData, match=r"t.csv:2: no file .*none.jpg; 1 of 2 pictures are missing"):
        read(Data(path))
    assert [row["id"] for row in read(Data(f"csv:{path}?missing=skip"))] == ["t.csv:1"]
    assert len(read(Data(path, where={"label": "x"}))) == 1  # rows that are not wanted need no picture


def test_an_address_and_an_empty_path_are_told(tmp_path):
    with pytest.raises(BadData, match=r"t.csv:1: https://x.org/a.jpg is an address; download"):
        read(Data(lay(tmp_path, "image\nhttps://x.org/a.jpg\n")))
    with pytest.raises(BadData, match=r"t.csv:2: expected a picture's path, found ''"):
        read(Data(lay(tmp_path, "photo,y\np/a.jpg,1\n,2\n"), columns={"image": "photo"}))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ('"cat|dog, small"', "bird", [["cat", "dog, small"], ["bird"]]),
        ("cat;dog", "", [["cat", "dog"], []]),
        ('"cat, dog,cat"', "bird", [["cat", "dog"], ["bird"]]),
        ('"[""cat"", ""dog, small""]"', "[]", [["cat", "dog, small"], []]),
    ],
)
def test_several_labels_are_split_by_one_mark_for_the_column(tmp_path, first, second, expected):
    rows = read(Data(lay(tmp_path, f"image,labels\np/a.jpg,{first}\np/b.png,{second}\n")))
    assert [row["labels"] for row in rows] == expected


def test_partial_labels_have_columns_of_their_own_names(tmp_path):
    path = lay(tmp_path, "image,tags,no\np/a.jpg,cat,dog;ox\n")
    row = read(Data(path, columns={"labels": "tags", "absent": "no"}))[0]
    assert (row["labels"], row["absent"]) == (["cat"], ["dog", "ox"])


def test_a_column_that_is_the_one_label_stays_one(tmp_path):
    assert read(Data(lay(tmp_path, "image,labels\np/a.jpg,a|b\n"), columns={"label": "labels"}))[0]["label"] == "a|b"


def test_a_list_that_is_no_json_is_told(tmp_path):
    with pytest.raises(BadData, match=r"t.csv:1: \"\['a'\]\" is no JSON list"):
        read(Data(lay(tmp_path, "image,labels\np/a.jpg,['a']\n")))


def test_renamed_labels_that_meet_are_present_once(tmp_path):
    path = lay(tmp_path, "image,labels,absent\np/a.jpg,cat|kitten,pup\np/b.png,dog,cat|kitten\n")
    rows = read(Data(path, labels={"kitten": "cat", "pup": "dog"}))
    assert [(row["labels"], row["absent"]) for row in rows] == [(["cat"], ["dog"]), (["dog"], ["cat"])]
    both = lay(tmp_path, "image,labels,absent\np/a.jpg,cat,kitten\n", "u.csv")
    assert read(Data(both, labels={"kitten": "cat"}))[0]["absent"] == []


def test_pictures_inside_parquet_are_bytes(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"image": [{"bytes": b"one", "path": "a.jpg"}, {"bytes": b"two", "path": None}], "label": ["x", "y"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert [row["image"] for row in read(Data(f"{tmp_path}/t.parquet"))] == [b"one", b"two"]
