"""Frames of a video, a few in memory at a time, and a video of drawn frames; PyAV (the extra `video`) is imported inside."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pellucid.data.decode import max_pixels
from pellucid.errors import BadData, BadUsage, UnsafeInput

ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".ts")
ENCODERS = ("libx264", "mpeg4")  # of H.264, and where this PyAV has none, of MPEG-4 part 2
RATE = Fraction(25)  # where a file does not tell its own
_REMEDY = "fetch it again, or write it anew with another program"


@dataclass(frozen=True)
class Frame:
    """One upright picture of a video.

    Args:
        index: from 0.
        time_s: since the video's first frame, in seconds.
        picture: red, green and blue, 0 to 255.
    """

    index: int
    time_s: float
    picture: UInt8[np.ndarray, "h w 3"]

    def file(self) -> bytes:
        """The picture as a file without compression (PPM), which every reader of pictures takes."""
        height, width, _ = self.picture.shape
        return b"P6\n%d %d\n255\n" % (width, height) + self.picture.tobytes()


def is_video(name: str) -> bool:
    """Whether a file's ending is that of a video."""
    return name.lower().endswith(ENDINGS)


@dataclass(frozen=True)
class Clip:
    """What a file says of its first track of pictures; `rate` is in frames per second."""

    width: int
    height: int
    rate: Fraction


def about(path: str | os.PathLike[str]) -> Clip:
    """Size and rate.

    Raises:
        BadData, UnsafeInput, BadUsage: as `frames`.
    """
    with _opened(path) as (_, stream):
        return Clip(stream.width, stream.height, stream.average_rate or stream.guessed_rate or RATE)


def frames(path: str | os.PathLike[str], every: int = 1) -> Iterator[Frame]:
    """Frames of the first picture track, in order, turned upright as the file says: the first, and each so many after it.

    Raises:
        BadData: no video, without frames, or damaged; of one cut short after the frames that are whole.
        UnsafeInput: frames of more pixels than `max_pixels`.
        BadUsage: PyAV is not installed.
    """
    count, start = 0, 0.0
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or RATE)
        decoded = container.decode(stream)
        while (frame := _next(decoded, f"{path}: damaged after {count} frames")) is not None:
            now = count / rate if frame.time is None else float(frame.time)
            start = start if count else now
            if count % every == 0:
                yield Frame(count, now - start, _upright(frame))
            count += 1
        if not count:
            raise BadData(f"{path}: no frames can be read; {_REMEDY}")
        if _cut_short(path, container, stream, count):
            raise BadData(f"{path}: cut short; it ends after {count} frames; {_REMEDY}")


def _next(decoded: Iterator[Any], fault: str) -> Any:
    try:
        return next(decoded, None)
    except _av().FFmpegError as error:
        raise BadData(f"{fault} ({_told(error)}); {_REMEDY}") from None


def _cut_short(path: str | os.PathLike[str], container: Any, stream: Any, count: int) -> bool:
    """Whether the file says that it should be longer."""
    if "mp4" not in container.format.name:
        return stream.frames > count
    size, at = os.path.getsize(path), 0  # of MP4 frames may be left out on purpose (edit lists), but its boxes tell their sizes
    with open(path, "rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            told = int.from_bytes(head[:4])
            told = int.from_bytes(head[8:16]) if told == 1 else told
            at = size if told == 0 else at + max(8, told)  # 0 reaches to the end
    return at != size


def _upright(frame: Any) -> UInt8[np.ndarray, "h w 3"]:
    turns = round((frame.rotation or 0) / 90) % 4  # counterclockwise, as numpy turns
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))


def _told(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """The container and its first track of pictures."""
    av = _av()
    if not pathlib.Path(path).is_file():
        raise BadData(f"{path}: no such file")
    with contextlib.ExitStack() as closing:
        try:
            container = closing.enter_context(av.open(os.fspath(path), metadata_errors="replace"))
            stream = next(iter(container.streams.video), None)
        except av.FFmpegError as error:
            raise BadData(f"{path}: not a video that can be read ({_told(error)}); {_REMEDY}") from None
        if stream is None:
            raise BadData(f"{path}: no pictures in it, only {', '.join(sorted({s.type for s in container.streams})) or 'nothing'}")
        if stream.width * stream.height > max_pixels():
            raise UnsafeInput(f"{path}: frames of {stream.width} x {stream.height} pixels; $PELLUCID_MAX_PIXELS allows {max_pixels():,}")
        stream.thread_type = "AUTO"
        yield container, stream


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise BadUsage("videos are read by PyAV, which is not installed: pip install 'pellucid[video]'") from None
    return av


# ---- writing ----------------------------------------------------------------------------------------------------------


class Writer:
    """Writes an .mp4 frame by frame; H.264 where this PyAV has it. Leaving the `with` block closes it, and what was written plays.

    Args:
        rate: frames per second.
    """

    def __init__(self, path: str | os.PathLike[str], rate: Fraction):
        self.path, self.rate = pathlib.Path(path), rate
        self.container: Any = None
        self.stream: Any = None
        self.closing = contextlib.ExitStack()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        with self.closing:
            if self.container is not None:
                self.container.mux(self.stream.encode())

    def add(self, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """The next frame; the first tells the size of all.

        Raises:
            BadUsage: the file cannot be written.
        """
        av = _av()
        if self.container is None:
            self._begin(picture)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        self.container.mux(self.stream.encode(frame))

    def _begin(self, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        av = _av()
        height, width, _ = picture.shape
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        try:
            file = self.closing.enter_context(open(self.path, "wb"))  # noqa: SIM115
            self.container = self.closing.enter_context(av.open(file, "w", format="mp4"))
        except OSError as error:
            raise BadUsage(f"{self.path}: cannot be written ({_told(error)})") from None
        self.stream = self.container.add_stream(encoder, rate=self.rate)
        self.stream.width, self.stream.height = width, height
        halved = encoder == "mpeg4" or not (width % 2 or height % 2)  # colour at half the size needs even sides of H.264
        self.stream.pix_fmt = "yuv420p" if halved else "yuv444p"
        if encoder == "libx264":
            self.stream.options = {"crf": "18", "preset": "veryfast"}
        else:
            self.stream.bit_rate = round(0.2 * width * height * self.rate)
