"""Wightman, Touvron, Jégou 2021, "ResNet strikes back: an improved training procedure in timm", arXiv 2110.00476.

Three budgets for an unmodified ResNet-50, the training that it was compared with, and what of it can be seen on two cores.
ImageNet is read from the folder named by the environment variable IMAGENET (`train` and `val`), small sets from PELLUCID_DATA.
Differs: LAMB, as timm has it, clips the whole gradient to norm 1 inside its step, though the paper says that nothing is clipped.
"""

from dataclasses import replace

from pellucid.data.views import Mix, TestView, TrainView
from pellucid.paper import Cell, Table
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.image_classification.settings import ImageSettings

MIX = Mix(mixup=0.1, cutmix=1.0)
BATCH = 2048
OTHERS = {
    "CIFAR-10": "pack:${PELLUCID_DATA}/cifar10/test_jpeg.npz",
    "Tiny-ImageNet": "pack:${PELLUCID_DATA}/tiny_imagenet/val_jpeg.npz",
    "digits": "digits:test",
}


def a1() -> Recipe:
    """A1: 600 epochs of ResNet-50, 80.4% top-1 at 224 pixels.

    `IMAGENET=... pellucid train rsb:a1 --out runs/a1`; 4.6 days on four V100. The paper's number is of the best of its seeds.
    """
    one = _imagenet(600, 5e-3, 0.01, 80.38)
    task = replace(one.task, smoothing=0.1, threshold=None, mix=Mix(mixup=0.2, cutmix=1.0))
    return replace(one, task=task)


def a2() -> Recipe:
    """A2: 300 epochs of ResNet-50, 79.8% top-1 at 224 pixels.

    `IMAGENET=... pellucid train rsb:a2 --out runs/a2`; about 55 hours on four V100.
    """
    return _imagenet(300, 5e-3, 0.02, 79.83)


def a3() -> Recipe:
    """A3: 100 epochs of ResNet-50 at 160 pixels, 78.1% top-1 at 224.

    `IMAGENET=... pellucid train rsb:a3 --out runs/a3`; about 15 hours on four V100. Objects look larger in random crops than in the
    test view, so testing at a larger size than training gains two points (Touvron et al. 2019, FixRes).
    """
    one = _imagenet(100, 8e-3, 0.02, 78.05)
    view = replace(one.task.train_view, size=160, rand_augment="rand-m6-mstd0.5-inc1")
    return replace(one, task=replace(one.task, train_view=view, drop_path=0.0), loop=replace(one.loop, repeats=1))


def baseline() -> Recipe:
    """What A1 to A3 were compared with: 90 epochs of SGD and cross-entropy, 76.2% top-1.

    `IMAGENET=... pellucid train rsb:baseline --out runs/baseline`; about 14 hours on four V100.
    """
    one = _imagenet(90, 0.1, 1e-4, 76.16)
    task = replace(
        one.task,
        loss="cross_entropy",
        threshold=None,
        mix=Mix(),
        drop_path=0.0,
        view=TestView(224, 0.875, interpolation="bilinear"),
        train_view=TrainView(interpolation="bilinear"),
    )
    loop = replace(one.loop, batch_size=256, repeats=1)
    sgd = Optim("sgd", 0.1, 1e-4, no_decay_1d=False, clip_norm=None)
    return replace(one, task=task, optim=sgd, schedule=Schedule("step", 0.0, step_epochs=30), loop=loop)


def c() -> Recipe:
    """Procedure C's parts: SGD with Nesterov momentum, adaptive gradient clipping, cosine; numbers of the paper's table are not known.

    `IMAGENET=... pellucid train rsb:c --out runs/c`. Rate and decay here are the baseline's (0.1 at a batch
    of 256), augmentation is A2's.
    """
    one = a2()
    task = replace(one.task, loss="cross_entropy", threshold=None, smoothing=0.1)
    sgd = Optim("sgd", 0.8, 1e-4, nesterov=True, clip_norm=None, agc=0.01)
    return replace(one, task=task, optim=sgd, schedule=_cosine(0.8, 5), claims={})


def d() -> Recipe:
    """Procedure D's parts: A2 with AdamW in the place of LAMB; numbers of the paper's table are not known.

    `IMAGENET=... pellucid train rsb:d --out runs/d`. Rate and decay here are what users of AdamW begin with, not the paper's.
    """
    one = a2()
    return replace(one, optim=Optim("adamw", 3e-3, 0.05, clip_norm=None), schedule=_cosine(3e-3, 5), claims={})


def ra2() -> Recipe:
    """A member of procedure B's line, from its author's public settings: RMSProp, steps, a moving average, on ECA-ResNet-26-T at 256.

    `IMAGENET=... pellucid train rsb:ra2 --out runs/ra2`. Differs: the settings' noise on the rate between 40% and 90% of training and
    the ten epochs of cool-down are left out.
    """
    one = _imagenet(700, 0.082, 1e-5, 0.0)
    task = replace(
        one.task,
        model="ecaresnet26t",
        loss="cross_entropy",
        threshold=None,
        smoothing=0.1,
        dropout=0.19,
        drop_path=0.1,
        mix=Mix(mixup=0.19),
        view=TestView(256, 0.94),
        train_view=TrainView(rand_augment="rand-m9-mstd1.0-inc1"),
    )
    rms = Optim("rmsprop_tf", 0.082, 1e-5, eps=1e-3, clip_norm=None)
    steps = Schedule("step", 5, 1e-5 / 0.082, step_epochs=1.0, gamma=0.988, by="epoch", warmup_start=1e-6 / 0.082)
    return replace(one, task=task, optim=rms, schedule=steps, loop=replace(one.loop, batch_size=704, repeats=1, ema=0.999987), claims={})


def finetune() -> Recipe:
    """A network pretrained on ImageNet, EfficientNet-Lite0, on your own pictures: minutes for a few hundred on two cores.

    `pellucid train rsb:finetune --data "folder:photos?split=train" --out runs/photos`; without `--data`, the folder PHOTOS with `train` and
    `val` in it. Ours, not the paper's: its lessons that hold for short runs, RandAugment and a smooth cosine, and a gentle AdamW.
    """
    train, val = (Data("folder:${PHOTOS}?split=" + part) for part in ("train", "val"))
    return Recipe(
        ImageSettings(train_view=TrainView(scale=(0.35, 1.0), rand_augment="rand-m6-mstd0.5-inc1"), smoothing=0.1),
        train,
        dev=val,
        tests={"val": val},
        optim=Optim("adamw", 1e-3, 0.05),
        schedule=Schedule("cosine", 0.1),
        loop=Loop(10, 32, keep="last", workers=2),
    )


def _imagenet(epochs: int, lr: float, decay: float, claim: float) -> Recipe:
    """What A1, A2 and A3 share; A2's where they differ."""
    task = ImageSettings(
        "resnet50",
        pretrained="",
        view=TestView(224, 0.95),
        train_view=TrainView(rand_augment="rand-m7-mstd0.5-inc1"),
        mix=MIX,
        loss="bce",
        threshold=0.2,
        drop_path=0.05,
    )
    val = Data("folder:${IMAGENET}/val")
    return Recipe(
        task,
        Data("folder:${IMAGENET}/train"),
        dev=val,
        tests={"val": val},
        optim=Optim("lamb", lr, decay, eps=1e-6, clip_norm=None),
        schedule=_cosine(lr, 5),
        loop=Loop(epochs, BATCH, eval_batch_size=256, precision="16-mixed", repeats=3, drop_last=True, keep="last", workers=16),
        claims={"val/top1": claim / 100},
    )


def _cosine(lr: float, warmup: int) -> Schedule:
    """timm's: by epoch, from 1e-4 up, the warm-up within the cosine, down to 1e-6."""
    return Schedule("cosine", warmup, 1e-6 / lr, by="epoch", warmup_start=1e-4 / lr, after_warmup=False)


# ---- on two cores -----------------------------------------------------------------------------------------------------


def digits() -> Recipe:
    """The A recipe on handwritten digits: a small ResNet, 95% in half a minute; no download.

    `pellucid train rsb:digits --out runs/digits`
    """
    task = ImageSettings(
        "resnet_tiny",
        pretrained="",
        view=TestView(32, 1.0, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        train_view=TrainView(fit="pad", padding=2, flip=0.0),
        mix=MIX,
        loss="bce",
        threshold=0.2,
        drop_path=0.05,
    )
    return Recipe(
        task,
        Data("digits:train", part="train"),
        dev=Data("digits:train", part="dev"),
        tests={"home": Data("digits:test")},
        optim=Optim("lamb", 1e-2, 0.02, eps=1e-6, clip_norm=None),
        schedule=_cosine(1e-2, 2),
        loop=Loop(16, 100, eval_batch_size=256, keep="last"),
    )


def digits_baseline() -> Recipe:
    """The same budget of SGD and cross-entropy on handwritten digits.

    `pellucid train rsb:digits_baseline --out runs/digits-baseline`
    """
    return _plain(digits(), 0.1)


def cifar10() -> Recipe:
    """A3's ingredients on 10,000 pictures of CIFAR-10: a small ResNet, trained at 24 pixels, tested at 32.

    `PELLUCID_DATA=... pellucid train rsb:cifar10 --out runs/cifar10`, minutes on two cores.
    """
    one = _small("cifar10/{}_jpeg.npz", ("train15000", "test"), (32, 24))
    return replace(one, task=replace(one.task, model="resnet_tiny", small_stem=True))


def cifar10_baseline() -> Recipe:
    """The same budget of SGD and cross-entropy on CIFAR-10.

    `PELLUCID_DATA=... pellucid train rsb:cifar10_baseline --out runs/cifar10-baseline`
    """
    return _plain(cifar10(), 0.1)


def tiny_imagenet() -> Recipe:
    """A3's ingredients on 8,000 pictures of Tiny-ImageNet: ResNet-10-T, trained at 48 pixels, tested at 64.

    `PELLUCID_DATA=... pellucid train rsb:tiny_imagenet --out runs/tiny-imagenet`, minutes on two cores.
    """
    return _small("tiny_imagenet/{}_jpeg.npz", ("train50", "val"), (64, 48))


def tiny_imagenet_baseline() -> Recipe:
    """The same budget of SGD and cross-entropy on Tiny-ImageNet.

    `PELLUCID_DATA=... pellucid train rsb:tiny_imagenet_baseline --out runs/tiny-imagenet-baseline`
    """
    return _plain(tiny_imagenet(), 0.1)


def tiny() -> Recipe:
    """The A recipe on handwritten digits, shorter: seconds, no download.

    `pellucid train rsb:tiny --out runs/tiny`
    """
    one = digits()
    return replace(one, loop=replace(one.loop, epochs=12))


def _small(file: str, parts: tuple[str, str], sizes: tuple[int, int]) -> Recipe:
    """A3 at another size, in some hundred steps: the rate is not made smaller with the batch, for there is no time to go slowly."""
    (size, train_size), batch, lr = sizes, 128, 1e-2
    task = ImageSettings(
        "resnet10t",
        pretrained="",
        view=TestView(size, 1.0),
        train_view=TrainView(train_size, scale=(0.35, 1.0), rand_augment="rand-m6-mstd0.5-inc1"),
        mix=MIX,
        loss="bce",
        threshold=0.2,
    )
    train, test = (Data("pack:${PELLUCID_DATA}/" + file.format(part), limit=n) for part, n in zip(parts, (10_000, 1000), strict=True))
    outliers = {name: Data(source, limit=1000) for name, source in OTHERS.items() if file.partition("/")[0] not in source}
    return Recipe(
        task,
        replace(train, part="train"),
        dev=replace(train, part="dev"),
        tests={"home": test},
        outliers=outliers,
        optim=Optim("lamb", lr, 0.02, eps=1e-6, clip_norm=None),
        schedule=_cosine(lr, 2),
        loop=Loop(10, batch, eval_batch_size=256, keep="last"),
    )


def _plain(one: Recipe, lr: float) -> Recipe:
    """The recipe's budget with SGD and cross-entropy, pictures unmixed, trained at the test size."""
    view = replace(one.task.train_view, size=0, rand_augment="")
    task = replace(one.task, loss="cross_entropy", threshold=None, mix=Mix(), drop_path=0.0, train_view=view)
    sgd = Optim("sgd", lr, 5e-4, nesterov=True, clip_norm=None)
    return replace(one, task=task, optim=sgd, schedule=replace(one.schedule, final=0.0, warmup_start=0.1))


def table() -> Table:
    """A3's ingredients against SGD and cross-entropy with the same budget, on sets that two cores train in minutes."""
    pairs = {
        "digits": (digits, digits_baseline),
        "CIFAR-10": (cifar10, cifar10_baseline),
        "Tiny-ImageNet": (tiny_imagenet, tiny_imagenet_baseline),
    }
    cells = [
        Cell(name, name, model, replace(build(), name=f"rsb:{build.__name__}"), corrupt=() if name == "digits" else (3,))
        for name, builds in pairs.items()
        for model, build in zip(("A3's ingredients", "SGD, cross-entropy"), builds, strict=True)
    ]
    return Table("ResNet strikes back, small", cells, notes=__doc__.split("\n")[0])
