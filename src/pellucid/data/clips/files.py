"""Video files as clips."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pellucid.data import video
from pellucid.data.clips.decoding import pictures
from pellucid.data.clips.shots import Shot, chosen, gathered, shown, within
from pellucid.data.clips.sound import sound_of
from pellucid.data.clips.timetable import Path, Timetable, timetable
from pellucid.errors import BadData


@dataclass(frozen=True)
class VideoFile:
    """A video file, or a part of it; each call opens it anew, so that processes and threads do not meet.

    Args:
        start_s: where the part begins, in seconds since the file's first frame.
        end_s: where it ends; None at the end of the file.
    """

    path: Path
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{os.fspath(self.path)}{part_of(self.start_s, self.end_s)}"

    def key(self) -> str:
        """Another one for every file, state of a file and part of it, as far as size and time of the last change tell.

        Raises:
            BadData: no such file.
        """
        return key_of("file", os.path.abspath(self.path), *state_of(self.path), self.start_s, self.end_s)

    def look(self) -> None:
        """Refuses what cannot be opened, holds neither pictures nor sound, or ends before the part begins, as its header tells.

        Raises:
            BadData, UnsafeInput, BadUsage: as `video.frames`.
        """
        with video.container_of(self.path) as container:
            pictures = video.picture_track(container)
            if pictures is not None:
                video.capped(self.path, pictures.width, pictures.height)
            elif not container.streams.audio:
                raise BadData(f"{self.path}: neither pictures nor sound in it")
            length_s = (container.duration or 0) / 1_000_000
            if 0 < length_s <= self.start_s:
                raise BadData(f"{self.path}: the part begins at {self.start_s:g} s, and the film is over at {length_s:.7g} s")

    def shots(self, rate: float = 0, most: int = 0, run: int = 1) -> Iterator[Shot]:
        """Frames evenly over the clip.

        Args:
            rate: shots a second, at most one per frame; 0 for every frame.
            most: of more shots, so many are taken, evenly; 0 for no limit.
            run: successive frames of a shot; past the end, the last is repeated.
        Raises:
            BadData: no video, without frames, damaged or cut short, the last two after the shots that are whole.
            UnsafeInput: frames of more pixels than are allowed.
            BadUsage: PyAV is not installed.
        """
        table = timetable(self.path, self.start_s, self.end_s)
        times = self._times(table)
        yield from self._gathered(table, times, chosen(times, table.length_s, rate, most), run)

    def at(self, times_s: Sequence[float]) -> Iterator[Shot]:
        """The frames on the screen at these times since the clip's beginning, ascending, each once.

        Raises:
            BadData, UnsafeInput, BadUsage: as `shots`.
        """
        table = timetable(self.path, self.start_s, self.end_s)
        times = self._times(table)
        yield from self._gathered(table, times, np.unique(shown(times, np.array(times_s, dtype=float))).tolist(), 1)

    def sound(self, rate: int = 16000) -> Float[np.ndarray, " n"] | None:
        """The mean of the channels from the clip's beginning, at most to its end, -1 to 1; None without sound.

        Args:
            rate: samples per second.
        Raises:
            BadData: no file that can be read, damaged, or cut short.
            BadUsage: PyAV is not installed.
        """
        return sound_of(self.path, self.start_s, self.end_s, rate)

    def _times(self, table: Timetable) -> Float[np.ndarray, " n"]:
        return table.times_s[table.first : table.last + 1] - self.start_s

    def _gathered(self, table: Timetable, times: Float[np.ndarray, " n"], starts: Sequence[int], run: int) -> Iterator[Shot]:
        wanted = {place + table.first for place in within(starts, run, len(times))}
        frames = ((place - table.first, picture) for place, picture in pictures(self.path, table, wanted))
        return gathered(frames, starts, run, times)


def part_of(start_s: float, end_s: float | None) -> str:
    """A part of a clip, for messages; nothing of the whole."""
    if end_s is None:
        return f" from {start_s:g} s" if start_s else ""
    return f" from {start_s:g} to {end_s:g} s"


def state_of(path: Path) -> tuple[int, int]:
    """Size and time of the last change.

    Raises:
        BadData: no such file.
    """
    try:
        found = os.stat(path)
    except OSError:
        raise BadData(f"{path}: no such file") from None
    return found.st_size, found.st_mtime_ns


def key_of(*values: object) -> str:
    """A short name for these values, in hexadecimal digits."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:32]
