"""Generated pictures: textured shapes whose boxes and outlines are known exactly, and unlabelled textures; no download.

A picture depends on its set, its number and the options, and on nothing else.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from pellucid.coerce import nearest
from pellucid.data import paint, sources
from pellucid.data.paint import Points
from pellucid.data.sources import Rows
from pellucid.errors import BadUsage

CLASSES = ("disc", "square", "triangle")
SHAPES: sources.Choices = {"num": (), "sizes": ("same", "mixed"), "masks": ("yes", "no"), "maps": (), "boxes": ()}
TEXTURES: sources.Choices = {"num": (), "sizes": ("same", "mixed")}
SIDE, SIDES = 96, (64, 128)  # pixels of a picture's sides: all the same, or drawn for each picture and side
_RADII = 10.0, 20.0  # from a shape's middle to its corners, in pixels
_CORNERS = {"disc": 32, "square": 4, "triangle": 3}
_PARTS = {"shapes": {"train": 400, "test": 200, "away": 200}, "textures": {"train": 1000, "test": 200}}
_APART = 0.02  # the share of a shape's box that another's may cover
_GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples lie evenly between whole numbers, wherever one stops
_CELLS = 6, 12  # patches of one texture in a picture of textures


def read_shapes(place: str, options: Mapping[str, str]) -> Rows:
    """Rows of `train`, `test` or `away`: one to three discs, squares and triangles a picture, none hidden, as `coco:` gives them.

    The shapes of `train` and `test` are of strong colours in stripes or checks on a dull ground; those of `away` are pale, dotted, and
    lie on a coloured ground, so that colour and texture have moved and outlines have not.

    Args:
        options: `num` pictures; `sizes=mixed` for sides of 64 to 128 pixels instead of 96; `masks=yes` for outlines as `segmentation`;
            `maps=yes` for a `map` of the pixels' classes (`map_sources`), the boxes then being those of each shape's pixels;
            `maps=0.3` gives it to this share of the pictures, and `boxes=0.8` objects to that share: every picture has one of
            them, and as few as can be both. The pictures stay what they are.
    Raises:
        BadUsage: another part or option, or shares by which a picture would have neither.
    """
    chosen = sources.checked("shapes", options, SHAPES)
    boxed, mapped = _shares(place, chosen)
    rows: Rows = []
    for i in range(_num("shapes", place, chosen)):
        draw = _stream("shapes", place, i)
        width, height = _size(draw, chosen)
        outlines = _outlines(draw, width, height)
        objects = [
            {
                "label": label,
                "box_xyxy": [*points.min(0).tolist(), *points.max(0).tolist()],
                "area": _area(points),
                "crowd": False,
                "id": 10 * i + k + 1,
                **({"segmentation": [points.ravel().tolist()]} if chosen.get("masks") == "yes" else {}),
            }
            for k, (label, points) in enumerate(outlines)
        ]
        present = {label for label, _ in outlines}
        rows.append(
            {
                "id": f"shapes:{place}#{i + 1}",
                "image": paint.png(_scene(draw, width, height, [points for _, points in outlines], place == "away")),
                "image_id": i + 1,
                "width": width,
                "height": height,
                "labels": [label for label in CLASSES if label in present],
                "classes": CLASSES,
                "category_ids": (1, 2, 3),
                "objects": objects,
            }
        )
        if mapped:
            rows[-1] = _with_map(rows[-1], [points for _, points in outlines], _standing(i) < boxed, _standing(i) >= 1 - mapped)
    return rows


def read_textures(place: str, options: Mapping[str, str]) -> Rows:
    """Rows of `train` or `test`: pictures without labels, patched together of stripes, checks and dots, no two patches alike.

    Args:
        options: `num` pictures; `sizes=mixed` as in `read_shapes`.
    Raises:
        BadUsage: another part or option.
    """
    chosen = sources.checked("textures", options, TEXTURES)
    rows: Rows = []
    for i in range(_num("textures", place, chosen)):
        draw = _stream("textures", place, i)
        width, height = _size(draw, chosen)
        image = paint.png(_patchwork(draw, width, height))
        rows.append({"id": f"textures:{place}#{i + 1}", "image": image, "width": width, "height": height})
    return rows


def _num(kind: str, place: str, options: Mapping[str, str]) -> int:
    """How many pictures are asked for."""
    parts = _PARTS[kind]
    if place not in parts:
        raise BadUsage(f"{kind}:{place}: no such part{nearest(place, list(parts))}")
    given = options.get("num", str(parts[place]))
    if not given.isdecimal() or int(given) < 1:
        raise BadUsage(f"{kind}: num={given}: expected a whole number above 0")
    return int(given)


def _shares(place: str, options: Mapping[str, str]) -> tuple[float, float]:
    """The shares of pictures that have objects and that have a map."""
    found = []
    for name, default in (("boxes", "yes"), ("maps", "no")):
        text = options.get(name, default)
        number = {"yes": 1.0, "no": 0.0}.get(text)
        try:
            number = float(text) if number is None else number
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            raise BadUsage(f"shapes: {name}={text}: expected yes, no, or a share of the pictures from 0 to 1")
        found.append(number)
    if sum(found) < 1 - 1e-9:
        raise BadUsage(f"shapes:{place}: boxes={found[0]:g} and maps={found[1]:g}: some pictures would have neither; make it 1 together")
    return found[0], found[1]


def _standing(number: int) -> float:
    """Where a picture stands between 0 and 1, evenly spread whatever their number."""
    return (number + 0.5) * _GOLDEN % 1


def _stream(kind: str, place: str, number: int) -> np.random.Generator:
    return np.random.default_rng([list(_PARTS).index(kind), list(_PARTS[kind]).index(place), number])


def _size(draw: np.random.Generator, options: Mapping[str, str]) -> tuple[int, int]:
    if options.get("sizes") != "mixed":
        return SIDE, SIDE
    width, height = draw.integers(SIDES[0], SIDES[1] + 1, 2).tolist()
    return width, height


# ---- outlines -----------------------------------------------------------------------------------------------------


def _outlines(draw: np.random.Generator, width: int, height: int) -> list[tuple[str, Points]]:
    """Class and corners of one to three shapes that lie in the picture, nearly free of each other."""
    wanted, found = int(draw.integers(1, 4)), list[tuple[str, Points]]()
    for _ in range(30):
        label = CLASSES[draw.integers(len(CLASSES))]
        radius, turn = draw.uniform(*_RADII), draw.uniform(0, 2 * math.pi)
        angles = turn + np.arange(_CORNERS[label]) * (2 * math.pi / _CORNERS[label])
        corners = radius * np.stack([np.cos(angles), np.sin(angles)], -1)
        low, high = 1 - corners.min(0), (width, height) - corners.max(0) - 1
        points = (corners + draw.uniform(low, high)).round(2)
        if all(_covered(points, other) < _APART and _covered(other, points) < _APART for _, other in found):
            found.append((label, points))
        if len(found) == wanted:
            break
    return found


def _covered(one: Points, other: Points) -> float:
    """The share of one's box that lies in the other's."""
    sides = np.minimum(one.max(0), other.max(0)) - np.maximum(one.min(0), other.min(0))
    return sides.clip(min=0).prod() / (one.max(0) - one.min(0)).prod()


def _area(points: Points) -> float:
    x, y = points.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _with_map(row: dict[str, Any], outlines: list[Points], boxed: bool, mapped: bool) -> dict[str, Any]:
    """The row with its boxes around the pixels that its shapes have most of, its map of these pixels, or only one of both."""
    from pellucid.data.maps import encode

    at, indices = paint.places(row["width"], row["height"]), np.zeros((row["height"], row["width"]), dtype=np.uint8)
    objects = []
    for found, points in zip(row["objects"], outlines, strict=True):
        inside = paint.coverage(points, at)[..., 0] >= 0.5
        indices[inside] = CLASSES.index(found["label"]) + 1
        (top, bottom), (left, right) = (np.flatnonzero(inside.any(axis))[[0, -1]].tolist() for axis in (1, 0))
        objects.append({**found, "box_xyxy": [float(x) for x in (left, top, right + 1, bottom + 1)], "area": float(inside.sum())})
    told = {key: value for key, value in row.items() if key != "objects"}
    return told | ({"objects": objects} if boxed else {}) | ({"map": encode(indices)} if mapped else {})


# ---- paint --------------------------------------------------------------------------------------------------------


def _scene(draw: np.random.Generator, width: int, height: int, outlines: list[Points], away: bool) -> UInt8[np.ndarray, "h w 3"]:
    at = paint.places(width, height)
    hue, dull, strong = draw.random(), (0.05, 0.25), (0.6, 0.95)
    ground = paint.sloped(draw, at, paint.colour(draw, hue, strong if away else dull, (0.3, 0.7)))
    for points in outlines:
        hue, window = draw.random(), paint.window(points)
        light, dark = (paint.colour(draw, hue, dull if away else strong, bright) for bright in ((0.8, 1.0), (0.35, 0.55)))
        pattern = paint.texture(draw, at[window], light, dark, ("dots",) if away else ("stripes", "checks"))
        ground[window] += paint.coverage(points, at[window]) * (pattern - ground[window])
    return paint.grained(draw, ground)


def _patchwork(draw: np.random.Generator, width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
    """Cells of the nearest of some points, each of one texture, and some shapes of others laid over."""
    at = paint.places(width, height)
    middles = draw.uniform((0, 0), (width, height), (int(draw.integers(*_CELLS)), 2))
    cell = ((middles**2).sum(-1) - 2 * at @ middles.T).argmin(-1)
    found = np.empty((height, width, 3))
    for i in range(len(middles)):
        mine = cell == i
        found[mine] = _any_texture(draw, at[mine])
    for _, points in _outlines(draw, width, height):
        window = paint.window(points)
        found[window] += paint.coverage(points, at[window]) * (_any_texture(draw, at[window]) - found[window])
    return paint.grained(draw, found)


def _any_texture(draw: np.random.Generator, at: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 3"]:
    first, second = draw.random(2).tolist()
    light, dark = (paint.colour(draw, hue, (0.2, 1.0), bright) for hue, bright in ((first, (0.7, 1.0)), (second, (0.1, 0.5))))
    return paint.texture(draw, at, light, dark, ("stripes", "checks", "dots"))
