"""What a run's page shows of written sequences: how many are right by category, length and depth, and how the others are wrong."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.data.cogs_kinds import KINDS, LEXICAL, STRUCTURAL
from pellucid.evaluate import Evaluation
from pellucid.metrics import sequences
from pellucid.task import Example

GROUPS = {"all": KINDS, "lexical": LEXICAL, "structural": STRUCTURAL}
EXAMPLES, ALL_EXAMPLES = 8, 48  # of errors: of a set, and of all sets together, but always
LEAST_EXAMPLES = 2  # of a set
BINS = 12  # of lengths, at most
BEYOND = 40  # words kept of an output that goes on after the end of its target


@dataclass(frozen=True)
class _Row:
    """One example and what was made of it."""

    example: Example
    made: list[str]
    target: list[str]
    right: bool
    kind: str
    score: float


def is_parse(prediction: Any) -> bool:
    """Whether a prediction is a written sequence: a dict with `text` and `tokens`."""
    return isinstance(prediction, Mapping) and "text" in prediction and "tokens" in prediction


def parses(found: Mapping[str, Evaluation]) -> dict[str, Any] | None:
    """What results/parses.json holds; None where nothing was written."""
    written = {name: e for name, e in found.items() if any(map(is_parse, e.predictions))}
    if not written:
        return None
    rows = {name: _rows(e) for name, e in written.items()}
    most = max(LEAST_EXAMPLES, min(EXAMPLES, ALL_EXAMPLES // len(rows)))
    sets = {name: _counts(rows[name]) | _errors(rows[name], most) | _tokens(e) for name, e in written.items()}
    return {"score_unit": next(iter(written.values())).score_unit, "sets": sets, "together": _together(rows)}


def _together(sets: Mapping[str, Sequence[_Row]]) -> dict[str, Any] | None:
    """The sets that have categories as one, of COGS's kinds alone where there are any; None where that is no more than one set."""
    typed = {name: [row for row in rows if _category(row) is not None] for name, rows in sets.items()}
    kinds = {name: [row for row in rows if _category(row) in KINDS] for name, rows in typed.items()}
    joint = {name: rows for name, rows in (kinds if any(kinds.values()) else typed).items() if rows}
    return {"sets": list(joint)} | _counts([row for rows in joint.values() for row in rows]) if len(joint) > 1 else None


def _rows(found: Evaluation) -> list[_Row]:
    rows = []
    for example, prediction, score in zip(found.examples, found.predictions, found.scores, strict=True):
        made, target = sequences.words_of(prediction, example), example["label"].split()
        kind = sequences.error_kind(target, made, sequences.ended(prediction, example))
        rows.append(_Row(example, made, target, made == target, kind, float(score)))
    return rows


# ---- counts -------------------------------------------------------------------------------------------------------


def _counts(rows: Sequence[_Row]) -> dict[str, Any]:
    """How many rows are right, and of which category, length and depth."""
    categories = {name: _count(some) for name, some in _by(rows, _category).items() if name is not None}
    return _count(rows) | {
        "categories": categories,
        "groups": _groups({name: (one["right"], one["n"]) for name, one in categories.items()}),
        "lengths": _lengths(rows),
        "depths": _depths(rows),
    }


def _category(row: _Row) -> str | None:
    return None if row.example.get("category") is None else str(row.example["category"])


def _by(rows: Iterable[_Row], key: Any) -> dict[Any, list[_Row]]:
    found: dict[Any, list[_Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def _count(rows: Sequence[_Row]) -> dict[str, Any]:
    right = sum(row.right for row in rows)
    low, high = sequences.wilson(right, len(rows))
    return {"n": len(rows), "right": right, "low": low, "high": high}


def _groups(shares: Mapping[str, sequences.Share]) -> dict[str, Any]:
    """Means over COGS's kinds, each kind with the same weight; of the kinds that occur."""
    occurring = {group: [kind for kind in kinds if kind in shares] for group, kinds in GROUPS.items()}
    return {group: {"mean": sequences.macro(shares, kinds), "kinds": kinds} for group, kinds in occurring.items() if kinds}


def _lengths(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """By words of the target: each length by itself where they are few, else in bins of a round width."""
    lengths = sorted({len(row.target) for row in rows})
    width = 1 if len(lengths) <= BINS else bin_width(lengths[0], lengths[-1])
    found = _by(rows, lambda row: (max(len(row.target), 1) - 1) // width)
    return [{"least": width * i + 1, "most": width * (i + 1)} | _count(some) for i, some in sorted(found.items())]


def bin_width(shortest: int, longest: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 ... with which bins from 1 on that hold any length between these are `BINS` or fewer."""
    width, step = 1, 0
    while (longest - 1) // width - (max(shortest, 1) - 1) // width + 1 > BINS:
        step += 1
        width = (1, 2, 5)[step % 3] * 10 ** (step // 3)
    return width


def _depths(rows: Sequence[_Row]) -> dict[str, list[dict[str, Any]]]:
    """By depth of the recursion, for each category that has one."""
    deep = _by((row for row in rows if row.example.get("depth") is not None), lambda row: _category(row) or "all")
    return {name: [{"depth": depth} | _count(same) for depth, same in sorted(_by(some, _depth).items())] for name, some in deep.items()}


def _depth(row: _Row) -> int:
    return int(row.example["depth"])


def _tokens(found: Evaluation) -> dict[str, Any]:
    """How many are right by token ids, and of how many the target has pieces that the tokenizer does not know."""
    by_ids = None
    if all("target" in example for example in found.examples):
        exact = sequences.exact_match_ids()
        for prediction, example in zip(found.predictions, found.examples, strict=True):
            exact.update(prediction, example)
        by_ids = int(sum(exact.values))
    return {"right_by_ids": by_ids, "unknown": sum(bool(example.get("unknown")) for example in found.examples)}


# ---- errors -------------------------------------------------------------------------------------------------------


def _errors(rows: Sequence[_Row], most: int) -> dict[str, Any]:
    kinds, wrong = Counter(row.kind for row in rows), [row for row in rows if not row.right]
    errors = {kind: kinds[kind] for kind in sequences.KINDS if kind != "right"}
    return {"errors": errors, "examples": [_example(row) for row in _chosen(wrong, most)]}


def _chosen(wrong: Sequence[_Row], most: int) -> list[_Row]:
    """Errors from all over the set, of as many categories as can be."""
    kinds = spread(list(_by(wrong, _category).values()), most)
    quotas = [most // len(kinds) + (i < most % len(kinds)) for i in range(len(kinds))]
    return [row for some, quota in zip(kinds, quotas, strict=True) for row in spread(some, quota)]


def spread(things: Sequence[Any], most: int) -> list[Any]:
    """At most so many things, at even distances from the first on."""
    count = min(most, len(things))
    return [things[i * len(things) // count] for i in range(count)]


def _example(row: _Row) -> dict[str, Any]:
    kept = row.made[: len(row.target) + BEYOND]
    return {
        "id": str(row.example.get("id", "")),
        "text": str(row.example.get("text", "")),
        "category": _category(row),
        "kind": row.kind,
        "target": row.target,
        "made": kept,
        "more": len(row.made) - len(kept),
        "first_wrong": sequences.first_wrong(row.target, row.made),
        "score": row.score if math.isfinite(row.score) else None,
    }
