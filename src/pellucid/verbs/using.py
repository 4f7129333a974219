"""Verbs that ask a run about examples."""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from pellucid import grids
from pellucid.progress import Watching
from pellucid.verbs.shared import Given, data_of, names, print_json, settings_of

MANY = 20  # examples that a terminal still shows one by one


def predict(given: Given) -> int:
    """A line of JSON per input, or a table."""
    from pellucid import predicting, run

    done = run.load(given.run)
    if given.broken == "skip":
        predicting.leave_out_broken(done.task)
    rows = done.predict(_inputs(given, done.task, given.inputs), given.probs)
    if given.csv:
        predicting.write_csv(rows, pathlib.Path(given.csv))
        print(given.csv, file=sys.stderr)
    elif given.json:
        print_json(rows)
    else:
        print("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return 0


def _inputs(given: Given, task: Any, inputs: Sequence[str]) -> list[Any]:
    from pellucid.predicting import examples_of

    return examples_of(inputs, getattr(task, "takes", "text"), lambda source: data_of(given, source))


def explain(given: Given) -> int:
    """Coloured words on the terminal, JSON, a page, a picture; for many examples what they say together."""
    from pellucid import run

    done = run.load(given.run)
    inputs = _inputs(given, done.task, given.input) if given.input else None
    with Watching(given.quiet) as watching:
        found = done.explain(
            inputs,
            None if given.all else given.num,
            given.out,
            lambda at, of: watching.count(at, of, "explaining"),
            methods=names(given.compare or given.method),
            site=given.site,
            answer=given.answer,
            checks=_checks(given.check),
            options=settings_of(given),
            flow="all" if given.all_layers else (),
            batch_size=given.batch_size,
            seed=given.seed,
        )
    for path in (given.html, given.png):
        if path:
            print(found.save(path), file=sys.stderr)
    if found["passes"]:
        print(f"every pass ran the whole model: {found['passes']}", file=sys.stderr)
    if given.json:
        print_json(found.to_dict())
        return 0
    console = Console()
    if len(found.examples) <= MANY:
        for record in found.examples:
            grids.explanation(console, record, found.score_unit)
    if len(found.examples) > 1:
        from pellucid.explain import render

        console.print(render.summary(found.summary))
    return 0


def _checks(text: str) -> tuple[str, ...] | None:
    """Which checks: None for the cheap ones."""
    from pellucid.explain.checks import CHECKS

    return {"cheap": None, "none": (), "all": tuple(CHECKS)}.get(text, names(text))
