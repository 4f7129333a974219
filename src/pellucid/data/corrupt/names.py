"""What every modality shares: five severities, and a name that is looked up or refused."""

from collections.abc import Mapping
from typing import TypeVar

from pellucid.coerce import nearest
from pellucid.errors import BadUsage

SEVERITIES = (1, 2, 3, 4, 5)
Kind = TypeVar("Kind")


def chosen(kinds: Mapping[str, Kind], modality: str, name: str, severity: int) -> Kind:
    """The corruption of that name.

    Raises:
        BadUsage: no such kind or severity.
    """
    if name not in kinds:
        raise BadUsage(f"no {modality} corruption {name!r}" + nearest(name, list(kinds)))
    if severity not in SEVERITIES:
        raise BadUsage(f"severity {severity!r}; there are 1 to {SEVERITIES[-1]}")
    return kinds[name]
