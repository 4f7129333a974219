"""Corrupted copies of a text. A copy depends only on seed, id, kind and severity."""

import hashlib
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pellucid.data.corrupt.names import chosen

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
        apply: spoiled copy of a value, at a rate, with a source of randomness.
        rates: one per severity; what share of what, `apply` says.
    """

    apply: Callable[[Any, float, random.Random], Any]
    rates: tuple[float, float, float, float, float]

    @property
    def about(self) -> str:
        """What it does, and its rates, in one line."""
        return (self.apply.__doc__ or "").split("\n")[0] + f" Rates {self.rates}"


def typos(text: str, rate: float, rng: random.Random) -> str:
    """Mistypes a share `rate` of the letters: a neighbouring key instead, the letter left out, or typed twice, equally often."""
    return "".join(_mistyped(c, rng) if c.isalpha() and rng.random() < rate else c for c in text)


def case(text: str, rate: float, rng: random.Random) -> str:
    """Turns a share `rate` of the letters into the other case."""
    return "".join(c.swapcase() if c.isalpha() and rng.random() < rate else c for c in text)


def drop(text: str, rate: float, rng: random.Random) -> str:
    """Leaves out a share `rate` of the words."""
    return " ".join(word for word in text.split() if rng.random() >= rate)


def swap(text: str, rate: float, rng: random.Random) -> str:
    """Exchanges a share `rate` of neighbours, first words, then letters inside words; what has moved moves no further."""
    parts = re.split(r"(\s+)", text)  # words at even places, the space between them at odd ones
    parts[::2] = _exchanged(parts[::2], rate, rng)
    return "".join("".join(_exchanged(list(part), rate, rng)) if part.strip() else part for part in parts)


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
    spoiled = corruption.apply(text, corruption.rates[severity - 1], _random(seed, example_id, kind, severity))
    return spoiled if spoiled.strip() else text


def _random(seed: int, example_id: str, kind: str, severity: int) -> random.Random:
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


def _exchanged(parts: list[str], rate: float, rng: random.Random) -> list[str]:
    found, i = list(parts), 0
    while i + 1 < len(found):
        if rng.random() < rate:
            found[i], found[i + 1] = found[i + 1], found[i]
            i += 1
        i += 1
    return found
