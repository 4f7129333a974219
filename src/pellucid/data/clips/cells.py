"""Local features in the cells of a Parquet file: lists of equally long lists of numbers."""

import functools
import os
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Num

from pellucid.data.clips.held import Held
from pellucid.errors import BadData


def nested(path: str) -> list[str]:
    """The columns whose cells are lists of lists of numbers.

    Raises:
        BadData: there is no such file, or it is no Parquet file.
    """
    return [field.name for field in _file(path).schema_arrow if _is_nested(field.type)]


def plain(path: str, without: list[str]) -> list[dict[str, Any]]:
    """The rows of all other columns."""
    file = _file(path)
    kept = [name for name in file.schema_arrow.names if name not in without]
    return file.read(columns=kept).to_pylist() if kept else [{} for _ in range(file.metadata.num_rows)]


def held(path: str, column: str, label: str) -> list[Held]:
    """Where the array of each row lies, all of them having been looked at.

    Args:
        label: what messages call the file; a row is LABEL:NUMBER.
    Raises:
        BadData: a cell is empty, or its lists differ in length; naming the row.
    """
    file, there = _file(path), list[Held]()
    for group in range(file.num_row_groups):
        column_values = _column(path, os.stat(path).st_mtime_ns, group, column)
        for row, value in enumerate(column_values):
            name = f"{label}:{len(there) + 1}"
            rows, width = _shape(value, f"{name}: {column}")
            there.append(Held(path, f"{column}/{group}/{row}", name, rows, width, dtype="<f4"))
    return there


def cell(where: Held) -> Num[np.ndarray, "n f"]:
    """The numbers of a cell.

    Raises:
        BadData: a number is missing, or the file has changed.
    """
    column, group, row = where.key.rsplit("/", 2)
    try:
        value = _column(where.path, os.stat(where.path).st_mtime_ns, int(group), column)[int(row)]
    except OSError as error:
        raise BadData(f"{where.name}: cannot be read ({error.strerror or error})") from None
    numbers = value.values.flatten().to_numpy(zero_copy_only=False)
    if numbers.size != where.rows * where.width:
        raise BadData(f"{where.name}: {numbers.size} numbers, and was {where.rows} x {where.width}: the file has changed")
    return rearrange(numbers, "(n f) -> n f", n=where.rows)


def _shape(value: Any, name: str) -> tuple[int, int]:
    from pyarrow import compute

    lists = value.values
    if lists is None or not len(lists):
        raise BadData(f"{name}: no local features; expected a list of lists of numbers")
    widths = compute.min_max(compute.list_value_length(lists))
    least, most = widths["min"].as_py(), widths["max"].as_py()
    if lists.null_count or least != most or not most:
        raise BadData(f"{name}: its local features have {least or 0} to {most or 0} numbers; expected equally many in each")
    return len(lists), most


@functools.lru_cache(maxsize=16)
def _column(path: str, _: int, group: int, column: str) -> Any:
    """One column of one group of rows; a few are kept, as a clip's neighbours are likely asked for, too."""
    return _file(path).read_row_group(group, columns=[column]).column(0).combine_chunks()


def _file(path: str) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except FileNotFoundError:
        raise BadData(f"no file {path}") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise BadData(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


def _is_nested(kind: Any) -> bool:
    """Whether a column's cells are lists of lists of numbers."""
    from pyarrow import types

    for _ in range(2):
        if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
            return False
        kind = kind.value_type
    return types.is_floating(kind) or types.is_integer(kind)
