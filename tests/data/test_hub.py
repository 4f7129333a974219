"""Hugging Face datasets, from folders; the hub itself is offline here."""

import builtins

import pytest

from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data

datasets = pytest.importorskip("datasets")


@pytest.fixture
def saved(tmp_path) -> str:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])})
    train = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    datasets.DatasetDict({"train": train, "test": train.select([1])}).save_to_disk(tmp_path / "set")
    train.save_to_disk(tmp_path / "one")
    return str(tmp_path / "set")


def test_integer_classes_come_back_as_their_names(saved):
    rows = read(Data(f"hf:{saved}?split=train"))
    assert rows == [
        {"text": "a", "label": "good", "id": "set:1"},
        {"text": "b", "label": "bad", "id": "set:2"},
        {"text": "c", "label": None, "id": "set:3"},
    ]
    assert len(read(Data(f"hf:{saved}?split=test"))) == 1
    assert len(read(Data(f"hf:{saved.replace('set', 'one')}"))) == 3


def test_a_folder_of_data_files_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/train.csv").write_text("text,label\ngood,1\n")
    assert read(Data(f"hf:{tmp_path}/files"))[0] == {"text": "good", "label": 1, "id": "files:1"}


def test_a_split_must_be_named_where_there_are_several(saved):
    with pytest.raises(BadData, match=r"several splits; choose one with \?split=, of train, test"):
        read(Data(f"hf:{saved}"))
    with pytest.raises(BadData, match="no split 'dev'; choose one"):
        read(Data(f"hf:{saved}?split=dev"))
    with pytest.raises(BadUsage, match="did you mean 'split'"):
        read(Data(f"hf:{saved}?splt=dev"))


def test_a_name_that_cannot_be_had_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadData, match=r"hf:nobody/nothing cannot be read: .*a name on the hub and a network") as caught:
        read(Data("hf:nobody/nothing?split=train"))
    assert "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="hf:empty cannot be read"):
        read(Data("hf:empty"))


def test_without_the_library_the_remedy_is_named(saved, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "datasets":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadData, match=r"needs the package datasets: pip install 'pellucid\[datasets\]'"):
        read(Data(f"hf:{saved}?split=train"))


def test_pictures_come_as_bytes_or_paths_and_lists_of_classes_as_names(tmp_path):
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "labels": datasets.Sequence(datasets.ClassLabel(names=["big", "small"])),
        }
    )
    (tmp_path / "a.png").write_bytes(b"never decoded")
    given = {
        "img": [{"bytes": b"raw", "path": None}, {"bytes": None, "path": f"{tmp_path}/a.png"}],
        "label": [1, 0],
        "labels": [[0, 1], []],
    }
    datasets.Dataset.from_dict(given, features=features).save_to_disk(tmp_path / "set")
    first, second = read(Data(f"hf:{tmp_path}/set"))
    assert (first["image"], first["img"], first["label"], first["labels"]) == (b"raw", b"raw", "dog", ["big", "small"])
    assert second["image"] in (f"{tmp_path}/a.png", b"never decoded")  # the library may take the file in when it saves
