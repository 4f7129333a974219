"""Cao, Pang, Li 2019, "Triply supervised decoder networks for joint detection and segmentation", arXiv 1809.09299, CVPR (TripleNet), whose
authors published no code, and what it stands on: Dvornik et al. 2017, "BlitzNet: a real-time deep network for scene understanding", ICCV.

Sets are read from the folders named by VOC (that holds VOC2007 and VOC2012), SBD, COCO and PELLUCID_DATA. The schedule is that of
BlitzNet's published program, steps made epochs of the set; the claims are of TripleNet's abstract, with ResNet-101 at 512 pixels, and
those of other rows are not known for certain, so that they are not claimed.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pellucid.data.joint_views import JointTrainView, JointView
from pellucid.paper import Cell, Table
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.detection_segmentation.settings import JointSettings

ADAM = Optim("adam", 1e-4, 5e-5, no_decay_1d=False, clip_norm=None)
LARGE: Mapping[str, Any] = {"view": JointView(512), "patch": 32, "smallest": 0.04, "low": 0.1}
SIZES: Mapping[int, tuple[int, tuple[int, int, int]]] = {300: (32, (35_000, 50_000, 65_000)), 512: (16, (45_000, 60_000, 75_000))}
JOINT07, TRAIN12, COCO_SIZE = 16_551, 10_582, 118_287  # pictures of the training sets

# ---- VOC and COCO -----------------------------------------------------------------------------------------------------


def voc07() -> Recipe:
    """PASCAL VOC at 300 pixels: boxes of 2007 and 2012, maps where there are some, tested on 2007, whose test pictures have few maps.

    `VOC=... pellucid train triplenet:voc07 --out runs/voc07`; VOC is the folder that holds VOC2007 and VOC2012.
    """
    return _voc07(300)


def voc07_512() -> Recipe:
    """The same at 512 pixels.

    `VOC=... pellucid train triplenet:voc07_512 --out runs/voc07-512`
    """
    return _voc07(512)


def voc12() -> Recipe:
    """PASCAL VOC 2012 at 300 pixels, 10,582 pictures with boxes and maps, those of SBD among them, tested on 2012's validation sets.

    `VOC=... SBD=... pellucid train triplenet:voc12 --out runs/voc12`
    """
    return _voc12(300)


def voc12_512() -> Recipe:
    """The same with ResNet-101 at 512 pixels, the paper's best: 81.9 mAP, 83.3 mIoU on VOC's test server.

    `VOC=... SBD=... pellucid train triplenet:voc12_512 --out runs/voc12-512`. The numbers that the validation sets give are lower: the
    paper's is trained on them, too.
    """
    one = _voc12(512, backbone="resnet101")
    return replace(one, claims={"val/voc_AP50": 0.819, "maps/mIoU": 0.833})


def coco() -> Recipe:
    """COCO 2017 at 300 pixels, maps painted from the masks of its 80 classes.

    `COCO=... pellucid train triplenet:coco --out runs/coco`
    """
    return _coco(300)


def coco_512() -> Recipe:
    """The same with ResNet-101 at 512 pixels: 37.1 AP, 59.6 mIoU.

    `COCO=... pellucid train triplenet:coco_512 --out runs/coco-512`
    """
    return replace(_coco(512, backbone="resnet101"), claims={"val/AP": 0.371, "val/mIoU": 0.596})


def _voc07(size: int, **changes: Any) -> Recipe:
    train = Data("voc:${VOC}?year=2007,2012&set=trainval&maps=yes")
    tests = {"test": Data("voc:${VOC}?year=2007&set=test&maps=yes")}
    return _published(size, train, tests, JOINT07, changes)


def _voc12(size: int, **changes: Any) -> Recipe:
    train = Data("voc:${VOC}?year=2012&set=train_aug&maps=yes&boxes=some&sbd=${SBD}")
    tests = {
        "val": Data("voc:${VOC}?year=2012&set=val&maps=yes"),
        "maps": Data("voc:${VOC}?year=2012&set=val&lists=Segmentation&maps=only"),
    }
    return _published(size, train, tests, TRAIN12, changes)


def _coco(size: int, **changes: Any) -> Recipe:
    train, val = (Data(f"coco:${{COCO}}?split={split}2017&maps=yes") for split in ("train", "val"))
    return _published(size, train, {"val": val}, COCO_SIZE, {"average_precision": "coco", **changes})


def _published(size: int, train: Data, tests: Mapping[str, Data], pictures: int, changes: Mapping[str, Any]) -> Recipe:
    batch_size, steps = SIZES[size]
    first, second, last = (round(step * batch_size / pictures, 2) for step in steps)
    return Recipe(
        JointSettings(**{**(LARGE if size == 512 else {}), **changes}),
        train,
        tests=tests,
        optim=ADAM,
        schedule=Schedule("step", warmup=0, drops=(first, second)),
        loop=Loop(round(last), batch_size, eval_batch_size=8, keep="last", workers=8, drop_last=True, save_every=1000, seed=42),
    )


# ---- on two cores -----------------------------------------------------------------------------------------------------

SMALL: Mapping[str, Any] = {
    "backbone": "resnet_tiny",
    "pretrained": "",
    "view": JointView(96),
    "finest": 4,
    "num_extra": 1,
    "extra_channels": 128,
    "width": 64,
    "residual": 32,
    "squeeze": 8,
    "inner_widths": (16, 32, 64),
    "norm": "group",
    "scales": (0.15, 0.22, 0.32, 0.42, 0.52, 0.65),
    "average_precision": "coco",
    "patch": 8,
}
GENTLE = JointTrainView(zoom_prob=0.3, zoom=(1.05, 1.5), crop_area=(0.5, 1.0))


def shapes() -> Recipe:
    """Discs, squares and triangles, 400 pictures with boxes and maps, from random weights, tested on other pictures; no download.

    `pellucid train triplenet:shapes --out runs/shapes`, four minutes on one core.
    """
    return Recipe(
        JointSettings(**SMALL, train_view=GENTLE),
        Data("shapes:train?maps=yes&num=400"),
        dev=Data("shapes:test?maps=yes", limit=50),
        tests={"home": Data("shapes:test?maps=yes"), "away": Data("shapes:away?maps=yes")},
        optim=Optim("adamw", 1e-3, 1e-4, no_decay_1d=False, clip_norm=1.0),
        schedule=Schedule("cosine", 0.05),
        loop=Loop(16, 16, eval_batch_size=50, keep="last"),
    )


def coco128() -> Recipe:
    """128 small pictures of COCO from a ResNet-18 pretrained on ImageNet: a smoke run, not the benchmark; its numbers are next to nothing.

    `PELLUCID_DATA=... pellucid train triplenet:coco128 --out runs/coco128`
    """
    train, val = _coco128()
    task = JointSettings(
        backbone="resnet18",
        pretrained="auto",
        view=JointView(160),
        num_extra=2,
        extra_channels=256,
        width=128,
        residual=64,
        narrow=32,
        norm="group",
        average_precision="coco",
        patch=16,
    )
    return Recipe(
        task,
        train,
        tests={"train": train, "val": val},
        optim=Optim("adamw", 4e-4, 1e-4, no_decay_1d=False, clip_norm=1.0, lr_scale={"net.backbone.": 0.1}),
        schedule=Schedule("cosine", 0.05),
        loop=Loop(8, 8, eval_batch_size=16, keep="last", drop_last=True),
    )


def _coco128() -> tuple[Data, Data]:
    folder = "${PELLUCID_DATA}/coco128"
    file = f"coco:{folder}/annotations/polygons_PART2017.json?images={folder}/images/PART2017&maps=yes"
    return Data(file.replace("PART", "train")), Data(file.replace("PART", "val"))


def overfit() -> Recipe:
    """Eight pictures of shapes learned by heart, until every box and nearly every pixel is right: AP50 1.0, mIoU above .95.

    `pellucid train triplenet:overfit --out runs/overfit`, minutes on one core.
    """
    still = JointTrainView(colour_prob=0.0, zoom_prob=0.0, crop_prob=0.0, flip=0.0)
    eight, one = Data("shapes:train?maps=yes&num=8"), shapes()
    return replace(
        one,
        task=replace(one.task, train_view=still),
        train=eight,
        dev=None,
        tests={"home": eight, "away": Data("shapes:away?maps=yes&num=8")},
        loop=Loop(300, 8, eval_batch_size=8, keep="last", save_every=1000, log_every=50),
    )


def tiny() -> Recipe:
    """The same in seconds: that boxes can be learned beside a map at all; no download.

    `pellucid train triplenet:tiny --out runs/tiny`
    """
    one = overfit()
    return replace(one, loop=replace(one.loop, epochs=60))


# ---- what each part adds ----------------------------------------------------------------------------------------------

NONE: Mapping[str, Any] = dict.fromkeys(("fused", "inner", "agnostic", "attention"), False)
ROWS: Mapping[str, Mapping[str, Any]] = {
    "+ attention in skips (ASF): TripleNet": {},
    "+ class-agnostic supervision (CAS)": {**NONE, "fused": True, "inner": True, "agnostic": True},
    "+ inner-connected module (IM)": {**NONE, "fused": True, "inner": True},
    "+ fused segmentation (MFS)": {**NONE, "fused": True},
    "PairNet": NONE,
    "detection only": {**NONE, "jobs": "detection"},
    "segmentation only": {**NONE, "jobs": "segmentation"},
}
NOTES = """Generated pictures of shapes, 400 with boxes and maps; each row has a part more than the one below it. AP is of boxes,
mIoU of the map with background. A model of the claims, that both jobs help each other and each part helps, not the benchmark."""


def table() -> Table:
    """One job alone, both, and what each part of TripleNet adds: the same pictures, seeds and budget."""
    one = replace(shapes(), name="triplenet:shapes")
    cells = [Cell("400 pictures", "shapes", name, replace(one, task=replace(one.task, **changes))) for name, changes in ROWS.items()]
    return Table("TripleNet, small", cells, notes=NOTES, metrics=("AP", "mIoU"))
