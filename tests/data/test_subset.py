"""ImageNet's relatives in the home set's classes, and labels that one set has and another does not."""

import json

import pytest

from pellucid.data import imagenet
from pellucid.data.read import read
from pellucid.data.subset import kept_classes, known_labels
from pellucid.errors import BadData
from pellucid.recipe import Data

TENCH, GOLDFISH, GREAT_WHITE = "n01440764", "n01443537", "n01484850"  # classes 0, 1 and 2


def lay(root, *names) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return str(root)


def test_folders_of_v2_are_numbers_and_not_words(tmp_path):
    lay(tmp_path, "0/a.jpeg", "2/b.jpeg", "10/c.jpeg", "999/d.jpeg")
    rows = read(Data(f"imagenet:{tmp_path}?set=v2"))
    labels = {row["id"].split("/")[1]: row["label"] for row in rows}
    # sorted as strings, 10 would be the second folder and tagged goldfish
    assert labels == {"0": TENCH, "2": GREAT_WHITE, "10": "n01530575", "999": "n15075141"}
    assert len(rows[0]["classes"]) == 1000 and "among" not in rows[0]


def test_a_and_r_name_the_two_hundred_classes_they_have_even_where_some_folders_are_missing(tmp_path):
    lay(tmp_path, "n01558993/a.jpg", "n01498041/b.jpg")  # robin and stingray
    rows = read(Data(f"imagenet:{tmp_path}?set=a"))
    assert len(rows[0]["among"]) == 200 and rows[0]["among"] is rows[1]["among"]
    assert set(rows[0]["among"]) < set(rows[0]["classes"])
    with pytest.raises(BadData, match=r"n01558993 is no class of ImageNet-R"):
        read(Data(f"imagenet:{tmp_path}?set=r"))
    assert read(Data(f"imagenet:{tmp_path}?set=r&among=present"))[0]["among"] == ("n01498041", "n01558993")
    assert "among" not in read(Data(f"imagenet:{tmp_path}?set=a&among=all"))[0]


def test_labels_are_names_where_the_home_set_has_names(tmp_path):
    lay(tmp_path, f"{GOLDFISH}/a.jpg")
    assert read(Data(f"imagenet:{tmp_path}?set=sketch&label=name"))[0]["label"] == "goldfish"
    names = [f"class {i}" for i in range(1000)]
    (tmp_path / "../names.json").write_text(json.dumps(names))
    assert read(Data(f"imagenet:{tmp_path}?set=sketch&classes={tmp_path}/../names.json"))[0]["label"] == "class 1"


def test_the_names_of_the_thousand_are_distinct():
    names = imagenet._names({"label": "name"})
    assert len({names[str(i)] for i in range(1000)}) == 1000
    assert names["134"] == "crane (n02012849)" and names["517"] == "crane (n03126707)"


def test_a_folder_of_the_wrong_kind_names_the_right_set(tmp_path):
    lay(tmp_path / "v2", "0/a.jpg")
    lay(tmp_path / "val", f"{TENCH}/a.jpg")
    lay(tmp_path / "other", "cat/a.jpg")
    with pytest.raises(BadData, match=r"a class index, as ImageNet-V2 has them; expected a word-net id, or \?set=v2"):
        read(Data(f"imagenet:{tmp_path}/v2"))
    with pytest.raises(BadData, match="folders are class indices, 0 to 999"):
        read(Data(f"imagenet:{tmp_path}/val?set=v2"))
    with pytest.raises(BadData, match="class 'cat' is not in the list of 1000 classes"):
        read(Data(f"imagenet:{tmp_path}/other"))


def test_real_gives_all_right_labels_and_leaves_out_pictures_with_none(tmp_path):
    lay(tmp_path / "val", *(f"val/{TENCH}/ILSVRC2012_val_0000000{i}.JPEG" for i in (1, 2, 3)))
    (tmp_path / "real.json").write_text("[[0, 2], [], [1]]")
    rows = read(Data(f"imagenet:{tmp_path}/val?real={tmp_path}/real.json"))
    assert [(row["label"], row["right"]) for row in rows] == [(TENCH, (TENCH, GREAT_WHITE)), (TENCH, (GOLDFISH,))]
    lay(tmp_path / "val", f"val/{TENCH}/ILSVRC2012_val_00000009.JPEG")
    with pytest.raises(BadData, match=r"val_00000009.JPEG: no ImageNet validation picture"):
        read(Data(f"imagenet:{tmp_path}/val?real={tmp_path}/real.json"))


def test_the_mask_of_a_subset_is_in_the_models_order():
    assert kept_classes(("d", "c", "b", "a"), ("a", "c"), "set") == (False, True, False, True)
    with pytest.raises(BadData, match=r"set: a label is unknown to training, which has 2: 'cta' \(did you mean 'cat'\?\)"):
        kept_classes(("cat", "dog"), ("cta", "dog"), "set")


def test_folders_that_differ_between_train_and_test_are_named_with_the_nearest(tmp_path):
    lay(tmp_path, "train/cats/a.jpg", "train/dogs/b.jpg", "test/cat/c.jpg", "test/cat/d.jpg", "test/dogs/e.jpg", "test/ox/f.jpg")
    train, test = (read(Data(f"folder:{tmp_path}?split={split}")) for split in ("train", "test"))
    labels = train[0]["classes"]
    known_labels(train, labels, "train")
    told = r"test: 2 labels are unknown to training, which has 2: 'cat' \(did you mean 'cats'\?\); 'ox'; .* --label cat=NAME \(3 times\)"
    with pytest.raises(BadData, match=told):
        known_labels(test, labels, "test")
    known_labels([{"id": "x", "labels": ["cats"], "absent": ["dogs"]}, {"id": "y"}], labels, "several")
    with pytest.raises(BadData, match="'wolf'"):
        known_labels([{"id": "x", "labels": ["cats"], "unknown": ["wolf"]}], labels, "several")
