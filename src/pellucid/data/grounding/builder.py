"""From what people have to rows of groundings: a table of phrases and boxes; and rows printed, to be looked at."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pellucid.data import decode, paths, sources, tables
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding import spans as text
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

_COLUMNS = ("image", "caption", "phrase", "box", "span", "label")
OPTIONS: sources.Choices = {
    **shared.OPTIONS,
    **{"format": ("xyxy", "xywh"), "empty": ("refuse", "keep"), "spans": ("told", "caption")},
    **dict.fromkeys(_COLUMNS, ()),
}
JOIN = ". "
_TURNED, _ORIENTATION = 5, 0x0112  # from this EXIF orientation on width and height change places
_PARTS = re.compile(r"[\s,;:]+")

Line = Mapping[str, Any]


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture and caption of a table that has a phrase and a box on each line.

    Without a column `caption`, a picture's caption is its phrases, each once, joined by `. `. A phrase is looked for in its caption,
    whatever its case; if it is there several times, all of these places are its spans, unless lines with other boxes have the same phrase:
    then a column `span` must tell which is meant. Lines with one box are one object.

    Args:
        place: a csv, tsv, jsonl, json or parquet table with the columns image, phrase, box and, if there are such, caption, span, label.
            A box is [x0, y0, x1, y1] in pixels of the upright picture, also as text, `10 20 30 40`; a span `[begin, end]` or `begin:end`.
        options: `image=NAME` and so on where columns are called otherwise; `images`, the folder of the pictures, the table's own unless
            told; `format=xywh` for boxes given by width and height; `empty=keep` lets phrases without a box stand for what is not
            there; `spans=caption` lets a box without phrase answer its whole caption; those of all groundings.
    Raises:
        BadData: a phrase is not in its caption, or without box; a box without phrase, or outside its picture; a picture without either.
    """
    chosen = sources.checked("phrases", options, OPTIONS)
    kind = tables.kind_of(place)
    if kind is None or kind == "lines":
        raise BadUsage(f"phrases:{place}: expected a table; endings are .csv, .tsv, .jsonl, .json, .parquet, plain or .gz")
    table = tables.read(kind, place)
    columns = _columns(table, chosen, place)
    folder = os.path.expanduser(chosen.get("images", os.path.dirname(place) or "."))
    groups: dict[tuple[str, str | None], dict[str, Any]] = {}
    for row in table:
        line = {role: row.get(column) for role, column in columns.items()} | {"where": row["id"]}
        caption = str(line["caption"] or "") if "caption" in columns else None
        picture = paths.source_of(line["image"], folder, row["id"])
        group = groups.setdefault((str(line["image"]), caption), {"id": row["id"], "image": picture, "lines": []})
        group["lines"].append(line)
    there = sources.with_pictures(list(groups.values()), chosen.get("missing", "refuse"), place)
    return shared.finished([_row(found, chosen) for found in there], chosen, place)


def _columns(table: Rows, chosen: Mapping[str, str], place: str) -> dict[str, str]:
    """Role -> column, of those that the table has."""
    there = list(dict.fromkeys(key for row in table for key in row if key != "id"))
    found = {role: chosen.get(role, role) for role in _COLUMNS if chosen.get(role, role) in there}
    needed = {"image", "box", *(() if "span" in found or "caption" in found else ("phrase",)), *(set(_COLUMNS) & set(chosen))}
    lost = next((role for role in _COLUMNS if role in needed and role not in found), None)
    if lost:
        raise BadData(f"{place}: no column {chosen.get(lost, lost)!r}; the columns are {', '.join(there)}: name one with ?{lost}=COLUMN")
    return found


def _row(found: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    lines = found["lines"]
    for line in lines:
        _check_line(line, chosen)
    caption = str(lines[0]["caption"] or "") if "caption" in lines[0] else _caption(lines)
    name = str(lines[0]["image"]) if isinstance(found["image"], str) else found["id"]
    size, clip = _size(found["image"], found["id"]), chosen.get("boxes") == "clip"
    scene = Scene(found["id"], found["image"], caption, shared.group_of(name), size, clip)
    row = scene.row(())
    boxed = [(line, _box(line, chosen)) for line in lines if not _nothing(line["box"])]
    objects: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line, box in boxed:
        one = replace(scene, where=line["where"])
        made = one.object(box, _spans(line, one, boxed, chosen), str(line.get("label") or ""))
        known = objects.setdefault((*made["box_xyxy"], line.get("label")), made)
        known["spans"] = sorted({(b, e) for b, e in (*known["spans"], *made["spans"])})
    for made in objects.values():
        made["spans"] = [list(span) for span in made["spans"]]
    row["objects"] = list(objects.values())
    return row


def _check_line(line: Line, chosen: Mapping[str, str]) -> None:
    phrase, box = not _nothing(line.get("phrase")) or not _nothing(line.get("span")), not _nothing(line["box"])
    keep = chosen.get("empty") == "keep"
    if phrase and not box and not keep:
        raise BadData(f"{line['where']}: the phrase {line.get('phrase')!r} has no box; give one, or add ?empty=keep if it is not there")
    if box and not phrase and not ("caption" in line and chosen.get("spans") == "caption"):
        remedy = ", or add ?spans=caption" if "caption" in line else ""
        raise BadData(f"{line['where']}: a box without a phrase, {line['box']}; say which words it answers{remedy}")
    if not box and not phrase and not ("caption" in line and keep):
        raise BadData(f"{line['where']}: a picture without any phrase or box; give one, or leave the line out")


def _caption(lines: Sequence[Line]) -> str:
    """The phrases, each once, as sentences."""
    said: dict[str, str] = {}
    for line in lines:
        phrase = " ".join(str(line["phrase"]).split()).rstrip(".")
        said.setdefault(phrase.casefold(), phrase)
    return JOIN.join(said.values()) + "."


def _spans(line: Line, scene: Scene, boxed: Sequence[tuple[Line, list[float]]], chosen: Mapping[str, str]) -> list[list[int]]:
    """Where the caption names what a line's box shows."""
    phrase, told = str(line.get("phrase") or ""), line.get("span")
    if not _nothing(told):
        found = text.checked([_span(told, scene.where)], scene.caption, scene.where)
        says = text.text_of(found, scene.caption)
        if phrase and _plain(says) != _plain(phrase):
            raise BadData(f"{scene.where}: the span {told} is {says!r} in the caption, and the phrase is {phrase!r}; one of them is wrong")
        return found
    if not phrase:
        return [[0, len(scene.caption)]] if chosen.get("spans") == "caption" else []
    hits = text.find(phrase.strip().rstrip(".") if "caption" not in line else phrase, scene.caption)
    if not hits:
        raise BadData(f"{scene.where}: the phrase {phrase!r} is not in the caption {text.shown(scene.caption)}; write it as it is there")
    if "caption" not in line:
        return hits[:1] if len(hits) == 1 else [hit for hit in hits if _is_sentence(hit, scene.caption)][:1]
    boxes = {tuple(box) for other, box in boxed if _nothing(other.get("span")) and _plain(str(other.get("phrase") or "")) == _plain(phrase)}
    if len(hits) > 1 and len(boxes) > 1:
        raise BadData(
            f"{scene.where}: the caption says {phrase!r} {len(hits)} times and {len(boxes)} boxes have it; tell which in a column span"
        )
    return hits


def _is_sentence(hit: Sequence[int], caption: str) -> bool:
    """Whether it stands between the joins of a built caption, and not within a longer phrase."""
    begin, end = hit
    return (begin == 0 or caption[:begin].endswith(JOIN)) and caption[end:].startswith((JOIN, "."))


def _plain(phrase: str) -> str:
    return " ".join(phrase.casefold().split())


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _numbers(value: Any) -> list[Any]:
    """A list, be it as text: JSON's, or numbers with spaces, commas or colons between."""
    if isinstance(value, str):
        inner = value.strip().strip("[]()").strip()
        try:
            return [json.loads(part) for part in _PARTS.split(inner)]
        except ValueError:
            return []
    return list(value) if isinstance(value, list | tuple) else []


def _box(line: Line, chosen: Mapping[str, str]) -> list[float]:
    numbers = _numbers(line["box"])
    wanted = "[x, y, width, height]" if chosen.get("format") == "xywh" else "[x0, y0, x1, y1]"
    if len(numbers) != 4 or not all(map(shared.is_number, numbers)):
        raise BadData(f"{line['where']}: the box {line['box']!r}; expected {wanted}")
    return shared.corners(numbers, line["where"]) if chosen.get("format") == "xywh" else numbers


def _span(value: Any, where: str) -> list[Any]:
    numbers = _numbers(value)
    if len(numbers) != 2:
        raise BadData(f"{where}: the span {value!r}; expected begin:end, characters of the caption")
    return numbers


def _size(image: Any, where: str) -> tuple[int, int]:
    """Width and height of the upright picture, by its header."""
    with decode.opened(image, where) as file:
        found = decode.header(file, decode.place_of(image, where))
        turned = found.format != "TIFF" and found.getexif().get(_ORIENTATION, 1) >= _TURNED
        return (found.height, found.width) if turned else (found.width, found.height)


# ---- looking --------------------------------------------------------------------------------------------------------


def printed(rows: Rows) -> Iterator[str]:
    """Lines that show what each box answers as text, so that a wrong offset is seen: a caption, then `[0:7] 'the cup' -> 10 20 30 40`."""
    for row in rows:
        yield f"{row['id']}: {row['caption']}"
        for found in row["objects"]:
            where = ", ".join(f"[{b}:{e}]" for b, e in found["spans"])
            box = " ".join(f"{x:g}" for x in found["box_xyxy"])
            words = text.text_of(found["spans"], row["caption"])
            label = found.get("label") or words
            told = (f" ({label})" if label not in words else "") + (" final" if found.get("final") else "")
            yield f"  {where} {words!r} -> {box}{told}"
        if not row["objects"]:
            yield "  no box"
