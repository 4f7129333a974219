"""The plain values of a video classifier, importable without torch."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pellucid.data.views import TestView

if TYPE_CHECKING:
    from pellucid.tasks.video.task import Video


@dataclass(frozen=True)
class Stream:
    """How local features are made of a clip: one backbone, asked about single frames, stacks of optical flow, or pieces of sound.

    Args:
        model: a network of `pellucid list models`, or any that timm knows; or `digit-net`, the paper's of Flash-MNIST.
        pretrained: `auto` takes the weights that a registry package carries, `hub` timm's own, a path a safetensors file; empty leaves
            random weights. Of `digit-net`: the digits that it is trained on when first needed, `digits` or a folder of MNIST's files.
        view: how frames are shown to the network.
        rate: features a second of film (of sound: pieces a second); 0 takes every frame.
        most: of a clip that has more, so many are taken, evenly over the whole.
        stack: successive fields of optical flow that one feature is made of; of `flow` alone.
        bound: largest motion that is told apart, in pixels from one frame to the next; of `flow` alone.
        window_s: length of a piece of sound, in seconds; of `audio` alone.
        mels: bands of its spectrogram.
    """

    model: str = "resnet18"
    pretrained: str = "auto"
    view: TestView = TestView()
    rate: float = 5.0
    most: int = 100
    stack: int = 5
    bound: float = 20.0
    window_s: float = 0.96
    mels: int = 64


@dataclass(frozen=True)
class Cluster:
    """The attention units over one modality.

    Args:
        units: how many; each weighs all local features of a clip by itself.
        weighting: `mean` weighs alike (average pooling; one unit, whatever `units` says), `one_fc` scores a feature linearly, `two_fc` by
            a hidden layer of tanh.
        hidden: its width.
        share_hidden: the units have one hidden layer between them.
        shift: the shifting operation, a scale and a shift of each unit's sum before it gets the length 1 / sqrt(units); `norm` leaves
            out scale and shift, `none` the length, too.
    """

    units: int = 32
    weighting: Literal["mean", "one_fc", "two_fc"] = "one_fc"
    hidden: int = 128
    share_hidden: bool = True
    shift: Literal["shift", "norm", "none"] = "shift"


@dataclass(frozen=True)
class VideoSettings:
    """One clip in, one of several classes out, or any number of labels.

    Args:
        streams: modality (`rgb`, `flow`, `audio`) -> how its local features are made of video; empty where the examples bring features.
        cluster: of each modality that `clusters` does not name.
        num_local: local features of a clip that are looked at, evenly over the whole when measuring, drawn anew from as many equal
            parts of it when training; where there are fewer, all.
        head: widths of hidden layers of tanh before the last; empty for one layer.
        dropout: before the head.
        loss: softmax cross-entropy; or a binary cross-entropy per class, of clips with any number of labels.
        sum_classes: binary cross-entropy summed over classes instead of averaged.
        end_to_end: the backbones learn, too; no features are kept.
        cache: folder of features that were made of video; empty for the user's own (`$XDG_CACHE_HOME/pellucid`).
        broken: clips that cannot be read stop the run, or are left out and counted.
    """

    streams: Mapping[str, Stream] = field(default_factory=dict)
    cluster: Cluster = Cluster()
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    num_local: int = 25
    head: tuple[int, ...] = ()
    dropout: float = 0.5
    loss: Literal["cross_entropy", "bce"] = "cross_entropy"
    sum_classes: bool = False
    end_to_end: bool = False
    cache: str = ""
    broken: Literal["refuse", "skip"] = "refuse"

    def build(self, train: Sequence[dict[str, Any]]) -> "Video":
        """The task with pretrained backbones, its classes and modalities learned from the training examples."""
        from pellucid.tasks.video import task

        return task.build(self, train)

    def write(self, task: "Video", folder: pathlib.Path) -> None:
        """Classes, and the widths of the modalities."""
        from pellucid.tasks.video import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "Video":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.video import task as room

        return room.restore(self, folder)
