"""The plain values of a task with known explanations, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pellucid.tasks.synthetic.task import Synthetic


@dataclass(frozen=True)
class SyntheticSettings:
    """A point of a few columns in, a class or a value out.

    Args:
        model: `exact`, the mixture of one Gaussian per training point, whose labels are the truth; or `network`, trained on draws:
            an MLP on columns, a transformer on tokens, a convolution and an MLP on patches.
        embedding: how the model meets a column: as one number; as a token, one per value; as a picture patch, a texture whose
            strength is the value.
        target: whether `label` is a class, 0, 1, ..., or a number.
        score: what is explained of a class: its log-probability, or its probability.
        std: width of the Gaussians.
        width: features of a token or patch, and of the network.
        double: compute the mixture in 64 bits.
    """

    model: Literal["exact", "network"] = "network"
    embedding: Literal["columns", "tokens", "patches"] = "columns"
    target: Literal["classes", "value"] = "classes"
    score: Literal["log-probability", "value"] = "log-probability"
    std: float = 0.125
    width: int = 64
    double: bool = False

    def build(self, train: Sequence[dict[str, Any]]) -> "Synthetic":
        """The task; the exact mixture's centres, and the tokens' values, are those of the training points."""
        from pellucid.tasks.synthetic import task

        return task.build(self, train)

    def write(self, task: "Synthetic", folder: pathlib.Path) -> None:
        """Sizes, classes and values that tokens stand for."""
        from pellucid.tasks.synthetic import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "Synthetic":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.synthetic import task as room

        return room.restore(self, folder)
