"""What training tells: metrics.jsonl always, and CSV, TensorBoard, Weights & Biases or MLflow by name."""

import csv
import importlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from pellucid.coerce import nearest
from pellucid.errors import BadUsage

Row = dict[str, float]
TRACKERS = {"csv": "", "tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}  # name -> package it needs


@runtime_checkable
class Tracker(Protocol):
    """Somewhere that rows of numbers go."""

    def log(self, row: Row) -> None:
        """Takes one row; `step` is in it."""

    def close(self) -> None:
        """Writes what is held back."""


class Log:
    """Writes rows to `metrics.jsonl` and to the named trackers.

    A resumed run forgets the rows after the step it resumes from.
    """

    def __init__(self, folder: pathlib.Path, trackers: Sequence[str], resume_step: int):
        self.path = folder / "metrics.jsonl"
        if self.path.exists():
            kept = [line for line in self.path.read_text().splitlines() if _step(line) <= resume_step]
            temporary = self.path.with_name("metrics.jsonl.tmp")
            temporary.write_text("".join(line + "\n" for line in kept))
            os.replace(temporary, self.path)
        self.trackers = [tracker(name, folder, resume_step) for name in trackers]

    def write(self, row: Row) -> None:
        """Appends one row; it is on disk when this returns."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for one in self.trackers:
            one.log(row)

    def close(self) -> None:
        """Closes the trackers."""
        for one in self.trackers:
            one.close()


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:  # a line cut short by a kill
        return float("inf")


def tracker(name: str, folder: pathlib.Path, resume_step: int) -> Tracker:
    """The tracker of that name.

    Raises:
        BadUsage: an unknown name, or its package is not installed.
    """
    if name not in TRACKERS:
        raise BadUsage(f"loop.loggers={name}" + nearest(name, list(TRACKERS)))
    if name == "csv":
        return Table(folder)
    try:
        library = importlib.import_module("torch.utils.tensorboard" if name == "tensorboard" else name)
    except ImportError:
        raise BadUsage(f"loop.loggers={name}: package {TRACKERS[name]!r} is not installed; pip install {TRACKERS[name]}") from None
    kinds: dict[str, Callable[[Any, pathlib.Path, int], Tracker]] = {
        "tensorboard": TensorBoard,
        "wandb": WeightsAndBiases,
        "mlflow": MLflow,
    }
    return kinds[name](library, folder, resume_step)


class Table:
    """`metrics.csv`: the rows of metrics.jsonl under the union of their columns."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def log(self, row: Row) -> None:
        """Nothing: the table is written from metrics.jsonl at the end."""

    def close(self) -> None:
        """Writes the table."""
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (self.folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


class TensorBoard:
    """Event files under `tensorboard/`."""

    def __init__(self, library: Any, folder: pathlib.Path, resume_step: int):
        self.writer = library.SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1 if resume_step else None)

    def log(self, row: Row) -> None:
        """One scalar per number."""
        for key, value in row.items():
            if key != "step":
                self.writer.add_scalar(key, value, int(row["step"]))

    def close(self) -> None:
        """Flushes."""
        self.writer.close()


class WeightsAndBiases:
    """A run named after the folder, resumed under the same id."""

    def __init__(self, library: Any, folder: pathlib.Path, resume_step: int):
        self.run = library.init(
            project="pellucid", name=folder.name, id=folder.name, dir=str(folder), resume="allow" if resume_step else None
        )

    def log(self, row: Row) -> None:
        """One call per row."""
        self.run.log(row, step=int(row["step"]))

    def close(self) -> None:
        """Ends the run."""
        self.run.finish()


class MLflow:
    """A run named after the folder in the tracking place MLflow is set to."""

    def __init__(self, library: Any, folder: pathlib.Path, resume_step: int):
        self.library = library
        library.set_experiment("pellucid")
        library.start_run(run_name=folder.name)

    def log(self, row: Row) -> None:
        """One call per row."""
        self.library.log_metrics({k.replace("/", "."): v for k, v in row.items()}, step=int(row["step"]))

    def close(self) -> None:
        """Ends the run."""
        self.library.end_run()
