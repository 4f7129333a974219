"""Flash-MNIST: films of noise in which some digits flash up for a frame or two; which ones is the question.

Nothing is stored. A film is made when it is asked for, from its own number and nothing else.

Source: Long et al. 2018, Attention Clusters, and the authors' generator.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Int16, Int64, UInt8

from pellucid.coerce import nearest
from pellucid.data import digits as small
from pellucid.data import idx, sources
from pellucid.data.clips.shots import Shot, chosen
from pellucid.data.sources import Rows
from pellucid.errors import BadUsage

OPTIONS: sources.Choices = dict.fromkeys(("digits", "classes", "length", "per_class", "seed"), ())
SMALL = "digits"  # instead of a folder: the digits that scikit-learn carries
NOISE = 10  # the label of a picture without a digit
RATE = 25.0  # frames a second, so that frames have times
_PARTS = ("test", "train")
_SIZES = {True: {"classes": 6, "length": 16, "train": 80, "test": 20}, False: {"classes": 10, "length": 25, "train": 100, "test": 10}}
_MOST = {"classes": 10, "length": 1000, "per_class": 100_000, "seed": 2**32 - 1}
_SEED = 1234
_COPIES = {"train": 5, "test": 1}  # of every digit among the pictures that a network learns single frames from
_NOISES = {"train": 1 / 2, "test": 1 / 10}  # its pictures without a digit, for each digit that there is
_CHUNK = 5000  # pictures that are counted or drawn at once: it takes up to eight times their own memory
_VERSION = 1  # of how a film comes of its number


def read(place: str, options: Mapping[str, str]) -> Rows:
    """Rows of `train` or `test`: a `video`, the set of its digits as `label` (`0 3 7`; `none`) and as list `digits`.

    Every set of digits is a class and has as many films. The defaults are the paper's with MNIST's files, smaller without.

    Args:
        options: `digits`, a folder of MNIST's four files, or `digits` for the small ones of scikit-learn; `classes`, how many digits may
            be shown, 0 and up; `length` of a film in frames; `per_class`, films of each set of digits; `seed`.
    Raises:
        BadUsage: another part or option, or a value that it cannot have.
        BadData: the folder or a file in it is not what was promised.
    """
    if place not in _PARTS:
        raise BadUsage(f"flash:{place}: no such part{nearest(place, sorted(_PARTS))}")
    chosen = sources.checked("flash", options, OPTIONS)
    digits = chosen.get("digits") or SMALL
    sizes = _SIZES[digits == SMALL]
    classes, length = _number(chosen, "classes", sizes["classes"]), _number(chosen, "length", sizes["length"])
    per_class, seed = _number(chosen, "per_class", sizes[place]), _number(chosen, "seed", _SEED)
    if length < 2 * classes:
        raise BadUsage(f"flash: length={length}: too short for {classes} digits in two frames each; expected {2 * classes} or more")
    load(digits)
    rows: Rows = []
    for bits in range(2**classes):
        shown = tuple(digit for digit in range(classes) if bits >> digit & 1)
        label = " ".join(map(str, shown)) or "none"
        for number in range(1, per_class + 1):
            clip = FlashClip(digits, place, shown, number, length, seed)
            rows.append({"id": clip.name, "video": clip, "label": label, "digits": list(shown)})
    return rows


def _number(options: Mapping[str, str], name: str, default: int) -> int:
    given, least = options.get(name, str(default)), int(name != "seed")
    if not (given.isascii() and given.isdecimal() and len(given) < 12 and least <= int(given) <= _MOST[name]):
        raise BadUsage(f"flash: {name}={given}: expected a whole number, {least} to {_MOST[name]}")
    return int(given)


# ---- films --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlashClip:
    """One film, a Clip: noise, each of its digits in one or two frames, in any order.

    Args:
        digits: a folder of MNIST's files, or `digits`.
        part: whose digits are shown.
        shown: the digits, ascending.
        number: among the films of these digits.
        length: in frames.
    """

    digits: str
    part: str
    shown: tuple[int, ...]
    number: int
    length: int
    seed: int = _SEED

    @property
    def name(self) -> str:
        """As in `flash:train/037#12`."""
        return f"flash:{self.part}/{''.join(map(str, self.shown)) or 'none'}#{self.number}"

    def key(self) -> str:
        """The digits' own bytes, wherever they lie, and all that the film depends on."""
        told = (_VERSION, load(self.digits).digest, self.part, self.shown, self.number, self.length, self.seed)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def look(self) -> None:
        """Opens the digits.

        Raises:
            BadData: they are not what was promised.
        """
        load(self.digits)

    def sound(self, rate: int = 16000) -> None:
        """There is none."""

    def shots(self, rate: float = 0, most: int = 0, run: int = 1) -> Iterator[Shot]:
        """Runs of `run` frames, grey as red, green and blue; all, or `rate` a second, and of these at most `most`, evenly."""
        frames = repeat(self.frames(), "t h w -> t h w 3")
        for at in chosen(np.arange(self.length) / RATE, self.length / RATE, rate, most):
            following = np.arange(at, at + run).clip(max=self.length - 1)
            yield Shot(at, at / RATE, frames[following])

    def frames(self) -> UInt8[np.ndarray, "t h w"]:
        """All frames, grey."""
        part, draw = load(self.digits).parts[self.part], self._draw()
        where, which = self._flashes(part, draw)
        frames = load(self.digits).noise(draw, self.length)
        frames[where] = np.maximum(frames[where], part.pictures[which])
        return frames

    def truth(self) -> tuple[int, ...]:
        """What each frame shows: a digit, or 10 for noise alone."""
        part = load(self.digits).parts[self.part]
        where, which = self._flashes(part, self._draw())
        found = np.full(self.length, NOISE)
        found[where] = part.labels[which]
        return tuple(found.tolist())

    def _draw(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, _PARTS.index(self.part), sum(1 << digit for digit in self.shown), self.number])

    def _flashes(self, part: "Part", draw: np.random.Generator) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
        """Frames with a digit, and the picture that each shows."""
        shown = np.repeat(np.array(self.shown, int), draw.integers(1, 3, len(self.shown)))
        where = draw.permutation(self.length)[: len(shown)]
        return where, draw.integers(part.starts[shown], part.starts[shown + 1])


# ---- digits and noise ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """Pictures of digits, the zeros first; those of digit k are from `starts[k]` until `starts[k + 1]`."""

    pictures: UInt8[np.ndarray, "n h w"]
    labels: Int64[np.ndarray, " n"]
    starts: Int64[np.ndarray, " eleven"]


@dataclass(frozen=True, eq=False)
class Digits:
    """Digits of both parts, and the noise that has the values of their pixels.

    Args:
        digest: of all pictures and labels.
        upto: pixels with a value up to the index.
        table: value of each 65,536th of the pixels, sorted; -1 where two values meet in it.
    """

    parts: Mapping[str, Part]
    digest: str
    upto: Int64[np.ndarray, " values"]
    table: Int16[np.ndarray, " shares"]

    @property
    def side(self) -> int:
        """Of a picture, in pixels."""
        return self.parts["train"].pictures.shape[2]

    def noise(self, draw: np.random.Generator, num: int) -> UInt8[np.ndarray, "n h w"]:
        """So many pictures whose pixels are drawn each by itself, as often of a value as the digits' pixels have it."""
        shares = draw.integers(len(self.table), size=num * self.side**2, dtype=np.uint16)
        values = self.table.take(shares)
        torn = np.flatnonzero(values < 0)
        ranks = (shares[torn] + draw.random(len(torn))) * (self.upto[-1] / len(self.table))
        values[torn] = np.searchsorted(self.upto, ranks, side="right")
        return rearrange(values.astype(np.uint8), "(n h w) -> n h w", h=self.side, w=self.side)


@functools.cache
def load(digits: str) -> Digits:
    """The digits of a folder of MNIST's files, or with `digits` those of scikit-learn; read once in a process.

    Raises:
        BadData: the folder or a file in it is not what was promised.
    """
    read_parts = {part: small.plain(part) for part in _PARTS} if digits == SMALL else idx.read(digits)
    counts, total, parts = np.zeros(256, np.int64), hashlib.sha256(), {}
    for part in _PARTS:
        pictures, labels = read_parts[part]
        order = np.argsort(labels, kind="stable")
        parts[part] = Part(pictures[order], labels[order], np.searchsorted(labels[order], np.arange(11)))
        for start in range(0, len(pictures), _CHUNK):
            counts += np.bincount(pictures[start : start + _CHUNK].ravel(), minlength=256)
        for told in (repr(pictures.shape).encode(), parts[part].pictures.data, parts[part].labels.data):
            total.update(told)
    upto = counts.cumsum()
    ranks = np.linspace(0, upto[-1], 2**16 + 1)
    first, last = np.searchsorted(upto, ranks[:-1], side="right"), np.searchsorted(upto, ranks[1:], side="left")
    return Digits(parts, total.hexdigest(), upto, np.where(first == last, first, -1).astype(np.int16))


def noisy(digits: str, part: str, epoch: int = 0) -> tuple[UInt8[np.ndarray, "n h w"], Int64[np.ndarray, " n"]]:
    """What a network learns single frames from: every digit of a part on fresh noise, then noise alone; labels 0 to 10.

    Of MNIST 330,000 pictures to train (each digit five times, 30,000 of noise) and 11,000 to test; of fewer digits, in proportion.

    Args:
        epoch: each has other noise. Differs: the authors need but one epoch; small digits need many.
    Raises:
        BadData: the digits are not what was promised.
    """
    held = load(digits)
    found = held.parts[part]
    num = round(len(found.labels) * _NOISES[part])
    pictures = np.concatenate([np.tile(found.pictures, (_COPIES[part], 1, 1)), np.zeros((num, *found.pictures.shape[1:]), np.uint8)])
    draw = np.random.default_rng([_SEED, _PARTS.index(part), epoch])
    for start in range(0, len(pictures), _CHUNK):
        some = pictures[start : start + _CHUNK]
        np.maximum(some, held.noise(draw, len(some)), out=some)
    return pictures, np.concatenate([np.tile(found.labels, _COPIES[part]), np.full(num, NOISE)])
