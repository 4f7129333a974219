"""What `pellucid check-method` finds: the promises of a method of a probe, then its numbers against known explanations."""

from collections.abc import Callable
from typing import Any

from pellucid.explain.check import check_method as promises_of
from pellucid.leaderboard import board, entries, page
from pellucid.leaderboard.board import Asked


def check(asked: Asked, only: str, watch: Callable[[str], None]) -> dict[str, Any]:
    """`promises` (empty for a method that is no function of a probe) and `benchmark` (None where not asked for, or refused).

    Args:
        only: `promises`, `benchmark`, or empty for both. Of several methods there are no promises.
    """
    one = asked.names[0] if len(asked.names) == 1 and asked.names[0] not in ("all", "trained") else None
    of_probe = one is not None and not asked.protocol.official and entries.entry(one, asked.budget).kind == "probe"
    promises = promises_of(one) if one and of_probe and only != "benchmark" else []
    unlike = len(promises) == 1  # it gave no Attribution: nothing else can be asked of it
    found = None if only == "promises" or unlike else board.measure(asked, watch)
    return {"method": ",".join(asked.names), "promises": promises, "benchmark": found}


def text(found: dict[str, Any]) -> str:
    """Both, for a terminal."""
    lines = [f"{'ok  ' if row['ok'] else 'FAIL'} {row['promise']}: {row['found']}" for row in found["promises"]]
    return "\n".join(lines + ([page.terminal(found["benchmark"])] if found["benchmark"] else []))


def broken(found: dict[str, Any]) -> str:
    """Which promises are broken, in one line; empty where none."""
    count = sum(not row["ok"] for row in found["promises"])
    return f"{found['method']} breaks {count} of {len(found['promises'])} promises" if count else ""
