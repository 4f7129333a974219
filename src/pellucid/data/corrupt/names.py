"""What every modality shares: five severities, a name that is looked up or refused, and a stream of randomness for every copy."""

import hashlib
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

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


def stream(seed: int, kind: str, severity: int) -> np.random.Generator:
    """The randomness of one copy."""
    named = "\0".join([str(seed), kind, str(severity)])
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.blake2b(named.encode(), digest_size=16).digest())))
