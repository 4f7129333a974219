"""The plain values of a patch detector, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pellucid.data.patch_views import PatchView

if TYPE_CHECKING:
    from pellucid.tasks.patch_detection.task import PatchDetection


@dataclass(frozen=True)
class PatchSettings:
    """A picture and patches in; out, for each of so many queries, whether and where it found its patch. The numbers are UP-DETR's.

    Args:
        backbone: as in detection: resnet18, resnet34, resnet50, resnet101, or resnet_tiny, which is for training from scratch.
        pretrained: `auto` takes the weights that a registry package carries, `hub` timm's copy of torchvision's first ones, a path a
            safetensors file (SwAV's are what the paper took); empty starts from random weights.
        dilate: the backbone's last stage keeps the resolution (DC5), four times the cells.
        frozen: what of the backbone does not train: `all`, which the paper found to be needed, the `stem` and first stage, or nothing.
        detach_target: no gradient through the features that are to be reconstructed, where the backbone is trained.
        num_patches: random patches of each picture, which must divide `num_queries`.
        reconstruct: queries also say what the backbone finds in their patch.
        query_shuffle: the learned queries change places for each picture; in the paper, but of no use.
        patch_drop: probability that a query is not told its patch, while training.
        match_own_group: a patch is matched among its own queries alone; the paper matches it among all.
        one_shot: all queries look for all objects that are like one patch; learned from pictures with boxes, an object of the same
            class in another picture being the patch.
        pre_norm: norms before attention and dense layers; the fine-tuned detector must have the same.
        aux_loss: every decoder layer is told what it got wrong, not only the last.
        mask_padding: padding changes no prediction; the published weights were trained without.
        label_cost: of a pair in the match; `label_weight` in the loss.
        no_object_weight: of queries that answer for nothing, in the cross-entropy.
        threshold: probability from which a box is shown and can be asked about; metrics see all.
        patch: side of the square patches of pixels by which a picture is explained.
        check: what is looked at of every picture before training: nothing, its header, or all of it.
        broken: pictures that cannot be read stop the run, or are left out and counted.
    """

    backbone: str = "resnet50"
    pretrained: str = "hub"
    dilate: bool = False
    frozen: Literal["", "stem", "all"] = "all"
    detach_target: bool = True
    view: PatchView = PatchView()
    num_patches: int = 10
    num_queries: int = 100
    reconstruct: bool = True
    query_shuffle: bool = False
    patch_drop: float = 0.1
    match_own_group: bool = False
    one_shot: bool = False
    width: int = 256
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward: int = 2048
    dropout: float = 0.1
    pre_norm: bool = True
    position: Literal["sine", "learned"] = "sine"
    aux_loss: bool = True
    mask_padding: bool = True
    label_cost: float = 1.0
    box_cost: float = 5.0
    giou_cost: float = 2.0
    label_weight: float = 1.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    feature_weight: float = 1.0
    no_object_weight: float = 0.1
    threshold: float = 0.5
    patch: int = 32
    check: Literal["none", "header", "full"] = "header"
    broken: Literal["refuse", "skip"] = "refuse"

    def build(self, train: Sequence[dict[str, Any]]) -> "PatchDetection":
        """The task with the backbone's pretrained weights; pictures need no labels, but for `one_shot`."""
        from pellucid.tasks.patch_detection import task

        return task.build(self, train)

    def read(self, folder: pathlib.Path) -> "PatchDetection":
        """The task, whose weights come after."""
        from pellucid.tasks.patch_detection import task as room

        return room.restore(self)
