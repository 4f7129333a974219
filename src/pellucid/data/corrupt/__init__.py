"""Corrupted copies of an input, five severities each, by modality: what there is. A copy depends only on its own seed.

`pictures.corrupt_images` does it to pictures; it is not imported here, for it needs torch. `moving.moved` does it to the frames of a clip.
"""

from collections.abc import Mapping

from pellucid.coerce import nearest
from pellucid.data.corrupt.captions import CAPTIONS, CaptionCorruption, corrupt_caption
from pellucid.data.corrupt.levels import PICTURES, PictureCorruption
from pellucid.data.corrupt.moving import FEATURES, FRAMES, VIDEO, MovingCorruption
from pellucid.data.corrupt.names import SEVERITIES, chosen
from pellucid.data.corrupt.text import TEXT, Corruption, corrupt_text
from pellucid.errors import BadUsage

__all__ = [
    "CAPTIONS",
    "FEATURES",
    "FRAMES",
    "MODALITIES",
    "PICTURES",
    "SEVERITIES",
    "TEXT",
    "VIDEO",
    "CaptionCorruption",
    "Corruption",
    "MovingCorruption",
    "PictureCorruption",
    "corrupt_caption",
    "corrupt_text",
    "find",
]

AnyCorruption = Corruption | CaptionCorruption | PictureCorruption | MovingCorruption
MODALITIES: Mapping[str, Mapping[str, AnyCorruption]] = {"text": TEXT, "caption": CAPTIONS, "image": PICTURES, "video": VIDEO}


def find(modality: str, kind: str, severity: int = 1) -> AnyCorruption:
    """The corruption of that name.

    Raises:
        BadUsage: no such modality, kind or severity.
    """
    if modality not in MODALITIES:
        raise BadUsage(f"no corruptions of {modality!r}" + nearest(modality, list(MODALITIES)))
    return chosen(MODALITIES[modality], modality, kind, severity)
