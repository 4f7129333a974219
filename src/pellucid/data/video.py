"""Frames of a video, a few in memory at a time, and a video of drawn frames; PyAV (the extra `video`) is imported inside."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pellucid.data.decode import max_pixels
from pellucid.errors import BadData, BadUsage, UnsafeInput

_OWN = "file:"  # no name is taken for an address
ENCODERS = ("libx264", "mpeg4")  # of H.264, and where this PyAV has none, of MPEG-4 part 2
RATE = Fraction(25)  # where a file does not tell its own
REMEDY = "fetch it again, or write it anew with another program"
# what libavformat may take a file for: none that plays other files than the one given (playlists) or turns any text into pictures
_FORMATS = "mov matroska avi mpeg mpegts mpegvideo asf flv ogg gif h264 hevc m4v mjpeg ivf nut mxf dv rm wav mp3 flac aac aiff ac3 w64 amr"


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
    with opened(path) as (_, stream):
        return Clip(stream.width, stream.height, stream.average_rate or stream.guessed_rate or RATE)


def frames(path: str | os.PathLike[str], every: int = 1) -> Iterator[Frame]:
    """Frames of the first picture track, in order, turned upright as the file says: the first, and each so many after it.

    Raises:
        BadData: no video, without frames, or damaged; of one cut short after the frames that are whole.
        UnsafeInput: frames of more pixels than `max_pixels`.
        BadUsage: PyAV is not installed.
    """
    count, start = 0, 0.0
    with opened(path) as (container, stream):
        rate = float(stream.average_rate or stream.guessed_rate or RATE)
        decoded = container.decode(stream)
        while (frame := _next(decoded, f"{path}: damaged after {count} frames")) is not None:
            now = count / rate if frame.time is None else float(frame.time)
            start = start if count else now
            if count % every == 0:
                yield Frame(count, now - start, upright(frame))
            count += 1
        if not count:
            raise BadData(f"{path}: no frames can be read; {REMEDY}")
        if cut_short(container, stream, count):
            raise BadData(f"{path}: cut short; it ends after {count} frames; {REMEDY}")


def _next(decoded: Iterator[Any], fault: str) -> Any:
    try:
        return next(decoded, None)
    except _av().FFmpegError as error:
        raise BadData(f"{fault} ({told(error)}); {REMEDY}") from None


def cut_short(container: Any, stream: Any, count: int) -> bool:
    """Whether the file says that it should be longer than these `count` frames, or bytes.

    Args:
        stream: the track of pictures; None where sound is what matters.
    """
    path = container.name.removeprefix(_OWN)
    if "mp4" in container.format.name:  # of it frames may be left out on purpose (edit lists), but its boxes tell their sizes
        return _end(path, _box) != os.path.getsize(path)
    if "matroska" in container.format.name:
        return _end(path, _element) > os.path.getsize(path)
    if stream is None:
        return _end(path, _chunk) > os.path.getsize(path) + 1
    return stream.frames > count


def _end(path: str | os.PathLike[str], part: Callable[[bytes], int]) -> int:
    """Where the last of a file's parts ends, as their heads tell; one of 0 bytes reaches to the end of the file."""
    size, at = os.path.getsize(path), 0
    with open(path, "rb") as file:
        while at + 8 <= size:
            file.seek(at)
            told = part(file.read(16))
            at = at + told if told else size
    return at


def _box(head: bytes) -> int:
    told = int.from_bytes(head[:4])
    return max(8, int.from_bytes(head[8:16]) if told == 1 else told) if told else 0


def _chunk(head: bytes) -> int:
    told = int.from_bytes(head[4:8], "little")
    return 8 + told if head[:4] == b"RIFF" and told < 0xFFFFFFFF else 0  # of AVI and WAV; the largest size says that none is known


def _element(head: bytes) -> int:
    """Size of Matroska's header or of its segment, head and all; 0 of anything else, and where it is not told, as of what was streamed."""
    width = 9 - head[4].bit_length()
    if head[:4] not in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67") or width > 8:
        return 0
    unknown = (1 << 7 * width) - 1
    length = int.from_bytes(head[4 : 4 + width]) & unknown
    return 0 if length == unknown else 4 + width + length


def upright(frame: Any, convert: Any = None) -> UInt8[np.ndarray, "h w 3"]:
    """A decoded frame in red, green and blue, turned as the file says.

    Args:
        convert: a `VideoReformatter` that is kept from frame to frame.
    """
    turns = round((frame.rotation or 0) / 90) % 4  # counterclockwise, as numpy turns
    rgb = frame.to_ndarray(format="rgb24") if convert is None else convert.reformat(frame, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, turns))


def told(error: BaseException) -> str:
    """What libavformat or the system say of a fault, in one line."""
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """The container and its first track of pictures.

    Raises:
        BadData, UnsafeInput, BadUsage: as `frames`.
    """
    with container_of(path) as container:
        stream = picture_track(container)
        if stream is None:
            kinds = sorted({s.type for s in container.streams} - {"video"})
            raise BadData(f"{path}: no pictures in it, only {', '.join(kinds) or 'nothing'}")
        capped(path, stream.width, stream.height)
        stream.thread_type = "AUTO"
        yield container, stream


def picture_track(container: Any) -> Any:
    """The first track of moving pictures, or None; the cover of a record is none."""
    cover = _av().stream.Disposition.attached_pic
    return next((stream for stream in container.streams.video if not stream.disposition & cover), None)


def capped(path: str | os.PathLike[str], width: int, height: int) -> None:
    """Refuses frames of more pixels than `max_pixels`."""
    if width * height > max_pixels():
        raise UnsafeInput(f"{path}: frames of {width} x {height} pixels; $PELLUCID_MAX_PIXELS allows {max_pixels():,}")


@contextlib.contextmanager
def container_of(path: str | os.PathLike[str]) -> Iterator[Any]:
    """The opened file, whatever tracks it has.

    Raises:
        BadData: no such file, empty, or of no format that is read here.
        BadUsage: PyAV is not installed.
    """
    av, place = _av(), pathlib.Path(path)
    if not place.is_file():
        raise BadData(f"{path}: a folder, where a video's file is expected" if place.is_dir() else f"{path}: no such file")
    if not place.stat().st_size:
        raise BadData(f"{path}: not a video that can be read (0 bytes); {REMEDY}")
    options = {"format_whitelist": _FORMATS.replace(" ", ","), "protocol_whitelist": "file"}
    with contextlib.ExitStack() as closing:
        try:
            container = closing.enter_context(av.open(_OWN + os.fspath(path), metadata_errors="replace", options=options))
        except (av.FFmpegError, OSError) as error:
            why = "of no format that is read here" if isinstance(error, av.error.ArgumentError) else told(error)
            raise BadData(f"{path}: not a video that can be read ({why}); {REMEDY}") from None
        yield container


def faults() -> type[Exception]:
    """What PyAV raises where a file is damaged."""
    return _av().FFmpegError


def fault(why: str) -> Exception:
    """One of these."""
    return _av().error.InvalidDataError(0, why)


def resampler(layout: Any, rate: int) -> Any:
    """Brings sound to so many samples a second, in numbers from -1 to 1, channels apart."""
    return _av().AudioResampler(format="fltp", layout=layout, rate=rate)


def converter() -> Any:
    """Turns frames into colours; kept from frame to frame it is faster."""
    return _av().video.reformatter.VideoReformatter()


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
            raise BadUsage(f"{self.path}: cannot be written ({told(error)})") from None
        self.stream = self.container.add_stream(encoder, rate=self.rate)
        self.stream.width, self.stream.height = width, height
        halved = encoder == "mpeg4" or not (width % 2 or height % 2)  # colour at half the size needs even sides of H.264
        self.stream.pix_fmt = "yuv420p" if halved else "yuv444p"
        if encoder == "libx264":
            # with mbtree x264 gives other bytes of the same frames each time, on processors with AVX-512
            self.stream.options = {"crf": "18", "preset": "veryfast", "mbtree": "0"}
        else:
            self.stream.bit_rate = round(0.2 * width * height * self.rate)
