"""Pictures in archives are read from their places: a place gives the very bytes that were put in."""

import io
import json
import pathlib
import tarfile
import zipfile

import pytest

from pellucid.data import archive, members
from pellucid.data.read import read
from pellucid.data.shards import expanded
from pellucid.data.stored import Stored
from pellucid.errors import BadData, BadUsage, UnsafeInput
from pellucid.recipe import Data

LONG = "a" * 150  # longer than a plain tar header holds


def tar(path: pathlib.Path, files: dict[str, bytes], form: int = tarfile.PAX_FORMAT, mode: str = "w") -> str:
    with tarfile.open(path, mode, format=form) as out:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return str(path)


def zipped(path: pathlib.Path, files: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(path, "w", how) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return str(path)


def bytes_at(place: Stored | bytes) -> bytes:
    if isinstance(place, bytes):
        return place
    return pathlib.Path(place.path).read_bytes()[place.offset : place.offset + place.size]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_samples_are_labelled_by_the_file_of_their_key(tmp_path, form):
    files = {
        "0001.jpg": b"one",
        "0001.cls": b"1\n",
        f"{LONG}/0002.PNG": b"two" * 400,
        f"{LONG}/0002.json": json.dumps({"label": 0}).encode(),
        "0003.webp": b"three",
        "0003.txt": b"a name",
        "0004.jpg": b"four",
        "0004.json": json.dumps({"labels": ["bird", 1]}).encode(),
    }
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    rows = read(Data(f"shards:{tar(tmp_path / 's.tar', files, form)}?classes={tmp_path}/names.txt"))
    assert [row["id"] for row in rows] == ["s.tar:0001", f"s.tar:{LONG}/0002", "s.tar:0003", "s.tar:0004"]
    assert [row.get("label", row.get("labels")) for row in rows] == ["dog", "cat", "a name", ["bird", "dog"]]
    assert [bytes_at(row["image"]) for row in rows] == [b"one", b"two" * 400, b"three", b"four"]
    assert all(row["classes"] == ("cat", "dog") for row in rows)


def test_without_names_an_index_is_the_label(tmp_path):
    assert read(Data(f"shards:{tar(tmp_path / 's.tar', {'k.jpg': b'x', 'k.cls': b'7'})}"))[0]["label"] == "7"


def test_a_range_a_pattern_a_folder_and_a_list_name_the_same_shards(tmp_path):
    for i in range(12):
        tar(tmp_path / f"t-{i:04}.tar", {f"{i}.jpg": b"x", f"{i}.cls": str(i).encode()})
    found = [read(Data(f"shards:{tmp_path}{end}")) for end in ("/t-{0000..0011}.tar", "/t-*.tar", "")]
    assert found[0] == found[1] == found[2]
    assert [row["label"] for row in found[0]] == [str(i) for i in range(12)]
    with pytest.raises(BadData, match=r"no file .*t-0012.tar, one of the 13 shards of"):
        read(Data(f"shards:{tmp_path}/t-{{0000..0012}}.tar"))
    with pytest.raises(BadData, match=r"u-\*.tar: no such archive"):
        read(Data(f"shards:{tmp_path}/u-*.tar"))
    assert expanded("{a,b}-{08..10}{x}") == [f"{l}-{n}{{x}}" for l in "ab" for n in ("08", "09", "10")]  # noqa: E741


@pytest.mark.parametrize("make", [tar, zipped])
def test_an_archive_of_class_folders_is_read_as_they_lie(tmp_path, make):
    files = {
        "photos/dog/b.jpg": b"bb",
        "photos/cat/a.jpg": b"a",
        "photos/cat/more/c.jpg": b"ccc",
        "photos/note.md": b"",
        "__MACOSX/._x.jpg": b"",
    }
    rows = read(Data(make(tmp_path / f"p.{make.__name__[:3]}", files)))  # a bare path is told by its ending
    assert [(row["label"], bytes_at(row["image"])) for row in rows] == [("cat", b"a"), ("cat", b"ccc"), ("dog", b"bb")]
    assert rows[0]["classes"] == ("cat", "dog")
    assert isinstance(rows[0]["image"], Stored)


def test_a_zip_whose_headers_carry_more_than_names_is_read_at_the_right_place(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as out:
        info = zipfile.ZipInfo("cat/a.jpg")
        info.extra = b"UT\x05\x00\x03abcd"  # the times that Unix' zip adds
        out.writestr(info, b"the picture")
    assert bytes_at(read(Data(f"{tmp_path}/p.zip"))[0]["image"]) == b"the picture"


def test_an_archive_of_splits_needs_one_chosen(tmp_path):
    path = zipped(tmp_path / "p.zip", {"d/train/cat/a.jpg": b"a", "d/train/dog/b.jpg": b"b", "d/valid/cat/c.jpg": b"c"})
    assert [row["label"] for row in read(Data(f"shards:{path}?split=train"))] == ["cat", "dog"]
    assert [bytes_at(row["image"]) for row in read(Data(f"shards:{path}?split=val"))] == [b"c"]
    with pytest.raises(BadData, match="holds splits, not classes"):
        read(Data(f"shards:{path}"))
    with pytest.raises(BadData, match="no folder 'test'; there are train, valid"):
        read(Data(f"shards:{path}?split=test"))


def test_compressed_members_of_a_zip_come_as_bytes_within_a_limit(tmp_path):
    path = zipped(tmp_path / "p.zip", {"cat/a.jpg": b"a" * 1000, "cat/b.jpg": b"b"}, zipfile.ZIP_DEFLATED)
    assert [row["image"] for row in read(Data(f"shards:{path}"))] == [b"a" * 1000, b"b"]
    with pytest.raises(UnsafeInput, match=r"compressed pictures take more .* \(zip -0\)"):
        members.members(pathlib.Path(path), lambda name: True, archive.Limits(num_bytes=1000))


def test_a_zip_that_lies_about_a_compressed_size_is_refused(tmp_path):
    path = pathlib.Path(zipped(tmp_path / "p.zip", {"a.jpg": b"a" * 5000}, zipfile.ZIP_DEFLATED))
    path.write_bytes(path.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises((UnsafeInput, BadData)):
        read(Data(f"shards:{path}"))


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "c:/a.jpg", "x/../../a.jpg"])
@pytest.mark.parametrize("make", [tar, zipped])
def test_a_member_that_would_lie_outside_is_refused(tmp_path, make, name):
    with pytest.raises(UnsafeInput, match="outside the folder"):
        read(Data(f"shards:{make(tmp_path / 'p.tar', {name: b'x'})}"))


def test_links_in_a_tar_and_members_twice_are_refused(tmp_path):
    with tarfile.open(tmp_path / "l.tar", "w") as out:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "elsewhere"
        out.addfile(info)
    with pytest.raises(UnsafeInput, match=r"member 'a.jpg' is no regular file"):
        read(Data(f"shards:{tmp_path}/l.tar"))
    with tarfile.open(tmp_path / "t.tar", "w") as out:
        for _ in range(2):
            out.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    with pytest.raises(UnsafeInput, match="occurs twice"):
        read(Data(f"shards:{tmp_path}/t.tar"))


def test_an_archive_cut_short_compressed_as_a_whole_or_no_archive_is_told(tmp_path):
    path = pathlib.Path(tar(tmp_path / "s.tar", {"a.jpg": b"x" * 9000}))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(BadData, match=r"s.tar: ends inside member a.jpg"):
        read(Data(f"shards:{path}"))
    with pytest.raises(BadData, match=r"compressed as a whole, .*gunzip it first"):
        read(Data(f"shards:{tar(tmp_path / 's.tar.gz', {'a.jpg': b'x'}, mode='w:gz')}"))
    path.write_bytes(b"no archive at all" * 100)
    with pytest.raises(BadData, match=r"s.tar: not a readable tar"):
        read(Data(f"shards:{path}"))
    path.write_bytes(b"")
    with pytest.raises(BadData, match="the file is empty"):
        read(Data(f"shards:{path}"))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"k.jpg": b"", "k.cls": b"cat"}, r"s.tar:k.cls: expected a class index, found 'cat'"),
        ({"k.jpg": b"", "k.json": b"{"}, r"s.tar:k.json: not readable as JSON"),
        ({"k.jpg": b"", "k.json": b'{"label": 1.5}'}, r"expected a label's name or index, found 1.5"),
        ({"k.jpg": b"", "k.json": b'{"labels": "cat"}'}, "expected a list of labels, found 'cat'"),
        ({"k.jpg": b"", "k.txt": b"\xff\xfe"}, r"s.tar:k.txt: not readable as UTF-8"),
        ({"k.jpg": b"", "k.png": b"", "k.cls": b"1"}, "the sample has pictures jpg, png; expected one"),
        ({"k.jpg": b"", "k.cls": b"1", "m.cls": b"2"}, r"s.tar:m: the sample has cls but no picture"),
        ({"k.txt": b"1"}, "no pictures in 1 archives"),
    ],
)
def test_a_sample_that_is_not_whole_is_named(tmp_path, files, told):
    with pytest.raises(BadData, match=told):
        read(Data(f"shards:{tar(tmp_path / 's.tar', files)}"))


def test_an_index_beyond_the_names_is_told(tmp_path):
    (tmp_path / "names.json").write_text('["cat", "dog"]')
    path = tar(tmp_path / "s.tar", {"k.jpg": b"", "k.cls": b"2"})
    with pytest.raises(BadData, match=r"s.tar:k.cls: class '2' is not in the list of 2 classes"):
        read(Data(f"shards:{path}?classes={tmp_path}/names.json"))
    with pytest.raises(BadUsage, match="layout=x: expected samples or folders"):
        read(Data(f"shards:{path}?layout=x"))


def test_the_picture_of_a_sample_is_the_one_with_the_plain_ending(tmp_path):
    row = read(Data(f"shards:{tar(tmp_path / 's.tar', {'k.mask.png': b'm', 'k.jpg': b'x', 'k.cls': b'1'})}"))[0]
    assert bytes_at(row["image"]) == b"x"
