"""Which frames of a clip are looked at, and frames that arrive one by one put together to shots."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from PIL import Image

SLACK_S = 1e-3  # some containers round times to milliseconds


@dataclass(frozen=True)
class Shot:
    """Successive frames of a clip.

    Args:
        index: of its first frame among the clip's, from 0.
        time_s: when that is shown, in seconds since the clip begins.
        pictures: red, green and blue; or, of stored optical flow, its fields along x and y.
    """

    index: int
    time_s: float
    pictures: UInt8[np.ndarray, "t h w c"]


def shown(times_s: Float[np.ndarray, " n"], at_s: Float[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """The frame on the screen at each time: the last that has begun, and the first before that."""
    return np.maximum(np.searchsorted(times_s, at_s + SLACK_S, side="right") - 1, 0)


def part(times_s: Float[np.ndarray, " n"], start_s: float, end_s: float) -> slice:
    """Places of the frames that are on the screen from `start_s` to `end_s`, at least one."""
    first = int(shown(times_s, np.array([start_s]))[0])
    return slice(first, max(first + 1, int(np.searchsorted(times_s, end_s - SLACK_S, side="left"))))


def chosen(times_s: Float[np.ndarray, " n"], length_s: float, rate: float, most: int) -> list[int]:
    """Places of the frames to be looked at, ascending, none twice.

    The clip is cut into equal pieces of as nearly `1 / rate` seconds as fill it; the frame on the screen at the middle of each is a
    candidate. Of more candidates than `most`, those in the middle of `most` equal parts are taken.

    Args:
        times_s: of all frames, ascending, since the clip begins.
        rate: 0 for all frames.
        most: 0 for no limit.
    """
    if rate > 0:
        pieces = max(1, round(length_s * rate))
        candidates = np.unique(shown(times_s, (np.arange(pieces) + 0.5) * length_s / pieces)).tolist()
    else:
        candidates = list(range(len(times_s)))
    if not 0 < most < len(candidates):
        return candidates
    return [candidates[math.floor((part + 0.5) * len(candidates) / most)] for part in range(most)]


def within(starts: Sequence[int], run: int, count: int) -> list[int]:
    """Places of all frames of the shots that begin at `starts`, ascending."""
    return sorted({place for start in starts for place in range(start, min(start + run, count))})


def gathered(
    frames: Iterator[tuple[int, UInt8[np.ndarray, "_ _ _"]]], starts: Sequence[int], run: int, times_s: Float[np.ndarray, " n"]
) -> Iterator[Shot]:
    """Shots as soon as their frames are there; no frame is held longer than it is needed.

    A shot whose first frame does not come is left out; instead of a later frame that does not come, or lies past the end, the one before
    is taken again.

    Args:
        frames: place and picture, ascending.
    """
    held: dict[int, np.ndarray] = {}
    waiting = deque(starts)
    for place, picture in frames:
        held[place] = picture
        while waiting and place >= min(waiting[0] + run, len(times_s)) - 1:
            yield from _shot(held, waiting.popleft(), run, times_s)
        for old in [old for old in held if not waiting or old < waiting[0]]:
            del held[old]
    for start in waiting:
        yield from _shot(held, start, run, times_s)


def _shot(held: dict[int, np.ndarray], start: int, run: int, times_s: np.ndarray) -> Iterator[Shot]:
    if start not in held:
        return
    pictures = [held[start]]
    for place in range(start + 1, start + run):
        pictures.append(_of_size(held[place], pictures[0]) if place in held else pictures[-1])
    yield Shot(start, max(0.0, float(times_s[start])), np.stack(pictures))


def _of_size(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A picture of a stream that changes its size, as large as the other."""
    if picture.shape == other.shape:
        return picture
    height, width, _ = other.shape
    channels = rearrange(picture, "h w c -> c h w")
    resized = [Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR) for channel in channels]
    return np.stack([np.asarray(channel) for channel in resized], axis=-1)
