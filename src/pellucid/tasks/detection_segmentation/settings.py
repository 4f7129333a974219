"""The plain values of a network for boxes and a map, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pellucid.data.joint_views import JointTrainView, JointView

if TYPE_CHECKING:
    from pellucid.tasks.detection_segmentation.task import DetectionSegmentation


@dataclass(frozen=True)
class JointSettings:
    """One picture in; out, its objects as boxes, and a class for each pixel. The numbers are TripleNet's for 300 pixels, else BlitzNet's.

    Args:
        jobs: `both`, `detection` or `segmentation`; parts that the other job teaches are left out with it, whatever is said of them.
        pair: every scale of the decoder learns both jobs (PairNet), not only those that tell something.
        fused: pixels are told from all scales together (MFS), else from the finest.
        inner: boxes are told from their scale's logits of pixels, too (IM).
        agnostic: every scale learns what is any object at all (CAS), while training.
        attention: what a scale knows gates what the next one takes of the encoder (ASF).
        backbone: resnet18, resnet34, resnet50, resnet101, resnet_tiny, which is for training from scratch, or `timm:` and a name of timm's.
        pretrained: `auto` takes the weights that a registry package carries, `hub` timm's copy of torchvision's first ones, a path a
            safetensors file; empty starts from random weights.
        frozen: what of the backbone does not train: the `stem` and first stage, `all`, or nothing.
        train_norms: the backbone's batch norms learn, as BlitzNet's; else they stay as they were pretrained.
        finest: stride of the decoder's finest map, 8 or 4.
        num_extra: stages of stride 2 behind the backbone, of `extra_blocks` bottlenecks (BlitzNet: 2) and `extra_channels`.
        width: channels of the decoder's maps.
        residual: of the 3 x 3 convolution inside a fusion.
        squeeze: how many times narrower than the map its gate is inside.
        inner_widths: of the features of a scale's logits, and where they meet the map.
        narrow: channels that each map is brought to before all tell of pixels together, 64 in BlitzNet; 0 leaves them.
        norm: of what is not the backbone: `batch`, or `group` for small batches.
        project_deepest: the deepest map is projected before the first fusion, too.
        detach: errors of boxes do not change the logits of pixels that they are told from.
        share_agnostic: one head for all scales.
        align_corners: of bilinear enlargements of logits and of what they are made from.
        background: probability of background that a box begins with; 0 for what chance gives.
        smallest: side of the finest map's default boxes, as a share of the picture's; the next map's is `low`, the last one's `high`.
        ratios: width by height of a cell's default boxes; one more is a square between this map's and the next.
        scales: of the maps and one beyond the last, in the place of the three numbers.
        match_iou: from which a default box is an object's.
        first_wins: of two objects whose best box is the same, else the last one has it.
        negatives: boxes without an object that count, for each with one.
        mine_per_image: they are taken in each picture; else wherever in the batch they are worst, as in BlitzNet, and then the loss of a
            step in several passes is not quite that of one.
        variances: what an offset of 1 stands for.
        loc_weight: of the boxes' places in the loss; `conf_weight` of their classes, `map_weight` of the map that is told, `aware_weight`
            of the other scales' maps, `agnostic_weight` of any object or none.
        label_size: at which the map is learned: the `view`'s, or the finest `map`'s, as in BlitzNet.
        least_score: probability from which a box is told at all, and measured.
        candidates: boxes of a class, the likeliest, before any is suppressed.
        suppress_iou: of a likelier box of its class, above which a box is suppressed.
        per_class: boxes of a class that are told of a picture, at most `total` in all.
        average_precision: `coco`, or `voc` for VOC's two numbers.
        threshold: probability from which a box is shown and can be asked about; metrics see all.
        patch: side of the square patches of pixels by which a picture is explained, a divisor of the view's.
        check: what is looked at of every picture before training: nothing, its header and its map but for outlines, or all of it.
        broken: pictures that cannot be read, or whose boxes or map do not fit, stop the run, or are left out and counted.
    """

    jobs: Literal["both", "detection", "segmentation"] = "both"
    pair: bool = True
    fused: bool = True
    inner: bool = True
    agnostic: bool = True
    attention: bool = True
    backbone: str = "resnet50"
    pretrained: str = "hub"
    frozen: Literal["", "stem", "all"] = ""
    train_norms: bool = True
    view: JointView = JointView()
    train_view: JointTrainView = JointTrainView()
    finest: int = 8
    num_extra: int = 3
    extra_blocks: int = 1
    extra_channels: int = 2048
    width: int = 512
    residual: int = 128
    squeeze: int = 16
    inner_widths: tuple[int, int, int] = (48, 128, 256)
    narrow: int = 0
    norm: Literal["batch", "group"] = "batch"
    project_deepest: bool = True
    detach: bool = False
    share_agnostic: bool = True
    align_corners: bool = False
    background: float = 0.0
    smallest: float = 0.1
    low: float = 0.2
    high: float = 0.95
    ratios: tuple[float, ...] = (1, 2, 1 / 2, 3, 1 / 3)
    scales: tuple[float, ...] = ()
    match_iou: float = 0.5
    first_wins: bool = False
    negatives: int = 3
    mine_per_image: bool = True
    variances: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    loc_weight: float = 1.0
    conf_weight: float = 1.0
    map_weight: float = 1.0
    aware_weight: float = 1.0
    agnostic_weight: float = 1.0
    label_size: Literal["view", "map"] = "view"
    least_score: float = 0.01
    candidates: int = 400
    suppress_iou: float = 0.45
    per_class: int = 50
    total: int = 200
    average_precision: Literal["coco", "voc"] = "voc"
    threshold: float = 0.5
    patch: int = 20
    check: Literal["none", "header", "full"] = "header"
    broken: Literal["refuse", "skip"] = "refuse"

    def build(self, train: Sequence[dict[str, Any]]) -> "DetectionSegmentation":
        """The task with the backbone's pretrained weights, its classes told by the data or learned from the training examples."""
        from pellucid.tasks.detection_segmentation import task

        return task.build(self, train)

    def write(self, task: "DetectionSegmentation", folder: pathlib.Path) -> None:
        """Classes."""
        from pellucid.data.pictures import write_labels

        write_labels(task.labels, folder)

    def read(self, folder: pathlib.Path) -> "DetectionSegmentation":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.detection_segmentation import task as room

        return room.restore(self, folder)
