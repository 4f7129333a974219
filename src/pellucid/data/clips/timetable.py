"""When each frame of a video file is shown, told by its packets without decoding them."""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from pellucid.data import video
from pellucid.data.clips.shots import SLACK_S, part
from pellucid.errors import BadData

Path = str | os.PathLike[str]
_TELL_LENGTH = ("matroska", "flv", "asf")
_STILL_S = 3600.0
_EARLY_S, _EARLY = 1.0, 0.05  # headers round


@dataclass(frozen=True)
class Packet:
    """One encoded frame, as the container tells it; times in the container's unit.

    Args:
        lasts: how long it is shown; 0 where that is not told.
        hidden: is needed by others, and is not shown itself.
    """

    pts: int | None
    dts: int | None
    lasts: int
    key: bool
    hidden: bool


@dataclass(frozen=True)
class Track:
    """Packets in the order in which they are decoded.

    Args:
        sought: where they begin, in the container's unit; None at the beginning of the file.
        ends: they go to the end of the file.
        fault: what is wrong at their end, or nothing.
    """

    packets: Sequence[Packet]
    sought: int | None
    ends: bool
    fault: str = ""


@dataclass(frozen=True)
class Timetable:
    """The frames of a part of a file.

    Args:
        times_s: of all frames of the packets, ascending, since the file's first.
        places: time in the container's unit -> place in `times_s`; None where decoded frames have to be counted, since times are not told
            or not to be trusted.
        end_s: when the last of them is gone.
        first, last: places of the first and last frame of the part.
        length_s: of the part.
    """

    track: Track
    times_s: Float[np.ndarray, " n"]
    places: dict[int, int] | None
    end_s: float
    first: int = 0
    last: int = 0
    length_s: float = 0.0

    def check_end(self, path: Path) -> None:
        """Refuses a part that goes to the end of a file which is cut short or damaged there.

        Raises:
            BadData: it does.
        """
        if self.track.fault and self.last == len(self.times_s) - 1:
            after = f"{len(self.times_s)} frames" if self.track.sought is None else f"{self.end_s:.2f} s"
            raise BadData(f"{path}: {self.track.fault}; it ends after {after}; {video.REMEDY}")


def timetable(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Timetable:
    """The frames that are on the screen from `start_s` to `end_s`.

    Raises:
        BadData, UnsafeInput, BadUsage: as `video.frames`; the part begins when the film is over.
    """
    with video.opened(path) as (container, stream):
        table = _near(container, stream, start_s, end_s)
    if table is None:
        with video.opened(path) as (container, stream):
            table = _whole(container, stream)
    if not len(table.times_s):
        fault = f"{table.track.fault}; " if table.track.fault else ""
        raise BadData(f"{path}: {fault}no frames can be read; {video.REMEDY}")
    table = dataclasses.replace(table, last=len(table.times_s) - 1)
    if start_s >= table.end_s - SLACK_S:
        table.check_end(path)
        raise BadData(f"{path}: the part begins at {start_s:g} s, and the film is over at {table.end_s:.7g} s")
    over = table.end_s if end_s is None else min(end_s, table.end_s)
    inside = part(table.times_s, start_s, over)
    return dataclasses.replace(table, first=inside.start, last=inside.stop - 1, length_s=over - start_s)


def _near(container: Any, stream: Any, start_s: float, end_s: float | None) -> Timetable | None:
    """The frames around a part, where times can be trusted and the container finds its way; else None."""
    origin, sought = stream.start_time, None
    if "avi" in container.format.name or (start_s > 0 and origin is None):
        return None
    if start_s > 0:
        sought = origin + int(start_s / stream.time_base)
        try:
            container.seek(sought, stream=stream)
        except video.faults():
            return None
    until = None if end_s is None or origin is None else origin + end_s / float(stream.time_base)
    track = _read(container, stream, sought, until)
    stamps = _trusted(track.packets)
    if not stamps or not _flows(stamps, stream) or (sought is not None and not _begins_before(track.packets[0], sought)):
        return None
    table = _table(track, stamps, stream, min(stamps) if sought is None else origin)
    table = dataclasses.replace(table, places={stamp: place for place, stamp in enumerate(sorted(stamps))})
    return table if sought is None or start_s < table.end_s else None


def _whole(container: Any, stream: Any) -> Timetable:
    """All frames, to be counted; their times are made of the rate where they run backwards or are not told."""
    track = _read(container, stream, None, None)
    packets = [packet for packet in track.packets if not packet.hidden]
    decoded = "avi" in container.format.name  # its times are those of decoding; those of presentation are guesses
    stamps = [packet.dts if decoded else packet.pts for packet in packets]
    told = [stamp for stamp in stamps if stamp is not None]
    keys = [stamp for stamp, packet in zip(stamps, packets, strict=True) if packet.key]
    if told and len(told) == len(stamps) and _ascend(keys) and _flows(told, stream):
        return _table(track, told, stream, min(told))
    rate = float(stream.average_rate or stream.guessed_rate or video.RATE)
    return Timetable(track, np.arange(len(stamps)) / rate, None, len(stamps) / rate)


def encoded(container: Any, *streams: Any) -> Iterator[Any]:
    """Packets that hold something; the last says only that it is the last, and AVI has empty ones where a frame stays."""
    try:
        yield from (packet for packet in container.demux(*streams) if packet.size)
    except IndexError:  # PyAV's own, of a track that its header does not name
        raise video.fault("a track begins in its midst") from None


def _read(container: Any, stream: Any, sought: int | None, until: float | None) -> Track:
    """Packets up to the last that is shown before a time."""
    packets: list[Packet] = []
    damaged, over_s, fault = False, 0.0, ""
    try:
        for packet in encoded(container):
            if packet.dts is not None:
                over_s = max(over_s, float((packet.dts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != stream.index:
                continue
            if until is not None and packet.dts is not None and packet.dts >= until:
                return Track(packets, sought, ends=False)
            packets.append(Packet(packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, packet.is_discard))
            damaged = packet.is_corrupt
    except video.faults() as error:
        fault = f"damaged ({video.told(error)})"
    packets = packets[:-1] if damaged else packets  # a file that is cut ends in half a packet
    if not fault and (video.cut_short(container, stream, len(packets)) or _ends_early(container, over_s)):
        fault = "cut short"
    return Track(packets, sought, ends=True, fault=fault)


def _ends_early(container: Any, over_s: float) -> bool:
    """Whether the last packet of all tracks comes long before the film's end, where the header tells that and does not guess it."""
    if container.duration is None or not any(name in container.format.name for name in _TELL_LENGTH):
        return False
    length_s, start_s = container.duration / 1_000_000, (container.start_time or 0) / 1_000_000
    return over_s - start_s < length_s - max(_EARLY_S, _EARLY * length_s)


def _table(track: Track, stamps: Sequence[int], stream: Any, origin: int) -> Timetable:
    """Of the times of all packets that are shown; the last frame stays as long as its packet says, or as frames usually do."""
    unit, ordered = float(stream.time_base), np.sort(np.array(stamps, dtype=np.int64))
    usual = float(np.median(np.diff(ordered))) if len(stamps) > 1 else float(1 / (stream.average_rate or video.RATE)) / unit
    lasts = [packet.lasts for packet in track.packets if not packet.hidden][int(np.argmax(stamps))] or usual
    return Timetable(track, (ordered - origin) * unit, None, (float(ordered[-1]) + lasts - origin) * unit)


def _trusted(packets: Sequence[Packet]) -> list[int]:
    """Times of presentation; none where they cannot tell one frame from another, or run backwards."""
    stamps = [packet.pts for packet in packets if packet.pts is not None and not packet.hidden]
    whole = len(set(stamps)) == len([packet for packet in packets if not packet.hidden])
    return stamps if whole and _ascend([packet.pts for packet in packets if packet.key]) else []


def _flows(stamps: Sequence[int], stream: Any) -> bool:
    """Whether no frame stays so long that its time must be a fault."""
    return len(stamps) < 2 or float(np.diff(np.sort(np.array(stamps, dtype=np.int64))).max() * stream.time_base) < _STILL_S


def _begins_before(packet: Packet, stamp: int) -> bool:
    return packet.key and packet.pts is not None and packet.pts <= stamp


def _ascend(stamps: Sequence[int | None]) -> bool:
    return all(a is not None and b is not None and a < b for a, b in itertools.pairwise(stamps)) and None not in stamps
