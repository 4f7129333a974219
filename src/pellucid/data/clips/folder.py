"""Folders of frames as clips: numbered pictures, and fields of optical flow stored as pictures."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from pellucid.data import decode, sources
from pellucid.data.clips.files import key_of, part_of, state_of
from pellucid.data.clips.shots import Shot, chosen, gathered, part, shown, within
from pellucid.data.clips.timetable import Path
from pellucid.errors import BadData

_AXES = {"flow_x_": "x", "x_": "x", "flow_y_": "y", "y_": "y"}
_NAME = re.compile(r"(.*?)(\d+)\.[^.]+")


@dataclass(frozen=True)
class FrameFolder:
    """Pictures of one prefix, numbered without gaps (`img_00001.jpg`); beside them perhaps flow (`flow_x_00001.jpg`, `flow_y_00001.jpg`).

    Args:
        rate: frames a second, which the pictures do not tell.
        start_s, end_s: the part of it that is meant, in seconds.
    """

    path: Path
    rate: float = 25.0
    start_s: float = 0.0
    end_s: float | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{os.fspath(self.path)}{part_of(self.start_s, self.end_s)}"

    def key(self) -> str:
        """Another one for every folder, part and rate, and when a picture changes its name, size or time of the last change.

        Raises:
            BadData: no such folder.
        """
        files = [(name, *state_of(os.path.join(self.path, name))) for name in self._names()]
        return key_of("folder", os.path.abspath(self.path), files, self.rate, self.start_s, self.end_s)

    def look(self) -> None:
        """Refuses a folder without frames, with gaps in their numbers, or whose first picture cannot be read.

        Raises:
            BadData, UnsafeInput: as `shots`.
        """
        tracks = self._tracks()
        for axis in ("x", "y") if {"x", "y"} & set(tracks) and "" not in tracks else ("",):
            decode.look(self._part(self._files(tracks, axis))[1][0])

    def shots(self, rate: float = 0, most: int = 0, run: int = 1) -> Iterator[Shot]:
        """Frames evenly over the clip; arguments as of `VideoFile.shots`.

        Raises:
            BadData: no such folder, no frames, a gap in their numbers, or a picture that cannot be read.
            UnsafeInput: a picture of more pixels than are allowed.
        """
        yield from self._shots([self._files(self._tracks(), "")], _coloured, (rate, most, run))

    def at(self, times_s: Sequence[float]) -> Iterator[Shot]:
        """The frames on the screen at these times since the clip's beginning, ascending, each once.

        Raises:
            BadData, UnsafeInput: as `shots`.
        """
        times, files = self._part(self._files(self._tracks(), ""))
        starts = np.unique(shown(times, np.array(times_s, dtype=float))).tolist()
        yield from gathered(((place, _coloured([files[place]])) for place in starts), starts, 1, times)

    def flow(self, rate: float = 0, most: int = 0, run: int = 1) -> Iterator[Shot] | None:
        """Stored optical flow along x and y, as pictures of two channels in which 128 is no motion; None where there is none.

        Raises:
            BadData, UnsafeInput: as `shots`; one axis has other numbers than the other.
        """
        tracks = self._tracks()
        if not {"x", "y"} & set(tracks):
            return None
        x, y = self._files(tracks, "x"), self._files(tracks, "y")
        if len(x) != len(y):
            raise BadData(f"{self.path}: {len(x)} pictures of flow along x and {len(y)} along y; expected as many")
        return self._shots([x, y], _flowing, (rate, most, run))

    def sound(self, rate: int = 16000) -> None:
        """A folder of frames has none."""

    def _shots(
        self,
        tracks: Sequence[Sequence[str]],
        read: Callable[[Sequence[str]], UInt8[np.ndarray, "_ _ _"]],
        how: tuple[float, int, int],
    ) -> Iterator[Shot]:
        parts = [self._part(files) for files in tracks]
        times, (rate, most, run) = parts[0][0], how
        starts = chosen(times, len(times) / self.rate, rate, most)
        pictures = ((place, read([files[place] for _, files in parts])) for place in within(starts, run, len(times)))
        return gathered(pictures, starts, run, times)

    def files(self) -> list[str]:
        """Paths of its pictures in the order of their numbers: of all frames, or, of flow alone, of its fields along x.

        Raises:
            BadData: no such folder, no frames, or a gap in their numbers.
        """
        tracks = self._tracks()
        return self._files(tracks, "" if "" in tracks or "x" not in tracks else "x")

    # ---- files ------------------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.path) as entries:
                return sorted(entry.name for entry in entries if sources.is_picture(entry.name) and not sources.is_hidden(entry.name))
        except OSError:
            raise BadData(f"{self.path}: {'no folder' if os.path.exists(self.path) else 'no such folder'}") from None

    def _tracks(self) -> dict[str, dict[int, str]]:
        """Number -> file of the frames (under no name) and of flow along `x` and `y`."""
        tracks: dict[str, dict[int, str]] = {}
        prefixes: dict[str, str] = {}
        for name in self._names():
            found = _NAME.fullmatch(name)
            if found is None:
                raise BadData(f"{self.path}: {name} has no number; expected frames only, as img_00001.jpg")
            prefix, number = found[1], int(found[2])
            axis = _AXES.get(prefix, "")
            if prefixes.setdefault(axis, prefix) != prefix:
                raise BadData(f"{self.path}: frames of two kinds, {prefixes[axis]}* and {prefix}*; leave one of them there")
            other = tracks.setdefault(axis, {}).setdefault(number, name)
            if other != name:
                raise BadData(f"{self.path}: {other} and {name} are both number {number}; leave one of them there")
        return tracks

    def _files(self, tracks: dict[str, dict[int, str]], axis: str) -> list[str]:
        """Files of one track, in the order of their numbers."""
        track = tracks.get(axis, {})
        if not track:
            expected = f"flow_{axis}_00001.jpg" if axis else "img_00001.jpg"
            raise BadData(f"{self.path}: no frames in it; expected pictures named as {expected}")
        first, last = min(track), max(track)
        gaps = [number for number in range(first, last + 1) if number not in track] if last - first >= len(track) else []
        if gaps:
            before = track[max(number for number in track if number < gaps[0])]
            raise BadData(f"{self.path}: {len(gaps)} of its frames are missing, the first after {before}; number them without gaps")
        return [os.path.join(self.path, track[number]) for number in sorted(track)]

    def _part(self, files: Sequence[str]) -> tuple[Float[np.ndarray, " n"], Sequence[str]]:
        """Times since the part begins, and its files."""
        times, end_s = np.arange(len(files)) / self.rate, len(files) / self.rate
        if self.start_s >= end_s:
            raise BadData(f"{self.path}: the part begins at {self.start_s:g} s, and the film is over at {end_s:.7g} s")
        inside = part(times, self.start_s, end_s if self.end_s is None else min(self.end_s, end_s))
        return times[inside] - self.start_s, files[inside]


def _coloured(files: Sequence[str]) -> UInt8[np.ndarray, "h w 3"]:
    return decode.look(files[0]).array()


def _flowing(files: Sequence[str]) -> UInt8[np.ndarray, "h w 2"]:
    x, y = (decode.look(file).array()[..., 0] for file in files)
    if x.shape != y.shape:
        raise BadData(f"{files[1]}: a picture of another size than {os.path.basename(files[0])}")
    return np.stack([x, y], axis=-1)
