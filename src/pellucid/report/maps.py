"""Explained pictures: relevance over the picture by patches, methods or labels side by side."""

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from pellucid.errors import BadData
from pellucid.report import colour, number, records

SOURCE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")
COARSE = 64  # pixels of the longer side
MARKED = 3  # strongest patches that are outlined
MOST_PIXELS = 2048  # of a side; records hold far smaller ones
FAINT = 0.3  # share of the strongest from which a patch is outlined
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Spot:
    """A patch among the strongest: its place from the left upper corner, in patches."""

    row: int
    column: int
    title: str


@dataclass(frozen=True)
class Map:
    """Relevance over a picture.

    Args:
        source: the picture as a data URI; empty where it was not kept.
        shares: relevance as shares of the largest, by patch; 0 where nothing is told.
        untold: where that is.
        light: the relevance alone, one pixel per patch, as a data URI, to be drawn over a faded picture; `dark` for dark pages.
        spots: strongest first.
        spoken: what a reader who cannot see the map should know.
        span: height and width of the patches together as shares of the picture's.
        box: what is explained, where it is a box: left, top, right and bottom as shares of the picture's sides.
        outline: what is explained, where it is a region: the lines around it, each as a box without width or without height.
    """

    source: str
    shares: Float[np.ndarray, "h w"]
    light: str
    dark: str
    spots: tuple[Spot, ...]
    spoken: str
    span: tuple[float, float] = (1.0, 1.0)
    box: Box | None = None
    outline: tuple[Box, ...] = ()
    untold: Bool[np.ndarray, "h w"] | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.shares.shape
        return rows, columns

    @property
    def shown(self) -> tuple[float, float]:
        """Rows and columns that the picture is high and wide."""
        return self.shares.shape[0] / self.span[0], self.shares.shape[1] / self.span[1]


def view(found: records.Picture, name: str, words: Sequence[str], relevance: Sequence[records.Number], where: str) -> Map:
    """What is drawn of one relevance.

    Raises:
        BadData: numbers that do not fit the grid, or a picture that is none; the message begins with `where`.
    """
    source, (rows, columns) = checked(found, where)
    if len(relevance) != rows * columns:
        raise BadData(f"{where}: {len(relevance)} numbers for {rows} x {columns} patches; explain it again")
    given = np.array([r if r is not None and math.isfinite(r) else math.nan for r in relevance]).reshape(rows, columns)
    untold, known = np.isnan(given), np.nan_to_num(given, nan=0.0)
    largest = float(np.abs(known).max()) or 1.0
    spots = tuple(_spots(known, largest, words))
    spoken = f"Relevance by {name} over {rows} x {columns} patches." + (
        f" Strongest: {', '.join(s.title for s in spots)}." if spots else ""
    )
    if untold.any():
        spoken += f" Nothing is told of {int(untold.sum())} patches."
    shares, box = known / largest, box_of(found, where)
    layers = [_layer(shares, untold, dark) for dark in (False, True)]
    outline = outline_of(found, where)
    return Map(source, shares, layers[0], layers[1], spots, spoken, _span(found, where), box, outline, untold)


def box_of(found: records.Picture, where: str) -> Box | None:
    """The explained box, where there is one.

    Raises:
        BadData: it is none.
    """
    box = found.get("box_xyxy")
    if box is None:
        return None
    if len(box) != 4 or not all(0 <= x <= 1 for x in box):
        raise BadData(f"{where}: its box is {box}, not four shares of the picture's sides; explain it again")
    return box[0], box[1], box[2], box[3]


def outline_of(found: records.Picture, where: str) -> tuple[Box, ...]:
    """The lines around the explained region, at its holes, too; none where there is no region.

    Raises:
        BadData: it is none.
    """
    rows = found.get("region") or []
    if len({len(row) for row in rows}) > 1 or not set("".join(rows)) <= {"0", "1"}:
        raise BadData(f"{where}: its region is no grid of 0 and 1; explain it again")
    if not rows or not rows[0]:
        return ()
    cells = np.array([[cell == "1" for cell in row] for row in rows])
    high, wide = cells.shape
    across = [(left / wide, y / high, right / wide, y / high) for y, left, right in _edges(cells)]
    down = [(x / wide, top / high, x / wide, bottom / high) for x, top, bottom in _edges(cells.T)]
    return (*across, *down)


def _edges(cells: Bool[np.ndarray, "a b"]) -> list[tuple[int, int, int]]:
    """Where a row of cells differs from the one before: the row, the first place of a run and the one after its last."""
    borders = np.diff(np.pad(cells, ((1, 1), (0, 0))).astype(np.int8), axis=0) != 0
    steps = np.diff(np.pad(borders, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    begins, ends = np.argwhere(steps == 1).tolist(), np.argwhere(steps == -1).tolist()
    return [(row, first, last) for (row, first), (_, last) in zip(begins, ends, strict=True)]


def _span(found: records.Picture, where: str) -> tuple[float, float]:
    span = found.get("span") or [1.0, 1.0]
    if len(span) != 2 or not all(0.5 <= v <= 100 for v in span):
        raise BadData(f"{where}: its patches span {span} of the picture, not height and width; explain it again")
    return span[0], span[1]


def checked(found: records.Picture, where: str) -> tuple[str, tuple[int, int]]:
    """The picture's data URI, perhaps empty, and its grid.

    Raises:
        BadData: either is none.
    """
    source, grid = found.get("src", ""), found["grid"]
    if source and not SOURCE.fullmatch(source):
        raise BadData(f"{where}: its picture is no PNG or JPEG as base64 data; explain it again")
    if len(grid) != 2 or min(grid) < 1:
        raise BadData(f"{where}: its grid is {grid}, not rows and columns; explain it again")
    return source, (grid[0], grid[1])


def _spots(known: Float[np.ndarray, "h w"], largest: float, words: Sequence[str]) -> list[Spot]:
    order = np.argsort(-np.abs(known), axis=None, kind="stable")[:MARKED].tolist()
    strong = [i for i in order if abs(known.flat[i]) >= FAINT * largest]
    wide = known.shape[1]
    return [Spot(i // wide, i % wide, f"{words[i]} {number.significant(float(known.flat[i]), 2)}") for i in strong]


def _layer(shares: Float[np.ndarray, "h w"], untold: Bool[np.ndarray, "h w"], dark: bool) -> str:
    into = io.BytesIO()
    Image.fromarray(_coloured(shares, untold, dark)).save(into, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(into.getvalue()).decode()}"


def _coloured(shares: Float[np.ndarray, "h w"], untold: Bool[np.ndarray, "h w"], dark: bool) -> UInt8[np.ndarray, "h w 4"]:
    return np.where(untold[..., None], colour.blank(untold, dark), colour.over(shares, dark))


def picture_of(source: str, grid: tuple[int, int], side: int) -> Image.Image:
    """The picture in pixels, its longer side as told; of a source that was not kept, or is broken, a grey ground."""
    rows, columns = grid
    image = _opened(source) if source else None
    wide, high = image.size if image else (columns, rows)
    size = (max(1, round(side * wide / max(wide, high))), max(1, round(side * high / max(wide, high))))
    kind = Image.Resampling.NEAREST if max(wide, high) <= COARSE else Image.Resampling.BICUBIC
    return image.resize(size, kind) if image else Image.new("RGB", size, (150, 150, 150))


def coarse(source: str) -> bool:
    """Whether a picture has so few pixels that they are shown as squares."""
    image = _opened(source) if source else None
    return image is not None and max(image.size) <= COARSE


def _opened(source: str) -> Image.Image | None:
    try:
        image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        return image.convert("RGB") if max(image.size) <= MOST_PIXELS else None
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def drawn(found: Map, side: int, dark: bool = False, smooth: bool = False) -> Image.Image:
    """The map in pixels: colours over the faded picture.

    Args:
        side: of the longer side, in pixels.
        smooth: between the patches' middles colours go over into each other; else every patch is one colour.
    """
    rows, columns = (round(v) for v in found.shown)
    ground = colour.faded(np.asarray(picture_of(found.source, (rows, columns), side)), dark)
    kind = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    size = (max(1, round(ground.shape[1] * found.span[1])), max(1, round(ground.shape[0] * found.span[0])))
    untold = np.zeros(found.grid, dtype=bool) if found.untold is None else found.untold
    within = (0, 0, ground.shape[1], ground.shape[0])  # the last patches reach over the picture's edge
    shares = Image.fromarray(found.shares.astype(np.float32)).resize(size, kind).crop(within)
    hidden = Image.fromarray(untold).resize(size, Image.Resampling.NEAREST).crop(within)
    layer = Image.fromarray(_coloured(np.asarray(shares, dtype=np.float64), np.asarray(hidden), dark))
    return Image.alpha_composite(Image.fromarray(ground).convert("RGBA"), layer).convert("RGB")
