"""Arrays and texts from MATLAB files of the formats that SciPy reads: nothing in them is run."""

import pathlib
import zlib

import numpy as np
from jaxtyping import Float

from pellucid.errors import BadData

_LATE = (b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3")
_BROKEN = (ValueError, TypeError, OSError, EOFError, IndexError, KeyError, OverflowError, NotImplementedError, zlib.error)


def numbers(path: str, name: str) -> Float[np.ndarray, " n"]:
    """A variable of numbers, flat.

    Raises:
        BadData: the file is missing, damaged or of version 7.3, or holds no such numbers.
    """
    found = _variable(path, name)
    if found.dtype.kind not in "fiub":
        raise BadData(f"{path}: {name} holds no numbers")
    return found.ravel().astype(np.float64)


def texts(path: str, name: str) -> list[str]:
    """A variable that is a cell array of texts, flat.

    Raises:
        BadData: as `numbers`.
    """
    cells = [np.ravel(cell) for cell in _variable(path, name).ravel()]
    if any(cell.dtype.kind != "U" or len(cell) != 1 for cell in cells):
        raise BadData(f"{path}: {name} holds no texts")
    return [str(cell[0]) for cell in cells]


def field(path: str, name: str, part: str) -> np.ndarray:
    """A field of a variable that is one struct.

    Raises:
        BadData: as `numbers`, or the variable is no such struct.
    """
    found = _variable(path, name)
    inside = found.ravel()[0][part] if found.dtype.names and part in found.dtype.names and found.size == 1 else None
    if not isinstance(inside, np.ndarray):
        raise BadData(f"{path}: {name} is no struct with a field {part}")
    return inside


def _variable(path: str, name: str) -> np.ndarray:
    from scipy.io import loadmat, matlab

    file = pathlib.Path(path)
    try:
        with file.open("rb") as head:
            late = head.read(10).startswith(_LATE)
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from None
    if late:
        raise BadData(f"{path}: a MATLAB 7.3 file (HDF5), which is not read; save it again in MATLAB with -v7")
    try:
        found = loadmat(path, variable_names=[name])
    except (*_BROKEN, matlab.MatReadError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadData(f"{path}: not a readable MATLAB file ({reason})") from None
    if not isinstance(found.get(name), np.ndarray):
        raise BadData(f"{path}: no variable {name!r}")
    return found[name]
