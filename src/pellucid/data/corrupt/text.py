"""Corrupted copies of a text. A copy depends only on seed, id, kind and severity."""

import hashlib
import itertools
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pellucid.data.corrupt import traced
from pellucid.data.corrupt.names import chosen
from pellucid.data.corrupt.traced import NEW, Pieces

Part = TypeVar("Part")

# neighbours of each key on a US keyboard
KEYS = {
    **{"q": "wa", "w": "qase", "e": "wsdr", "r": "edft", "t": "rfgy", "y": "tghu", "u": "yhji", "i": "ujko", "o": "iklp", "p": "ol"},
    **{"a": "qwsz", "s": "awedxz", "d": "serfcx", "f": "drtgvc", "g": "ftyhbv", "h": "gyujnb", "j": "huikmn", "k": "jiolm", "l": "kop"},
    **{"z": "asx", "x": "zsdc", "c": "xdfv", "v": "cfgb", "b": "vghn", "n": "bhjm", "m": "njk"},
}


@dataclass(frozen=True)
class Corruption:
    """One way to spoil a text.

    Args:
        apply: the letters of the spoiled copy and whence each comes, at a rate, with a source of randomness.
        rates: one per severity; what share of what, `apply` says.
    """

    apply: Callable[[str, float, random.Random], Pieces]
    rates: tuple[float, float, float, float, float]

    @property
    def about(self) -> str:
        """What it does, and its rates, in one line."""
        return (self.apply.__doc__ or "").split("\n")[0] + f" Rates {self.rates}"


def typos(text: str, rate: float, rng: random.Random) -> Pieces:
    """Mistypes a share `rate` of the letters: a neighbouring key instead, the letter left out, or typed twice, equally often."""
    return [(_mistyped(c, rng) if c.isalpha() and rng.random() < rate else c, i) for i, c in enumerate(text)]


def case(text: str, rate: float, rng: random.Random) -> Pieces:
    """Turns a share `rate` of the letters into the other case."""
    return [(c.swapcase() if c.isalpha() and rng.random() < rate else c, i) for i, c in enumerate(text)]


def drop(text: str, rate: float, rng: random.Random) -> Pieces:
    """Leaves out a share `rate` of the words."""
    kept = [traced.part(text, *word.span()) for word in re.finditer(r"\S+", text) if rng.random() >= rate]
    return [piece for word in kept for piece in [(" ", NEW), *word]][1:]


def swap(text: str, rate: float, rng: random.Random) -> Pieces:
    """Exchanges a share `rate` of neighbours, first words, then letters inside words; what has moved moves no further."""
    borders = [0, *(border for space in re.finditer(r"\s+", text) for border in space.span()), len(text)]
    parts = [traced.part(text, *span) for span in itertools.pairwise(borders)]  # words at even places, the space between them at odd ones
    parts[::2] = _exchanged(parts[::2], rate, rng)
    spoiled = [part if traced.text_of(part).isspace() else _exchanged(part, rate, rng) for part in parts]
    return [piece for part in spoiled for piece in part]


TEXT: Mapping[str, Corruption] = {
    "typos": Corruption(typos, (0.02, 0.05, 0.10, 0.15, 0.25)),
    "case": Corruption(case, (0.05, 0.10, 0.20, 0.35, 0.50)),
    "drop": Corruption(drop, (0.05, 0.10, 0.20, 0.30, 0.45)),
    "swap": Corruption(swap, (0.02, 0.05, 0.10, 0.18, 0.30)),
}


def corrupt_text(text: str, kind: str, severity: int, seed: int, example_id: str) -> str:
    """The text, spoiled; as it was where spoiling would leave nothing of it.

    Raises:
        BadUsage: no such kind or severity.
    """
    corruption = chosen(TEXT, "text", kind, severity)
    spoiled = traced.text_of(corruption.apply(text, corruption.rates[severity - 1], stream_of(seed, example_id, kind, severity)))
    return spoiled if spoiled.strip() else text


def stream_of(seed: int, example_id: str, kind: str, severity: int) -> random.Random:
    """A stream of its own for every copy: no order of calls, no process and no hash seed changes it."""
    named = "\0".join([str(seed), example_id, kind, str(severity)])
    return random.Random(int.from_bytes(hashlib.blake2b(named.encode(), digest_size=16).digest()))


def _mistyped(letter: str, rng: random.Random) -> str:
    way, keys = int(rng.random() * 3), KEYS.get(letter.lower())
    if way == 1:
        return ""
    if way == 2 or keys is None:  # a letter that is not on the keyboard has no neighbours
        return letter + letter
    key = keys[int(rng.random() * len(keys))]
    return key.upper() if letter.isupper() else key


def _exchanged(parts: list[Part], rate: float, rng: random.Random) -> list[Part]:
    found, i = list(parts), 0
    while i + 1 < len(found):
        if rng.random() < rate:
            found[i], found[i + 1] = found[i + 1], found[i]
            i += 1
        i += 1
    return found
