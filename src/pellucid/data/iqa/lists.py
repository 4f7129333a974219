"""Pairs and their scores in a table: the interchange form, lists of paths, a table of one's own."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.data import sources, tables
from pellucid.data.iqa import pairs
from pellucid.data.iqa.names import readable, told
from pellucid.data.iqa.pairs import SCALES, Files, Scale
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

_COLUMNS = {
    "reference": ("ref_name", "ref_img_path", "reference", "ref_img", "ref"),
    "image": ("dist_name", "dis_img_path", "distorted", "dist_img", "image"),
    "score": ("mos", "dmos", "score"),
    "kind": ("dis_type", "dist_type", "distortion", "kind"),
    "level": ("level", "dst_lev"),
}
_OURS: sources.Choices = {
    **{"images": (), "better": ("low", "high"), "set": tuple(SCALES), "name": (), "split": ()},
    **dict.fromkeys(("reference", "image", "score", "kind"), ()),
}


def read(place: str, options: Mapping[str, str]) -> Rows:
    """The rows of a table of pairs, with label, score, group and, where they are told, kind and level.

    Columns are found by the names that such tables use: ref_name, dist_name, mos; ref_img_path, dis_img_path, dis_type, score;
    reference, distorted, distortion, dmos. Other columns stay.

    Args:
        place: a csv, tsv, jsonl, json or parquet file, plain or .gz.
        options: `images`, the folder of the pictures, the table's own unless told. What the scores mean: `range=LOW,HIGH` and
            `better=low` or `high`, or `set` live, csiq, tid2008, tid2013, kadid, pipal or pieapp, whose scale and numbered kinds it
            has. `split=COLUMN:VALUE`, the rows that have it, as official_split:train. `reference`, `image`, `score` and `kind`, names
            of columns. `name`, what groups are called by instead of the file. Those of all readers of pairs.
    Raises:
        BadUsage: nothing says what the scores mean.
        BadData: a column, picture or score is missing, a score is outside the range, a row is there twice.
    """
    chosen = sources.checked("iqa", options, {**pairs.OPTIONS, **_OURS})
    kind = tables.kind_of(place)
    if kind is None or kind == "lines":
        raise BadUsage(f"iqa:{place}: expected a table; endings are .csv, .tsv, .jsonl, .json, .parquet, plain or .gz")
    meaning = _meaning(chosen, place)
    rows = tables.read(kind, place)
    columns = _columns(rows, chosen, place)
    rows = _split(rows, chosen.get("split", ""), place)
    folder, files = os.path.expanduser(chosen.get("images", os.path.dirname(place) or ".")), Files()
    found = [_pair(row, columns, meaning, folder, files) for row in rows]
    return pairs.finished(found, chosen, place)


def _pair(row: Mapping[str, Any], columns: Mapping[str, str], meaning: "_Meaning", folder: str, files: Files) -> dict[str, Any]:
    where = row["id"]
    image, reference = (files.inside(folder, row[columns[role]], where) for role in ("image", "reference"))
    score = pairs.number(row[columns["score"]], where)
    more = {key: value for key, value in row.items() if key not in ("id", "image", "reference", "group")}
    more |= {"label": meaning.scale.quality(score, where), "score": score}
    if columns.get("kind") and row[columns["kind"]]:
        more["kind"] = readable(str(row[columns["kind"]]))
    if columns.get("level") and row[columns["level"]] not in (None, ""):
        more["level"] = pairs.whole(row[columns["level"]], where, "level")
    return pairs.pair(where, meaning.group, image, reference, **more | told(meaning.data_set, os.path.basename(image)))


@dataclasses.dataclass(frozen=True)
class _Meaning:
    """What the table does not say itself: the scale, what groups are called by, the set whose files tell their kinds."""

    scale: Scale
    group: str
    data_set: str


def _meaning(chosen: Mapping[str, str], place: str) -> _Meaning:
    data_set = chosen.get("set", "")
    group = chosen.get("name") or data_set or pairs.stem(place.removesuffix(".gz"))
    return _Meaning(_scale(chosen, place), "tid" if group in ("tid2008", "tid2013") else group.lower(), data_set)


def _scale(chosen: Mapping[str, str], place: str) -> Scale:
    """What the scores mean, as the options say."""
    known = SCALES.get(chosen.get("set", ""))
    better = chosen.get("better") or (known.better if known else None)
    if better is None or not (known or "range" in chosen):
        raise BadUsage(
            f"iqa:{place}: say what the scores mean with ?range=LOW,HIGH&better=low or high, or with ?set=, one of {', '.join(SCALES)}"
        )
    low, high = (known.low, known.high) if known else (0.0, 1.0)
    return Scale(known.name if known else os.path.basename(place), low, high, "low" if better == "low" else "high").ranged(chosen)


def _columns(rows: Rows, chosen: Mapping[str, str], place: str) -> dict[str, str]:
    """Role -> column: as the options name it, or a usual one."""
    there = [key for key in rows[0] if key != "id"]
    found = {}
    for role, usual in _COLUMNS.items():
        asked: Sequence[str] = (chosen[role],) if role in chosen else usual
        column = next((name for name in asked if name in there), None)
        if column is None and (role in chosen or role not in ("kind", "level")):
            raise BadData(f"{place}: no column {' or '.join(asked)}; the columns are {', '.join(there)}: name one with ?{role}=COLUMN")
        if column is not None:
            found[role] = column
    return found


def _split(rows: Rows, asked: str, place: str) -> Rows:
    """The rows of a split, `COLUMN:VALUE`."""
    if not asked:
        return rows
    column, colon, value = asked.partition(":")
    if not colon:
        raise BadUsage(f"split={asked}: expected COLUMN:VALUE, as official_split:train")
    if column not in rows[0]:
        raise BadData(f"{place}: no column {column!r}; the columns are {', '.join(key for key in rows[0] if key != 'id')}")
    kept = [row for row in rows if str(row[column]) == value]
    if not kept:
        values = sorted({str(row[column]) for row in rows})
        raise BadData(f"{place}: no row has {column} = {value!r}; its values are {', '.join(values[:10])}")
    return kept
