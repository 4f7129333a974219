"""Pictures and videos with what was found in them drawn on, and maps of classes as pictures, in folders of their own."""

import io
import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from pellucid.data import video
from pellucid.data.images import open_image
from pellucid.data.maps import encode
from pellucid.errors import BadUsage
from pellucid.finding import has_map
from pellucid.metrics.segmentation import unpack_map
from pellucid.report import boxes, strip, whole
from pellucid.task import Example

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
QUALITY = 92  # of JPEG and WebP
READABLE = 480  # pixels of the longer side from which words beside boxes can be read

Row = Mapping[str, Any]  # an answer with `labels`, `scores` and `boxes_xyxy`, perhaps `masks`, `caption` and `spans`, or with a `map`


def things(row: Row) -> list[boxes.Thing]:
    """What an answer found, as it is drawn: its objects, and the regions of its map."""
    labels = row.get("labels", ())
    masks = row.get("masks") or [None] * len(labels)
    each = zip(labels, row.get("boxes_xyxy", ()), row.get("scores", ()), masks, strict=True)
    return [boxes.Thing(label, box, score, mask) for label, box, score, mask in each] + _regions(row)


def _regions(row: Row) -> list[boxes.Thing]:
    """Each class of the map as a mask, called by its name, in the middle of its widest part, where no box tells it."""
    if not has_map(row):
        return []
    indices, found = unpack_map(row["map"]), []
    for k, label in enumerate(row["classes"], 1):
        mask = indices == k
        if mask.any():
            x, y = _middle(mask)
            found.append(boxes.Thing(label, (x, y, x, y), None, mask, framed=False, named=label not in row.get("labels", ())))
    return found


def _middle(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """The place of a mask that is farthest from its edge, which the picture's is as well."""
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return float(x) + 0.5, float(y) + 0.5


@dataclass
class Gallery:
    """A folder for drawn pictures, `NAME.boxes.jpg` for `NAME.jpg`; no input is ever overwritten, and no two have one name.

    Args:
        labels: all names of the task, which tell their colours; what has another name gets the next colour in turn.
        inputs: files that are asked about.
        least: pixels of the longer side up to which smaller pictures are enlarged, twice, three times and so on; with a map `READABLE`.
    """

    folder: pathlib.Path
    labels: Sequence[str] = ()
    inputs: Iterable[str | os.PathLike[str]] = ()
    least: int = 0
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.taken |= {_real(path) for path in self.inputs}

    def picture(self, example: Example, rows: Sequence[Row]) -> pathlib.Path:
        """The file of the picture with all its answers drawn, in the format of the example's own where that can be written, else PNG.

        Raises:
            BadUsage: it cannot be written.
        """
        image = example["image"]
        name = pathlib.Path(image if isinstance(image, (str, os.PathLike)) else str(example["id"]))
        known = name.suffix.lower() in FORMATS
        suffix, stem = (name.suffix.lower(), name.stem) if known else (".png", name.name)
        into = io.BytesIO()
        drawn = self.drawn(open_image(image, str(example["id"])), rows, self._known(rows))
        drawn.save(into, FORMATS[suffix], **({} if suffix == ".png" else {"quality": QUALITY}))
        return whole.write(self.place(stem, suffix), into.getvalue())

    def film(self, clip: str, rate: Any) -> video.Writer:
        """Where the drawn frames of a video go."""
        return video.Writer(self.place(pathlib.Path(clip).stem, ".mp4"), rate)

    def frame(self, picture: UInt8[np.ndarray, "h w 3"], rows: Sequence[Row]) -> UInt8[np.ndarray, "y x 3"]:
        """One frame, drawn; a name keeps its colour to the end of the film, and beyond."""
        self.labels = self._known(rows)
        return np.asarray(self.drawn(Image.fromarray(picture), rows, self.labels))

    def _known(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """The names that have colours, with those that are new."""
        return tuple(dict.fromkeys([*self.labels, *(label for row in rows for label in row.get("labels", ()))]))

    def drawn(self, picture: Image.Image, rows: Sequence[Row], labels: Sequence[str]) -> Image.Image:
        """The picture with the boxes of its answers and, under it, the captions that they answer, words on the colours of their boxes."""
        least = READABLE if any(map(has_map, rows)) else self.least
        times = max(1, math.ceil(least / max(picture.size)))
        found = boxes.drawn(picture, [thing for row in rows for thing in things(row)], labels, times)
        size = max(boxes.LEAST_LETTERS + 3, round(7 * math.sqrt(found.width * found.height) / boxes.UNIT))
        strips = [strip.strip(row["caption"], _marks(row, tuple(labels)), found.width, size) for row in rows if "caption" in row]
        return strip.stacked(found, strips) if strips else found

    def place(self, stem: str, suffix: str) -> pathlib.Path:
        """A file in the folder, which is made, that is neither an input nor was given before.

        Raises:
            BadUsage: the folder cannot be made.
        """
        return _place(self.folder, "--draw", self.taken, stem, f".boxes{{}}{suffix}")


@dataclass
class Atlas:
    """A folder for maps of classes, `NAME.png` for `NAME.jpg`: pictures of indices with VOC's palette, 0 background, no input overwritten.

    Args:
        inputs: files that are asked about.
    """

    folder: pathlib.Path
    inputs: Iterable[str | os.PathLike[str]] = ()
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.taken |= {_real(path) for path in self.inputs}

    def keep(self, task: str, examples: Sequence[Example], rows: Sequence[Row]) -> None:
        """Writes the maps of these answers.

        Args:
            task: what messages call it.
        Raises:
            BadUsage: they have none, or cannot be written.
        """
        for example, row in zip(examples, rows, strict=True):
            if not has_map(row):
                raise BadUsage(f"--maps: {task} predicts no map")
            image = example["image"]
            name = pathlib.Path(image).stem if isinstance(image, (str, os.PathLike)) else str(example["id"])
            whole.write(_place(self.folder, "--maps", self.taken, name, "{}.png"), encode(unpack_map(row["map"])))


def _place(folder: pathlib.Path, flag: str, taken: set[str], stem: str, ending: str) -> pathlib.Path:
    """A file in the folder, which is made, that is not taken yet; of several that would have one name the second is `-2`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUsage(f"{flag} {folder}: cannot be written ({error.strerror})") from None
    stem, count = re.sub(r"[^\w .()+-]+", "_", stem).strip() or "picture", 1
    while (key := _real(path := folder / f"{stem}{ending.format(f'-{count}' if count > 1 else '')}")) in taken:
        count += 1
    taken.add(key)
    return path


def _marks(row: Row, labels: tuple[str, ...]) -> list[strip.Mark]:
    """The words of an answer's boxes in their colours, the surest box first."""
    order = sorted(range(len(row["labels"])), key=lambda i: -row["scores"][i])
    each = [(span, boxes.colour_of(row["labels"][i], labels)) for i in order for span in row.get("spans", [[]] * len(order))[i]]
    return [strip.Mark(begin, end, paint) for (begin, end), paint in each]


def _real(path: str | os.PathLike[str]) -> str:
    """The file itself, on systems too where large and small letters are one."""
    return os.path.realpath(path).casefold()
