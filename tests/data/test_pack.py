"""Packs: pictures back to back in one file, found by offset, and never unpickled."""

import pathlib

import numpy as np
import pytest

from pellucid.data.read import read
from pellucid.data.stored import Stored
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.recipe import Data

PICTURES = [b"first", b"", b"the third"]


def arrays(**others) -> dict[str, np.ndarray]:
    plain = {
        "labels": np.array([1, 0, 1], np.uint8),
        "offsets": np.cumsum([0, *map(len, PICTURES)]),
        "data": np.frombuffer(b"".join(PICTURES), np.uint8),
        "classes": np.array(["cat", "dog"]),
    }
    return {**plain, **others}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_picture_is_the_bytes_that_were_packed(tmp_path, save):
    save(tmp_path / "p.npz", **arrays())
    rows = read(Data(f"pack:{tmp_path}/p.npz"))
    assert [row["label"] for row in rows] == ["dog", "cat", "dog"]
    assert [row["id"] for row in rows] == ["p.npz:1", "p.npz:2", "p.npz:3"]
    raw = (tmp_path / "p.npz").read_bytes()
    places = [row["image"] for row in rows]
    assert [raw[p.offset : p.offset + p.size] if isinstance(p, Stored) else p for p in places] == PICTURES
    assert isinstance(places[0], Stored) == (save is np.savez)


def test_names_are_chosen_among_the_arrays_that_hold_them(tmp_path):
    given = {key: value for key, value in arrays(wnids=np.array(["n1", "n2"]), names=np.array(["a", "b"])).items() if key != "classes"}
    np.savez(tmp_path / "p.npz", **given)
    assert read(Data(f"{tmp_path}/p.npz"))[0]["label"] == "n2"
    assert read(Data(f"pack:{tmp_path}/p.npz?names=names"))[0]["label"] == "b"
    with pytest.raises(BadUsage, match=r"names=classes: p.npz has wnids, names"):
        read(Data(f"pack:{tmp_path}/p.npz?names=classes"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": np.array([0, 1, 2])}, r"p.npz row 3: label 2 of 2 classes"),
        ({"labels": np.array([0, 1])}, r"labels are int64 \(2,\); expected 3"),
        ({"offsets": np.array([0, 9, 5, 14])}, "offsets do not rise"),
        ({"offsets": np.array([0, 5, 5, 99])}, "offsets do not rise from 0 to the 14 bytes"),
        ({"offsets": np.array([0.0, 5, 5, 14])}, "offsets are float64"),
        ({"data": np.zeros(14, np.int32)}, "data is int32"),
        ({"classes": np.array(["cat", "cat"])}, "two classes are called 'cat'"),
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path, change, told):
    np.savez(tmp_path / "p.npz", **arrays(**change))
    with pytest.raises(BadData, match=told):
        read(Data(f"pack:{tmp_path}/p.npz"))


def test_python_objects_are_never_read(tmp_path):
    np.savez(tmp_path / "p.npz", **arrays(classes=np.array([{"a": 1}, "dog"], dtype=object)))
    with pytest.raises(UnsafeInput, match=r"classes.npy holds Python objects, which could run code"):
        read(Data(f"pack:{tmp_path}/p.npz"))


def test_a_missing_array_a_damaged_file_and_no_file_are_told(tmp_path):
    np.savez(tmp_path / "p.npz", labels=np.array([0]))
    with pytest.raises(BadData, match="no array 'data'; there are labels"):
        read(Data(f"pack:{tmp_path}/p.npz"))
    path = pathlib.Path(tmp_path / "p.npz")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadData, match=r"p.npz: not a readable"):
        read(Data(f"pack:{path}"))
    with pytest.raises(BadData, match="no file"):
        read(Data(f"pack:{tmp_path}/none.npz"))


def test_the_small_real_packs_begin_every_picture_as_jpeg_does(shared):
    for name in ("cifar10/test_jpeg.npz", "tiny_imagenet/val_jpeg.npz"):
        rows = read(Data(f"pack:{shared}/data/{name}"))
        with open(rows[0]["image"].path, "rb") as file:
            for row in rows[:: len(rows) // 50]:
                file.seek(row["image"].offset)
                raw = file.read(row["image"].size)
                assert raw[:2] == b"\xff\xd8" and raw[-2:] == b"\xff\xd9"
