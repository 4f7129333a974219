"""Generated pictures: textured shapes whose boxes and outlines are known exactly, and unlabelled textures; no download.

A picture depends on its set, its number and the options, and on nothing else.
"""

import colorsys
import io
import math
from collections.abc import Mapping

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image

from pellucid.coerce import nearest
from pellucid.data import sources
from pellucid.data.sources import Rows
from pellucid.errors import BadUsage

CLASSES = ("disc", "square", "triangle")
SHAPES: sources.Choices = {"num": (), "sizes": ("same", "mixed"), "masks": ("yes", "no")}
TEXTURES: sources.Choices = {"num": (), "sizes": ("same", "mixed")}
SIDE, SIDES = 96, (64, 128)  # pixels of a picture's sides: all the same, or drawn for each picture and side
_RADII = 10.0, 20.0  # from a shape's middle to its corners, in pixels
_CORNERS = {"disc": 32, "square": 4, "triangle": 3}
_PARTS = {"shapes": {"train": 400, "test": 200, "away": 200}, "textures": {"train": 1000, "test": 200}}
_APART = 0.02  # the share of a shape's box that another's may cover
_CELLS = 6, 12  # patches of one texture in a picture of textures

Points = Float[np.ndarray, "_ 2"]
Values = Float[np.ndarray, "h w 3"]


def read_shapes(place: str, options: Mapping[str, str]) -> Rows:
    """Rows of `train`, `test` or `away`: one to three discs, squares and triangles a picture, none hidden, as `coco:` gives them.

    The shapes of `train` and `test` are of strong colours in stripes or checks on a dull ground; those of `away` are pale, dotted, and
    lie on a coloured ground, so that colour and texture have moved and outlines have not.

    Args:
        options: `num` pictures; `sizes=mixed` for sides of 64 to 128 pixels instead of 96; `masks=yes` for outlines as `segmentation`.
    Raises:
        BadUsage: another part or option.
    """
    chosen = sources.checked("shapes", options, SHAPES)
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
                "image": _png(_scene(draw, width, height, [points for _, points in outlines], place == "away")),
                "image_id": i + 1,
                "width": width,
                "height": height,
                "labels": [label for label in CLASSES if label in present],
                "classes": CLASSES,
                "category_ids": (1, 2, 3),
                "objects": objects,
            }
        )
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
        rows.append({"id": f"textures:{place}#{i + 1}", "image": _png(_patchwork(draw, width, height)), "width": width, "height": height})
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


def _window(points: Points) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a shape may touch."""
    (left, top), (right, bottom) = np.floor(points.min(0)).astype(int).tolist(), np.ceil(points.max(0)).astype(int).tolist()
    return slice(top - 1, bottom + 1), slice(left - 1, right + 1)


def _coverage(points: Points, at: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w 1"]:
    """How much of each pixel a convex shape covers, from 0 to 1: the edge is as soft as half a pixel on either side."""
    edges = np.roll(points, -1, 0) - points
    turn = np.sign(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0])
    normals = turn * np.stack([edges[:, 1], -edges[:, 0]], -1) / np.linalg.norm(edges, axis=-1, keepdims=True)
    outside = normals @ rearrange(at, "h w c -> c (h w)") - (points * normals).sum(-1, keepdims=True)  # edges (h w)
    return rearrange((0.5 - outside.max(0)).clip(0, 1), "(h w) -> h w 1", h=len(at))


# ---- paint --------------------------------------------------------------------------------------------------------


def _scene(draw: np.random.Generator, width: int, height: int, outlines: list[Points], away: bool) -> UInt8[np.ndarray, "h w 3"]:
    at = _places(width, height)
    hue, dull, strong = draw.random(), (0.05, 0.25), (0.6, 0.95)
    ground = _ground(draw, at, _colour(draw, hue, strong if away else dull, (0.3, 0.7)))
    for points in outlines:
        hue, window = draw.random(), _window(points)
        light, dark = (_colour(draw, hue, dull if away else strong, bright) for bright in ((0.8, 1.0), (0.35, 0.55)))
        paint = _texture(draw, at[window], light, dark, ("dots",) if away else ("stripes", "checks"))
        ground[window] += _coverage(points, at[window]) * (paint - ground[window])
    return _bytes(draw, ground)


def _patchwork(draw: np.random.Generator, width: int, height: int) -> UInt8[np.ndarray, "h w 3"]:
    """Cells of the nearest of some points, each of one texture, and some shapes of others laid over."""
    at = _places(width, height)
    middles = draw.uniform((0, 0), (width, height), (int(draw.integers(*_CELLS)), 2))
    cell = ((middles**2).sum(-1) - 2 * at @ middles.T).argmin(-1)
    found = np.empty((height, width, 3))
    for i in range(len(middles)):
        mine = cell == i
        found[mine] = _any_texture(draw, at[mine])
    for _, points in _outlines(draw, width, height):
        window = _window(points)
        found[window] += _coverage(points, at[window]) * (_any_texture(draw, at[window]) - found[window])
    return _bytes(draw, found)


def _any_texture(draw: np.random.Generator, at: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 3"]:
    first, second = draw.random(2).tolist()
    light, dark = (_colour(draw, hue, (0.2, 1.0), bright) for hue, bright in ((first, (0.7, 1.0)), (second, (0.1, 0.5))))
    return _texture(draw, at, light, dark, ("stripes", "checks", "dots"))


def _texture(
    draw: np.random.Generator, at: Float[np.ndarray, "*n 2"], light: np.ndarray, dark: np.ndarray, kinds: tuple[str, ...]
) -> Float[np.ndarray, "*n 3"]:
    """A pattern of two colours, its direction, period and phase drawn."""
    kind, turn, period = kinds[draw.integers(len(kinds))], draw.uniform(0, math.pi), draw.uniform(5, 10)
    axes = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * (2 * math.pi / period)
    waves = np.sin(at @ axes + draw.uniform(0, 2 * math.pi, 2))
    height = {"stripes": waves[..., 0], "checks": 2 * waves[..., 0] * waves[..., 1], "dots": waves[..., 0] + waves[..., 1] - 0.8}[kind]
    share = (0.5 + 1.5 * height).clip(0, 1)[..., None]
    return dark + share * (light - dark)


def _ground(draw: np.random.Generator, at: Float[np.ndarray, "h w 2"], colour: np.ndarray) -> Values:
    """A colour that grows lighter one way."""
    way = draw.normal(size=2)
    slope = (at @ (way / np.linalg.norm(way)))[..., None] / max(at.shape[:2])
    return colour + 60 * (slope - slope.mean())


def _colour(draw: np.random.Generator, hue: float, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, draw.uniform(*saturation), draw.uniform(*value)))


def _places(width: int, height: int) -> Float[np.ndarray, "{height} {width} 2"]:
    """x and y of the middle of every pixel."""
    return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)


def _bytes(draw: np.random.Generator, values: Values) -> UInt8[np.ndarray, "h w 3"]:
    """Values as a camera would give them: with a little noise, from 0 to 255."""
    grain = draw.integers(-6, 7, values.shape[:2])[..., None]
    return (values + grain).round().clip(0, 255).astype(np.uint8)


def _png(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
