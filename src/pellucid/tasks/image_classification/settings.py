"""The plain values of a picture classifier, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pellucid.data.views import Mix, TestView, TrainView

if TYPE_CHECKING:
    from pellucid.tasks.image_classification.task import ImageClassification


@dataclass(frozen=True)
class ImageSettings:
    """One picture in, one of several classes out.

    Args:
        model: a network of `pellucid list models`, or any name that timm knows.
        pretrained: `auto` takes the weights that a registry package carries, `hub` timm's own, a path a safetensors file; empty
            starts from random weights.
        view: how pictures are measured; the size the model is tested at.
        train_view: the random views it is trained by.
        loss: softmax cross-entropy, or a binary cross-entropy per class (Wightman et al. 2021).
        smoothing: share of the target that goes evenly to all classes.
        threshold: targets above it become 1, the others 0, so that both parts of a mixed picture are fully there; None keeps them.
            It undoes smoothing.
        sum_classes: binary cross-entropy summed over classes instead of averaged: c times the loss.
        drop_path: probability of leaving out the deepest residual branch; falls linearly to 0 at the first (stochastic depth).
        dropout: before the last layer.
        small_stem: a 3 x 3 stem that keeps the resolution, for pictures of 32 or 64 pixels.
        check: what is looked at of every picture before training: nothing, its header, or all of it.
        broken: pictures that cannot be read stop the run, or are left out and counted.
    """

    model: str = "efficientnet-lite0"
    pretrained: str = "auto"
    view: TestView = TestView()
    train_view: TrainView = TrainView()
    mix: Mix = Mix()
    loss: Literal["cross_entropy", "bce"] = "cross_entropy"
    smoothing: float = 0.0
    threshold: float | None = None
    sum_classes: bool = False
    drop_path: float = 0.0
    dropout: float = 0.0
    small_stem: bool = False
    check: Literal["none", "header", "full"] = "header"
    broken: Literal["refuse", "skip"] = "refuse"

    def build(self, train: Sequence[dict[str, Any]]) -> "ImageClassification":
        """The task with pretrained weights, its classes learned from the training examples."""
        from pellucid.tasks.image_classification import task

        return task.build(self, train)

    def write(self, task: "ImageClassification", folder: pathlib.Path) -> None:
        """Classes, and the mean and spread that pixels are normalised by."""
        from pellucid.tasks.image_classification import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "ImageClassification":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.image_classification import task as room

        return room.restore(self, folder)
