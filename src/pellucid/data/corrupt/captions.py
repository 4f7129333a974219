"""Corrupted copies of captions whose spans still name their words: those of texts, and paraphrase, negation and word order.

A copy depends only on the caption, its spans, the example's id, the seed, kind and severity.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.coerce import nearest
from pellucid.data.corrupt import rewording, traced
from pellucid.data.corrupt.names import chosen
from pellucid.data.corrupt.text import TEXT, Corruption, stream_of
from pellucid.data.corrupt.traced import Pieces, part, written
from pellucid.errors import BadUsage

Row = Mapping[str, Any]
Span = tuple[int, int]
Phrase = tuple[Span, ...]  # the spans of one thing that a caption names
ASIDE = ("answer", "question_type", "phrase_masks")  # what was true of the caption as it was

_ARTICLE = re.compile(r"(?:the|an?|this|that|these|those|some|his|her|its|their|my|your|our|both|one)\s+(?=\S)", re.IGNORECASE)
_PRONOUN = re.compile(r"(?:it|he|she|they|him|her|them|this|that|these|those|one)", re.IGNORECASE)
_MANY = re.compile(r"\b(?:two|three|four|five|both|several|many|all|these|those|some|\w+[^s]s)\b", re.IGNORECASE)
_QUALITY = re.compile(rf"\b(?:{'|'.join([*rewording.COLOURS, *rewording.SIZES, 'tall', 'short'])})\b", re.IGNORECASE)


@dataclass(frozen=True)
class CaptionCorruption:
    """One way to spoil a caption.

    Args:
        apply: a spoiled copy of a row, by a share.
        rates: the share, one per severity.
    """

    apply: Callable[[Row, float, random.Random], dict[str, Any]]
    rates: tuple[float, float, float, float, float]

    @property
    def about(self) -> str:
        """What it does, and its rates, in one line."""
        return (self.apply.__doc__ or "").split("\n")[0] + f" Rates {self.rates}"


def paraphrase(row: Row, rate: float, rng: random.Random) -> dict[str, Any]:
    """Rewords a share `rate` of the places where a synonym or a rule of English fits: the same boxes are right, by rule."""
    text, phrases = row["caption"], _phrases(row)
    ranges = sorted({span for phrase in phrases for span in phrase})
    return _moved(row, rewording.paraphrased(part(text, 0, len(text)), ranges, rate, rng, turn=not row.get("expression")))


def negation(row: Row, rate: float, rng: random.Random) -> dict[str, Any]:
    """Negates a share `rate` of the phrases, `no red square` or `the red square that is not red`: their boxes are right no more."""
    text, phrases = row["caption"], _phrases(row, ("objects",))
    mine = [p for p in phrases if not row.get("expression") or _is_final(row, p)]
    gone = [phrase for phrase in mine if rng.random() < rate]
    if any(len(phrase) > 1 for phrase in gone):  # what is spoken of again bears the rest: `no cup and the plate below it` says nothing
        gone = phrases
    if not gone:
        return dict(row)
    pieces, at = Pieces(), 0
    for begin, end in sorted(phrase[0] for phrase in gone):
        if begin >= at:
            pieces += part(text, at, begin) + _negated(text, begin, end, rng)
            at = end
    lost = {phrase for phrase in phrases if any(_meet(phrase, other) for other in gone)}
    return _moved(_without(row, lost), pieces + part(text, at, len(text)))


def word_order(row: Row, rate: float, rng: random.Random) -> dict[str, Any]:
    """Moves a share `rate` of the words, two at least, each to the place of another of them."""
    text = row["caption"]
    words = [match.span() for match in re.finditer(r"\S+", text)]
    order = sorted(range(len(words)), key=lambda _: rng.random())[: max(2, round(rate * len(words)))]
    comes = dict(zip(order[1:] + order[:1], order, strict=True))
    pieces, at = Pieces(), 0
    for i, (begin, end) in enumerate(words):
        pieces += part(text, at, begin) + part(text, *words[comes.get(i, i)])
        at = end
    return _moved(row, pieces + part(text, at, len(text)))


CAPTIONS: Mapping[str, CaptionCorruption] = {
    "paraphrase": CaptionCorruption(paraphrase, (0.2, 0.4, 0.6, 0.8, 1.0)),
    "negation": CaptionCorruption(negation, (0.2, 0.4, 0.6, 0.8, 1.0)),
    "word_order": CaptionCorruption(word_order, (0.2, 0.4, 0.6, 0.8, 1.0)),
}


def corrupt_caption(row: Row, kind: str, severity: int, seed: int) -> dict[str, Any]:
    """A copy of a row, its `caption` spoiled; the spans of its `objects`, its `phrases` and `absent` cover what stands there now.

    Of a phrase whose words would all be lost, the last stays. A span becomes several where other words have come between its own.

    Args:
        kind: one of `CAPTIONS`, or of the kinds of texts.
    Raises:
        BadUsage: no such kind or severity.
    """
    kinds: Mapping[str, CaptionCorruption | Corruption] = {**TEXT, **CAPTIONS}
    if kind not in kinds:
        raise BadUsage(f"no caption corruption {kind!r}" + nearest(kind, list(kinds)))
    found = chosen(kinds, "caption", kind, severity)
    rate, rng = found.rates[severity - 1], stream_of(seed, f"{row['id']}\0caption", kind, severity)
    if isinstance(found, CaptionCorruption):
        return found.apply(row, rate, rng)
    text = row["caption"]
    pieces = traced.with_words_of(found.apply(text, rate, rng), text, _phrases(row))
    return _moved(row, pieces) if traced.text_of(pieces).strip() else dict(row)


# ---- phrases ------------------------------------------------------------------------------------------------------


def _phrases(row: Row, fields: Sequence[str] = ("objects", "phrases")) -> list[Phrase]:
    """The different phrases of a row, in the order of their first characters."""
    spans = [thing.get("spans") for field in fields for thing in row.get(field) or ()]
    spans += [[span] for span in row.get("absent") or ()] if "phrases" in fields else []
    found = {tuple(sorted((int(begin), int(end)) for begin, end in several)) for several in spans if several}
    return sorted(found)


def _is_final(row: Row, phrase: Phrase) -> bool:
    """Whether a phrase is what the whole caption asks for; where the objects do not tell, each is."""
    return any(thing.get("final", True) for thing in row["objects"] if _phrases({"objects": [thing]}, ("objects",)) == [phrase])


def _meet(one: Phrase, other: Phrase) -> bool:
    return any(begin < stop and start < end for begin, end in one for start, stop in other)


def _moved(row: Row, pieces: Pieces) -> dict[str, Any]:
    """The row with the caption that the pieces say, its spans where their words are."""
    found = {**row, "caption": traced.text_of(pieces)}
    for field in ("objects", "phrases"):
        if field in row:
            found[field] = [
                {**thing, "spans": traced.spans_in(pieces, thing["spans"])} if "spans" in thing else thing for thing in row[field]
            ]
    if "absent" in row:
        found["absent"] = traced.spans_in(pieces, row["absent"])
    return found


# ---- negation -----------------------------------------------------------------------------------------------------


def _negated(text: str, begin: int, end: int, rng: random.Random) -> Pieces:
    phrase, by_quality = text[begin:end], rng.random() < 0.5
    quality, many = _QUALITY.search(phrase), _MANY.search(phrase)
    if by_quality and quality and not many:
        return part(text, begin, end) + written(f" that is not {quality[0].lower()}")
    article, pronoun = _ARTICLE.match(phrase), _PRONOUN.fullmatch(phrase)
    no = "nothing" if pronoun else "no "
    no = no.capitalize() if phrase[:1].isupper() and (article or pronoun) else no
    rest = end if pronoun else begin + (article.end() if article else 0)
    return written(no) + part(text, rest, end)


def _without(row: Row, lost: set[Phrase]) -> dict[str, Any]:
    """The row without the objects and phrases that are lost, and without what only the whole caption could ask for."""
    found = {key: value for key, value in row.items() if key not in ASIDE}
    for field in ("objects", "phrases"):
        if field in row:
            found[field] = [thing for thing in row[field] if not any(_meet(phrase, p) for phrase in _own(thing) for p in lost)]
    if not any(thing.get("final", True) for thing in found["objects"]):
        found.pop("expression", None)
    return found


def _own(thing: Row) -> list[Phrase]:
    return _phrases({"objects": [thing]}, ("objects",))
