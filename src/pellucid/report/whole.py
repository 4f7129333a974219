"""Files that are written whole or not at all."""

import os
import pathlib

from pellucid.errors import BadUsage


def write(path: pathlib.Path, data: bytes) -> pathlib.Path:
    """The path, holding the data; written beside its place, then moved there, so that no reader ever sees half of it.

    Raises:
        BadUsage: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as error:
        raise BadUsage(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)
    return path
