"""What the readers of pairs share: scales of scores, files of any case, rows checked and chosen."""

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pellucid.coerce import nearest
from pellucid.data import sources
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

OPTIONS: sources.Choices = {
    **{"references": (), "without": (), "kinds": (), "without_kinds": ()},
    **{"range": (), "missing": ("refuse", "skip")},
}


@dataclasses.dataclass(frozen=True)
class Scale:
    """What the scores of a set mean.

    Args:
        name: of the set, in messages.
        low: the least score that the set may hold.
        high: the greatest.
        better: the end of the scale where distorted pictures look like their originals.
    """

    name: str
    low: float
    high: float
    better: Literal["low", "high"]

    def quality(self, score: float, where: str) -> float:
        """The score from 0 to 1, higher better.

        Raises:
            BadData: the score is outside the scale, or not a number.
        """
        if not self.low <= score <= self.high:
            remedy = "give another with ?range=LOW,HIGH" if math.isfinite(score) else "leave such rows out"
            raise BadData(f"{where}: score {score:g} is outside {self.low:g} to {self.high:g}, the range of {self.name}; {remedy}")
        part = (score - self.low) / (self.high - self.low)
        return part if self.better == "high" else 1 - part

    def ranged(self, options: Mapping[str, str]) -> "Scale":
        """The scale with the ends that the option `range` names.

        Raises:
            BadUsage: no two numbers, the lower one first.
        """
        if "range" not in options:
            return self
        try:
            low, high = (float(end) for end in options["range"].split(","))
        except ValueError:
            low = high = math.nan
        if not (low < high and math.isfinite(low) and math.isfinite(high)):
            raise BadUsage(f"range={options['range']}: expected two numbers, the lower one first, as in range=0,100")
        return dataclasses.replace(self, low=low, high=high)


# Wide enough for what the sets hold: LIVE's realigned scores run from -2.64 to 111.77, PIPAL's from 917 to 1836.
# PieAPP states no range; its original has 0.
SCALES = {
    "live": Scale("LIVE", -3, 112, "low"),
    "csiq": Scale("CSIQ", 0, 1, "low"),
    "tid2008": Scale("TID2008", 0, 9, "high"),
    "tid2013": Scale("TID2013", 0, 9, "high"),
    "kadid": Scale("KADID-10k", 1, 5, "high"),
    "pipal": Scale("PIPAL", 850, 1900, "high"),
    "pieapp": Scale("PieAPP", -2, 10, "low"),
}


class Files:
    """Files found whatever the case of their names, as TID's I01.BMP, which its lists call i01.bmp; each folder is listed once."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, str]] = {}

    def find(self, folder: str | os.PathLike[str], name: str) -> str:
        """The path of a file below a folder; as asked for where there is none."""
        path = os.fspath(folder)
        for part in name.split("/"):
            path = f"{path}/{self._entry(path, part)}"
        return path

    def inside(self, folder: str | os.PathLike[str], name: str, where: str) -> str:
        """As `find`, of a name that a stranger's list holds.

        Raises:
            UnsafeInput: the name leads outside the folder.
        """
        sources.inside(os.fspath(folder), name, where)
        return self.find(folder, name)

    def has(self, folder: str | os.PathLike[str], name: str) -> bool:
        """Whether there is such a file."""
        path, last = os.path.split(self.find(folder, name))
        return last in self._entries(path)

    def _entry(self, folder: str, name: str) -> str:
        entries = self._entries(folder)
        return entries.get(name) or entries.get(name.lower(), name)

    def _entries(self, folder: str) -> dict[str, str]:
        """Name, and name in lower case -> name; a file that is so called comes before one of another case."""
        if folder not in self.folders:
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            self.folders[folder] = {name.lower(): name for name in names} | {name: name for name in names}
        return self.folders[folder]


def root_of(place: str, files: Files, *parts: str) -> str:
    """The folder that holds these files and folders: the one named, or one inside it.

    Raises:
        BadData: there is none.
    """
    top = sources.folder_of(place)
    inside = sorted(path for path in top.iterdir() if path.is_dir() and not sources.is_hidden(path.name))
    found = [str(path) for path in (top, *inside) if all(files.has(path, part) for part in parts)]
    if not found:
        lost = next((part for part in parts if not files.has(top, part)), parts[0])
        raise BadData(f"{place}: no {lost}; expected a folder with {', '.join(parts)}")
    return found[0]


def number(value: Any, where: str, column: str = "score") -> float:
    """A number that a file holds as text; NaN is one.

    Raises:
        BadData: no number.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BadData(f"{where}: {column} {value!r} is no number") from None


def whole(value: Any, where: str, column: str) -> int:
    """A whole number that a file holds as text.

    Raises:
        BadData: none.
    """
    found = number(value, where, column)
    if not found.is_integer():
        raise BadData(f"{where}: {column} {value!r} is no whole number")
    return int(found)


def pair(where: str, group: str, image: str, reference: str, **more: Any) -> dict[str, Any]:
    """A row: what the reader says of a picture and its original, without what is None.

    Args:
        where: file and row, the row's id.
        group: the set's name; the row's group adds the reference's.
    """
    told = {key: value for key, value in more.items() if value is not None}
    return {"id": where, "image": image, "reference": reference, "group": f"{group}/{stem(reference)}", **told}


def stem(path: str) -> str:
    """A file's name in lower case, without folder and ending."""
    return os.path.splitext(os.path.basename(path))[0].lower()


def finished(rows: Rows, options: Mapping[str, str], place: str) -> Rows:
    """The rows without repeats, of the references and kinds asked for, whose pictures are there.

    Raises:
        BadData: a pair is there twice, or a picture is missing.
        BadUsage: no row has the reference or kind that is asked for.
    """
    if not rows:
        raise BadData(f"{place}: no rows")
    seen: dict[tuple[str, ...], str] = {}
    for row in rows:
        key = (row["reference"], *sorted((row["image"], row.get("other", ""))))
        if key in seen:
            raise BadData(f"{row['id']}: the same pictures as {seen[key]}, {os.path.basename(row['image'])}; leave one of the two out")
        seen[key] = row["id"]
    rows = _chosen(rows, options, "references", "without", [row["group"].partition("/")[2] for row in rows])
    rows = _chosen(rows, options, "kinds", "without_kinds", [row.get("kind", "") for row in rows])
    for role in ("image", "reference", "other"):
        if role in rows[0]:
            rows = sources.with_pictures(rows, options.get("missing", "refuse"), place, role)
    return rows


def _chosen(rows: Rows, options: Mapping[str, str], only: str, without: str, values: Sequence[str]) -> Rows:
    """The rows of the values that one option names, without those that the other names."""
    there = sorted(set(values))
    for option in (only, without):
        if option in options:
            named = _named(options[option], option, there)
            wanted = option == only
            kept = [(row, value) for row, value in zip(rows, values, strict=True) if (value in named) == wanted]
            rows, values = [row for row, _ in kept], [value for _, value in kept]
    if not rows:
        raise BadUsage(f"{only}={options.get(only, '')}&{without}={options.get(without, '')}: nothing is left")
    return rows


def _named(text: str, option: str, there: Iterable[str]) -> set[str]:
    named = {name.strip().lower() for name in text.split(",") if name.strip()}
    known = list(there)
    for name in sorted(named - set(known)):
        some = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
        raise BadUsage(f"{option}={name}: no row has it{nearest(name, known)}; there are {some}")
    return named
