"""Archives give their regular files and nothing else; whatever could harm is refused whole."""

import gzip
import io
import pathlib
import stat
import tarfile
import zipfile

import pytest

from pellucid.data import archive
from pellucid.errors import BadData, UnsafeInput


def tar_of(path: pathlib.Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> pathlib.Path:
    with tarfile.open(path, mode) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def zip_of(path: pathlib.Path, members: dict[str, bytes]) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_comes_out_as_it_went_in(tmp_path, mode):
    made = tar_of(tmp_path / "a.tar", [special("d", tarfile.DIRTYPE), plain("d/one.txt", b"1"), plain("./two", b"22")], mode)
    archive.extract(made, tmp_path / "out")
    assert (tmp_path / "out/d/one.txt").read_bytes() == b"1"
    assert (tmp_path / "out/two").read_bytes() == b"22"


def test_a_zip_comes_out_as_it_went_in(tmp_path):
    archive.extract(zip_of(tmp_path / "a.zip", {"d/one.txt": b"1", "two": b"22"}), tmp_path / "out")
    assert (tmp_path / "out/d/one.txt").read_bytes() == b"1"
    assert (tmp_path / "out/two").read_bytes() == b"22"


BAD_NAMES = ["../evil", "a/../../evil", "/evil", "C:/evil", "c:evil", "..\\evil", "\\evil", "a\nb"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_tar_member_outside_its_folder_is_refused_and_nothing_is_left(tmp_path, name):
    made = tar_of(tmp_path / "a.tar.gz", [plain("good"), plain(name)])
    with pytest.raises(UnsafeInput, match=r"a.tar.gz: member .* outside the folder"):
        archive.extract(made, tmp_path / "deep/out")
    assert not list((tmp_path / "deep").iterdir())
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_zip_member_outside_its_folder_is_refused_and_nothing_is_left(tmp_path, name):
    made = zip_of(tmp_path / "a.zip", {"good": b"x", name: b"x"})
    with pytest.raises(UnsafeInput, match=r"a.zip: member .* outside the folder"):
        archive.extract(made, tmp_path / "deep/out")
    assert not list((tmp_path / "deep").iterdir())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    made = tar_of(tmp_path / "a.tar.gz", [special("link", kind, "/etc/passwd")])
    with pytest.raises(UnsafeInput, match="'link' is no regular file"):
        archive.extract(made, tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafeInput, match="'link' is no plain regular file"):
        archive.extract(tmp_path / "a.zip", tmp_path / "out")


def test_bombs_are_refused_while_reading(tmp_path):
    limits = archive.Limits(num_files=5, num_bytes=100_000)
    zeros = bytes(1_000_000)
    for made in (tar_of(tmp_path / "a.tar.gz", [plain("z", zeros)]), zip_of(tmp_path / "a.zip", {"z": zeros})):
        with pytest.raises(UnsafeInput, match="more than 100000 bytes"):
            archive.extract(made, tmp_path / "out", limits)
        with pytest.raises(UnsafeInput, match="more than 100000 bytes"):
            archive.read_members(made, ["z"], limits=limits)
    many = {str(i): b"" for i in range(6)}
    with pytest.raises(UnsafeInput, match="more than 5 members"):
        archive.extract(zip_of(tmp_path / "b.zip", many), tmp_path / "out", limits)
    assert not (tmp_path / "out").exists()


def test_the_cap_counts_all_members_together(tmp_path):
    made = zip_of(tmp_path / "a.zip", {str(i): bytes(400) for i in range(3)})
    with pytest.raises(UnsafeInput, match="more than 1000 bytes"):
        archive.extract(made, tmp_path / "out", archive.Limits(num_bytes=1000))
    archive.extract(made, tmp_path / "out", archive.Limits(num_bytes=1200))


def test_a_bomb_in_a_tar_header_is_refused_too(tmp_path):
    info = tarfile.TarInfo("n" * 1_000_000)
    made = tar_of(tmp_path / "a.tar.gz", [(info, b"")])
    assert made.stat().st_size < 10_000
    with pytest.raises(UnsafeInput, match="more than 100000 bytes"):
        archive.extract(made, tmp_path / "out", archive.Limits(num_bytes=100_000))


def test_two_members_of_one_path_are_refused(tmp_path):
    for members in ([plain("a"), plain("./a")], [plain("a"), plain("a/b")], [plain("a/b"), plain("a")]):
        with pytest.raises(UnsafeInput, match="occurs twice or as file and folder"):
            archive.extract(tar_of(tmp_path / "a.tar.gz", members), tmp_path / "out")


def test_named_members_are_read_from_an_archive_inside_an_archive(tmp_path):
    inner = tar_of(tmp_path / "in.tar.gz", [plain("x/a", b"A"), plain("x/b", b"B")]).read_bytes()
    outer = zip_of(tmp_path / "out.zip", {"p/in.tar.gz": inner})
    found = archive.read_members(outer, ["p/in.tar.gz"])["p/in.tar.gz"]
    assert archive.read_members(found, ["x/b"], "in.tar.gz") == {"x/b": b"B"}
    with pytest.raises(BadData, match=r"in.tar.gz: no member x/c"):
        archive.read_members(found, ["x/c"], "in.tar.gz")


def test_damaged_archives_are_bad_data(tmp_path):
    whole_tar = tar_of(tmp_path / "w.tar.gz", [plain("a", bytes(range(256)) * 100)]).read_bytes()
    whole_zip = zip_of(tmp_path / "w.zip", {"a": bytes(range(256)) * 100}).read_bytes()
    half = len(gzip.decompress(whole_tar)) // 2
    broken = [b"", b"no archive", whole_tar[:-40], gzip.compress(gzip.decompress(whole_tar)[:half]), whole_zip[:-10], b"PK"]
    flipped = bytearray(whole_zip)
    flipped[60] ^= 0xFF
    for content in [*broken, bytes(flipped)]:
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(BadData, match="a: not a readable tar"):
            archive.extract(tmp_path / "a", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_folder_made_meanwhile_by_another_process_is_kept(tmp_path):
    with archive.whole_folder(tmp_path / "out") as fresh:
        (fresh / "file").write_text("ours")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/file").write_text("theirs")
    assert (tmp_path / "out/file").read_text() == "theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failed_block_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), archive.whole_folder(tmp_path / "out") as fresh:
        (fresh / "file").write_text(str(1 / 0))
    assert not list(tmp_path.iterdir())
