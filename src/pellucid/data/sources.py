"""What readers of pictures and videos share: which files are such, options, lists of class names, files that are not there."""

import contextlib
import gc
import json
import logging
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage, UnsafeInput

Rows = list[dict[str, Any]]
Choices = Mapping[str, Sequence[str]]  # option -> its values; none where any will do

ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".ts")
SPLITS = (("train", "training"), ("val", "validation", "validate", "valid", "dev"), ("test", "testing"))
_WNID = re.compile(r"(n\d{8})\s+(.+)")

log = logging.getLogger("pellucid")


def is_picture(name: str) -> bool:
    """Whether a file's ending is that of a picture."""
    return name.lower().endswith(ENDINGS)


def is_video(name: str) -> bool:
    """Whether a file's ending is that of a video."""
    return name.lower().endswith(VIDEO_ENDINGS)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not its owner's doing: dot files and what desktops leave behind."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini", "lost+found")


def checked(kind: str, options: Mapping[str, str], choices: Choices) -> dict[str, str]:
    """The options, each known and with a value that it may have.

    Raises:
        BadUsage: an option this kind does not have, or a value that it does not take.
    """
    for name, value in options.items():
        if name not in choices:
            raise BadUsage(f"{kind}: has no option {name!r}{nearest(name, list(choices))}")
        if choices[name] and value not in choices[name]:
            raise BadUsage(f"{kind}: {name}={value}: expected {' or '.join(choices[name])}")
    return dict(options)


def folder_of(place: str) -> pathlib.Path:
    """The folder that a source names.

    Raises:
        BadData: there is none.
    """
    path = pathlib.Path(place).expanduser()
    if not path.exists():
        raise BadData(f"no folder {place}")
    if not path.is_dir():
        raise BadData(f"{place}: a file; expected a folder")
    return path


def read_text(path: pathlib.Path) -> str:
    """A text file in UTF-8.

    Raises:
        BadData: it is missing, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadData(f"no file {path}") from None
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: byte 0x{error.object[error.start]:02x} at offset {error.start} is not UTF-8") from None


def read_json(path: pathlib.Path) -> Any:
    """What a JSON file holds.

    Raises:
        BadData: it is missing, or is not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: not JSON ({error})") from None


def class_names(place: str) -> dict[str, str]:
    """Index (and word-net id, where the file has it) -> name, in the order of the indices.

    Reads a name a line, `n01440764 tench` a line, a JSON list, `{"0": "tench"}`, `{"0": ["n01440764", "tench"]}`,
    `{"tench": 0}` and `{"n01440764": "tench"}`.

    Raises:
        BadData: the file is none of these, or two classes have one name.
    """
    path = pathlib.Path(place).expanduser()
    pairs = _json_pairs(read_json(path), path) if path.suffix.lower() == ".json" else _text_pairs(read_text(path))
    found: dict[str, str] = {}
    names = []
    for index, (wnid, name) in enumerate(pairs):
        found |= {str(index): name, **({wnid: name} if wnid else {})}
        names.append(name)
    if not names:
        raise BadData(f"{path}: no class names")
    if repeated(names) is not None:
        raise BadData(f"{path}: two classes are called {repeated(names)!r}")
    return found


def ordered(names: Mapping[str, str]) -> tuple[str, ...]:
    """The names that `class_names` has read, by index."""
    return tuple(dict.fromkeys(names.values()))


def named(key: str, names: Mapping[str, str], where: str) -> str:
    """The name of a class index or word-net id.

    Raises:
        BadData: the list has no such class.
    """
    if key not in names:
        raise BadData(f"{where}: class {key!r} is not in the list of {len(ordered(names))} classes")
    return names[key]


def _text_pairs(text: str) -> list[tuple[str, str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    matches = [_WNID.fullmatch(line) for line in lines]
    if all(matches):
        return [(m[1], m[2]) for m in matches if m]
    return [("", line) for line in lines]


def _json_pairs(found: Any, path: pathlib.Path) -> list[tuple[str, str]]:
    """Word-net id, perhaps empty, and name of each class by index."""
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return [("", name) for name in found]
    items = list(found.items()) if isinstance(found, dict) else []
    if items and all(isinstance(v, int) and not isinstance(v, bool) for _, v in items):
        items = [(str(v), k) for k, v in items]
    if items and all(k.isdecimal() for k, _ in items):
        items.sort(key=lambda item: int(item[0]))
        if [int(k) for k, _ in items] != list(range(len(items))):
            raise BadData(f"{path}: the class indices are not 0 to {len(items) - 1} without gaps")
        if all(isinstance(v, str) for _, v in items):
            return [("", v) for _, v in items]
        if all(isinstance(v, list) and len(v) == 2 and all(isinstance(x, str) for x in v) for _, v in items):
            return [(v[0], v[1]) for _, v in items]
    elif items and all(isinstance(v, str) for _, v in items):
        return items
    raise BadData(f'{path}: no list of class names; expected a JSON list of names, or an object like {{"0": "tench"}}')


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Millions of small objects that all stay: the collector would walk them again and again, for half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


# ---- files --------------------------------------------------------------------------------------------------------


class Listing:
    """Which files there are, each folder listed once: a hundred thousand questions cost what one folder costs."""

    def __init__(self) -> None:
        self.folders: dict[str, frozenset[str]] = {}

    def has(self, path: str) -> bool:
        """Whether the file's folder lists it."""
        folder, name = os.path.split(path)
        if folder not in self.folders:
            try:
                self.folders[folder] = frozenset(os.listdir(folder or "."))
            except OSError:
                self.folders[folder] = frozenset()
        return name in self.folders[folder]


def with_pictures(rows: Rows, missing: str, place: str, role: str = "image") -> Rows:
    """The rows whose picture file, or video, exists; of those without, the count is told.

    Args:
        missing: "refuse" or "skip".
        role: which picture of a row, or `video`.
    Raises:
        BadData: a file is missing and may not be skipped, or all are.
    """
    listing = Listing()
    lost = [row for row in rows if isinstance(row[role], str) and not listing.has(row[role])]
    if not lost:
        return rows
    first = f"{lost[0]['id']}: no file {lost[0][role]}"
    what, option = ("videos", "videos") if role == "video" else ("pictures", "images")
    if len(lost) == len(rows):
        raise BadData(f"{first}; none of the {len(rows)} {what} is there: say where they are with ?{option}=FOLDER")
    if missing != "skip":
        raise BadData(f"{first}; {len(lost)} of {len(rows)} {what} are missing: add ?missing=skip to leave them out")
    log.warning("%s: %d of %d %s are missing and left out", place, len(lost), len(rows), what)
    gone = {id(row) for row in lost}
    return [row for row in rows if id(row) not in gone]


def inside(folder: str, name: Any, where: str) -> str:
    """The path of a file that a stranger's list names, inside the folder.

    Raises:
        BadData: no name at all.
        UnsafeInput: the name leads outside.
    """
    if not isinstance(name, str) or not name:
        raise BadData(f"{where}: expected the name of a picture file, found {name!r}")
    if name[0] in "/\\" or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
        raise UnsafeInput(f"{where}: {name!r} leads outside the folder of pictures; refused. Names are relative to ?images=FOLDER")
    return f"{folder}/{name}"


def split_folder(root: pathlib.Path, split: str) -> pathlib.Path | None:
    """The folder of a split, also under its other usual names."""
    others = next((group for group in SPLITS if split in group), ())
    return next((root / name for name in (split, *others) if (root / name).is_dir()), None)


def repeated(values: Iterable[Any]) -> Any:
    """The first value that has come before; None where all differ."""
    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
