"""Where the index picture of a row lies when it is no file: plain values, importable without numpy.

A row's `map` says of each pixel its class: 0 for the background, k for the k-th of the row's `classes`, 255 where nobody knows. It is
the path of a picture of indices, the path of a `.mat` file as SBD has them, the bytes of such a picture, or one of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

VOID = 255  # of a map: nobody knows, so it counts neither way
MOST = VOID - 1  # classes that a map can tell apart


@dataclass(frozen=True)
class Drawn:
    """A map painted from outlines, each over those before it.

    Args:
        outlines: of each object the index to paint and its polygons or run lengths, as the file has them.
        names: what messages call the objects.
    """

    height: int
    width: int
    outlines: tuple[tuple[int, Any], ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Recoded:
    """A map whose classes have other indices by now.

    Args:
        table: the new index of each old one, from 0 on.
    """

    source: Any
    table: tuple[int, ...]


def recoded(source: Any, before: Sequence[str], after: Sequence[str]) -> Any:
    """The map of classes that were `before` as one of classes `after`, whose names are those at the same places or fewer.

    Args:
        before: the new name of each old class.
    """
    table = (0, *(after.index(name) + 1 for name in before))
    return source if table == tuple(range(len(table))) else Recoded(source, table)
