"""Numbers for written sequences: exact match by words and by token ids, the share of right tokens, and how a wrong one is wrong.

A prediction is a dict with `text` (words parted by blanks) and `tokens` (the ids made, the end token last if it was made), or, from
another program, the text alone; an example has `label` (text), `target` (ids, the end token last) and perhaps `category`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pellucid.errors import BadData
from pellucid.metrics.paired import checked, once, target_of
from pellucid.task import Example

Share = tuple[float, int]  # how many (or how much) are right, of how many

KINDS = ("right", "no end", "cut short", "too long", "wrong order", "wrong word", "wrong structure")
SEPARATORS = ("AND", ";")
MARKS = {*SEPARATORS, "LAMBDA", "agent", "theme", "recipient", "nmod", "ccomp", "xcomp"}  # COGS; single letters and numbers are marks too
DEVIATE = 1.959963984540054  # of the normal distribution, between whose signs 95% lie


# ---- metrics ------------------------------------------------------------------------------------------------------


class PerSequence:
    """The mean of a number from 0 to 1 that is told of each prediction and its example, also by the examples' `category`."""

    higher_is_better = True

    def __init__(self, judge: Callable[[Any, Example], float]):
        self.judge = judge
        self.values: list[float] = []
        self.categories: list[str | None] = []

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one prediction.

        Raises:
            BadData: it does not hold what is judged, or the example does not.
        """
        self.values.append(float(self.judge(prediction, example)))
        self.categories.append(None if example.get("category") is None else str(example["category"]))

    def merge(self, other: "PerSequence") -> None:
        """Appends what another has gathered."""
        self.values += other.values
        self.categories += other.categories

    def compute(self) -> float:
        """The mean so far; NaN of none."""
        return float(self.resample(once(len(self.values)))[0]) if self.values else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean for every row of multiplicities, examples in the order of the updates."""
        return weights @ np.asarray(self.values, dtype=np.float64) / weights.sum(1)

    def per_category(self) -> dict[str, Share]:
        """Sum and count by category, in the order of their first examples; an example without one is in none."""
        found: dict[str, Share] = {}
        for value, category in zip(self.values, self.categories, strict=True):
            if category is not None:
                right, n = found.get(category, (0.0, 0))
                found[category] = (right + value, n + 1)
        return found


def exact_match(key: str = "label") -> PerSequence:
    """Share of predictions whose words are those of the label; blanks do not count."""
    return PerSequence(lambda prediction, example: words_of(prediction, example) == target_of(example, key).split())


def exact_match_ids(key: str = "target") -> PerSequence:
    """Share of predictions with the target's id at every position of the target, its end token included.

    Predictions may be wider or narrower. What follows the end token does not count, and nothing can hide in it: a longer output has
    another id where the end is due.
    """
    return PerSequence(lambda prediction, example: bool(_hits(prediction, example, key).all()))


def token_accuracy(key: str = "target") -> PerSequence:
    """Share of the target's positions with the right id, its end token included; positions that are not reached are wrong."""
    return PerSequence(lambda prediction, example: float(_hits(prediction, example, key).mean()))


# ---- reading ------------------------------------------------------------------------------------------------------


def words_of(prediction: Any, example: Example) -> list[str]:
    """The words of a prediction, of whichever blanks part them.

    Raises:
        BadData: it is neither text nor a dict with `text`.
    """
    text = prediction.get("text") if isinstance(prediction, Mapping) else checked(prediction, example)
    if not isinstance(text, str):
        raise BadData(f"prediction {prediction!r} of example {_name(example)} is no text; expected a string, or a dict with `text`")
    return text.split()


def ended(prediction: Mapping[str, Any], example: Example) -> bool:
    """Whether the end token was made, so far as ids tell; an output without them has ended."""
    if "tokens" not in prediction or "target" not in example:
        return True
    made, end = prediction["tokens"], int(example["target"][-1])
    return any(int(token) == end for token in made)


def _hits(prediction: Any, example: Example, key: str) -> np.ndarray:
    """Of each position of the target whether the right id was made there."""
    if not isinstance(prediction, Mapping) or "tokens" not in prediction:
        raise BadData(
            f"prediction of example {_name(example)} holds no token ids; expected a dict with `tokens`, text alone has exact match"
        )
    made, target = _ids(prediction["tokens"], example, "prediction"), _ids(target_of(example, key), example, key)
    if not len(target):
        raise BadData(f"{key} of example {_name(example)} is empty; expected ids, the end token last")
    hits = np.zeros(len(target), dtype=bool)
    both = min(len(made), len(target))
    hits[:both] = made[:both] == target[:both]
    return hits


def _ids(given: Any, example: Example, what: str) -> Int[np.ndarray, " t"]:
    ids = np.asarray(given)
    if ids.ndim != 1 or (len(ids) and not np.issubdtype(ids.dtype, np.integer)):
        raise BadData(f"{what} of example {_name(example)} is no row of token ids; expected whole numbers")
    return ids.astype(np.int64)


def _name(example: Example) -> str:
    return repr(example.get("id", "without id"))


# ---- how a wrong one is wrong -------------------------------------------------------------------------------------


def first_wrong(target: Sequence[str], made: Sequence[str]) -> int | None:
    """The first place, from 0, where one has another word than the other, or none; None where they are alike."""
    same = next((i for i, (a, b) in enumerate(zip(target, made, strict=False)) if a != b), min(len(target), len(made)))
    return None if same == len(target) == len(made) else same


def error_kind(target: Sequence[str], made: Sequence[str], end: bool = True) -> str:
    """The first of `KINDS` that holds.

    right: the same words. no end: the output ran to its limit. cut short: the target goes on after it, also where it is empty.
    too long: it goes on after the target. wrong order: the same conjuncts, parted by AND and ;, in another order (COGS: the same
    meaning). wrong word: as long as the target, and what differs are words: no marks, variables or relations. wrong structure: all
    else.

    Args:
        end: the end token was made.
    """
    target, made, common = list(target), list(made), min(len(target), len(made))
    if target == made:
        return "right"
    if not end:
        return "no end"
    if target[:common] == made[:common]:
        return "cut short" if len(made) < len(target) else "too long"
    if Counter(target) == Counter(made) and _conjuncts(target) == _conjuncts(made):
        return "wrong order"
    differing = [word for pair in zip(target, made, strict=False) if pair[0] != pair[1] for word in pair]
    if len(target) == len(made) and not any(map(_is_mark, differing)):
        return "wrong word"
    return "wrong structure"


def _conjuncts(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in SEPARATORS:
            parts.append([])
        else:
            parts[-1].append(word)
    return Counter(map(tuple, parts))


def _is_mark(word: str) -> bool:
    return len(word) == 1 or word in MARKS or not any(letter.isalpha() for letter in word)


# ---- shares of counts ---------------------------------------------------------------------------------------------


def wilson(right: float, n: int) -> tuple[float, float]:
    """Low and high end of the 95% interval of a share, of use at 0 and 1 too; NaN of no examples.

    Source: Wilson 1927.
    """
    if not n:
        return float("nan"), float("nan")
    share, square = right / n, DEVIATE**2
    middle, half = share + square / (2 * n), DEVIATE * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low, high = (middle - half) / (1 + square / n), (middle + half) / (1 + square / n)
    return (0.0 if right == 0 else low), (1.0 if right == n else high)


def macro(shares: Mapping[str, Share], names: Sequence[str] | None = None) -> float:
    """The mean of the categories' shares, each with the same weight; NaN of none.

    Args:
        names: the categories that count, where they occur; by default all.
    """
    counted = [right / n for name, (right, n) in shares.items() if n and (names is None or name in names)]
    return sum(counted) / len(counted) if counted else float("nan")
