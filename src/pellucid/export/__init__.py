"""A trained model as one file that runs without pellucid, ONNX or torch.export's, held against the run on real examples."""

import copy
import importlib.util
import pathlib
import shutil
import tempfile
from collections.abc import Collection, Sequence
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
from pellucid.task import Batch, Example, Output, Task

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
        batches: of these, one per size of `SIZES`, the last one with room beside its pictures.
        stages: the model's methods, each of which becomes a program, the last of which gives what the model gives.
        pictures: keys of pictures whose size is free.
    """

    settings: Any
    task: Task
    model: nn.Module
    rows: Sequence[Example]
    batches: Sequence[Batch]
    stages: Sequence[str]
    pictures: Collection[str]


@dataclass(frozen=True)
class Made:
    """A program that was written.

    Args:
        stage: the model's method.
        inputs: name, type and shape of each.
        outputs: the same of what it gives.
        taken: what it was given of each batch.
        apart: how far each output is from the run's.
    """

    stage: str
    file: pathlib.Path
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    taken: list[trace.Tensors]
    apart: list[dict[str, float]]


def export(
    run: "Run",
    to: str = "onnx",
    out: str | pathlib.Path | None = None,
    size: int | None = None,
    data: Data | None = None,
    stages: bool = False,
) -> dict[str, Any]:
    """Writes the model to a file, with a JSON file beside it that says what is needed to use it; gives that, and the `file`.

    The batch, of texts the length, and of a detector's pictures the size are free. Whatever export lay there before is gone, also
    where this fails.

    Args:
        out: by default `export/model.onnx` or `.pt2` in the run's folder.
        size: side of the pictures, where it is not the one that the run was measured at.
        data: examples to compare on; by default those of the recipe's first test set.
        stages: a file for each of the calls that the model can be run in, as `model.look.onnx` and `model.ask.onnx`; `file` is the JSON's.
    Raises:
        BadUsage: no such format, or one that needs a package that is not here; a model that writes step by step, or has no stages.
        GateMissed: the file's outputs differ from the run's by more than a ten-thousandth; nothing is left.
        PellucidError: the model does what the format cannot.
    """
    place = _place(run, to, out)
    if hasattr(run.task, "force"):
        why = "writes its answer word by word, as often as that is long; an exported file would hold one pass of it"
        raise BadUsage(f"{run.folder}: {type(run.task).__name__} {why}. Ask the run itself: pellucid predict {run.folder}")
    parts: Sequence[str] = getattr(run.task.model, "stages", ())
    if stages and not parts:
        raise BadUsage(f"--stages: {type(run.task).__name__} computes all in one call; leave it away")
    now = _made_ready(run, size, data)
    if stages:
        now = replace(now, stages=parts)
    for old in _files(place, parts):
        if old.exists():
            (shutil.rmtree if old.is_dir() else pathlib.Path.unlink)(old)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=place.parent) as folder, torch.no_grad():
        fresh = pathlib.Path(folder) / place.name
        told = _written(run, now, to, fresh)
        for path in sorted(pathlib.Path(folder).iterdir()):
            path.replace(place.parent / path.name)
    return {"file": str(place.with_suffix(".json") if stages else place), **told}


def _written(run: "Run", now: Exporting, to: str, place: pathlib.Path) -> dict[str, Any]:
    """The exported files with all that goes beside them, in a folder of their own; what the JSON says."""
    name = getattr(now.settings, "model", type(now.model).__name__)
    ours, made = _programs(now, to, place, f"{run.folder}: the model {name}")
    given = {key: value for one in reversed(made) for key, value in one.taken[0].items() if key in now.batches[0]}
    told = {"recipe": run.recipe.name, **about.about(now.settings, now.task, now.rows[0], given, ours)}
    told |= {"format": to, **_told(made), "parity": _parity(made, place)}
    if to == "onnx":
        told |= {"opset": max(trace.opset(one.file) for one in made)}
    told |= about.copy_preprocessing(run, place.with_name(f"{place.stem}.preprocessing"))
    checkpoint.write_json(place.with_suffix(".json"), told)
    return told


def _programs(now: Exporting, to: str, place: pathlib.Path, what: str) -> tuple[Output, list[Made]]:
    """The run's outputs of the first batch, and a program for each stage, compared on what the programs before it have computed."""
    names, whole = trace.Names(now.pictures), len(now.stages) == 1
    right, held, made = list(now.batches), list(now.batches), []
    for stage in now.stages:
        call = now.model if stage == now.stages[-1] else getattr(now.model, stage)
        ours = [call(batch) for batch in right]
        axes = trace.inputs(now.task, getattr(now.model, stage), held, names)
        taken = [{key: batch[key].contiguous() for key in axes} for batch in held]
        given, file = taken[SIZES.index(BATCH)], place if whole else _stage(place, stage)
        program = trace.program(now.model if whole else trace.lightened(now.model, stage, taken[0]), given, axes, what, stage)
        run = trace.as_onnx(program, given, axes, file) if to == "onnx" else trace.as_torch(program, file)
        theirs = [run(batch) for batch in taken]
        inputs = [about.tensor(key, value, axes[key]) for key, value in given.items()]
        outputs = [about.tensor(key, value, names.free(key, [one[key] for one in ours])) for key, value in ours[0].items()]
        made.append(Made(stage, file, inputs, outputs, taken, compared(ours, theirs)))
        right = [{**batch, **told} for batch, told in zip(right, ours, strict=True)]
        held = [{**batch, **told} for batch, told in zip(held, theirs, strict=True)]
    return ours[0], made


def _told(made: Sequence[Made]) -> dict[str, Any]:
    """Names, types and shapes of all that goes in and of what comes out at last; of several programs those of each, too."""
    between = {entry["name"] for one in made for entry in one.outputs}
    inputs = {entry["name"]: entry for one in made for entry in one.inputs if entry["name"] not in between}
    stages = [{"name": one.stage, "file": one.file.name, "inputs": one.inputs, "outputs": one.outputs} for one in made]
    return {"inputs": list(inputs.values()), "outputs": made[-1].outputs, **({"stages": stages} if len(made) > 1 else {})}


def _parity(made: Sequence[Made], place: pathlib.Path) -> dict[str, Any]:
    """How far all outputs are from the run's, batch by batch.

    Raises:
        GateMissed: too far.
    """
    batches = []
    for i in range(len(SIZES)):
        shapes = {key: list(value.shape) for one in made for key, value in one.taken[i].items()}
        batches.append({"shapes": shapes, "relative": {key: apart for one in made for key, apart in one.apart[i].items()}})
    worst = max(apart for one in made for found in one.apart for apart in found.values())
    if not worst <= TOLERANCE:
        raise GateMissed(f"{place.name}: outputs differ from the run's by {worst:.2g} of the largest, more than {TOLERANCE:g}; not kept")
    return {"largest_relative": worst, "tolerance": TOLERANCE, "batches": batches}


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


def _files(place: pathlib.Path, stages: Sequence[str]) -> list[pathlib.Path]:
    """All that an export may have written."""
    programs = [place, *(_stage(place, stage) for stage in stages)]
    beside = [place.with_suffix(".json"), place.with_name(f"{place.stem}.preprocessing")]
    return [*programs, *(path.with_name(f"{path.name}.data") for path in programs), *beside]


def _stage(place: pathlib.Path, stage: str) -> pathlib.Path:
    return place.with_name(f"{place.stem}.{stage}{place.suffix}")


def _made_ready(run: "Run", size: int | None, data: Data | None) -> Exporting:
    settings, task = _resized(run, size) if size else (run.recipe.task, run.task)
    rows = sorted(_examples(run, data), key=lambda row: row.get("length", 0))
    spread = [[rows[i * len(rows) // size if size > 1 else 0] for i in range(size)] for size in SIZES[:-1]]
    most = [rows[-1 - i % len(rows)] for i in range(SIZES[-1])]  # the longest among the last
    model = copy.deepcopy(task.model).cpu().to(memory_format=torch.contiguous_format).eval()
    batches, pictures = [task.collate(some) for some in (*spread, most)], trace.padded_pictures(task)
    return Exporting(settings, task, model, rows, [*batches[:-1], trace.roomier(batches, pictures)], ("forward",), pictures)


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
