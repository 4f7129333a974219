"""CLEVR's programs run on a scene, and the noun phrases of a caption that its steps speak of."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pellucid.errors import BadData

Attributes = frozenset[str]

_WORDS = {
    **{"large": "large", "big": "large", "small": "small", "tiny": "small"},
    **{colour: colour for colour in ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")},
    **{"rubber": "rubber", "matte": "rubber", "metal": "metal", "metallic": "metal", "shiny": "metal"},
    **{"sphere": "sphere", "ball": "sphere", "cube": "cube", "block": "cube", "cylinder": "cylinder"},
    **{"thing": "", "object": "", "anything": ""},
}
_ADJECTIVES = "|".join(word for word, meaning in _WORDS.items() if meaning not in ("", "sphere", "cube", "cylinder"))
_NOUN = re.compile(rf"\b(?:(?:{_ADJECTIVES})\s+)*(?:sphere|ball|cube|block|cylinder|thing|object|anything)s?\b", re.IGNORECASE)
_ATTRIBUTES = ("size", "color", "material", "shape")
_SETS = ("unique", "exist", "count")  # steps at which a caption has named objects


class Unclear(Exception):
    """Which of the caption's phrases names an object cannot be told."""


class Named(NamedTuple):
    """Objects of a scene, and the phrases that name them."""

    objects: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


class _Wanted(NamedTuple):
    """Objects of a scene, and the attributes by which they are called."""

    objects: tuple[int, ...]
    attributes: Attributes


def kind_of(step: Mapping[str, Any]) -> str:
    """What a step does; CLEVR calls it `function`, CLEVR-Ref+ `type`."""
    return str(step.get("function") or step.get("type"))


def named(caption: str, program: Sequence[Mapping[str, Any]], scene: Mapping[str, Any], where: str, final: bool = False) -> list[Named]:
    """The objects that each unique, exist and count step finds, with the phrases of the caption that have just these attributes.

    Args:
        final: the last step is such a one, too, as in expressions.
    Raises:
        Unclear: no phrase has them, or several have that speak of different objects.
        BadData: a step is unknown, or finds several objects where one is expected.
    """
    states = _run(program, scene, where)
    wanted = [want for i, step in enumerate(program) if kind_of(step) in _SETS for want in _called(program, states, step["inputs"][0])]
    if final:
        wanted += _called(program, states, len(program) - 1)
    phrases = list(_phrases(caption))
    found = []
    for attributes in dict.fromkeys(want.attributes for want in wanted):
        sets = {want.objects for want in wanted if want.attributes == attributes}
        spans = tuple(span for span, words in phrases if words == attributes)
        if sets == {()}:
            continue
        told = f"{where}: {len(spans)} phrases say {' '.join(sorted(attributes)) or 'thing'!r} and mean {len(sets)} sets of objects"
        if not spans or len(sets) > 1:
            raise Unclear(told)
        found.append(Named(next(iter(sets)), spans))
    return found


def asked(program: Sequence[Mapping[str, Any]], scene: Mapping[str, Any], where: str) -> tuple[int, ...]:
    """The objects that the whole expression asks for."""
    told = program[-1].get("_output")
    if isinstance(told, list):
        return tuple(told)
    last = _run(program, scene, where)[-1]
    return last if isinstance(last, tuple) else (last,)


def spans_of_objects(found: Sequence[Named]) -> dict[int, list[list[int]]]:
    """Object -> the spans that name it."""
    spans: dict[int, set[tuple[int, int]]] = {}
    for one in found:
        for index in one.objects:
            spans.setdefault(index, set()).update(one.spans)
    return {index: [list(span) for span in sorted(several)] for index, several in spans.items()}


def _phrases(caption: str) -> Iterator[tuple[tuple[int, int], Attributes]]:
    for match in _NOUN.finditer(caption):
        words = [word.lower() for word in match[0].split()]
        last = words[-1] if words[-1] in _WORDS else words[-1].removesuffix("s")
        yield match.span(), frozenset(_WORDS[word] for word in (*words[:-1], last)) - {""}


def _called(program: Sequence[Mapping[str, Any]], states: Sequence[Any], at: int) -> Iterator[_Wanted]:
    """What the objects of a step are called: by the filters just before it; each side of a union by its own."""
    objects, attributes = states[at], set()
    if not isinstance(objects, tuple):  # one that `unique` has found: its own step has told
        return
    while kind_of(program[at]).startswith("filter_"):
        if kind_of(program[at]).removeprefix("filter_") in _ATTRIBUTES:
            attributes.add(_value(program[at]))
        at = program[at]["inputs"][0]
    if kind_of(program[at]) == "union":
        for side in program[at]["inputs"]:
            for want in _called(program, states, side):
                yield want._replace(objects=tuple(i for i in want.objects if i in objects))
    if attributes or kind_of(program[at]) != "union":
        yield _Wanted(objects, frozenset(attributes))


def _value(step: Mapping[str, Any]) -> str:
    values = step.get("value_inputs") or step.get("side_inputs") or [""]
    return str(values[0])


# ---- running --------------------------------------------------------------------------------------------------------


def _run(program: Sequence[Mapping[str, Any]], scene: Mapping[str, Any], where: str) -> list[Any]:
    """What each step gives: objects as a tuple, one object as its index, and None for what is no object."""
    states: list[Any] = []
    try:
        for step in program:
            states.append(_step(step, [states[i] for i in step["inputs"]], scene, where))
    except (KeyError, IndexError, TypeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise BadData(f"{where}: step {len(states)} of the program does not fit its scene ({told})") from None
    return states


def _step(step: Mapping[str, Any], given: Sequence[Any], scene: Mapping[str, Any], where: str) -> Any:
    kind, things = kind_of(step), scene["objects"]
    name, _, attribute = kind.partition("_")
    if kind == "scene":
        return tuple(range(len(things)))
    if kind in ("filter_visible", "filter_ordinal"):
        return tuple(step["_output"])
    if name == "filter" and attribute in _ATTRIBUTES:
        return tuple(i for i in given[0] if things[i][attribute] == _value(step))
    if name == "same" and attribute in _ATTRIBUTES:
        return tuple(i for i, thing in enumerate(things) if i != given[0] and thing[attribute] == things[given[0]][attribute])
    if kind == "unique":
        if len(given[0]) != 1:
            raise BadData(f"{where}: the program expects one object and the scene has {len(given[0])}; are these its questions?")
        return given[0][0]
    if kind == "relate":
        return tuple(sorted(scene["relationships"][_value(step)][given[0]]))
    if kind in ("union", "intersect"):
        both = set(given[0]) | set(given[1]) if kind == "union" else set(given[0]) & set(given[1])
        return tuple(sorted(both))
    if kind in ("exist", "count", "less_than", "greater_than") or name in ("query", "equal"):
        return None
    raise BadData(f"{where}: the program has a step {kind!r}, which CLEVR's do not have")
