"""Bytes that lie inside a bigger file: a picture in a tar shard, a zip or a pack."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stored:
    """Where the bytes of one picture lie: `size` bytes from byte `offset` of the file `path`."""

    path: str
    offset: int
    size: int
