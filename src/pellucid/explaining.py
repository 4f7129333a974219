"""Explanations of whole test sets: kept line by line as they are made, so that a killed run goes on where it was."""

import hashlib
import json
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from pellucid import checkpoint
from pellucid.errors import BadData
from pellucid.explain.explain import Known, Question, explained, whole
from pellucid.explain.record import Record
from pellucid.task import Example, Task

SHOWN = 100  # examples in explanations.json, which the page holds; the lines hold all
Watch = Callable[[int, int], None]  # examples done, of all


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
    """All records in order with their summary.

    Args:
        folder: where the lines are kept and taken up again; None keeps none.
    """
    asked = {**asdict(replace(question, score=None)), "score": question.score is not None, "ids": _ids(examples)}
    asked.pop("batch_size")  # changes no result
    journal = Journal(folder, asked) if folder else None
    rows, reason = journal.read() if journal else ({}, "")
    if watch and rows:
        watch(len(rows), len(examples))
    for found, why in explained(task, examples, question, known, frozenset(rows)):
        rows |= found
        reason = reason or why
        if journal:
            journal.write(found, why)
        if watch:
            watch(len(rows), len(examples))
    return whole(task, question, [rows[i] for i in range(len(examples))], reason)


def shown(found: Record) -> Record:
    """The same with as many examples as a page bears, from all over the set."""
    every = -(-len(found["examples"]) // SHOWN) or 1
    return {**found, "examples": found["examples"][::every]}


def _ids(examples: Sequence[Example]) -> str:
    """What is explained, in short: another text under the same id is another example."""
    told = json.dumps([{k: v for k, v in e.items() if isinstance(v, (str, int, float, bool))} for e in examples], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def write(found: Record, folder: pathlib.Path) -> None:
    """Writes `explanations.json`."""
    checkpoint.write_json(folder / "explanations.json", shown(found))
