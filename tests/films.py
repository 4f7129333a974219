"""Videos made for tests."""

import pathlib
from fractions import Fraction

import numpy as np

from pellucid.data import video


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
