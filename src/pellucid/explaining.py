"""Explanations of whole test sets: kept line by line as they are made, so that a killed run goes on where it was."""

import hashlib
import itertools
import json
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from typing import Any

from pellucid import checkpoint
from pellucid.errors import BadData, BadUsage
from pellucid.explain.attribution import Statistics
from pellucid.explain.explain import Known, Question, explained, posed, statistics_at, whole
from pellucid.explain.record import Record
from pellucid.task import Example, Task

TOGETHER = 32  # training examples in one pass, where the run measures as many at once
SHOWN = 100  # examples in explanations.json, which the page holds; the lines hold all
RECORDS = 600  # where each is asked about many times, about so many records
Watch = Callable[[int, int], None]  # examples done, of all

log = logging.getLogger("pellucid")


def training_statistics(task: Task, rows: Callable[[], Sequence[Example]], site: str, batch_size: int) -> Statistics | None:
    """Statistics of the units at a site over training examples; None, with a warning, where these cannot be read.

    A run of published weights may stand where its training set does not; its examples are then measured against themselves.
    """
    try:
        examples = rows()
    except (BadData, BadUsage) as fault:
        log.warning("no training set (%s): each example is measured against its own mean unit", fault)
        return None
    return statistics_at(task, examples, site, min(TOGETHER, batch_size))


class Journal:
    """Records in a file of JSON lines, one question to a file; a line is there whole or not at all."""

    def __init__(self, folder: pathlib.Path, question: dict[str, Any]):
        self.head = {"question": question}
        key = hashlib.sha256(json.dumps(self.head, sort_keys=True).encode()).hexdigest()[:8]
        self.path = folder / f"explanations-{key}.jsonl"

    def read(self) -> tuple[dict[int, Record], str]:
        """Records by place, and why the model was run whole, if it was; a last line that was cut short is taken off.

        Raises:
            BadData: a line is not one of ours.
        """
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.head) + "\n", encoding="utf-8")
        text = self.path.read_bytes()
        kept = text[: text.rfind(b"\n") + 1]
        if kept != text:
            with self.path.open("r+b") as file:
                file.truncate(len(kept))
        rows: dict[int, Record] = {}
        reason = ""
        for number, line in enumerate(kept.decode("utf-8", "replace").splitlines()):
            try:
                entry = json.loads(line)
                if number:
                    rows[entry["at"]] = entry["record"]
                    reason = reason or entry["passes"]
            except (ValueError, KeyError, TypeError):
                raise BadData(f"{self.path}, line {number + 1}: not an explanation; move the file away to begin anew") from None
        return rows, reason

    def write(self, rows: dict[int, Record], reason: str) -> None:
        """Adds a batch's records."""
        lines = [json.dumps({"at": at, "passes": reason, "record": row}, ensure_ascii=False) + "\n" for at, row in rows.items()]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))


def explain_all(
    task: Task, examples: Sequence[Example], question: Question, known: Known, folder: pathlib.Path | None, watch: Watch | None = None
) -> Record:
    """All records in order with their summary; pictures in those alone that a page shows.

    Args:
        folder: where the lines are kept and taken up again; None keeps none.
    """
    examples = posed(task, examples, question)
    unseen = frozenset(range(len(examples))) - set(shown_places(examples))
    asked = {**asdict(replace(question, score=None)), "score": question.score is not None, "ids": _ids(examples)}
    asked.pop("batch_size")  # changes no result
    if not question.beside:
        asked.pop("beside")
    journal = Journal(folder, asked) if folder else None
    rows, reason = journal.read() if journal else ({}, "")
    if watch and rows:
        watch(len(rows), len(examples))
    for found, why in explained(task, examples, question, known, frozenset(rows), unseen):
        rows |= found
        reason = reason or why
        if journal:
            journal.write(found, why)
        if watch:
            watch(len(rows), len(examples))
    return whole(task, question, [rows[i] for i in range(len(examples))], reason)


def shown(found: Record) -> Record:
    """The same with as many examples as a page bears, from all over the set."""
    rows = found["examples"]
    return {**found, "examples": [rows[i] for i in shown_places(rows)]}


def shown_places(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places of as many examples as a page bears, from all over the set; what was asked of one example stays together."""
    who = [(row.get("set", "input"), row.get("id")) for row in rows]
    begins = [not i or one != who[i - 1] or one[1] is None for i, one in enumerate(who)]
    every = max(-(-sum(begins) // SHOWN), -(-len(rows) // RECORDS), 1)
    return [i for i, group in enumerate(itertools.accumulate(begins)) if (group - 1) % every == 0]


def _ids(examples: Sequence[Example]) -> str:
    """What is explained, in short: another text, or picture, under the same id is another example."""
    told = json.dumps([{k: plain for k, v in e.items() if (plain := _plain(v)) is not None} for e in examples], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A plain value itself, a file's bytes or its place in short, None of anything else."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, os.PathLike) or is_dataclass(value):
        return str(value)
    return value if isinstance(value, (str, int, float, bool)) else None


def write(found: Record, folder: pathlib.Path) -> None:
    """Writes `explanations.json`."""
    checkpoint.write_json(folder / "explanations.json", shown(found))
