"""Pictures of words: rows of coloured tiles, one column per word, as the templates and the PNG draw them."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pellucid.errors import BadData
from pellucid.report import number, records

ACROSS = 84  # letters, with the gaps between words, that fit below a picture without turning the words
TOP = 3


@dataclass(frozen=True)
class Tile:
    """A word in a row: `sign` is pos, neg or empty, `alpha` the opacity of its colour; `best` is ringed."""

    sign: str
    alpha: float
    title: str
    best: bool = False


@dataclass(frozen=True)
class Band:
    """One row; `note` stands behind it."""

    name: str
    tiles: tuple[Tile, ...]
    note: str = ""


@dataclass(frozen=True)
class Heat:
    """Everything a template needs to draw rows of tiles over their words.

    Args:
        bands: from the top.
        direction: ltr or rtl, as the words are read.
        across: the words fit without being turned.
        spoken: what a reader who cannot see the picture should know.
        largest: the number of the fullest colour, written; empty where each row has its own.
        signed: some tile is against.
        above: the words stand above, not below.
    """

    title: str
    bands: tuple[Band, ...]
    words: tuple[str, ...]
    direction: str
    across: bool
    spoken: str
    largest: str
    signed: bool
    note_name: str = ""
    above: bool = False


def direction(words: Sequence[str]) -> str:
    """`rtl` where the first letter that has a direction is read from right to left, else `ltr`."""
    for letter in "".join(words):
        kind = unicodedata.bidirectional(letter)
        if kind in ("L", "R", "AL"):
            return "ltr" if kind == "L" else "rtl"
    return "ltr"


def _largest(rows: Sequence[Sequence[records.Number]]) -> float:
    return max((abs(v) for row in rows for v in row if v is not None and number.real(v)), default=0.0)


def tiles(name: str, words: Sequence[str], values: Sequence[records.Number], largest: float) -> tuple[Tile, ...]:
    """A row of tiles, the fullest where a value is as large as `largest`."""
    found = []
    for word, value in zip(words, values, strict=True):
        share = value / largest if value is not None and number.real(value) and largest else 0.0
        alpha = round(abs(share), 2)
        found.append(Tile(("pos" if share > 0 else "neg") if alpha else "", alpha, f"{word}, {name}: {number.significant(value, 2)}"))
    return tuple(found)


def _heat(title: str, bands: Sequence[Band], words: Sequence[str], spoken: str, largest: str, note_name: str = "") -> Heat:
    across = sum(max(len(w), 2) + 1 for w in words) <= ACROSS
    signed = any(t.sign == "neg" for band in bands for t in band.tiles)
    return Heat(title, tuple(bands), tuple(words), direction(words), across, spoken, largest, signed, note_name)


def flow(found: records.Flow, words: Sequence[str], where: str) -> Heat | None:
    """The information flow, the site nearest the answer on top, all sites on one scale; None where there is no site.

    Raises:
        BadData: numbers that fit neither the words nor the sites; the message begins with `where`.
    """
    sites, rows = found["sites"], found["relevance"]
    if len(rows) != len(sites) or any(len(row) != len(words) for row in rows):
        sizes = sorted({len(row) for row in rows})
        raise BadData(f"{where}: flow has {len(rows)} rows of {sizes} for {len(sites)} sites and {len(words)} words; explain it again")
    if not sites:
        return None
    largest, unit = _largest(rows), found.get("unit", "")
    bands = [Band(site, tiles(site, words, row, largest)) for site, row in zip(sites, rows, strict=True)][::-1]
    spots = [(abs(v), f"{w} at {s} {number.significant(v, 2)}") for s, row in zip(sites, rows, strict=True) for w, v in _known(words, row)]
    top = [text for _, text in sorted(spots, key=lambda spot: -spot[0])[:TOP]]
    spoken = f"Information flow: one row per site, {sites[-1]} on top and {sites[0]} at the bottom, one column per word."
    method = number.title(found.get("method", ""))
    name = "Information flow" + (f" ({method})" if method else "")
    return _heat(name, bands, words, spoken + _strongest(top, unit), f"{number.significant(largest, 2)} {unit}".strip())


def _known(words: Sequence[str], values: Sequence[records.Number]) -> list[tuple[str, float]]:
    return [(w, v) for w, v in zip(words, values, strict=True) if v is not None and number.real(v)]


def _strongest(top: Sequence[str], unit: str = "") -> str:
    return f" Strongest: {', '.join(top)}{' ' + unit if unit else ''}." if top else ""


def side_by_side(methods: Mapping[str, records.Relevance], words: Sequence[str]) -> Heat | None:
    """The methods of one example over the same words, each on its own scale; None where there is one method.

    Every relevance must fit the words.
    """
    if len(methods) < 2 or not words:
        return None
    bands, tops = [], []
    for method, found in methods.items():
        values, name = found["relevance"], number.title(method)
        agrees = (found.get("checks") or {}).get("agreement")
        bands.append(Band(name, tiles(name, words, values, _largest([values])), "" if agrees is None else number.fixed(agrees, 2)))
        known = _known(words, values)
        tops.append(f"{max(known, key=lambda pair: abs(pair[1]))[0]} by {name}" if known else "")
    spoken = "The methods side by side: one row per method, one column per word." + _strongest([t for t in tops if t])
    return _heat("Side by side", bands, words, spoken, "", "agrees" if any(b.note for b in bands) else "")
