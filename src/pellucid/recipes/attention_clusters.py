"""Long et al. 2018, "Attention clusters: purely attention based local feature integration for video classification", arXiv 1711.09550.

Sets are read from the folders named by MNIST, UCF101, HMDB51, KINETICS, YOUTUBE8M and VIDEOS. The authors published their toy experiment,
Flash-MNIST; neither weights nor features of real videos. Backbones fine-tuned on Kinetics, as the paper's are, are given by
`--set task.streams.rgb.pretrained=FILE`; the recipes start from what timm has of ImageNet. The paper does not say how its classifier of
real videos was optimised; what stands here is what its program does on Flash-MNIST.
"""

from collections.abc import Mapping
from dataclasses import replace

from pellucid.data.views import TestView
from pellucid.paper import Cell, Table
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.video.settings import Cluster, Stream, VideoSettings

ADAM = Optim("adam", 1e-3, 0.0, no_decay_1d=False, clip_norm=None)
INCEPTION = TestView(299, 0.897, "crop", "bicubic")


# ---- flashing digits --------------------------------------------------------------------------------------------------


def flash_mnist() -> Recipe:
    """Flash-MNIST: which of ten digits flash up in 25 frames of noise, 1,024 classes; 64 units.

    `MNIST=folder pellucid train attention_clusters:flash_mnist --out runs/flash-mnist`: the network that sees single frames is trained
    first; an hour on two cores. Claimed by MindSpore's port after 200 epochs.
    """
    return _flash(
        Cluster(64), Stream("digit-net", "${MNIST}", TestView(28, 1.0), rate=0), "flash:{}?digits=${{MNIST}}", 100, {"test/top1": 0.850}
    )


def flash_digits() -> Recipe:
    """The same in small, of the digits that scikit-learn carries: six digits in 16 frames, 64 classes; no download.

    `pellucid train attention_clusters:flash_digits --out runs/flash`, two minutes on two cores; `--set task.cluster.units=1` compares.
    """
    return _flash(Cluster(64), DIGITS, "flash:{}?digits=digits", 15)


DIGITS = Stream("digit-net", "digits", TestView(8, 1.0), rate=0)


def _flash(cluster: Cluster, stream: Stream, source: str, epochs: int, claims: Mapping[str, float] | None = None) -> Recipe:
    return Recipe(
        VideoSettings({"rgb": stream}, cluster),
        Data(source.format("train")),
        tests={"test": Data(source.format("test"))},
        optim=ADAM,
        schedule=Schedule("constant", warmup=0),
        loop=Loop(epochs, 64, eval_batch_size=1000, keep="last"),
        claims=claims or {},
    )


# ---- real videos ------------------------------------------------------------------------------------------------------


def ucf101() -> Recipe:
    """UCF101, the first of three splits, frames and motion; the mean of the splits is 94.6.

    `UCF101=... pellucid train attention_clusters:ucf101 --out runs/ucf101`; `--set train.source='ucf101:${UCF101}?split=train&fold=2'`
    and the same for the test set are the others. Features take a day on one GPU, training an hour.
    """
    return _filmed("ucf101:${UCF101}?split={}&fold=1", {"test/top1": 0.946})


def hmdb51() -> Recipe:
    """HMDB51, the first of three splits, frames and motion; the mean of the splits is 69.2.

    `HMDB51=... pellucid train attention_clusters:hmdb51 --out runs/hmdb51`; the other splits as for `ucf101`. Half a day on one GPU.
    """
    return _filmed("hmdb51:${HMDB51}?split={}&fold=1", {"test/top1": 0.692})


def kinetics() -> Recipe:
    """Kinetics-400: frames, motion and sound; 79.4 top-1, 94.0 top-5 on its validation set.

    `KINETICS=... pellucid train attention_clusters:kinetics --out runs/kinetics`; days on eight GPUs, most of it for motion.
    """
    one = _filmed("kinetics:${KINETICS}?split={}&missing=skip", {"val/top1": 0.794, "val/top5": 0.940}, test="val")
    sound = Stream("vgg16", "hub", TestView(96, 1.0, "squish", "bilinear"), rate=1.0, most=100)
    task = replace(one.task, streams={**one.task.streams, "audio": sound}, clusters={"audio": Cluster(32)}, broken="skip")
    return replace(one, task=task)


def _filmed(source: str, claims: Mapping[str, float], test: str = "test") -> Recipe:
    sources = {split: source.replace("{}", split) for split in ("train", test)}
    streams = {name: Stream("inception_resnet_v2", "hub", INCEPTION) for name in ("rgb", "flow")}
    return Recipe(
        VideoSettings(streams, Cluster(128)),
        Data(sources["train"], part="train"),
        dev=Data(sources["train"], part="dev"),
        tests={test: Data(sources[test])},
        optim=ADAM,
        schedule=Schedule("cosine", warmup=0),
        loop=Loop(30, 64, eval_batch_size=256),
        claims=claims,
    )


def youtube8m() -> Recipe:
    """YouTube-8M (version 2), features of frames and sound as they are published: GAP 84, Hit@1 87, PERR 78 of Paddle's program.

    `YOUTUBE8M=... pellucid train attention_clusters:youtube8m --out runs/youtube8m`; a day on eight GPUs. Of 100 frames; two hidden layers
    before the last.
    """
    sources = {part: f"youtube8m:${{YOUTUBE8M}}/{part}*.tfrecord" for part in ("train", "validate")}
    return Recipe(
        VideoSettings(cluster=Cluster(32), num_local=100, head=(1024, 4096), loss="bce", sum_classes=True),
        Data(sources["train"]),
        dev=Data(sources["validate"], limit=20_000),
        tests={"validate": Data(sources["validate"])},
        optim=ADAM,
        schedule=Schedule("constant", warmup=0),
        loop=Loop(5, 2048, eval_batch_size=256, workers=8, keep="last"),
        claims={"validate/GAP20": 0.84, "validate/hit1": 0.87, "validate/PERR": 0.78},
    )


def videos() -> Recipe:
    """Any folder with a folder of videos for each class, by frames, from a ResNet-18 that a registry package carries.

    `VIDEOS=folder pellucid train attention_clusters:videos --out runs/videos`: a folder with train and test in it needs only
    `--data 'videos:folder?split=train' --test 'test=videos:folder?split=test'`. Minutes on two cores for a few hundred short clips.
    """
    parts = {part: Data("videos:${VIDEOS}", part=part) for part in ("train", "dev", "test")}
    return Recipe(
        VideoSettings({"rgb": Stream("resnet18", "auto")}, Cluster(16), num_local=16),
        parts["train"],
        dev=parts["dev"],
        tests={"home": parts["test"]},
        optim=replace(ADAM, lr=1e-2),  # the classifier sees rows of length 1: few steps at 1e-3 leave its logits small
        schedule=Schedule("cosine", warmup=0),
        loop=Loop(20, 32, eval_batch_size=64, keep="last"),
    )


def tiny() -> Recipe:
    """Which of two digits flash up in eight frames of noise, four classes: half a minute, no download.

    `pellucid train attention_clusters:tiny --out runs/tiny`
    """
    one = _flash(Cluster(8), DIGITS, "flash:{}?digits=digits&classes=2&length=8&per_class=150", 20)
    return replace(one, optim=replace(ADAM, lr=5e-3))


def table() -> Table:
    """Flash-digits by the number of attention units, with the shifting operation and without."""
    sizes = {f"{n} unit{'s' if n > 1 else ''}": Cluster(n) for n in (64, 16, 4, 1)}
    bare = {f"{n} units, no shift": Cluster(n, shift="none") for n in (64, 16)}
    kinds = sizes | bare | {"64 units, two layers": Cluster(64, "two_fc"), "mean": Cluster(weighting="mean")}
    one = replace(flash_digits(), name="attention_clusters:flash_digits")
    cells = [
        Cell("Flash-digits", "six digits", name, replace(one, task=replace(one.task, cluster=cluster))) for name, cluster in kinds.items()
    ]
    return Table("Flash-digits: accuracy by attention units", cells, notes=NOTES)


NOTES = """Share of clips whose whole set of digits is right; of 64 sets chance finds 1.6. Sixteen frames of noise, each of up to
six digits in one or two of them; 80 clips a set to train on, 20 of other people's digits to test on. Single frames are seen by a network
trained on noisy digits, the same for all."""
