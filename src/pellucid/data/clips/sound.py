"""The sound of a file, as one channel."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from einops import reduce
from jaxtyping import Float

from pellucid.data import video
from pellucid.data.clips.timetable import Path
from pellucid.errors import BadData

_GAPS_S = (0.1, 3600.0)  # shorter ones are how containers round, longer ones are no times
_LEAD_S = 1.0  # what is decoded before a part, since sound is made of what came before
_SEEK = ("mp4", "matroska")  # containers with an index of all sound


def sound_of(path: Path, start_s: float, end_s: float | None, rate: int) -> Float[np.ndarray, " n"] | None:
    """The mean of the channels from `start_s` to `end_s`, -1 to 1.

    Seconds count from the first picture, of a file without pictures from the first sound. Gaps in it are silence. None where there is
    no sound in this part, or in the file.

    Args:
        rate: samples per second.
    Raises:
        BadData: no file that can be read, damaged, or cut short.
        BadUsage: PyAV is not installed.
    """
    with video.container_of(path) as container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            return None
        pictures = video.picture_track(container)
        clock = stream if pictures is None or pictures.start_time is None else pictures
        origin_s = float((clock.start_time or 0) * clock.time_base)
        if start_s > _LEAD_S and any(name in container.format.name for name in _SEEK):
            container.seek(int((origin_s + start_s - _LEAD_S) / stream.time_base), stream=stream)
        pieces = list(_resampled(_decoded(path, container, stream), rate, origin_s, end_s))
        if (end_s is None or not pieces) and video.cut_short(container, None, 0):
            raise BadData(f"{path}: cut short, and its sound with it; {video.REMEDY}")
    return _joined(pieces, round(start_s * rate), None if end_s is None else round(end_s * rate))


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Frames of sound. What fails before the first is no fault: sound cut out of a longer one begins in the middle of something."""
    count, why = 0, ""
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except video.faults() as error:
                if count:
                    raise
                frames, why = [], video.told(error)
            count += len(frames)
            yield from frames
    except video.faults() as error:
        why = video.told(error)
        raise BadData(f"{path}: its sound is damaged after {count} of its frames ({why}); {video.REMEDY}") from None
    if why and not count:
        raise BadData(f"{path}: its sound cannot be read ({why}); {video.REMEDY}")


def _resampled(frames: Iterable[Any], rate: int, origin_s: float, end_s: float | None) -> Iterator[tuple[int, Float[np.ndarray, " _"]]]:
    """Pieces of sound and where each begins, in samples; stretches between gaps are resampled each by itself."""
    resampler: Any = None
    kind, at, due_s = None, 0, -np.inf
    for frame in frames:
        time_s = due_s if frame.time is None else float(frame.time) - origin_s
        if end_s is not None and time_s > end_s:
            break
        gap = resampler is not None and _GAPS_S[0] < time_s - due_s < _GAPS_S[1]
        if gap or kind != (frame.format.name, frame.layout.name, frame.sample_rate):
            if resampler is not None:
                yield at, _mono(resampler.resample(None))
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            at = round(time_s * rate) if resampler is None or gap else at
            due_s = time_s if resampler is None or gap else due_s
            resampler = video.resampler(frame.layout, rate)
        due_s += frame.samples / frame.sample_rate
        frame.pts = None  # the resampler would make sound where times jump
        piece = _mono(resampler.resample(frame))
        yield at, piece
        at += len(piece)
    if resampler is not None:
        yield at, _mono(resampler.resample(None))


def _mono(frames: Iterable[Any]) -> Float[np.ndarray, " n"]:
    parts = [reduce(frame.to_ndarray(), "channel n -> n", "mean") for frame in frames]
    return np.concatenate(parts, dtype=np.float32) if parts else np.zeros(0, dtype=np.float32)


def _joined(pieces: Iterable[tuple[int, Float[np.ndarray, " _"]]], start: int, end: int | None) -> Float[np.ndarray, " n"] | None:
    """What lies from `start` to `end`, in samples."""
    inside = [(at - start, piece) for at, piece in pieces if at + len(piece) > start and (end is None or at < end)]
    if not inside:
        return None
    over = max(at + len(piece) for at, piece in inside)
    sound = np.zeros(over if end is None else min(over, end - start), dtype=np.float32)
    for at, piece in inside:
        piece = piece[max(0, -at) :]
        room = sound[max(0, at) : max(0, at) + len(piece)]
        room[:] = piece[: len(room)]
    return sound
