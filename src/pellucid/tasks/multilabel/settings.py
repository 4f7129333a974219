"""The plain values of a picture tagger, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pellucid.data.views import TestView, TrainView

if TYPE_CHECKING:
    from pellucid.tasks.multilabel.task import Multilabel


@dataclass(frozen=True)
class MultilabelSettings:
    """One picture in, any number of labels out.

    Args:
        model: a network of `pellucid list models`, or any name that timm knows.
        pretrained: `auto` takes the weights that a registry package carries, `hub` timm's own, a path a safetensors file; empty
            starts from random weights.
        loss: asymmetric (Ben-Baruch et al. 2021), the same with a focus on negatives that adapts, focal, or binary cross-entropy.
        gamma_neg: how fast negatives lose weight as they become easy; the start of the adaptive one.
        gamma_pos: the same for positives.
        margin: probability below which a negative costs nothing.
        gamma: of the focal loss.
        detach_focus: no gradient flows through the focusing weight, as in the authors' training script.
        balance: mean probability of positives less that of negatives (1 - p) which the adaptive focus aims at.
        sum_classes: the loss is summed over classes, as the paper does, else averaged.
        unlabelled: what a label means that a partly labelled picture says nothing of: it costs nothing, or it is absent.
        threshold: probability from which a label is predicted.
        check: what is looked at of every picture before training: nothing, its header, or all of it.
        broken: pictures that cannot be read stop the run, or are left out and counted.
    """

    model: str = "efficientnet-lite0"
    pretrained: str = "auto"
    view: TestView = TestView(fit="squish")
    train_view: TrainView = TrainView(fit="squish", flip=0.0)
    loss: Literal["asl", "asl-adaptive", "focal", "bce"] = "asl"
    gamma_neg: float = 4.0
    gamma_pos: float = 0.0
    margin: float = 0.05
    gamma: float = 2.0
    detach_focus: bool = True
    balance: float = 0.1
    sum_classes: bool = True
    unlabelled: Literal["ignore", "absent"] = "ignore"
    threshold: float = 0.5
    drop_path: float = 0.0
    dropout: float = 0.0
    small_stem: bool = False
    check: Literal["none", "header", "full"] = "header"
    broken: Literal["refuse", "skip"] = "refuse"

    def build(self, train: Sequence[dict[str, Any]]) -> "Multilabel":
        """The task with pretrained weights, its classes told by the data or learned from the training examples."""
        from pellucid.tasks.multilabel import task

        return task.build(self, train)

    def write(self, task: "Multilabel", folder: pathlib.Path) -> None:
        """Classes."""
        from pellucid.tasks.multilabel import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "Multilabel":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.multilabel import task as room

        return room.restore(self, folder)
