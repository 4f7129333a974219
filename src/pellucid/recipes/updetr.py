"""Dai et al. 2021, "UP-DETR: unsupervised pre-training for object detection with transformers", arXiv 2011.09094, CVPR, and what it stands
on: Carion et al. 2020, "End-to-end object detection with transformers", arXiv 2005.12872, ECCV.

Sets are read from the folders named by IMAGENET, COCO, VOC and PELLUCID_DATA. Numbers are the papers' and the authors' programs'; where
they disagree (UP-DETR's rate of the CNN when fine-tuning) the program's README was corrected to what stands here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.patch_views import PatchView
from pellucid.paper import Cell, Table
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.detection.settings import DetectionSettings
from pellucid.tasks.patch_detection.settings import PatchSettings

NOTES = """AP of a small detector fine-tuned on 400 generated pictures of shapes. Its pre-training saw 2,000 such pictures without their
labels, for as long as three fine-tunings take; one pre-training serves all seeds. A model of the claim, not the benchmark."""
FRESH = ("net.class_head.",)  # what fine-tuning learns anew
DROPPED = ("net.patch_to_query.", "net.feature_head.")  # and what it has no use for
ADAMW = Optim("adamw", 1e-4, 1e-4, no_decay_1d=False, clip_norm=0.1, lr_scale={"net.backbone.": 0.1})


def _step(epochs: float) -> Schedule:
    return Schedule("step", warmup=0, step_epochs=epochs, gamma=0.1)


def _loop(epochs: int, batch_size: int, **more: Any) -> Loop:
    return Loop(epochs, batch_size, eval_batch_size=8, keep="last", workers=8, drop_last=True, save_every=1000, seed=42, **more)


# ---- pre-training without labels ----------------------------------------------------------------------------------------


def pretrain() -> Recipe:
    """UP-DETR on ImageNet without its labels, from SwAV's ResNet-50, which stays frozen: 60 epochs, what 43.1 AP on COCO begins with.

    `IMAGENET=... pellucid train updetr:pretrain --set task.pretrained=swav.safetensors --out runs/pretrain`; 5 days on 8 V100. SwAV's file
    becomes safetensors by `pellucid convert`. Any folder of pictures does: `--data folder:photos`.
    """
    sources = [Data(f"folder:${{IMAGENET}}/{part}") for part in ("train", "val")]
    return Recipe(
        PatchSettings(),
        sources[0],
        tests={"held out": replace(sources[1], limit=5000)},
        optim=replace(ADAMW, lr_scale={}),
        schedule=_step(40),
        loop=_loop(60, 256),
    )


# ---- COCO and VOC ---------------------------------------------------------------------------------------------------------


def coco() -> Recipe:
    """COCO 2017 from a pre-trained UP-DETR, 300 epochs: 43.1 AP.

    `COCO=... pellucid train updetr:coco --init runs/pretrain --out runs/coco`; 6 days on 8 V100. Its class head begins anew.
    """
    return _finetuned(_coco(), 300, 200, {"val/AP": 0.431, "val/AP_small": 0.216, "val/AP_medium": 0.468, "val/AP_large": 0.624})


def coco_150() -> Recipe:
    """The same in 150 epochs: 40.5 AP.

    `COCO=... pellucid train updetr:coco_150 --init runs/pretrain --out runs/coco`; 3 days on 8 V100.
    """
    return _finetuned(_coco(), 150, 100, {"val/AP": 0.405})


def voc() -> Recipe:
    """PASCAL VOC, trained on 2007 and 2012, tested on 2007, from a pre-trained UP-DETR, 300 epochs: 57.2 AP.

    `VOC=... pellucid train updetr:voc --init runs/pretrain --out runs/voc`; VOC is the folder that holds VOC2007 and VOC2012. A day on 8
    V100.
    """
    return _finetuned(_voc(), 300, 200, {"test/AP": 0.572, "test/AP50": 0.801, "test/AP75": 0.620})


def voc_150() -> Recipe:
    """The same in 150 epochs: 56.1 AP.

    `VOC=... pellucid train updetr:voc_150 --init runs/pretrain --out runs/voc`; half a day on 8 V100.
    """
    return _finetuned(_voc(), 150, 100, {"test/AP": 0.561, "test/AP50": 0.797, "test/AP75": 0.606})


def voc_scratch() -> Recipe:
    """The same 300 epochs without pre-training: 54.1 AP, UP-DETR's 57.2 being what pre-training adds.

    `VOC=... pellucid train updetr:voc_scratch --out runs/voc-scratch`; a day on 8 V100.
    """
    one = _finetuned(_voc(), 300, 200, {"test/AP": 0.541, "test/AP50": 0.780, "test/AP75": 0.583})
    return replace(one, init_skip=(), init_drop=())


def _finetuned(sources: dict[str, Data], epochs: int, drop: int, claims: dict[str, float]) -> Recipe:
    train, home = sources["train"], next(name for name in sources if name != "train")
    return Recipe(
        DetectionSettings(pre_norm=True),
        train,
        dev=sources[home],
        tests={home: sources[home]},
        optim=replace(ADAMW, lr_scale={"net.backbone.": 0.5}),
        schedule=_step(drop),
        loop=_loop(epochs, 16),
        claims=claims,
        init_skip=FRESH,
        init_drop=DROPPED,
    )


def _coco(options: str = "") -> dict[str, Data]:
    return {name: Data(f"coco:${{COCO}}?split={part}2017{options}") for name, part in (("train", "train"), ("val", "val"))}


def _voc() -> dict[str, Data]:
    return {"train": Data("voc:${VOC}?year=2007,2012&set=trainval"), "test": Data("voc:${VOC}?year=2007&set=test")}


# ---- DETR -----------------------------------------------------------------------------------------------------------------


def detr_r50() -> Recipe:
    """DETR with ResNet-50 on COCO 2017, 500 epochs: 42.0 AP.

    `COCO=... pellucid train updetr:detr_r50 --out runs/detr`; 10 days on 8 V100. Its published weights become a run by
    `pellucid convert detr-r50-e632da11.pth --to-run runs/detr --recipe updetr:detr_r50 --classes coco`.
    """
    return _detr({"val/AP": 0.420, "val/AP50": 0.624, "val/AP75": 0.442}, backbone="resnet50")


def detr_r50_dc5() -> Recipe:
    """DETR-DC5 with ResNet-50: 43.3 AP; the last stage keeps the resolution, which costs twice the time.

    `COCO=... pellucid train updetr:detr_r50_dc5 --out runs/detr-dc5`; a picture at a time, as the authors did.
    """
    return _detr({"val/AP": 0.433, "val/AP50": 0.631, "val/AP75": 0.459}, backbone="resnet50", dilate=True)


def detr_r101() -> Recipe:
    """DETR with ResNet-101: 43.5 AP.

    `COCO=... pellucid train updetr:detr_r101 --out runs/detr-101`
    """
    return _detr({"val/AP": 0.435, "val/AP50": 0.638, "val/AP75": 0.464}, backbone="resnet101")


def detr_r101_dc5() -> Recipe:
    """DETR-DC5 with ResNet-101: 44.9 AP.

    `COCO=... pellucid train updetr:detr_r101_dc5 --out runs/detr-101-dc5`
    """
    return _detr({"val/AP": 0.449, "val/AP50": 0.647, "val/AP75": 0.477}, backbone="resnet101", dilate=True)


def detr_masks() -> Recipe:
    """Masks on top of a trained detector, whose weights stay: the mask head alone, 25 epochs, the rate dropping at 15.

    `COCO=... pellucid train updetr:detr_masks --init runs/detr --out runs/detr-masks`; half a day on 8 V100.
    """
    one = _detr({}, backbone="resnet50", masks="joint")
    sources = _coco("&masks=yes")
    frozen = dict.fromkeys(("backbone", "input_proj", "encoder", "decoder", "queries", "class_head", "box_head"), 0.0)
    return replace(
        one,
        train=sources["train"],
        dev=sources["val"],
        tests={"val": sources["val"]},
        optim=replace(ADAMW, lr_scale={f"net.{name}.": scale for name, scale in frozen.items()}),
        schedule=_step(15),
        loop=_loop(25, 16),
        init_skip=("net.mask_head.",),
    )


def _detr(claims: dict[str, float], **settings: Any) -> Recipe:
    sources = _coco()
    return Recipe(
        DetectionSettings(**settings),
        sources["train"],
        dev=sources["val"],
        tests={"val": sources["val"]},
        optim=ADAMW,
        schedule=_step(400),
        loop=_loop(500, 64),
        claims=claims,
    )


# ---- on two cores ---------------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "backbone": "resnet_tiny",
    "pretrained": "",
    "frozen": "",
    "width": 64,
    "num_heads": 4,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "feedforward": 128,
    "dropout": 0.0,
    "patch": 8,
}


def shapes() -> Recipe:
    """Discs, squares and triangles, 400 pictures, from random weights; no download.

    `pellucid train updetr:shapes --out runs/shapes`, three minutes on one core. `--init runs/unlabelled` begins with what
    `updetr:shapes_pretrain` has learned.
    """
    view, train_view = BoxView(96, 0), BoxTrainView((96,), 0, crop_prob=0.0)
    return Recipe(
        DetectionSettings(**SMALL, num_queries=9, pre_norm=True, view=view, train_view=train_view),
        Data("shapes:train"),
        dev=Data("shapes:test", limit=50),
        tests={"home": Data("shapes:test"), "away": Data("shapes:away")},
        optim=Optim("adamw", 1e-3, 1e-4, no_decay_1d=False, clip_norm=0.1),
        schedule=Schedule("cosine", 0.05),
        loop=Loop(60, 16, eval_batch_size=50, keep="last"),
        init_skip=FRESH,
        init_drop=DROPPED,
    )


def shapes_pretrain() -> Recipe:
    """UP-DETR's pre-training, small: patches are looked for in 2,000 generated pictures of shapes whose labels are not read.

    `pellucid train updetr:shapes_pretrain --out runs/unlabelled`, ten minutes on one core. Differs: all of the network learns, for there is
    no pretrained CNN to freeze; a patch is matched among its own queries, and keeps its colours.
    """
    view = PatchView(24, 32, short_sides=(96,), test_side=96, jitter_prob=0.0, grey_prob=0.0, blur_prob=0.0)
    return Recipe(
        PatchSettings(**SMALL, num_patches=3, num_queries=9, match_own_group=True, reconstruct=False, view=view),
        Data("shapes:train?num=2000"),
        tests={"held out": Data("shapes:test")},
        optim=Optim("adamw", 1e-3, 1e-4, no_decay_1d=False, clip_norm=0.1),
        schedule=Schedule("cosine", 0.05),
        loop=Loop(25, 32, eval_batch_size=50, keep="last"),
    )


def coco128() -> Recipe:
    """128 small pictures of COCO from a ResNet-18 pretrained on ImageNet: a smoke run, not the benchmark; its AP is next to nothing.

    `PELLUCID_DATA=... pellucid train updetr:coco128 --out runs/coco128`, six minutes on one core.
    """
    train, val = _coco128()
    task = DetectionSettings(
        backbone="resnet18",
        pretrained="auto",
        num_queries=30,
        width=128,
        encoder_layers=3,
        decoder_layers=3,
        feedforward=256,
        dropout=0.0,
        view=BoxView(160, 256),
        train_view=BoxTrainView((144, 160, 176), 256, crop_prob=0.0),
    )
    return Recipe(
        task,
        train,
        tests={"train": train, "val": val},
        optim=Optim("adamw", 4e-4, 1e-4, no_decay_1d=False, clip_norm=0.1, lr_scale={"net.backbone.": 0.1}),
        schedule=Schedule("cosine", 0.05),
        loop=Loop(40, 8, eval_batch_size=16, keep="last"),
        init_skip=FRESH,
        init_drop=DROPPED,
    )


def _coco128(options: str = "&empty=drop") -> Sequence[Data]:
    folder = "${PELLUCID_DATA}/coco128"
    file = f"coco:{folder}/annotations/instances_PART2017.json?images={folder}/images/PART2017{options}"
    return [Data(file.replace("PART", part)) for part in ("train", "val")]


def tiny() -> Recipe:
    """Eight pictures of shapes, learned by heart: that a detector can learn at all, in seconds, no download.

    `pellucid train updetr:tiny --out runs/tiny`
    """
    one, eight = overfit(), Data("shapes:train?num=8")
    return replace(one, train=eight, loop=replace(one.loop, epochs=240))


def overfit() -> Recipe:
    """The same for a minute, until every box is right to a few hundredths: 1.0 AP.

    `pellucid train updetr:overfit --out runs/overfit`; on eight pictures of your own, none of which may be held out:
    `--data coco:eight.json --dev coco:eight.json --test home=coco:eight.json`.
    """
    one, eight = shapes(), Data("shapes:train?num=8")
    view = BoxTrainView((96,), 0, flip=0.0, crop_prob=0.0)
    return replace(
        one,
        task=replace(one.task, decoder_layers=2, train_view=view, pre_norm=False),
        train=eight,
        dev=None,
        tests={"home": eight, "away": Data("shapes:away?num=8")},
        schedule=Schedule("cosine", 0.05),
        loop=Loop(350, 8, eval_batch_size=8, keep="last", save_every=1000, log_every=50),
        init_skip=(),
        init_drop=(),
    )


def table() -> Table:
    """From scratch against pre-trained without labels: the same network, pictures, seeds and budget."""
    one, before = replace(shapes(), name="updetr:shapes"), replace(shapes_pretrain(), name="updetr:shapes_pretrain")
    group, alone = "400 labelled pictures", replace(one, init_skip=(), init_drop=())
    cells = [Cell(group, "shapes", "pre-trained on patches", one, first=before), Cell(group, "shapes", "no pre-training", alone)]
    return Table("UP-DETR, small", cells, notes=NOTES)
