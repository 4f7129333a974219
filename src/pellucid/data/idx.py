"""MNIST's four idx files, plain or .gz: pictures of handwritten digits and what they show.

Source: LeCun, Cortes and Burges, the MNIST database.
"""

import gzip
import pathlib
import zlib

import numpy as np
from einops import rearrange
from jaxtyping import Int64, UInt8

from pellucid.data import sources
from pellucid.errors import BadData

Digits = tuple[UInt8[np.ndarray, "n h w"], Int64[np.ndarray, " n"]]

SIDE = 28  # pixels
_PREFIXES = {"train": "train", "test": "t10k"}
_PICTURES, _LABELS = b"\0\0\x08\x03", b"\0\0\x08\x01"  # how the files begin: bytes along three axes, along one
_WHAT = {_PICTURES: "pictures", _LABELS: "labels"}
_MOST = 1_000_000  # items of a file; the largest set in this format (EMNIST's) has 814,255
_REMEDY = "fetch it again"


def read(place: str) -> dict[str, Digits]:
    """`train` and `test`: pictures of 28 x 28 pixels, white on black, and the digit that each shows.

    Args:
        place: a folder of `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`,
            each plain or .gz.
    Raises:
        BadData: a file is missing, is cut short, or is not what its name promises.
    """
    folder = sources.folder_of(place)
    return {part: _part(folder, prefix) for part, prefix in _PREFIXES.items()}


def _part(folder: pathlib.Path, prefix: str) -> Digits:
    pictures_at, labels_at = _find(folder, f"{prefix}-images-idx3-ubyte"), _find(folder, f"{prefix}-labels-idx1-ubyte")
    pictures = rearrange(_items(pictures_at, _PICTURES, (SIDE, SIDE)), "(n h w) -> n h w", h=SIDE, w=SIDE)
    labels = _items(labels_at, _LABELS, ())
    if len(pictures) != len(labels):
        raise BadData(f"{labels_at}: {len(labels)} labels, but {pictures_at.name} has {len(pictures)} pictures")
    if labels.max() > 9:
        at = int((labels > 9).argmax())
        raise BadData(f"{labels_at}: label {labels[at]} of picture {at + 1}; expected digits, 0 to 9")
    if absent := sorted({*range(10)} - {*labels.tolist()}):
        raise BadData(f"{labels_at}: no picture shows a {absent[0]}; expected all ten digits")
    return pictures, labels.astype(np.int64)


def _find(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The file, plain or compressed; some copies of the set have a dot for the second hyphen."""
    names = [found for one in (name, name.replace("-idx", ".idx")) for found in (one, f"{one}.gz")]
    for path in (folder / one for one in names):
        if path.is_file():
            return path
    raise BadData(f"{folder}: no file {name} or {name}.gz; expected MNIST's four files")


def _hex(head: bytes) -> str:
    return head[:4].hex(" ") or "nothing"


def _items(path: pathlib.Path, begins: bytes, shape: tuple[int, ...]) -> UInt8[np.ndarray, " n"]:
    """The bytes after the head, which must tell what they are and how many."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(8 + 4 * len(shape))
            if len(head) < 8 + 4 * len(shape) or not head.startswith(begins):
                raise BadData(f"{path}: begins with {_hex(head)}; an idx file of {_WHAT[begins]} begins with {_hex(begins)}")
            num, *sides = np.frombuffer(head[4:], ">u4").tolist()
            if tuple(sides) != shape:
                raise BadData(f"{path}: pictures of {' x '.join(map(str, sides))} pixels; expected {SIDE} x {SIDE}")
            if not 0 < num <= _MOST:
                raise BadData(f"{path}: its head tells of {num} items; expected 1 to {_MOST:,}")
            size = num * int(np.prod(shape, dtype=int))
            items = np.frombuffer(file.read(size), np.uint8)
            if len(items) < size:
                raise BadData(f"{path}: ends after {len(items):,} of {size:,} bytes; {_REMEDY}")
            if file.read(1):
                raise BadData(f"{path}: goes on after the {num:,} items that its head tells of; {_REMEDY}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadData(f"{path}: not a whole gzip file ({error}); {_REMEDY}") from None
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from None
    return items
