"""CPU seconds to train 64 attention units on each of three modalities: forward and backward pass of a batch of 64 clips, 25 features each.

rgb has 1536 numbers a feature, flow 1024, audio 128, as of the paper's backbones. The peer is the straightforward form, a module for each
unit (a linear score, softmax, one matrix product for the sum, scale and shift, length, 1 / sqrt(units)), in a loop, then laid side by
side; `authors` is theirs, which scores all units in one convolution and loops over the rest. Programs have the same parameters and take
turns within each round; `ratio` is of CPU seconds, the median of rounds, without gradients of the features, as training from kept
features needs; `ratio_with_inputs` with them. `equal`: outputs and gradients of all parameters and features agree to 1e-5.
`memory`: MB at the height of such a pass, each form in a process of its own, above what the process had with its features and parameters.

`extraction`: made clips (H.264, 1280 x 720) through ResNet-18 at 112 pixels, a feature each fifth frame: seconds by the clock of decoding
alone, which takes what cores it finds, of the network alone on pictures in memory, in one thread, and of both together as `pellucid
features` has them. `overlap` is the sum of the first two over the third, 1 where they only take turns; `*_cores` how many cores each kept
busy; `network_busy` and `decoder_busy` the shares of that time in which each worked and did not wait for the other. On cores that others
use, too, nothing can be gained.
"""

import argparse
import fractions
import json
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from torch import Tensor, nn

WIDTHS = {"rgb": 1536, "flow": 1024, "audio": 128}
UNITS, BATCH, NUM = 64, 64, 25
ROUNDS, CLOSE = 9, 1e-5
HEIGHT, WIDTH, FRAMES, TURNS = 720, 1280, 100, 3  # of made clips, and how often their features are made
Program = Callable[[Mapping[str, Tensor]], Tensor]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ---- the straightforward form -----------------------------------------------------------------------------------------


class Unit(nn.Module):
    """One attention unit with its shifting operation."""

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Linear(width, 1)
        self.w, self.b = (nn.Parameter(torch.randn(())) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The unit's sum of each clip."""
        weights = torch.softmax(self.score(x), 1)  # b n 1
        return shifted(torch.bmm(weights.transpose(1, 2), x)[:, 0], self.w, self.b)


def shifted(v: Tensor, w: Tensor, b: Tensor) -> Tensor:
    v = w * v + b
    return v / v.norm(dim=1, keepdim=True) / math.sqrt(UNITS)


class OneByOne(nn.Module):
    """A module for each unit of each modality."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.ModuleDict({name: nn.ModuleList(Unit(width) for _ in range(UNITS)) for name, width in WIDTHS.items()})

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """All sums side by side."""
        return torch.cat([unit(features[name]) for name, units in self.units.items() for unit in units], 1)


class Authors(nn.Module):
    """All scores in one convolution, the rest unit by unit."""

    def __init__(self) -> None:
        super().__init__()
        self.attentions = nn.ModuleDict({name: nn.Conv1d(width, UNITS, 1) for name, width in WIDTHS.items()})
        self.w, self.b = (nn.ParameterDict({name: torch.randn(UNITS) for name in WIDTHS}) for _ in range(2))

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """All sums side by side."""
        sums = []
        for name, attention in self.attentions.items():
            x = features[name]
            weights = torch.softmax(attention(x.transpose(1, 2)), 2)  # b u n
            for k in range(UNITS):
                sums.append(shifted(torch.bmm(weights[:, k : k + 1], x)[:, 0], self.w[name][k], self.b[name][k]))
        return torch.cat(sums, 1)


# ---- ours -------------------------------------------------------------------------------------------------------------


class Ours(nn.Module):
    """The clusters of the task."""

    def __init__(self) -> None:
        super().__init__()
        from pellucid.tasks.video.clusters import AttentionCluster
        from pellucid.tasks.video.settings import Cluster

        self.clusters = nn.ModuleDict({name: AttentionCluster(width, Cluster(units=UNITS)) for name, width in WIDTHS.items()})

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """All sums side by side."""
        return torch.cat([cluster(features[name]) for name, cluster in self.clusters.items()], 1)


def parameters(program: nn.Module, gradients: bool = False) -> dict[str, Tensor]:
    """Weights (or their gradients) of each modality under our names, whatever form has them."""
    told = (lambda p: p.grad) if gradients else (lambda p: p.detach())
    found = {}
    for name in WIDTHS:
        if isinstance(program, Ours):
            cluster = program.clusters[name]
            parts = {part: told(getattr(cluster, part)) for part in ("weight", "bias", "scale", "shift")}
        elif isinstance(program, Authors):
            attention = program.attentions[name]
            parts = {"weight": told(attention.weight)[:, :, 0], "bias": told(attention.bias)}
            parts |= {"scale": told(program.w[name]), "shift": told(program.b[name])}
        else:
            units = program.units[name]
            parts = {"weight": torch.cat([told(u.score.weight) for u in units]), "bias": torch.cat([told(u.score.bias) for u in units])}
            parts |= {"scale": torch.stack([told(u.w) for u in units]), "shift": torch.stack([told(u.b) for u in units])}
        found |= {f"{name}.{part}": value for part, value in parts.items()}
    return found


def alike(weights: Mapping[str, Tensor], program: nn.Module) -> nn.Module:
    """The program with these weights."""
    with torch.no_grad():
        for name in WIDTHS:
            weight, bias, scale, shift = (weights[f"{name}.{part}"] for part in ("weight", "bias", "scale", "shift"))
            if isinstance(program, Authors):
                program.attentions[name].weight.copy_(weight[:, :, None])
                program.attentions[name].bias.copy_(bias)
                program.w[name].copy_(scale)
                program.b[name].copy_(shift)
            elif isinstance(program, OneByOne):
                for k, unit in enumerate(program.units[name]):
                    unit.score.weight.copy_(weight[k : k + 1])
                    unit.score.bias.copy_(bias[k : k + 1])
                    unit.w.copy_(scale[k])
                    unit.b.copy_(shift[k])
    return program


def programs() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    ours = Ours()
    return {"ours": ours, "peer": alike(parameters(ours), OneByOne()), "authors": alike(parameters(ours), Authors())}


def features(gradients: bool = False) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {name: torch.randn(BATCH, NUM, width, requires_grad=gradients) for name, width in WIDTHS.items()}


# ---- taking turns -----------------------------------------------------------------------------------------------------


def trained(program: nn.Module, given: Mapping[str, Tensor], aim: Tensor) -> Tensor:
    """One step's passes: the output, gradients left where they belong."""
    program.zero_grad()
    for value in given.values():
        value.grad = None
    found = program(given)
    found.backward(aim)
    return found.detach()


def furthest(all_of_them: Mapping[str, nn.Module]) -> dict[str, float]:
    """How far outputs and gradients lie apart from ours."""
    told: dict[str, dict[str, Tensor]] = {}
    aim = torch.randn(BATCH, UNITS * sum(WIDTHS.values())) / BATCH  # a loss is a mean over clips
    for name, program in all_of_them.items():
        given = features(gradients=True)
        output = trained(program, given, aim)
        inputs = {f"{modality} features": value.grad for modality, value in given.items()}
        told[name] = {"output": output, **parameters(program, gradients=True), **inputs}  # type: ignore[dict-item]
    ours = told["ours"]
    return {name: max(float((ours[key] - value).abs().max()) for key, value in one.items()) for name, one in told.items()}


def measured(all_of_them: Mapping[str, nn.Module], rounds: int, gradients: bool) -> dict[str, dict[str, float]]:
    """Medians of CPU and clock seconds, and of the ratios to ours."""
    given, aim = features(gradients), torch.randn(BATCH, UNITS * sum(WIDTHS.values()))
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in all_of_them}
    names = list(all_of_them)
    for turn in range(rounds + 1):  # the first warms up
        for name in names if turn % 2 else reversed(names):
            cpu, clock = time.process_time(), time.perf_counter()
            trained(all_of_them[name], given, aim)
            if turn:
                spent[name].append((time.process_time() - cpu, time.perf_counter() - clock))
    found = {}
    for name, times in spent.items():
        pairs = [(a[0] / b[0], a[1] / b[1]) for a, b in zip(times, spent["ours"], strict=True)]
        (cpu, clock), (ratio, wall_ratio) = (map(statistics.median, zip(*some, strict=True)) for some in (times, pairs))
        found[name] = {"cpu_s": cpu, "wall_s": clock, "ratio": ratio, "wall_ratio": wall_ratio}
    return found


# ---- memory -----------------------------------------------------------------------------------------------------------


def peak_mb() -> float:
    """The most memory that this process has had; what it was started from does not count, as it would in `ru_maxrss`."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def alone(name: str) -> float:
    """MB of one form's passes above what its process had before them."""
    program = programs()[name]
    given, aim = features(), torch.randn(BATCH, UNITS * sum(WIDTHS.values()))
    small = {modality: value[:1, :1] for modality, value in given.items()}
    trained(program, small, aim[:1])  # what torch itself takes when first asked, and the gradients of the parameters
    before = peak_mb()
    for _ in range(2):
        trained(program, given, aim)
    return peak_mb() - before


def memory(threads: int) -> dict[str, float]:
    found = {}
    for name in ("ours", "peer", "authors"):
        told = [sys.executable, __file__, "--alone", name, "--threads", str(threads)]
        found[name] = float(subprocess.run(told, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


# ---- extraction -------------------------------------------------------------------------------------------------------


def made_clip(path: pathlib.Path, seed: int) -> None:
    """A hundred frames of waves that drift under a moving square."""
    from pellucid.data import video

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    size, grain = rng.uniform(20, 160, 3), rng.normal(0, 6, (HEIGHT, WIDTH, 1))
    with video.Writer(path, fractions.Fraction(25)) as film:
        for t in range(FRAMES):
            waves = np.stack([128 + 90 * np.sin((x + 2 * t) / s) * np.cos((y - t) / s) for s in size], -1)
            waves[200:400, 5 * t : 5 * t + 200] = rng.uniform(0, 255)
            film.add((waves + grain).clip(0, 255).astype(np.uint8))


def extraction(num: int) -> dict[str, Any]:
    """Decoding alone, the network alone, and both at once; the shares of the time in which each side worked."""
    from pellucid.data.clips.clip import VideoFile
    from pellucid.data.clips.held import load
    from pellucid.data.views import TestView
    from pellucid.tasks.video.extract import extract
    from pellucid.tasks.video.settings import Stream, VideoSettings
    from pellucid.tasks.video.streams import stream
    from pellucid.tasks.video.views import pieces

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"id": str(i), "video": f"{folder}/{i}.mp4"} for i in range(num)]
        for i, row in enumerate(rows):
            made_clip(pathlib.Path(row["video"]), i)
        told = Stream("resnet18", "", TestView(112), rate=5)
        network = stream("rgb", told)
        rounds = []
        for turn in range(TURNS):
            cpu, start = [time.process_time()], time.perf_counter()
            pictures = [piece.picture() for row in rows for piece in pieces("rgb", VideoFile(row["video"]), told)]
            decoded = time.perf_counter()
            cpu.append(time.process_time())
            with torch.no_grad():
                alone = torch.cat([network(torch.stack(pictures[i : i + 32])) for i in range(0, len(pictures), 32)])
            asked = time.perf_counter()
            cpu.append(time.process_time())
            settings = VideoSettings({"rgb": told}, cache=f"{folder}/cache{turn}")
            found, used = extract(rows, "made clips", {"rgb": network}, settings, "cpu", threads=1)
            ended = time.perf_counter()
            cpu.append(time.process_time())
            spent = np.diff([start, decoded, asked, ended])
            rounds.append((*spent, *(np.diff(cpu) / spent), used.network_s / used.wall_s, used.decode_s / used.wall_s))
            say(f"extraction: {used}")
        kept = torch.cat([torch.from_numpy(load(example["local"]["rgb"])) for example in found])
    apart = float((kept - alone).abs().max())
    names = ("decode_s", "network_s", "both_s", "decode_cores", "network_cores", "both_cores", "network_busy", "decoder_busy")
    middle = dict(zip(names, np.median(rounds, 0).tolist(), strict=True))
    overlap = float(np.median([(decode + asks) / both for decode, asks, both, *_ in rounds]))
    return {"clips": num, "features": len(kept), "overlap": overlap, **middle, "equal": apart < CLOSE * float(alone.abs().max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=int, default=8, help="whose features are made; 0 leaves extraction out")
    parser.add_argument("--alone", choices=["ours", "peer", "authors"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.alone:
        print(alone(given.alone))
        return
    held = memory(given.threads)
    say(f"MB of a pass: {held}")
    all_of_them = programs()
    apart = furthest(all_of_them)
    say(f"furthest apart: {apart}")
    found, with_inputs = (measured(all_of_them, given.rounds, gradients) for gradients in (False, True))
    for name in all_of_them:
        say(f"{name}: {json.dumps(found[name])}; with gradients of the features {json.dumps(with_inputs[name])}")
    result: dict[str, Any] = {
        "name": "attention_clusters",
        "ours": found["ours"]["cpu_s"],
        "peer": found["peer"]["cpu_s"],
        "peer_name": "a module for each unit, in a loop",
        "unit": "CPU s",
        "ratio": found["peer"]["ratio"],
        "equal": all(value < CLOSE for value in apart.values()),
        "wall_ratio": found["peer"]["wall_ratio"],
        "ratio_with_inputs": with_inputs["peer"]["ratio"],
        "ratio_authors": found["authors"]["ratio"],
        "apart": apart,
        "memory_mb": held,
    }
    if given.clips:
        result["extraction"] = extraction(given.clips)
        result["equal"] = result["equal"] and result["extraction"]["equal"]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
