"""Shards of features that we made: whole or not there, told apart from others, safe for several processes."""

import json
import multiprocessing
import os
import pickle
import signal
import time

import numpy as np
import pytest

from pellucid.data.clips import shards
from pellucid.data.clips.held import load, shape
from pellucid.data.read import read
from pellucid.errors import BadData
from pellucid.recipe import Data

MANIFEST = {"rgb": {"model": "resnet18", "rate": 5.0, "view": {"size": [224, 224]}}, "versions": {"timm": "1.0"}}


def made(seed: int, n: int = 3) -> dict:
    rng = np.random.default_rng(seed)
    return {
        "rgb": (rng.normal(size=(n, 4)).astype(np.float32), np.arange(n, dtype=np.float32) / 4),
        "audio": (np.zeros((0, 2), np.float32), np.zeros(0, np.float32)),  # a clip without sound
    }


def test_what_is_added_is_read_again_by_this_process_and_the_next(tmp_path):
    with shards.Store(tmp_path, MANIFEST) as store:
        store.add("a1", made(1))
        assert "a1" in store and store.get("a1") is None  # nothing is written yet
    for again in (store, shards.Store(tmp_path, MANIFEST)):
        found = pickle.loads(pickle.dumps(again.get("a1")))
        np.testing.assert_array_equal(load(found["rgb"]), made(1)["rgb"][0])
        assert again.times("a1", "rgb") == (0.0, 0.25, 0.5) and again.times("a1", "audio") == ()
        assert shape(found["audio"]) == (0, 2) and load(found["audio"]).shape == (0, 2)
        assert again.get("b") is None and "b" not in again


def test_a_clip_is_written_once(tmp_path):
    with shards.Store(tmp_path, MANIFEST) as store:
        store.add("a", made(1))
        store.flush()
        store.add("a", made(2))
    assert len(shards.shards(tmp_path)) == 1
    np.testing.assert_array_equal(load(shards.Store(tmp_path, MANIFEST).get("a")["rgb"]), made(1)["rgb"][0])


def test_a_shard_is_written_when_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "NUM_CLIPS", 3)
    store = shards.Store(tmp_path, MANIFEST)
    for i in range(7):
        store.add(f"{i:02x}", made(i))
    assert len(shards.shards(tmp_path)) == 2 and store.get("05") is not None and store.get("06") is None


def test_features_made_otherwise_are_told_by_field_and_other_versions_are_not(tmp_path):
    shards.Store(tmp_path, MANIFEST)
    other = json.loads(json.dumps(MANIFEST))
    other["rgb"]["view"]["size"][1] = 112
    with pytest.raises(BadData, match=r"manifest.json: rgb.view.size is \[224, 224\], not \[224, 112\]: features made otherwise"):
        shards.Store(tmp_path, other)
    with pytest.raises(BadData, match=r"flow is null, not \{"):
        shards.Store(tmp_path, {**MANIFEST, "flow": {"model": "x"}})
    shards.Store(tmp_path, {**MANIFEST, "versions": {"timm": "1.1"}})


def test_numbers_that_are_not_finite_are_not_kept(tmp_path):
    bad = {"rgb": (np.array([[1, np.inf]], np.float16), np.zeros(1, np.float32))}
    with shards.Store(tmp_path, MANIFEST) as store, pytest.raises(BadData, match="a: its rgb features are not finite"):
        store.add("a", bad)
    assert not shards.shards(tmp_path)


def _fill(folder, name: str, num: int, wait_s: float = 0) -> None:
    with shards.Store(folder, MANIFEST) as store:
        for i in range(num):
            store.add(f"{name}{i:03d}", made(i))
            if i % 5 == 4:
                store.flush()
                time.sleep(wait_s)


def test_two_processes_that_fill_one_folder_lose_nothing(tmp_path):
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=_fill, args=(tmp_path, name, 40)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    store = shards.Store(tmp_path, MANIFEST)
    assert len(store) == 80 and len(shards.shards(tmp_path)) == 16
    for i in range(40):
        for name in "ab":
            np.testing.assert_array_equal(load(store.get(f"{name}{i:03d}")["rgb"]), made(i)["rgb"][0])


def test_a_process_that_is_killed_loses_the_shard_it_was_at_and_no_other(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_fill, args=(tmp_path, "a", 1000, 0.01))
    process.start()
    while len(shards.shards(tmp_path)) < 3:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = shards.Store(tmp_path, MANIFEST)
    written = len(store)
    assert written % 5 == 0 and written >= 15
    assert all(np.array_equal(load(store.get(f"a{i:03d}")["rgb"]), made(i)["rgb"][0]) for i in range(written))


def test_half_a_shard_is_told_and_what_a_killed_process_left_is_cleared(tmp_path):
    _fill(tmp_path, "a", 1)
    left, young = tmp_path / ".features-00001-ab.safetensors.1-ab.tmp", tmp_path / ".features-00002-ab.safetensors.1-ab.tmp"
    left.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(left, (1, 1))
    assert len(shards.Store(tmp_path, MANIFEST)) == 1
    assert not left.exists() and young.exists()
    path = shards.shards(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BadData, match=rf"{path.name}: cut short; .* remove this file, and its features are made anew"):
        shards.Store(tmp_path, MANIFEST)


def test_a_folder_that_lists_its_clips_is_a_source_of_data(tmp_path):
    with shards.Store(tmp_path, MANIFEST) as store:
        store.add("k1", made(1))
        store.add("k2", made(2, n=6))
    two = {"id": "v/2.mp4", "label": "sit", "group": "g", "classes": ("run", "sit"), "key": "k2"}
    listed = [two, {"id": "v/1.mp4", "label": "run", "group": "h", "classes": ("run", "sit"), "key": "k1"}]
    shards.write_rows(tmp_path, listed)
    found = read(Data(str(tmp_path)))
    assert [(row["id"], row["label"], row["group"]) for row in found] == [("v/2.mp4", "sit", "g"), ("v/1.mp4", "run", "h")]
    np.testing.assert_array_equal(load(found[0]["features"]["rgb"]), made(2, n=6)["rgb"][0])
    assert found[0]["classes"] == ("run", "sit") and found[0]["classes"] is found[1]["classes"]
    assert found[1]["times_s"]["rgb"] == (0.0, 0.25, 0.5)
    shards.write_rows(tmp_path, [*listed, {"id": "v/3.mp4", "label": "run", "key": "k3"}])
    with pytest.raises(BadData, match=r"rows.jsonl:3: no features of key k3"):
        read(Data(f"features:{tmp_path}"))
    assert len(read(Data(f"features:{tmp_path}?missing=skip&modalities=rgb"))) == 2
