"""Pictures of the handwritten digits that scikit-learn carries: one at a time, or several in a grid; no download.

Source: Alpaydin and Kaynak 1998, optical recognition of handwritten digits, 1,797 pictures of 8 x 8 pixels.
"""

import functools
import io
from typing import Any

from pellucid.coerce import nearest
from pellucid.errors import BadUsage

Rows = list[dict[str, Any]]

TRAIN = 1200  # digits of the training set; the rest are for testing
SIDE, ROWS, COLUMNS = 16, 2, 4  # pixels of a cell's side, cells of the grid
PRESENT = 2.5 / (ROWS * COLUMNS)  # probability that a cell has a digit: 2.5 labels a picture
MISSING = 0.1  # share of a training picture's labels that nobody wrote down
GRIDS = {"train": 3000, "test": 1000}


def read(place: str) -> Rows:
    """Rows of `train` or `test`: 32 x 32 pictures with a `label`, and as `labels` the same and whether it is even or odd.

    Raises:
        BadUsage: another part.
    """
    images, targets = plain(_part(place, "digits", ("train", "test")))
    big = [_enlarged(image, 32) for image in images]
    return [
        {"id": f"digits:{place}#{i + 1}", "image": _png(b), "label": str(t), "labels": [str(t), ("even", "odd")[t % 2]]}
        for i, (b, t) in enumerate(zip(big, targets, strict=True))
    ]


def read_grids(place: str) -> Rows:
    """Rows of `train` or `test`: 2 x 4 cells, some with a digit; a label is a digit in a cell, 80 in all, `7 at 1,3`.

    A tenth of the training labels is missing, as where annotators overlook things; the test set's are whole.

    Raises:
        BadUsage: another part.
    """
    import numpy as np

    part = _part(place, "digit-grid", ("train", "test"))
    images, targets = plain(part)
    rng = np.random.default_rng([80, part == "train"])
    cells = [(r, c) for r in range(ROWS) for c in range(COLUMNS)]
    classes = tuple(f"{digit} at {r},{c}" for r, c in cells for digit in range(10))
    rows: Rows = []
    for i in range(GRIDS[part]):
        canvas, labels = np.zeros((ROWS * SIDE, COLUMNS * SIDE), np.uint8), []
        for r, c in cells:
            if rng.random() < PRESENT:
                which = int(rng.integers(len(images)))
                canvas[r * SIDE : (r + 1) * SIDE, c * SIDE : (c + 1) * SIDE] = _enlarged(images[which], SIDE)
                labels.append(f"{targets[which]} at {r},{c}")
        told = [label for label in labels if part == "test" or rng.random() >= MISSING]
        rows.append({"id": f"digit-grid:{part}#{i + 1}", "image": _png(canvas), "labels": told, "classes": classes})
    return rows


def _part(place: str, kind: str, parts: tuple[str, ...]) -> str:
    if place not in parts:
        raise BadUsage(f"{kind}:{place}: no such part{nearest(place, parts)}")
    return place


@functools.cache
def plain(part: str) -> tuple[Any, Any]:
    """Pictures `n 8 8` with values up to 255, and what they show."""
    from sklearn.datasets import load_digits

    whole = load_digits()
    chosen = slice(0, TRAIN) if part == "train" else slice(TRAIN, None)
    return (whole.images[chosen] * (255 / 16)).round().astype("uint8"), whole.target[chosen]


def _enlarged(image: Any, side: int) -> Any:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def _png(image: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()
