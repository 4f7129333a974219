"""SCAN as we make it against the authors' files: the same rows, however often each."""

import collections
import hashlib
import json

import numpy as np
import pytest

from pellucid.data import scan
from pellucid.data.read import read
from pellucid.data.scan import splits
from pellucid.recipe import Data

FOLDERS = {
    "add_prim_split": ["addprim_jump", "addprim_turn_left"],
    "filler_split": [f"filler_num{n}" for n in range(4)],
    "length_split": ["length"],
    "simple_split": ["simple"],
    "template_split": [f"template_{form}" for form in ("around_right", "opposite_right", "right", "jump_around_right")],
}
CHARACTERS = {  # of the authors' files of commands drawn at random, in which commands that are too few or too many would show
    "fewshot_num32_rep1/train": 2567260,
    "fewshot_num32_rep3/train": 2567400,
    "fewshot_num64_rep1/train": 2575539,
    "addprim_complex_jump_num1_rep1/train": 2718366,
    "addprim_complex_jump_num4_rep1/train": 2706446,
    "addprim_complex_jump_num4_rep1/test": 1531038,
    "addprim_complex_jump_num32_rep1/train": 2833580,
}


def lines(place):
    return sorted(f"IN: {row['text']} OUT: {row['label']}\n" for row in scan.read(place, {}))


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(("folder", "name"), [(folder, name) for folder, names in FOLDERS.items() for name in names])
def test_a_split_has_the_rows_of_the_official_file(shared, folder, name, part):
    file = shared / "data" / "scan" / folder / f"tasks_{part}_{name}.txt.gz"
    if not file.is_file():
        pytest.skip(f"no {file.name} among the reference data")
    official = read(Data(f"scan:{file}"))
    assert official[0]["id"] == f"{file.name}:1"
    ours = collections.Counter((row["text"], row["label"]) for row in scan.read(f"{name}/{part}", {}))
    assert ours == collections.Counter((row["text"], row["label"]) for row in official)


def test_rule_splits_have_the_counts_and_hashes_of_the_official_files(references):
    known = json.loads((references / "text" / "scan_splits.json").read_text())
    assert len(known) == 11
    for name, facts in known.items():
        for part in ("train", "test"):
            rows = lines(f"{name}/{part}")
            assert len(rows) == facts[f"{part}_rows"], name
            wanted = facts.get(f"{part}_sha256_sorted")  # the fillers' test sets, all the same, have none
            assert wanted is None or hashlib.sha256("".join(rows).encode()).hexdigest() == wanted, (name, part)


def test_what_is_stored_of_random_splits_is_what_the_official_files_have(references):
    known = np.load(references / "text" / "scan_random_splits.npz", allow_pickle=False)
    labels = {row["text"]: row["label"] for row in scan.read("all", {})}
    whole = np.array(list(labels))
    assert len(known.files) == 93
    for name in known.files:
        drawn = np.flatnonzero(np.unpackbits(known[name], count=len(whole))) if name.startswith("simple") else known[name]
        ours = splits.members(f"addprim_{name}" if name.startswith("complex") else name, labels)
        assert ours == whole[drawn].tolist(), name


@pytest.mark.parametrize("place", CHARACTERS)
def test_a_random_split_is_as_long_as_the_official_file(place):
    assert sum(map(len, lines(place))) == CHARACTERS[place]
