"""Relevance over a picture for the terminal: half blocks of colour, or shades where there is none."""

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pellucid.explain.render import AGAINST, FOR, SHADES, SHADES_AGAINST, checks

ACROSS = 28  # columns that a map fills, about
WIDEST = 32  # patches in a row that are told apart
TOP = 3
UNTOLD, BLANK = "·", 24  # a letter, and the grey (0..255) of a patch of which nothing is known


@dataclass(frozen=True)
class Mosaic:
    """A map; the strongest patch is full, blue where it speaks for the answer, orange where against.

    Args:
        shares: of the strongest patch, by rows and columns; NaN where nothing is told.
        source: the picture below, as a data URI; empty for none.
        span: height and width of the patches together as shares of the picture's.
    """

    shares: Float[np.ndarray, "h w"]
    source: str = ""
    span: tuple[float, float] = (1.0, 1.0)

    @property
    def scale(self) -> int:
        """Columns of a patch; it is as many half lines high."""
        return max(1, round(ACROSS / self.shares.shape[1]))

    @property
    def columns(self) -> int:
        """Columns of the whole."""
        return self.shares.shape[1] * self.scale

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as it is."""
        return Measurement(self.columns, self.columns)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """The lines."""
        yield from self._shades() if console.color_system is None else self._blocks()

    def _blocks(self) -> Iterator[Segment]:
        """Two rows of pixels to a line: the upper as the letter's colour, the lower as its ground."""
        shares = np.kron(self.shares, np.ones((self.scale, self.scale)))
        shares = np.pad(shares, ((0, len(shares) % 2), (0, 0)))
        pixels = _coloured(shares, _ground(self.source, shares.shape, self.span))
        for upper, lower in zip(pixels[::2].tolist(), pixels[1::2].tolist(), strict=True):
            for above, below in zip(upper, lower, strict=True):
                yield Segment("▀", Style(color="#{:02x}{:02x}{:02x}".format(*above), bgcolor="#{:02x}{:02x}{:02x}".format(*below)))
            yield Segment.line()

    def _shades(self) -> Iterator[Segment]:
        """A letter says strength and side."""
        shares = (
            self.shares
            if self.scale > 1
            else np.stack([_mean(some, (0,)) for some in np.array_split(self.shares, math.ceil(len(self.shares) / 2))])
        )
        for row in shares.tolist():
            letters = [UNTOLD if v != v else (SHADES if v >= 0 else SHADES_AGAINST)[math.ceil(4 * abs(v) - 0.5)] for v in row]
            for _ in range(max(1, self.scale // 2)):
                yield Segment("".join(letter * self.scale for letter in letters))
                yield Segment.line()


def mosaic(values: Sequence[float | None], picture: Mapping[str, Any]) -> Mosaic:
    """The map of a record's relevance over its picture; of many patches, means of neighbours."""
    known = np.array([v if v is not None and math.isfinite(v) else math.nan for v in values]).reshape(picture["grid"])
    step = math.ceil(known.shape[1] / WIDEST)
    if step > 1:
        rows, columns = (-(-side // step) * step for side in known.shape)
        known = np.pad(known, ((0, rows - known.shape[0]), (0, columns - known.shape[1])), constant_values=math.nan)
        known = _mean(known.reshape(rows // step, step, columns // step, step), (1, 3))
    down, across = picture.get("span") or (1.0, 1.0)
    return Mosaic(known / (np.nan_to_num(np.abs(known)).max() or 1.0), picture.get("src", ""), (down, across))


def _mean(values: Float[np.ndarray, "*n"], axes: tuple[int, ...]) -> Float[np.ndarray, "*m"]:
    """Mean of the numbers there are; NaN where there are none."""
    known = np.isfinite(values)
    count = known.sum(axes)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axes) / np.maximum(count, 1), np.nan)


def _ground(source: str, shape: tuple[int, ...], span: tuple[float, float] = (1.0, 1.0)) -> Float[np.ndarray, "h w"]:
    """The picture's lightness, 0.25 to 0.75; even where there is none, and beyond its edges as at them."""
    from PIL import Image

    if not source:
        return np.full(shape, 0.35)
    image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("L")
    high, wide = (min(side, max(1, round(side / reach))) for side, reach in zip(shape, span, strict=True))
    seen = np.asarray(image.resize((wide, high), Image.Resampling.BOX), dtype=np.float64) / 255
    return 0.25 + 0.5 * np.pad(seen, ((0, shape[0] - high), (0, shape[1] - wide)), "edge")


def _coloured(shares: Float[np.ndarray, "h w"], ground: Float[np.ndarray, "h w"]) -> Any:
    """Red, green and blue of each pixel."""
    side = np.where((shares >= 0)[..., None], np.array(FOR), np.array(AGAINST))
    strength = np.nan_to_num(np.abs(shares))[..., None]
    seen = np.round(255 * ground[..., None] * (1 - strength) + side * strength)
    return np.where(np.isnan(shares)[..., None], BLANK, seen).astype(int)


def maps(record: Mapping[str, Any], width: int) -> Group:
    """The maps of one picture next to each other, as many as a line of so many columns holds, each with its checks."""
    cells = [_cell(name, record["words"], one, record["picture"]) for name, one in record["methods"].items()]
    return beside(cells, width)


def flow(record: Mapping[str, Any], width: int) -> Group:
    """The maps of one method at each site, from below to above."""
    found, picture = record["flow"], record["picture"]
    spans = found.get("spans") or [[1.0, 1.0]] * len(found["grids"])
    rows = zip(found["sites"], found["grids"], spans, found["relevance"], strict=True)
    drawn = [(site, mosaic(row, {**picture, "grid": grid, "span": span})) for site, grid, span, row in rows]
    title = Text(f"flow ({found['method'].replace('_', ' ')})", "dim")
    return Group(title, beside([(one.columns, Group(Text(site), one)) for site, one in drawn], width))


def beside(cells: Sequence[tuple[int, RenderableType]], width: int) -> Group:
    """Cells of so many columns next to each other, as many to a line as fit."""
    lines: list[list[tuple[int, RenderableType]]] = []
    left = -1
    for room, cell in cells:
        if room > left:
            lines.append([])
            left = width
        lines[-1].append((room, cell))
        left -= room + 2
    return Group(*(part for line in lines for part in (_line(line), Text(""))))


def _line(cells: Sequence[tuple[int, RenderableType]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for room, _ in cells:
        table.add_column(width=room)
    table.add_row(*(cell for _, cell in cells))
    return table


def _cell(name: str, words: Sequence[str], one: Mapping[str, Any], picture: Mapping[str, Any]) -> tuple[int, Group]:
    """A map, its name above, and below it its strongest patches, its gap and its checks."""
    drawn, curve = mosaic(one["relevance"], picture), one.get("degradation")
    parts: list[RenderableType] = [Text(name.replace("_", " ")), drawn]
    order = sorted(zip(words, one["relevance"], strict=True), key=lambda pair: -abs(pair[1] or 0.0))[:TOP]
    parts.append(Text(", ".join(f"{word} {value:+.2g}" for word, value in order if value)))
    area = f"area {curve['area']:+.3f}, at random {curve['random_area']:+.3f}" if curve else ""
    gap = f"gap {one['gap']:+.1%}" if one.get("gap") is not None else ""
    parts += [Text(told) for told in (area, gap) if told]
    if one.get("checks"):
        parts.append(checks(one["checks"]))
    return drawn.columns, Group(*parts)
