"""Answers to questions: what each head can say, what an example asks of it, and what the heads say."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.coerce import natural
from pellucid.data.grounding.modulated import ATTRIBUTES
from pellucid.data.pictures import where
from pellucid.data.sources import read_json
from pellucid.errors import BadData, BadUsage
from pellucid.losses.grounding import Replies, reply_amounts, reply_losses
from pellucid.nn.mdetr import ANSWERS
from pellucid.task import Batch, Example, Output

FILE = "answers.json"  # of a run's preprocessing
UNIFIED = "answer"  # the one type of answers where one head gives all
UNKNOWN = "unknown"  # in the authors' lists, whatever is not in them
# types of answers, in the order of the published head that tells them
TYPES: Mapping[str, Sequence[str]] = {
    "gqa": ("obj", "attr", "rel", "global", "cat"),
    "gqa_unified": (UNIFIED,),
    "clevr": ("binary", "attr", "reg"),
}
CLEVR: Mapping[str, Sequence[str]] = {
    "binary": ("no", "yes"),
    "attr": ATTRIBUTES,
    "reg": tuple(str(count) for count in range(ANSWERS["clevr"]["reg"])),
}


@dataclass(frozen=True)
class Vocabulary:
    """What each head can say: by type of answer, in the order of the head that tells types, the values in that of its logits."""

    values: Mapping[str, Sequence[str]]

    @cached_property
    def numbers(self) -> Mapping[str, Mapping[str, int]]:
        """Of each type the number of each value."""
        return {kind: {value: i for i, value in enumerate(values)} for kind, values in self.values.items()}

    @property
    def unified(self) -> bool:
        """Whether one head gives all answers, whatever their type."""
        return tuple(self.values) == (UNIFIED,)

    def checked(self, examples: Sequence[Example]) -> None:
        """Whether each answer has a value, and a type that there is a head of; its value may be new.

        Raises:
            BadData: with the row.
        """
        for example in examples:
            answer = example.get("answer")
            if answer is None:
                continue
            if not isinstance(answer, Mapping) or not all(isinstance(answer.get(key), str) for key in ("type", "value")):
                raise BadData(f'{where(example)}: the answer is {answer!r}; expected {{"type": ..., "value": ...}}, both text')
            if not self.unified and answer["type"] not in self.values:
                raise BadData(f"{where(example)}: the answer is of type {answer['type']!r}; this model's are {', '.join(self.values)}")

    def place(self, answer: Mapping[str, str] | None) -> tuple[int, int] | None:
        """Numbers of the answer's type and value; of a value that is not there, of `unknown`, or nothing."""
        if answer is None:
            return None
        kind = UNIFIED if self.unified else answer["type"]
        known = self.numbers[kind]
        number = known.get(answer["value"], known.get(UNKNOWN))
        return None if number is None else (tuple(self.values).index(kind), number)

    # ---- training ----------------------------------------------------------------------------------------------------

    def batch(self, examples: Sequence[Example]) -> Batch:
        """`reply_kind`, the type of each example's answer, -1 where there is none that a head could give, and `reply_value` (b)."""
        places = [self.place(e.get("answer")) or (-1, 0) for e in examples]
        kind, value = torch.tensor(places).unbind(1)
        return {"reply_kind": kind, "reply_value": value}

    def _asked(self, batch: Batch) -> Replies:
        return Replies(tuple(self.values), batch["reply_kind"], batch["reply_value"])

    def losses(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Of each head over the examples that ask for its kind of answer, in nats."""
        return reply_losses(output, self._asked(batch))

    def amounts(self, batch: Batch) -> dict[str, float]:
        """How many examples each of these losses is a mean over."""
        found = reply_amounts(self._asked(batch))
        return {name: amount for name, amount in found.items() if name != "reply_type" or not self.unified}

    # ---- predictions -------------------------------------------------------------------------------------------------

    def told(self, output: Output) -> list[dict[str, Any]]:
        """Of each example the likeliest answer of the likeliest type that has any: `type`, `value` and its probability, `score`."""
        kinds = [kind for kind, values in self.values.items() if values]
        places = [tuple(self.values).index(kind) for kind in kinds]
        probs = [self._probs(output, kind) for kind in kinds]  # of each type b c
        best = [one.max(-1) for one in probs]
        of_type = torch.ones(len(probs[0]), 1) if self.unified else output["reply_type"].detach().float().cpu()[:, places].softmax(-1)
        chosen = of_type.argmax(-1).tolist()
        rows = enumerate(chosen)
        return [
            {
                "type": kinds[i],
                "value": self.values[kinds[i]][int(best[i].indices[row])],
                "score": float(of_type[row, i] * best[i].values[row]),
            }
            for row, i in rows
        ]

    def _probs(self, output: Output, kind: str) -> Float[Tensor, "b c"]:
        """Of a type's values; what the head could say beside them, nobody has named."""
        logits = output[f"reply_{kind}"].detach().float().cpu()
        if logits.ndim == 1:
            logits = torch.stack([-logits / 2, logits / 2], -1)
        return logits[:, : len(self.values[kind])].softmax(-1)


# ---- vocabularies -----------------------------------------------------------------------------------------------------


def vocabulary(answers: str, listed: str, train: Sequence[Example]) -> Vocabulary:
    """What the heads can say: what is known beforehand, or else the answers that the training examples give.

    Args:
        answers, listed: as of `known`.
    Raises:
        BadData: as `known`; no training example has an answer, one has none of those known, or there are more than a head can give.
        BadUsage: as `known`.
    """
    if train and all(example.get("answer") is None for example in train):
        raise BadData(f"task.answers={answers}: no training example has an answer; read a set of questions, or leave answers empty")
    found = known(answers, listed) or _fitting(_learned(answers, train), answers, "the training examples")
    found.checked(train)
    for example in train:
        if example.get("answer") is not None and found.place(example["answer"]) is None:
            told = example["answer"]
            raise BadData(f"{where(example)}: the answer {told['value']!r} is not known of type {told['type']!r}; see {listed or answers}")
    return found


def known(answers: str, listed: str) -> Vocabulary | None:
    """What the heads can say as far as it is known beforehand: CLEVR's answers, or those of a file; else nothing.

    Args:
        answers: the name of the heads.
        listed: a JSON file of values by type, `{"obj": ["no", "yes"], ...}`, or the authors' `gqa_answer2id_by_type.json`; for the unified
            head a list, or their `gqa_answer2id.json`. Or empty.
    Raises:
        BadData: no such file, something else in it, or more values than a head can give.
        BadUsage: a file for CLEVR.
    """
    if answers == "clevr" and listed:
        raise BadUsage(f"task.answer_list={listed}: CLEVR's answers are known; leave it empty")
    if answers == "clevr":
        return Vocabulary(CLEVR)
    return _fitting(Vocabulary(_listed(pathlib.Path(listed).expanduser(), answers)), answers, listed) if listed else None


def _learned(answers: str, train: Sequence[Example]) -> Vocabulary:
    found: dict[str, set[str]] = {kind: set() for kind in TYPES[answers]}
    Vocabulary(dict.fromkeys(found, ())).checked(train)
    for example in train:
        if example.get("answer") is not None:
            found[UNIFIED if answers == "gqa_unified" else example["answer"]["type"]].add(example["answer"]["value"])
    return Vocabulary({kind: tuple(sorted(values, key=natural)) for kind, values in found.items()})


def _listed(file: pathlib.Path, answers: str) -> dict[str, Sequence[str]]:
    tree = read_json(file)
    if answers == "gqa_unified":
        return {UNIFIED: _ordered(tree, file)}
    missing = [kind for kind in TYPES[answers] if not isinstance(tree, dict) or not (kind in tree or f"answer_{kind}" in tree)]
    if missing:
        raise BadData(f"{file}: no answers of type {', '.join(missing)}; expected lists of {', '.join(TYPES[answers])}")
    return {kind: _ordered(tree.get(kind, tree.get(f"answer_{kind}")), file) for kind in TYPES[answers]}


def _ordered(values: Any, file: pathlib.Path) -> tuple[str, ...]:
    """A list of texts, or a table of their numbers from 0 on."""
    if isinstance(values, dict) and set(values.values()) == set(range(len(values))):
        values = sorted(values, key=values.__getitem__)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values) or len(set(values)) < len(values):
        raise BadData(f"{file}: {str(values)[:60]!r}; expected a list of different answers, or an object of their numbers from 0 on")
    return tuple(values)


def _fitting(found: Vocabulary, answers: str, what: str) -> Vocabulary:
    for kind, values in found.values.items():
        most = ANSWERS[answers][kind] or 2  # of a head with one logit
        if len(values) > most:
            raise BadData(f"{what}: {len(values)} different answers of type {kind!r}; its head can give {most}")
    return found


def write_answers(found: Vocabulary, folder: pathlib.Path) -> None:
    """The values by type, as JSON."""
    (folder / FILE).write_text(json.dumps(found.values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_answers(folder: pathlib.Path) -> Vocabulary:
    """What `write_answers` left there."""
    return Vocabulary({kind: tuple(values) for kind, values in json.loads((folder / FILE).read_text(encoding="utf-8")).items()})
