"""A changed text, and of each of its letters the place in the first text that it stands for: so spans can follow their words."""

from collections.abc import Iterable, Sequence

Piece = tuple[str, int]  # what stands there, perhaps nothing, and the place of the character that it comes from
Pieces = list[Piece]
Spans = list[list[int]]

NEW = -1  # the place of what comes from nowhere


def part(text: str, begin: int, end: int) -> Pieces:
    """A part of a text, unchanged."""
    return [(text[i], i) for i in range(begin, end)]


def written(words: str, place: int = NEW) -> Pieces:
    """New words; with a place, in the stead of what stands there."""
    return [(letter, place) for letter in words]


def text_of(pieces: Iterable[Piece]) -> str:
    """What the pieces say."""
    return "".join(letters for letters, _ in pieces)


def single(pieces: Iterable[Piece]) -> Pieces:
    """The same with one letter a piece, so that places in `text_of` are places in the list."""
    return [(letter, place) for letters, place in pieces for letter in letters]


def spans_in(pieces: Pieces, spans: Sequence[Sequence[int]]) -> Spans:
    """Where the spans of the first text are now: in order, one as several where others' words have come between its own.

    New letters between two of a span's own are its own, too; spaces at the ends of a span are not.
    """
    letters = single(pieces)
    found: Spans = []
    for begin, end in spans:
        found += _runs(letters, begin, end)
    return sorted(found)


def _runs(letters: Pieces, begin: int, end: int) -> Spans:
    runs: Spans = []
    open_run = False  # whether nothing of another's has come since the last own letter
    for i, (letter, place) in enumerate(letters):
        own = begin <= place < end
        if own and not letter.isspace():
            if open_run:
                runs[-1][1] = i + 1
            else:
                runs.append([i, i + 1])
            open_run = True
        elif not own and place != NEW and not letter.isspace():
            open_run = False
    return runs


def with_words_of(pieces: Pieces, text: str, phrases: Iterable[Sequence[Sequence[int]]]) -> Pieces:
    """The pieces, in order, with the last word of every phrase of which nothing is left put back where it was.

    Args:
        phrases: the spans of each.
    """
    found = list(pieces)
    for spans in phrases:
        there = {place for letters, place in found if letters.strip()}
        own = [i for begin, end in spans for i in range(begin, min(end, len(text))) if not text[i].isspace()]
        if not own or there & set(own):
            continue
        end = max(own) + 1
        begin = next((i + 1 for i in range(end - 1, -1, -1) if i not in own), 0)
        at = next((k for k, (_, place) in enumerate(found) if place >= end), len(found))
        before = at > 0 and not text_of(found[:at])[-1:].isspace() and text[begin - 1 : begin].isspace()
        after = at < len(found) and not text_of(found[at:])[:1].isspace() and text[end : end + 1].isspace()
        found[at:at] = [*written(" " * before), *part(text, begin, end), *written(" " * after)]
    return found
