"""SCAN's published splits: those that follow a rule by their rule, the random ones from stored membership.

`members.npz` holds, for the random splits, which commands their authors drew: `names` and, a row a name, `members`, one bit for
each of the 20,910 commands in sorted order, packed. For `simple...` they are the training set; for `fewshot_...` the commands added
to the training set of filler_num0; for `addprim_complex_jump_...` the composed commands with jump added to that of addprim_jump.

Source: the files of github.com/brendenlake/SCAN (BSD licence, Copyright (c) 2016-present, Facebook, Inc.); Lake and Baroni 2018; Loula,
Baroni and Lake 2018, Rearranging the familiar. Differs: rows are sorted by command, copies side by side; the authors' are shuffled.
"""

import io
import pathlib
from collections.abc import Iterable

import numpy as np

from pellucid.data.scan.grammar import PRIMITIVES

_FILE = pathlib.Path(__file__).with_name("members.npz")
_LONGEST = 22  # actions of a command in the training set of `length`
_SHARE = 9  # one copy of the lone command of `addprim` for so many others: a tenth of the rows
_ADDPRIM = {"addprim_jump": "jump", "addprim_turn_left": "turn left"}
_TEMPLATES = {  # what both sides lack, and what the test set is made of
    "template_around_right": ("turn around right", tuple(f"{u} around right" for u in PRIMITIVES)),
    "template_opposite_right": ("turn opposite right", tuple(f"{u} opposite right" for u in PRIMITIVES)),
    "template_right": ("turn right", tuple(f"{u} right" for u in PRIMITIVES)),
    "template_jump_around_right": ("turn around right", ("jump around right",)),
}
_FILLERS = ("look", "walk", "run")  # filler_numN shows the first N of them with `around right` in training
_REPEATS = range(1, 6)
NAMES = (
    "simple",
    "length",
    *_ADDPRIM,
    *_TEMPLATES,
    *(f"filler_num{n}" for n in range(4)),
    *(f"simple_p{2**n}" for n in range(7)),
    *(f"fewshot_num{2**n}_rep{r}" for n in range(11) for r in _REPEATS),
    *(f"addprim_complex_jump_num{2**n}_rep{r}" for n in range(6) for r in _REPEATS),
)
FAMILIES = (*NAMES[:12], "simple_pX", "fewshot_numN_repR", "addprim_complex_jump_numN_repR")

Sides = tuple[list[str], list[str]]


def split(name: str, labels: dict[str, str]) -> Sides:
    """The training and the test commands of the split of that name, each sorted, repeated ones side by side.

    Args:
        labels: every published command, sorted, and its actions.
    """
    if name.startswith("simple"):
        train = members(name, labels)
        return train, _without(labels, train)
    if name == "length":
        short = [command for command, label in labels.items() if len(label.split()) <= _LONGEST]
        return short, _without(labels, short)
    if name in _TEMPLATES:
        return _template(labels, *_TEMPLATES[name])
    if name.startswith("filler"):
        return _filler(int(name[-1]), labels)
    if name.startswith("fewshot"):
        train, test = _filler(0, labels)
        return sorted(train + members(name, labels)), test
    assert name in NAMES and name.startswith("addprim"), name
    return _addprim(labels, _ADDPRIM[name], []) if name in _ADDPRIM else _addprim(labels, "jump", members(name, labels))


def members(name: str, labels: dict[str, str]) -> list[str]:
    """The commands that its authors drew for a random split, sorted."""
    with np.load(io.BytesIO(_FILE.read_bytes()), allow_pickle=False) as stored:
        (row,) = np.flatnonzero(stored["names"] == name)
        bits = np.unpackbits(stored["members"][row], count=len(labels))
    return [command for command, bit in zip(labels, bits.tolist(), strict=True) if bit]


def _addprim(labels: dict[str, str], lone: str, added: list[str]) -> Sides:
    """All commands without the lone one in them, and with it only itself and those added, so often that they are a tenth of the rows."""
    train = _without(labels, _having(labels, lone))
    shown = [lone, *added]
    times = round(len(train) / _SHARE / len(shown))
    return sorted(train + shown * times), _without(labels, train + shown)


def _template(labels: dict[str, str], lacked: str, tested: tuple[str, ...]) -> Sides:
    kept = _without(labels, _having(labels, lacked))
    test = _having(kept, *tested)
    return _without(kept, test), test


def _filler(number: int, labels: dict[str, str]) -> Sides:
    train, test = _template(labels, *_TEMPLATES["template_jump_around_right"])
    return _without(train, _having(train, *(f"{filler} around right" for filler in _FILLERS[number:]))), test


def _having(commands: Iterable[str], *phrases: str) -> list[str]:
    """The commands in which the words of one of these stand side by side."""
    return [command for command in commands if any(phrase in command for phrase in phrases)]


def _without(commands: Iterable[str], gone: Iterable[str]) -> list[str]:
    away = set(gone)
    return [command for command in commands if command not in away]
