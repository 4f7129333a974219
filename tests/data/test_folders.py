"""Pictures in class folders, in flat folders and in splits; whatever is not as promised is named."""

import logging

import pytest

from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data


def lay(root, *names) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return str(root)


def labels(source: str) -> dict[str, str | None]:
    return {row["id"]: row.get("label") for row in read(Data(source))}


def test_the_first_folder_is_the_class_at_any_depth_and_rows_are_sorted(tmp_path):
    lay(tmp_path / "p", "dog/b.JPEG", "dog/a.jpg", "cat/old/deep/c.png", "cat/.hidden.jpg", ".git/x.jpg", "__MACOSX/cat/c.png")
    rows = read(Data(f"folder:{tmp_path}/p"))
    assert [(row["id"], row["label"]) for row in rows] == [("p/cat/old/deep/c.png", "cat"), ("p/dog/a.jpg", "dog"), ("p/dog/b.JPEG", "dog")]
    assert rows[0]["image"] == f"{tmp_path}/p/cat/old/deep/c.png"
    assert {row["classes"] for row in rows} == {("cat", "dog")}


def test_a_flat_folder_gives_rows_without_labels(tmp_path):
    lay(tmp_path / "p", "b.jpg", "a.webp")
    assert labels(f"folder:{tmp_path}/p") == {"p/a.webp": None, "p/b.jpg": None}
    assert labels(f"{tmp_path}/p") == labels(f"folder:{tmp_path}/p")  # a bare folder is one of pictures


def test_files_that_are_no_pictures_are_left_out_and_counted(tmp_path, caplog):
    lay(tmp_path, "cat/a.jpg", "cat/readme.txt", "cat/a.json")
    with caplog.at_level(logging.WARNING, "pellucid"):
        assert len(read(Data(f"folder:{tmp_path}"))) == 1
    assert "2 files that are no pictures are left out" in caplog.text


def test_splits_are_found_under_their_usual_names_and_must_be_chosen(tmp_path):
    lay(tmp_path, "train/n01/a.jpg", "validation/n01/b.jpg", "validation/n02/c.jpg")
    assert labels(f"folder:{tmp_path}?split=val") == {"validation/n01/b.jpg": "n01", "validation/n02/c.jpg": "n02"}
    with pytest.raises(BadData, match=r"holds splits, not classes; choose one with \?split=, of train, validation"):
        read(Data(f"folder:{tmp_path}"))
    with pytest.raises(BadData, match="no folder 'test'; there are train, validation"):
        read(Data(f"folder:{tmp_path}?split=test"))


def test_a_class_may_be_called_train(tmp_path):
    lay(tmp_path, "train/a.jpg", "val/b.jpg")  # vehicles and valleys: pictures lie right inside
    assert set(labels(f"folder:{tmp_path}").values()) == {"train", "val"}


def test_an_empty_class_folder_is_named_or_dropped(tmp_path):
    lay(tmp_path, "cat/a.jpg", "dog/notes.txt")
    with pytest.raises(BadData, match=r"/dog: a class folder without pictures; remove it, or add \?empty=drop"):
        read(Data(f"folder:{tmp_path}"))
    assert set(labels(f"folder:{tmp_path}?empty=drop").values()) == {"cat"}


def test_pictures_beside_class_folders_are_named_or_dropped(tmp_path):
    lay(tmp_path, "cat/a.jpg", "stray.jpg", "loose.png")
    with pytest.raises(BadData, match=r"2 pictures lie beside the class folders \(loose.png, ...\)"):
        read(Data(f"folder:{tmp_path}"))
    assert list(labels(f"folder:{tmp_path}?loose=drop").values()) == ["cat"]


def test_a_folder_without_pictures_says_what_is_there(tmp_path):
    lay(tmp_path, "a.txt", "b.txt", "c/d.csv")
    with pytest.raises(BadData, match=r"no pictures \(2 .txt, 1 .csv\); expected files ending in .jpg"):
        read(Data(f"folder:{tmp_path}"))
    with pytest.raises(BadData, match=r"no folder .*nowhere"):
        read(Data(f"folder:{tmp_path}/nowhere"))
    with pytest.raises(BadData, match=r"a.txt: a file; expected a folder"):
        read(Data(f"folder:{tmp_path}/a.txt"))
    with pytest.raises(BadUsage, match=r"folder: has no option 'spilt'; did you mean 'split'"):
        read(Data(f"folder:{tmp_path}?spilt=x"))
    with pytest.raises(BadUsage, match="empty=maybe: expected refuse or drop"):
        read(Data(f"folder:{tmp_path}?empty=maybe"))


def test_links_that_go_round_end(tmp_path):
    lay(tmp_path, "p/cat/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "p/cat/again").symlink_to(tmp_path / "p")
    (tmp_path / "p/dog").symlink_to(tmp_path / "elsewhere")
    assert labels(f"folder:{tmp_path}/p") == {"p/cat/a.jpg": "cat", "p/dog/b.jpg": "dog"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.txt", "n01 is no id\ntench"),
        ("c.json", '["x", "y"'),
        ("c.json", '{"0": "a", "2": "b"}'),
        ("c.json", '{"0": "a", "1": "a"}'),
        ("c.json", '{"0": 1.5}'),
        ("c.txt", "\n"),
    ],
)
def test_a_file_of_class_names_that_is_none_is_refused(tmp_path, name, text):
    lay(tmp_path / "p", "n01440764/a.jpg")
    (tmp_path / name).write_text(text)
    with pytest.raises(BadData):
        read(Data(f"folder:{tmp_path}/p?classes={tmp_path}/{name}"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.txt", "n01440764 tench\nn01443537 goldfish, Carassius auratus\n"),
        ("c.json", '{"1": ["n01443537", "goldfish, Carassius auratus"], "0": ["n01440764", "tench"]}'),
        ("c.json", '{"n01440764": "tench", "n01443537": "goldfish, Carassius auratus"}'),
    ],
)
def test_folders_are_named_by_a_list_in_any_of_its_usual_forms(tmp_path, name, text):
    lay(tmp_path / "p", "n01443537/a.jpg")
    (tmp_path / name).write_text(text)
    row = read(Data(f"folder:{tmp_path}/p?classes={tmp_path}/{name}"))[0]
    assert row["label"] == "goldfish, Carassius auratus"
    assert row["classes"] == ("tench", "goldfish, Carassius auratus")


def test_labels_are_renamed_with_the_list_of_classes(tmp_path):
    lay(tmp_path, "cat/a.jpg", "kitten/b.jpg", "dog/c.jpg")
    rows = read(Data(f"folder:{tmp_path}", labels={"kitten": "cat"}))
    assert [row["label"] for row in rows] == ["cat", "dog", "cat"]
    assert rows[0]["classes"] == ("cat", "dog")
