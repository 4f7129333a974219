"""Decoding of chosen frames of a video file; what no chosen frame needs is not decoded, and only these are turned into colours."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pellucid.data import video
from pellucid.data.clips.timetable import Packet, Path, Timetable, encoded
from pellucid.errors import BadData


def pictures(path: Path, table: Timetable, wanted: Collection[int]) -> Iterator[tuple[int, UInt8[np.ndarray, "_ _ 3"]]]:
    """Place and upright picture of each wanted frame, ascending.

    Args:
        wanted: places in the timetable, at least one.
    Raises:
        BadData: damaged, or cut short; after the frames that are whole.
        UnsafeInput: frames of more pixels than are allowed.
    """
    last, done, convert = max(wanted), -1, video.converter()
    with video.opened(path) as (container, stream):
        if table.track.sought is not None:
            container.seek(table.track.sought, stream=stream)
        frames = _counted(container, stream, table) if table.places is None else _timed(container, stream, table, wanted)
        try:
            for place, frame in frames:
                if place > done and place in wanted:
                    video.capped(path, frame.width, frame.height)
                    done = place
                    yield place, video.upright(frame, convert)
                if place >= last:
                    break
        except video.faults() as error:
            after = f"after {done + 1} frames" if table.track.sought is None else f"after {max(0.0, table.times_s[done]):.2f} s"
            raise BadData(f"{path}: damaged {after} ({video.told(error)}); {video.REMEDY}") from None
        if done < 0:
            raise BadData(f"{path}: no frames can be read; {video.REMEDY}")
    table.check_end(path)


def _counted(container: Any, stream: Any, table: Timetable) -> Iterator[tuple[int, Any]]:
    """All frames, which come in the order in which they are shown."""
    place = 0
    for packet, _ in zip(encoded(container, stream), table.track.packets, strict=False):
        for frame in packet.decode():
            yield place, frame
            place += 1
    for frame in stream.codec_context.decode(None):
        yield place, frame
        place += 1


def _timed(container: Any, stream: Any, table: Timetable, wanted: Collection[int]) -> Iterator[tuple[int, Any]]:
    """Wanted frames, and some of those between, known by their times."""
    assert table.places is not None
    context, packets = stream.codec_context, table.track.packets
    asked = {stamp for stamp, place in table.places.items() if place in wanted}
    before = False
    for needed, packet in zip(_needed(packets, asked), encoded(container, stream), strict=False):
        frames = []
        if needed:
            context.skip_frame = "DEFAULT" if packet.pts in asked else "NONREF"  # of frames that no other is made of
            frames = packet.decode()
        elif before:
            frames = context.decode(None)
            context.flush_buffers()
        before = needed
        yield from ((table.places[frame.pts], frame) for frame in frames if frame.pts in table.places)
    yield from ((table.places[frame.pts], frame) for frame in context.decode(None) if frame.pts in table.places)


def _needed(packets: Sequence[Packet], asked: Collection[int]) -> list[bool]:
    """Of each packet up to the last asked for, whether one that is asked for needs it: those since the key frame that it stands on."""
    keys, needed = [0, 0], [False] * len(packets)
    begun, done = 0, 0  # the last stretch
    for at, packet in enumerate(packets):
        if packet.key:
            keys.append(at)
        if packet.pts is not None and packet.pts in asked and not packet.hidden:
            leads = packet.pts < (packets[keys[-1]].pts or 0)  # comes after a key frame, is shown before it: stands on the one before, too
            since = keys[-2] if leads else keys[-1]
            since, begun = (done, begun) if begun <= since < done else (since, since)
            needed[since : at + 1] = [True] * (at + 1 - since)
            done = at + 1
    return needed[:done]
