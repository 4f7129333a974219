"""Ben-Baruch et al. 2021, "Asymmetric loss for multi-label classification", arXiv 2009.14119, ICCV.

Four benchmarks with TResNet as the authors' training script has them, and what can be seen on two cores. Sets are read from the folders
named by COCO, VOC, NUSWIDE, OPENIMAGES, and PELLUCID_DATA. Differs: the script sums the loss over examples, too; here it is their mean,
which Adam does not notice. The script keeps the epoch that is best on the set that it reports; here the last is kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pellucid.data.views import TestView, TrainView
from pellucid.paper import Cell, Table
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.multilabel.settings import MultilabelSettings

LOSSES: dict[str, dict[str, Any]] = {
    "asymmetric (4, 0, 0.05)": {"loss": "asl"},
    "asymmetric, adaptive": {"loss": "asl-adaptive", "gamma_neg": 0.0},
    "focal (2)": {"loss": "focal"},
    "binary cross-entropy": {"loss": "bce"},
}


def coco() -> Recipe:
    """MS-COCO 2014 with TResNet-L at 448 pixels: 86.6 mAP.

    `COCO=... pellucid train asl:coco --out runs/coco`; a day on one V100, less with mixed precision.
    """
    sources = [Data(f"coco:${{COCO}}?split={part}2014&empty=drop") for part in ("train", "val")]
    return _tresnet("tresnet_l", 448, sources, {"val/mAP": 0.866})


def coco_m() -> Recipe:
    """MS-COCO 2014 with TResNet-M at 224 pixels: 81.8 mAP.

    `COCO=... pellucid train asl:coco_m --out runs/coco-m`; hours on one V100.
    """
    sources = [Data(f"coco:${{COCO}}?split={part}2014&empty=drop") for part in ("train", "val")]
    return _tresnet("tresnet_m", 224, sources, {"val/mAP": 0.818})


def voc() -> Recipe:
    """Pascal VOC 2007 with TResNet-L at 448 pixels: 94.6 mAP.

    `VOC=... pellucid train asl:voc --out runs/voc`; VOC is the folder that holds VOC2007. An hour on one V100.
    """
    sources = [Data(f"voc:${{VOC}}?year=2007&set={part}") for part in ("trainval", "test")]
    return _tresnet("tresnet_l", 448, sources, {"val/mAP": 0.946})


def nuswide() -> Recipe:
    """NUS-WIDE with TResNet-L at 448 pixels: 65.2 mAP.

    `NUSWIDE=... pellucid train asl:nuswide --out runs/nuswide`; the folder holds the authors' `nus_wid_data.csv`. A day on one V100.
    """
    sources = [Data(f"nuswide:${{NUSWIDE}}/nus_wid_data.csv?split={part}") for part in ("train", "val")]
    return _tresnet("tresnet_l", 448, sources, {"val/mAP": 0.652})


def openimages() -> Recipe:
    """Open Images V6, partly labelled, with TResNet-L at 448 pixels: 86.3 mAP.

    `OPENIMAGES=... pellucid train asl:openimages --out runs/openimages`; days on eight V100. A label that nobody verified counts as
    absent while training, as the paper has it, and as unknown when measuring.
    """
    sources = [Data(f"openimages:${{OPENIMAGES}}?split={part}") for part in ("train", "validation")]
    one = _tresnet("tresnet_l", 448, sources, {"val/mAP": 0.863})
    return replace(one, task=replace(one.task, unlabelled="absent"))


def _tresnet(model: str, size: int, sources: Sequence[Data], claims: dict[str, float]) -> Recipe:
    """The authors' script: one cycle laid out over 80 epochs and cut off after 41, an average of the weights, pictures squished."""
    plain = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    task = MultilabelSettings(
        model,
        pretrained="hub",
        view=TestView(size, 1.0, "squish", "bilinear", *plain),
        train_view=TrainView(fit="squish", interpolation="bilinear", flip=0.0, cutout=0.5, rand_augment="rand-m9-n2-mstd0"),
    )
    train, val = sources
    return Recipe(
        task,
        train,
        dev=val,
        tests={"val": val},
        optim=Optim("adam", 1e-4, 1e-4, clip_norm=None),
        schedule=Schedule("onecycle", 0.2, 4e-6, epochs=80, momentum=(0.85, 0.95)),
        loop=Loop(41, 128 if size < 448 else 56, precision="16-mixed", ema=0.9997, keep="last", workers=8, drop_last=True),
        claims=claims,
    )


# ---- on two cores -----------------------------------------------------------------------------------------------------


def digits() -> Recipe:
    """Digits in a grid of eight cells, 80 labels of which 2.5 are present and a tenth of those untold: asymmetric loss, no download.

    `pellucid train asl:digits --out runs/digits`, a minute on two cores; `--set task.loss=bce` or `focal` compares.
    """
    task = MultilabelSettings(
        "resnet_tiny",
        pretrained="",
        view=TestView(64, 1.0, "squish", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        train_view=TrainView(fit="squish", interpolation="bilinear", flip=0.0),
    )
    return Recipe(
        task,
        Data("digit-grid:train", part="train"),
        dev=Data("digit-grid:train", part="dev"),
        tests={"home": Data("digit-grid:test")},
        optim=Optim("adam", 3e-3, 0.0, clip_norm=None),
        schedule=Schedule("onecycle", 0.3, 1e-4),
        loop=Loop(10, 64, eval_batch_size=250, keep="last"),
    )


def coco128() -> Recipe:
    """128 pictures of COCO from a network pretrained on ImageNet, EfficientNet-Lite0: a smoke run, not the benchmark.

    `PELLUCID_DATA=... pellucid train asl:coco128 --out runs/coco128`, three minutes on two cores.
    """
    folder = "${PELLUCID_DATA}/coco128"
    file = f"coco:{folder}/annotations/instances_PART2017.json?images={folder}/images/PART2017&empty=drop"
    train, val = (Data(file.replace("PART", part)) for part in ("train", "val"))
    task = MultilabelSettings(
        "efficientnet-lite0",
        train_view=TrainView(fit="random_crop", scale=(0.4, 1.0), flip=0.5),
    )
    return Recipe(
        task,
        train,
        dev=None,
        tests={"val": val},
        optim=Optim("adam", 1e-3, 0.0, clip_norm=None, lr_scale={"net.": 1.0}),
        schedule=Schedule("onecycle", 0.2, 1e-3),
        loop=Loop(15, 32, keep="last"),
    )


def tiny() -> Recipe:
    """A digit, and whether it is even: seconds, no download.

    `pellucid train asl:tiny --out runs/tiny`
    """
    one = digits()
    train, test = Data("digits:train"), Data("digits:test")
    task = replace(one.task, view=replace(one.task.view, size=32))
    parts = {"train": replace(train, part="train"), "dev": replace(train, part="dev"), "tests": {"home": test}}
    return replace(one, task=task, loop=replace(one.loop, epochs=6), **parts)  # type: ignore[arg-type]


def table() -> Table:
    """The losses on the grid of digits and on 128 pictures of COCO, all else the same."""
    sets = {"digit grid": replace(digits(), name="asl:digits"), "COCO-128": replace(coco128(), name="asl:coco128")}
    cells = [
        Cell(name, name, model, replace(one, task=replace(one.task, **settings)))
        for name, one in sets.items()
        for model, settings in LOSSES.items()
        if name == "digit grid" or settings["loss"] in ("asl", "bce")
    ]
    return Table("Asymmetric loss, small", cells, notes=__doc__.split("\n")[0])
