"""Tensors and plain values out of pickles, without trust: nothing else can come out, and nothing of the file is ever run."""

import argparse
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pellucid.errors import BadData, UnsafeInput

if TYPE_CHECKING:
    from torch import Tensor

# where checkpoints keep the weights beside other things; an average over training, where there is one, goes before what it is of
_INNER = ("model_ema", "state_dict", "model", "model_state_dict", "weights")


def weights_only(raw: bytes, label: str) -> "dict[str, Tensor]":
    """The named tensors of a file that `torch.save` wrote, read by torch's own weights-only reader.

    Whatever lies beside the weights (`{"model": ..., "epoch": ...}`) is left out, and so is the `module.` of a wrapped model. Of
    `model_ema` and `model` the first is taken, where it is not None. Flags as argparse keeps them may lie there: they are a class that
    holds values and does nothing; so may numbers of numpy's.

    Raises:
        UnsafeInput: it holds more than tensors, plain values and flags.
        BadData: it is no such file, or no named tensors are in it.
    """
    return _state(_loaded(raw, label), label)


def every_tensor(raw: bytes, label: str) -> "dict[str, Tensor]":
    """As `weights_only`, of a file that keeps its tensors in lists and dicts of its own: all of them, under dotted names (`trunk.0.bias`).

    Raises:
        UnsafeInput: as `weights_only`.
        BadData: it is no such file, or no tensor is in it.
    """
    found = dict(_leaves(_loaded(raw, label), ""))
    if not found:
        raise BadData(f"{label}: no tensors in it")
    return found


def nested(raw: bytes, label: str) -> "dict[str, Tensor]":
    """The named tensors of a pickled dict whose tensors carry their bytes inside, as `pickle.dump(model.state_dict())` makes.

    Raises:
        UnsafeInput: the pickle names anything but a dict, a tensor and a tensor's bytes.
        BadData: it is damaged.
    """
    return _state(_taken(_Nested(io.BytesIO(raw), label), "tensors"), label)


def plain(raw: bytes, label: str) -> Any:
    """Lists, dicts, text and numbers of a pickle, Python 2's too, whose texts are read as UTF-8.

    Raises:
        UnsafeInput: the pickle names anything that would have to be imported.
        BadData: it is damaged.
    """
    return _taken(_Plain(io.BytesIO(raw), label), "plain values")


def _taken(unpickler: "_Plain", what: str) -> Any:
    try:
        return unpickler.load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError) as error:
        raise BadData(f"{unpickler.label}: not a whole pickle of {what} ({_line(error)})") from None


class _Kind:
    """Stands for numpy's kind of a number, which nobody reads."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        """Takes nothing."""


def _number(*_: Any) -> None:
    """Stands for a number of numpy's: those beside weights, as an accuracy, are left out, so numpy need not make them."""


_NUMBERS = [(_Kind, "numpy.dtype"), (_number, "numpy.core.multiarray.scalar"), (_number, "numpy._core.multiarray.scalar")]


class _Plain(pickle.Unpickler):
    """Knows no name at all: whatever a pickle asks for is refused before anything is made."""

    def __init__(self, file: io.BytesIO, label: str):
        super().__init__(file, encoding="utf-8", errors="replace")
        self.label = label

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Nothing."""
        raise UnsafeInput(f"{self.label}: a pickle that asks for {module}.{name}, which could run code; refused")

    def persistent_load(self, pid: Any) -> Any:
        """Nothing lies outside."""
        raise UnsafeInput(f"{self.label}: a pickle that refers to something outside; refused")


class _Nested(_Plain):
    """Knows three names, each of which gets our own function."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Ours for the three names."""
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch.storage", "_load_from_bytes"): _storage,
        }
        return known[module, name] if (module, name) in known else super().find_class(module, name)


def _storage(raw: bytes) -> Any:
    import torch

    found = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    if not isinstance(found, torch.storage.TypedStorage):
        raise pickle.UnpicklingError(f"a {type(found).__name__} where a tensor's bytes should be")
    return found


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> "Tensor":
    import torch

    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("a tensor without bytes")
    # as_strided refuses what would lie outside the bytes
    return torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage).as_strided(size, stride, offset).contiguous().clone()


def _loaded(raw: bytes, label: str) -> Any:
    import torch

    try:
        with torch.serialization.safe_globals([argparse.Namespace, *_NUMBERS]):
            found = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise UnsafeInput(f"{label}: holds more than tensors, which could run code ({_line(error)}); refused") from None
        raise BadData(f"{label}: not a file of tensors ({_line(error)})") from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadData(f"{label}: not a file of tensors ({_line(error)})") from None
    return found


def _leaves(found: Any, name: str) -> "Iterator[tuple[str, Tensor]]":
    import torch

    if isinstance(found, torch.Tensor):
        yield name, found
    inner = found.items() if isinstance(found, Mapping) else enumerate(found) if isinstance(found, list | tuple) else ()
    for key, value in inner:
        yield from _leaves(value, f"{name}.{key}" if name else str(key))


def _state(found: Any, label: str) -> "dict[str, Tensor]":
    import torch

    inner = next((found[key] for key in _INNER if isinstance(found, Mapping) and isinstance(found.get(key), Mapping)), found)
    if not isinstance(inner, Mapping) or not inner or not all(isinstance(k, str) for k in inner):
        raise BadData(f"{label}: no named tensors in it")
    odd = [key for key, value in inner.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise BadData(f"{label}: {odd[0]} is no tensor; looked for the weights at the top and under {', '.join(_INNER)}")
    wrapped = all(key.startswith("module.") for key in inner)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in inner.items()}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
