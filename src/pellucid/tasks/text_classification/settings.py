"""The plain values of a text classifier, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pellucid.tasks.text_classification.task import TextClassification

BASELINES = {
    "bow": "bag of words: counts over the training vocabulary -> 300 -> classes",
    "average": "mean of word vectors -> classes",
    "lstm": "word vectors -> two LSTM layers of 512, last state -> classes",
    "convnet": "word vectors -> 512 filters of each width 2 to 5, maximum over time -> classes",
}


@dataclass(frozen=True)
class TextSettings:
    """One or two sentences in, a class or a value out.

    Args:
        model: `minilm`, `bge-small`, `bert-tiny`, a hub name or a local folder; or a baseline: bow, average, lstm, convnet.
        target: whether `label` names a class or is a number.
        scale: a value's range, by which baselines of two sentences scale the cosine.
        pooling: how an encoder's tokens become one vector.
        max_length: tokens kept of a text, or of both together.
        dropout: within a pretrained encoder.
        head_dropout: between encoder and head.
        start_head: the head begins as a regression on the frozen encoder's features instead of random (Kumar et al. 2022, LP-FT).
        from_random: the encoder's architecture with fresh weights.
        vectors: a GloVe text or word2vec binary file for the baselines, kept fixed; empty learns the vectors.
        official_sum: the baseline `average` adds instead, as the paper's code does.
    """

    model: str = "minilm"
    target: Literal["classes", "value"] = "classes"
    scale: float = 5.0
    pooling: Literal["mean", "first"] = "mean"
    max_length: int = 128
    dropout: float = 0.1
    head_dropout: float = 0.1
    start_head: bool = False
    from_random: bool = False
    vectors: str = ""
    official_sum: bool = False

    def build(self, train: Sequence[dict[str, Any]]) -> "TextClassification":
        """The task with pretrained weights, its labels and vocabulary learned from the training examples."""
        from pellucid.tasks.text_classification import task

        return task.build(self, train)

    def write(self, task: "TextClassification", folder: pathlib.Path) -> None:
        """Labels, tokenizer or vocabulary, and the encoder's configuration."""
        from pellucid.tasks.text_classification import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "TextClassification":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.text_classification import task as room

        return room.restore(self, folder)
