"""CPU seconds per picture from JPEG files to normalised float tensors, ours beside timm's transforms with Pillow, one thread.

200 photographs of ImageNet (short side 256) in `$PELLUCID_DATA/imagenet_sample`, in batches of 50, `b 3 224 224`; the test view of
EfficientNet-Lite0 (bicubic, crop 0.875: the photographs have the very size it asks for). Both programs in one process, rounds
alternating. `equal`: the mean absolute difference of the normalised values is below 0.001 and the network's top-1 answers are the same.
Fields beside: crop 0.95, where every photograph is resampled; 200 photographs of COCO (640 x 480) at 224 and, decoded smaller, at 96
pixels; and the training view of A1 to A3 (random crop, mirror, and once more with RandAugment), `training`: ours no slower than timm's
above 1. Ours lie channels_last in memory, timm's do not.
"""

import importlib.metadata
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

ROUNDS, BATCH, PICTURES = 5, 50, 200
HALF = (0.5, 0.5, 0.5)  # EfficientNet-Lite0's mean and deviation
RAND_AUGMENT = "rand-m7-mstd0.5-inc1"
Pipeline = Callable[[list[str]], Tensor]


class Found(NamedTuple):
    """CPU seconds per picture of both and how far the tensors differ."""

    ours_s: float
    peer_s: float
    absolute: float
    signed: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.peer_s / self.ours_s


def say(line: str) -> None:
    print(line, file=sys.stderr)


def normalising() -> Callable[[Tensor], Tensor]:
    """What a task's network does with a batch before its first layer."""
    from pellucid.nn.pictures import PictureNetwork

    return PictureNetwork(torch.nn.Identity(), HALF, HALF).normalised


def ours(size: int, crop: float) -> Pipeline:
    from pellucid.data import images
    from pellucid.data.views import TestView

    view, network = TestView(size, crop), normalising()
    return lambda files: network(images.stacked([images.test_image(file, view) for file in files]))


def our_training(rand_augment: str) -> Pipeline:
    from pellucid.data import augment, images
    from pellucid.data.views import TrainView

    view, network = TrainView(rand_augment=rand_augment), normalising()

    def batch(files: list[str]) -> Tensor:
        views = [augment.train_image(file, view, 224, seed, file) for seed, file in enumerate(files)]
        return network(images.stacked(views))

    return batch


def timms(size: int, crop: float | None = None, rand_augment: str = "") -> Pipeline:
    """timm's evaluation transform, or without a crop ratio its training transform."""
    from timm.data import create_transform

    training = {"is_training": True, "auto_augment": rand_augment or None, "color_jitter": None}
    settings = training if crop is None else {"is_training": False, "crop_pct": crop}
    transform = create_transform(size, interpolation="bicubic", mean=HALF, std=HALF, **settings)

    def seen(file: str) -> Tensor:
        with Image.open(file) as image:
            return transform(image.convert("RGB"))

    return lambda files: torch.stack([seen(file) for file in files])


def run(pipeline: Pipeline, files: list[str]) -> tuple[float, Tensor]:
    start = time.process_time()
    batches = [pipeline(files[i : i + BATCH]) for i in range(0, len(files), BATCH)]
    return time.process_time() - start, torch.cat(batches)


def compared(name: str, mine: Pipeline, theirs: Pipeline, files: list[str]) -> Found:
    run(mine, files[:BATCH]), run(theirs, files[:BATCH])
    rounds = []
    for _ in range(ROUNDS):
        (mine_s, ours_seen), (theirs_s, theirs_seen) = run(mine, files), run(theirs, files)
        difference = ours_seen - theirs_seen
        rounds.append((mine_s, theirs_s))
    seconds = [statistics.median(column) / len(files) for column in zip(*rounds, strict=True)]
    found = Found(*seconds, difference.abs().mean().item(), difference.mean().item())
    spent = f"ours {found.ours_s * 1e3:.2f} ms, timm {found.peer_s * 1e3:.2f} ms, {found.ratio:.2f}x"
    say(f"{name}: {spent}" + (f"; differ by {found.absolute:.2g}, signed {found.signed:.2g}" if "training" not in name else ""))
    return found


def answers(pipeline: Pipeline, files: list[str]) -> Tensor:
    """Top-1 of EfficientNet-Lite0, batch by batch."""
    from pellucid.nn.backbone import backbone

    network = backbone("efficientnet-lite0", 1000, "efficientnet-lite0").eval()
    with torch.no_grad():
        return torch.cat([network(pipeline(files[i : i + BATCH])).argmax(-1) for i in range(0, len(files), BATCH)])


def main() -> int:
    torch.set_num_threads(1)
    place = pathlib.Path(os.environ.get("PELLUCID_DATA", "data")).expanduser()
    files = [str(path) for path in sorted((place / "imagenet_sample").rglob("*.jpg"))[:PICTURES]]
    coco = [str(path) for path in sorted((place / "coco128").rglob("*.jpg"))[:PICTURES]]
    if not files or not coco:
        say(f"no photographs in {place}/imagenet_sample and {place}/coco128: set PELLUCID_DATA to the folder they lie in")
        return 3
    main_view = (ours(224, 0.875), timms(224, 0.875))
    found = compared("crop 0.875", *main_view, files)
    resampled = compared("crop 0.95", ours(224, 0.95), timms(224, 0.95), files)
    large = compared("COCO", ours(224, 0.875), timms(224, 0.875), coco)
    smaller = compared("COCO at 96", ours(96, 0.875), timms(96, 0.875), coco)
    trained = compared("training", our_training(""), timms(224), files)
    augmented = compared("training, RandAugment", our_training(RAND_AUGMENT), timms(224, rand_augment=RAND_AUGMENT), files)
    mine, theirs = (answers(pipeline, files) for pipeline in main_view)
    say(f"top-1: the same on {int((mine == theirs).sum())} of {len(files)}")
    result = {
        "name": "loader",
        "ours": found.ours_s,
        "peer": found.peer_s,
        "peer_name": f"timm {importlib.metadata.version('timm')} create_transform + Pillow {importlib.metadata.version('pillow')}",
        "unit": "CPU s per picture",
        "ratio": found.ratio,
        "equal": bool((mine == theirs).all()) and found.absolute < 1e-3,
        "mean_absolute_difference": found.absolute,
        "mean_difference": found.signed,
        "same_top1": int((mine == theirs).sum()) / len(files),
        "resampled": resampled._asdict() | {"ratio": resampled.ratio},
        "coco": large._asdict() | {"ratio": large.ratio},
        "coco_decoded_smaller": smaller._asdict() | {"ratio": smaller.ratio},
        "training": trained.ratio,
        "training_rand_augment": augmented.ratio,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
