"""TFRecord files of Example and SequenceExample, read from the bytes themselves: no TensorFlow, no protobuf."""

import contextlib
import functools
import mmap
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from einops import rearrange

from pellucid.errors import BadData

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # what a Feature is, by field
_LANE = 512  # bytes that the vectorised checksum takes in turn in each of its lanes
_POLYNOMIAL = 0x82F63B78  # of CRC-32C, its bits reversed

Bytes = bytes | mmap.mmap


class Span(NamedTuple):
    """Bytes from `start` up to `end` of a file."""

    start: int
    end: int


class Field(NamedTuple):
    """One field of a message: its number and its value; of a varint `value`, of all else `span`."""

    number: int
    value: int
    span: Span


class Rows(NamedTuple):
    """Where equally wide rows of numbers lie: from `offset` on, each after `lead` bytes of its own."""

    rows: int
    width: int
    dtype: str
    offset: int
    lead: int


@contextlib.contextmanager
def mapped(path: str) -> Iterator[Bytes]:
    """The bytes of a file, read only where they are looked at.

    Raises:
        BadData: there is no such file, or it is empty.
    """
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise BadData(f"{path}: the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
                if hasattr(mmap, "MADV_RANDOM"):
                    raw.madvise(mmap.MADV_RANDOM)  # else whole videos are read ahead, of which a few bytes are asked
                yield raw
    except FileNotFoundError:
        raise BadData(f"no file {path}") from None
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from None


def records(raw: Bytes, name: str, check: bool = False) -> Iterator[Span]:
    """Where the content of each record lies.

    Args:
        name: what messages call the file.
        check: the checksum of each content, too, which reads all of it; that of its length is always checked.
    Raises:
        BadData: a checksum is wrong, or the file ends inside a record.
    """
    at, number, size = 0, 0, len(raw)
    while at < size:
        number += 1
        where = f"{name}: record {number}"
        if at + 12 > size:
            raise BadData(f"{where}: the file is cut short, {size - at} bytes of it being there")
        length, told = struct.unpack_from("<QI", raw, at)
        if masked(crc32c(raw[at : at + 8])) != told:
            raise BadData(f"{where}: the checksum of its length is wrong: damaged, or no TFRecord file")
        span = Span(at + 12, at + 12 + length)
        if span.end + 4 > size:
            raise BadData(f"{where}: the file is cut short, {size - span.start} of its {length} bytes being there")
        if check and masked(crc32c(raw[span.start : span.end])) != struct.unpack_from("<I", raw, span.end)[0]:
            raise BadData(f"{where}: its checksum is wrong: the file is damaged")
        yield span
        at = span.end + 4


# ---- messages -----------------------------------------------------------------------------------------------------


def context(raw: Bytes, record: Span) -> dict[str, Span]:
    """The features of an Example, or the context of a SequenceExample, by name.

    Raises:
        BadData: the bytes are no such message.
    """
    return _entries(raw, record, 1)


def sequences(raw: Bytes, record: Span) -> dict[str, Span]:
    """The lists of features of a SequenceExample by name; none of an Example.

    Raises:
        BadData: the bytes are no such message.
    """
    return _entries(raw, record, 2)


def whole_numbers(raw: Bytes, feature: Span) -> list[int] | None:
    """The values of a feature that is a list of whole numbers; None of another."""
    found: list[int] = []
    for kind in fields(raw, feature):
        if kind.number != _INT64_LIST:
            return None
        for item in fields(raw, kind.span):
            found += [item.value] if item.span == (0, 0) else _varints(raw, item.span)
    return [value - (1 << 64) if value >> 63 else value for value in found]


def texts(raw: Bytes, feature: Span) -> list[bytes] | None:
    """The values of a feature that is a list of bytes; None of another."""
    found: list[bytes] = []
    for kind in fields(raw, feature):
        if kind.number != _BYTES_LIST:
            return None
        found += [bytes(raw[item.span.start : item.span.end]) for item in fields(raw, kind.span)]
    return found


def numbers(raw: Bytes, feature: Span) -> Rows | None:
    """Where the numbers of a feature lie that is one value of bytes or a list of floats; None of another.

    Raises:
        BadData: the feature has several values of bytes, or its floats lie apart.
    """
    kinds = list(fields(raw, feature))
    if len(kinds) != 1 or kinds[0].number not in (_BYTES_LIST, _FLOAT_LIST):
        return None
    values = list(fields(raw, kinds[0].span))
    if len(values) != 1 or values[0].span.end != feature.end or values[0].span == (0, 0):
        raise BadData(f"{len(values)} values in a feature; expected one of bytes, or floats that lie packed")
    span, dtype = values[0].span, "|u1" if kinds[0].number == _BYTES_LIST else "<f4"
    width, odd = divmod(span.end - span.start, np.dtype(dtype).itemsize)
    if odd or not width:
        raise BadData(f"{span.end - span.start} bytes of {'floats' if dtype == '<f4' else 'numbers'} in a feature")
    return Rows(1, width, dtype, span.start, 0)


def frames(raw: Bytes, sequence: Span) -> Rows | None:
    """Where the numbers of a list of features lie, a feature a row, as its first one tells; None of a list of anything else.

    That all rows are as the first is for whoever reads them to check: their `lead` bytes are the same.

    Raises:
        BadData: the list is empty, or its features cannot be of one width.
    """
    first = next(fields(raw, sequence), None)
    if first is None:
        raise BadData("no frames")
    row = numbers(raw, first.span)
    if row is None:
        return None
    count, odd = divmod(sequence.end - sequence.start, first.span.end - sequence.start)
    if odd:
        raise BadData("its frames differ in width")
    return row._replace(rows=count, offset=sequence.start, lead=row.offset - sequence.start)


def _entries(raw: Bytes, record: Span, number: int) -> dict[str, Span]:
    """The values of a map (its entries are messages of key and value) in the message that is field `number`."""
    found = {}
    for message in fields(raw, record):
        if message.number == number:
            for entry in fields(raw, message.span):
                parts = {part.number: part.span for part in fields(raw, entry.span)}
                key = parts.get(1, Span(0, 0))
                name = bytes(raw[key.start : key.end]).decode("utf-8", "replace")
                if not name.isprintable():
                    raise BadData(f"a feature is called {name[:40]!r}: damaged")
                found[name] = parts.get(2, Span(0, 0))
    return found


def fields(raw: Bytes, span: Span) -> Iterator[Field]:
    """The fields of a message in their order.

    Raises:
        BadData: the bytes are no message.
    """
    at, end = span
    while at < end:
        tag, at = _varint(raw, at, end)
        value, start = 0, at
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(raw, at, end)
        elif wire == _BYTES:
            length, start = _varint(raw, at, end)
            at = start + length
        elif wire in (_FIXED64, _FIXED32):
            at = start + (8 if wire == _FIXED64 else 4)
        else:
            raise BadData(f"no message of ours: wire type {wire}")
        if at > end:
            raise BadData("a field is longer than its message: damaged")
        yield Field(tag >> 3, value, Span(0, 0) if wire == _VARINT else Span(start, at))


def _varints(raw: Bytes, span: Span) -> list[int]:
    at, found = span.start, []
    while at < span.end:
        value, at = _varint(raw, at, span.end)
        found.append(value)
    return found


def _varint(raw: Bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise BadData("a number without an end: damaged")


# ---- checksum -----------------------------------------------------------------------------------------------------


def masked(crc: int) -> int:
    """A checksum as TFRecord writes it, so that one of data that hold checksums is no trivial value."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli)."""
    crc, start = 0xFFFFFFFF, 0
    if len(data) >= 2 * _LANE:
        start = len(data) // _LANE * _LANE
        crc = _lanes(data, start, crc)
    table = _table()[0]
    for byte in data[start:]:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _lanes(data: bytes, size: int, crc: int) -> int:
    """The checksum's state after so many bytes: lanes of equal length go through the table together, and are joined afterwards."""
    columns = np.ascontiguousarray(rearrange(np.frombuffer(data, np.uint8, size), "(k n) -> n k", n=_LANE)).astype(np.uint32)
    states = np.zeros(columns.shape[1], np.uint32)
    states[0] = crc
    table, past = _table()[1], _past()
    for column in columns:
        states = table[(states ^ column) & 255] ^ states >> 8
    crc, *others = states.tolist()
    for state in others:
        crc = past[0][crc & 255] ^ past[1][crc >> 8 & 255] ^ past[2][crc >> 16 & 255] ^ past[3][crc >> 24] ^ state
    return crc


@functools.cache
def _table() -> tuple[list[int], np.ndarray]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(_POLYNOMIAL), np.uint32(0)) ^ table >> 1
    return table.tolist(), table


@functools.cache
def _past() -> list[list[int]]:
    """What a lane of zeros makes of a state, for each value of each of its four bytes."""
    states = np.stack([np.arange(256, dtype=np.uint32) << np.uint32(bits) for bits in (0, 8, 16, 24)])
    for _ in range(_LANE):
        states = _table()[1][states & 255] ^ states >> 8
    return states.tolist()
