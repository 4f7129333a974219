"""Pictures and clips that are byte for byte the same, found by reading little."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from pellucid.data.decode import Source, opened
from pellucid.data.stored import Stored

_END = 4096  # bytes: two photographs of one size hardly share their last ones
_CHUNK = 1 << 20

Key = tuple[Hashable, ...]
Rows = Sequence[Mapping[str, Any]]


def keys(images: Sequence[Source]) -> list[Key]:
    """A key per picture, equal where the bytes are: its size, where sizes meet a digest of its ends, where those meet of all of it.

    Raises:
        BadData: a file cannot be read.
    """
    found: list[Key] = [(_size(image),) for image in images]
    for digest in (_ends, _whole):
        found = _refined(found, images, digest)
    return found


def _refined(found: list[Key], images: Sequence[Source], digest: Callable[[Source], bytes]) -> list[Key]:
    times = Counter(found)
    return [(*key, digest(image)) if times[key] > 1 else key for key, image in zip(found, images, strict=True)]


def copies(train: Rows, tests: Mapping[str, Rows]) -> dict[str, dict[int, int]]:
    """Per test set, the rows whose picture a training row has too -> the first such row."""
    return _shared(keys([row["image"] for rows in (train, *tests.values()) for row in rows]), train, tests)


def clip_copies(train: Rows, tests: Mapping[str, Rows]) -> dict[str, dict[int, int]]:
    """Per test set, the rows whose clip a training row has too -> the first such row.

    Raises:
        BadData: a file cannot be read, or a part is none.
    """
    return _shared(clip_keys([row for rows in (train, *tests.values()) for row in rows]), train, tests)


def clip_keys(rows: Rows) -> list[Key]:
    """A key per clip, equal where the bytes and the part of them are; of frames in a folder by their number and three of them.

    Raises:
        BadData: a file cannot be read, or a part is none.
    """
    from pellucid.data.clips.clip import FrameFolder, VideoFile, clip_of

    files: list[list[Source]] = []
    parts: list[Key] = []
    for clip in map(clip_of, rows):
        if isinstance(clip, VideoFile):
            files.append([clip.path])
            parts.append((clip.start_s, clip.end_s))
        elif isinstance(clip, FrameFolder):
            names = clip.files()
            files.append([names[at] for at in sorted({0, len(names) // 2, len(names) - 1})])
            parts.append((len(names), clip.start_s, clip.end_s))
        else:
            files.append([])
            parts.append((clip.key(),))
    found = iter(keys([file for some in files for file in some]))
    return [(*part, *(next(found) for _ in some)) for part, some in zip(parts, files, strict=True)]


def _shared(every: Sequence[Key], train: Rows, tests: Mapping[str, Rows]) -> dict[str, dict[int, int]]:
    """Per test set, rows whose key a training row has too -> the first such row; keys of `train`, then of each set."""
    known: dict[Key, int] = {}
    for row, key in enumerate(every[: len(train)]):
        known.setdefault(key, row)
    found: dict[str, dict[int, int]] = {}
    start = len(train)
    for name, rows in tests.items():
        part = every[start : start + len(rows)]
        found[name] = {i: known[key] for i, key in enumerate(part) if key in known}
        start += len(rows)
    return found


def _size(image: Source) -> int:
    if isinstance(image, bytes):
        return len(image)
    if isinstance(image, Stored):
        return image.size
    with opened(image) as file:
        return os.fstat(file.fileno()).st_size


def _ends(image: Source) -> bytes:
    size = _size(image)
    return _digest(image, [(0, min(_END, size)), (max(0, size - _END), min(_END, size))])


def _whole(image: Source) -> bytes:
    size = _size(image)
    return _digest(image, [(at, min(_CHUNK, size - at)) for at in range(0, size, _CHUNK)])


def _digest(image: Source, spans: Sequence[tuple[int, int]]) -> bytes:
    """Of the spans of a picture's bytes, each from an offset on."""
    total = hashlib.blake2b(digest_size=16)
    if isinstance(image, bytes):
        for at, size in spans:
            total.update(image[at : at + size])
        return total.digest()
    base = image.offset if isinstance(image, Stored) else 0
    with opened(image) as file:
        for at, size in spans:
            file.seek(base + at)
            total.update(file.read(size))
    return total.digest()
