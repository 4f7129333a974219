"""Text to tokens, with the words that the tokens belong to."""

import json
import os
import pathlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pellucid.errors import BadData


@dataclass(frozen=True)
class Encoded:
    """One text, or two, as tokens.

    Args:
        tokens: ids.
        segments: 0 in the first text, 1 in the second.
        word_of_token: index of a token's word, -1 for special tokens.
        spans: first and last character of every word, in the text that `second` says it belongs to.
        second: per word whether it is of the second text.
        truncated: some of the text was cut off.
        offsets: first and last character of every token, as `spans` has them; special tokens have none, 0 and 0.
    """

    tokens: np.ndarray
    segments: np.ndarray
    word_of_token: np.ndarray
    spans: np.ndarray
    second: np.ndarray
    truncated: bool
    offsets: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int32))

    def words(self, text: str, pair: str | None) -> list[str]:
        """The words as written."""
        return [(pair or "" if b else text)[i:j] for (i, j), b in zip(self.spans.tolist(), self.second.tolist(), strict=True)]


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids, and a folder that brings it back."""

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int) -> list[Encoded]:
        """One `Encoded` per text."""

    def save(self, folder: pathlib.Path) -> None:
        """Writes what `encode` needs."""


class Pieces:
    """A pretrained model's own tokenizer; words are what its pre-tokenizer calls words."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.inner = tokenizer

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int) -> list[Encoded]:
        """One `Encoded` per text; of two texts the longer is cut first."""
        if not texts:
            return []
        found = self.inner(list(texts), list(pairs) if pairs else None, truncation="longest_first", max_length=max_length, verbose=False)
        return [self._one(encoding) for encoding in found.encodings]

    @staticmethod
    def _one(encoding: "object") -> Encoded:
        keys = [None if w is None else (s, w) for s, w in zip(encoding.sequence_ids, encoding.word_ids, strict=True)]  # type: ignore[attr-defined]
        index: dict[tuple[int, int], int] = {}
        spans: list[list[int]] = []
        for key, (first, last) in zip(keys, encoding.offsets, strict=True):  # type: ignore[attr-defined]
            if key is None:
                continue
            if key not in index:
                index[key] = len(index)
                spans.append([first, last])
            spans[index[key]][1] = last
        return Encoded(
            np.asarray(encoding.ids, np.int32),  # type: ignore[attr-defined]
            np.asarray([s or 0 for s in encoding.type_ids], np.int8),  # type: ignore[attr-defined]
            np.asarray([-1 if k is None else index[k] for k in keys], np.int16),
            np.asarray(spans, np.int32).reshape(-1, 2),
            np.asarray([s == 1 for s, _ in index], bool),
            bool(encoding.overflowing),  # type: ignore[attr-defined]
            np.asarray(encoding.offsets, np.int32).reshape(-1, 2),  # type: ignore[attr-defined]
        )

    def save(self, folder: pathlib.Path) -> None:
        """In the layout of transformers."""
        self.inner.save_pretrained(folder / "tokenizer")


WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
UNKNOWN = "[unknown]"


class Words:
    """Lower-cased words and single marks; id 0 stands for every word that training did not have."""

    def __init__(self, vocabulary: Sequence[str]):
        self.vocabulary = list(vocabulary)
        self.index = {word: i for i, word in enumerate(self.vocabulary)}

    @classmethod
    def learn(cls, texts: Iterable[str], min_count: int = 1) -> "Words":
        """The vocabulary of the texts, most frequent first."""
        counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
        return cls([UNKNOWN, *(word for word, n in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])) if n >= min_count)])

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int) -> list[Encoded]:
        """One `Encoded` per text; each of two texts is cut at `max_length` words."""
        seconds: Sequence[str | None] = pairs or [None] * len(texts)
        return [self._one(text, pair, max_length) for text, pair in zip(texts, seconds, strict=True)]

    def _one(self, text: str, pair: str | None, max_length: int) -> Encoded:
        sides = [list(WORD.finditer(t)) for t in (text, pair) if t is not None]
        kept = [(m, b) for b, side in enumerate(sides) for m in side[:max_length]]
        # a text without a word still needs a token to stand for it
        ids = [self.index.get(m[0].lower(), 0) for m, _ in kept] + [0] * (not kept)
        empty = [-1] * (not kept)
        return Encoded(
            np.asarray(ids, np.int32),
            np.asarray([b for _, b in kept] + [0] * (not kept), np.int8),
            np.asarray([*range(len(kept)), *empty], np.int16),
            np.asarray([m.span() for m, _ in kept], np.int32).reshape(-1, 2),
            np.asarray([b == 1 for _, b in kept], bool),
            any(len(side) > max_length for side in sides),
            np.asarray([m.span() for m, _ in kept] + [(0, 0)] * (not kept), np.int32),
        )

    def save(self, folder: pathlib.Path) -> None:
        """One JSON list."""
        (folder / "vocabulary.json").write_text(json.dumps(self.vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")


def load_tokenizer(folder: pathlib.Path) -> Tokenizer:
    """What `save` wrote."""
    words = folder / "vocabulary.json"
    if words.is_file():
        return Words(json.loads(words.read_text(encoding="utf-8")))
    return Pieces(AutoTokenizer.from_pretrained(folder / "tokenizer", use_fast=True, trust_remote_code=False))


def load_pieces(place: str) -> Pieces:
    """The fast tokenizer of a folder or hub name.

    Raises:
        BadData: it has none.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise BadData(f"model {place!r}: {str(error).splitlines()[0]}") from None
    if not tokenizer.is_fast:
        raise BadData(f"model {place!r}: it has no tokenizer.json, by which tokens are told to words")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return Pieces(tokenizer)
