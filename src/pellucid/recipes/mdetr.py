"""Kamath et al. 2021, "MDETR: modulated detection for end-to-end multi-modal understanding", arXiv 2104.12763, ICCV.

Sets are read from the folders named by COCO (with train2014, train2017, val2017), FLICKR30K, GQA (its pictures, of Visual Genome, in
images), PHRASECUT, LVIS, CLEVR, CLEVR_HUMANS, COGENT, CLEVR_REF, PELLUCID_DATA; MDETR is the folder of the annotations that the
authors published. Numbers are those of their README and program, which counts a referred box by a GIoU of one half: `giou_P@1`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.grounding.world_captions import VOCABULARY
from pellucid.paper import Cell, Table
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.grounding.settings import GroundingSettings

# the text encoder alone warms up, for a hundredth of the steps, and then falls to nothing, whatever the rest does
TEXT: Mapping[str, Schedule] = {"net.text.encoder.": Schedule("linear", warmup=0.01)}
ENB3, ENB5 = ({"backbone": f"timm:tf_efficientnet_b{size}.ns_jft_in1k", "frozen": ""} for size in (3, 5))
ANSWERING = ("net.answer_queries.", "net.answer_heads.")  # what a model that answers questions learns anew
ALIGNING = ("net.align_queries.", "net.align_tokens.")  # and what it has no use for
DETECTOR = ("backbone", "text", "input_proj", "encoder", "decoder", "queries", "class_head", "box_head")
COCO14, GENOME = "${COCO}/train2014", "${GQA}/images"
WORLD = "grounding-world:{}&size=96&scale=1.5&most=6"
SCENES = "grounding-world:train?num={}&size=64&kinds=plain&group=no"


def _rates(rest: float = 1e-4, backbone: float = 1e-5, text: float = 5e-5) -> Optim:
    """Three groups of parameters, each with a rate of its own."""
    scale = {"net.backbone.": backbone / rest, "net.text.encoder.": text / rest}
    return Optim("adamw", rest, 1e-4, no_decay_1d=False, clip_norm=0.1, lr_scale=scale)


def _drop(epochs: float) -> Schedule:
    return Schedule("step", warmup=0, step_epochs=epochs, gamma=0.1)


def _loop(epochs: int, batch_size: int, **more: Any) -> Loop:
    same: dict[str, Any] = {"eval_batch_size": 8, "keep": "last", "workers": 8, "drop_last": True, "save_every": 1000, "seed": 42}
    return Loop(epochs, batch_size, **same | {"ema": 0.9998} | more)


def _authors(name: str, pictures: str) -> Data:
    return Data("modulated:" + ",".join(f"${{MDETR}}/{one}.json" for one in name.split(",")) + f"?{pictures}")


# ---- pre-training ---------------------------------------------------------------------------------------------------


def pretrain() -> Recipe:
    """MDETR with ResNet-101 and RoBERTa-base on 1.3 million captions with boxes, 40 epochs: 83.4 of Flickr30k's phrases.

    `MDETR=... COCO=... FLICKR30K=... GQA=... pellucid train mdetr:pretrain --out runs/mdetr`; a week on 32 V100. Its published weights
    become a run by `pellucid convert pretrained_resnet101_checkpoint.pth --to-run runs/mdetr --recipe mdetr:pretrain`.
    """
    return _pretrained({}, 1e-5, (0.756, 0.825, 0.929, 0.949, 0.834, 0.935, 0.953, 0.589, 0.603, 0.721, 0.580, 0.557))


def pretrain_b3() -> Recipe:
    """The same with EfficientNet-B3, taught by a noisy student, all of which trains: 84.0.

    `MDETR=... COCO=... FLICKR30K=... GQA=... pellucid train mdetr:pretrain_b3 --out runs/mdetr-b3`; the authors took 32 GPUs.
    """
    return _pretrained(ENB3, 5e-5, (0.766, 0.829, 0.932, 0.952, 0.840, 0.938, 0.956, 0.595, 0.576, 0.702, 0.567, 0.538))


def pretrain_b5() -> Recipe:
    """The same with EfficientNet-B5: 84.3, the paper's best.

    `MDETR=... COCO=... FLICKR30K=... GQA=... pellucid train mdetr:pretrain_b5 --out runs/mdetr-b5`; the authors took 32 GPUs.
    """
    return _pretrained(ENB5, 5e-5, (0.764, 0.836, 0.934, 0.951, 0.843, 0.939, 0.958, 0.599, 0.618, 0.734, 0.588, 0.571))


CLAIMED = (  # of a pre-trained network, without fine-tuning
    *("flickr/AP50", "flickr/R@1", "flickr/R@5", "flickr/R@10", "flickr test/R@1", "flickr test/R@5", "flickr test/R@10"),
    *("gqa/AP50", "expressions/AP50", "refcoco/giou_P@1", "refcoco+/giou_P@1", "refcocog/giou_P@1"),
)


def _pretrained(changes: Mapping[str, Any], backbone_rate: float, claims: Sequence[float]) -> Recipe:
    tests = {name: Data(f"flickr:${{FLICKR30K}}?split={split}") for name, split in (("flickr", "val"), ("flickr test", "test"))}
    tests |= {"gqa": _authors("final_gqa_val", f"images={GENOME}"), "expressions": _authors("final_refexp_val", f"images={COCO14}")}
    tests |= {name: _authors(f"finetune_{name}_val", f"images={COCO14}") for name in ("refcoco", "refcoco+", "refcocog")}
    return Recipe(
        GroundingSettings(measure="phrases", **changes),
        _authors("final_mixed_train,final_flickr_separateGT_train", f"coco={COCO14}&vg={GENOME}&images=${{FLICKR30K}}/flickr30k-images"),
        dev=replace(tests["flickr"], limit=1000),
        tests=tests,
        optim=_rates(backbone=backbone_rate),
        schedule=_drop(35),
        loop=_loop(40, 64),
        claims=dict(zip(CLAIMED, claims, strict=True)),
        schedules=TEXT,
    )


# ---- fine-tuning ---------------------------------------------------------------------------------------------------


def finetune() -> Recipe:
    """Phrases and boxes of your own, a table or another source, from a pre-trained MDETR: ours, not the paper's.

    `pellucid train mdetr:finetune --init runs/mdetr --data phrases:mine.csv --out runs/mine`; without `--data`, the table PHRASES.
    """
    rows = Data("phrases:${PHRASES}")
    parts = {"train": replace(rows, part="train"), "val": replace(rows, part="dev"), "test": replace(rows, part="test")}
    one = _finetuned(GroundingSettings(measure="phrases"), parts, 10, 8, {})
    return replace(one, loop=_loop(10, 8, ema=0.0, drop_last=False, workers=2))


def flickr_merged() -> Recipe:
    """Flickr30k's phrases with one box around all of an entity, from a pre-trained MDETR.

    `FLICKR30K=... pellucid train mdetr:flickr_merged --init runs/mdetr --out runs/flickr-merged`. The authors do not say how long they
    trained; rates and epochs here are those of RefCOCO. Without `--init` it begins with the weights of ImageNet and of the text encoder.
    """
    sources = {split: Data(f"flickr:${{FLICKR30K}}?split={split}&merged=yes") for split in ("train", "val", "test")}
    val = {"val/merged_R@1": 0.823, "val/merged_R@5": 0.918, "val/merged_R@10": 0.937}
    test = {"test/merged_R@1": 0.838, "test/merged_R@5": 0.927, "test/merged_R@10": 0.944}
    return _finetuned(GroundingSettings(measure="phrases"), sources, 5, 3, val | test)


def refcoco() -> Recipe:
    """RefCOCO, the box that an expression asks for, from a pre-trained MDETR, 5 epochs.

    `MDETR=... COCO=... pellucid train mdetr:refcoco --init runs/mdetr --out runs/refcoco`; 2 days on 2 RTX 8000.
    """
    return _expressions("refcoco", 5, 3, {"val": 0.8675, "testA": 0.8958, "testB": 0.8141})


def refcoco_plus() -> Recipe:
    """RefCOCO+, whose expressions may not say where a thing is, the same way.

    `MDETR=... COCO=... pellucid train mdetr:refcoco_plus --init runs/mdetr --out runs/refcoco-plus`; 2 days on 2 RTX 8000.
    """
    return _expressions("refcoco+", 5, 3, {"val": 0.7952, "testA": 0.8409, "testB": 0.7062})


def refcocog() -> Recipe:
    """RefCOCOg, of longer expressions, the same way in 3 epochs.

    `MDETR=... COCO=... pellucid train mdetr:refcocog --init runs/mdetr --out runs/refcocog`; the authors took 2 GPUs.
    """
    return _expressions("refcocog", 3, 2, {"val": 0.8164, "test": 0.8089})


def _expressions(name: str, epochs: int, drop: int, claims: Mapping[str, float]) -> Recipe:
    sources = {split: _authors(f"finetune_{name}_{split}", f"images={COCO14}") for split in ("train", *claims)}
    return _finetuned(GroundingSettings(measure="expressions"), sources, epochs, drop, {f"{k}/giou_P@1": v for k, v in claims.items()})


def _finetuned(task: GroundingSettings, sources: Mapping[str, Data], epochs: int, drop: int, claims: Mapping[str, float]) -> Recipe:
    return Recipe(
        task,
        sources["train"],
        dev=replace(sources["val"], limit=1000),
        tests={name: source for name, source in sources.items() if name != "train"},
        optim=_rates(5e-5, 1e-5, 1e-5),
        schedule=_drop(drop),
        loop=_loop(epochs, 8),
        claims=claims,
        schedules=TEXT,
    )


def phrasecut() -> Recipe:
    """PhraseCut's phrases and the boxes of all that each names, from a pre-trained MDETR, 10 epochs: the detector that masks stand on.

    `PHRASECUT=... GQA=... pellucid train mdetr:phrasecut --init runs/mdetr --out runs/phrasecut`; the authors took 32 GPUs.
    """
    sources = {split: Data(f"phrasecut:${{PHRASECUT}}?split={split}&images={GENOME}") for split in ("train", "val", "test")}
    return replace(_finetuned(GroundingSettings(measure="phrase_cut"), sources, 10, 10, {}), loop=_loop(10, 64))


def phrasecut_masks() -> Recipe:
    """Masks on top of it, whose weights stay: the mask head alone, 35 epochs: 53.1 mean IoU.

    `PHRASECUT=... GQA=... pellucid train mdetr:phrasecut_masks --init runs/phrasecut --out runs/phrasecut-masks`; 32 again.
    """
    one = phrasecut()
    masked = {name: replace(data, source=data.source + "&masks=yes") for name, data in {"train": one.train, **one.tests}.items()}
    return replace(
        one,
        task=replace(one.task, masks="per_head", align=0.0, aux_loss=False),
        train=masked.pop("train"),
        dev=replace(masked["val"], limit=1000),
        tests=masked,
        optim=replace(_rates(), lr_scale={f"net.{part}.": 0.0 for part in DETECTOR}),
        schedule=_drop(25),
        loop=_loop(35, 64, ema=0.0),
        claims={"test/mask_mIoU": 0.531, "test/mask_P@0.5": 0.561, "test/mask_P@0.7": 0.389, "test/mask_P@0.9": 0.119},
        init_skip=("net.mask_head.",),
        init_drop=ALIGNING,
    )


def gqa() -> Recipe:
    """GQA's questions, all of train and val, from a pre-trained MDETR, 5 epochs: 62.48 on test-dev.

    `MDETR=... GQA=... pellucid train mdetr:gqa --init runs/mdetr --out runs/gqa`; the authors took 32 GPUs.
    """
    return Recipe(
        GroundingSettings(measure="replies", answers="gqa", answer_weight=25.0, align=0.0, aux_loss=False),
        _authors("finetune_gqa_train_all,finetune_gqa_val_all", f"images={GENOME}"),
        dev=Data("gqa:${GQA}?split=testdev", limit=1000),
        tests={"testdev": Data("gqa:${GQA}?split=testdev")},
        optim=_rates(1.4e-4, 1.4e-5, 7e-5),
        schedule=Schedule("constant", warmup=0),
        loop=_loop(5, 128),
        claims={"testdev/answer_accuracy": 0.6248},
        schedules=TEXT,
        init_skip=ANSWERING,
        init_drop=ALIGNING,
    )


CLEVR = GroundingSettings(
    backbone="resnet18",
    text="distilroberta-base",
    num_queries=25,
    view=BoxView(320, 512),
    train_view=BoxTrainView((256, 288, 320, 352, 384), 512, flip=0.0, crop_shorts=(320, 352, 384), crop_range=(256, 512)),
)
CLEVR_ANSWERS = replace(CLEVR, answers="clevr", measure="replies")


def clevr_medium() -> Recipe:
    """CLEVR's questions that name each object once at most, as captions with boxes: what answering them begins with, 30 epochs.

    `CLEVR=... pellucid train mdetr:clevr_medium --out runs/clevr-medium`; one GPU. For CoGenT,
    `--data 'clevr:${COGENT}?split=trainA&subset=medium' --test 'val=clevr:${COGENT}?split=valA&subset=medium'`.
    """
    return _clevr(CLEVR, {split: Data(f"clevr:${{CLEVR}}?split={split}&subset=medium") for split in ("train", "val")}, 30, 20, {})


def clevr() -> Recipe:
    """All of CLEVR's questions, and their answers, from `clevr_medium`, 30 epochs: 99.7.

    `CLEVR=... pellucid train mdetr:clevr --init runs/clevr-medium --out runs/clevr`; one GPU.
    """
    sources = {split: Data(f"clevr:${{CLEVR}}?split={split}") for split in ("train", "val")}
    return replace(_clevr(CLEVR_ANSWERS, sources, 30, 20, {"val/answer_accuracy": 0.997}), init_skip=ANSWERING)


def clevr_humans() -> Recipe:
    """Questions that people wrote to CLEVR's pictures, which have no boxes, from `clevr`, 60 epochs: 81.7, and 59.9 without.

    `CLEVR=... CLEVR_HUMANS=... pellucid train mdetr:clevr_humans --init runs/clevr --out runs/clevr-humans`; one GPU.
    """
    file = "clevr:${{CLEVR_HUMANS}}/CLEVR-Humans-{0}.json?images=${{CLEVR}}/images/{0}"
    sources = {part: Data(file.format(part)) for part in ("train", "val", "test")}
    return _clevr(replace(CLEVR_ANSWERS, detect=False), sources, 60, 40, {"test/answer_accuracy": 0.817})


def cogent() -> Recipe:
    """CLEVR-CoGenT: trained on cubes and cylinders of some colours, tested on these (A) and others (B), from `clevr_medium` of CoGenT.

    `COGENT=... pellucid train mdetr:cogent --init runs/cogent-medium --out runs/cogent`; one GPU. The claims are of testA and
    testB, whose answers are not public; valA and valB are measured.
    """
    sources = {name: Data(f"clevr:${{COGENT}}?split={split}") for name, split in (("train", "trainA"), ("val", "valA"), ("val B", "valB"))}
    claims = {"testA/answer_accuracy": 0.998, "testB/answer_accuracy": 0.767}
    return replace(_clevr(CLEVR_ANSWERS, sources, 30, 20, claims), init_skip=ANSWERING)


def clevr_ref() -> Recipe:
    """CLEVR-Ref+: boxes of all that an expression goes by, and which of them it asks for in the end; 100 is claimed.

    `CLEVR_REF=... pellucid train mdetr:clevr_ref --out runs/clevr-ref`; one GPU. The authors do not say how long they trained;
    rates and epochs here are those of CLEVR.
    """
    sources = {split: Data(f"clevr-ref:${{CLEVR_REF}}?split={split}") for split in ("train", "val")}
    return _clevr(replace(CLEVR, final=1.0, measure="expressions"), sources, 30, 20, {"val/giou_P@1": 1.0})


def _clevr(task: GroundingSettings, sources: Mapping[str, Data], epochs: int, drop: int, claims: Mapping[str, float]) -> Recipe:
    return replace(_finetuned(task, sources, epochs, drop, claims), optim=_rates(), loop=_loop(epochs, 64, ema=0.0, eval_batch_size=64))


def lvis() -> Recipe:
    """LVIS's 1,203 classes asked for one by one, from a pre-trained MDETR: 22.5 fixed AP.

    `LVIS=... COCO=... pellucid train mdetr:lvis --init runs/mdetr --out runs/lvis`; the authors took 64 GPUs.
    """
    return _lvis("", {"AP": 0.225, "AP50": 0.352, "APr": 0.074, "APc": 0.227, "APf": 0.250})


def lvis_10() -> Recipe:
    """The same from a picture in ten: 24.2, of rare classes 20.9.

    `LVIS=... COCO=... pellucid train mdetr:lvis_10 --init runs/mdetr --out runs/lvis-10`; 64 again.
    """
    return _lvis("&subset=10", {"AP": 0.242, "AP50": 0.380, "APr": 0.209, "APc": 0.249, "APf": 0.243})


def lvis_1() -> Recipe:
    """The same from a picture in a hundred: 16.7.

    `LVIS=... COCO=... pellucid train mdetr:lvis_1 --init runs/mdetr --out runs/lvis-1`; 64 again.
    """
    return _lvis("&subset=1", {"AP": 0.167, "AP50": 0.258, "APr": 0.112, "APc": 0.146, "APf": 0.195})


def _lvis(subset: str, claims: Mapping[str, float]) -> Recipe:
    """Measured by the pictures of LVIS's validation set that are not of COCO's training set, as the authors'."""
    files = {"train": f"train.json?images=${{COCO}}{subset}", "val": "minival.json?images=${COCO}"}
    sources = {name: Data(f"lvis:${{LVIS}}/lvis_v1_{file}") for name, file in files.items()}
    one = _finetuned(GroundingSettings(measure="lvis"), sources, 150, 120, {f"val/fixed_{name}": value for name, value in claims.items()})
    return replace(one, optim=_rates(), loop=_loop(150, 128))


# ---- on two cores -----------------------------------------------------------------------------------------------------


def world_words() -> Recipe:
    """What `mdetr:world` begins with: of each picture one caption that lists every word, and each thing answers those true of it.

    `pellucid train mdetr:world_words --out runs/words`, from random weights, five minutes on one core; no download.
    """
    one, (train, dev) = world(), (Data(f"{WORLD.format(part)}&listed=only") for part in ("train?num=3000", "dev?num=100"))
    one = replace(one, task=replace(one.task, measure="boxes"), loop=replace(one.loop, epochs=10))
    return replace(one, train=train, dev=None, tests={"dev": dev})


def world() -> Recipe:
    """A generated world of coloured shapes and captions about them, held-out combinations of colour and shape beside.

    `pellucid train mdetr:world --init runs/words --out runs/world`, eight minutes on one core, after `mdetr:world_words`: from random
    weights it comes to a P@1 of .43, with these to .64. No download.
    """
    more: dict[str, Any] = {"dilate": True, "pre_norm": True, "final": 1.0, "num_tokens": 95, "words": VOCABULARY}
    one = _generated(_small(96, num_queries=10, decoder_layers=2, feedforward=256, **more), Loop(8, 16, eval_batch_size=100))
    asked = ("train?captions=4&merge=yes&num=3000", "dev?num=200", "test?num=1000", "combinations?num=1000")
    train, dev, test, new = (Data(WORLD.format(part)) for part in asked)
    return replace(one, train=train, dev=dev, tests={"test": test, "combinations": new}, optim=replace(one.optim, clip_norm=0.5))


def coco128() -> Recipe:
    """128 small pictures of COCO, captioned by categories and positions, from pretrained ResNet-18 and MiniLM: a smoke run, no benchmark.

    `PELLUCID_DATA=... pellucid train mdetr:coco128 --out runs/coco128`, a quarter of an hour on one core; what it finds is next to nothing.
    """
    folder = "${PELLUCID_DATA}/coco128"
    file = f"coco-captions:{folder}/annotations/instances_PART2017.json?images={folder}/images/PART2017&empty=drop&style=positions"
    train, val = (Data(file.replace("PART", part)) for part in ("train", "val"))
    carried: dict[str, Any] = {"backbone": "resnet18", "pretrained": "auto", "text": "minilm", "frozen": "stem", "width": 128}
    carried |= {"view": BoxView(160, 256), "train_view": BoxTrainView((144, 160, 176), 256, 0.0, 0.0), "patch": 16}
    task = replace(_small(160, num_queries=30, decoder_layers=3, feedforward=256), **carried, measure="phrases")
    loop = Loop(40, 8, eval_batch_size=16, keep="last")
    return Recipe(task, train, tests={"val": val}, optim=_rates(4e-4, 4e-5, 4e-5), schedule=Schedule("cosine", 0.05), loop=loop)


def overfit() -> Recipe:
    """Sixteen generated scenes learned by heart, until every caption's box is the surest: P@1 1.0 in half a minute of one core.

    `pellucid train mdetr:overfit --out runs/overfit`; on scenes that it has not seen it finds next to nothing.
    """
    return _generated(_small(64, num_queries=8, decoder_layers=2, feedforward=128), Loop(300, 16, eval_batch_size=16))


def tiny() -> Recipe:
    """The same of eight scenes: that captions can be grounded at all, in seconds, no download.

    `pellucid train mdetr:tiny --out runs/tiny`
    """
    one, eight = overfit(), Data(SCENES.format(8))
    loop = replace(one.loop, epochs=200, batch_size=8)
    return replace(one, task=replace(one.task, encoder_layers=1), train=eight, tests={"home": eight}, loop=loop)


def _small(size: int, **changes: Any) -> GroundingSettings:
    fresh: dict[str, Any] = {"backbone": "resnet_tiny", "pretrained": "", "text": "words", "frozen": "", "measure": "expressions"}
    shape: dict[str, Any] = {"width": 64, "num_heads": 4, "encoder_layers": 2, "dropout": 0.0, "num_tokens": 63, "align_width": 32}
    views: dict[str, Any] = {"view": BoxView(size, 0), "train_view": BoxTrainView((size,), 0, 0.0, 0.0), "patch": 8}
    return GroundingSettings(**fresh | shape | views | changes)


def _generated(task: GroundingSettings, loop: Loop) -> Recipe:
    sixteen, away = Data(SCENES.format(16)), Data("grounding-world:test?num=64&size=64&kinds=plain")
    optim = Optim("adamw", 1e-3, 1e-4, no_decay_1d=False, clip_norm=0.1)
    loop = replace(loop, keep="last", save_every=5000, log_every=50, bucket=0)
    return Recipe(task, sixteen, tests={"home": sixteen, "away": away}, optim=optim, schedule=Schedule("cosine", 0.05), loop=loop)


def table() -> Table:
    """The generated world by what the network is told about words: soft tokens and alignment, or one of them alone."""
    rows: dict[str, dict[str, Any]] = {"full": {}, "no alignment": {"align": 0.0}, "no soft tokens": {"soft_tokens": 0.0}}
    cells = []
    for row, changes in rows.items():
        one, first = (replace(r, task=replace(r.task, **changes)) for r in (world(), world_words()))
        first = replace(first, name=f"mdetr:world_words {row}".replace(" ", "-"))
        cells.append(Cell("generated world", "scenes", row, replace(one, name="mdetr:world"), first=first))
    return Table("MDETR in a generated world", cells, notes=NOTES)


NOTES = """How often the box that a caption asks for is the surest, on scenes that training has not seen, and on captions about
combinations of colour and shape that were in no training picture. All begin with `mdetr:world_words`. A model, no benchmark."""
