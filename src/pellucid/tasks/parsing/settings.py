"""The plain values of a parser, importable without torch."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid.tasks.parsing.task import Parsing

OWN = {
    "recurrent": "two-way LSTM -> LSTM with attention, from random; for two cores",
    "transformer": "T5's architecture with `layers` layers of `width`, from random; for two cores",
}


@dataclass(frozen=True)
class ParsingSettings:
    """A text in, a formal expression out: commands to actions, sentences to logical forms.

    Args:
        model: `recurrent` or `transformer`; `flan-t5-small`; or a transformers encoder-decoder (T5, mT5, BART, mBART, Marian, CodeT5,
            ProtT5 ...) by hub name or local folder.
        from_random: the same architecture with fresh weights.
        tokenizer: `words` learns a vocabulary of words parted by blanks from the training set; empty is the model's own, or `words`
            where it has none; else that of another model.
        prefix: written in front of every text.
        max_source: tokens kept of a text; never more than the model has places for.
        max_target: most tokens of a target, and most that are written; never more than the model has places for.
        beams: 1 takes the likeliest token each time, more search with so many beams; 0 is the number in the model's own settings.
        fresh_embeddings: word vectors and output layer are thrown away and drawn anew, not tied to each other, as where the pretrained
            model speaks no language that the tokenizer knows.
        trim: cut from word vectors and output layer the pieces that the training set does not have; they become unknown.
        rewrite: word of the targets -> word that the model writes in its place; it is read back before anything is measured.
        width: of `recurrent` and `transformer`.
        layers: of the same, each of encoder and decoder.
        dropout: everywhere in the model; None leaves what its configuration says, and for our own is 0.
    """

    model: str = "recurrent"
    from_random: bool = False
    tokenizer: str = ""
    prefix: str = ""
    max_source: int = 1024
    max_target: int = 1024
    beams: int = 1
    fresh_embeddings: bool = False
    trim: bool = False
    rewrite: Mapping[str, str] = field(default_factory=dict)
    width: int = 128
    layers: int = 1
    dropout: float | None = None

    def build(self, train: Sequence[dict[str, Any]]) -> "Parsing":
        """The task with pretrained or fresh weights, its vocabulary learned from the training examples."""
        from pellucid.tasks.parsing import task

        return task.build(self, train)

    def write(self, task: "Parsing", folder: pathlib.Path) -> None:
        """Tokenizer and architecture."""
        from pellucid.tasks.parsing import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "Parsing":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.parsing import task as room

        return room.restore(self, folder)
