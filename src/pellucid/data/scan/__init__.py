"""SCAN: commands in English and the actions they ask for, generated whole from the grammar, with every published split; no download.

Source: Lake and Baroni 2018, Generalization without systematicity.
"""

import difflib
import os
from collections.abc import Iterable, Mapping

from pellucid.data import sources
from pellucid.data.scan import files, grammar, longer, splits
from pellucid.data.scan.grammar import actions
from pellucid.data.sources import Rows
from pellucid.errors import BadUsage

__all__ = ["actions", "read"]

_SETS = ("all", "longer")


def read(place: str, options: Mapping[str, str]) -> Rows:
    """Commands as `text`, their actions as `label`, words parted by single blanks.

    A split's rows are sorted by command; a command that the authors repeat is there as often, each time with an id of its own.

    Args:
        place: `SPLIT/train` or `SPLIT/test` of a published split, called as its files are (`addprim_jump`); `all`, the 20,910 commands;
            `longer/test`, commands of three clauses and more; or a file, where it is none of these (`./all` is a file).
        options: of published splits, `least` and `most` actions: `all?most=10` and `all?least=11` make another split by length; of
            `longer/test`, see `longer.commands`; of a file, `encoding`.
    Raises:
        BadUsage: another split, part or option.
        BadData: the file or a line of it is not what was promised.
    """
    name, _, part = place.partition("/")
    if name not in (*_SETS, *splits.NAMES):
        if _is_file(place):
            return files.read(place, options)
        raise BadUsage(f"scan:{place}: no split {name!r}{_nearest(name)}")
    parts = {"all": ("",), "longer": ("test",)}.get(name, ("train", "test"))
    if part not in parts:
        raise BadUsage(f"scan:{place}: expected scan:{' or scan:'.join(f'{name}/{part}'.rstrip('/') for part in parts)}")
    if name == "longer":
        return _rows(place, ((command, " ".join(actions(command))) for command in longer.commands(options)))
    sizes = _sizes(place, options)
    labels = grammar.commands()
    chosen = labels if name == "all" else splits.split(name, labels)[part == "test"]
    return _rows(place, ((command, labels[command]) for command in chosen if labels[command].count(" ") + 1 in sizes))


def _sizes(place: str, options: Mapping[str, str]) -> range:
    """Numbers of actions, from `least` to `most`."""
    chosen = sources.checked(f"scan:{place}", options, {"least": (), "most": ()})
    for name, value in chosen.items():
        if not (value.isascii() and value.isdecimal() and 0 < int(value) < 100):
            raise BadUsage(f"scan:{place}: {name}={value}: expected a number of actions, 1 to 99")
    return range(int(chosen.get("least", 1)), int(chosen.get("most", 99)) + 1)


def _rows(place: str, pairs: Iterable[tuple[str, str]]) -> Rows:
    return [{"id": f"scan:{place}:{number}", "text": text, "label": label} for number, (text, label) in enumerate(pairs, 1)]


def _is_file(place: str) -> bool:
    """Whether a place that names no set is meant as a file: it exists, or looks like the path of one."""
    return os.path.exists(os.path.expanduser(place)) or "." in place or place.count("/") > 1


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, (*_SETS, *splits.NAMES), 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join((*_SETS, *splits.FAMILIES))}"
