"""Captions of scenes of shapes: which phrases hold of a scene, and of which things, so that nobody could mean others.

    plain        the red square | the square | the red shape
    size         the small red square          of several red squares
    pattern      the striped square            of several squares
    relation     the circle left of the blue square             left of, right of, above, below
    between      the circle between the red cross and the blue square
    counted      the two green circles
    ordinal      the second circle from the left                left, right, top, bottom
    superlative  the largest triangle | the leftmost red shape
    several      a red square, a blue circle and a green cross
    pronoun      a red square and the circle below it
    absent       the red square, where none is | a blue circle and a red square
    listed       small large ... red orange ... circle square ...: every word, and each thing answers all that are true of it

A place counts as left of another only if it is farther left than it is higher or lower, and a thing is told by it only if no other of
its name lies to the left at all; so for every relation: true in the narrow sense, alone in the wide one.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

SHAPES = ("circle", "square", "triangle", "diamond", "cross")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
PATTERNS = ("plain", "striped", "dotted")
SIZES = ("small", "large")
RELATIONS: Mapping[str, tuple[int, int]] = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
_SIDES: Mapping[str, tuple[int, int]] = {"left": (1, 0), "right": (-1, 0), "top": (0, 1), "bottom": (0, -1)}  # the way of counting
_MOST = {"left": "leftmost", "right": "rightmost", "top": "topmost", "bottom": "bottommost"}
_COUNTS = ("two", "three", "four")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_APART = 0.05  # of the picture's side: places nearer than this are not told by their order
_NEARLY = 0.02  # of the side: a thing that is so little on the other side of a line counts as on this one, too, in the wide sense
_LARGER = 1.25  # ratio of radii that is seen
_BESIDE = 0.3  # how far off the line a thing between two others may lie, as a share of their distance
_WITHIN, _PAST = (0.2, 0.8), 0.05
VOCABULARY = (  # of all captions, joined ones and those of what is absent too
    *(*SHAPES, *COLOURS, *PATTERNS, *SIZES, *_COUNTS, *_ORDINALS, *_SIDES, *_MOST.values()),
    *("the", "a", "an", "and", "it", "of", "from", "between", "above", "below", "largest", "smallest", "shape", "shapes"),
    *("circles", "squares", "triangles", "diamonds", "crosses", ",", "."),
)


class Words(NamedTuple):
    """What a thing is called by, each empty where not said."""

    size: str = ""
    pattern: str = ""
    colour: str = ""
    shape: str = ""

    @property
    def text(self) -> str:
        """`small striped red square`."""
        return " ".join(word for word in (self.size, self.pattern, self.colour, self.shape or "shape") if word)


@dataclass(frozen=True)
class Thing:
    """A shape in a picture: what it is, its middle and its size in pixels."""

    words: Words
    x: float
    y: float
    radius: float

    def is_called(self, words: Words) -> bool:
        """Whether all that the words say holds of it."""
        own = self.words
        return (
            words.shape in ("", own.shape)
            and words.colour in ("", own.colour)
            and words.size in ("", own.size)
            and words.pattern in ("", own.pattern)
        )


@dataclass(frozen=True)
class Scene:
    """The things of a picture of so many pixels a side."""

    things: tuple[Thing, ...]
    side: int

    def called(self, words: Words) -> tuple[int, ...]:
        """Which things the words hold of."""
        return tuple(i for i, thing in enumerate(self.things) if thing.is_called(words))


@dataclass(frozen=True)
class Phrase:
    """A part of a caption that stands for things; for none where nothing is so called.

    Args:
        asked: the things are what the caption is about, not only mentioned to tell others by.
    """

    text: str
    words: Words
    things: tuple[int, ...] = ()
    asked: bool = True


Caption = tuple[str | Phrase, ...]
Captions = Iterator[Caption]


def _names(thing: Thing) -> tuple[Words, ...]:
    """By colour and shape, by shape, by colour."""
    full = thing.words
    return Words(colour=full.colour, shape=full.shape), Words(shape=full.shape), Words(colour=full.colour)


def _all_names(scene: Scene) -> dict[Words, tuple[int, ...]]:
    """Every name without size and pattern, and the things that have it."""
    found: dict[Words, list[int]] = {}
    for i, thing in enumerate(scene.things):
        for name in _names(thing):
            found.setdefault(name, []).append(i)
    return {name: tuple(own) for name, own in found.items()}


def _the(words: Words, *things: int, asked: bool = True, article: str = "the", before: str = "") -> Phrase:
    text = f"{before} {words.text}" if before else words.text
    return Phrase(f"{article}n {text}" if article == "a" and text[0] in "aeiou" else f"{article} {text}", words, things, asked)


def _anchors(names: Mapping[Words, tuple[int, ...]]) -> list[tuple[Words, int]]:
    """Names with a shape that one thing alone has."""
    return [(name, own[0]) for name, own in names.items() if len(own) == 1 and name.shape]


# ---- kinds --------------------------------------------------------------------------------------------------------


def plain(scene: Scene) -> Captions:
    """One thing by its colour, its shape, or both."""
    return ((_the(name, *own),) for name, own in _all_names(scene).items() if len(own) == 1)


def _attribute(scene: Scene, field: str) -> Captions:
    for name, own in _all_names(scene).items():
        for i in own if len(own) > 1 else ():
            longer = name._replace(**{field: getattr(scene.things[i].words, field)})
            if scene.called(longer) == (i,):
                yield (_the(longer, i),)


def size(scene: Scene) -> Captions:
    """One of several things of a name, by its size."""
    return _attribute(scene, "size")


def pattern(scene: Scene) -> Captions:
    """One of several things of a name, by its pattern."""
    return _attribute(scene, "pattern")


def relation(scene: Scene) -> Captions:
    """One of several things of a name, by where it lies from another."""
    names = _all_names(scene)
    for anchor, at in _anchors(names):
        for name, own in names.items():
            others = [i for i in own if i != at]
            for how, way in RELATIONS.items() if len(others) > 1 else ():
                if (found := _only(scene, others, at, way)) is not None:
                    yield _the(name, found), f" {how} ", _the(anchor, at, asked=False)


def between(scene: Scene) -> Captions:
    """One of several things of a name, by the two on either side of it."""
    names = _all_names(scene)
    for (one, a), (other, b) in itertools.permutations(_anchors(names), 2):
        for name, own in names.items():
            others = [i for i in own if i not in (a, b)]
            if a == b or len(others) < 2:
                continue
            along = {i: _along(scene, i, a, b) for i in others}
            wide = [i for i, (share, _) in along.items() if -_PAST < share < 1 + _PAST]
            if len(wide) == 1 and _WITHIN[0] <= along[wide[0]][0] <= _WITHIN[1] and along[wide[0]][1] <= _BESIDE:
                yield _the(name, wide[0]), " between ", _the(one, a, asked=False), " and ", _the(other, b, asked=False)


def counted(scene: Scene) -> Captions:
    """All things of a name, and how many."""
    for name, own in _all_names(scene).items():
        if 2 <= len(own) <= 4:
            noun = name.shape or "shape"
            plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
            yield (_the(name._replace(shape=plural), *own, before=_COUNTS[len(own) - 2]),)


def ordinal(scene: Scene) -> Captions:
    """One of three or more things of a name, by its place in their row."""
    for name, own in _all_names(scene).items():
        for side, way in _SIDES.items() if len(own) > 2 else ():
            row = sorted(own, key=lambda i: _far(scene, i, way))
            if all(_far(scene, j, way) - _far(scene, i, way) >= _APART * scene.side for i, j in itertools.pairwise(row)):
                yield from ((_the(name, i, before=_ORDINALS[k]), f" from the {side}") for k, i in enumerate(row))


def superlative(scene: Scene) -> Captions:
    """One of several things of a name: the largest or smallest of a shape, or the outermost."""
    for name, own in _all_names(scene).items():
        if len(own) < 2:
            continue
        if name.shape:
            row = sorted(own, key=lambda i: scene.things[i].radius)
            for i, (smaller, larger), word in ((row[-1], row[-2:], "largest"), (row[0], row[:2], "smallest")):
                if scene.things[larger].radius >= _LARGER * scene.things[smaller].radius:
                    yield (_the(name, i, before=word),)
        for side, way in _SIDES.items():
            first, second = sorted(own, key=lambda i: _far(scene, i, way))[:2]
            if _far(scene, second, way) - _far(scene, first, way) >= _APART * scene.side:
                yield (_the(name, first, before=_MOST[side]),)


def several(scene: Scene) -> Captions:
    """Two or three things, each by colour and shape."""
    single = _coloured(scene)
    for num in (2, 3):
        for some in itertools.permutations(single, num):
            yield _listed([_the(name, i, article="a") for name, i in some])


def pronoun(scene: Scene) -> Captions:
    """A thing, and another by where it lies from it."""
    names = _all_names(scene)
    for anchor, at in _coloured(scene):
        for name, own in names.items():
            others = [i for i in own if i != at]
            for how, way in RELATIONS.items():
                if name.shape and (found := _only(scene, others, at, way)) is not None:
                    first = _the(anchor, at, article="a")
                    yield first, " and ", _the(name, found), f" {how} ", Phrase("it", anchor, (at,))


def absent(scene: Scene) -> Captions:
    """A colour and a shape that are there, but on no thing together; alone, or before or after a thing that is there."""
    colours, shapes = ({getattr(thing.words, field): None for thing in scene.things} for field in ("colour", "shape"))
    for colour, shape in itertools.product(colours, shapes):
        name = Words(colour=colour, shape=shape)
        if not scene.called(name):
            yield (_the(name),)
            for other, i in _coloured(scene):
                pair = [_the(name, article="a"), _the(other, i, article="a")]
                yield from (_listed(pair), _listed(pair[::-1]))


def listed(scene: Scene) -> Caption:
    """All sizes, patterns, colours and shapes, as detection lists its classes; each word stands for the things that it is true of."""
    parts = list[str | Phrase]()
    for field, known in zip(Words._fields, (SIZES, PATTERNS, COLOURS, SHAPES), strict=True):
        for word in known:
            name = Words(**{field: word})
            parts += [" ", Phrase(word, name, scene.called(name))]
    return tuple(parts[1:])


KINDS: Mapping[str, Callable[[Scene], Captions]] = {
    make.__name__: make for make in (plain, size, pattern, relation, between, counted, ordinal, superlative, several, pronoun)
}
EXPRESSIONS = ("plain", "size", "pattern", "relation", "between", "ordinal", "superlative")  # the whole caption asks for one box


def as_text(caption: Caption) -> tuple[str, list[tuple[int, int, Phrase]]]:
    """The caption as text, and each phrase with its first character and the one after its last."""
    text, found = "", list[tuple[int, int, Phrase]]()
    for part in caption:
        if isinstance(part, Phrase):
            found.append((len(text), len(text) + len(part.text), part))
        text += part if isinstance(part, str) else part.text
    return text, found


def pick(draw: random.Random, captions: Sequence[Caption]) -> Caption:
    """One of the captions: first how many parts it has, so that long lists do not crowd out short ones, then which."""
    lengths = sorted({len(caption) for caption in captions})
    length = lengths[int(draw.random() * len(lengths))]
    some = [caption for caption in captions if len(caption) == length]
    return some[int(draw.random() * len(some))]


# ---- places -------------------------------------------------------------------------------------------------------


def _only(scene: Scene, others: Sequence[int], at: int, way: tuple[int, int]) -> int | None:
    """The one thing of those that lies this way, in the narrow sense and, alone, in the wide one."""
    there = scene.things[at]
    found = None
    for i in others:
        x, y = scene.things[i].x - there.x, scene.things[i].y - there.y
        ahead, beside = x * way[0] + y * way[1], abs(x * way[1]) + abs(y * way[0])
        if ahead < -_NEARLY * scene.side:
            continue
        if found is not None or ahead < max(beside, _APART * scene.side):
            return None
        found = i
    return found


def _along(scene: Scene, i: int, a: int, b: int) -> tuple[float, float]:
    """Where a thing lies on the way from one to another, and how far off the line, as shares of their distance."""
    start, end, at = (complex(scene.things[k].x, scene.things[k].y) for k in (a, b, i))
    share = (at - start) / (end - start)
    return share.real, abs(share.imag)


def _far(scene: Scene, i: int, way: tuple[int, int]) -> float:
    return scene.things[i].x * way[0] + scene.things[i].y * way[1]


def _coloured(scene: Scene) -> list[tuple[Words, int]]:
    """Names of colour and shape that one thing alone has."""
    return [(name, i) for name, i in _anchors(_all_names(scene)) if name.colour]


def _listed(phrases: Sequence[Phrase]) -> Caption:
    """`a red square, a blue circle and a green cross`."""
    joints = [", "] * (len(phrases) - 2) + [" and "]
    return tuple(part for pair in zip(phrases, [*joints, ""], strict=True) for part in pair if part)
