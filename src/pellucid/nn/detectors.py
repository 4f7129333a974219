"""What the tasks that find boxes share: the network's sizes out of their settings, and the places where it can be explained."""

from typing import Literal, Protocol, runtime_checkable

from pellucid.nn.detr import Shape
from pellucid.task import Site


@runtime_checkable
class DetectorSettings(Protocol):
    """What a task's settings say of its network, under the names of `Shape`."""

    @property
    def num_queries(self) -> int:
        """Answers for each picture."""

    @property
    def width(self) -> int:
        """Of the transformer."""

    @property
    def num_heads(self) -> int:
        """Of each attention."""

    @property
    def encoder_layers(self) -> int:
        """How many."""

    @property
    def decoder_layers(self) -> int:
        """How many."""

    @property
    def feedforward(self) -> int:
        """Width inside the dense layers."""

    @property
    def dropout(self) -> float:
        """While training."""

    @property
    def pre_norm(self) -> bool:
        """Norms before attention and dense layers."""

    @property
    def position(self) -> Literal["sine", "learned"]:
        """How a cell's place is told."""


def shape_of(settings: DetectorSettings, num_classes: int) -> Shape:
    """The network's sizes."""
    return Shape(
        num_classes,
        settings.num_queries,
        settings.width,
        settings.num_heads,
        settings.encoder_layers,
        settings.decoder_layers,
        settings.feedforward,
        settings.dropout,
        settings.pre_norm,
        settings.position,
    )


def sites_of(patch: int) -> dict[str, Site]:
    """`input`, square patches of so many pixels; `backbone`, the cells of its last map, projected; `encoder`, the same when encoded.

    The model has the network as `net` and the normalised pixels as `pixels`; a batch has `picture`, `patch_present` and `cell_present`.
    """
    axes = {"p": patch, "q": patch}
    return {
        "input": Site("pixels", "b c (h p) (w q)", unit="c p q", axes=axes, present="patch_present", picture="picture"),
        "backbone": Site("net.input_proj", "b d h w", present="cell_present", picture="picture"),  # the CNN itself may run on patches, too
        "encoder": Site("net.memory", "b d h w", present="cell_present", picture="picture"),
    }
