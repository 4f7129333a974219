"""A generated world of coloured shapes and captions about them: every box and every span is known exactly; no download.

A picture and its captions depend on the part, the number and the options, and on nothing else.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pellucid.coerce import nearest
from pellucid.data import paint, sources
from pellucid.data.grounding.merge import merged
from pellucid.data.grounding.world_captions import (
    COLOURS,
    EXPRESSIONS,
    KINDS,
    PATTERNS,
    SHAPES,
    SIZES,
    Caption,
    Phrase,
    Scene,
    Thing,
    Words,
    absent,
    as_text,
    listed,
    pick,
)
from pellucid.data.paint import Points
from pellucid.data.sources import Rows
from pellucid.errors import BadUsage

PARTS: Mapping[str, int] = {"train": 4000, "dev": 500, "test": 1000, "combinations": 1000}
OPTIONS: sources.Choices = {
    **dict.fromkeys(("mentioned", "group", "merge"), ("yes", "no")),
    "listed": ("yes", "no", "only"),
    **dict.fromkeys(("num", "size", "seed", "held", "absent", "captions", "kinds", "scale", "most"), ()),
}
HELD = (  # of every colour one shape, of every shape one or two colours
    *(("red", "square"), ("orange", "circle"), ("yellow", "triangle"), ("green", "cross")),
    *(("blue", "diamond"), ("purple", "square"), ("white", "triangle"), ("black", "circle")),
)
_RADII = {"small": (7.0, 9.5), "large": (13.5, 18.0)}  # in pixels of a picture of 128
_TRIES = 3000  # scenes that are looked at for one caption of a kind

Combination = tuple[str, str]


@dataclass(frozen=True)
class _Asked:
    """What is asked for by the options."""

    num: int
    size: int
    seed: int
    held: frozenset[Combination]
    absent: float
    captions: int
    kinds: tuple[str, ...]
    mentioned: bool
    group: bool
    merge: bool = False
    listed: str = "no"
    scale: float = 1.0
    most: int = 8


def read(place: str, options: Mapping[str, str]) -> Rows:
    """Rows of `train`, `dev`, `test` or `combinations`: a picture of three to eight shapes and a caption that is true of it alone one way.

    The combinations of colour and shape that are held back are in no picture and no caption of `train`, `dev` and `test`; in
    `combinations` every caption asks for one. `kind` says how a caption tells what it means (`world_captions`), `things` what is in the
    picture, `absent` the spans of phrases that nothing there is called.

    Args:
        options: `num` pictures; `size` of their sides in pixels, 64 to 1024; `seed`; `held=red-square,blue-circle` or `none`; `absent`, the
            share of captions one of whose phrases nothing is called; up to so many `captions` of each picture; `kinds=plain,relation` of
            captions; `mentioned=no` leaves out the boxes of things that are mentioned to tell another by; `group=no` leaves out `group`, by
            which a picture is kept from lying on both sides of a split: what is learned by heart may then be asked for; `scale` by which
            things are larger, 1 to 2, and `most` of them in a picture, 3 to 8: few large things are learned from fewer pictures;
            `merge=yes` joins a picture's captions to one, where they name different things; `listed=yes` adds one to each picture, or with
            `only` takes its captions' place, that lists every size, pattern, colour and shape, and each thing answers those that are true
            of it: these are soon learned so.
    Raises:
        BadUsage: another part or option.
    """
    if place not in PARTS:
        raise BadUsage(f"grounding-world:{place}: no such part{nearest(place, list(PARTS))}")
    asked = _asked(place, options)
    rows = [row for i in range(asked.num) for row in _rows(place, i, asked)]
    rows = merged(rows) if asked.merge else rows
    return rows if asked.group else [{key: value for key, value in row.items() if key != "group"} for row in rows]


def _rows(place: str, number: int, asked: _Asked) -> Iterator[dict[str, Any]]:
    seeds = [list(PARTS).index(place), asked.seed, number]
    draw = random.Random(repr(seeds))
    scene, told = _scene(draw, place == "combinations", asked)
    brush = np.random.default_rng(seeds)
    outlines = [_outline(thing, brush.uniform(-0.12, 0.12)) for thing in scene.things]
    boxes = [_box(pieces) for pieces in outlines]
    group = f"grounding-world:{place}#{number + 1}"
    common = {
        "image": paint.png(_painted(brush, scene, outlines)),
        "width": asked.size,
        "height": asked.size,
        "group": f"{group}?seed={asked.seed}",
        "things": [{**thing.words._asdict(), "box_xyxy": box} for thing, box in zip(scene.things, boxes, strict=True)],
    }
    if asked.listed != "no":
        told = [*(told if asked.listed == "yes" else ()), ("listed", listed(scene))]
    for k, (kind, caption) in enumerate(told):
        name = f"{group}.{k + 1}" if len(told) > 1 or asked.captions > 1 else group
        yield {
            "id": name,
            **common,
            **_grounded(caption, kind, scene, boxes, asked.mentioned),
        }


def _grounded(caption: Caption, kind: str, scene: Scene, boxes: Sequence[list[float]], mentioned: bool) -> dict[str, Any]:
    """A row's caption, objects and phrases."""
    text, phrases = as_text(caption)
    spans: dict[tuple[int, ...], list[list[int]]] = {}
    asked: dict[tuple[int, ...], bool] = {}
    for begin, end, phrase in phrases:
        spans.setdefault(phrase.things, []).append([begin, end])
        asked.setdefault(phrase.things, phrase.asked)
    nothing = spans.pop((), [])
    kept = {things: where for things, where in spans.items() if mentioned or asked[things]}
    answered: dict[int, list[list[int]]] = {}
    for things, where in kept.items():
        for i in things:
            answered.setdefault(i, []).extend(where)
    final = {i for things in kept if asked[things] for i in things}
    objects = [
        {"box_xyxy": boxes[i], "spans": where, "label": scene.things[i].words.shape, "final": i in final, "crowd": False}
        for i, where in answered.items()
    ]
    found = [
        {"spans": where, "boxes_xyxy": [boxes[i] for i in things], "kind": kind if asked[things] else "mentioned"}
        for things, where in kept.items()
    ]
    row = {"caption": text, "objects": objects, "phrases": found, "kind": kind}
    return row | ({"expression": True} if kind in EXPRESSIONS else {}) | ({"absent": nothing} if nothing else {})


# ---- options ------------------------------------------------------------------------------------------------------


def _asked(place: str, options: Mapping[str, str]) -> _Asked:
    chosen = sources.checked("grounding-world", options, OPTIONS)
    held = _held(chosen.get("held"))
    if place == "combinations" and not held:
        raise BadUsage("grounding-world:combinations: held=none: nothing is held back; name some, as in held=red-square")
    kinds = tuple(chosen["kinds"].split(",")) if "kinds" in chosen else tuple(KINDS)
    for kind in kinds:
        if kind not in KINDS:
            raise BadUsage(f"grounding-world: kinds={chosen['kinds']}: no kind {kind!r} of captions{nearest(kind, list(KINDS))}")
    return _Asked(
        _whole(chosen, "num", PARTS[place], 1, 10**8),
        _whole(chosen, "size", 128, 64, 1024),
        _whole(chosen, "seed", 0, 0, 2**63 - 1),
        held,
        _number(chosen, "absent", 0, 0, 1),
        _whole(chosen, "captions", 1, 1, 20),
        kinds,
        chosen.get("mentioned") != "no",
        chosen.get("group") != "no",
        chosen.get("merge") == "yes",
        chosen.get("listed", "no"),
        _number(chosen, "scale", 1, 1, 2),
        _whole(chosen, "most", 8, 3, 8),
    )


def _whole(options: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    given = options.get(name, str(usual))
    if not (given.isascii() and given.isdecimal() and least <= int(given) <= most):
        raise BadUsage(f"grounding-world: {name}={given}: expected a whole number from {least} to {most}")
    return int(given)


def _number(options: Mapping[str, str], name: str, usual: float, least: float, most: float) -> float:
    given = options.get(name, str(usual))
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise BadUsage(f"grounding-world: {name}={given}: expected a number from {least:g} to {most:g}")
    return number


def _held(given: str | None) -> frozenset[Combination]:
    """The combinations that are held back; what is left still has every colour and every shape more than once."""
    if given in (None, "none"):
        return frozenset() if given else frozenset(HELD)
    found = set()
    for pair in given.split(","):
        colour, _, shape = pair.partition("-")
        if colour not in COLOURS or shape not in SHAPES:
            wrong, known = (colour, COLOURS) if colour not in COLOURS else (shape, SHAPES)
            raise BadUsage(f"grounding-world: held={given}: {pair!r} is no COLOUR-SHAPE{nearest(wrong, known)}")
        found.add((colour, shape))
    left = set(itertools.product(COLOURS, SHAPES)) - found
    for k, word in [*((0, colour) for colour in COLOURS), *((1, shape) for shape in SHAPES)]:
        if sum(pair[k] == word for pair in left) < 2:
            raise BadUsage(f"grounding-world: held={given}: leaves fewer than two combinations with {word!r} to train on")
    return frozenset(found)


# ---- scenes -------------------------------------------------------------------------------------------------------


def _scene(draw: random.Random, new: bool, asked: _Asked) -> tuple[Scene, list[tuple[str, Caption]]]:
    """A scene of which a caption of a drawn kind is true, and captions of it, each of another kind while there are some.

    Args:
        new: the first caption, and all others, ask for a combination that training has not seen.
    """
    kind = _kind(draw, asked)
    for _ in range(_TRIES):
        scene = _things(draw, new, asked)
        if first := _captions(scene, kind, new, asked):
            break
    else:
        raise BadUsage(f"grounding-world: no scene of {_TRIES} has a caption of the kind {kind!r} with these combinations held back")
    told = [(kind, pick(draw, first))]
    for kind in _sampled(draw, asked.kinds, len(asked.kinds)) * asked.captions if asked.captions > 1 else ():
        kind = "absent" if draw.random() < asked.absent else kind
        others = [caption for caption in _captions(scene, kind, new, asked) if (kind, caption) not in told]
        if others and len(told) < asked.captions:
            told.append((kind, pick(draw, others)))
    return scene, told


def _kind(draw: random.Random, asked: _Asked) -> str:
    kind = asked.kinds[int(draw.random() * len(asked.kinds))]
    return "absent" if draw.random() < asked.absent else kind


def _captions(scene: Scene, kind: str, new: bool, asked: _Asked) -> list[Caption]:
    """Captions of a kind that this part may have."""
    make: Callable[[Scene], Iterator[Caption]] = absent if kind == "absent" else KINDS[kind]
    if not new:
        return [caption for caption in make(scene) if kind != "absent" or not any(_is_held(part, asked) for part in caption)]
    return [caption for caption in make(scene) if any(_is_held(part, asked) for part in caption)]


def _is_held(part: str | Phrase, asked: _Asked) -> bool:
    """Whether a phrase asks for a combination that is held back."""
    if isinstance(part, str) or not part.asked:
        return False
    singular = next((shape for shape in SHAPES if part.words.shape.startswith(shape)), "")  # of the words of a counted phrase
    return (part.words.colour, singular) in asked.held


def _things(draw: random.Random, new: bool, asked: _Asked) -> Scene:
    """Three to eight things of few colours and shapes, so that one word seldom tells them apart."""
    some = list(itertools.product(_sampled(draw, COLOURS, 2 + int(draw.random() * 3)), _sampled(draw, SHAPES, 2 + int(draw.random() * 2))))
    pool = [pair for pair in some if new or pair not in asked.held] or [draw_of(draw, sorted(_free(asked.held)))]
    first = draw_of(draw, sorted(asked.held)) if new else draw_of(draw, pool)
    wanted = 3 + int(draw.random() * (asked.most - 2))
    alike = min(wanted, draw_of(draw, (1, 1, 2, 3)))
    pairs = [first] * alike + [draw_of(draw, pool) for _ in range(wanted - alike)]
    found: list[Thing] = []
    for _ in range(8 * wanted):
        colour, shape = pairs[len(found)]
        thing = _placed(draw, colour, shape, asked)
        if all(max(abs(thing.x - o.x), abs(thing.y - o.y)) > _reach(thing) + _reach(o) + 2 for o in found):
            found.append(thing)
        if len(found) == wanted:
            break
    return Scene(tuple(found), asked.size) if len(found) > 2 else _things(draw, new, asked)


def _placed(draw: random.Random, colour: str, shape: str, asked: _Asked) -> Thing:
    size, pattern = draw_of(draw, SIZES), draw_of(draw, PATTERNS)
    low, high = _RADII[size]
    radius = (low + (high - low) * draw.random()) * asked.scale * asked.size / 128
    margin = 1.25 * radius + 2
    x, y = (margin + (asked.size - 2 * margin) * draw.random() for _ in range(2))
    return Thing(Words(size, pattern, colour, shape), x, y, radius)


def _reach(thing: Thing) -> float:
    """How far a shape of any kind, turned a little, may stretch to either side."""
    return 1.2 * thing.radius


@functools.cache
def _free(held: frozenset[Combination]) -> frozenset[Combination]:
    return frozenset(itertools.product(COLOURS, SHAPES)) - held


def _sampled(draw: random.Random, among: Sequence[str], num: int) -> list[str]:
    return sorted(among, key=lambda _: draw.random())[:num]


def draw_of(draw: random.Random, among: Sequence[Any]) -> Any:
    """One of some."""
    return among[int(draw.random() * len(among))]


# ---- pictures -----------------------------------------------------------------------------------------------------

_HUES = {"red": 0.99, "orange": 0.075, "yellow": 0.155, "green": 0.36, "blue": 0.61, "purple": 0.79, "white": 0.0, "black": 0.0}
_GREYS = {"white": ((0.0, 0.03), (0.96, 1.0)), "black": ((0.0, 0.1), (0.02, 0.08))}  # saturation and brightness
_BRIGHT = {"green": (0.55, 0.75), "purple": (0.6, 0.8)}


def _ring(corners: int, first: float, radius: float) -> Points:
    """Corners of a regular shape around 0; x to the right, y down."""
    angles = first + np.arange(corners) * (2 * math.pi / corners)
    return radius * np.stack([np.cos(angles), np.sin(angles)], -1)


_BAR = np.array([(-1, -0.36), (1, -0.36), (1, 0.36), (-1, 0.36)])
_PIECES: Mapping[str, tuple[Points, ...]] = {  # convex pieces of each shape of radius 1
    "circle": (_ring(24, 0, 1),),
    "square": (_ring(4, math.pi / 4, 1.25),),
    "triangle": (_ring(3, -math.pi / 2, 1.2) + np.array([0, 0.3]),),  # its middle is that of its box
    "diamond": (_ring(4, 0, 1.1),),
    "cross": (_BAR, _BAR[:, ::-1]),
}


def _outline(thing: Thing, turn: float) -> list[Points]:
    turned = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return [thing.radius * piece @ turned + (thing.x, thing.y) for piece in _PIECES[thing.words.shape]]


def _box(pieces: Sequence[Points]) -> list[float]:
    points = np.concatenate(pieces)
    return [*points.min(0).round(2).tolist(), *points.max(0).round(2).tolist()]


@functools.lru_cache(4)
def _at(side: int) -> np.ndarray:
    return paint.places(side, side)


def _painted(brush: np.random.Generator, scene: Scene, outlines: Sequence[list[Points]]) -> UInt8[np.ndarray, "h w 3"]:
    at = _at(scene.side)
    values = paint.sloped(brush, at, paint.colour(brush, brush.random(), (0.0, 0.12), (0.44, 0.54)))
    for thing, pieces in zip(scene.things, outlines, strict=True):
        window = paint.window(np.concatenate(pieces))
        covered = np.maximum.reduce([paint.coverage(piece, at[window]) for piece in pieces])
        values[window] += covered * (_fill(brush, thing.words, at[window]) - values[window])
    return paint.grained(brush, values)


def _fill(brush: np.random.Generator, words: Words, at: np.ndarray) -> np.ndarray:
    """The colour, or a pattern of it and a darker one (of black: a lighter)."""
    saturation, bright = _GREYS.get(words.colour, ((0.8, 1.0), _BRIGHT.get(words.colour, (0.8, 1.0))))
    own = paint.colour(brush, _HUES[words.colour] + brush.uniform(-0.012, 0.012), saturation, bright)
    if words.pattern == "plain":
        return own
    other = own + 55 if words.colour == "black" else own * (0.72 if words.colour == "white" else 0.5)
    return paint.texture(brush, at, other, own, ({"striped": "stripes", "dotted": "dots"}[words.pattern],))
