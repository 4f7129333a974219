"""Chubarau and Clark 2021, "VTAMIQ: transformers for attention modulated image quality assessment", arXiv 2110.01655.

Sets are read from the folders named by KADIS, KADID, LIVE, CSIQ, TID2013, PIPAL, PIEAPP and PELLUCID_DATA. The paper's table of numbers
could not be had, so nothing is claimed but what the authors' program states. Splits are by reference: no reference is on both sides.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pellucid.paper import Cell, Table
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.quality.settings import ClassicSettings, HeadShape, QualitySettings, Sampling, VitShape, published

ADAMW = Optim("adamw", 1e-4, 0.01, no_decay_1d=False)
STEPS = Schedule("step", warmup=0, step_epochs=7, gamma=0.1)
# one of each of KADID's seven groups, kept out of training
UNSEEN = ("lens_blur", "colour_quantisation", "jpeg_2000", "multiplicative_noise", "mean_shift", "colour_block", "contrast_change")
# DINOv2-S/14's first six blocks
SMALL = VitShape(384, 6, 1536, 6, patch=14, grid=37, registers=0)


# ---- the published settings -----------------------------------------------------------------------------------------------


def kadis() -> Recipe:
    """Pre-training on KADIS-700k by the weak label of one classic metric (VSI): two epochs of 256 patches, B/16's first six blocks.

    `KADIS=... pellucid train vtamiq:kadis --set task.pretrained=ViT-B_16.npz --out runs/kadis`; a day on one GPU of 10 GB.
    """
    return Recipe(
        _patches(published("2024"), 256, 512),
        Data("kadis:${KADIS}?label=vsi", part="train"),
        dev=Data("kadis:${KADIS}?label=vsi", part="dev", limit=2000),
        tests={"held out": Data("kadis:${KADIS}?label=vsi", part="test", limit=5000)},
        optim=ADAMW,
        schedule=Schedule("constant", warmup=0),
        loop=Loop(2, 20, eval_batch_size=8, workers=8, keep="last", precision="16-mixed"),
    )


def kadid() -> Recipe:
    """KADID-10k from a network pre-trained on KADIS, 20 epochs; tested on held-out references, and on LIVE, CSIQ and TID2013 whole.

    `KADID=... LIVE=... CSIQ=... TID2013=... pellucid train vtamiq:kadid --init runs/kadis --out runs/kadid`; hours on one GPU.
    Claimed by the program's authors: SROCC .962 on KADID-10k without fine-tuning, after KADIS with labels of a VTAMIQ (not reproduced).
    """
    others = {"LIVE": Data("live:${LIVE}"), "CSIQ": Data("csiq:${CSIQ}"), "TID2013": Data("tid:${TID2013}")}
    return _finetuned("kadid:${KADID}", others)


def tid2013() -> Recipe:
    """TID2013 from a network pre-trained on KADIS.

    `TID2013=... pellucid train vtamiq:tid2013 --init runs/kadis --out runs/tid2013`; an hour on one GPU.
    """
    return _finetuned("tid:${TID2013}")


def live() -> Recipe:
    """LIVE (release 2) from a network pre-trained on KADIS.

    `LIVE=... pellucid train vtamiq:live --init runs/kadis --out runs/live`; half an hour on one GPU.
    """
    return _finetuned("live:${LIVE}")


def csiq() -> Recipe:
    """CSIQ from a network pre-trained on KADIS.

    `CSIQ=... pellucid train vtamiq:csiq --init runs/kadis --out runs/csiq`; half an hour on one GPU.
    """
    return _finetuned("csiq:${CSIQ}")


def pipal() -> Recipe:
    """PIPAL's 23,200 pictures, many of them made by networks, from a network pre-trained on KADIS.

    `PIPAL=... pellucid train vtamiq:pipal --init runs/kadis --out runs/pipal`; half a day on one GPU.
    """
    return _finetuned("pipal:${PIPAL}")


def pieapp() -> Recipe:
    """PieAPP: which of two pictures people prefer; tested on its pictures' own scores.

    `PIEAPP=... pellucid train vtamiq:pieapp --init runs/kadis --out runs/pieapp`; half a day on one GPU.
    """
    whole = Data("pieapp:${PIEAPP}?split=train")
    one = _finetuned("pieapp:${PIEAPP}?split=train")
    tests = {"held out": replace(whole, part="test"), "test": Data("pieapp:${PIEAPP}?split=test")}
    return replace(one, tests=tests, loop=replace(one.loop, batch_size=12))


def legacy() -> Recipe:
    """The 2021 layout on KADID-10k: context-aware sampling, positions a row too low, ImageNet's mean and spread; for old checkpoints.

    `KADID=... pellucid train vtamiq:legacy --init vtamiq.safetensors --out runs/legacy`
    """
    return replace(_finetuned("kadid:${KADID}"), task=published("2021"))


def _finetuned(source: str, others: Mapping[str, Data] | None = None) -> Recipe:
    parts = {part: Data(source, part=part) for part in ("train", "dev", "test")}
    return Recipe(
        _patches(published("2024"), 384, 512),
        parts["train"],
        dev=parts["dev"],
        tests={"held out": parts["test"], **(others or {})},
        optim=replace(ADAMW, lr=5e-5),
        schedule=STEPS,
        loop=Loop(20, 16, eval_batch_size=8, workers=8, precision="16-mixed"),
    )


def _patches(task: QualitySettings, train: int, test: int) -> QualitySettings:
    return replace(task, sampling=replace(task.sampling, num_train=train, num_test=test))


# ---- any photographs ------------------------------------------------------------------------------------------------------


def generated() -> Recipe:
    """Pre-training on distortions of any photographs, labelled by classic metrics, from DINOv2-S/14, which a registry package carries.

    `PHOTOS=folder pellucid train vtamiq:generated --out runs/generated`: for 250 photographs a quarter of an hour on two cores.
    """
    return _generated("distorted:${PHOTOS}?num=8&size=256", {})


def photos() -> Recipe:
    """The same on 256 photographs of COCO, tested on 200 of ImageNet, on seven kinds that training lacks, and on people's scores of LIVE.

    `PELLUCID_DATA=... pellucid train vtamiq:photos --out runs/photos`, a quarter of an hour on two cores.
    """
    without, only = ",".join(UNSEEN), ",".join(UNSEEN)
    seen = "distorted:${PELLUCID_DATA}/imagenet_sample/images?size=256&"
    one = _generated("distorted:${PELLUCID_DATA}/coco128/images?num=8&size=256&without_kinds=" + without, LIVE)
    tests = {"unseen photographs": Data(f"{seen}num=3&without_kinds={without}"), "unseen kinds": Data(f"{seen}num=3&seed=1&kinds={only}")}
    return replace(one, train=replace(one.train, part=""), dev=None, tests={**tests, **LIVE})


def photos_scratch() -> Recipe:
    """The same from fresh weights.

    `PELLUCID_DATA=... pellucid train vtamiq:photos_scratch --out runs/photos-scratch`, a quarter of an hour on two cores.
    """
    one = photos()
    return replace(one, task=replace(one.task, pretrained=""), optim=replace(one.optim, layer_decay=1.0, lr_scale={}))


LIVE_SUBSET = "iqa:${PELLUCID_DATA}/live_iqa_subset/scores.csv?images=${PELLUCID_DATA}/live_iqa_subset/images&set=live"
LIVE = {"LIVE subset": Data(LIVE_SUBSET)}


def _generated(source: str, others: Mapping[str, Data]) -> Recipe:
    task = QualitySettings(
        SMALL,
        HeadShape(groups=2, blocks=2),
        Sampling(num_train=64, num_test=128),
        pretrained="dinov2-small",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    parts = {part: Data(source, part=part) for part in ("train", "dev", "test")}
    return Recipe(
        task,
        parts["train"],
        dev=parts["dev"],
        tests={"held out": parts["test"], **others},
        optim=Optim("adamw", 3e-4, 0.01, lr_scale={"net.patch.": 0.1, "net.blocks.": 0.1, "net.position": 0.1}),
        schedule=Schedule("onecycle", 0.1, 1e-3),
        loop=Loop(4, 16, eval_batch_size=16, workers=1, keep="last", precision="bf16-mixed"),
    )
