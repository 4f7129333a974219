"""Pictures that are byte for byte the same, found by reading little."""

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


def copies(train: Sequence[Mapping[str, Any]], tests: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[int, int]]:
    """Per test set, the rows whose picture a training row has too -> the first such row."""
    every = keys([row["image"] for rows in (train, *tests.values()) for row in rows])
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
