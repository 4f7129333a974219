"""Rows that share an original picture stay on one side of every split: the draw by groups, and the check that two sets share none."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.data import copies, paths
from pellucid.data.decode import Source
from pellucid.errors import BadData

Examples = Sequence[Mapping[str, Any]]


def groups_of(rows: Sequence[dict[str, Any]], columns: Mapping[str, str]) -> list[str] | None:
    """What each row is drawn by: its `group`, without one its `reference`; None where rows are no videos, no captions
    and no pictures with originals.

    Args:
        columns: as in `Data`; the rows still have the names of the file.
    """
    reference, group = columns.get("reference", "reference"), columns.get("group", "group")
    grouped = bool(rows) and all(row.get(group) is not None for row in rows)
    if grouped and ({"video", "features", "caption"} & {*columns, *rows[0]} or paths.video_column(list(rows), columns)):
        return [str(row[group]) for row in rows]
    image = columns.get("image") or ("image" if rows and "image" in rows[0] else paths.column_of(list(rows), columns))
    if image is None or any(row.get(reference) is None for row in rows):
        return None
    if grouped:
        return [str(row[group]) for row in rows]
    return [str(row[reference]) for row in rows] if "reference" in paths.beside(list(rows), columns) else None


def part_of(groups: Sequence[str], part: str, seed: int) -> list[bool]:
    """Which rows are in the part: of the groups, a tenth to dev and to test, at least one each, the others to train.

    The draw depends on the seed and on which groups there are, not on their rows nor on the rows' order.

    Args:
        part: train, dev or test.
    Raises:
        BadData: fewer than three groups.
    """
    import numpy as np

    names = sorted(set(groups))
    if len(names) < 3:
        raise BadData(f"{len(names)} originals ({', '.join(names)}) cannot be parted into train, dev and test; name --dev and --test")
    drawn = [names[i] for i in np.random.default_rng([seed, 10]).permutation(len(names))]
    num = max(1, round(len(names) / 10))
    chosen = {"dev": drawn[:num], "test": drawn[num : 2 * num], "train": drawn[2 * num :]}
    wanted = set(chosen[part])
    return [group in wanted for group in groups]


def disjoint(train: Examples, others: Mapping[str, Examples]) -> None:
    """Checks that no original of the training rows is one of another set: by group, by file, and by bytes whatever the name.

    A photograph that two data sets hold is found where its files are the same, byte for byte. Sizes are compared first, and files read
    only where they meet.

    Raises:
        BadData: an original lies in both.
    """
    sides = {"": train, **others}
    first: dict[tuple[str, Any], tuple[str, Mapping[str, Any]]] = {}
    for name, rows in sides.items():
        for row in rows:
            if row.get("group") is not None:
                _claim(first, ("group", row["group"]), name, row)
    originals = {name: _originals(rows) for name, rows in sides.items()}
    flat = [(name, row) for name, rows in originals.items() for row in rows]
    keys = copies.keys([_source(row["reference"]) for _, row in flat])
    for (name, row), key in zip(flat, keys, strict=True):
        _claim(first, ("picture", key), name, row)


def _claim(first: dict[tuple[str, Any], tuple[str, Mapping[str, Any]]], key: tuple[str, Any], name: str, row: Mapping[str, Any]) -> None:
    """Notes the training row of a group or picture; a row of another set must not meet one."""
    if not name:
        first.setdefault(key, (name, row))
    elif key in first:
        other = first[key][1]
        if row.get("reference") is None:
            said = f"cut from what training row {other['id']} is cut from (their group is {row['group']})"
            raise BadData(f"{row['id']} of {name}: {said}; keep a group in one set, or leave its column out")
        same = f"its group is {row['group']}" if key[0] == "group" else f"{_told(row)} is {_told(other)}, byte for byte"
        raise BadData(
            f"{row['id']} of {name}: its original is also that of training row {other['id']} ({same}); "
            "give the sets other originals, as ?references=A,B and ?without=A,B do"
        )


def _originals(rows: Examples) -> list[Mapping[str, Any]]:
    """A row of each original, told apart by path or bytes."""
    found: dict[Any, Mapping[str, Any]] = {}
    for row in rows:
        if row.get("reference") is not None:
            found.setdefault(_source(row["reference"]), row)
    return list(found.values())


def _source(reference: Any) -> Source:
    return os.path.realpath(reference) if isinstance(reference, (str, os.PathLike)) else reference


def _told(row: Mapping[str, Any]) -> str:
    return str(row["reference"]) if isinstance(row["reference"], (str, os.PathLike)) else "the picture"
