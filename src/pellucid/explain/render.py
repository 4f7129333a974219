"""Explanations for the terminal and for results/explanations.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.style import Style
from rich.table import Table
from rich.text import Text

from pellucid.explain.checks import CHECKS

FOR, AGAINST = (33, 113, 181), (217, 95, 2)  # blue and orange: told apart by colour-blind readers too
SHADES, SHADES_AGAINST = " ░▒▓█", " .-=#"  # read without colour too
LONGEST = 14  # cells of a word below the tiles


def coloured(words: Sequence[str], values: Sequence[float]) -> Text:
    """The words on a ground of blue where they speak for the answer, of orange where against; the strongest is full."""
    peak = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    text = Text()
    for word, value in zip(words, values, strict=True):
        text.append(word, _style(value / peak if peak else 0.0))
        text.append(" ")
    text.rstrip()
    return text


def legend(words: Sequence[str], values: Sequence[float], unit: str = "log-probability") -> Text:
    """What the colours mean, and the three strongest words in figures, for readers without colour.

    Args:
        unit: of the score: a "value" is raised or lowered, an answer spoken for or against.
    """
    sides = (" raises it ", " lowers it ") if unit == "value" else (" for ", " against ")
    strongest = sorted(zip(words, values, strict=True), key=lambda pair: -abs(pair[1]))[:3]
    told = ", ".join(f"{word} {value:+.3g}" for word, value in strongest)
    return Text.assemble((sides[0], _style(1.0)), " ", (sides[1], _style(-1.0)), f" strongest: {told}" if told else "")


def _style(share: float) -> Style:
    """Ground between white (0) and full colour (1 or -1), with letters that stay readable; none where it would be white."""
    strength = min(1.0, abs(share)) if math.isfinite(share) else 0.0
    if strength < 0.05:
        return Style()
    red, green, blue = (round(255 + strength * (c - 255)) for c in (FOR if share > 0 else AGAINST))
    letters = "white" if strength > 0.6 else "black"
    return Style(color=letters, bgcolor=Color.from_rgb(red, green, blue).name)


def flow(words: Sequence[str], found: Mapping[str, Any], width: int = 80) -> Text:
    """The information flow: a row per site, the lowest at the bottom, a column per word, the strongest place of all full.

    Args:
        found: the record's `flow`.
        width: cells of a line; more words go on below.
    """
    peak = max((abs(v) for row in found["relevance"] for v in row if v is not None and math.isfinite(v)), default=0.0)
    label = min(max((cell_len(site) for site in found["sites"]), default=0), 20)
    texts = [_short(word) for word in words]
    about = " ".join(part for part in (found.get("method"), f"{_round(peak)} {found.get('unit') or ''}".strip() + " is full") if part)
    lines = [Text(f"{'flow':>{label}} {about}", "dim")]
    for columns in _bands([cell_len(text) for text in texts], width - label - 1):
        for site, row in zip(reversed(found["sites"]), reversed(found["relevance"]), strict=True):
            tiles = [_tile(row[i], peak, cell_len(texts[i])) for i in columns]
            lines.append(Text(" ").join([Text(set_cell_size(site, label).strip().rjust(label)), *tiles]))
        lines.append(Text(" ".join([" " * label, *(texts[i] for i in columns)])))
    return Text("\n").join(lines)


def matrix(rows: Sequence[tuple[str, Sequence[float | None]]], words: Sequence[str], width: int = 80) -> Text:
    """Answers down, words across: the strongest word of a row is full, and named at its end.

    Args:
        rows: each answer with the relevance of every word.
        width: cells of a line; more words go on below.
    """
    label = min(max((cell_len(name) for name, _ in rows), default=0), 24)
    texts, tops = [_short(word) for word in words], [_strongest(words, values) for _, values in rows]
    lines = []
    bands = _bands([cell_len(text) for text in texts], width - label - 2 - max((cell_len(top) for top in tops), default=0))
    for columns in bands:
        lines.append(Text(" ".join([" " * label, *(texts[i] for i in columns)])))
        for (name, values), top in zip(rows, tops, strict=True):
            peak = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
            tiles = [_tile(values[i], peak, cell_len(texts[i])) for i in columns]
            end = Text(top, "dim") if columns is bands[-1] else Text()
            lines.append(Text(" ").join([Text(set_cell_size(name, label)), *tiles, end]))
    return Text("\n").join(lines)


def _strongest(words: Sequence[str], values: Sequence[float | None]) -> str:
    known = [(word, v) for word, v in zip(words, values, strict=True) if v is not None and math.isfinite(v) and v]
    return " {} {:+.3g}".format(*max(known, key=lambda pair: abs(pair[1]))) if known else ""


def _round(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _short(word: str) -> str:
    """One line of letters, cut where long; an empty word keeps a column."""
    word = " ".join("".join(c if c.isprintable() else " " for c in word).split()) or "·"
    return word if cell_len(word) <= LONGEST else set_cell_size(word, LONGEST - 1).rstrip() + "…"


def _bands(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns in order, as many to a line as it has room for, one space between."""
    found: list[list[int]] = []
    left = -1
    for i, width in enumerate(widths):
        if width > left:
            found.append([])
            left = room
        found[-1].append(i)
        left -= width + 1
    return found


def _tile(value: float | None, peak: float, width: int) -> Text:
    share = value / peak if value is not None and math.isfinite(value) and peak else 0.0
    shades = SHADES if share >= 0 else SHADES_AGAINST
    colour = FOR if share >= 0 else AGAINST
    return Text(shades[math.ceil(4 * abs(share) - 0.5)] * width, Style(color=Color.from_rgb(*colour).name) if share else "")


def checks(found: Mapping[str, float | None]) -> Text:
    """The checks of one explanation in a line."""
    return Text(" · ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in found.items()), "dim")


def _figure(value: float | None) -> str:
    return "n/a" if value is None or not math.isfinite(value) else f"{value:.2g}"


def meanings(names: Sequence[str]) -> Text:
    """What the checks of these names mean, a line each; names that are none are left out."""
    return Text("\n".join(f"{name.replace('_', ' ')}: {CHECKS[name].about}" for name in names if name in CHECKS), "dim")


def summary(found: Mapping[str, Any]) -> Table:
    """Checks by methods: the mean over all examples above its 95% interval.

    Args:
        found: what results/explanations.json holds as `summary`.
    """
    told, times = found.get("checks") or {}, found.get("ms_per_example") or {}
    methods = list(dict.fromkeys([*told, *times]))
    table = Table(box=box.SIMPLE_HEAD, title=f"{found['n']:,} examples", title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("check", no_wrap=True, min_width=max((len(name) for row in told.values() for name in row), default=0))
    for method in methods:
        table.add_column(method.replace("_", " "), justify="right", overflow="fold")
    for name in dict.fromkeys(name for row in told.values() for name in row):
        table.add_row(name.replace("_", " "), *(_mean(told.get(m, {}).get(name)) for m in methods))
    if times:
        table.add_row("ms per example", *(_round(times[m]) if times.get(m) is not None else "" for m in methods))
    return table


def _mean(found: Mapping[str, Any] | None) -> str:
    if not found or found["mean"] is None:
        return "" if found is None else "n/a"
    ends = found.get("low"), found.get("high")
    return f"{found['mean']:.3f}" + ("" if None in ends else f"\n[{ends[0]:.2f}, {ends[1]:.2f}]")
