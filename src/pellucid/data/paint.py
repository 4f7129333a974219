"""Paint of generated pictures: convex shapes with soft edges, patterns of two colours, grounds. Chance is of the stream handed in."""

import colorsys
import io
import math

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image

Points = Float[np.ndarray, "_ 2"]
Values = Float[np.ndarray, "h w 3"]


def places(width: int, height: int) -> Float[np.ndarray, "{height} {width} 2"]:
    """x and y of the middle of every pixel."""
    return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)


def window(points: Points) -> tuple[slice, slice]:
    """Rows and columns of the pixels that a shape may touch."""
    (left, top), (right, bottom) = np.floor(points.min(0)).astype(int).tolist(), np.ceil(points.max(0)).astype(int).tolist()
    return slice(top - 1, bottom + 1), slice(left - 1, right + 1)


def coverage(points: Points, at: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w 1"]:
    """How much of each pixel a convex shape covers, from 0 to 1: the edge is as soft as half a pixel on either side."""
    edges = np.roll(points, -1, 0) - points
    turn = np.sign(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0])
    normals = turn * np.stack([edges[:, 1], -edges[:, 0]], -1) / np.linalg.norm(edges, axis=-1, keepdims=True)
    outside = normals @ rearrange(at, "h w c -> c (h w)") - (points * normals).sum(-1, keepdims=True)  # edges (h w)
    return rearrange((0.5 - outside.max(0)).clip(0, 1), "(h w) -> h w 1", h=len(at))


def colour(draw: np.random.Generator, hue: float, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    """A colour of this hue, from 0 to 255, its saturation and brightness drawn between the bounds."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, draw.uniform(*saturation), draw.uniform(*value)))


def texture(
    draw: np.random.Generator, at: Float[np.ndarray, "*n 2"], light: np.ndarray, dark: np.ndarray, kinds: tuple[str, ...]
) -> Float[np.ndarray, "*n 3"]:
    """A pattern of two colours, its direction, period and phase drawn."""
    kind, turn, period = kinds[draw.integers(len(kinds))], draw.uniform(0, math.pi), draw.uniform(5, 10)
    axes = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) * (2 * math.pi / period)
    waves = np.sin(at @ axes + draw.uniform(0, 2 * math.pi, 2))
    height = {"stripes": waves[..., 0], "checks": 2 * waves[..., 0] * waves[..., 1], "dots": waves[..., 0] + waves[..., 1] - 0.8}[kind]
    share = (0.5 + 1.5 * height).clip(0, 1)[..., None]
    return dark + share * (light - dark)


def sloped(draw: np.random.Generator, at: Float[np.ndarray, "h w 2"], colour: np.ndarray) -> Values:
    """A colour that grows lighter one way."""
    way = draw.normal(size=2)
    slope = (at @ (way / np.linalg.norm(way)))[..., None] / max(at.shape[:2])
    return colour + 60 * (slope - slope.mean())


def grained(draw: np.random.Generator, values: Values) -> UInt8[np.ndarray, "h w 3"]:
    """Values as a camera would give them: with a little noise, from 0 to 255."""
    grain = draw.integers(-6, 7, values.shape[:2])[..., None]
    return (values + grain).round().clip(0, 255).astype(np.uint8)


def png(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
