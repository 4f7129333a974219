"""Pictures and videos with what was found in them drawn on, in a folder of their own."""

import io
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pellucid.data import video
from pellucid.data.images import open_image
from pellucid.errors import BadUsage
from pellucid.report import boxes, whole
from pellucid.task import Example

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
QUALITY = 92  # of JPEG and WebP

Row = Mapping[str, Any]  # an answer with `labels`, `scores` and `boxes_xyxy`, perhaps `masks`


def things(row: Row) -> list[boxes.Thing]:
    """What an answer found, as it is drawn."""
    masks = row.get("masks") or [None] * len(row["labels"])
    each = zip(row["labels"], row["boxes_xyxy"], row["scores"], masks, strict=True)
    return [boxes.Thing(label, box, score, mask) for label, box, score, mask in each]


@dataclass
class Gallery:
    """A folder for drawn pictures, `NAME.boxes.jpg` for `NAME.jpg`; no input is ever overwritten, and no two have one name.

    Args:
        labels: all names of the task, which tell their colours.
        inputs: files that are asked about.
    """

    folder: pathlib.Path
    labels: Sequence[str] = ()
    inputs: Iterable[str | os.PathLike[str]] = ()
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.taken |= {_real(path) for path in self.inputs}

    def picture(self, example: Example, row: Row) -> pathlib.Path:
        """The drawn picture's file, in the format of the example's own where that can be written, else PNG.

        Raises:
            BadUsage: it cannot be written.
        """
        image = example["image"]
        name = pathlib.Path(image if isinstance(image, (str, os.PathLike)) else str(example["id"]))
        known = name.suffix.lower() in FORMATS
        suffix, stem = (name.suffix.lower(), name.stem) if known else (".png", name.name)
        into = io.BytesIO()
        drawn = boxes.drawn(open_image(image, str(example["id"])), things(row), self.labels)
        drawn.save(into, FORMATS[suffix], **({} if suffix == ".png" else {"quality": QUALITY}))
        return whole.write(self.place(stem, suffix), into.getvalue())

    def film(self, clip: str, rate: Any) -> video.Writer:
        """Where the drawn frames of a video go."""
        return video.Writer(self.place(pathlib.Path(clip).stem, ".mp4"), rate)

    def frame(self, picture: UInt8[np.ndarray, "h w 3"], row: Row | None) -> UInt8[np.ndarray, "h w 3"]:
        """One frame, drawn."""
        return np.asarray(boxes.drawn(Image.fromarray(picture), things(row), self.labels)) if row else picture

    def place(self, stem: str, suffix: str) -> pathlib.Path:
        """A file in the folder, which is made, that is neither an input nor was given before.

        Raises:
            BadUsage: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadUsage(f"--draw {self.folder}: cannot be written ({error.strerror})") from None
        stem, count = re.sub(r"[^\w .()+-]+", "_", stem).strip() or "picture", 1
        while (key := _real(path := self.folder / f"{stem}.boxes{f'-{count}' if count > 1 else ''}{suffix}")) in self.taken:
            count += 1
        self.taken.add(key)
        return path


def _real(path: str | os.PathLike[str]) -> str:
    """The file itself, on systems too where large and small letters are one."""
    return os.path.realpath(path).casefold()
