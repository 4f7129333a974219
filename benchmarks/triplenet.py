"""Seconds of one pass over pictures of 300 pixels: TripleNet for both jobs, beside two networks of one job each and SSD300 for boxes alone.

`joint` is TripleNet as published for 300 pixels, 20 classes; `detection` and `segmentation` are what `task.jobs` makes of the same
settings, and `two` are both of these, one after the other. `plain` and `plain_two` are the same without the inner-connected module, the
one part that a network of a single job cannot have: there the joint network computes, on shared weights, just what the two compute, which
is what `equal` holds to a hundred-thousandth of the largest value, and that two pictures are told different things (`moved`). `ssd` is
torchvision's SSD300 with VGG16 and as many classes, in the layout of memory in which it is faster (`ssd_contiguous` is the other).

Every program has random weights, begins at pictures as its network takes them and ends at logits, offsets, default boxes and the map of
the finest cells; what boxes are suppressed is no part of either side, but for `suppressed`: the same passes with boxes decoded and, of as
many pairs of box and class on each side, those told that no likelier one suppresses; of `joint` the map is enlarged to the picture, too.

`ratio` is `two` over `joint`, the median over rounds of CPU seconds, programs taking turns in each round, and `share` its inverse;
`wall_share` that of wall seconds; `plain_share` of `plain` in `plain_two`, `ssd_ratio` and `detection_ssd_ratio` are `ssd` over `joint`
and over `detection`. Those of the first batch size are told first. `images_s` are pictures a wall second; `memory_mb` the peak of a
process that makes one pass, above what it had before its networks were made, weights among it.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from torch import Tensor, nn

SIDE, CLASSES, ROUNDS, CLOSE, CANDIDATES = 300, 20, 5, 1e-5, 1000
BACKBONES = {"r50": "resnet50", "r101": "resnet101", "r18": "resnet18"}
PROGRAMS = ("joint", "detection", "segmentation", "two", "plain", "plain_two", "ssd", "ssd_contiguous")
Told = dict[str, Any]
Program = Callable[[Tensor], Told]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ---- the programs -----------------------------------------------------------------------------------------------------


def task_of(backbone: str, jobs: str = "both", inner: bool = True) -> Any:
    """The task, as a run is read, with random weights."""
    from pellucid.tasks.detection_segmentation import task as room
    from pellucid.tasks.detection_segmentation.settings import JointSettings

    torch.manual_seed(0)
    settings = JointSettings(jobs=jobs, inner=inner, backbone=BACKBONES[backbone], pretrained="")  # type: ignore[arg-type]
    model = room.network(settings, CLASSES, "").to(memory_format=torch.channels_last).eval()
    for name, value in model.state_dict().items():
        if name.endswith("bn3.weight"):
            value.fill_(0.2)  # else random weights grow through the layers
    return room.DetectionSegmentation(model, [f"class {i}" for i in range(CLASSES)], settings)


def ssd_of() -> Any:
    from torchvision.models.detection import ssd300_vgg16

    torch.manual_seed(0)
    return ssd300_vgg16(weights=None, weights_backbone=None, num_classes=CLASSES + 1).eval()


def by_ssd(ssd: Any) -> Program:
    """What torchvision's `forward` does between its transform and its suppression."""
    from torchvision.models.detection.image_list import ImageList

    def told(image: Tensor) -> Told:
        maps = list(ssd.backbone(image).values())
        head = ssd.head(maps)
        boxes = ssd.anchor_generator(ImageList(image, [(SIDE, SIDE)] * len(image)), maps)
        return {"class_logits": head["cls_logits"], "offsets": head["bbox_regression"], "default_boxes": boxes}

    return told


def in_turn(*nets: nn.Module) -> Program:
    return lambda image: {name: value for net in nets for name, value in net(image).items()}


def program(name: str, backbone: str, made: dict[str, Any]) -> Program:
    """A program; its networks are kept in `made`, which several programs share."""
    if name.startswith("ssd"):
        made[name] = ssd_of().to(memory_format=torch.contiguous_format if name == "ssd_contiguous" else torch.channels_last)
        return by_ssd(made[name])
    parts = ("detection", "segmentation") if name.endswith("two") else (name,)
    for part in parts:
        if part not in made:
            made[part] = task_of(backbone, "both" if part in ("joint", "plain") else part, inner=part != "plain")
    return in_turn(*(made[part].model.net for part in parts))


def agreed(made: dict[str, Any], image: Tensor) -> dict[str, float]:
    """How far the joint network without IM is from two networks of the same weights, and one picture's answers from another's.

    Both as shares of the largest value.
    """
    weights = made["plain"].model.net.state_dict()
    for jobs in ("detection", "segmentation"):
        net = made[jobs].model.net
        net.load_state_dict({name: weights[name] for name in net.state_dict()})
    ours, theirs = made["plain"].model.net(image), in_turn(*(made[jobs].model.net for jobs in ("detection", "segmentation")))(image)
    assert set(ours) == set(theirs) == {"class_logits", "offsets", "default_boxes", "map_logits"}
    other = made["plain"].model.net(image.flip(0) if len(image) > 1 else image.flip(-1))
    del other["default_boxes"]
    return {
        "apart": max(float((value - theirs[name]).abs().max() / value.abs().max()) for name, value in ours.items()),
        "moved": min(float((value - ours[name]).abs().max() / ours[name].abs().max()) for name, value in other.items()),
    }


# ---- with suppression -------------------------------------------------------------------------------------------------


def floored(bias: Tensor, logits: Tensor, floor: float) -> None:
    """Has background be so likely that so many pairs of box and class reach the floor of probability as `CANDIDATES` a picture."""
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        moved = logits.clone()
        moved[..., 0] += middle
        many = int((moved.softmax(-1)[..., 1:] > floor).sum()) > CANDIDATES * len(logits)
        low, high = (middle, high) if many else (low, middle)
    bias[:: CLASSES + 1] += high


def with_suppression(made: dict[str, Any], image: Tensor) -> dict[str, Callable[[], Any]]:
    """Passes that end at the boxes, and of the joint network the map, that a user sees."""
    found: dict[str, Callable[[], Any]] = {}
    for name in ("joint", "detection"):
        task, net = made[name], made[name].model.net
        logits = net(image)["class_logits"]
        for heads in net.heads:
            floored(heads.classes.bias.data, logits, task.settings.least_score)
        batch = {"size_hw": torch.tensor([[SIDE, SIDE]] * len(image))}
        found[name] = lambda task=task, net=net, batch=batch: task.predict(net(image), batch)
    ssd, told = made["ssd"], by_ssd(made["ssd"])
    logits = told(image)["class_logits"]
    for layer in ssd.head.classification_head.module_list:
        floored(layer.bias.data, logits, ssd.score_thresh)

    def suppressed() -> Any:
        output = told(image)
        head = {"cls_logits": output["class_logits"], "bbox_regression": output["offsets"]}
        return ssd.postprocess_detections(head, output["default_boxes"], [(SIDE, SIDE)] * len(image))

    found["ssd"] = suppressed
    return found


# ---- measuring --------------------------------------------------------------------------------------------------------


def rounds_of(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """CPU and wall seconds of each, in turns; the first round only warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, one in work.items():
            cpu, start = time.process_time(), time.perf_counter()
            one()
            if turn:
                times[name].append((time.process_time() - cpu, time.perf_counter() - start))
    return times


def summed(times: dict[str, list[tuple[float, float]]], num: int) -> dict[str, dict[str, float]]:
    return {
        name: {
            "cpu_s": round(statistics.median(cpu for cpu, _ in some), 4),
            "images_s": round(num / statistics.median(wall for _, wall in some), 2),
        }
        for name, some in times.items()
    }


def ratio(times: dict[str, list[tuple[float, float]]], one: str, other: str, clock: int = 0) -> float:
    return round(statistics.median(a[clock] / b[clock] for a, b in zip(times[one], times[other], strict=True)), 3)


def pictures(num: int) -> Tensor:
    image = torch.randn(num, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return image.contiguous(memory_format=torch.channels_last)


def peak_mb() -> float:
    """The most memory that this process has had; what it was started from does not count, as it would in `ru_maxrss`."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def memory(name: str, given: argparse.Namespace, num: int) -> float:
    """MB of one pass in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--alone",
        name,
        "--network",
        given.network,
        "--batches",
        str(num),
        "--threads",
        str(given.threads),
    ]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def alone(given: argparse.Namespace) -> None:
    import torchvision.models.detection  # noqa: F401  libraries of every program are no part of its memory

    import pellucid.tasks.detection_segmentation.task  # noqa: F401

    image, before = pictures(given.batches[0]), peak_mb()
    run = program(given.alone, given.network, {})
    with torch.inference_mode():
        run(image)
    print(round(peak_mb() - before, 1))


def measured(given: argparse.Namespace, num: int) -> dict[str, Any]:
    """All numbers of a batch size."""
    image, made = pictures(num), dict[str, Any]()
    programs = {name: program(name, given.network, made) for name in PROGRAMS}
    flat = image.contiguous()
    work = {name: lambda run=run, x=flat if name == "ssd_contiguous" else image: run(x) for name, run in programs.items()}
    with torch.inference_mode():
        times = rounds_of(work, given.rounds)
        found: dict[str, Any] = summed(times, num)
        for name, told in found.items():
            say(f"batch {num}, {name}: {told}")
        ratios = {
            "ratio": ratio(times, "two", "joint"),
            "share": ratio(times, "joint", "two"),
            "wall_share": ratio(times, "joint", "two", 1),
            "plain_share": ratio(times, "plain", "plain_two"),
            "ssd_ratio": ratio(times, "ssd", "joint"),
            "detection_ssd_ratio": ratio(times, "ssd", "detection"),
        }
        suppressed = rounds_of(with_suppression(made, image), given.rounds)
        found = {"programs": found, **ratios, "suppressed": summed(suppressed, num), **agreed(made, image)}
    if given.memory:
        found["memory_mb"] = {name: memory(name, given, num) for name in PROGRAMS if name != "plain_two"}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=list(BACKBONES), default="r50")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="pictures in a pass")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--alone", choices=PROGRAMS, help="only the memory of this one")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.alone:
        return alone(given)
    found = {num: measured(given, num) for num in given.batches}
    first = found[given.batches[0]]
    line = {
        "name": "triplenet",
        "ours": first["programs"]["joint"]["cpu_s"],
        "peer": first["programs"]["two"]["cpu_s"],
        "peer_name": "two networks of one job each",
        "unit": "CPU s",
        **{name: first[name] for name in ("ratio", "share", "wall_share")},
        "equal": all(one["apart"] < CLOSE < one["moved"] for one in found.values()),
        "network": given.network,
        "batches": found,
    }
    print(json.dumps(line))
    return None


if __name__ == "__main__":
    main()
