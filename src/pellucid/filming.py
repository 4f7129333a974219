"""What a run that answers about whole clips is asked, from the words of a command line: files, folders of them, folders of frames."""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from pellucid.data import folders, sources, tables
from pellucid.data.clips import sets
from pellucid.data.clips.clip import Clip
from pellucid.data.read import read
from pellucid.errors import BadUsage
from pellucid.recipe import Data
from pellucid.task import Example, Task

TOGETHER = 64  # clips answered before the first answer is told


def takes_clips(task: Task) -> bool:
    """Whether a task answers about a clip as a whole, and not about each of its frames."""
    return getattr(task, "takes", "text") == "video"


def clips(path: str, data_of: Callable[[str], Data]) -> list[Example]:
    """A video, all videos and folders of frames of a folder at any depth, or the rows of a table.

    Raises:
        BadData: a folder without videos, or a table that cannot be read.
    """
    if not os.path.isdir(path):
        return read(data_of(path)) if tables.kind_of(path) and not sources.is_video(path) else [_row(path)]
    root = pathlib.Path(path)
    if sets.is_frames(os.listdir(root)):
        return [_row(str(root))]
    files, _ = folders.walk(root, sets.is_frames)
    kept = folders.of_kind(files, path, "videos", lambda name: name.endswith("/") or sources.is_video(name), sets.EXPECTED)
    return [_row(str(root / name)) for name in kept]


def _row(path: str) -> Example:
    return {"id": path, "video": path}


def told(row: Example) -> dict[str, Any]:
    """The file of a clip, and which part of it was meant."""
    where: str | os.PathLike[str] | Clip = row["video"]
    path = os.fspath(where) if isinstance(where, (str, os.PathLike)) else where.name
    return {"path": path, **{key: row[key] for key in ("start_s", "end_s") if row.get(key) is not None}}


def refuse(task: Task, asked: Mapping[str, bool]) -> None:
    """Refuses what is asked of frames and boxes.

    Args:
        asked: flag -> whether it was given.
    Raises:
        BadUsage: one was.
    """
    for flag in (name for name, given in asked.items() if given):
        raise BadUsage(f"{flag}: {type(task).__name__} answers about each clip as a whole; leave it out")
