"""Pictures in archives, read from their places: WebDataset shards, and tar or zip files of class folders."""

import glob
import itertools
import json
import pathlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pellucid.data import folders, members, sources
from pellucid.data.sources import Rows, log
from pellucid.data.stored import Stored
from pellucid.errors import BadData

OPTIONS = {**folders.OPTIONS, "layout": ("samples", "folders")}
_SIDES = ("cls", "json", "txt")  # what may stand beside a picture, the first that gives a label counts
_SIDE_BYTES = 1 << 20


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture of one archive or of many, each `image` a place inside its archive.

    Samples share a key: `0001.jpg` is labelled by `0001.cls` (a class index), `0001.json` (`{"label": ...}` or `{"labels": [...]}`)
    or `0001.txt` (a name). Archives without such files are read as class folders.

    Args:
        place: an archive, a folder of tar files, a pattern `train-*.tar`, or a range `train-{0000..0012}.tar`.
        options: `classes`, a file of names that class indices (or folders) stand for; `layout` samples or folders, where the names do
            not tell; with folders also `split`, `empty` and `loose` as for folder:.
    Raises:
        BadData: a shard is missing or damaged, or a sample is not whole.
        UnsafeInput: as archive.extract does, for any member.
    """
    chosen = sources.checked("shards", options, OPTIONS)
    found = {path: members.members(path, _wanted) for path in shards(place)}
    if not any(sources.is_picture(name) for names in found.values() for name in names):
        raise BadData(f"{place}: no pictures in {len(found)} archives")
    layout = chosen.get("layout") or ("samples" if any(map(_has_sides, found.values())) else "folders")
    if layout == "samples":
        names = sources.class_names(chosen["classes"]) if "classes" in chosen else {}
        return [row for path, inside in found.items() for row in _samples(path, inside, names)]
    return _folders(found, place, chosen)


def shards(place: str) -> list[pathlib.Path]:
    """The archives that a pattern names, in order.

    Raises:
        BadData: one that a range names is missing, or there is none.
    """
    names = [str(pathlib.Path(name).expanduser()) for name in expanded(place)]
    if len(names) == 1 and pathlib.Path(names[0]).is_dir():
        names = [f"{names[0]}/*.tar"]
    paths = [
        pathlib.Path(p) for name in names for p in (sorted(glob.glob(name)) if "*" in name and not pathlib.Path(name).exists() else [name])
    ]
    for path in paths:
        if not path.is_file():
            raise BadData(f"no file {path}" + (f", one of the {len(paths)} shards of {place}" if len(paths) > 1 else ""))
    if not paths:
        raise BadData(f"{place}: no such archive")
    return paths


def expanded(pattern: str) -> list[str]:
    """`{000..002}` as 000, 001, 002 and `{a,b}` as a, b; several multiply."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices = [[part] if i % 2 == 0 else _choices(part) for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(part: str) -> list[str]:
    ends = re.fullmatch(r"(\d+)\.\.(\d+)", part)
    if ends:
        return [str(n).zfill(len(ends[1])) for n in range(int(ends[1]), int(ends[2]) + 1)]
    return part.split(",") if "," in part else [f"{{{part}}}"]


def _wanted(name: str) -> bool:
    hidden = any(sources.is_hidden(part) for part in name.split("/"))
    return not hidden and (sources.is_picture(name) or name.lower().endswith(tuple(f".{side}" for side in _SIDES)))


def _split_name(name: str) -> tuple[str, str]:
    """Key and ending: all from the first dot of the file's own name on."""
    folder, _, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return (f"{folder}/{stem}" if folder else stem), ending.lower()


def _has_sides(names: Mapping[str, Any]) -> bool:
    """Whether a picture shares its key with a file that may label it."""
    keys: dict[bool, set[str]] = {True: set(), False: set()}
    for name in names:
        keys[sources.is_picture(name)].add(_split_name(name)[0])
    return bool(keys[True] & keys[False])


# ---- samples ------------------------------------------------------------------------------------------------------


@dataclass
class _Sample:
    pictures: dict[str, Stored | bytes] = field(default_factory=dict)  # by ending
    sides: dict[str, Stored | bytes] = field(default_factory=dict)


def _samples(path: pathlib.Path, inside: members.Found, names: Mapping[str, str]) -> Rows:
    samples: dict[str, _Sample] = {}
    for name, place in inside.items():
        key, ending = _split_name(name)
        sample = samples.setdefault(key, _Sample())
        (sample.pictures if sources.is_picture(name) else sample.sides)[ending] = place
    classes = {"classes": sources.ordered(names)} if names else {}
    with open(path, "rb") as file:
        rows = [_row(file, f"{path.name}:{key}", sample, names) for key, sample in samples.items()]
    return [{**row, **classes} for row in rows]


def _row(file: BinaryIO, where: str, sample: _Sample, names: Mapping[str, str]) -> dict[str, Any]:
    plain = [ending for ending in sample.pictures if "." not in ending] or list(sample.pictures)
    if len(plain) != 1:
        what = f"pictures {', '.join(plain)}" if plain else f"{', '.join(sample.sides)} but no picture"
        raise BadData(f"{where}: the sample has {what}; expected one picture a sample")
    row: dict[str, Any] = {"id": where, "image": sample.pictures[plain[0]]}
    for side in _SIDES:
        if side in sample.sides:
            place = sample.sides[side]
            if (len(place) if isinstance(place, bytes) else place.size) > _SIDE_BYTES:
                raise BadData(f"{where}.{side}: longer than {_SIDE_BYTES >> 20} MiB; expected a label")
            found = _labels(side, members.content(file, place), f"{where}.{side}", names)
            if found:
                return {**row, **found}
    return row


def _labels(side: str, raw: bytes, where: str, names: Mapping[str, str]) -> dict[str, Any]:
    """`label` or `labels`, as the file beside the picture says; nothing where it does not."""
    try:
        text = raw.decode("utf-8-sig").strip()
        told = json.loads(text) if side == "json" else {"label": text}
    except (ValueError, RecursionError):
        raise BadData(f"{where}: not readable as {'JSON' if side == 'json' else 'UTF-8'}") from None
    if side == "cls" and not text.isdecimal():
        raise BadData(f"{where}: expected a class index, found {text[:40]!r}")
    if not isinstance(told, dict):
        return {}
    if "labels" in told:
        if not isinstance(told["labels"], list):
            raise BadData(f"{where}: expected a list of labels, found {told['labels']!r}")
        return {"labels": [_name(value, names, where) for value in told["labels"]]}
    return {"label": _name(told["label"], names, where)} if told.get("label") not in (None, "") else {}


def _name(value: Any, names: Mapping[str, str], where: str) -> str:
    """The name of a class index; a name, or an index without a list of names, as text."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise BadData(f"{where}: expected a label's name or index, found {value!r}")
    key = str(value)
    return sources.named(key, names, where) if names and (key.isdecimal() or key in names) else key


# ---- class folders ------------------------------------------------------------------------------------------------


def _folders(found: Mapping[pathlib.Path, members.Found], place: str, options: Mapping[str, str]) -> Rows:
    """Rows of archives that hold class folders, perhaps all inside one folder, perhaps by split."""
    places = {(path, name): at for path, inside in found.items() for name, at in inside.items() if sources.is_picture(name)}
    names = [name for _, name in places]
    base = _base(names, options.get("split"), place)
    kept = [(path, name) for path, name in places if name.startswith(base)]
    if len(kept) < len(places):
        log.warning("%s: %d pictures outside %s are left out", place, len(places) - len(kept), base)
    pairs = folders.arrange([name[len(base) :] for _, name in kept], (), options, place)
    arranged = {name for name, _ in pairs}
    keys = [(path, name) for path, name in kept if name[len(base) :] in arranged]
    rows = [{"id": f"{path.name}:{name}", "image": places[path, name]} for path, name in keys]
    order = sorted(range(len(rows)), key=lambda i: (pairs[i][1] or "", keys[i][1]))
    return folders.label([rows[i] for i in order], [pairs[i][1] for i in order], options)


def _base(names: Sequence[str], split: str | None, place: str) -> str:
    """What all names of the split begin with, up to the class folders."""
    base = ""
    while True:
        first = {name[len(base) :].partition("/")[0] for name in names if name.startswith(base)}
        alone = len(first) == 1 and all("/" in name[len(base) :] for name in names if name.startswith(base))
        known = next((group for group in sources.SPLITS if split in group), (split,))
        chosen = next((name for name in (split, *known) if name in first), None) if split else None
        if chosen:
            return f"{base}{chosen}/"
        deeper = alone and any(posixpath.dirname(name[len(base) :].partition("/")[2]) for name in names)
        if not deeper:
            break
        base += first.pop() + "/"
    if split:
        raise BadData(f"{place}: no folder {split!r}; there are {', '.join(sorted(first)[:10])}")
    known_splits = {name for group in sources.SPLITS for name in group}
    if first <= known_splits and all("/" in name[len(base) :].partition("/")[2] for name in names):
        raise BadData(f"{place}: holds splits, not classes; choose one with ?split=, of {', '.join(sorted(first))}")
    return base
