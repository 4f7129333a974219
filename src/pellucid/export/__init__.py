"""A trained model as one file that runs without pellucid, ONNX or torch.export's, held against the run on real examples."""

import copy
import importlib.util
import pathlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pellucid import checkpoint
from pellucid import recipe as recipes
from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage, GateMissed
from pellucid.export import about, trace
from pellucid.recipe import Data
from pellucid.task import Batch, Example, Task

if TYPE_CHECKING:
    from pellucid.run import Run

FORMATS = {"onnx": ".onnx", "torch-export": ".pt2"}
TOLERANCE = 1e-4  # largest difference from the run, as a share of the largest number in an output
BATCH = 4  # examples that a model is traced with
SIZES = (1, 2, BATCH, 2 * BATCH + 1)  # and compared on


@dataclass(frozen=True)
class Exporting:
    """A run's model about to be exported.

    Args:
        settings: that built the task.
        model: the task's, on the CPU.
        rows: a few real examples, prepared, the shortest first.
        batches: of these, one per size of `SIZES`.
    """

    settings: Any
    task: Task
    model: nn.Module
    rows: Sequence[Example]
    batches: Sequence[Batch]


def export(
    run: "Run", to: str = "onnx", out: str | pathlib.Path | None = None, size: int | None = None, data: Data | None = None
) -> dict[str, Any]:
    """Writes the model to a file, with a JSON file beside it that says what is needed to use it; gives that, and the `file`.

    The batch, and of texts the length, are free. Whatever export lay there before is gone, also where this fails.

    Args:
        out: by default `export/model.onnx` or `.pt2` in the run's folder.
        size: side of the pictures, where it is not the one that the run was measured at.
        data: examples to compare on; by default those of the recipe's first test set.
    Raises:
        BadUsage: no such format, or one that needs a package that is not here; or a model that writes step by step.
        GateMissed: the file's outputs differ from the run's by more than a ten-thousandth; nothing is left.
        PellucidError: the model does what the format cannot.
    """
    place = _place(run, to, out)
    if hasattr(run.task, "force"):
        why = "writes its answer word by word, as often as that is long; an exported file would hold one pass of it"
        raise BadUsage(f"{run.folder}: {type(run.task).__name__} {why}. Ask the run itself: pellucid predict {run.folder}")
    now = _made_ready(run, size, data)
    for old in _files(place):
        if old.exists():
            (shutil.rmtree if old.is_dir() else pathlib.Path.unlink)(old)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=place.parent) as folder, torch.no_grad():
        fresh = pathlib.Path(folder) / place.name
        told = _written(run, now, to, fresh)
        for path in sorted(pathlib.Path(folder).iterdir()):
            path.replace(place.parent / path.name)
    return {"file": str(place), **told}


def _written(run: "Run", now: Exporting, to: str, file: pathlib.Path) -> dict[str, Any]:
    """The exported file with all that goes beside it, in a folder of its own; what the JSON says."""
    example = now.batches[SIZES.index(BATCH)]
    axes = trace.inputs(now.task, now.model, now.batches, example)
    given = {key: example[key] for key in axes}
    name = getattr(now.settings, "model", type(now.model).__name__)
    program = trace.program(now.model, given, axes, f"{run.folder}: the model {name}")
    call = trace.as_onnx(program, given, axes, file) if to == "onnx" else trace.as_torch(program, file)
    taken = [{key: batch[key] for key in axes} for batch in now.batches]
    ours = [now.model(batch) for batch in taken]
    apart = compared(ours, [call(batch) for batch in taken])
    worst = max(max(found.values()) for found in apart)
    if not worst <= TOLERANCE:
        raise GateMissed(f"{file.name}: outputs differ from the run's by {worst:.2g} of the largest, more than {TOLERANCE:g}; not kept")
    batches = [{"shapes": {k: list(v.shape) for k, v in b.items()}, "relative": found} for b, found in zip(taken, apart, strict=True)]
    told = {"recipe": run.recipe.name, **about.about(now.settings, now.task, now.rows[0], ours[0])}
    told |= {"format": to, "inputs": [about.tensor(key, given[key], axes[key]) for key in axes]}
    told |= {"outputs": [about.tensor(k, v, trace.free(k, [o[k] for o in ours], False)) for k, v in ours[0].items()]}
    told |= {"parity": {"largest_relative": worst, "tolerance": TOLERANCE, "batches": batches}}
    if to == "onnx":
        told |= {"opset": trace.opset(file)}
    told |= about.copy_preprocessing(run, file.with_name(f"{file.stem}.preprocessing"))
    checkpoint.write_json(file.with_suffix(".json"), told)
    return told


def compared(ours: Sequence[trace.Tensors], theirs: Sequence[trace.Tensors]) -> list[dict[str, float]]:
    """Per batch and output the largest difference, as a share of the largest finite number that the output has in any batch."""
    finite = {key: torch.cat([o[key][o[key].isfinite()].double().abs().flatten() for o in ours]) for key in ours[0]}
    largest = {key: float(values.max()) if values.any() else 1.0 for key, values in finite.items()}
    return [{key: _apart(a[key], b[key]) / largest[key] for key in a} for a, b in zip(ours, theirs, strict=True)]


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference; infinite where shapes differ, or one is not a finite number and the other is another."""
    if a.shape != b.shape:
        return float("inf")
    same = (a == b) | (a.isnan() & b.isnan())
    apart = (a.double() - b.double()).abs().nan_to_num(nan=float("inf"), posinf=float("inf"))
    return float(apart.masked_fill(same, 0.0).max()) if a.numel() else 0.0


# ---- what is asked ----------------------------------------------------------------------------------------------------


def _place(run: "Run", to: str, out: str | pathlib.Path | None) -> pathlib.Path:
    if to not in FORMATS:
        raise BadUsage(f"no export format {to!r}{nearest(to, list(FORMATS))}")
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if to == "onnx" and not importlib.util.find_spec(name)]
    if missing:
        raise BadUsage(f"export to onnx needs the package {missing[0]}: pip install 'pellucid[onnx]', or say --to torch-export")
    place = pathlib.Path(out) if out else run.folder / "export" / f"model{FORMATS[to]}"
    if place.suffix != FORMATS[to]:
        raise BadUsage(f"{place}: a file of {to} ends in {FORMATS[to]}")
    return place


def _files(place: pathlib.Path) -> list[pathlib.Path]:
    """All that an export writes."""
    beside = (f"{place.stem}.json", f"{place.name}.data", f"{place.stem}.preprocessing")
    return [place, *(place.with_name(name) for name in beside)]


def _made_ready(run: "Run", size: int | None, data: Data | None) -> Exporting:
    settings, task = _resized(run, size) if size else (run.recipe.task, run.task)
    rows = sorted(_examples(run, data), key=lambda row: row.get("length", 0))
    spread = [[rows[i * len(rows) // size if size > 1 else 0] for i in range(size)] for size in SIZES[:-1]]
    most = [rows[-1 - i % len(rows)] for i in range(SIZES[-1])]  # the longest among the last
    model = copy.deepcopy(task.model).cpu().to(memory_format=torch.contiguous_format).eval()
    return Exporting(settings, task, model, rows, [task.collate(some) for some in (*spread, most)])


def _resized(run: "Run", size: int) -> tuple[Any, Task]:
    """Settings and task with a view of another size."""
    try:
        settings = recipes.override(run.recipe, {"task.view.size": size}).task
    except BadUsage:
        raise BadUsage(f"--size {size}: {type(run.task).__name__} sees no pictures") from None
    task = settings.read(run.folder / "preprocessing")
    checkpoint.load_into(task.model, checkpoint.load(run.folder / "model.safetensors"), f"--size {size}: {run.folder}")
    return settings, task


def _examples(run: "Run", data: Data | None) -> list[Example]:
    """A few real examples, prepared."""
    first = next(iter(run.recipe.tests.values()), None)
    chosen, most = data or first or run.recipe.dev or run.recipe.train, 3 * BATCH
    try:
        return run.prepared(replace(chosen, limit=min(most, chosen.limit or most)))
    except (BadData, BadUsage) as error:
        raise type(error)(f"{error}" + ("" if data else "; --data names other examples to compare the file on")) from None
