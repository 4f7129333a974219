"""Other words for the same: a table of synonyms and a few rules of grammar for English captions. By rule, without understanding.

Source: ours; no published set of paraphrases has these.
"""

import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pellucid.data.corrupt.traced import NEW, Pieces, single, text_of, written

COLOURS: Mapping[str, tuple[str, ...]] = {
    **{"red": ("crimson", "scarlet"), "orange": ("tangerine",), "yellow": ("lemon-coloured",), "green": ("emerald",), "blue": ("azure",)},
    **{"purple": ("violet",), "white": ("snow-white",), "black": ("jet-black",), "brown": ("chestnut",), "gray": ("grey",)},
    **{"grey": ("gray",), "pink": ("rose-coloured",)},
}
SIZES: Mapping[str, tuple[str, ...]] = {
    **{
        "small": ("little", "tiny"),
        "little": ("small",),
        "tiny": ("very small",),
        "large": ("big",),
        "big": ("large",),
        "huge": ("enormous",),
    },
}
_ANYWHERE: Mapping[str, tuple[str, ...]] = {
    **COLOURS,
    **SIZES,
    **{
        "largest": ("biggest",),
        "biggest": ("largest",),
        "smallest": ("tiniest", "littlest"),
        "striped": ("stripy",),
        "dotted": ("spotted",),
    },
    **{"leftmost": ("farthest-left",), "rightmost": ("farthest-right",), "topmost": ("uppermost", "highest"), "bottommost": ("lowest",)},
    **{"above": ("over", "higher than"), "below": ("under", "beneath"), "under": ("beneath", "underneath"), "beneath": ("under",)},
    **{"beside": ("next to",), "next to": ("beside",), "near": ("close to",), "close to": ("near",), "between": ("in between",)},
    **{"sitting": ("seated",), "talking": ("speaking",), "wearing": ("dressed in",), "two": ("2",), "three": ("3",), "four": ("4",)},
    **{"from the left": ("counting from the left",), "from the right": ("counting from the right",)},
    **{"from the top": ("counting from the top",), "from the bottom": ("counting from the bottom",)},
}
_NOUNS: Mapping[str, tuple[str, ...]] = {  # where a phrase ends with them, or does so but for an s
    **{
        "circle": ("disc", "disk"),
        "square": ("box",),
        "triangle": ("three-sided figure",),
        "diamond": ("rhombus",),
        "cross": ("plus sign",),
    },
    **{"shape": ("figure",), "man": ("guy", "gentleman"), "guy": ("man",), "woman": ("lady",), "lady": ("woman",), "boy": ("lad",)},
    **{"person": ("individual",), "child": ("kid",), "kid": ("child",), "cup": ("mug",), "mug": ("cup",)},
    **{"couch": ("sofa",), "sofa": ("couch",), "car": ("automobile",), "bike": ("bicycle",), "bicycle": ("bike",), "phone": ("telephone",)},
    **{"tv": ("television",), "television": ("tv",), "plane": ("airplane",), "airplane": ("plane",), "motorcycle": ("motorbike",)},
    **{"dog": ("hound",), "rock": ("stone",), "street": ("road",), "fridge": ("refrigerator",), "refrigerator": ("fridge",)},
    **{"purse": ("handbag",), "picture": ("image",), "laptop": ("notebook computer",), "bag": ("sack",)},
}
_PLURALS = {"child": "children", "disk": "disks", "man": "men", "woman": "women", "gentleman": "gentlemen", "lady": "ladies"}
_PLURALS |= {
    "person": "people",
    "individual": "individuals",
    "cross": "crosses",
    "box": "boxes",
    "couch": "couches",
    "rhombus": "rhombuses",
}
_DONE_TO: Mapping[str, str] = {
    **{"holding": "held", "riding": "ridden", "carrying": "carried", "wearing": "worn", "eating": "eaten", "pulling": "pulled"},
    **{"pushing": "pushed", "watching": "watched", "throwing": "thrown", "catching": "caught", "hitting": "hit", "kicking": "kicked"},
    **{"chasing": "chased", "touching": "touched", "feeding": "fed", "leading": "led", "following": "followed", "using": "used"},
}
_OTHER_SIDE = {"left of": " to its right", "right of": " to its left", "above": " below it", "below": " above it"}
_MOST = {
    "leftmost": "farthest to the left",
    "rightmost": "farthest to the right",
    "topmost": "nearest the top",
    "bottommost": "nearest the bottom",
}
_PEOPLE = r"(?: (?:guy|lady|ladies|boy|girl|person|people|kid|child|couple|family|player|dude|m[ae]n|wom[ae]n|gentlem[ae]n))"
_ANY_COLOUR = rf"(?:{'|'.join(COLOURS)})(?!{_PEOPLE})"  # of people, colours mean something else
_MANY = re.compile(r"\w[^\Ws]s$|(?:men|people|children|ladies)$|^(?:two|three|four|\d+)\b", re.IGNORECASE)
_ARTICLE = r"(?:the|an?)"
_NOUN_PHRASE = rf"{_ARTICLE} [\w-]+(?: [\w-]+){{0,3}}?"


class Edit(NamedTuple):
    """What stands from one place to another of a text is exchanged for other pieces."""

    begin: int
    end: int
    pieces: Pieces


class Seen(NamedTuple):
    """A caption that is being reworded.

    Args:
        pieces: one letter each.
        ends: places in the first text right after its phrases.
    """

    pieces: Pieces
    ends: frozenset[int]

    @property
    def text(self) -> str:
        """What it says now."""
        return text_of(self.pieces)

    def ends_phrase(self, end: int) -> bool:
        """Whether what stands before this place is the end of a phrase."""
        return end > 0 and self.pieces[end - 1][1] + 1 in self.ends

    def edited(self, edits: Sequence[Edit]) -> "Seen":
        """The caption with these edits, which lie apart, made."""
        found, at = Pieces(), 0
        for begin, end, pieces in sorted(edits):
            found += self.pieces[at:begin] + single(pieces)
            at = end
        return Seen(found + self.pieces[at:], self.ends)


def paraphrased(pieces: Pieces, phrases: Sequence[tuple[int, int]], share: float, rng: random.Random, turn: bool) -> Pieces:
    """The caption said otherwise: of all places where a rule or a synonym fits, a share is reworded.

    Args:
        phrases: first character of each phrase and the one after its last.
        turn: a doer and what is done to may change places, as in `a horse ridden by a man`; where a caption asks for its first thing they
            may not.
    """
    seen = Seen(single(pieces), frozenset(end for _, end in phrases))
    seen = _applied(seen, _turned(seen, sorted(phrases), turn), share, rng)
    for rule in (_placed, _most, _beside, _around, _coloured):
        seen = _applied(seen, rule(seen), share, rng)
    seen = _applied(seen, _synonyms(seen, rng), share, rng)
    return _with_articles(seen).pieces


def _applied(seen: Seen, edits: Iterator[Edit], share: float, rng: random.Random) -> Seen:
    taken, at = list[Edit](), 0
    for edit in edits:
        if rng.random() < share and edit.begin >= at:
            taken.append(edit)
            at = edit.end
    return seen.edited(taken)


# ---- rules --------------------------------------------------------------------------------------------------------


def _turned(seen: Seen, phrases: Sequence[tuple[int, int]], turn: bool) -> Iterator[Edit]:
    """`a man riding a horse`: `a horse ridden by a man`, or `a man who is riding a horse`; before anything else is changed."""
    text = seen.text
    for (begin, end), (start, stop) in itertools.pairwise(phrases):
        found = re.fullmatch(r" (is |are )?(\w+ing) ", text[end:start])
        if not found or found[2] not in _DONE_TO or not re.match(_ARTICLE + " ", text[begin:end], re.IGNORECASE):
            continue
        if turn and re.match(_ARTICLE + " ", text[start:stop], re.IGNORECASE):
            doer, target = _small(seen.pieces[begin:end]), seen.pieces[start:stop]
            target = _capital(target) if text[begin].isupper() else target
            is_done = ("are " if _is_plural(text[start:stop]) else "is ") if found[1] else ""
            yield Edit(begin, stop, [*target, *written(f" {is_done}{_DONE_TO[found[2]]} by "), *doer])
        elif not found[1]:
            yield Edit(end, end, written(" that are" if _is_plural(text[begin:end]) else " that is"))


def _placed(seen: Seen) -> Iterator[Edit]:
    """`the left cup`: `the cup on the left`."""
    for found in re.finditer(rf"\b{_ARTICLE} ((left|right|top|bottom) )([\w-]+)\b", seen.text, re.IGNORECASE):
        if seen.ends_phrase(found.end()) and found[3] not in ("side", "hand", "corner", "edge", "half"):
            joint = " on the " if found[2].lower() in ("left", "right") else " at the "
            yield _moved(seen, found, joint)


def _most(seen: Seen) -> Iterator[Edit]:
    """`the leftmost red circle`: `the red circle farthest to the left`."""
    for found in re.finditer(rf"\b{_ARTICLE} ((\w+most) )([\w-]+(?: [\w-]+){{0,2}})\b", seen.text, re.IGNORECASE):
        for end in _phrase_ends(seen, found.start(3), found.end()):
            if found[2].lower() in _MOST:
                words = written(" " + _MOST[found[2].lower()], seen.pieces[found.start(2)][1])
                yield Edit(found.start(1), end, [*seen.pieces[found.start(3) : end], *words])


def _coloured(seen: Seen) -> Iterator[Edit]:
    """`the red square`: `the square that is red`."""
    numbered = rf"\b{_ARTICLE}( (?:two|three|four|both))?(?: [\w-]+)?? (({_ANY_COLOUR}) )([\w-]+)\b"
    for found in re.finditer(numbered, seen.text, re.IGNORECASE):
        if seen.ends_phrase(found.end()):
            middle = written(" that are " if found[1] or _is_plural(found[4]) else " that is ")
            yield Edit(found.start(2), found.end(), [*_slice(seen, found, 4), *middle, *_slice(seen, found, 3)])


def _beside(seen: Seen) -> Iterator[Edit]:
    """`the cup left of the plate`: `the cup that has the plate to its right`."""
    pattern = rf" (to the )?(left of|right of|above|below) ({_NOUN_PHRASE})(?=$|[.,;!?]| and )"
    for found in re.finditer(pattern, seen.text, re.IGNORECASE):
        if seen.ends_phrase(found.start()) and not _is_plural(seen.text[: found.start()]):
            after = written(_OTHER_SIDE[found[2].lower()])
            yield Edit(found.start(), found.end(), [*written(" that has "), *_slice(seen, found, 3), *after])


def _around(seen: Seen) -> Iterator[Edit]:
    """`the cup between the fork and the knife`: `the cup with the fork on one side and the knife on the other`."""
    for found in re.finditer(rf" between ({_NOUN_PHRASE}) and ({_NOUN_PHRASE})(?=$|[.,;!?])", seen.text, re.IGNORECASE):
        if seen.ends_phrase(found.start()):
            one, other = _slice(seen, found, 1), _slice(seen, found, 2)
            pieces = [*written(" with "), *one, *written(" on one side and "), *other, *written(" on the other")]
            yield Edit(found.start(), found.end(), pieces)


def _synonyms(seen: Seen, rng: random.Random) -> Iterator[Edit]:
    """Words of the tables; a noun only where it ends a phrase, so that nobody pluses signs the street."""
    for found in _WORD.finditer(seen.text):
        word = found[0].lower()
        of_people = word in COLOURS and re.match(_PEOPLE, seen.text[found.end() :], re.IGNORECASE)
        others = () if of_people else _ANYWHERE.get(word) or (_NOUN_FORMS.get(word, ()) if seen.ends_phrase(found.end()) else ())
        if others:
            other = others[int(rng.random() * len(others))]
            other = other.capitalize() if found[0][0].isupper() else other
            place = next((p for _, p in seen.pieces[found.start() : found.end()] if p != NEW), NEW)
            yield Edit(found.start(), found.end(), written(other, place))


# ---- parts --------------------------------------------------------------------------------------------------------


def _plural(noun: str) -> str:
    last = noun.split(" ")[-1]
    return noun[: len(noun) - len(last)] + _PLURALS.get(last, last + "s")


_NOUN_FORMS = {**_NOUNS, **{_plural(noun): tuple(map(_plural, others)) for noun, others in _NOUNS.items()}}
_LONGEST_FIRST = sorted({*_ANYWHERE, *_NOUN_FORMS}, key=len, reverse=True)
_WORD = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, _LONGEST_FIRST))})(?![\w-])", re.IGNORECASE)


def _is_plural(phrase: str) -> bool:
    """Whether a phrase looks like one of several things."""
    return bool(_MANY.search(phrase))


def _slice(seen: Seen, found: re.Match[str], group: int) -> Pieces:
    return seen.pieces[found.start(group) : found.end(group)]


def _moved(seen: Seen, found: re.Match[str], joint: str) -> Edit:
    """The second group behind the third."""
    return Edit(found.start(1), found.end(), [*_slice(seen, found, 3), *written(joint), *_slice(seen, found, 2)])


def _phrase_ends(seen: Seen, begin: int, end: int) -> Iterator[int]:
    """The first place between two, at the end of a word, where a phrase ends."""
    ends = [begin + found.end() for found in re.finditer(r"[\w-]+", seen.text[begin:end])]
    return iter([place for place in ends if seen.ends_phrase(place)][:1])


def _capital(pieces: Pieces) -> Pieces:
    return [(pieces[0][0].upper(), pieces[0][1]), *pieces[1:]]


def _small(pieces: Pieces) -> Pieces:
    return [(pieces[0][0].lower(), pieces[0][1]), *pieces[1:]]


def _with_articles(seen: Seen) -> Seen:
    """`a` and `an` made right where the next word is another than it was."""
    edits = []
    for found in re.finditer(r"\b(an?) (\w)", seen.text, re.IGNORECASE):
        (_, article), (_, word) = seen.pieces[found.start(1)], seen.pieces[found.start(2)]
        if word != article + len(found[1]) + 1:
            right = found[1][0] + ("n" if found[2].lower() in "aeiou" else "")
            edits.append(Edit(found.start(1), found.end(1), written(right, article)))
    return seen.edited(edits)
