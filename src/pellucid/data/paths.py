"""Tables that name files of pictures or videos: paths made whole, lists of labels taken apart."""

import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from pellucid.data import sources
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

OPTIONS: sources.Choices = {"images": (), "videos": (), "missing": ("refuse", "skip")}
_FILES = ("path", "file", "filename", "file_name", "filepath")
_COLUMNS = ("image", *_FILES, "image_path", "img")
_VIDEO_COLUMNS = ("video", *_FILES, "video_path", "clip")
_TIMES = ("start_s", "end_s")
_EITHER = ("pictures and videos", "image=NAME or video=NAME")
PICTURES = ("image", "reference", "other")
ROLES = (*PICTURES, "video", *_TIMES)  # what an example has from here: whole paths, and seconds as numbers
_LISTS = ("labels", "absent", "unknown")


def split_options(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The options that are about pictures and videos, and the table's own."""
    ours = {name: value for name, value in options.items() if name in OPTIONS}
    return sources.checked("table of files", ours, OPTIONS), {k: v for k, v in options.items() if k not in ours}


def column_of(rows: Rows, columns: Mapping[str, str]) -> str | None:
    """The column of pictures: the one mapped to `image`, or one with a usual name of which all values look like pictures."""
    if "image" in columns:
        return columns["image"]
    return next((c for c in _COLUMNS if rows and c in rows[0] and all(_looks_like_picture(row.get(c)) for row in rows)), None)


def video_column(rows: Rows, columns: Mapping[str, str]) -> str | None:
    """The column of videos: the one mapped to `video`, or one with a usual name of which all values end like video files."""
    if "video" in columns:
        return columns["video"]
    return next((c for c in _VIDEO_COLUMNS if rows and c in rows[0] and all(_looks_like_video(row.get(c)) for row in rows)), None)


def whole(rows: Rows, columns: Mapping[str, str], table: str, options: Mapping[str, str]) -> Rows:
    """The rows of a table with the files that they name as whole paths: of pictures (`pictures`), of videos (`videos`), or as they are.

    Raises:
        BadUsage: options about files of which there is no column.
    """
    found = {"images": column_of(rows, columns), "videos": video_column(rows, columns)}
    for option in options:
        if not (found[option] if option in found else any(found.values())):
            what, names = {"images": ("pictures", "image=NAME"), "videos": ("videos", "video=NAME")}.get(option, _EITHER)
            raise BadUsage(f"{table}: {option}= is for {what}; name their column with --column {names}")
    if found["images"]:
        rows = pictures(rows, columns, table, options)
    return videos(rows, columns, table, options) if found["videos"] else rows


def pictures(rows: Rows, columns: Mapping[str, str], table: str, options: Mapping[str, str]) -> Rows:
    """The rows with `image`: a path from the table's folder (or the option `images`), or the bytes that the table itself holds.

    So are `reference`, the original of a distorted picture, and `other`, a second one, where all values of these columns look like pictures
    or `columns` names them.

    Args:
        columns: as in `Data`; one of pictures is among those of the rows.
        options: `images` and `missing`, as of `split_options`.
    Raises:
        BadData: a picture is missing, or a value is no picture.
    """
    column = column_of(rows, columns)
    assert column is not None
    folder = os.path.expanduser(options.get("images", os.path.dirname(table)))
    for role, name in {"image": column, **beside(rows, columns)}.items():
        found = [{**row, role: source_of(row.get(name), folder, row["id"])} for row in rows]
        rows = sources.with_pictures(found, options.get("missing", "refuse"), table, role)
    return rows


def videos(rows: Rows, columns: Mapping[str, str], table: str, options: Mapping[str, str]) -> Rows:
    """The rows with `video`, a path from the table's folder (or the option `videos`), and `start_s` and `end_s` as numbers where told.

    Args:
        columns: as in `Data`; one of videos is among those of the rows.
        options: `videos` and `missing`, as of `split_options`.
    Raises:
        BadData: a video is missing, or a time is no number.
    """
    column = video_column(rows, columns)
    assert column is not None
    folder = os.path.expanduser(options.get("videos", os.path.dirname(table)))
    found = [{**_timed(row, columns), "video": _path(row, column, folder)} for row in rows]
    return sources.with_pictures(found, options.get("missing", "refuse"), table, "video")


def beside(rows: Rows, columns: Mapping[str, str]) -> dict[str, str]:
    """`reference` and `other` -> the column of pictures that goes by it, where there is one."""
    named = {role: columns.get(role, role) for role in PICTURES[1:]}
    return {
        role: name
        for role, name in named.items()
        if role in columns or (rows and name in rows[0] and all(_looks_like_picture(row.get(name)) for row in rows))
    }


def lists(rows: Rows, columns: Mapping[str, str]) -> Rows:
    """The rows of a table of pictures or videos with `labels`, `absent` and `unknown` as lists, each name once.

    A column is split at `|`, `;` or `,`, the first of these that it has anywhere, or read as JSON lists. In other tables only
    columns that are asked for as these are.

    Raises:
        BadData: no JSON list.
    """
    always = (column_of(rows, columns) or video_column(rows, columns)) is not None
    taken = {column for role, column in columns.items() if role not in _LISTS}
    asked = [columns.get(role, role) for role in _LISTS if role in columns or (always and role not in taken)]
    for column in asked:
        texts = [text for row in rows if isinstance(text := row.get(column), str)]
        mark = next((mark for mark in "|;," if any(mark in text for text in texts if text[:1] != "[")), ",")
        if texts:
            rows = [{**row, column: _parts(row.get(column), mark, row["id"])} for row in rows]
    return rows


def source_of(value: Any, folder: str, where: str, what: str = "picture") -> Any:
    """Bytes, or the whole path, of a value: a path, bytes, or an object with `bytes` and `path`.

    Raises:
        BadData: none of these, or an address on the web.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise BadData(f"{where}: expected a {what}'s path, found {value!r}")
    if re.match(r"[a-z]+://", value, re.IGNORECASE):
        raise BadData(f"{where}: {value} is an address; download the {what}s and name their files")
    return os.path.join(folder, os.path.expanduser(value))


def _looks_like_picture(value: Any) -> bool:
    if isinstance(value, str):
        return sources.is_picture(value)
    return isinstance(value, bytes) or (isinstance(value, Mapping) and "bytes" in value and "path" in value)


def _looks_like_video(value: Any) -> bool:
    return isinstance(value, str) and sources.is_video(value)


def _path(row: Mapping[str, Any], column: str, folder: str) -> str:
    found = source_of(row.get(column), folder, row["id"], "video")
    if not isinstance(found, str):
        raise BadData(f"{row['id']}: expected a video's path, found {len(found)} bytes; write them to a file and name it")
    return found.rstrip("/")


def _timed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row with `start_s` and `end_s` as numbers, without those that are empty."""
    times = {role: row.get(columns.get(role, role)) for role in _TIMES}
    told = {role: _seconds(value, role, row["id"]) for role, value in times.items() if value not in (None, "")}
    if told.get("end_s", math.inf) <= told.get("start_s", 0):
        raise BadData(f"{row['id']}: the part from {told.get('start_s', 0):g} to {told['end_s']:g} s; expected the end after the start")
    return {**{key: value for key, value in row.items() if key not in _TIMES}, **told}


def _seconds(value: Any, role: str, where: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not 0 <= found < math.inf:
        raise BadData(f"{where}: {role} {value!r}; expected seconds from the video's beginning")
    return found


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
