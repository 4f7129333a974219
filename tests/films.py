"""Videos made for tests, and what is seen of them."""

import itertools
import pathlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pellucid.data import video
from pellucid.errors import BadData, UnsafeInput


def noise(path: pathlib.Path, count: int) -> pathlib.Path:
    """Frames of noise, all about as many bytes long."""
    draw = np.random.default_rng(0)
    with video.Writer(path, Fraction(25)) as film:
        for _ in range(count):
            film.add(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return path


def rewritten(clip: pathlib.Path, path: pathlib.Path, encoder: str, **options: str) -> pathlib.Path:
    """The same frames of 64 x 64 in another container."""
    import av

    with av.open(str(path), "w", options=options) as into:
        stream = into.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for frame in video.frames(clip):
            into.mux(stream.encode(av.VideoFrame.from_ndarray(frame.picture, format="rgb24")))
        into.mux(stream.encode())
    return path


def numbered(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A picture that shows a number below 256 as eight stripes, each black or white, the highest on the left."""
    bits = [number >> place & 1 for place in range(7, -1, -1)]
    return np.broadcast_to(np.repeat(np.array(bits, dtype=np.uint8) * 215 + 20, size[1] // 8)[None, :, None], (*size, 3)).copy()


def number_of(picture: np.ndarray) -> int:
    """The number that a picture shows."""
    stripes = np.array_split(picture.mean(axis=(0, 2)), 8)
    return sum(int(stripe.mean() > 128) << 7 - place for place, stripe in enumerate(stripes))


def numbers(
    path: pathlib.Path,
    count: int,
    times_s: Sequence[float] = (),
    encoder: str = "libx264",
    size: tuple[int, int] = (48, 64),
    sound: np.ndarray | None = None,
    **options: str,
) -> pathlib.Path:
    """A film whose frames show their numbers, 25 a second or at given times; perhaps with sound, 16000 samples a second, channels first."""
    import av

    times = times_s or [number / 25 for number in range(count)]
    with av.open(str(path), "w") as into:
        stream = into.add_stream(encoder, rate=25, options=options)
        height, width = size
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        unit = Fraction(1, 1000) if times_s else Fraction(1, 25)
        stream.time_base = stream.codec_context.time_base = unit
        track = None if sound is None else into.add_stream("pcm_s16le" if path.suffix in (".avi", ".mov") else "aac", rate=16000)
        if track is not None:
            track.layout = "mono" if len(sound) == 1 else "stereo"
        for number, time_s in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number % 256, size), format="rgb24")
            frame.pts, frame.time_base = round(time_s / unit), unit
            into.mux(stream.encode(frame))
        into.mux(stream.encode())
        if track is not None:
            voice(into, track, sound)
    return path


def voice(into: Any, track: Any, sound: np.ndarray, *begins: int) -> None:
    """Writes sound, a row a channel, into an open container, from each of the given places on, in samples."""
    import av

    for begin, at in itertools.product(begins or (0,), range(0, sound.shape[1], 1024)):
        piece = np.ascontiguousarray(sound[:, at : at + 1024], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono" if len(sound) == 1 else "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 16000, begin + at, Fraction(1, 16000)
        into.mux(track.encode(frame))
    into.mux(track.encode())


def turned(clip: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """The same .mp4, shown a quarter to the right, as a phone held upright says."""
    data = bytearray(clip.read_bytes())
    none, one, minus = bytes(4), (1 << 16).to_bytes(4), (2**32 - (1 << 16)).to_bytes(4)
    at = data.index(one + none * 3 + one, data.index(b"tkhd"))  # the matrix of how the track is shown
    data[at : at + 20] = none + one + none + minus + none
    path.write_bytes(data)
    return path


def folder_of(path: pathlib.Path, count: int, name: str = "img_{:05d}.png", first: int = 1) -> pathlib.Path:
    """A folder of frames that show their numbers."""
    path.mkdir(exist_ok=True)
    for number in range(first, first + count):
        Image.fromarray(numbered(number)).save(path / name.format(number))
    return path


def seen(clip: Any, **how: float) -> list[int]:
    """Numbers that the first frames of the shots show."""
    return [number_of(shot.pictures[0]) for shot in clip.shots(**how)]


def until_fault(clip: Any) -> tuple[list[int], str]:
    """Numbers of the frames before the line that says what is wrong, and the line."""
    found = []
    try:
        for shot in clip.shots():
            found.append(number_of(shot.pictures[0]))
    except (BadData, UnsafeInput) as fault:
        return found, str(fault)
    raise AssertionError(f"{clip.name} was read as if it were whole")


def told(call: Callable[[], Any]) -> str:
    """What a refusal says."""
    with pytest.raises((BadData, UnsafeInput)) as fault:
        call()
    return str(fault.value)
