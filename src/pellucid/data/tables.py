"""Tables in files, plain or gzipped: CSV, TSV, JSON Lines, JSON, Parquet, and lines of text taken apart by a pattern."""

import csv
import gzip
import io
import json
import pathlib
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage

Rows = list[dict[str, Any]]

OPTIONS = {
    "csv": ("encoding", "header", "quoting", "extra"),
    "tsv": ("encoding", "header", "quoting", "extra"),
    "jsonl": ("encoding", "broken"),
    "json": ("encoding",),
    "parquet": (),
    "lines": ("encoding", "pattern"),
}
SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet", ".txt": "lines"}
_CHOICES = {"header": ("yes", "no"), "quoting": ("minimal", "none"), "extra": ("refuse", "drop"), "broken": ("refuse", "drop")}


def kind_of(path: str) -> str | None:
    """The kind of table that a path's ending tells, `.gz` aside; None where it tells none."""
    return SUFFIXES.get(pathlib.PurePath(path.removesuffix(".gz")).suffix.lower())


def read(kind: str, place: str, options: Mapping[str, str] | None = None) -> Rows:
    """The rows of a table by column; each has an "id", file name and 1-based row, whatever the file says.

    Values of CSV, TSV and lines are strings.

    Args:
        options: `encoding` (utf-8); for CSV and TSV also `header=no` (columns are c1, c2, ...), `quoting=none`
            (quotes are plain characters), `extra=drop` (fields beyond the header's are dropped); for JSON Lines
            `broken=drop` (lines that are not JSON are dropped; ids still count them); for lines a `pattern`, a regular
            expression whose named groups are the columns (without one, the line is the column text).
    Raises:
        BadUsage: an option this kind does not have.
        BadData: the file is missing, empty, or a row of it is not what the kind promises.
    """
    name = pathlib.Path(place).name
    return [{**row, "id": f"{name}:{number}"} for number, row in by_number(kind, place, options).items()]


def by_number(kind: str, place: str, options: Mapping[str, str] | None = None) -> dict[int, dict[str, Any]]:
    """The same rows by their number in the file, with its own `id` where it has one."""
    chosen = dict(options or {})
    _check_options(kind, chosen)
    path = pathlib.Path(place).expanduser()
    raw = _bytes(path)
    if kind == "parquet":
        rows = _numbered(_parquet(raw, path.name))
    else:
        text = _decode(raw, path.name, chosen.get("encoding", "utf-8-sig"))
        rows = _parse(kind, text, path.name, chosen)
    if not rows:
        raise BadData(f"{path}: no rows")
    return rows


def _check_options(kind: str, options: Mapping[str, str]) -> None:
    for name, value in options.items():
        if name not in OPTIONS[kind]:
            raise BadUsage(f"{kind}: has no option {name!r}" + (nearest(name, OPTIONS[kind]) if OPTIONS[kind] else ""))
        if name in _CHOICES and value not in _CHOICES[name]:
            raise BadUsage(f"{name}={value}: expected {' or '.join(_CHOICES[name])}")


def _bytes(path: pathlib.Path) -> bytes:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise BadData(f"no file {path}") from None
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from None
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise BadData(f"{path}: damaged gzip file ({error})") from None
    if not raw.strip():
        raise BadData(f"{path}: the file is empty")
    return raw


def _decode(raw: bytes, name: str, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except LookupError:
        raise BadUsage(f"no encoding {encoding!r}; usual ones are utf-8, latin-1, cp1252, utf-16") from None
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = raw.count(b"\n", 0, start) + 1
        would = next((e for e in _candidates(raw) if _reads(raw, e)), "latin-1")
        raise BadData(
            f"{name} line {line}: byte 0x{raw[start]:02x} at offset {start} is not {encoding.removesuffix('-sig')}; "
            f"{would} would read it: add ?encoding={would} to the source"
        ) from None


def _candidates(raw: bytes) -> tuple[str, ...]:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ("utf-16",)
    return ("utf-8", "cp1252", "latin-1")


def _reads(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeError:
        return False
    return True


def _parse(kind: str, text: str, name: str, options: Mapping[str, str]) -> dict[int, dict[str, Any]]:
    """Row number -> row."""
    if kind in ("csv", "tsv"):
        return _numbered(_delimited(text, name, "," if kind == "csv" else "\t", options))
    if kind == "json":
        return _numbered(_json_array(text, name))
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if kind == "jsonl":
        return _json_lines(lines, name, options.get("broken") == "drop")
    return _numbered(_lines(lines, name, options.get("pattern")))


def _numbered(rows: Rows) -> dict[int, dict[str, Any]]:
    return dict(enumerate(rows, 1))


# ---- CSV and TSV --------------------------------------------------------------------------------------------------


def _delimited(text: str, name: str, delimiter: str, options: Mapping[str, str]) -> Rows:
    records = _records(text, name, delimiter, options.get("quoting") == "none")
    first = next(records, [])
    header = options.get("header", "yes") == "yes"
    columns = first if header else [f"c{i}" for i in range(1, len(first) + 1)]
    for column in columns:
        if columns.count(column) > 1:
            raise BadData(f"{name}: two columns are called {column!r}; if the first row is no header, add ?header=no to the source")
    rows = [] if header else [first]
    rows += records
    drop = options.get("extra") == "drop"
    for number, row in enumerate(rows, 1):
        if len(row) < len(columns) or (len(row) > len(columns) and not drop):
            remedy = "; if the rest may go, add ?extra=drop to the source" if len(row) > len(columns) else ""
            raise BadData(f"{name} row {number}: {len(row)} fields, expected {len(columns)} ({', '.join(columns)}){remedy}")
    return [dict(zip(columns, row, strict=False)) for row in rows]


def _records(text: str, name: str, delimiter: str, plain_quotes: bool) -> Iterator[list[str]]:
    """Every record that is not a blank line."""
    limit = csv.field_size_limit(2**31 - 1)  # one setting for the whole process: put back below
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quoting=csv.QUOTE_NONE if plain_quotes else csv.QUOTE_MINIMAL, strict=True
    )
    try:
        yield from (record for record in reader if record)
    except csv.Error as error:
        raise BadData(
            f"{name} line {reader.line_num}: {error}; if quotes are plain characters in this file, add ?quoting=none to the source"
        ) from None
    finally:
        csv.field_size_limit(limit)


# ---- JSON and text ------------------------------------------------------------------------------------------------


class _Twice(ValueError):
    """A JSON object names a key twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice(next(k for k, _ in pairs if [p[0] for p in pairs].count(k) > 1))
    return found


def _json_lines(lines: list[str], name: str, drop: bool) -> dict[int, dict[str, Any]]:
    rows = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows[number] = _object(_json(line, f"{name} line {number}"), f"{name} line {number}")
        except BadData as error:
            if not drop:
                raise BadData(f"{error}; if such lines may go, add ?broken=drop to the source") from None
    return rows


def _json_array(text: str, name: str) -> Rows:
    found = _json(text, name)
    if not isinstance(found, list):
        raise BadData(f"{name}: expected a list of objects, found {type(found).__name__}; for one object a line use jsonl:")
    return [_object(row, f"{name} row {number}") for number, row in enumerate(found, 1)]


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except _Twice as error:
        raise BadData(f"{where}: the key {str(error)!r} occurs twice") from None
    except (ValueError, RecursionError) as error:
        raise BadData(f"{where}: not JSON ({error})") from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadData(f'{where}: expected an object like {{"text": ..., "label": ...}}, found {type(value).__name__}')
    return value


def _lines(lines: list[str], name: str, pattern: str | None) -> Rows:
    if pattern is None:
        return [{"text": line} for line in lines]
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise BadUsage(f"pattern {pattern!r}: {error}") from None
    if not regex.groupindex:
        raise BadUsage(f"pattern {pattern!r}: it names no column; write (?P<text>...)")
    rows = []
    for number, line in enumerate(lines, 1):
        match = regex.fullmatch(line)
        if not match:
            raise BadData(f"{name} line {number}: {line[:60]!r} does not match {pattern!r}")
        rows.append(match.groupdict())
    return rows


def _parquet(raw: bytes, name: str) -> Rows:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(io.BytesIO(raw)).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadData(f"{name}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    for column in table.column_names:
        if table.column_names.count(column) > 1:
            raise BadData(f"{name}: two columns are called {column!r}")
    return table.to_pylist()
