"""Which reference each picture is compared with: the same file for all, or of a folder the one that a picture's name leads to."""

import os
import pathlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pellucid.data import folders
from pellucid.errors import BadData, BadUsage
from pellucid.task import Example, Task

MARKS = ("_", "-", ".")  # after a reference's name in that of a picture made of it
_COLUMNS = "a table with the columns image and reference"


def compares(task: Task) -> bool:
    """Whether a task's examples have a reference each."""
    return "reference" in getattr(task, "needs", ())


def paired(
    task: Task, examples: Sequence[Example | str], reference: str | os.PathLike[str] | None, entries: Iterable[str] = ()
) -> list[Example | str]:
    """The examples with the `reference` that the task compares them with; as they are where it compares with none.

    Args:
        reference: a picture, or a folder of them, of which each example's is the one with its path inside `entries`, else with its
            name, whatever the ending, else with the longest name that its own begins with, before `_`, `-` or `.`; None where the
            examples have theirs.
        entries: folders in which the examples lie.
    Raises:
        BadData: no such file, an example without a reference, or with two that it could be.
        BadUsage: a reference where none is compared with, where the examples have theirs, or none where they need one.
    """
    if not compares(task):
        if reference is not None:
            raise BadUsage(f"--reference {reference}: {type(task).__name__} compares with no reference; leave it out")
        return list(examples)
    rows = [{"id": e, "image": e} if isinstance(e, str) else e for e in examples]
    _check(rows, type(task).__name__, reference)
    if reference is None:
        return list(rows)
    place = os.path.expanduser(os.fspath(reference))
    if not os.path.exists(place):
        raise BadData(f"--reference {reference}: no such file or folder")
    if not os.path.isdir(place):
        return [{**row, "reference": place} for row in rows]
    known, roots = References(place), [os.path.expanduser(e) for e in entries if os.path.isdir(os.path.expanduser(e))]
    return [{**row, "reference": known.find(_path(row, place), roots)} for row in rows]


def _check(rows: Sequence[Example], who: str, reference: str | os.PathLike[str] | None) -> None:
    """Each row has a reference, or none has and one is given."""
    for row in rows:
        if "video" in row:
            raise BadUsage(f"{row['video']}: a video; {who} compares pictures")
        if reference is None and row.get("reference") is None:
            raise BadUsage(f"{_name(row)}: no reference; {who} compares with one: give --reference FILE or FOLDER, or {_COLUMNS}")
        if reference is not None and row.get("reference") is not None:
            raise BadUsage(f"--reference {reference}: {_name(row)} has a reference of its own; leave one of them out")


def _name(row: Mapping[str, Any]) -> str:
    image = row.get("image")
    return image if isinstance(image, str) else str(row.get("id", "a picture"))


def _path(row: Mapping[str, Any], folder: str) -> str:
    if not isinstance(row.get("image"), str):
        raise BadUsage(f"--reference {folder}: {_name(row)} has no path to find its reference by; give one file, or {_COLUMNS}")
    return row["image"]


class References:
    """The pictures of a folder, at any depth, found by the names of pictures made of them.

    Raises:
        BadData: the folder has no pictures.
    """

    def __init__(self, folder: str):
        self.folder = folder
        names = folders.pictures(folders.walk(pathlib.Path(folder))[0], folder)
        self.paths = set(names)
        self.whole: dict[str, list[str]] = defaultdict(list)  # by path without ending
        self.stems: dict[str, list[str]] = defaultdict(list)  # by name without ending
        for name in names:
            self.whole[_stem(name)].append(name)
            self.stems[_stem(os.path.basename(name))].append(name)

    def find(self, path: str, roots: Sequence[str] = ()) -> str:
        """The whole path of a picture's reference.

        Raises:
            BadData: there is none, or there are two that it could be.
        """
        inside = _inside(path, roots)
        if inside in self.paths:
            return f"{self.folder}/{inside}"
        stem = _stem(os.path.basename(path))
        found = self.whole.get(_stem(inside)) or self.stems.get(stem) or self._begun(stem)
        if not found:
            some = ", ".join(sorted(self.paths)[:3]) + (", ..." if len(self.paths) > 3 else "")
            wanted = "a picture's name is its reference's, or begins with it and _, - or ."
            raise BadData(f"{path}: no reference in {self.folder} ({some}): {wanted}; rename it, or give {_COLUMNS}")
        if len(found) > 1:
            both = " and ".join(found[:2])
            raise BadData(f"{path}: {both} in {self.folder} could both be its reference; remove one, or give {_COLUMNS}")
        return f"{self.folder}/{found[0]}"

    def _begun(self, stem: str) -> list[str]:
        """Those with the longest name that the stem begins with."""
        for end in range(len(stem) - 1, 0, -1):
            if stem[end] in MARKS and stem[:end] in self.stems:
                return self.stems[stem[:end]]
        return []


def _stem(name: str) -> str:
    """Without ending and, since sets of pictures are not careful there, without case."""
    return os.path.splitext(name)[0].casefold()


def _inside(path: str, roots: Sequence[str]) -> str:
    """The path inside the innermost of the folders that hold it, or the name alone."""
    whole = os.path.abspath(path)
    around = [root for root in map(os.path.abspath, roots) if whole.startswith(root + os.sep)]
    return os.path.relpath(whole, max(around, key=len)).replace(os.sep, "/") if around else os.path.basename(path)
