"""Numbers of answered questions: how often the answer, and its type, is right.

A prediction's `reply` and an example's `answer` have `type` (`obj`, `attr` ... of GQA, `binary`, `reg` and `attr` of CLEVR) and `value`;
an example without an answer does not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pellucid.errors import BadData
from pellucid.metrics.gathered import Memo
from pellucid.metrics.shares import Part, Share
from pellucid.task import Example, Metric


def reply_metrics(typed: bool = True) -> dict[str, Metric]:
    """The share of right answers, and of right types; `per_kind` tells them by the example's `question_type`, else by the answer's.

    An answer is right if its type and its value are: the value of a wrong type is that of another head.

    Args:
        typed: types are told; otherwise one head gives all answers, and an answer is right if its value is.
    """
    memo = Memo(partial(judged, typed=typed))
    accuracy: dict[str, Metric] = {"answer_accuracy": Share(partial(_part, of="answer"), memo)}
    return accuracy | ({"answer_type_accuracy": Share(partial(_part, of="type"), memo)} if typed else {})


@dataclass(frozen=True, eq=False)
class Judged:
    """A reply beside the right one; `kind` is None where the example has no answer."""

    kind: str | None = None
    type: bool = False
    answer: bool = False


def judged(prediction: Any, example: Example, typed: bool = True) -> Judged:
    """The reply of a pair.

    Args:
        typed: as of `reply_metrics`.
    Raises:
        BadData: the prediction has no reply of a type and a value, or the example's answer has not both.
    """
    if example.get("answer") is None:
        return Judged()
    name = f"example {example.get('id', 'without id')!r}"
    right = _of(example["answer"], f"{name}: answer")
    given = _of(prediction.get("reply") if isinstance(prediction, Mapping) else prediction, f"prediction of {name}: reply")
    alike = not typed or right[0] == given[0]
    return Judged(str(example.get("question_type") or right[0]), alike, alike and right[1] == given[1])


def _of(given: Any, what: str) -> tuple[str, str]:
    if not isinstance(given, Mapping) or given.get("type") is None or given.get("value") is None:
        raise BadData(f"{what} is {given!r}; expected a type and a value")
    return str(given["type"]), str(given["value"])


def _part(row: Judged, of: Literal["answer", "type"]) -> Sequence[Part]:
    return () if row.kind is None else (Part(float(row.answer if of == "answer" else row.type), kinds=(row.kind,)),)
