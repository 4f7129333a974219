"""SCAN's commands and what they ask for: every command of the published set, and an oracle for those and longer ones.

    C -> S and S | S after S | S        a command of one or two clauses; ours may have more
    S -> V twice | V thrice | V
    V -> U | U D | U opposite D | U around D | turn D | turn opposite D | turn around D
    U -> walk | look | run | jump       D -> left | right

Source: Lake and Baroni 2018, Generalization without systematicity, the appendix. Differs: commands may have more than two clauses.
"""

import itertools
from typing import NoReturn

from pellucid.errors import BadData

PRIMITIVES = ("walk", "look", "run", "jump")
DIRECTIONS = ("left", "right")
MANNERS = ("opposite", "around")
TIMES = {"": 1, "twice": 2, "thrice": 3}
JOINTS = ("and", "after")


def actions(command: str) -> list[str]:
    """What a command of any number of clauses asks for, in the order of doing.

    `x and y` is x, then y; `x after y` is y, then x. Of three clauses and more, brackets stand from the left: `x after y and z` is
    `(x after y) and z`, which is y, x, z.

    Raises:
        BadData: the command is outside the grammar; the message names the word, its place from 1, and what may stand there.
    """
    words = _Words(command)
    done = _clause(words)
    while words.left():
        joint = words.take(*JOINTS) or words.refuse()
        clause = _clause(words)
        done = done + clause if joint == "and" else clause + done
    return done


def clauses() -> dict[str, list[str]]:
    """The 102 clauses and their actions."""
    directed = itertools.product((*PRIMITIVES, "turn"), ("", *MANNERS), DIRECTIONS)
    verbs = [*((primitive, "", "") for primitive in PRIMITIVES), *directed]
    return {" ".join(word for word in (*verb, times) if word): _meaning(*verb) * count for verb in verbs for times, count in TIMES.items()}


def commands() -> dict[str, str]:
    """The 20,910 published commands, sorted as strings, and their actions parted by blanks."""
    single = {clause: " ".join(done) for clause, done in clauses().items()}
    pairs = list(itertools.product(single.items(), repeat=2))
    found = dict(single)
    found.update((f"{x} and {y}", f"{first} {second}") for (x, first), (y, second) in pairs)
    found.update((f"{x} after {y}", f"{second} {first}") for (x, first), (y, second) in pairs)
    return dict(sorted(found.items()))


def _meaning(verb: str, manner: str, direction: str) -> list[str]:
    """The actions of a verb with its manner and direction, each perhaps empty; `turn` does nothing but turning."""
    turn = [f"I_TURN_{direction.upper()}"] if direction else []
    act = [f"I_{verb.upper()}"] if verb != "turn" else []
    if manner == "around":
        return (turn + act) * 4
    return turn * (2 if manner == "opposite" else 1) + act


# ---- reading ------------------------------------------------------------------------------------------------------


class _Words:
    """A command read from the left, a word at a time."""

    def __init__(self, command: str) -> None:
        self.words = command.split()
        self.place = 0
        self.possible: list[str] = []  # asked for at this place, and not there

    def left(self) -> bool:
        return self.place < len(self.words)

    def take(self, *choices: str) -> str:
        """The next word where it is one of these, else an empty one."""
        if not self.left() or self.words[self.place] not in choices:
            self.possible += choices
            return ""
        self.place, self.possible = self.place + 1, []
        return self.words[self.place - 1]

    def refuse(self) -> NoReturn:
        command, expected = " ".join(self.words), ", ".join(self.possible)
        if not self.left():
            raise BadData(f"command {command!r}: ends after word {self.place}; expected one more of {expected}")
        raise BadData(f"command {command!r}: word {self.place + 1} is {self.words[self.place]!r}; expected one of {expected}")


def _clause(words: _Words) -> list[str]:
    verb = words.take(*PRIMITIVES, "turn") or words.refuse()
    manner = words.take(*MANNERS)
    direction = words.take(*DIRECTIONS)
    if not direction and (manner or verb == "turn"):
        words.refuse()
    return _meaning(verb, manner, direction) * TIMES[words.take("twice", "thrice")]
