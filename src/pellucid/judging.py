"""Predictions that another program wrote, measured by the task's own metrics."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.data import tables
from pellucid.errors import BadData
from pellucid.finding import MAPPED, PARALLEL, has_boxes, has_map
from pellucid.metrics.paired import finite
from pellucid.recipe import Data
from pellucid.run import Run
from pellucid.task import Example, Metric, Task

COLUMNS = ("prediction", "quality", "text")  # the first that a file has holds its predictions


@dataclass(frozen=True)
class Row:
    """A row of a file of predictions.

    Args:
        where: how messages call it.
        value: what it predicts, as the file has it.
    """

    where: str
    cells: Mapping[str, Any]
    value: Any


def measured(run: Run, data: Data, file: str) -> dict[str, Any]:
    """The task's metrics of a file's predictions, as `Run.measured` tells those of the model, which is not asked; nothing is written.

    A set has `unmeasured` beside its metrics where some of them need more than the file tells: the reason of each; their value is None.

    Args:
        file: what `pellucid predict` writes, a text with a prediction a line, or a table with a column `prediction`, `quality` or
            `text`; rows are the examples of the same `id` where the file has ids, else those at the same place.
    Raises:
        BadData: not one prediction for each example, or one that is none of the task's.
    """
    examples = run.prepared(data)
    rows = _matched(file, _read(file), examples, data.source)
    predictions = [_prediction(run.task, row, example, data.labels) for row, example in zip(rows, examples, strict=True)]
    metrics = run.task.metrics()
    refused: dict[str, str] = {}
    for row, prediction, example in zip(rows, predictions, examples, strict=True):
        _count(metrics, row, prediction, example, refused, first=row is rows[0])
    values = {name: None if name in refused else float(metric.compute()) for name, metric in metrics.items()}
    told = {name: {"value": values[name], "higher_is_better": metric.higher_is_better} for name, metric in metrics.items()}
    found = {"n": len(examples), "metrics": told, **({"unmeasured": refused} if refused else {})}
    return {"score_unit": run.task.score_unit, "sets": {pathlib.Path(data.source).name: found}}


def _count(metrics: Mapping[str, Metric], row: Row, prediction: Any, example: Example, refused: dict[str, str], first: bool) -> None:
    """One update of each metric; those that refuse the first prediction want more than such a file holds, and go to `refused`."""
    for name, metric in metrics.items():
        try:
            if name not in refused:
                metric.update(prediction, example)
        except ValueError as error:
            refused[name] = str(error)
            if not first or len(refused) == len(metrics):
                raise BadData(f"{row.where}: {next(iter(refused.values())) if first else error}") from None


# ---- reading ----------------------------------------------------------------------------------------------------------


def _read(file: str) -> list[Row]:
    """The file's rows; of a text each line is a `text`, unless it is what `pellucid predict` prints."""
    place, _, query = (file, "", "") if pathlib.Path(file).is_file() else file.partition("?")
    options = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
    kind = tables.kind_of(place) or "lines"
    rows = tables.by_number(kind, place, options)
    if kind == "lines" and _printed(next(iter(rows.values()))):
        rows = tables.by_number("jsonl", place, options)
    name = pathlib.Path(place).name
    return [_row(f"{name} row {number}", cells) for number, cells in rows.items()]


def _printed(row: Mapping[str, Any]) -> bool:
    """Whether a line is an answer as `pellucid predict` prints it."""
    try:
        found = json.loads(row.get("text", ""))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool({"prediction", "quality", "boxes_xyxy", "map"} & found.keys())


def _row(where: str, cells: Mapping[str, Any]) -> Row:
    if has_boxes(cells) or has_map(cells):
        return Row(where, cells, {key: cells[key] for key in (*PARALLEL, *MAPPED) if key in cells})
    column = next((name for name in COLUMNS if name in cells), None)
    if column is None:
        remedy = "boxes are read from the lines of JSON that `pellucid predict` prints" if "x0" in cells else "name it so"
        raise BadData(f"{where}: no column 'prediction'; the columns are {', '.join(cells)}; {remedy}")
    if cells[column] is None:
        raise BadData(f"{where}: no prediction")
    return Row(where, cells, cells[column])


def _matched(file: str, rows: Sequence[Row], examples: Sequence[Example], source: str) -> list[Row]:
    """One row for each example, by id where there are ids, else by order."""
    known = [str(example["id"]) for example in examples]
    counted = f"{len(rows)} predictions for the {len(known)} examples of {source}"
    found: Mapping[Any, Row] = dict(enumerate(rows))
    wanted: Mapping[Any, str] = dict(enumerate(known))
    if any("id" in row.cells for row in rows):
        found, wanted = _by_id(rows), {name: name for name in known}
        if len(wanted) < len(known):
            twice = next(name for i, name in enumerate(known) if name in known[:i])
            raise BadData(f"{source}: the id {twice!r} is there twice; without a column id {file} is matched by order")
    for key, row in found.items():
        if key not in wanted and "id" in row.cells:
            told = f"{source} has no id {key!r}, but such as {known[0]!r}"
            raise BadData(f"{row.where}: {told}; {counted}; without a column id the order counts")
        if key not in wanted:
            raise BadData(f"{file}: {counted}; the first too many is {row.where}")
    missing = next((name for key, name in wanted.items() if key not in found), None)
    if missing is not None:
        raise BadData(f"{file}: {counted}; the first without one is {missing!r}")
    return [found[key] for key in wanted]


def _by_id(rows: Sequence[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        name = row.cells.get("id")
        if name is None or name == "":
            raise BadData(f"{row.where}: the row has no id, and others have")
        if str(name) in found:
            raise BadData(f"{row.where}: the id {name!r} is that of {found[str(name)].where}, too; expected one prediction for each")
        found[str(name)] = row
    return found


# ---- values -----------------------------------------------------------------------------------------------------------


def _prediction(task: Task, row: Row, example: Example, renamed: Mapping[str, str]) -> Any:
    """What the row predicts, as the task's metrics take it.

    Args:
        renamed: labels of the data under other names, which predictions may have as well.
    """
    value = row.value
    if isinstance(value, Mapping):
        return value
    if own := getattr(task, "prediction", None):
        if not isinstance(value, (str, int, float)):
            raise BadData(f"{row.where}: the prediction is {value!r}, expected a text")
        return own(str(value))
    if task.score_unit == "value" or isinstance(example.get("label"), (int, float)):
        return _number(value, row, example)
    names = list(map(str, getattr(task, "labels", ())))
    if not names or "label" not in example:
        return value
    label = renamed.get(str(value), str(value))
    if label not in names:
        some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise BadData(f"{row.where}: the prediction {label!r} is not one of {some}; rename it with --label {label}=NAME")
    return label


def _number(value: Any, row: Row, example: Example) -> float:
    try:
        return finite(value, example, f"{row.where}: the prediction")
    except ValueError as error:
        raise BadData(str(error)) from None
