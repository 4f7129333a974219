"""Commands of more clauses than SCAN has, drawn with a seed, so that a parser can be asked for more than was ever published."""

import itertools
import random
from collections.abc import Iterator, Mapping

from pellucid.data import sources
from pellucid.data.scan import grammar
from pellucid.errors import BadUsage

CHOICES: sources.Choices = {"parts": (), "over": (), "num": (), "seed": ()}
_MOST_PARTS, _MOST = 50, 100_000

Tails = list[list[int]]


def commands(options: Mapping[str, str]) -> Iterator[str]:
    """Different commands, every one there is as likely as any other, in the order drawn: fewer are the first of more.

    Args:
        options: `parts` clauses (3); of more than `over` actions (0; the published ones have up to 48); `num` commands (1,000); `seed` (0).
    Raises:
        BadUsage: an option or value that there is not, or more commands than there are.
    """
    chosen = sources.checked("scan:longer/test", options, CHOICES)
    parts = _whole(chosen, "parts", 3, range(3, _MOST_PARTS + 1))
    num = _whole(chosen, "num", 1000, range(1, _MOST + 1))
    over = _whole(chosen, "over", 0, range(10_000))
    draw = random.Random(_whole(chosen, "seed", 0, range(2**32)))
    clauses = grammar.clauses()
    groups = {size: [c for c, done in clauses.items() if len(done) == size] for size in sorted({len(done) for done in clauses.values()})}
    tails = _tails(parts, groups)
    joints = 2 ** (parts - 1)
    there_are = _longer_than(over, tails[parts]) * joints
    if not there_are:
        raise BadUsage(f"scan:longer/test?parts={parts}&over={over}: {parts} clauses have at most {parts * max(groups)} actions")
    if num > there_are:
        raise BadUsage(f"scan:longer/test?parts={parts}&over={over}&num={num}: there are {there_are} such commands; ask for no more")
    ranks: dict[int, None] = {}
    while len(ranks) < num:
        ranks[draw.randrange(there_are)] = None
    for rank in ranks:
        yield _joined(_chosen(rank // joints, over, groups, tails), rank % joints)


def _whole(options: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    value = options.get(name, str(default))
    if not (value.isascii() and value.isdecimal() and len(value) < 12 and int(value) in allowed):
        raise BadUsage(f"scan:longer/test: {name}={value}: expected a whole number of {allowed[0]} to {allowed[-1]}")
    return int(value)


def _tails(parts: int, groups: Mapping[int, list[str]]) -> Tails:
    """[k][t]: how many rows of k clauses have t actions or more."""
    exact, found = [1], [[1]]
    for _ in range(parts):
        longer = [0] * (len(exact) + max(groups))
        for total, size in itertools.product(range(len(exact)), groups):
            longer[total + size] += exact[total] * len(groups[size])
        exact = longer
        found.append(list(itertools.accumulate(reversed(exact)))[::-1])
    return found


def _longer_than(over: int, tail: list[int]) -> int:
    first = max(0, over + 1)
    return tail[first] if first < len(tail) else 0


def _chosen(rank: int, over: int, groups: Mapping[int, list[str]], tails: Tails) -> list[str]:
    """The clauses at that rank among all rows of clauses that have more than `over` actions together."""
    clauses: list[str] = []
    for left in reversed(range(len(tails) - 1)):
        for size, group in groups.items():
            each = _longer_than(over - size, tails[left])
            if rank < each * len(group):
                break
            rank -= each * len(group)
        which, rank = divmod(rank, each)
        clauses.append(group[which])
        over -= size
    return clauses


def _joined(clauses: list[str], bits: int) -> str:
    """The clauses with `and` or `after` between them, a bit each."""
    command = clauses[0]
    for place, clause in enumerate(clauses[1:]):
        command += f" {grammar.JOINTS[bits >> place & 1]} {clause}"
    return command
