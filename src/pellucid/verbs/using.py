"""Verbs that ask a run about examples."""

import json
import pathlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from pellucid import grids
from pellucid.errors import BadData, BadUsage
from pellucid.progress import Watching
from pellucid.verbs.shared import Given, data_of, names, opened, print_json, settings_of

MANY = 20  # examples that a terminal still shows one by one


def predict(given: Given) -> int:
    """A line of JSON per input as it is answered, or a table."""
    from pellucid import predicting, wording

    if given.every < 1:
        raise BadUsage(f"--every {given.every}: expected a whole number of frames above 0")
    done = opened(given)
    words = wording.wanted(done.task, given.text, _labels(given.labels))
    if given.broken == "skip":
        predicting.leave_out_broken(done.task)
    inputs = _inputs(given, done.task, given.inputs)
    if given.coco and words:
        raise BadUsage("--coco: COCO's results have categories and no words; leave --text and --labels out")
    if given.coco:
        return _coco(given, done, inputs)
    drawn, maps = _gallery(given, done.task, inputs, words), _atlas(given, inputs)
    asking = predicting.Asking(given.probs, given.threshold, given.every, drawn, maps, words)
    rows: list[dict[str, Any]] = []
    try:
        for row in predicting.predicted(done, inputs, asking):
            if given.csv or given.json:
                rows.append(row)
            else:
                print(json.dumps(row, ensure_ascii=False), flush=True)
    except BadData:
        if rows:  # of a video cut short what it had is told
            _tell(given, rows)
        raise
    _tell(given, rows)
    return 0


def _coco(given: Given, done: Any, inputs: Sequence[Any]) -> int:
    """Every box of every picture, whatever its score, as COCO's results."""
    from pellucid.metrics.coco_files import write_results
    from pellucid.run import prepare

    if not all(isinstance(e, dict) and {"image_id", "category_ids"} <= e.keys() for e in inputs):
        raise BadUsage(
            "--coco: COCO's results name pictures and categories by COCO's ids; ask about coco:FILE.json or coco:FOLDER?split=..."
        )
    found = done.measure(prepare(done.task, inputs, "input"), labelled=False)
    if not found.predictions or "boxes_xyxy" not in found.predictions[0]:
        raise BadUsage(f"--coco: {type(done.task).__name__} predicts no boxes")
    write_results(found.predictions, found.examples, pathlib.Path(given.coco))
    print(given.coco, file=sys.stderr)
    return 0


def _tell(given: Given, rows: list[dict[str, Any]]) -> None:
    from pellucid import predicting

    if given.csv:
        predicting.write_csv(rows, pathlib.Path(given.csv))
        print(given.csv, file=sys.stderr)
    elif given.json:
        print_json(rows)


def _labels(text: str | None) -> tuple[str, ...]:
    """`cup, laptop` as its names."""
    return () if text is None else tuple(text.split(","))


def _gallery(given: Given, task: Any, inputs: Sequence[Any], words: Any) -> Any:
    """Where boxes are drawn; None where that was not asked."""
    from pellucid.drawing import READABLE, Gallery
    from pellucid.wording import takes_words

    if not given.draw:
        return None
    labels = words.captions if words and words.labels else getattr(task, "labels", ())
    return Gallery(pathlib.Path(given.draw), tuple(map(str, labels)), _files(inputs), READABLE if takes_words(task) else 0)


def _atlas(given: Given, inputs: Sequence[Any]) -> Any:
    """Where maps go; None where that was not asked."""
    from pellucid.drawing import Atlas

    return Atlas(pathlib.Path(given.maps), _files(inputs)) if given.maps else None


def _files(inputs: Sequence[Any]) -> list[str]:
    """Those inputs that are files."""
    files = [e.get("video") or e.get("image") for e in inputs if isinstance(e, dict)]
    return [file for file in files if isinstance(file, str)]


def _inputs(given: Given, task: Any, inputs: Sequence[str]) -> list[Any]:
    from pellucid.pairing import paired
    from pellucid.predicting import examples_of

    found = examples_of(inputs, getattr(task, "takes", "text"), lambda source: data_of(given, source))
    return paired(task, found, given.reference, inputs)


def explain(given: Given) -> int:
    """Coloured words on the terminal, JSON, a page, a picture; for many examples what they say together."""
    done = opened(given)
    if given.reference and not given.input:
        raise BadUsage(f"--reference {given.reference}: needs --input, the pictures that are compared with it")
    inputs = _asked(given, done.task)
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
    if len(found.texts) <= MANY:
        for records in found.texts:
            if len(records) > 1:
                grids.matrices(console, records)
            else:
                grids.explanation(console, records[0], found.score_unit)
    if len(found.examples) > 1:
        from pellucid.explain import render

        console.print(render.summary(found.summary))
        for site, together in found.beside.items():
            console.print(f"the same at {site}", highlight=False, style="bold")
            console.print(render.summary(together))
    return 0


def _asked(given: Given, task: Any) -> list[Any] | None:
    """What is explained; of a task that searches for words each picture with each caption. None where nothing was named."""
    from pellucid.wording import takes_words, wanted, worded

    if not takes_words(task):
        named = [*given.input, *given.text]
        return _inputs(given, task, named) if named else None
    if given.text and not given.input:
        raise BadUsage("--text: needs --input, the pictures that are searched")
    found, words = _inputs(given, task, given.input) if given.input else None, wanted(task, given.text)
    if found is None or words is None:
        return found
    rows: list[Any] = []
    for caption in words.captions:
        for row in worded(task, found, replace(words, captions=(caption,))):
            assert isinstance(row, dict), "a picture's row"
            rows.append({**row, "id": f"{row['id']}: {caption}"})
    return rows


def _checks(text: str) -> tuple[str, ...] | None:
    """Which checks: None for the cheap ones."""
    from pellucid.explain.checks import CHECKS

    return {"cheap": None, "none": (), "all": tuple(CHECKS)}.get(text, names(text))
