"""Texts and targets to tokens, and tokens back to targets."""

import json
import pathlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pellucid.data.tokens import Encoded, Pieces
from pellucid.errors import BadData, BadUsage

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
_WORD = re.compile(r"\S+")


@runtime_checkable
class Tokenizer(Protocol):
    """Both languages of a parser."""

    start_id: int
    end_id: int
    pad_id: int
    unknown_id: int

    def read(self, texts: Sequence[str], max_length: int) -> list[Encoded]:
        """Tokens of the texts."""

    def write(self, targets: Sequence[str]) -> list[np.ndarray]:
        """Ids of the targets, the end token last."""

    def decode(self, ids: Sequence[int]) -> str:
        """The target that ids stand for, its words parted by single blanks; special tokens go."""

    def save(self, folder: pathlib.Path) -> None:
        """Writes what is needed to have it again."""


class Words:
    """Words parted by blanks, one vocabulary for texts and targets."""

    start_id, end_id, pad_id, unknown_id = 1, 2, 0, 3

    def __init__(self, vocabulary: Sequence[str]):
        self.vocabulary = list(vocabulary)
        self.index = {word: i for i, word in enumerate(self.vocabulary)}

    @classmethod
    def learn(cls, texts: Iterable[str]) -> "Words":
        """The vocabulary of texts and targets, most frequent first."""
        counts = Counter(word for text in texts for word in text.split())
        return cls([*SPECIAL, *sorted(counts.keys() - set(SPECIAL), key=lambda word: (-counts[word], word))])

    def read(self, texts: Sequence[str], max_length: int) -> list[Encoded]:
        """One token a word."""
        return [self._read(text, max_length) for text in texts]

    def _read(self, text: str, max_length: int) -> Encoded:
        found = list(_WORD.finditer(text))
        kept = found[:max_length]
        return Encoded(
            np.asarray([self.index.get(m[0], self.unknown_id) for m in kept], np.int32),
            np.zeros(len(kept), np.int8),
            np.arange(len(kept), dtype=np.int16),
            np.asarray([m.span() for m in kept], np.int32).reshape(-1, 2),
            np.zeros(len(kept), bool),
            len(found) > max_length,
        )

    def write(self, targets: Sequence[str]) -> list[np.ndarray]:
        """One token a word, and the end."""
        return [np.asarray([*(self.index.get(w, self.unknown_id) for w in t.split()), self.end_id], np.int32) for t in targets]

    def decode(self, ids: Sequence[int]) -> str:
        """The words; one that is unknown is written `<unk>`."""
        return " ".join(self.vocabulary[i] for i in ids if i not in (self.pad_id, self.start_id, self.end_id))

    def save(self, folder: pathlib.Path) -> None:
        """One JSON list."""
        (folder / "vocabulary.json").write_text(json.dumps(self.vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")


class ModelTokenizer:
    """A pretrained model's own tokenizer, perhaps of fewer pieces.

    Args:
        kept: the tokenizer's ids that the model still has, by the model's own; None keeps all.
    """

    def __init__(self, inner: PreTrainedTokenizerBase, start_id: int, kept: np.ndarray | None = None):
        self.inner, self.kept, self.first = inner, kept, start_id
        self.new: np.ndarray | None = None
        unknown = inner.unk_token_id if inner.unk_token_id is not None else inner.pad_token_id
        if kept is not None:
            self.new = np.full(max(len(inner), int(kept.max()) + 1), int(np.flatnonzero(kept == unknown)[0]), np.int32)
            self.new[kept] = np.arange(len(kept))
        self.start_id, self.end_id, self.pad_id, self.unknown_id = self._ours(
            np.asarray([start_id, inner.eos_token_id, inner.pad_token_id, unknown])
        ).tolist()

    def _ours(self, ids: np.ndarray) -> np.ndarray:
        return self.new[ids] if self.new is not None else ids.astype(np.int32)

    def read(self, texts: Sequence[str], max_length: int) -> list[Encoded]:
        """Pieces, with the words that they belong to."""
        if self.inner.is_fast:
            found = Pieces(self.inner).encode(texts, None, max_length)
        else:
            found = [self._slow(text, max_length) for text in texts]
        return [Encoded(self._ours(e.tokens), e.segments, e.word_of_token, e.spans, e.second, e.truncated) for e in found]

    def _slow(self, text: str, max_length: int) -> Encoded:
        """Of a tokenizer that does not tell where its pieces stand: they are laid along the text's words, letter by letter."""
        ids = self.inner(text, truncation=True, max_length=max_length, verbose=False)["input_ids"]
        words = list(_WORD.finditer(text))
        ends = np.cumsum([len(m[0]) for m in words])
        word_of_token, done = [], 0
        for i in ids:
            piece = "" if i in self.inner.all_special_ids else str(self.inner.convert_ids_to_tokens(i)).replace("\u2581", "")
            word_of_token.append(min(int(np.searchsorted(ends, done, "right")), len(words) - 1) if piece and len(words) else -1)
            done += len(piece)
        return Encoded(
            np.asarray(ids, np.int32),
            np.zeros(len(ids), np.int8),
            np.asarray(word_of_token, np.int16),
            np.asarray([m.span() for m in words], np.int32).reshape(-1, 2),
            np.zeros(len(words), bool),
            len(self.inner(text, verbose=False)["input_ids"]) > max_length,
        )

    def write(self, targets: Sequence[str]) -> list[np.ndarray]:
        """The tokenizer's ids of a target, up to its end token; what it writes after that, as mBART its language, goes."""
        if not targets:
            return []
        return [self._ours(self._whole(np.asarray(ids))) for ids in self.inner(text_target=list(targets), verbose=False)["input_ids"]]

    def _whole(self, ids: np.ndarray) -> np.ndarray:
        ends = np.flatnonzero(ids == self.inner.eos_token_id)
        ends = ends[ends > 0]  # BART-like tokenizers may begin with what others end with
        return ids[: ends[0] + 1] if len(ends) else np.append(ids, self.inner.eos_token_id)

    def decode(self, ids: Sequence[int]) -> str:
        """The text, its special tokens gone, its blanks single."""
        theirs = [int(self.kept[i]) for i in ids] if self.kept is not None else list(ids)
        dropped = set(self.inner.all_special_ids) - {self.inner.unk_token_id}
        text = self.inner.decode([i for i in theirs if i not in dropped], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return " ".join(str(text).split())

    def save(self, folder: pathlib.Path) -> None:
        """In the layout of transformers, with the ids that are kept."""
        self.inner.save_pretrained(folder / "tokenizer")
        kept = None if self.kept is None else self.kept.tolist()
        (folder / "pieces.json").write_text(json.dumps({"start": self.first, "kept": kept}) + "\n")


class Rewritten:
    """A tokenizer that writes other words than the targets have, and reads them back.

    Raises:
        BadUsage: two words would be written alike.
    """

    def __init__(self, inner: Tokenizer, words: Mapping[str, str]):
        self.inner, self.words, self.back = inner, dict(words), {new: old for old, new in words.items()}
        self.start_id, self.end_id, self.pad_id, self.unknown_id = inner.start_id, inner.end_id, inner.pad_id, inner.unknown_id
        if len(self.back) < len(self.words):
            raise BadUsage("task.rewrite: two words are written alike")

    def read(self, texts: Sequence[str], max_length: int) -> list[Encoded]:
        """As the other does."""
        return self.inner.read(texts, max_length)

    def write(self, targets: Sequence[str]) -> list[np.ndarray]:
        """Ids of the rewritten targets.

        Raises:
            BadData: a target has a word that is read back as another.
        """
        return self.inner.write([rewritten(target, self.words) for target in targets])

    def decode(self, ids: Sequence[int]) -> str:
        """The target in its own words."""
        return " ".join(self.back.get(word, word) for word in self.inner.decode(ids).split())

    def save(self, folder: pathlib.Path) -> None:
        """The other's; the words are in the recipe."""
        self.inner.save(folder)


def rewritten(target: str, words: Mapping[str, str]) -> str:
    """The target with words replaced.

    Raises:
        BadData: it has a word that would be read back as another.
    """
    taken = set(words.values()) - words.keys()
    for word in target.split():
        if word in taken:
            raise BadData(
                f"target {target[:60]!r}: task.rewrite writes {word!r} for another word, so that this one would be read back as it"
            )
    return " ".join(words.get(word, word) for word in target.split())


def load_tokenizer(folder: pathlib.Path) -> Tokenizer:
    """What `save` wrote."""
    words = folder / "vocabulary.json"
    if words.is_file():
        return Words(json.loads(words.read_text(encoding="utf-8")))
    told = json.loads((folder / "pieces.json").read_text())
    kept = None if told["kept"] is None else np.asarray(told["kept"], np.int32)
    return ModelTokenizer(AutoTokenizer.from_pretrained(folder / "tokenizer", trust_remote_code=False), told["start"], kept)


def seen(tokenizer: ModelTokenizer, texts: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """The ids, in order, that texts and targets are made of, and the special ones."""
    special = [i for i in (*tokenizer.inner.all_special_ids, tokenizer.first) if i is not None]
    used = [e.tokens for e in tokenizer.read(texts, 1 << 30)] + tokenizer.write(targets)
    return np.unique(np.concatenate([np.asarray(special, np.int32), *used])).astype(np.int32)


def places(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """For each token of a target the index of the word that it belongs to; -1 for special tokens.

    A piece that begins a word, as a blank alone, belongs to it; told by what more of the target each token makes readable.
    """
    counts = [len(tokenizer.decode(ids[: i + 1]).split()) for i in range(len(ids))]
    total = counts[-1] if counts else 0
    special = {tokenizer.start_id, tokenizer.end_id, tokenizer.pad_id}
    found = []
    for i, token in enumerate(ids):
        silent = i > 0 and counts[i] == counts[i - 1] and tokenizer.decode(ids[: i + 1]) == tokenizer.decode(ids[:i])
        word = counts[i] if silent or not counts[i] else counts[i] - 1
        found.append(-1 if token in special else min(word, total - 1))
    return found
