"""Pictures in one .npz file: encoded pictures back to back, where each begins, and labels."""

import io
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from pellucid.data import archive, members, sources
from pellucid.data.sources import Rows
from pellucid.data.stored import Stored
from pellucid.errors import BadData, BadUsage, UnsafeInput

OPTIONS: sources.Choices = {"names": ()}
_NAMES = ("classes", "wnids", "names")  # arrays that may hold the class names, in this order
_CAP = 1 << 32


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture, each `image` a place inside the file; bytes where the file is compressed.

    The arrays: `data` (uint8, encoded pictures back to back), `offsets` (one more than pictures), `labels` (class indices), and the
    class names in `classes`, `wnids` or `names`.

    Args:
        options: `names` chooses the array of class names.
    Raises:
        BadData: an array is missing, or they do not fit together.
        UnsafeInput: an array holds Python objects.
    """
    import numpy as np

    chosen = sources.checked("pack", options, OPTIONS)
    path = pathlib.Path(place).expanduser()
    if not path.is_file():
        raise BadData(f"no file {place}")
    with open(path, "rb") as file, archive.readable(path.name), zipfile.ZipFile(file) as whole:
        infos = {info.filename.removesuffix(".npy"): info for info in whole.infolist()}
        for name in ("data", "offsets", "labels"):
            if name not in infos:
                raise BadData(f"{path}: no array {name!r}; there are {', '.join(infos) or 'none'}")
        offsets, labels = _array(whole, infos["offsets"], path), _array(whole, infos["labels"], path)
        classes = _classes(whole, infos, chosen.get("names"), path)
        images = _pictures(whole, file, infos["data"], offsets, path)
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise BadData(f"{path}: labels are {labels.dtype} {labels.shape}; expected {len(images)} class indices")
    names = classes or tuple(str(i) for i in range(int(labels.max()) + 1))
    wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if len(wrong):
        raise BadData(f"{path} row {wrong[0] + 1}: label {labels[wrong[0]]} of {len(names)} classes")
    rows = enumerate(zip(images, labels.tolist(), strict=True), 1)
    return [{"id": f"{path.name}:{n}", "image": image, "label": names[i], "classes": names} for n, (image, i) in rows]


def _array(whole: zipfile.ZipFile, info: zipfile.ZipInfo, path: pathlib.Path) -> Any:
    """One array, read without unpickling anything."""
    import numpy as np

    if info.file_size > _CAP:
        raise UnsafeInput(f"{path}: array {info.filename} unpacks to {info.file_size} bytes; refused")
    try:
        with whole.open(info) as member:
            return np.lib.format.read_array(io.BytesIO(archive.Capped(member, path.name, _CAP, _CAP).read()), allow_pickle=False)
    except (ValueError, EOFError) as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise UnsafeInput(f"{path}: array {info.filename} holds Python objects, which could run code; refused") from None
        raise BadData(f"{path}: array {info.filename} is damaged ({error})") from None


def _classes(whole: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo], asked: str | None, path: pathlib.Path) -> tuple[str, ...]:
    there = [name for name in _NAMES if name in infos]
    if asked and asked not in there:
        raise BadUsage(f"pack: names={asked}: {path.name} has {', '.join(there) or 'no class names'}")
    if not there:
        return ()
    found = tuple(str(name) for name in _array(whole, infos[asked or there[0]], path).ravel().tolist())
    if len(set(found)) < len(found):
        raise BadData(f"{path}: two classes are called {sources.repeated(found)!r}; choose other names with ?names=, of {', '.join(there)}")
    return found


def _pictures(
    whole: zipfile.ZipFile, file: BinaryIO, info: zipfile.ZipInfo, offsets: Any, path: pathlib.Path
) -> list[Stored] | list[bytes]:
    """Where each picture's bytes lie."""
    import numpy as np

    if info.compress_type == zipfile.ZIP_STORED:
        start, size = _body(file, path, info)
    else:
        data = _array(whole, info, path)
        start, size = 0, data.size
    if offsets.ndim != 1 or not np.issubdtype(offsets.dtype, np.integer) or len(offsets) < 2:
        raise BadData(f"{path}: offsets are {offsets.dtype} {offsets.shape}; expected one more than there are pictures")
    edges = offsets.astype(np.int64)
    if edges[0] < 0 or edges[-1] > size or np.any(np.diff(edges) < 0):
        raise BadData(f"{path}: offsets do not rise from 0 to the {size} bytes of data")
    spans = list(zip(edges[:-1].tolist(), np.diff(edges).tolist(), strict=True))
    if info.compress_type == zipfile.ZIP_STORED:
        return [Stored(str(path), start + at, length) for at, length in spans]
    flat = np.ascontiguousarray(data).view(np.uint8).tobytes()
    return [flat[at : at + length] for at, length in spans]


def _body(file: BinaryIO, path: pathlib.Path, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where the numbers of an uncompressed uint8 array begin in the file, and how many there are."""
    import numpy as np

    member = members.stored(file, path, info)
    file.seek(member.offset)
    try:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(file)
    except (ValueError, zlib.error) as error:
        raise BadData(f"{path}: array {info.filename} is damaged ({error})") from None
    if dtype != np.uint8 or len(shape) != 1:
        raise BadData(f"{path}: data is {dtype} {shape}; expected uint8 bytes back to back")
    start = file.tell()
    if start + shape[0] > member.offset + member.size:
        raise BadData(f"{path}: array {info.filename} is shorter than its header says")
    return start, shape[0]
