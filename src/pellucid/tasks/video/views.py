"""From a clip to what a network of pictures is shown: frames, stacks of optical flow, or pieces of sound drawn as spectrograms."""

import functools
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from pellucid.data.clips.clip import Clip, Shot
from pellucid.data.corrupt import PICTURES
from pellucid.data.corrupt.pictures import corrupt_images
from pellucid.data.resize import fast_view, short_side
from pellucid.data.views import TestView
from pellucid.errors import BadUsage
from pellucid.tasks.video.places import places
from pellucid.tasks.video.settings import Stream

STILL = 128  # of a picture of flow, where nothing moves; as TSN's files have it, which round 127.5
SOUND_RATE = 16_000
_FRAME, _HOP, _FFT = 400, 160, 512  # 25 and 10 ms of sound
_LOWEST, _HIGHEST = 125.0, 7500.0  # Hz
_FLOOR = 0.01  # VGGish adds it before the logarithm
_RANGE = 10.0  # nats from black to white; a sound as loud as its samples can tell reaches about that
_LEAST_FLOW, _LEAST_SPOILED = 16, 32  # sides of pictures in pixels that the methods can work on


@dataclass(frozen=True)
class Piece:
    """What one local feature is made of.

    Args:
        time_s: where in the clip it begins, in seconds.
        picture: makes what the network is shown (c h w), in 0 to 255.
    """

    time_s: float
    picture: Callable[[], Shaped[Tensor, "c h w"]]


def pieces(name: str, clip: Clip, settings: Stream, corruption: Mapping[str, Any] | None = None) -> Iterator[Piece]:
    """The pieces of a clip, in order, few in memory at a time; of `audio` none where the clip has no sound.

    Args:
        corruption: done to every frame, if its kind is one of pictures.
    Raises:
        BadData, UnsafeInput: the clip cannot be read.
        BadUsage: a program that is needed is not installed, or the settings ask for what cannot be.
    """
    if name == "audio":
        return _sounds(clip, settings)
    spoiled = corruption if corruption and corruption["kind"] in PICTURES else None
    if name == "rgb":
        return _frames(clip, settings, spoiled)
    return _flows(clip, settings, spoiled)


# ---- frames -----------------------------------------------------------------------------------------------------------


def _frames(clip: Clip, settings: Stream, spoiled: Mapping[str, Any] | None) -> Iterator[Piece]:
    for shot in clip.shots(settings.rate, settings.most):
        yield Piece(shot.time_s, functools.partial(frame, shot.pictures[0], settings.view, spoiled, shot.index))


def frame(
    pixels: UInt8[np.ndarray, "h w 3"], view: TestView, corruption: Mapping[str, Any] | None = None, index: int = 0
) -> UInt8[Tensor, "3 s s"]:
    """The view of a frame, spoiled as the corruption says; its randomness is of the corruption's seed and the frame's index."""
    seen = fast_view(np.ascontiguousarray(pixels), view, 1, (pixels.shape[1], pixels.shape[0]))
    return spoil(seen, corruption, index) if corruption else seen


def spoil(picture: UInt8[Tensor, "3 h w"], corruption: Mapping[str, Any], index: int) -> UInt8[Tensor, "3 h w"]:
    """A corrupted copy; a picture too small for that is enlarged by a whole factor, spoiled, and averaged back."""
    told = hashlib.blake2b(f"{corruption['seed']}\0{index}".encode(), digest_size=6).digest()
    factor = -(-_LEAST_SPOILED // min(picture.shape[1:]))
    large = repeat(picture, "c h w -> 1 c (h i) (w j)", i=factor, j=factor)
    copy = corrupt_images(large, corruption["kind"], corruption["severity"], [int.from_bytes(told)])[0]
    if factor == 1:
        return copy
    return reduce(copy.float(), "c (h i) (w j) -> c h w", "mean", i=factor, j=factor).round().to(torch.uint8)


# ---- optical flow -----------------------------------------------------------------------------------------------------


@runtime_checkable
class _Flowing(Protocol):
    """A clip that may have optical flow beside its frames."""

    def flow(self, rate: float = 0, most: int = 0, run: int = 1) -> Iterator[Shot] | None:
        """Stored pictures of it, of two channels; None where there are none."""


def _flows(clip: Clip, settings: Stream, spoiled: Mapping[str, Any] | None) -> Iterator[Piece]:
    """Stored flow where there is any; of spoiled frames it is computed anew."""
    stored = clip.flow(settings.rate, settings.most, settings.stack) if isinstance(clip, _Flowing) and not spoiled else None
    if stored is not None:
        for shot in stored:
            yield Piece(shot.time_s, functools.partial(stored_flow, shot, settings.view))
        return
    for shot in clip.shots(settings.rate, settings.most, settings.stack + 1):
        yield Piece(shot.time_s, functools.partial(flow, shot, settings, spoiled))


def flow(shot: Shot, settings: Stream, corruption: Mapping[str, Any] | None = None) -> UInt8[Tensor, "c s s"]:
    """Motion from each picture of a shot to the next as channels x, y, x, y, ...; 0 is `-bound` pixels, 255 `bound`, and 128 is still.

    Motion is that between pictures as large as the view's before its centre is cut out, in whose pixels `bound` is counted.

    Source: Wang et al. 2016, TSN, for the quantisation. Differs: dense inverse search (Kroeger et al. 2016) in the place of TV-L1.
    """
    view = settings.view
    around = short_side(view)
    wide = view if view.fit == "squish" else replace(view, size=around, crop=1.0)
    if wide.size < _LEAST_FLOW:
        raise BadUsage(f"task.streams.flow.view.size={view.size}: motion needs pictures of at least {_LEAST_FLOW} pixels")
    cv2, grey = _cv2(), []
    for i, pixels in enumerate(shot.pictures):
        seen = rearrange(frame(pixels, wide, corruption, shot.index + i), "c h w -> h w c")
        grey.append(cv2.cvtColor(np.ascontiguousarray(seen.numpy()), cv2.COLOR_RGB2GRAY))
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # not to be shared between threads
    fields = [search.calc(before, after, None) for before, after in itertools.pairwise(grey)]
    stack = torch.from_numpy(rearrange(np.stack(fields), "t h w xy -> (t xy) h w"))
    return _middle(quantised(stack, settings.bound), view.size)


def stored_flow(shot: Shot, view: TestView) -> UInt8[Tensor, "c s s"]:
    """The view of stored pictures of flow, as channels x, y, x, y, ...; their values stay, which are of pixels before they were resized."""
    black = np.zeros_like(shot.pictures[..., :1])
    fields = [frame(pixels, view)[:2] for pixels in np.concatenate([shot.pictures, black], -1)]
    return torch.cat(fields)


def quantised(motion: Float[Tensor, "*s"], bound: float) -> UInt8[Tensor, "*s"]:
    """Pixels from one frame to the next as a byte; beyond the bound, as its end."""
    return (motion * (127.5 / bound) + 127.5).round().clamp(0, 255).to(torch.uint8)  # halves to even: still is 128


def _middle(picture: UInt8[Tensor, "c h w"], size: int) -> UInt8[Tensor, "c s s"]:
    top, left = (round((side - size) / 2) for side in picture.shape[1:])  # as the view cuts
    return picture[:, top : top + size, left : left + size].contiguous()


def _cv2() -> Any:
    try:
        import cv2
    except ImportError:
        raise BadUsage("optical flow is computed by OpenCV, which is not installed: pip install 'pellucid[video]'") from None
    return cv2


# ---- sound ------------------------------------------------------------------------------------------------------------


def _sounds(clip: Clip, settings: Stream) -> Iterator[Piece]:
    wave = clip.sound(SOUND_RATE)
    if wave is None or not len(wave):
        return
    length, step = num_frames(settings.window_s), 1 / settings.rate if settings.rate else settings.window_s
    whole = len(wave) / SOUND_RATE - settings.window_s
    count = max(1, math.floor(whole / step + 1e-9) + 1)  # a clip shorter than the window is one piece, silent at its end
    for i in places(count, settings.most or count):
        start = round(i * step * SOUND_RATE)
        samples = wave[start : start + (length - 1) * _HOP + _FRAME]
        yield Piece(start / SOUND_RATE, functools.partial(spectrogram, samples, settings.mels, length))


def num_frames(window_s: float) -> int:
    """Columns of the spectrogram of a piece of sound: one every 10 ms."""
    return max(1, round(window_s * SOUND_RATE / _HOP))


def spectrogram(wave: Float[np.ndarray, " n"], mels: int, length: int) -> Float[Tensor, "1 mels length"]:
    """Loudness per band of pitch and 10 ms, low tones first: 0 of silence, 25.5 more for each nat of log(magnitude + 0.01).

    Source: Hershey et al. 2017, VGGish: windows of 25 ms, 125 to 7500 Hz; without the scale to 0 to 255, which is that of pictures.
    """
    from transformers.audio_utils import spectrogram as magnitudes

    missing = (length - 1) * _HOP + _FRAME - len(wave)
    told: dict[str, Any] = {"frame_length": _FRAME, "hop_length": _HOP, "fft_length": _FFT, "power": 1.0, "center": False, "mel_floor": 0.0}
    window, bands = _bands(mels)
    loud = magnitudes(np.pad(wave.astype(np.float64), (0, max(0, missing))), window, mel_filters=bands, **told)
    nats = np.log(loud[:, :length] + _FLOOR) - np.log(_FLOOR)
    return torch.from_numpy((nats * (255 / _RANGE)).astype(np.float32)[None])


@functools.cache
def _bands(mels: int) -> tuple[np.ndarray, np.ndarray]:
    """The window, and the triangles over frequencies."""
    from transformers.audio_utils import mel_filter_bank, window_function

    shape: dict[str, Any] = {"norm": None, "mel_scale": "htk", "triangularize_in_mel_space": True}
    return window_function(_FRAME, "hann"), mel_filter_bank(_FFT // 2 + 1, mels, _LOWEST, _HIGHEST, SOUND_RATE, **shape)
