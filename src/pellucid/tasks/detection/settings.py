"""The plain values of a detector, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pellucid.data.box_views import BoxTrainView, BoxView

if TYPE_CHECKING:
    from pellucid.tasks.detection.task import Detection


@dataclass(frozen=True)
class DetectionSettings:
    """One picture in; out, for each of so many queries, a class or none, and a box. The numbers are DETR's.

    Args:
        backbone: resnet18, resnet34, resnet50, resnet101, or resnet_tiny, which is for training from scratch.
        pretrained: `auto` takes the weights that a registry package carries, `hub` timm's copy of torchvision's first ones, a path a
            safetensors file; empty starts from random weights.
        dilate: the backbone's last stage keeps the resolution (DC5), four times the cells.
        frozen: what of the backbone does not train: the `stem` and first stage, as with all pretrained ones, `all`, or nothing.
        pre_norm: norms before attention and dense layers, as UP-DETR has them.
        aux_loss: every decoder layer is told what it got wrong, not only the last.
        mask_padding: padding changes no prediction; the published weights were trained without.
        masks: a mask for each query, too; `joint` is how DETR's published weights compute attention, `per_head` UP-DETR and MDETR.
        label_cost: of a pair in the match; `label_weight` in the loss.
        no_object_weight: of queries that answer for nothing, in the cross-entropy.
        average_precision: `coco`, or `voc` for VOC's two numbers behind COCO's.
        threshold: probability from which a box is shown and can be asked about; metrics see all.
        panoptic_threshold: probability above which a query takes part in the panoptic map.
        patch: side of the square patches of pixels by which a picture is explained.
        check: what is looked at of every picture before training: nothing, its header, or all of it.
        broken: pictures that cannot be read stop the run, or are left out and counted.
    """

    backbone: str = "resnet50"
    pretrained: str = "hub"
    dilate: bool = False
    frozen: Literal["", "stem", "all"] = "stem"
    view: BoxView = BoxView()
    train_view: BoxTrainView = BoxTrainView()
    num_queries: int = 100
    width: int = 256
    num_heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 6
    feedforward: int = 2048
    dropout: float = 0.1
    pre_norm: bool = False
    position: Literal["sine", "learned"] = "sine"
    aux_loss: bool = True
    mask_padding: bool = True
    masks: Literal["", "joint", "per_head"] = ""
    label_cost: float = 1.0
    box_cost: float = 5.0
    giou_cost: float = 2.0
    label_weight: float = 1.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    no_object_weight: float = 0.1
    average_precision: Literal["coco", "voc"] = "coco"
    threshold: float = 0.5
    panoptic_threshold: float = 0.85
    patch: int = 32
    check: Literal["none", "header", "full"] = "header"
    broken: Literal["refuse", "skip"] = "refuse"

    def build(self, train: Sequence[dict[str, Any]]) -> "Detection":
        """The task with the backbone's pretrained weights, its classes told by the data or learned from the training examples."""
        from pellucid.tasks.detection import task

        return task.build(self, train)

    def write(self, task: "Detection", folder: pathlib.Path) -> None:
        """Classes."""
        from pellucid.tasks.detection import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "Detection":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.detection import task as room

        return room.restore(self, folder)
