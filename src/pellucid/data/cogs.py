"""COGS: the rows of its files, and new sentences of its grammar."""

import difflib
import pathlib
import random
import re
from collections.abc import Mapping
from typing import Any

from pellucid.data import cogs_kinds, sources, tables
from pellucid.errors import BadData, BadUsage, UnsafeInput

Rows = list[dict[str, Any]]

GROUPS = {"lexical": cogs_kinds.LEXICAL, "structural": cogs_kinds.STRUCTURAL}
OPTIONS: sources.Choices = {"to_depth": (), "part": ("train", "test"), "with": (), "kinds": tuple(GROUPS), "common": ()}


def read(place: str, options: Mapping[str, str]) -> Rows:
    """The rows of a file, plain or gzipped (then the name may lack its `.gz`), of sentence, logical form and type, which may be missing.

    A row has `category` where the file gives a type and, where that is a kind of recursion, its `depth`.

    Args:
        options: `to_depth=D` leaves out the recursion up to depth D; with `part=train` the rows are these instead. `with=gen.tsv`, a file
            of the same folder, adds its recursion up to `to_depth`: `train.tsv?with=gen.tsv&to_depth=3` trains where
            `gen.tsv?to_depth=3` tests. `kinds=lexical` or `structural` keeps the rows of those types.
            `common=N` keeps, of the rows in distribution, N that are drawn, and all others: the few that show a word once.
    Raises:
        BadUsage: an unknown option, a depth that is none, or options that contradict each other.
        BadData: the file is missing, or a row has not 2 or 3 columns, no sentence, no logical form, or a type that COGS has not.
        UnsafeInput: `with` leads out of the folder.
    Source: Kim and Linzen 2020, COGS; `to_depth` gives the recursion splits of Orhan 2021.
    """
    chosen = sources.checked("cogs", options, OPTIONS)
    group, common = chosen.pop("kinds", ""), chosen.pop("common", "")
    rows = _chosen(place, pathlib.Path(place).expanduser(), chosen)
    kept = [row for row in rows if row.get("category") in GROUPS[group]] if group else rows
    if group and not kept:
        raise BadData(f"{place}: no row is of a {group} type; the types are in the third column of gen.tsv")
    return _fewer(place, kept, common) if common else kept


def _fewer(place: str, rows: Rows, common: str) -> Rows:
    """All rows but those in distribution, and so many of these, drawn with seed 0, in file order."""
    ordinary = [i for i, row in enumerate(rows) if row.get("category") == cogs_kinds.IN_DISTRIBUTION]
    if not (common.isascii() and common.isdecimal() and int(common) <= len(ordinary)):
        raise BadUsage(f"cogs:{place}: common={common}: expected a whole number up to {len(ordinary)}, the rows in distribution")
    left_out = set(ordinary) - set(random.Random(0).sample(ordinary, int(common)))
    return [row for i, row in enumerate(rows) if i not in left_out]


def _chosen(place: str, path: pathlib.Path, chosen: Mapping[str, str]) -> Rows:
    if "to_depth" not in chosen:
        for name, value in chosen.items():
            raise BadUsage(f"cogs:{place}: {name}={value} says nothing without the depth that training reaches; add &to_depth=3")
        return _rows(path)
    depth = _depth(place, chosen["to_depth"])
    if "with" in chosen:
        if "part" in chosen:
            raise BadUsage(f"cogs:{place}: part={chosen['part']} and with={chosen['with']}: expected one of them")
        other = _beside(path, chosen["with"])
        return _rows(path) + _parted(other, depth)[0]
    shallow, rest = _parted(path, depth)
    if chosen.get("part") != "train" and not rest:
        raise BadData(f"{path.name}: to_depth={depth} leaves no row")
    return shallow if chosen.get("part") == "train" else rest


def generated(place: str, options: Mapping[str, str]) -> Rows:
    """New sentences of COGS's grammar; see `cogs_like.read`."""
    from pellucid.data import cogs_like

    return cogs_like.read(place, options)


# ---- rows ---------------------------------------------------------------------------------------------------------


def _rows(path: pathlib.Path) -> Rows:
    packed = path.with_name(f"{path.name}.gz")
    found = packed if packed.exists() and not path.exists() else path
    return [_row(line["id"], line["text"]) for line in tables.read("lines", str(found))]


def _row(place: str, line: str) -> dict[str, Any]:
    file, _, number = place.rpartition(":")
    where = f"{file} row {number}"
    fields = line.split("\t")
    if len(fields) not in (2, 3):
        raise BadData(f"{where}: expected 3 columns parted by tabs, sentence, logical form and type, found {len(fields)}")
    text, label, category = (" ".join(field.split()) for field in (*fields, "")[:3])
    for value, what in ((text, "sentence"), (label, "logical form")):
        if not value:
            raise BadData(f"{where}: the {what} is empty")
    row: dict[str, Any] = {"id": place, "text": text, "label": label}
    if category:
        if category not in cogs_kinds.CATEGORIES:
            close = difflib.get_close_matches(category, cogs_kinds.CATEGORIES, 1, 0.0)[0]
            raise BadData(f"{where}: no type {category!r} in COGS; the nearest is {close!r}")
        row["category"] = category
    depth = cogs_kinds.depth(category, label)
    return row if depth is None else {**row, "depth": depth}


def _parted(path: pathlib.Path, depth: int) -> tuple[Rows, Rows]:
    """The rows of recursion up to a depth, and the others."""
    rows = _rows(path)
    deep = [row["depth"] for row in rows if "depth" in row]
    if not deep or min(deep) > depth:
        kinds = " and ".join(cogs_kinds.RECURSIONS)
        least = f"the least depth is {min(deep)}" if deep else f"it has no row of type {kinds}"
        raise BadData(f"{path.name}: to_depth={depth}: {least}")
    shallow = [row for row in rows if row.get("depth", depth + 1) <= depth]
    return shallow, [row for row in rows if row.get("depth", depth + 1) > depth]


def _depth(place: str, value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", value, re.ASCII):
        raise BadUsage(f"cogs:{place}: to_depth={value}: expected a whole number from 1")
    return int(value)


def _beside(path: pathlib.Path, name: str) -> pathlib.Path:
    """The file of that name in the folder of another."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or name[1:2] == ":":
        raise UnsafeInput(f"with={name}: expected the name of a file in the folder of {path.name}, and nothing outside it; refused")
    if name == path.name:
        raise BadUsage(f"cogs:{path}: with={name}: that is the file itself; expected the one whose recursion is to be added")
    return path.with_name(name)
