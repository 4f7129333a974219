"""Local features that others have made: every format gives the numbers that were written, and tells what is wrong with a file."""

import json
import pathlib
import pickle

import h5py
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from safetensors.numpy import save_file

from pellucid.data.clips.held import Held, load, shape
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.recipe import Data


def numbers(seed: int, n: int = 4, f: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, f)).astype(np.float32)


def rows(source: str) -> list[dict]:
    return read(Data(source))


def written(folder: pathlib.Path, value: np.ndarray) -> list[Held]:
    """The same array in every format, and in every way that each keeps it."""
    np.save(folder / "a.npy", value)
    np.save(folder / "fortran.npy", np.asfortranarray(value))
    np.savez(folder / "a.npz", rgb=value)
    np.savez_compressed(folder / "packed.npz", rgb=value)
    save_file({"rgb": value}, folder / "a.safetensors")
    with h5py.File(folder / "a.h5", "w", userblock_size=512) as file:
        file["clip/rgb"] = value
        file.create_dataset("clip/packed", data=value, chunks=True, compression="gzip")
    table = pa.table({"rgb": pa.array([[[0.0, 1.0]], value.tolist()], pa.list_(pa.list_(pa.float32()))), "label": ["a", "b"]})
    parquet.write_table(table, folder / "a.parquet", row_group_size=1)
    cell = rows(f"features:{folder}/a.parquet")[1]["features"]["rgb"] if value.shape[1] == 2 else None
    places = ["a.npy", "fortran.npy", "a.npz:rgb", "packed.npz:rgb", "a.safetensors:rgb", "a.h5:clip/rgb", "a.h5:clip/packed"]
    return [Held(f"{folder}/{name}", key) for name, _, key in (place.partition(":") for place in places)] + [cell] * (cell is not None)


def test_every_format_gives_the_numbers_that_were_written_also_from_another_process(tmp_path):
    value = numbers(0, 5, 2)
    places = written(tmp_path, value)
    assert len(places) == 8
    for held in places:
        there = pickle.loads(pickle.dumps(held))  # what goes to a loader's worker
        assert shape(there) == (5, 2), there
        np.testing.assert_array_equal(load(there), value, err_msg=str(there))


def test_numbers_of_any_kind_come_as_float32_copies_of_their_own(tmp_path):
    for dtype in ("float16", "float64", "uint8", ">i4", ">f4"):
        np.save(tmp_path / "a.npy", np.array([[1, 2], [3, 4]], dtype))
        found = load(Held(f"{tmp_path}/a.npy"))
        assert found.dtype == np.float32 and found.dtype.isnative and found.tolist() == [[1, 2], [3, 4]], dtype
        found += 1  # does not reach the file
        assert load(Held(f"{tmp_path}/a.npy"))[0, 0] == 1
    assert load(np.array([[1.5]])).dtype == np.float32


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    np.save(tmp_path / "a.npy", numbers(1))
    load(Held(f"{tmp_path}/a.npy"))
    np.save(tmp_path / "b.npy", numbers(2))
    (tmp_path / "b.npy").replace(tmp_path / "a.npy")
    np.testing.assert_array_equal(load(Held(f"{tmp_path}/a.npy")), numbers(2))


@pytest.mark.parametrize(
    ("value", "error", "told"),
    [
        (np.array([[1, np.nan]]), BadData, r"a.npy: nan in local feature 1, column 2"),
        (np.array([[1, 2], [1e300, 1]]), BadData, r"a.npy: inf in local feature 2, column 1"),
        (np.zeros(4), BadData, r"a.npy: shape \(4,\); expected local features x numbers"),
        (np.zeros((2, 3, 4)), BadData, r"a.npy: shape \(2, 3, 4\)"),
        (np.zeros((0, 4)), BadData, r"a.npy: empty, of shape \(0, 4\)"),
        (np.array([["a", "b"]]), BadData, "values are <U1; expected numbers"),
        (np.array([[{}, 1]], dtype=object), UnsafeInput, "a.npy: holds Python objects, which could run code"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_an_array_that_is_none_of_local_features_is_told_with_file_and_row(tmp_path, value, error, told):
    np.save(tmp_path / "a.npy", value, allow_pickle=True)
    (tmp_path / "t.csv").write_text("features,label\na.npy,x\n")
    with pytest.raises(error, match=rf"^t.csv:1: .*{told}"):
        rows(f"features:{tmp_path}/t.csv?check=all")


def test_files_that_are_cut_short_or_damaged_are_told(tmp_path):
    value = numbers(0, 500, 2)
    for held in written(tmp_path, value)[:7]:
        path = pathlib.Path(held.path)
        raw = path.read_bytes()
        path.write_bytes(raw[: len(raw) // 2])
        with pytest.raises(BadData, match=path.name):
            load(Held(held.path, held.key))
        path.write_bytes(raw)
    whole = load(Held(f"{tmp_path}/a.npy"))
    known = rows_of_one(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(BadData, match=r"a.npy: the file is cut short"):
        load(known)
    assert whole.shape == (500, 2)


def rows_of_one(path: pathlib.Path) -> Held:
    (path.parent / "one.csv").write_text(f"features\n{path.name}\n")
    return rows(f"features:{path.parent}/one.csv")[0]["features"]["features"]


# ---- sets ---------------------------------------------------------------------------------------------------------


def test_a_table_names_files_of_every_kind_by_modality_or_all_together(tmp_path):
    a, b = numbers(0, 4, 3), numbers(1, 2, 5)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    np.savez(tmp_path / "both.npz", rgb=a, audio=b)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["one/rgb"], file["one/audio"], file["rgb/two"], file["audio/two"] = a, b, a, b
    tables = {
        "by.csv": "rgb,audio,label,id\na.npy,b.npy,x,one\nall.h5,all.h5,y,two\nall.h5,all.h5,y,one\nboth.npz,both.npz,z,q\n",
        "keys.csv": "rgb,audio,label\nall.h5:one/rgb,all.h5:audio/two,x\n",
        "together.csv": "features,labels,id\nboth.npz,p|q,c\nall.h5,,one\nall.h5,q,two\nall.h5:one,p,c\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
        for row in rows(f"features:{tmp_path}/{name}"):
            assert list(row["features"]) == ["rgb", "audio"]
            np.testing.assert_array_equal(load(row["features"]["rgb"]), a)
            np.testing.assert_array_equal(load(row["features"]["audio"]), b)
    found = rows(f"features:{tmp_path}/together.csv")
    assert [row["labels"] for row in found] == [["p", "q"], [], ["q"], ["p"]]
    assert [(row["id"], row["clip"]) for row in found][:2] == [("together.csv:1", "c"), ("together.csv:2", "one")]


def test_a_column_is_named_by_its_modality(tmp_path):
    np.save(tmp_path / "a.npy", numbers(0))
    (tmp_path / "t.jsonl").write_text(json.dumps({"file": "a.npy", "label": 3}))
    row = rows(f"features:{tmp_path}/t.jsonl?flow=file")[0]
    assert row["label"] == "3" and row["features"]["flow"].rows == 4 and "file" not in row
    with pytest.raises(BadUsage, match=r"flow=fil: no such column; the columns are file, label"):
        rows(f"features:{tmp_path}/t.jsonl?flow=fil")
    with pytest.raises(BadData, match=r"no column features, rgb or flow or audio; the columns are file, label"):
        rows(f"features:{tmp_path}/t.jsonl")


def test_what_is_missing_is_told_by_row_or_left_out(tmp_path):
    np.savez(tmp_path / "whole.npz", rgb=numbers(0), audio=numbers(1, 9, 2))
    np.savez(tmp_path / "rgb.npz", rgb=numbers(2))
    (tmp_path / "t.csv").write_text("features,label\nrgb.npz,x\nwhole.npz,y\nnone.npz,z\n")
    with pytest.raises(BadData, match=r"t.csv:1: no features 'audio', there are rgb; .*missing=skip"):
        rows(f"features:{tmp_path}/t.csv")
    assert [row["label"] for row in rows(f"features:{tmp_path}/t.csv?missing=skip")] == ["y"]
    with pytest.raises(BadData, match=r"t.csv:3: no file .*none.npz; add \?missing=skip"):
        rows(f"features:{tmp_path}/t.csv?modalities=rgb")
    kept = rows(f"features:{tmp_path}/t.csv?modalities=rgb&missing=skip")
    assert [(row["label"], list(row["features"])) for row in kept] == [("x", ["rgb"]), ("y", ["rgb"])]


def test_widths_that_differ_are_told_and_lengths_may(tmp_path):
    for name, n, f in (("a", 3, 4), ("b", 7, 4), ("c", 3, 5)):
        np.save(tmp_path / f"{name}.npy", numbers(0, n, f))
    (tmp_path / "t.csv").write_text("rgb\na.npy\nb.npy\n")
    assert [shape(row["features"]["rgb"]) for row in rows(f"features:{tmp_path}/t.csv")] == [(3, 4), (7, 4)]
    (tmp_path / "t.csv").write_text("rgb\na.npy\nb.npy\nc.npy\n")
    with pytest.raises(BadData, match=r"t.csv:3: .*c.npy: rgb has 5 numbers a local feature, and 4 in t.csv:1"):
        rows(f"features:{tmp_path}/t.csv")


def test_class_folders_of_files_label_their_clips(tmp_path):
    for name in ("run/1.npy", "run/2.npy", "sit/1.npz"):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, numbers(0)) if name.endswith("npy") else np.savez(path, rgb=numbers(0))
    found = rows(f"features:{tmp_path}?split=train&name=rgb")
    assert [(row["id"], row["label"]) for row in found] == [
        ("train/run/1.npy", "run"),
        ("train/run/2.npy", "run"),
        ("train/sit/1.npz", "sit"),
    ]
    assert all(row["features"]["rgb"].width == 3 and row["classes"] == ("run", "sit") for row in found)


@pytest.mark.parametrize("modality_first", [False, True])
def test_one_hdf5_file_is_labelled_by_the_table_beside_it(tmp_path, modality_first):
    with h5py.File(tmp_path / "set.h5", "w") as file:
        for i, clip in enumerate(("x", "y")):
            for modality in ("rgb", "audio"):
                file[f"{modality}/{clip}" if modality_first else f"{clip}/{modality}"] = numbers(i)
    (tmp_path / "set.csv").write_text("id,label\ny,sit\nx,run\nz,not there\n")
    found = rows(f"{tmp_path}/set.h5")  # the ending tells the kind
    assert [(row["id"], row["label"], sorted(row["features"])) for row in found] == [
        ("set.h5:x", "run", ["audio", "rgb"]),
        ("set.h5:y", "sit", ["audio", "rgb"]),
    ]
    np.testing.assert_array_equal(load(found[1]["features"]["audio"]), numbers(1))
    (tmp_path / "set.csv").write_text("id,label\nx,run\n")
    with pytest.raises(BadData, match=r"set.h5:y: no row of the table of labels has this id"):
        rows(f"features:{tmp_path}/set.h5")


def test_one_hdf5_file_is_labelled_by_its_attributes(tmp_path):
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["x"] = numbers(0)
        file["x"].attrs["label"] = "run"
        file["y"] = numbers(0)
        file["y"].attrs["label"] = b"sit"
    assert [(row["label"], list(row["features"])) for row in rows(f"features:{tmp_path}/set.h5?name=rgb")] == [
        ("run", ["rgb"]),
        ("sit", ["rgb"]),
    ]


def test_hdf5_leads_to_no_other_file(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(48))
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file.create_dataset("x", (4, 3), "f4", external=[(str(tmp_path / "secret"), 0, 48)])
    with pytest.raises(UnsafeInput, match=r"set.h5:x: its numbers lie in other files"):
        rows(f"features:{tmp_path}/set.h5")


def test_parquet_cells_hold_the_numbers_and_odd_ones_are_told_by_row(tmp_path):
    kind = pa.list_(pa.list_(pa.float64()))
    cells = [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0]]]
    parquet.write_table(pa.table({"clip": pa.array(cells, kind), "label": [2, 0, 1]}), tmp_path / "t.parquet", row_group_size=2)
    found = rows(f"features:{tmp_path}/t.parquet?rgb=clip")
    assert [load(row["features"]["rgb"]).tolist() for row in found] == cells
    assert [(row["id"], row["label"]) for row in found][1] == ("t.parquet:2", "0")
    for odd, told in (([[1.0], [2.0, 3.0]], "1 to 2 numbers"), ([], "no local features"), (None, "no local features")):
        parquet.write_table(pa.table({"clip": pa.array([cells[0], odd], kind)}), tmp_path / "odd.parquet")
        with pytest.raises(BadData, match=rf"odd.parquet:2: clip: .*{told}"):
            rows(f"features:{tmp_path}/odd.parquet")
    parquet.write_table(pa.table({"clip": pa.array([[[1.0, None]]], kind)}), tmp_path / "gap.parquet")
    with pytest.raises(BadData, match=r"gap.parquet:1: .*nan in local feature 1, column 2"):
        rows(f"features:{tmp_path}/gap.parquet?check=all")


def test_pickles_are_refused_and_nothing_else_is_a_set(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "feature_train.pkl").write_bytes(pickle.dumps(1))
    for source in (f"features:{tmp_path}/f", f"features:{tmp_path}/f/feature_train.pkl", f"youtube8m:{tmp_path}/f"):
        with pytest.raises(UnsafeInput, match=r"feature_train.pkl: a pickle, which could run code; refused"):
            rows(source)
    with pytest.raises(BadUsage, match=r"expected a folder, an .h5 file, or a table"):
        rows(f"features:{__file__}")
    with pytest.raises(BadData, match=r"no file"):
        rows(f"features:{tmp_path}/none.csv")
