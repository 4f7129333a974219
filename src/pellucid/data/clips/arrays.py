"""Which arrays lie in a file, and where: .npy, .npz, HDF5 and safetensors, of which nothing is unpickled."""

import contextlib
import functools
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Num

from pellucid.data import archive, members
from pellucid.data.clips.held import Held
from pellucid.errors import BadData, BadUsage, UnsafeInput

HDF5 = (".h5", ".hdf5", ".hdf")
_LARGEST = 1 << 32  # bytes that a compressed array may unpack to
_LONGEST = 100 << 20  # bytes of a safetensors header, as its own library has it
_SAFE = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1"}


@dataclass(frozen=True, slots=True)
class Array:
    """What a file says of one of its arrays; `offset` is negative where its bytes do not lie in the file as they are in memory."""

    shape: tuple[int, ...]
    dtype: str
    offset: int = -1


def found(path: str) -> dict[str, Array]:
    """The arrays of a file by name; that of an .npy has the name "".

    Raises:
        BadData: the file is missing or damaged, or its ending is none of ours.
        UnsafeInput: an array is of Python objects, which only unpickling would read.
    """
    ending = pathlib.PurePath(path).suffix.lower()
    if ending not in _READERS:
        raise BadData(f"{path}: no file of arrays; expected one ending in {', '.join(_READERS)}")
    try:
        with archive.readable(path):
            return _READERS[ending](path)
    except FileNotFoundError:
        raise BadData(f"no file {path}") from None
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({_line(error)})") from None


def one(path: str, key: str = "", row: str = "") -> Held:
    """Where an array of local features lies.

    Raises:
        BadData, UnsafeInput: as `found` and `held`; the file has no array of this name.
    """
    there = found(path)
    if key not in there:
        raise BadData(f"{row + ': ' if row else ''}{path}: no array {key!r}; there are {', '.join(map(repr, list(there)[:10])) or 'none'}")
    return held(path, key, there[key], row)


def held(path: str, key: str, array: Array, row: str = "") -> Held:
    """The same of an array that `found` has named.

    Raises:
        BadData: its shape is not n local features of f numbers, or it is empty.
    """
    kind = np.dtype(array.dtype).kind
    whole = Held(path, key, row, *(array.shape if len(array.shape) == 2 else (-1, -1)), dtype=array.dtype, offset=array.offset)
    if kind not in "fiu":
        raise BadData(f"{whole.name}: values are {array.dtype}; expected numbers")
    if len(array.shape) != 2:
        raise BadData(f"{whole.name}: shape {array.shape}; expected local features x numbers of each, as (25, 2048)")
    if not all(array.shape):
        raise BadData(f"{whole.name}: empty, of shape {array.shape}; expected at least one local feature")
    return whole


def unpacked(where: Held) -> Num[np.ndarray, "n f"]:
    """The numbers of an array that does not lie in its file as it is in memory.

    Raises:
        BadData: the file is damaged, or has changed since it was asked.
    """
    ending = pathlib.PurePath(where.path).suffix.lower()
    if ending == ".parquet":
        from pellucid.data.clips import cells

        return cells.cell(where)
    try:
        with archive.readable(where.name):
            values = _UNPACK[ending](where)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise error if isinstance(error, BadData) else BadData(f"{where.name}: cannot be read ({_line(error)})") from None
    if values.shape != (where.rows, where.width):
        raise BadData(f"{where.name}: shape {values.shape}, and was {(where.rows, where.width)}: the file has changed")
    return values


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# ---- numpy --------------------------------------------------------------------------------------------------------


def _npy(path: str) -> dict[str, Array]:
    with open(path, "rb") as file:
        array = _header(file, path, os.path.getsize(path))
        return {"": array}


def _header(file: Any, name: str, size: int, start: int = 0) -> Array:
    """What an .npy says of itself, read from where the file stands, `start`; it has `size` bytes."""
    try:
        major, _ = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        lengths, fortran, dtype = reader(file)
    except ValueError as error:
        raise BadData(f"{name}: not a whole .npy file ({_line(error)})") from None
    if dtype.hasobject:
        raise UnsafeInput(f"{name}: holds Python objects, which could run code; refused. Save numbers: array.astype('float32')")
    end = file.tell() + dtype.itemsize * int(np.prod(lengths, dtype=object))
    if end > start + size:
        raise BadData(f"{name}: cut short; its header tells {end - start - size} bytes more")
    return Array(lengths, dtype.str, -1 if fortran and len(lengths) > 1 else file.tell())


def _npz(path: str) -> dict[str, Array]:
    with open(path, "rb") as file, zipfile.ZipFile(file) as whole:
        infos = [info for info in whole.infolist() if info.filename.endswith(".npy")]
        if not infos:
            raise BadData(f"{path}: no arrays in it")
        return {info.filename.removesuffix(".npy"): _member(file, whole, info, path) for info in infos}


def _member(file: BinaryIO, whole: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> Array:
    name = f"{path}:{info.filename.removesuffix('.npy')}"
    if info.compress_type == zipfile.ZIP_STORED:
        place = members.stored(file, pathlib.Path(path), info)
        file.seek(place.offset)
        return _header(file, name, place.size, place.offset)
    if info.file_size > _LARGEST:
        raise UnsafeInput(f"{name}: unpacks to {info.file_size} bytes; refused")
    with whole.open(info) as packed:
        array = _header(packed, name, info.file_size)
    return Array(array.shape, array.dtype)


def _npy_values(where: Held) -> np.ndarray:
    with open(where.path, "rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _npz_values(where: Held) -> np.ndarray:
    with zipfile.ZipFile(where.path) as whole, whole.open(f"{where.key}.npy") as packed:
        return np.lib.format.read_array(packed, allow_pickle=False)


# ---- safetensors --------------------------------------------------------------------------------------------------


def _safetensors(path: str) -> dict[str, Array]:
    return {key: array for key, array in tensors(path).items() if len(array.shape) == 2}


def tensors(path: str) -> dict[str, Array]:
    """The tensors of a safetensors file, of any shape.

    Raises:
        BadData: it is no such file, or is cut short.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LONGEST, size - 8):
            raise BadData(f"{path}: not a whole safetensors file")
        raw = file.read(length)
    try:
        told = json.loads(raw)
        entries = {key: entry for key, entry in told.items() if key != "__metadata__"}
        return {key: _tensor(path, key, entry, 8 + length, size) for key, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise error if isinstance(error, BadData) else BadData(f"{path}: not a safetensors file ({_line(error)})") from None


def _tensor(path: str, key: str, entry: Mapping[str, Any], start: int, size: int) -> Array:
    first, last = entry["data_offsets"]
    lengths = tuple(int(n) for n in entry["shape"])
    dtype = _SAFE.get(entry["dtype"])
    if dtype is None:
        raise BadData(f"{path}:{key}: values are {entry['dtype']}; expected one of {', '.join(_SAFE)}")
    if min(lengths, default=0) < 0 or last - first != np.dtype(dtype).itemsize * int(np.prod(lengths, dtype=object)):
        raise BadData(f"{path}:{key}: its bytes do not fit its shape {lengths}: the file is damaged")
    if first < 0 or start + last > size:
        raise BadData(f"{path}: cut short; {key} ends after {start + last} of {size} bytes")
    return Array(lengths, dtype, start + first)


# ---- HDF5 ---------------------------------------------------------------------------------------------------------


def _hdf5(path: str) -> dict[str, Array]:
    there: dict[str, Array] = {}
    kind = _h5py().Dataset

    def note(name: str, item: Any) -> None:
        if isinstance(item, kind):
            there[name] = _dataset(path, name, item)

    with hdf5(path) as file:
        file.visititems(note)  # which follows no link out of the file
    return there


def _dataset(path: str, name: str, item: Any) -> Array:
    if item.is_virtual or item.external:
        raise UnsafeInput(f"{path}:{name}: its numbers lie in other files, which this one may name at will; refused")
    dtype = item.dtype
    offset = item.id.get_offset() if item.shape is not None and dtype.kind in "fiu" else None
    return Array(item.shape or (), "|S0" if dtype.hasobject else dtype.str, -1 if offset is None else offset)


@contextlib.contextmanager
def hdf5(path: str) -> Iterator[Any]:
    """An HDF5 file, open within the block.

    Raises:
        BadData: there is none, or it is none.
        BadUsage: h5py is not installed.
    """
    if not os.path.isfile(path):
        raise BadData(f"no file {path}")
    try:
        file = _h5py().File(path, "r", locking=False)
    except OSError as error:
        raise BadData(f"{path}: not a readable HDF5 file ({_line(error)})") from None
    with file:
        yield file


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise BadUsage("HDF5 files are read by h5py, which is not installed: pip install 'pellucid[video]'") from None
    return h5py


def _hdf5_values(where: Held) -> np.ndarray:
    about = os.stat(where.path)
    return _kept(where.path, os.getpid(), about.st_size, about.st_mtime_ns)[where.key][()]


@functools.lru_cache(maxsize=16)
def _kept(path: str, *_: int) -> Any:
    """An HDF5 file that stays open, in each process its own."""
    return _h5py().File(path, "r", locking=False)


_READERS: dict[str, Callable[[str], dict[str, Array]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    **dict.fromkeys(HDF5, _hdf5),
}
_UNPACK: dict[str, Callable[[Held], np.ndarray]] = {".npy": _npy_values, ".npz": _npz_values, **dict.fromkeys(HDF5, _hdf5_values)}
ENDINGS = tuple(_READERS)
