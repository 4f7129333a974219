"""Batches of pictures: the one view they are measured by, corrupted where a test asks for it, and the random views of training."""

import json
import os
import pathlib
from collections.abc import Sequence

from jaxtyping import Float, UInt8
from torch import Tensor

from pellucid.data import augment, images
from pellucid.data.corrupt.pictures import corrupt_images
from pellucid.data.views import TestView, TrainView
from pellucid.task import Example


def test_pictures(examples: Sequence[Example], view: TestView) -> UInt8[Tensor, "b 3 h w"]:
    """The test view of each example's `image`, spoiled as its `corruption` says.

    Raises:
        BadData: a picture cannot be read; the message names it.
    """
    pictures = images.stacked([images.test_image(e["image"], view, where(e)) for e in examples])
    kinds: dict[tuple[str, int], list[int]] = {}
    for i, example in enumerate(examples):
        if corruption := example.get("corruption"):
            kinds.setdefault((corruption["kind"], corruption["severity"]), []).append(i)
    for (kind, severity), rows in kinds.items():
        pictures[rows] = corrupt_images(pictures[rows], kind, severity, [examples[i]["corruption"]["seed"] for i in rows])
    return pictures


def train_pictures(examples: Sequence[Example], view: TrainView, size: int, seeds: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
    """A random view of each example, drawn with its seed alone."""
    views = [augment.train_image(e["image"], view, view.size or size, s, where(e)) for e, s in zip(examples, seeds, strict=True)]
    return images.stacked(views).float()


def where(example: Example) -> str:
    """What messages call an example."""
    return str(example["image"]) if isinstance(example["image"], str) else str(example.get("id", "a picture"))


def readable(examples: Sequence[Example], source: str, check: str, broken: str) -> Sequence[Example]:
    """The examples whose pictures can be read.

    Args:
        check: what is looked at: `none`, the `header`, or the `full` picture.
        broken: what becomes of one that cannot be read: `refuse` or `skip`.
    Raises:
        BadData: a picture cannot be read, and such are not left out; the message names it.
    """
    if check == "none":
        return examples
    return images.check_images(examples, source, broken == "skip", min(16, os.cpu_count() or 1), check == "full")


def write_labels(labels: Sequence[str], folder: pathlib.Path) -> None:
    """Keeps the names of the classes, in order, in a run's `preprocessing` folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").write_text(json.dumps({"labels": list(labels)}) + "\n", encoding="utf-8")


def read_labels(folder: pathlib.Path) -> list[str]:
    """What `write_labels` wrote."""
    return json.loads((folder / "labels.json").read_text(encoding="utf-8"))["labels"]
