"""From a task's model to a program that another engine runs."""

import contextlib
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import PellucidError
from pellucid.task import Batch, Output, Task

Tensors = dict[str, Tensor]
Axes = dict[str, dict[int, str]]  # input -> axis -> name, of the axes whose size is free
Call = Callable[[Tensors], Tensors]


class _Asked(dict[str, Any]):
    """A batch that remembers what was read of it."""

    def __init__(self, batch: Batch):
        super().__init__(batch)
        self.read: list[str] = []

    def __getitem__(self, key: str) -> Any:
        self.read.append(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dict."""
        self.read.append(key)
        return super().get(key, default)


def inputs(task: Task, model: nn.Module, batches: Sequence[Batch], example: Batch) -> Axes:
    """Of each tensor that the model reads, the axes whose size is free.

    Raises:
        PellucidError: it reads something else.
    """
    asked = _Asked(example)
    with torch.no_grad():
        model(asked)
    names = [key for key in dict.fromkeys(asked.read) if key in example]
    odd = [key for key in names if not isinstance(example[key], Tensor)]
    if odd:
        raise PellucidError(f"the model reads {odd[0]}, which is no tensor; it cannot be exported")
    along = {key for site in task.sites.values() for key in (*site.along, site.present)}
    return {key: free(key, [batch[key] for batch in batches], key in along) for key in names}


def free(name: str, tensors: Sequence[Tensor], along: bool) -> dict[int, str]:
    """The batch axis, the one along the units, and those that differ in size between tensors of one name."""
    found = {0: "batch"}
    for axis in range(1, tensors[0].ndim):
        if (along and axis == 1) or len({tensor.shape[axis] for tensor in tensors}) > 1:
            found[axis] = "length" if axis == 1 else f"{name}_{axis}"
    return found


class _Plain(nn.Module):
    """A task's model, from a plain dict to a plain dict."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: Tensors) -> Output:
        """What the model gives."""
        return dict(self.model(dict(batch)))


def program(model: nn.Module, given: Tensors, axes: Axes, what: str) -> torch.export.ExportedProgram:
    """The model as a graph of tensor operations.

    Raises:
        PellucidError: it does what a graph cannot say; the message names `what`.
    """
    sizes = {name: dict.fromkeys(found, torch.export.Dim.DYNAMIC) for name, found in axes.items()}
    try:
        return torch.export.export(_Plain(model), (given,), dynamic_shapes=(sizes,))
    except (RuntimeError, TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise PellucidError(f"{what} does what an exported program cannot ({_line(error)})") from error


def as_torch(found: torch.export.ExportedProgram, file: pathlib.Path) -> Call:
    """Writes torch.export's own format; gives what the file computes."""
    torch.export.save(found, file)
    return torch.export.load(file).module()


def as_onnx(found: torch.export.ExportedProgram, given: Tensors, axes: Axes, file: pathlib.Path) -> Call:
    """Writes ONNX; gives what onnxruntime computes from the file.

    Raises:
        PellucidError: an operation has no counterpart there.
    """
    import onnxruntime

    outputs = list(found.module()(given))
    large = sum(p.numel() * p.element_size() for p in found.parameters()) > 1 << 30  # one file holds at most 2 GB
    try:
        with _quiet("onnxscript"):
            made = torch.onnx.export(
                found, input_names=list(axes), output_names=outputs, dynamic_shapes=(axes,), dynamo=True, external_data=large, verbose=False
            )
    except torch.onnx.OnnxExporterError as error:
        raise PellucidError(f"the model does what ONNX cannot ({_line(error.__cause__ or error)}); --to torch-export may do") from error
    assert made is not None
    made.save(file, external_data=large)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    taken = [entry.name for entry in session.get_inputs()]

    def call(batch: Tensors) -> Tensors:
        values = session.run(outputs, {key: batch[key].contiguous().numpy() for key in taken})
        return {name: torch.as_tensor(value) for name, value in zip(outputs, values, strict=True)}

    return call


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Within the block a library's log tells of errors alone."""
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def opset(file: pathlib.Path) -> int:
    """The version of ONNX's operators that a file needs."""
    import onnx

    return next(entry.version for entry in onnx.load(file, load_external_data=False).opset_import if entry.domain in ("", "ai.onnx"))


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:160]
