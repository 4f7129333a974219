"""Pairs of a photograph and its distorted copies: which are drawn, on what the draw depends, and options that are refused."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, features

from pellucid.data.distort import KINDS, LEVELS, distort
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data


def photograph(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    for i, name in enumerate(("a.png", "b.png", "trip/c.png", "trip/far/d.png")):
        photograph(tmp_path / "photos" / name, i)
    return tmp_path / "photos"


def rows_of(source):
    return read(Data(f"distorted:{source}"))


def test_a_row_is_one_photograph_twice_and_what_is_to_be_done_to_it(photos):
    rows, grey = rows_of(photos), torch.full((3, 20, 24), 90, dtype=torch.uint8)
    assert len(rows) == 20 and len({row["id"] for row in rows}) == 20
    assert Counter(row["group"] for row in rows) == dict.fromkeys(("a.png", "b.png", "trip/c.png", "trip/far/d.png"), 5)
    for row in rows:
        assert row["image"] == row["reference"] == str(photos / row["group"])
        assert set(row) == {"id", "image", "reference", "distortion", "kind", "level", "group", "short"}
        assert row["distortion"] == {"kind": row["kind"], "level": row["level"], "seed": row["distortion"]["seed"]}
        assert row["short"] == 256
        assert distort(grey, **row["distortion"]).shape == grey.shape


def test_another_photograph_changes_nothing_for_those_that_are_there(photos):
    before = rows_of(photos)
    photograph(photos / "aa.png", 9)
    after = rows_of(photos)
    assert [row for row in after if row["group"] != "aa.png"] == before
    assert rows_of(f"{photos}?seed=1") != after
    kinds = {row["group"]: "" for row in after}
    for row in after:
        kinds[row["group"]] += f" {row['kind']}-{row['level']}"
    assert len(set(kinds.values())) == 5


def test_no_pair_comes_twice_and_no_kind_before_all_have(photos):
    rows = rows_of(f"{photos}?num=12&kinds=jpeg,jitter,darken,pixelate&levels=2-4")
    for group in {row["group"] for row in rows}:
        own = [(row["kind"], row["level"]) for row in rows if row["group"] == group]
        assert sorted(own) == sorted(itertools.product(("jpeg", "jitter", "darken", "pixelate"), (2, 3, 4)))
        assert all(len({kind for kind, _ in own[i : i + 4]}) == 4 for i in (0, 4, 8))


def test_kinds_and_levels_are_drawn_alike(tmp_path):
    for i in range(400):
        (tmp_path / f"{i}.png").touch()
    rows = rows_of(f"{tmp_path}?num=5")
    kinds, levels = Counter(row["kind"] for row in rows), Counter(row["level"] for row in rows)
    assert min(kinds.values()) > 50 and max(kinds.values()) < 110 and len(kinds) == 25  # 80 +- 8
    assert min(levels.values()) > 330 and max(levels.values()) < 470  # 400 +- 18


def test_every_gives_all_kinds_at_all_levels_and_a_drawn_pair_is_one_of_them(photos):
    every = rows_of(f"{photos}?every=yes&seed=3")
    assert len(every) == 4 * 25 * 5
    assert [(row["kind"], row["level"]) for row in every[:125]] == list(itertools.product(KINDS, LEVELS))
    assert all(row in every for row in rows_of(f"{photos}?seed=3"))
    seeds = {(row["group"], row["kind"]): row["distortion"]["seed"] for row in every}
    assert all(seeds[row["group"], row["kind"]] == row["distortion"]["seed"] for row in every)
    assert len(set(seeds.values())) == 100


def test_other_sources_give_photographs_too(photos):
    (photos.parent / "list.csv").write_text("path\nphotos/a.png\nphotos/trip/c.png\n")
    rows = rows_of(f"{photos.parent}/list.csv?num=2")
    assert [row["group"] for row in rows] == ["list.csv:1", "list.csv:1", "list.csv:2", "list.csv:2"]
    assert rows[0]["image"] == rows[0]["reference"] == str(photos / "a.png")
    rows = rows_of(f"folder:{photos}?loose=drop&num=1&size=whole")
    assert [row["group"] for row in rows] == ["photos/trip/c.png", "photos/trip/far/d.png"]
    assert "short" not in rows[0] and "label" not in rows[0]


def test_limit_keeps_so_many_rows(photos):
    assert len(read(Data(f"distorted:{photos}?every=yes", limit=7))) == 7


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("num=0", "num=0: expected a whole number from 1 up"),
        ("num=6&kinds=jpeg", "num=6: these kinds and levels make 5 pairs a photograph"),
        ("num=2&every=yes", "num and every=yes: give one of them"),
        ("every=all", "every=all: expected yes or no"),
        ("seed=x", "seed=x: expected a whole number from 0 up"),
        ("size=15", "size=15: expected a whole number from 16 up, or whole"),
        ("kinds=blur", "no distortion 'blur'; did you mean"),
        ("kinds=", "kinds=: names no kind"),
        ("kinds=jpeg&without_kinds=jpeg", "give one of them"),
        ("without_kinds=" + ",".join(KINDS), "without_kinds: leaves no kind"),
        ("levels=4-2", "levels=4-2: expected levels of 1 to 5"),
        ("levels=0", "levels=0: expected levels of 1 to 5"),
        ("sise=3", "has no option 'sise'; did you mean 'size'"),
    ],
)
def test_a_wrong_option_is_one_line(photos, options, told):
    with pytest.raises(BadUsage, match=told) as error:
        rows_of(f"{photos}?{options}")
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there_or_holds_no_pictures_is_told(tmp_path):
    with pytest.raises(BadData, match="no folder"):
        rows_of(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadData, match="no pictures"):
        rows_of(tmp_path)
    with pytest.raises(BadUsage, match="no kind of data 'shards2'"):
        rows_of("shards2:here")


def test_where_pillow_lacks_jpeg_2000_the_kind_can_be_left_out(photos, monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(BadUsage, match=r"^jpeg_2000: this Pillow .* without_kinds=jpeg_2000$"):
        rows_of(photos)
    assert len(rows_of(f"{photos}?without_kinds=jpeg_2000&every=yes")) == 4 * 24 * 5
