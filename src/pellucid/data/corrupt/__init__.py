"""Corrupted copies of an input, five severities each, by modality: what there is. A copy depends only on its own seed.

`pictures.corrupt_images` does it to pictures; it is not imported here, for it needs torch.
"""

from collections.abc import Mapping

from pellucid.coerce import nearest
from pellucid.data.corrupt.levels import PICTURES, PictureCorruption
from pellucid.data.corrupt.names import SEVERITIES, chosen
from pellucid.data.corrupt.text import TEXT, Corruption, corrupt_text
from pellucid.errors import BadUsage

__all__ = ["MODALITIES", "PICTURES", "SEVERITIES", "TEXT", "Corruption", "PictureCorruption", "corrupt_text", "find"]

MODALITIES: Mapping[str, Mapping[str, Corruption | PictureCorruption]] = {"text": TEXT, "image": PICTURES}


def find(modality: str, kind: str, severity: int = 1) -> Corruption | PictureCorruption:
    """The corruption of that name.

    Raises:
        BadUsage: no such modality, kind or severity.
    """
    if modality not in MODALITIES:
        raise BadUsage(f"no corruptions of {modality!r}" + nearest(modality, list(MODALITIES)))
    return chosen(MODALITIES[modality], modality, kind, severity)
