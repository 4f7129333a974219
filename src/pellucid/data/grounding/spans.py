"""Spans of characters: which tokens they are, which words, and whether they lie in the caption at all.

A span is `[begin, end]`, the first character and the one after the last, counted in the caption as Python counts them.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from pellucid.errors import BadData

Span = Sequence[int]
Spans = list[list[int]]

BETWEEN = " ... "  # what stands between the texts of several spans
_NEAR = (0, 1, 2)  # characters further in at which a token is looked for where a span's own first or last belongs to none
_HYPHENS = "-\u2010\u2011"
_NO_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")  # scripts whose words touch
_AFTER_HEAD = re.compile(
    r"\s(?:(?:to the |on the )?(?:left|right)(?: side)? of|next to|in front of|on top of|close to|in|on|at|of|with|without|by|near|behind|"
    r"under|above|below|beside|between|from|against|for|that|which|who|whose|where|is|are|has|wearing|holding|sitting|standing|facing)\s",
    re.IGNORECASE,
)


class Mapped(NamedTuple):
    """Which tokens each object owns.

    Args:
        own: objects by tokens.
        lost: object and span of which no token was found, so that nothing would be learned of it.
    """

    own: Bool[np.ndarray, "n t"]
    lost: list[tuple[int, list[int]]]


def token_map(spans: Sequence[Sequence[Span]], offsets: Sequence[Span]) -> Mapped:
    """The tokens from the first to the last of each span.

    Where a span begins or ends with a character that no token has, as a space, the two characters further in are tried.

    Args:
        spans: of each object.
        offsets: first character of each token and the one after its last, in the text's order; special tokens are empty, `[0, 0]`.
    Source: Kamath et al. 2021, the positive map. Differs: of a character of several tokens, as an emoji, a last span takes all tokens,
        not the first alone.
    """
    begins, ends = (np.asarray([offset[side] for offset in offsets], dtype=np.int64) for side in (0, 1))
    own = np.zeros((len(spans), len(offsets)), dtype=bool)
    lost = []
    for i, several in enumerate(spans):
        for begin, end in several:
            found = _first_and_last(begin, end, begins, ends)
            if found is None:
                lost.append((i, [begin, end]))
            else:
                own[i, found[0] : found[1] + 1] = True
    return Mapped(own, lost)


def _first_and_last(begin: int, end: int, begins: np.ndarray, ends: np.ndarray) -> tuple[int, int] | None:
    def tokens_of(character: int) -> np.ndarray:
        return np.flatnonzero((begins <= character) & (character < ends)) if begin <= character < end else np.empty(0, dtype=np.int64)

    first = next((found[0] for step in _NEAR if len(found := tokens_of(begin + step))), None)
    last = next((found[-1] for step in _NEAR if len(found := tokens_of(end - 1 - step))), None)
    return None if first is None or last is None else (int(first), int(last))


def spans_of(chosen: Sequence[bool] | Bool[np.ndarray, " t"], offsets: Sequence[Span]) -> Spans:
    """The characters of the chosen tokens; tokens beside each other are one span, special ones none."""
    found: Spans = []
    before = False
    for is_chosen, (begin, end) in zip(chosen, offsets, strict=True):
        if is_chosen and begin < end:
            if before:
                found[-1][1] = max(found[-1][1], end)
            else:
                found.append([begin, end])
            before = True
        elif not is_chosen:
            before = False  # a chosen token of no characters, as byte-level tokenizers have for spaces, parts nothing
    return found


def text_of(spans: Sequence[Span], caption: str) -> str:
    """The words that the spans name, `a man ... his hat`."""
    return BETWEEN.join(caption[begin:end] for begin, end in spans)


def whole_words(spans: Sequence[Span], caption: str) -> Spans:
    """The spans in order, overlapping ones as one, without marks and spaces at their ends, with all of a hyphenated word.

    A span of nothing but marks, as an emoji, loses only its spaces; one of nothing but spaces is gone.

    Source: Kamath et al. 2021. Differs: combining characters count as letters, and a span without any letter stays.
    """
    found = _joined(_trimmed(begin, end, caption) for begin, end in _joined(spans))
    return [span for span in found if span[0] < span[1]]


def _joined(spans: Any) -> Spans:
    joined: Spans = []
    for begin, end in sorted([begin, end] for begin, end in spans):
        if joined and begin < joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([begin, end])
    return joined


def _trimmed(begin: int, end: int, caption: str) -> list[int]:
    words = any(_is_letter(c) for c in caption[begin:end])
    while begin < end and (not _is_letter(caption[begin]) if words else caption[begin].isspace()):
        begin += 1
    while begin < end and (not _is_letter(caption[end - 1]) if words else caption[end - 1].isspace()):
        end -= 1
    if not words:
        return [begin, end]
    while end < len(caption) - 1 and caption[end] in _HYPHENS and _is_letter(caption[end + 1]):
        end += 1
        while end < len(caption) and _is_letter(caption[end]):
            end += 1
    while begin > 1 and caption[begin - 1] in _HYPHENS and _is_letter(caption[begin - 2]):
        begin -= 1
        while begin > 0 and _is_letter(caption[begin - 1]):
            begin -= 1
    return [begin, end]


def _is_letter(character: str) -> bool:
    """Letters, digits, and what is put onto letters: vowel signs and accents are no letters by themselves."""
    return character.isalnum() or unicodedata.category(character).startswith("M")


def checked(spans: Any, caption: str, where: str) -> Spans:
    """The spans, each inside the caption and of at least one character.

    Raises:
        BadData: naming the row, the span and what is wrong with it.
    """
    if not isinstance(spans, list | tuple):
        raise BadData(f"{where}: spans {spans!r}; expected a list of [begin, end]")
    for span in spans:
        told = f"{where}: the span {span!r}"
        whole = isinstance(span, list | tuple) and len(span) == 2 and all(isinstance(x, int) and not isinstance(x, bool) for x in span)
        if not whole:
            raise BadData(f"{told}; expected [begin, end], characters of the caption")
        begin, end = span
        if begin == end:
            raise BadData(f"{told} is empty; its end is the character after its last")
        if begin > end:
            raise BadData(f"{told} is reversed; the begin comes before the end")
        if begin < 0 or end > len(caption):
            raise BadData(f"{told} lies outside the caption of {len(caption)} characters, {shown(caption)}")
    return [[begin, end] for begin, end in spans]


def find(phrase: str, caption: str) -> Spans:
    """Where the caption names the phrase, whatever the case and the number of spaces; a word within another is no hit."""
    words = phrase.split()
    if not words:
        return []
    pattern = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE)
    hits = ([match.start(), match.end()] for match in pattern.finditer(caption))
    return [hit for hit in hits if not _inside_word(hit, caption)]


def _inside_word(hit: Span, caption: str) -> bool:
    begin, end = hit
    return any(0 < at < len(caption) and _one_word(caption[at - 1], caption[at]) for at in (begin, end))


def _one_word(left: str, right: str) -> bool:
    return _is_letter(left) and _is_letter(right) and not (_NO_SPACES.match(left) or _NO_SPACES.match(right))


def head(caption: str) -> list[int]:
    """The thing that a referring expression begins with, `the red cup` of `the red cup left of the laptop`; without one, all of it.

    Differs: the authors take the root noun phrase of a parser; this cuts before the first preposition, relative word or one of a few verbs.
    """
    found = _AFTER_HEAD.search(caption)
    end = found.start() if found else len(caption)
    return (whole_words([[0, end]], caption) or [[0, len(caption)]])[0]


def shown(caption: str) -> str:
    """The caption as a message quotes it, not too much of it."""
    return repr(caption if len(caption) <= 60 else caption[:57] + "...")
