"""Tables that name picture files: paths made whole, lists of labels taken apart."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from pellucid.data import sources
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

OPTIONS: sources.Choices = {"images": (), "missing": ("refuse", "skip")}
_COLUMNS = ("image", "path", "file", "filename", "file_name", "filepath", "image_path", "img")
ROLES = ("image", "reference", "other")  # what is a whole path in an example
_LISTS = ("labels", "absent", "unknown")


def split_options(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The options that are about pictures, and the table's own."""
    ours = {name: value for name, value in options.items() if name in OPTIONS}
    return sources.checked("table of pictures", ours, OPTIONS), {k: v for k, v in options.items() if k not in ours}


def column_of(rows: Rows, columns: Mapping[str, str]) -> str | None:
    """The column of pictures: the one mapped to `image`, or one with a usual name of which all values look like pictures."""
    if "image" in columns:
        return columns["image"]
    return next((c for c in _COLUMNS if rows and c in rows[0] and all(_looks_like_picture(row.get(c)) for row in rows)), None)


def pictures(rows: Rows, columns: Mapping[str, str], table: str, options: Mapping[str, str]) -> Rows:
    """The rows with `image`: a path from the table's folder (or the option `images`), or the bytes that the table itself holds.

    So are `reference`, the original of a distorted picture, and `other`, a second one, where all values of these columns look like pictures
    or `columns` names them.

    Args:
        columns: as in `Data`.
        options: `images` and `missing`, as of `split_options`.
    Raises:
        BadData: a picture is missing, or a value is no picture.
        BadUsage: options about pictures, and no column of pictures.
    """
    column = column_of(rows, columns)
    if column is None and options:
        raise BadUsage(f"{table}: {next(iter(options))}= is for pictures; name their column with --column image=NAME")
    if column is None:
        return rows
    folder = os.path.expanduser(options.get("images", os.path.dirname(table)))
    for role, name in {"image": column, **beside(rows, columns)}.items():
        found = [{**row, role: source_of(row.get(name), folder, row["id"])} for row in rows]
        rows = sources.with_pictures(found, options.get("missing", "refuse"), table, role)
    return rows


def beside(rows: Rows, columns: Mapping[str, str]) -> dict[str, str]:
    """`reference` and `other` -> the column of pictures that goes by it, where there is one."""
    named = {role: columns.get(role, role) for role in ROLES[1:]}
    return {
        role: name
        for role, name in named.items()
        if role in columns or (rows and name in rows[0] and all(_looks_like_picture(row.get(name)) for row in rows))
    }


def lists(rows: Rows, columns: Mapping[str, str]) -> Rows:
    """The rows of a table of pictures with `labels`, `absent` and `unknown` as lists, each name once.

    A column is split at `|`, `;` or `,`, the first of these that it has anywhere, or read as JSON lists. In other tables only
    columns that are asked for as these are.

    Raises:
        BadData: no JSON list.
    """
    always = column_of(rows, columns) is not None
    taken = {column for role, column in columns.items() if role not in _LISTS}
    asked = [columns.get(role, role) for role in _LISTS if role in columns or (always and role not in taken)]
    for column in asked:
        texts = [text for row in rows if isinstance(text := row.get(column), str)]
        mark = next((mark for mark in "|;," if any(mark in text for text in texts if text[:1] != "[")), ",")
        if texts:
            rows = [{**row, column: _parts(row.get(column), mark, row["id"])} for row in rows]
    return rows


def source_of(value: Any, folder: str, where: str) -> Any:
    """Bytes, or the whole path, of a value: a path, bytes, or an object with `bytes` and `path`.

    Raises:
        BadData: none of these, or an address on the web.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise BadData(f"{where}: expected a picture's path, found {value!r}")
    if re.match(r"[a-z]+://", value, re.IGNORECASE):
        raise BadData(f"{where}: {value} is an address; download the pictures and name their files")
    return os.path.join(folder, os.path.expanduser(value))


def _looks_like_picture(value: Any) -> bool:
    if isinstance(value, str):
        return sources.is_picture(value)
    return isinstance(value, bytes) or (isinstance(value, Mapping) and "bytes" in value and "path" in value)


def _parts(value: Any, mark: str, where: str) -> Any:
    if not isinstance(value, str):
        return value
    if value.strip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            raise BadData(f'{where}: {value[:60]!r} is no JSON list; expected ["cat", "dog"] or cat{mark}dog') from None
        return list(dict.fromkeys(str(name) for name in found))
    return list(dict.fromkeys(name for part in value.split(mark) if (name := part.strip())))
