"""Where the files of an archive lie, so that pictures are read from their places and nothing is unpacked."""

import pathlib
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import BinaryIO

from pellucid.data import archive
from pellucid.data.stored import Stored
from pellucid.errors import BadData, UnsafeInput

LIMITS = archive.Limits(num_files=3_000_000, num_bytes=1 << 30)  # bytes: of what a zip holds compressed, which is kept in memory
_WHOLE = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"(\xb5": "zstd -d"}
_LOCAL = struct.Struct("<4s5H3L2H")  # the header in front of each file of a zip

Found = dict[str, Stored | bytes]


def members(path: pathlib.Path, wanted: Callable[[str], bool], limits: archive.Limits = LIMITS) -> Found:
    """The wanted files of a tar or zip by name, in the archive's order; bytes where a zip has compressed them.

    Raises:
        UnsafeInput: a member of any name is no regular file, lies outside the folder, or the limits are exceeded.
        BadData: no such archive, a damaged one, or one that is compressed as a whole.
    """
    try:
        with open(path, "rb") as file, archive.readable(path.name):
            start = file.read(2)
            file.seek(0)
            if start in _WHOLE:
                remedy = f"{_WHOLE[start]} it first, or unpack it and read it with folder:"
                raise BadData(f"{path}: compressed as a whole, so that no picture can be read from its place; {remedy}")
            if not start:
                raise BadData(f"{path}: the file is empty")
            return _zip(file, path, wanted, limits) if start == b"PK" else _tar(file, path, wanted, limits)
    except FileNotFoundError:
        raise BadData(f"no file {path}") from None
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from None


def content(file: BinaryIO, place: Stored | bytes) -> bytes:
    """The bytes of a small member, `file` being its archive."""
    if isinstance(place, bytes):
        return place
    file.seek(place.offset)
    return file.read(place.size)


def _tar(file: BinaryIO, path: pathlib.Path, wanted: Callable[[str], bool], limits: archive.Limits) -> Found:
    found: Found = {}
    seen: dict[str, bool] = {}
    total = path.stat().st_size
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for info in tar:
            if not (info.isdir() or info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)) or info.issparse():
                raise UnsafeInput(f"{path.name}: member {info.name!r} is no regular file; refused")
            name = _entered(info.name, info.isdir(), seen, path.name, limits)
            if info.offset_data + info.size > total:
                raise BadData(f"{path}: ends inside member {name}: the archive is incomplete")
            if not info.isdir() and wanted(name):
                found[name] = Stored(str(path), info.offset_data, info.size)
    return found


def _zip(file: BinaryIO, path: pathlib.Path, wanted: Callable[[str], bool], limits: archive.Limits) -> Found:
    found: Found = {}
    seen: dict[str, bool] = {}
    left = limits.num_bytes
    with zipfile.ZipFile(file) as whole:
        for info in whole.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1:
                raise UnsafeInput(f"{path.name}: member {info.filename!r} is no plain regular file; refused")
            name = _entered(info.filename, info.is_dir(), seen, path.name, limits)
            if info.is_dir() or not wanted(name):
                continue
            if info.compress_type == zipfile.ZIP_STORED:
                found[name] = stored(file, path, info)
                continue
            left -= info.file_size
            if left < 0:
                raise UnsafeInput(
                    f"{path}: its compressed pictures take more than {limits.num_bytes >> 20} MiB of memory; refused. "
                    "Zip them without compression (zip -0), or unpack them and read them with folder:"
                )
            with whole.open(info) as packed:
                found[name] = archive.Capped(packed, path.name, info.file_size, info.file_size).read()
    return found


def stored(file: BinaryIO, path: pathlib.Path, info: zipfile.ZipInfo) -> Stored:
    """Where the bytes of an uncompressed member of a zip lie.

    Raises:
        BadData: the header in front of them is not where the archive's list says, or sizes disagree.
    """
    file.seek(info.header_offset)
    raw = file.read(_LOCAL.size)
    wrong = BadData(f"{path}: member {info.filename} is not where the archive's list says: the archive is damaged")
    if len(raw) < _LOCAL.size or raw[:4] != b"PK\x03\x04" or info.compress_size != info.file_size:
        raise wrong
    *_, name_size, extra_size = _LOCAL.unpack(raw)
    offset = info.header_offset + _LOCAL.size + name_size + extra_size
    if offset + info.file_size > path.stat().st_size:
        raise wrong
    return Stored(str(path), offset, info.file_size)


def _entered(raw: str, is_folder: bool, seen: dict[str, bool], label: str, limits: archive.Limits) -> str:
    name = archive.safe_name(raw, label)
    if name or not is_folder:  # tar often begins with its own folder, "./"
        archive.no_clash(name, is_folder, seen, label)
    if len(seen) > limits.num_files:
        raise UnsafeInput(f"{label}: more than {limits.num_files} members; refused")
    return name
