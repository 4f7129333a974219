"""What a clip is, the clip of a row, and small pictures of one for people to look at."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from pellucid.data.clips.files import VideoFile
from pellucid.data.clips.folder import FrameFolder
from pellucid.data.clips.shots import SLACK_S, Shot
from pellucid.errors import BadData

__all__ = ["Clip", "Film", "FrameFolder", "Shot", "VideoFile", "clip_of"]


@runtime_checkable
class Clip(Protocol):
    """Moving pictures, perhaps with sound; frozen, hashable, and light enough to be sent to another process."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def key(self) -> str:
        """What it is read from: of other bytes or another part, another key. Read from names, sizes and times, not from what files hold."""

    def look(self) -> None:
        """Raises BadData or UnsafeInput where it cannot be opened; decodes no more than a header."""

    def shots(self, rate: float = 0, most: int = 0, run: int = 1) -> Iterator[Shot]:
        """Frames evenly over the clip, a few in memory at a time.

        Args:
            rate: shots a second, at most one per frame; 0 for every frame.
            most: of more shots, so many are taken, evenly; 0 for no limit.
            run: successive frames of a shot; past the end, the last is repeated.
        """

    def sound(self, rate: int = 16000) -> Float[np.ndarray, " n"] | None:
        """One channel from the clip's beginning, -1 to 1; None without sound."""


@runtime_checkable
class _Sought(Protocol):
    """A clip that finds the frames of given times by itself."""

    def at(self, times_s: Sequence[float]) -> Iterator[Shot]:
        """The frames on the screen at these times, ascending."""


def clip_of(example: Mapping[str, Any]) -> Clip:
    """The clip of a row's `video`: of a file or folder of frames, from `start_s` to `end_s` where the row has them; or a Clip as it is.

    Raises:
        BadData: no video, or a part that is none.
    """
    given, where = example.get("video"), example.get("id", "row")
    if isinstance(given, Clip):
        return given
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise BadData(f"{where}: expected a video's path, found {given!r}")
    start_s = _seconds(example, "start_s") or 0.0
    end_s = _seconds(example, "end_s")
    if end_s is not None and end_s <= start_s:
        raise BadData(f"{where}: the part ends at {end_s:g} s, and begins at {start_s:g} s; expected an end after the beginning")
    path = os.path.expanduser(os.fspath(given))
    return FrameFolder(path, start_s=start_s, end_s=end_s) if os.path.isdir(path) else VideoFile(path, start_s, end_s)


def _seconds(example: Mapping[str, Any], column: str) -> float | None:
    value = example.get(column)
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise BadData(f"{example.get('id', 'row')}: {column} is {value!r}; expected seconds, 0 or more")
    return seconds


@dataclass(frozen=True)
class Film:
    """Moments of a clip.

    Args:
        times_s: since the clip's beginning, in any order.
        names: what a reader calls each.
    """

    clip: Clip
    times_s: tuple[float, ...]
    names: tuple[str, ...]

    def pictures(self, side: int = 112) -> list[UInt8[Tensor, "3 h w"]]:
        """The frame on the screen at each moment, brought to a longer side of `side` pixels by averages over areas.

        Raises:
            BadData, UnsafeInput, BadUsage: as the clip's `shots`.
        """
        asked = sorted(set(self.times_s))
        if not asked:
            return []
        shots = self.clip.at(asked) if isinstance(self.clip, _Sought) else self.clip.shots()
        found: dict[float, UInt8[Tensor, "3 h w"]] = {}
        last: Shot | None = None
        for shot in shots:
            if last is not None:
                while len(found) < len(asked) and asked[len(found)] < shot.time_s - SLACK_S:
                    found[asked[len(found)]] = _small(last, side)
            last = shot
        if last is None:
            raise BadData(f"{self.clip.name}: no frames can be read")
        rest = _small(last, side)
        return [found.get(time_s, rest) for time_s in self.times_s]


def _small(shot: Shot, side: int) -> UInt8[Tensor, "3 h w"]:
    picture = rearrange(torch.tensor(shot.pictures[0]), "h w c -> 1 c h w").float()
    height, width = picture.shape[2:]
    scale = side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return functional.interpolate(picture, size, mode="area")[0].round().to(torch.uint8)
