"""JPEG 2000; JPEG is the corruption of that name."""

import io

import numpy as np
from PIL import Image

from pellucid.data.corrupt.digital import from_pil, to_pil
from pellucid.data.corrupt.filters import Picture
from pellucid.data.corrupt.levels import Level

_HEADER = 200  # bytes of a codestream that hold no picture


def jpeg_2000(image: Picture, level: Level, rng: np.random.Generator) -> Picture:
    """The picture as it comes back from a JPEG 2000 codestream of a given rate, its header not counted; nothing is drawn."""
    (ratio,) = level
    raw, file = image.numel(), io.BytesIO()
    rate = raw / (raw / ratio + _HEADER)
    to_pil(image).save(file, "JPEG2000", quality_mode="rates", quality_layers=[rate], irreversible=True, no_jp2=True)
    return from_pil(Image.open(file, formats=("JPEG2000",)))
