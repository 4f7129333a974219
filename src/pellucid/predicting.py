"""What a run is asked about, from the words of a command line, and its answers as rows."""

import csv
import dataclasses
import glob
import io
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid import checkpoint
from pellucid.data import folders, sources, tables
from pellucid.data.read import kinds, read
from pellucid.errors import BadData, BadUsage
from pellucid.evaluate import Evaluation
from pellucid.recipe import Data
from pellucid.task import Example, Task

ANSWERS = ("label", "labels", "absent", "unknown", "classes", "objects")
_CHUNK = 1 << 22  # numbers looked at together where each label is scored

# ---- what is asked ----------------------------------------------------------------------------------------------------


def examples_of(entries: Iterable[str], takes: str, data_of: Callable[[str], Data] = Data) -> list[Example | str]:
    """The examples that words name: sources with their kind, tables, patterns of files; pictures and folders of them; or texts.

    Args:
        takes: what the run's task takes for an example that is not a row: "text" or "image".
        data_of: a source with the columns that were asked for.
    Raises:
        BadData: a file that is not there, or a folder without pictures.
    """
    rows: list[Example | str] = []
    for entry in entries:
        kind, _, place = entry.partition(":")
        if kind in kinds() and place:
            rows += read(data_of(entry))
        elif takes == "image":
            rows += [row for path in _matching(entry) for row in _pictures(path, data_of)]
        elif tables.kind_of(entry):
            rows += [row for path in _matching(entry) for row in read(data_of(path))]
        elif os.sep in entry and pathlib.Path(entry).is_dir():
            raise BadUsage(f"{entry}: a folder; this run takes texts, or sources with their kind, as csv:reviews.csv")
        else:
            rows.append(entry)
    return rows


def _matching(entry: str) -> list[str]:
    """The file itself, or all files that a pattern fits."""
    path = os.path.expanduser(entry)
    if os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
    if not found:
        raise BadData(f"{entry}: no file fits" if glob.has_magic(path) else f"{entry}: no such file")
    return found


def _pictures(path: str, data_of: Callable[[str], Data]) -> list[Example]:
    """A picture, all pictures of a folder at any depth, or the rows of a table or archive of pictures."""
    if os.path.isdir(path):
        root = pathlib.Path(path)
        names = folders.pictures(folders.walk(root)[0], path)
        return [{"id": str(root / name), "image": str(root / name)} for name in names]
    if sources.is_picture(path) or not (tables.kind_of(path) or path.lower().endswith((".tar", ".zip", ".npz"))):
        return [{"id": path, "image": path}]
    return read(data_of(path))


def named(examples: Sequence[Example | str], takes: str) -> list[Example]:
    """The examples as rows with an id; a string is a text, or a picture's path."""
    rows = [{takes: e, **({"id": e} if takes == "image" else {})} if isinstance(e, str) else e for e in examples]
    return [{"id": str(i + 1), **row} for i, row in enumerate(rows)]


def unanswered(example: Example | str) -> Example | str:
    """The example without its labels, which need not be the model's where it is asked for them."""
    return example if isinstance(example, str) else {key: value for key, value in example.items() if key not in ANSWERS}


def leave_out_broken(task: Task) -> None:
    """Has a task of pictures look at each whole picture first, and leave out those that cannot be read.

    Raises:
        BadUsage: it is no task of pictures.
    """
    settings: Any = getattr(task, "settings", None)
    if not hasattr(settings, "broken"):
        raise BadUsage(f"--broken skip: {type(task).__name__} reads no pictures")
    task.settings = dataclasses.replace(settings, broken="skip", check="full")  # type: ignore[attr-defined]


# ---- what is answered -------------------------------------------------------------------------------------------------


def answers(task: Task, rows: Sequence[Example], found: Evaluation, probs: bool) -> list[dict[str, Any]]:
    """A dict per row: its id and file, the prediction, the prediction's score, and where asked for every label's probability."""
    unit = "log_probability" if task.score_unit == "log-probability" else "value"
    labels = list(map(str, getattr(task, "labels", ())))
    each = zip(rows, found.predictions, found.scores.tolist(), strict=True)
    told = [{"id": row["id"], **_file(row), "prediction": _plain(given), unit: score} for row, given, score in each]
    if not probs:
        return told
    if not labels or found.logits is None or unit == "value":
        raise BadUsage(f"--probs: {type(task).__name__} gives no probabilities of labels here")
    shares = probabilities(task, torch.from_numpy(found.logits)).tolist()
    return [{**row, "probs": dict(zip(labels, share, strict=True))} for row, share in zip(told, shares, strict=True)]


def probabilities(task: Task, logits: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Every label's probability, as the task scores it: of a softmax, or of the label's own sigmoid."""
    rows, classes = logits.shape
    step = max(1, _CHUNK // max(1, classes * classes))
    parts = []
    for some in logits.split(step):
        copies = some.repeat_interleave(classes, 0)  # (n k) c
        answer = torch.arange(classes).repeat(len(some))
        parts.append(task.score({"logits": copies}, answer).exp().reshape(len(some), classes))
    return torch.cat(parts) if rows else logits


def _file(row: Example) -> dict[str, str]:
    image = row.get("image")
    return {"path": image} if isinstance(image, str) and image != row["id"] else {}


def _plain(prediction: Any) -> Any:
    """The labels alone, where a prediction holds more."""
    return prediction["labels"] if isinstance(prediction, Mapping) and "labels" in prediction else prediction


def write_csv(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """The answers as a table: several labels are parted by `|`, and each label's probability has a column `p(LABEL)`."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(path, text.getvalue())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    shares = {f"p({label})": share for label, share in row.get("probs", {}).items()}
    plain = {key: "|".join(map(str, v)) if isinstance(v, (list, tuple)) else v for key, v in row.items() if key != "probs"}
    return {**plain, **shares}
