"""Tar and zip archives opened without trust: regular files only, nothing outside the folder, no bombs."""

import contextlib
import gzip
import io
import pathlib
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pellucid.errors import BadData, UnsafeInput

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError)
_CHUNK = 1 << 20
_Seekable = io.BufferedReader | io.BytesIO


@runtime_checkable
class Stream(Protocol):
    """Anything that bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes; all that are left where negative."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold; whatever exceeds it is refused while reading.

    Args:
        num_files: members, folders included.
        num_bytes: unpacked, all members and their headers together.
    """

    num_files: int = 20_000
    num_bytes: int = 2 << 30


def extract(archive: pathlib.Path, folder: pathlib.Path, limits: Limits = Limits()) -> None:
    """Unpacks all of an archive into a new folder, or nothing of it.

    Raises:
        UnsafeInput: a member is no regular file, lies outside the folder, or exceeds the limits.
        BadData: no readable tar, tar.gz or zip archive.
    """
    with whole_folder(folder) as fresh, open(archive, "rb") as file, readable(archive.name):
        for name, content in _members(file, archive.name, limits):
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as out:
                shutil.copyfileobj(content, out, _CHUNK)


def read_members(archive: pathlib.Path | bytes, names: Collection[str], label: str = "", limits: Limits = Limits()) -> dict[str, bytes]:
    """The named members of an archive, which may itself be held in memory.

    Args:
        label: how messages call the archive; its file name where it has one.
    Raises:
        UnsafeInput: as `extract`, for any member of the archive.
        BadData: no readable archive, or a member is not in it.
    """
    label = label or (archive.name if isinstance(archive, pathlib.Path) else "archive")
    with io.BytesIO(archive) if isinstance(archive, bytes) else open(archive, "rb") as file, readable(label):
        found = {name: content.read() for name, content in _members(file, label, limits) if name in names}
    missing = sorted(set(names) - set(found))
    if missing:
        raise BadData(f"{label}: no member {missing[0]}")
    return found


@contextlib.contextmanager
def whole_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A fresh folder that becomes `folder` when the block ends well; otherwise nothing of it stays.

    If another process has made `folder` meanwhile, theirs is kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield fresh
        fresh.chmod(0o755)
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir() or not any(folder.iterdir()):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


# ---- members ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def readable(label: str) -> Iterator[None]:
    """What the decoders raise on a damaged archive, as one line."""
    try:
        yield
    except _BROKEN as error:
        raise BadData(f"{label}: not a readable tar, tar.gz or zip archive ({error})") from None


def _members(file: _Seekable, label: str, limits: Limits) -> Iterator[tuple[str, Stream]]:
    """Name and content of each regular file; a content must be read before the next is asked for."""
    start = file.read(2)
    file.seek(0)
    walk = _zip_members if start == b"PK" else _tar_members
    seen: dict[str, bool] = {}  # path -> whether it is a folder
    for raw, is_folder, content in walk(file, label, limits):
        name = safe_name(raw, label)
        no_clash(name, is_folder, seen, label)
        if len(seen) > limits.num_files:
            raise UnsafeInput(f"{label}: more than {limits.num_files} members; refused")
        if not is_folder:
            yield name, content


def _tar_members(file: _Seekable, label: str, limits: Limits) -> Iterator[tuple[str, bool, Stream]]:
    start = file.read(2)
    file.seek(0)
    plain: Any = gzip.GzipFile(fileobj=file) if start == b"\x1f\x8b" else file
    # read as a stream through the cap, so that even headers cannot unpack without end
    with tarfile.open(fileobj=Capped(plain, label, limits.num_bytes, limits.num_bytes), mode="r|") as tar:
        for info in tar:
            if not (info.isdir() or info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)) or info.issparse():
                raise UnsafeInput(f"{label}: member {info.name!r} is no regular file; refused")
            content = None if info.isdir() else tar.extractfile(info)
            yield info.name, info.isdir(), content or io.BytesIO()


def _zip_members(file: _Seekable, label: str, limits: Limits) -> Iterator[tuple[str, bool, Stream]]:
    with zipfile.ZipFile(file) as archive:
        left = limits.num_bytes
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1:
                raise UnsafeInput(f"{label}: member {info.filename!r} is no plain regular file; refused")
            if info.is_dir():
                yield info.filename, True, io.BytesIO()
                continue
            with archive.open(info) as content:
                capped = Capped(content, label, left, limits.num_bytes)
                yield info.filename, False, capped
                left = capped.left


class Capped(io.RawIOBase):
    """A stream that refuses to give more than `left` bytes, the rest of a `cap` shared by all."""

    def __init__(self, stream: Stream, label: str, left: int, cap: int):
        self.stream, self.label, self.left, self.cap = stream, label, left, cap

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """At most so many bytes.

        Raises:
            UnsafeInput: the stream has more than may be left.
        """
        want = self.left + 1 if size is None or size < 0 else min(size, self.left + 1)
        data = self.stream.read(want)
        self.left -= len(data)
        if self.left < 0:
            raise UnsafeInput(f"{self.label}: unpacks to more than {self.cap} bytes; refused")
        return data


def safe_name(raw: str, label: str) -> str:
    """The member's path with `/` between parts; refused where it could leave the folder."""
    path = raw.replace("\\", "/")
    parts = [p for p in path.split("/") if p not in ("", ".")]
    if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in parts or re.search(r"[\x00-\x1f]", path):
        raise UnsafeInput(f"{label}: member {raw!r} would land outside the folder; refused")
    return "/".join(parts)


def no_clash(name: str, is_folder: bool, seen: dict[str, bool], label: str) -> None:
    """Two members of one path, or a file used as a folder, have no single meaning."""
    parents = [name[:i] for i, c in enumerate(name) if c == "/"]
    repeated = name in seen and not (is_folder and seen[name])
    if repeated or not (name or is_folder) or not all(seen.get(p, True) for p in parents):
        raise UnsafeInput(f"{label}: member {name!r} occurs twice or as file and folder; refused")
    seen[name] = is_folder
    seen.update(dict.fromkeys(parents, True))
