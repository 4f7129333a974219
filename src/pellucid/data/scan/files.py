"""Files of commands and actions: the published text, `IN: ... OUT: ...` a line, and JSON Lines of translations, plain or gzipped.

Their words are not held against the grammar: other sets of the same form have others.
"""

import re
from collections.abc import Mapping
from typing import Any

from pellucid.data import sources, tables
from pellucid.data.sources import Rows
from pellucid.errors import BadData

CHOICES: sources.Choices = {"encoding": ()}
_SOURCE, _TARGET = "en", "mentalese"
_FORMS = f'\'IN: COMMAND OUT: ACTIONS\', or {{"translation": {{"{_SOURCE}": COMMAND, "{_TARGET}": ACTIONS}}}}'
_LINE = re.compile(r"\s*IN:(.*?)\bOUT:(.*)")


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row for each line that is not blank; its id has the file's name and the line's number, from 1.

    Raises:
        BadUsage: another option than `encoding`.
        BadData: the file is missing or empty, or a line of it has no command or no actions.
    """
    chosen = sources.checked("scan", options, CHOICES)
    lines = [row for row in tables.read("lines", place, chosen) if row["text"].strip()]
    if not lines:
        raise BadData(f"{place}: no rows")
    if lines[0]["text"].lstrip().startswith("{"):
        return [_translation(row) for row in tables.read("jsonl", place, chosen)]
    return [_in_out(row["text"], row["id"]) for row in lines]


def _in_out(line: str, id_: str) -> dict[str, Any]:
    match = _LINE.fullmatch(line)
    if not match:
        raise BadData(f"{_place(id_)}: {line[:60]!r} has no IN: and OUT:; expected {_FORMS}")
    for mark in ("IN:", "OUT:"):
        if any(f" {mark} " in f" {side} " for side in match.groups()):
            raise BadData(f"{_place(id_)}: {mark} stands there twice; expected one command a line")
    return _row(match[1], match[2], id_)


def _translation(row: Mapping[str, Any]) -> dict[str, Any]:
    place, pair = _place(row["id"]), row.get("translation")
    if "translation" not in row:
        found = ", ".join(repr(key) for key in row if key != "id")
        raise BadData(f"{place}: found {found or 'nothing'}; expected {_FORMS}")
    if not isinstance(pair, dict):
        raise BadData(f"{place}: found a translation that is {type(pair).__name__}; expected {_FORMS}")
    for key in (_SOURCE, _TARGET):
        if not isinstance(pair.get(key), str):
            found = f"{type(pair[key]).__name__} as" if key in pair else "no"
            raise BadData(f"{place}: {found} {key!r} in its translation; expected {_FORMS}")
    return _row(pair[_SOURCE], pair[_TARGET], row["id"])


def _row(command: str, actions: str, id_: str) -> dict[str, Any]:
    """Both with single blanks between their words, of which each has one at least."""
    text, label = " ".join(command.split()), " ".join(actions.split())
    if not text:
        raise BadData(f"{_place(id_)}: no command for the actions {label[:60]!r}; write it or take the line out")
    if not label:
        raise BadData(f"{_place(id_)}: no actions for the command {text[:60]!r}; write them or take the line out")
    return {"id": id_, "text": text, "label": label}


def _place(id_: str) -> str:
    """What messages call a line."""
    name, _, number = id_.rpartition(":")
    return f"{name} line {number}"
