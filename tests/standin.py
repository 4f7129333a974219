"""Clips of arrays, for tests of what is made of clips."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pellucid.data.clips.clip import Shot
from pellucid.errors import BadData

RATE = 25.0


@dataclass(frozen=True)
class Drawn:
    """A clip in memory, of 25 frames a second.

    Args:
        broken_at: place of the candidate from which on it cannot be read.
    """

    name: str
    frames: np.ndarray = field(hash=False, compare=False)
    wave: np.ndarray | None = field(default=None, hash=False, compare=False)
    broken_at: int = 1 << 30
    looked: list[str] = field(default_factory=list, hash=False, compare=False)  # a word for each time it was decoded

    def key(self) -> str:
        return self.name

    def look(self) -> None:
        pass

    def shots(self, rate: float = 0, most: int = 0, run: int = 1) -> Iterator[Shot]:
        self.looked.append("frames")
        step = round(RATE / rate) if rate else 1
        starts = list(range(0, len(self.frames), step))
        if most and len(starts) > most:
            starts = [starts[int((i + 0.5) * len(starts) / most)] for i in range(most)]
        for i, start in enumerate(starts):
            if i >= self.broken_at:
                raise BadData(f"{self.name}: damaged after {i} frames")
            there = [min(start + k, len(self.frames) - 1) for k in range(run)]
            yield Shot(start, start / RATE, self.frames[there])

    def sound(self, rate: int = 16000) -> np.ndarray | None:
        self.looked.append("sound")
        return self.wave


def noise(count: int, side: int = 40, seed: int = 0) -> np.ndarray:
    """Frames of noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def tone(hertz: float, seconds: float, loud: float = 0.5) -> np.ndarray:
    """A pure tone of 16 kHz."""
    return (loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.float32)
