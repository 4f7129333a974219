"""Arrays of local features that stay in their files until they are looked at; what goes to loader workers is where they lie."""

import functools
import os
import weakref
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from pellucid.errors import BadData

# YouTube-8M's 8 bits stand for -2 to 2, each for the middle of its step
_SCALE, _SHIFT = np.float32(4 / 255), np.float32(4 / 512 - 2)


@dataclass(frozen=True, slots=True)
class Held:
    """Where one array lies, a row a local feature. Readers of sources fill in all of it; path and key alone will do.

    Args:
        path: the file: .npy, .npz, .h5, .hdf5, .safetensors, .parquet or .tfrecord.
        key: name of the array in its file, where a file has several; of Parquet COLUMN/GROUP/ROW.
        row: what messages call the example.
        rows: how many local features; negative where the file has not been asked yet, and so are the next three.
        width: numbers of each.
        dtype: of the numbers in the file, as numpy spells it.
        offset: byte of the file where the first row begins, the others following; negative of arrays that are compressed or in pieces.
        lead: bytes in front of each row's numbers.
        quantised: numbers of 8 bits that stand for -2 to 2, as YouTube-8M's.
    """

    path: str
    key: str = ""
    row: str = ""
    rows: int = -1
    width: int = -1
    dtype: str = ""
    offset: int = -1
    lead: int = 0
    quantised: bool = False

    @property
    def name(self) -> str:
        """What messages call the array."""
        place = f"{self.path}:{self.key}" if self.key else self.path
        return f"{self.row}: {place}" if self.row else place


def load(held: Held | Num[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
    """The array as float32, a copy of its own.

    Raises:
        BadData: the file is missing, cut short or damaged, or a number is not finite.
        UnsafeInput: it holds Python objects.
    """
    if isinstance(held, np.ndarray):
        return _finite(held.astype(np.float32), "an array in memory")
    whole = _known(held)
    if whole.offset >= 0:
        values = _in_place(whole)
    else:
        from pellucid.data.clips import arrays

        values = arrays.unpacked(whole)
    if whole.quantised:
        wide = values * _SCALE
        wide += _SHIFT
        return wide
    return _finite(values.astype(np.float32, copy=False), whole.name)


def shape(held: Held | Num[np.ndarray, "n f"]) -> tuple[int, int]:
    """Number of local features and their width; no number of the array is read.

    Raises:
        BadData, UnsafeInput: as `load`.
    """
    if isinstance(held, np.ndarray):
        return held.shape[0], held.shape[1]
    whole = _known(held)
    return whole.rows, whole.width


def _known(held: Held) -> Held:
    """All about an array of which perhaps only path and key are told."""
    if held.dtype:
        return held
    from pellucid.data.clips import arrays

    return arrays.one(held.path, held.key, held.row)


def _finite(values: Float[np.ndarray, "n f"], name: str) -> Float[np.ndarray, "n f"]:
    if not np.isfinite(values).all():
        n, f = np.argwhere(~np.isfinite(values))[0]
        raise BadData(f"{name}: {values[n, f]} in local feature {n + 1}, column {f + 1}; expected finite numbers")
    return values


# ---- bytes in their place -----------------------------------------------------------------------------------------


class Opened:
    """A file that is open for reading at any place; of processes that share it none moves another's place in it."""

    def __init__(self, path: str):
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self.number)

    def fill(self, block: np.ndarray, offset: int) -> bool:
        """Fills the array with bytes from the offset on; whether there were enough."""
        todo = memoryview(block.data).cast("B") if block.size else memoryview(b"")
        while todo:
            got = os.preadv(self.number, [todo], offset)
            if not got:
                return False
            todo, offset = todo[got:], offset + got
        return True


def _in_place(held: Held) -> np.ndarray:
    dtype = np.dtype(held.dtype)
    size = held.width * dtype.itemsize
    block = np.empty((held.rows, held.lead + size), np.uint8)
    if not opened(held.path).fill(block, held.offset):
        raise BadData(f"{held.name}: the file is cut short")
    if not held.lead:
        return block.view(dtype)
    if (block[:, : held.lead] != block[0, : held.lead]).any():
        raise BadData(f"{held.name}: its local features differ in width or are damaged; expected {held.width} numbers in each")
    values = block[:, held.lead :]
    return values if size == held.width else np.ascontiguousarray(values).view(dtype)


def opened(path: str) -> Opened:
    """The file, kept open for the next question unless it has changed.

    Raises:
        BadData: there is none.
    """
    try:
        about = os.stat(path)
        return _opened(path, about.st_ino, about.st_size, about.st_mtime_ns)
    except FileNotFoundError:
        raise BadData(f"no file {path}") from None
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from None


@functools.lru_cache(maxsize=64)
def _opened(path: str, *_: int) -> Opened:
    return Opened(path)
