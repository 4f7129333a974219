"""An original lies on one side of a split only, under whatever name."""

import pathlib

import pytest

from pellucid.data.groups import disjoint, groups_of, part_of
from pellucid.data.read import read
from pellucid.data.stored import Stored
from pellucid.errors import BadData
from pellucid.recipe import Data

GROUPS = [f"set/{i}" for i in range(30)]


def parts(groups: list[str], seed: int = 0) -> dict[str, set[str]]:
    return {p: {g for g, here in zip(groups, part_of(groups, p, seed), strict=True) if here} for p in ("train", "dev", "test")}


def lay_tid(root: pathlib.Path, num: int = 10) -> str:
    lines = []
    for original in range(1, num + 1):
        for name in ("reference_images/I{:02d}.BMP", "distorted_images/i{:02d}_01_1.bmp", "distorted_images/i{:02d}_01_2.bmp"):
            path = root / name.format(original)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{name}{original:02d}".encode())
        lines += [f"5 i{original:02d}_01_1.bmp", f"4 i{original:02d}_01_2.bmp"]
    (root / "mos_with_names.txt").write_text("\n".join(lines))
    return f"tid:{root}"


def pair(name: str, group: str, reference, image: str = "x.png") -> dict:
    return {"id": name, "image": image, "reference": reference, "group": group}


def test_every_group_lies_in_one_part_and_a_tenth_is_dev_and_test():
    found = parts([group for group in GROUPS for _ in range(7)])
    assert {p: len(groups) for p, groups in found.items()} == {"train": 24, "dev": 3, "test": 3}
    assert found["train"] | found["dev"] | found["test"] == set(GROUPS)


def test_the_draw_depends_on_the_groups_and_the_seed_and_not_on_rows_or_their_order():
    assert parts(GROUPS) == parts(GROUPS[::-1] + GROUPS[:5] * 9)
    assert parts(GROUPS) != parts(GROUPS, seed=1)


def test_five_originals_give_one_to_dev_and_one_to_test_and_two_cannot_be_parted():
    assert {p: len(groups) for p, groups in parts(GROUPS[:5]).items()} == {"train": 3, "dev": 1, "test": 1}
    with pytest.raises(BadData, match=r"2 originals \(set/0, set/1\) cannot be parted into train, dev and test; name --dev and --test"):
        part_of(GROUPS[:2], "dev", 0)


def test_parts_of_a_source_share_no_original_and_hold_all_rows(tmp_path):
    source = lay_tid(tmp_path)
    found = {part: read(Data(source, part=part)) for part in ("train", "dev", "test")}
    assert {part: len(rows) for part, rows in found.items()} == {"train": 16, "dev": 2, "test": 2}
    disjoint(found["train"], {"dev": found["dev"], "test": found["test"]})
    assert len({row["id"] for rows in found.values() for row in rows}) == 20


def test_a_plain_table_of_pairs_is_drawn_by_its_column_of_originals_and_one_of_texts_by_row(tmp_path):
    lines = ["image,reference"] + [f"d{i}_{k}.png,r{i}.png" for i in range(5) for k in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    for name in {name for line in lines[1:] for name in line.split(",")}:
        (tmp_path / name).write_bytes(b"x")
    (dev,) = {row["reference"] for row in read(Data(f"csv:{tmp_path}/t.csv", part="dev"))}
    assert len(read(Data(f"csv:{tmp_path}/t.csv", part="dev"))) == 4 and dev.startswith(str(tmp_path))
    texts = [{"text": "hi", "reference": "a summary", "group": "men", "id": str(i)} for i in range(10)]
    assert groups_of(texts, {}) is None


def test_an_original_in_train_and_test_is_refused_with_both_rows_and_the_remedy(tmp_path):
    rows = read(Data(lay_tid(tmp_path, 3)))
    with pytest.raises(BadData, match=r"txt:2 of home: its original is also that of training row .*txt:1 \(its group is tid/i01\)"):
        disjoint(rows[:1], {"dev": rows[2:], "home": rows[1:2]})
    with pytest.raises(BadData, match=r"\?references=A,B and \?without=A,B"):
        disjoint(rows, {"dev": rows[:1]})
    disjoint(rows[:2], {"dev": rows[2:4], "home": rows[4:]})


def test_the_same_photograph_is_found_under_two_names_and_in_two_sets(tmp_path):
    for name, content in {"kodak.bmp": b"abc", "i07.bmp": b"abc", "i08.bmp": b"abd", "i09.bmp": b"ab"}.items():
        (tmp_path / name).write_bytes(content)
    train = [pair("live:1", "live/kodak", f"{tmp_path}/kodak.bmp")]
    disjoint(train, {"home": [pair("tid:1", "tid/i08", f"{tmp_path}/i08.bmp"), pair("tid:2", "tid/i09", f"{tmp_path}/i09.bmp")]})
    with pytest.raises(BadData, match=r"tid:1 of away: .* training row live:1 \(.*i07.bmp is .*kodak.bmp, byte for byte\)"):
        disjoint(train, {"away": [pair("tid:1", "tid/i07", f"{tmp_path}/i07.bmp")]})
    (tmp_path / "link.bmp").symlink_to(tmp_path / "kodak.bmp")
    with pytest.raises(BadData, match="byte for byte"):
        disjoint(train, {"away": [pair("x:1", "x/link", f"{tmp_path}/link.bmp")]})
    (tmp_path / "shard").write_bytes(b"--abc")
    with pytest.raises(BadData, match="byte for byte"):
        disjoint(train, {"away": [pair("x:1", "x/stored", Stored(str(tmp_path / "shard"), 2, 3))]})


def test_no_file_is_read_where_sizes_differ(tmp_path, monkeypatch):
    for i in range(3):
        (tmp_path / f"{i}.bmp").write_bytes(b"x" * (i + 1))
    monkeypatch.setattr("pellucid.data.copies._digest", lambda *_: pytest.fail("a file was read"))
    first, *rest = (pair(str(i), str(i), f"{tmp_path}/{i}.bmp") for i in range(3))
    disjoint([first, first], {"home": rest})
