"""The plain values of a judge of pictures' quality, importable without torch."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from pellucid.tasks.quality.classic_task import ClassicQuality
    from pellucid.tasks.quality.task import Quality

HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class VitShape:
    """Sizes of the transformer; the defaults are B/16's with the first six of its blocks.

    Args:
        grid: rows and columns of the table of positions, into which places at any resolution are quantised.
        registers: tokens without a place, whose output is not read.
        scales: rows of the table of scales; none is built for 1.
        layer_scale: a learned factor per feature on each branch.
        adapters: a small bottleneck after each branch (Houlsby et al. 2019).
        legacy: the 2021 layout's positions: a row too low in the table, and none for the class token.
    """

    width: int = 768
    heads: int = 12
    mlp: int = 3072
    blocks: int = 6
    patch: int = 16
    grid: int = 24
    registers: int = 8
    scales: int = 1
    layer_scale: bool = True
    adapters: bool = False
    legacy: bool = False


@dataclass(frozen=True)
class HeadShape:
    """What comes after the transformer; the defaults are those of both published layouts.

    Args:
        groups: residual groups of the difference modulation network; 0 leaves it out.
        blocks: gated blocks in a group.
        reduction: of the width inside a gate.
        scale: a learned factor per feature on the difference.
        gate: what stands inside a gate; `prelu` is the 2021 layout's.
        embedding: the difference is first multiplied by a group's answer to the reference (2021, off in its settings).
    """

    groups: int = 4
    blocks: int = 4
    reduction: int = 16
    scale: bool = True
    gate: Literal["relu", "prelu"] = "relu"
    embedding: bool = False


@dataclass(frozen=True)
class Sampling:
    """Where patches are taken, in both pictures alike.

    Args:
        mode: `grid` is jittered and looks at no picture, `blocks` and `halton` spread by a map of weights, `saliency` draws from that
            map: where the pictures differ, towards the centre, and everywhere a little.
        num_train: patches of a picture in training.
        num_test: the same when measuring.
        samplings: times that a measured picture is sampled anew; its quality is the mean, their standard error the spread.
        scales: sizes at which a picture is looked at, each half of the one before; the finest gets most patches.
        ratio: how much faster than linearly the number of patches grows with the scale.
        perturb: half of what a patch may move from its cell's centre, as a share of the cell.
        centre: weight of the centre in the map.
        difference: weight of where the pictures differ.
        uniform: weight of everywhere.
    """

    mode: Literal["grid", "blocks", "halton", "saliency"] = "grid"
    num_train: int = 384
    num_test: int = 512
    samplings: int = 1
    scales: int = 1
    ratio: float = 1.75
    perturb: float = 0.2
    centre: float = 2.0
    difference: float = 5.0
    uniform: float = 0.25


@dataclass(frozen=True)
class QualitySettings:
    """A picture and its reference in, quality out: 1 for as good as the reference, lower for worse; labels lie between 0 and 1.

    Args:
        pretrained: weights of the transformer: `dinov2-small` as a registry package carries it, a safetensors file with timm's or
            transformers' names, Google's `.npz`; empty starts from random weights.
        mean: of pixel values between 0 and 1, that the transformer was trained with.
        token_dropout: on embedded patches; `dropout`: inside the transformer; `head_dropout`: in the last two layers.
        drop_path: probability of leaving out what a residual group of the head adds.
        anchor: what the error of an identical pair does: `none` leaves it as it falls, as published; `zero` subtracts it; `positive` also
            folds what would be below it, so that no picture is better than its reference.
        mae: weight of the mean absolute error; with `rank` and `pearson` divided by the sum of the three.
        floor: least denominator of the rank loss, which has none as published and explodes near 0.
        preference: weight of the loss of pairs of pictures of which one is preferred.
        linearise: bend the labels so that their ranks are evenly spread (2021); predictions are bent back.
        flips: each training pair may be mirrored, sideways and upside down.
        weak: classic metrics whose mean is the label of generated pairs.
        cells: rows and columns of the grid in which an explanation is told.
        check: what is looked at of every picture before training: nothing, its header, or all of it.
        broken: pictures that cannot be read stop the run, or are left out and counted.
    """

    vit: VitShape = VitShape()
    head: HeadShape = HeadShape()
    sampling: Sampling = Sampling()
    pretrained: str = ""
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF
    token_dropout: float = 0.0
    dropout: float = 0.0
    head_dropout: float = 0.0
    drop_path: float = 0.1
    anchor: Literal["none", "zero", "positive"] = "zero"
    mae: float = 1.0
    rank: float = 1.0
    pearson: float = 0.2
    floor: float = 0.1
    preference: float = 1.0
    linearise: bool = False
    flips: bool = True
    weak: tuple[str, ...] = ("haarpsi", "mdsi", "gmsd")
    cells: int = 14
    check: Literal["none", "header", "full"] = "header"
    broken: Literal["refuse", "skip"] = "refuse"

    def build(self, train: Sequence[dict[str, Any]]) -> "Quality":
        """The task, the transformer with its pretrained weights; perhaps the labels' bend, learned from the training examples."""
        from pellucid.tasks.quality import task

        return task.build(self, train)

    def write(self, task: "Quality", folder: pathlib.Path) -> None:
        """How labels were bent."""
        from pellucid.tasks.quality import task as room

        room.write(task, folder)

    def read(self, folder: pathlib.Path) -> "Quality":
        """The task that `write` described; its weights are not loaded."""
        from pellucid.tasks.quality import task as room

        return room.restore(self, folder)


def published(layout: Literal["2021", "2024"]) -> QualitySettings:
    """The settings of one of the two published layouts at B/16, with its losses' weights and sampling.

    Differs: the 2024 code ignores the weights that it is given and leaves the absolute error out; here they count.
    """
    if layout == "2024":
        return QualitySettings(anchor="none", mae=0.75, sampling=Sampling(samplings=4))
    return QualitySettings(
        VitShape(registers=0, layer_scale=False, legacy=True),
        HeadShape(scale=False, gate="prelu"),
        Sampling("saliency", 256, 1024),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        token_dropout=0.2,
        dropout=0.1,
        drop_path=0.0,
        anchor="none",
        linearise=True,
    )


@dataclass(frozen=True)
class ClassicSettings:
    """A classic full-reference metric in the place of a network: `slope * metric + offset`, which training fits to a set's scores.

    Args:
        metric: a name of `pellucid list metrics`.
        patch: side of the square patches of pixels in which an explanation is told.
        weak: as of `QualitySettings`.
    """

    metric: str = "ssim"
    patch: int = 16
    weak: tuple[str, ...] = ("haarpsi", "mdsi", "gmsd")
    check: Literal["none", "header", "full"] = "header"
    broken: Literal["refuse", "skip"] = "refuse"

    def build(self, train: Sequence[dict[str, Any]]) -> "ClassicQuality":
        """The task, with slope 1 (-1 where less is better) and offset 0."""
        from pellucid.tasks.quality import classic_task

        return classic_task.build(self)
