"""From a task's model to a program that another engine runs."""

import contextlib
import copy
import logging
import pathlib
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


def inputs(task: Task, call: Callable[[Batch], Output], batches: Sequence[Batch], names: "Names") -> Axes:
    """Of each tensor that the model's call reads of a batch, the axes whose size is free.

    Raises:
        PellucidError: it reads something else.
    """
    example = batches[-1]
    asked = _Asked(example)
    with torch.no_grad():
        call(asked)
    read = [key for key in dict.fromkeys(asked.read) if key in example]
    odd = [key for key in read if not isinstance(example[key], Tensor)]
    if odd:
        raise PellucidError(f"the model reads {odd[0]}, which is no tensor; it cannot be exported")
    along = {key for site in task.sites.values() for key in (*site.along, site.present)}
    read.sort(key=lambda key: key not in names.pictures)
    lengths = {_sizes(batches, key, 1) for key in read if key in along}
    along |= {key for key in read if example[key].ndim == 2 and _sizes(batches, key, 1) in lengths}
    return {key: names.free(key, [batch[key] for batch in batches], key in along) for key in read}


def _sizes(batches: Sequence[Batch], key: str, axis: int) -> tuple[int, ...]:
    return tuple(batch[key].shape[axis] for batch in batches)


class Names:
    """What free sizes are called: those that go together bear one name.

    Args:
        pictures: keys of pictures, of which height and width have names of their own.
    """

    def __init__(self, pictures: Collection[str] = ()):
        self.pictures = pictures
        self._known: dict[tuple[int, ...], list[str]] = {}

    def free(self, key: str, tensors: Sequence[Tensor], along: bool = False) -> dict[int, str]:
        """The batch axis, the one along the units, and those that differ in size between tensors of one key.

        Args:
            tensors: one per batch, the batches always the same.
        """
        found = {0: "batch"}
        for axis in range(1, tensors[0].ndim):
            sizes = tuple(tensor.shape[axis] for tensor in tensors)
            if (along and axis == 1) or len(set(sizes)) > 1:
                called = self._known.setdefault(sizes, [])
                new = [self._fresh(key, axis)] if set(called) <= set(found.values()) else []  # pictures may be square
                called += new
                found[axis] = next(name for name in called if name not in found.values())
        return found

    def _fresh(self, key: str, axis: int) -> str:
        if key in self.pictures and axis in (2, 3):
            return "height" if axis == 2 else "width"
        taken = any("length" in called for called in self._known.values())
        return "length" if axis == 1 and not taken else f"{key}_{axis}"


def padded_pictures(task: Task) -> set[str]:
    """Keys of pictures of which not all is real, so that their size is free."""
    return {site.picture for site in task.sites.values() if site.picture and site.present}


def roomier(batches: Sequence[Batch], pictures: Collection[str]) -> Batch:
    """The last batch, with so much of nothing below its pictures and to the right that no batch is as high or as wide."""
    last, sides = batches[-1], {batches[-1][key].shape[-2:] for key in pictures}
    most = [max(batch[key].shape[axis] for batch in batches for key in pictures) for axis in (-2, -1)] if pictures else []

    def wider(value: Any) -> Any:
        along = isinstance(value, Tensor) and value.ndim > 2 and value.shape[-2:] in sides
        return F.pad(value, (0, most[1] + 32 - value.shape[-1], 0, most[0] + 64 - value.shape[-2])) if along else value

    return {key: wider(value) for key, value in last.items()}


class _Plain(nn.Module):
    """A task's model, from a plain dict to a plain dict.

    Args:
        stage: its method that is called.
    """

    def __init__(self, model: nn.Module, stage: str):
        super().__init__()
        self.model, self.stage = model, stage

    def forward(self, batch: Tensors) -> Output:
        """What the model gives."""
        return dict(getattr(self.model, self.stage)(dict(batch)))


def program(model: nn.Module, given: Tensors, axes: Axes, what: str, stage: str = "forward") -> torch.export.ExportedProgram:
    """The model, or its method of that name, as a graph of tensor operations.

    Raises:
        PellucidError: it does what a graph cannot say; the message names `what`.
    """
    sizes = {name: dict.fromkeys(found, torch.export.Dim.DYNAMIC) for name, found in axes.items()}
    try:
        return torch.export.export(_Plain(model, stage), (given,), dynamic_shapes=(sizes,))
    except (RuntimeError, TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise PellucidError(f"{what} does what an exported program cannot ({_line(error)})") from error


def lightened(model: nn.Module, stage: str, given: Tensors) -> nn.Module:
    """A copy without the weights on which the method's numbers do not depend, which an exported program would carry along."""
    light = copy.deepcopy(model).requires_grad_(True)
    with torch.enable_grad():
        told = getattr(light, stage)(given).values()
        torch.stack([value.sum() for value in told if value.is_floating_point()]).sum().backward()
    for module in light.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.grad is None:
                setattr(module, name, None)
    light.zero_grad()
    return light.requires_grad_(False)


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
        with _quiet("onnxscript"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "# The axis name")  # of one that several inputs share
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
