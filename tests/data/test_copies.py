"""Copies of pictures are found wherever their bytes lie, and what a set of pictures holds is told."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from pellucid.data.about import about
from pellucid.data.copies import copies, keys
from pellucid.data.leaks import leaks
from pellucid.data.stored import Stored
from pellucid.errors import BadData
from pellucid.recipe import Data


def png(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_equal_bytes_have_equal_keys_in_a_file_in_memory_and_inside_another_file(tmp_path):
    body = bytes(range(256)) * 50
    (tmp_path / "a.jpg").write_bytes(body)
    (tmp_path / "pack").write_bytes(b"before" + body + b"after")
    same = [str(tmp_path / "a.jpg"), body, Stored(str(tmp_path / "pack"), 6, len(body))]
    assert len(set(keys(same))) == 1


def test_pictures_of_one_size_that_differ_in_the_middle_alone_are_told_apart():
    first, second = b"a" * 20_000, b"a" * 10_000 + b"b" + b"a" * 9_999
    assert len(set(keys([first, second, b"a" * 20_000]))) == 2
    assert len(set(keys([first, second, first[:-1] + b"z"]))) == 3
    assert keys([]) == []


def test_a_copy_names_the_first_training_row_that_has_it():
    train = [{"id": str(i), "image": png(i % 3)} for i in range(6)]
    tests = {"home": [{"id": "t", "image": png(9)}, {"id": "u", "image": png(2)}], "away": [{"id": "v", "image": png(8)}]}
    assert copies(train, tests) == {"home": {1: 2}, "away": {}}
    found = leaks(train, tests)
    assert found["sets"]["home"] == {"n": 2, "exact": 1, "near": 0, "examples": [{"test_id": "u", "train_id": "2", "kind": "exact"}]}
    assert found["sets"]["away"]["exact"] == 0


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(BadData, match=r"gone.jpg"):
        keys([str(tmp_path / "gone.jpg")])


def lay(root: pathlib.Path, pictures: dict[str, bytes]) -> str:
    for name, content in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return f"folder:{root}"


def test_what_a_folder_holds_is_told_and_how_it_differs_from_another(tmp_path):
    train = lay(tmp_path / "train", {"cat/a.png": png(1), "cat/b.png": png(1), "dog/c.png": png(2), "dog/d.png": b"no picture"})
    test = lay(tmp_path / "test", {"cats/e.png": png(2), "dog/f.png": png(3)})
    found = about(Data(train), [Data(test)])
    assert (found["rows"], found["broken"], found["repeated"], found["labels"]) == (4, 1, 1, "cat 2, dog 2")
    assert found[f"in {test}"] == "1 exact, 0 near"
    assert found[f"only in {test}"] == "1 labels: cats"


def test_what_several_labels_tell(tmp_path):
    lay(tmp_path, {"a.png": png(1), "b.png": png(2)})
    (tmp_path / "t.csv").write_text("image,labels,absent\na.png,cat|dog,\nb.png,dog,cat\n")
    found = about(Data(f"csv:{tmp_path}/t.csv"))
    assert (found["labels"], found["per picture"], found["absent labels"]) == ("dog 2, cat 1", "1.50 labels", "0.50 per picture")
    assert "never present" not in found
