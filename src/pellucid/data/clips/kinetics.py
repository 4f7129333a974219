"""Kinetics by its published tables, and lists of paths and class numbers as action-recognition programs keep them."""

import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pellucid.coerce import nearest
from pellucid.data import sources, tables
from pellucid.data.clips.sets import Stock, finished, places
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

OPTIONS: sources.Choices = {"split": (), "videos": (), "classes": (), "missing": ("refuse", "skip"), "parts": ("yes", "no")}
COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_LISTED = re.compile(r"(.+?)[\s,]\s*(\d+)")  # a path and the number of its class
_COUNTED = re.compile(r"(.+?)[\s,]\s*\d+")  # a folder of frames and how many it holds
_REPLACED = "replacement/replacement_for_corrupted_k400"


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per clip; of a table also its `group`, the video on YouTube that it is part of.

    Clips are `ID_000010_000020.mp4`, or whole videos `ID.mp4` of which rows mean the part from `start_s` to `end_s`; in class folders
    (`air drumming` or `air_drumming`) or flat, as files of any ending or folders of frames.

    Args:
        place: a table of label, youtube_id, time_start, time_end and split; a list of `path number` (or `folder frames number`); or a
            folder of them, in itself or in `annotations`, with the split in the file's name.
        options: `split` train, val or test; `videos`, the folder of the clips or where a list's paths begin; `classes`, a file of names,
            of a list by number; `missing=skip` leaves out clips that are not there; `parts=yes` if `ID.mp4` are whole videos,
            `parts=no` if they are the clips.
    Raises:
        BadData: no such table, a column is missing, a row is damaged, a class is unknown, a clip is there twice or not at all.
        BadUsage: there are `ID.mp4`, and nothing tells whether they are whole.
    """
    chosen = sources.checked("kinetics", options, OPTIONS)
    path = pathlib.Path(place).expanduser()
    file = path if path.is_file() else _table_in(sources.folder_of(place), chosen.get("split"))
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    stock = Stock(places(root, chosen, _usual(chosen.get("split"))))
    if not _is_list(file):
        return _clips(file, chosen, stock)
    if path.is_file() and "split" in chosen:
        raise BadUsage(f"{file}: a list of paths and class numbers is of one split; leave ?split= out")
    return _listed(file, chosen, stock.roots)


def _same(split: str) -> Sequence[str]:
    """The usual names of a split."""
    return next((group for group in sources.SPLITS if split in group), (split,))


def _usual(split: str | None) -> list[str]:
    """Folders of videos, of the split or of all."""
    names = _same(split) if split else [name for group in sources.SPLITS for name in group]
    around = [f"{folder}_{name}" for folder in ("videos", "rawframes") for name in names]
    return [*names, *around, "videos", "rawframes", _REPLACED]


def _table_in(root: pathlib.Path, split: str | None) -> pathlib.Path:
    """The table or list of the split that a folder holds; the only one where none is asked for."""
    below = (root, root / "annotations")
    near = [p for folder in below for p in (*sorted(folder.glob("*.csv")), *filter(_is_list, sorted(folder.glob("*.txt"))))]
    pattern = re.compile(rf"(.*[_-])?({'|'.join(map(re.escape, _same(split)))})([_-].*)?" if split else ".*")
    found = [path for path in near if pattern.fullmatch(path.stem)]
    one = near if split and not found and len(near) == 1 else found  # the only table may have a column of splits
    if len(one) != 1:
        there = ", ".join(str(path.relative_to(root)) for path in near) or "none"
        raise BadData(f"{root}: expected one table {split or 'train'}.csv, here or in annotations/; there are {there}; name the file")
    return one[0]


def _is_list(file: pathlib.Path) -> bool:
    """Whether the first line ends with the number of a class."""
    if file.suffix == ".gz":
        return False
    first = next((line.strip() for line in sources.read_text(file).splitlines() if line.strip()), "")
    return _LISTED.fullmatch(first) is not None


# ---- tables -------------------------------------------------------------------------------------------------------


def _clips(file: pathlib.Path, chosen: Mapping[str, str], stock: Stock) -> Rows:
    table = [{key: value.strip() for key, value in row.items()} for row in tables.read("csv", str(file))]
    lost = next((name for name in COLUMNS if name not in table[0]), None)
    if lost:
        there = ", ".join(name for name in table[0] if name != "id")
        raise BadData(f"{file}: no column {lost!r}; expected {', '.join(COLUMNS)}, split; the columns are {there}")
    found = {row["label"] for row in table} - {""}
    classes = sources.ordered(sources.class_names(chosen["classes"])) if "classes" in chosen else tuple(sorted(found))
    known, rows = set(classes), []
    seen: dict[tuple[str, tuple[float, float]], str] = {}
    for row in _of_split(table, chosen.get("split"), file):
        where, name = row["id"], row["youtube_id"]
        if row["label"] not in known:
            raise BadData(f"{where}: class {row['label']!r} is not one of the {len(classes)}{nearest(row['label'], list(classes))}")
        if not re.fullmatch(r"[\w-]+", name):
            raise BadData(f"{where}: youtube_id {name!r}; expected letters, digits, - and _")
        times = _seconds(row, "time_start"), _seconds(row, "time_end")
        if not 0 <= times[0] < times[1]:
            raise BadData(f"{where}: time_start {times[0]:g} and time_end {times[1]:g}; expected the end after the start")
        if (name, times) in seen:
            raise BadData(f"{where}: the same clip as {seen[name, times]}, {name} from {times[0]:g} s; leave one of the two out")
        seen[name, times] = where
        clip = _found(stock, row, times, chosen.get("parts"))
        rows.append({"id": where, **clip, "label": row["label"], "group": f"kinetics/{name}", "classes": classes})
    return finished(rows, chosen, str(file))


def _of_split(table: Rows, split: str | None, file: pathlib.Path) -> Iterator[dict[str, Any]]:
    """The rows of a split."""
    there = sorted({row["split"] for row in table}) if "split" in table[0] else []
    if split is None and len(there) > 1:
        raise BadData(f"{file}: holds several splits; choose one with ?split=, of {', '.join(there)}")
    if split is not None and there and not set(there) & set(_same(split)):
        raise BadData(f"{file}: no row of split {split!r}; there are {', '.join(there)}")
    if split is not None and not there and not set(_same(split)) & set(re.split(r"[_-]", file.stem)):
        raise BadData(f"{file}: no column 'split', and the file's name does not tell it; leave ?split= out if all rows are meant")
    return (row for row in table if split is None or not there or row["split"] in _same(split))


def _found(stock: Stock, row: Mapping[str, str], times: tuple[float, float], parts: str | None) -> dict[str, Any]:
    """The `video` of a row, and which part of it is meant where the file is longer."""
    within = [f"{row['label']}/", f"{row['label'].replace(' ', '_')}/", ""]
    start, end = (round(time) for time in times)
    stems = [f"{row['youtube_id']}_{start:06d}_{end:06d}", f"{row['youtube_id']}_{start}_{end}"]
    cut = stock.find(*(f"{folder}{stem}" for stem in stems for folder in within))
    if cut:
        return {"video": cut}
    named = stock.find(*(f"{folder}{row['youtube_id']}" for folder in within))
    if named is None:
        return {"video": stock.expected(f"{within[0]}{stems[0]}.mp4")}
    if parts is None:
        of = os.path.basename(named)
        raise BadUsage(f"{row['id']}: {of} may be the whole video or the clip; say which with ?parts=yes (whole) or ?parts=no (the clip)")
    return {"video": named, **({"start_s": times[0], "end_s": times[1]} if parts == "yes" else {})}


def _seconds(row: Mapping[str, str], column: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise BadData(f"{row['id']}: {column} {row[column]!r} is no number of seconds") from None


# ---- lists --------------------------------------------------------------------------------------------------------


def _listed(file: pathlib.Path, chosen: Mapping[str, str], roots: Sequence[str]) -> Rows:
    names = sources.class_names(chosen["classes"]) if "classes" in chosen else {}
    listing, rows = sources.Listing(), []
    for number, line in enumerate(sources.read_text(file).splitlines(), 1):
        where, match = f"{file.name}:{number}", _LISTED.fullmatch(line.strip())
        if not line.strip():
            continue
        if not match:
            raise BadData(f"{where}: {line[:60]!r}; expected a path and the number of its class")
        path = match[1]
        if not sources.is_video(path) and (counted := _COUNTED.fullmatch(path)):
            path = counted[1]
        there = [os.path.join(root, os.path.expanduser(path)) for root in roots]
        found = next((p for p in there if listing.has(p.rstrip("/"))), there[-1])
        label = {"label": sources.named(match[2], names, where), "classes": sources.ordered(names)} if names else {"label": match[2]}
        rows.append({"id": where, "video": found, **label})
    return finished(rows, chosen, str(file))
