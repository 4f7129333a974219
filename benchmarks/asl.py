"""CPU seconds of the asymmetric loss, forward and backward, beside the authors' formula and torch's binary cross-entropy, one thread.

Shapes are a batch of COCO's 80 classes and one of Open Images' 9,600, with 3.6% of the classes present, as in COCO; the settings are
the paper's (4, 0, .05) with the gradient taken through the focusing weight. The three take turns in one process. The peer is the
formula as the authors' code computes it, restated: a tensor per step, differentiated by autograd. `ratio` is its time over ours, on
the shape where we gain least; `over_bce` is our time over that of torch's `binary_cross_entropy_with_logits`, `memory` the most that
ours held beside its inputs, in tensors of the logits' size. `--compile` adds ours under torch.compile (needs a C++ compiler, a minute).
"""

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

SHAPES, PRESENT, ROUNDS = [(4096, 80), (512, 9600)], 0.036, 15
MARGIN, GAMMA_NEG, GAMMA_POS, EPS = 0.05, 4, 0, 1e-8
CLOSE = 1e-5


def say(line: str) -> None:
    print(line, file=sys.stderr)


def authors_formula(logits: Tensor, targets: Tensor) -> Tensor:
    probs = torch.sigmoid(logits)
    absent = (1 - probs + MARGIN).clamp(max=1)
    loss = targets * probs.clamp(min=EPS).log() + (1 - targets) * absent.clamp(min=EPS).log()
    right = probs * targets + absent * (1 - targets)
    weight = torch.pow(1 - right, GAMMA_POS * targets + GAMMA_NEG * (1 - targets))
    return -(loss * weight).sum()


def ours(logits: Tensor, targets: Tensor) -> Tensor:
    from pellucid.losses.asymmetric import Asymmetry, asymmetric_loss

    return asymmetric_loss(logits, targets, Asymmetry(GAMMA_NEG, GAMMA_POS, MARGIN))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")


Loss = Callable[[Tensor, Tensor], Tensor]


def batch(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return (torch.randn(shape) * 2 - 2).requires_grad_(), (torch.rand(shape) < PRESENT).float()


def step(loss: Loss, logits: Tensor, targets: Tensor) -> tuple[float, Tensor]:
    """Value and gradient."""
    logits.grad = None
    value = loss(logits, targets)
    value.backward()
    assert logits.grad is not None
    return value.item(), logits.grad


def seconds(loss: Loss, logits: Tensor, targets: Tensor) -> float:
    repeats = max(1, 4_000_000 // logits.numel())
    start = time.process_time()
    for _ in range(repeats):
        step(loss, logits, targets)
    return (time.process_time() - start) / repeats


def extra_memory(loss: Loss, logits: Tensor, targets: Tensor) -> float:
    """The most held at one time beside inputs and outputs of earlier steps, in tensors of the logits' size; the gradient counts."""
    logits.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        loss(logits, targets).backward()
    held = peak = 0
    for event in recorded.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / (logits.numel() * logits.element_size())


def measured(shape: tuple[int, int], compiled: bool) -> dict[str, float | bool]:
    logits, targets = batch(shape)
    losses: dict[str, Loss] = {"ours": ours, "peer": authors_formula, "bce": cross_entropy}
    if compiled:
        losses["compiled"] = torch.compile(ours, fullgraph=True)
    found = {name: step(loss, logits, targets) for name, loss in losses.items()}
    value, slope = found["peer"]
    equal = all(
        abs(found[name][0] - value) < CLOSE * value and torch.allclose(found[name][1], slope, atol=CLOSE)
        for name in losses
        if name != "bce"
    )
    taken: dict[str, list[float]] = {name: [] for name in losses}
    for _ in range(ROUNDS):
        for name, loss in losses.items():
            taken[name].append(seconds(loss, logits, targets))
    times = {name: statistics.median(rounds) for name, rounds in taken.items()}
    memory = {name: extra_memory(losses[name], logits, targets) for name in ("ours", "peer", "bce")}
    say(f"{list(shape)}: " + ", ".join(f"{name} {t * 1e3:.2f} ms" for name, t in times.items()))
    say(f"{list(shape)}: " + ", ".join(f"{name} {m:.2f} tensors" for name, m in memory.items()))
    return times | {"memory": memory["ours"], "equal": equal}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--compile", action="store_true", help="also ours under torch.compile")
    compiled = parser.parse_args().compile
    if compiled and not shutil.which("g++"):
        say("no g++ here; torch.compile is not measured")
        compiled = False
    torch.set_num_threads(1)
    found = {"x".join(map(str, shape)): measured(shape, compiled) for shape in SHAPES}
    least = min(found.values(), key=lambda one: one["peer"] / one["ours"])
    result = {
        "name": "asl",
        "ours": least["ours"],
        "peer": least["peer"],
        "peer_name": "the authors' formula, restated",
        "unit": "CPU s, forward and backward",
        "ratio": least["peer"] / least["ours"],
        "equal": all(one["equal"] for one in found.values()),
        "ratios": {shape: one["peer"] / one["ours"] for shape, one in found.items()},
        "over_bce": {shape: one["ours"] / one["bce"] for shape, one in found.items()},
        "memory": {shape: one["memory"] for shape, one in found.items()},
    }
    if compiled:
        result["compiled_over_ours"] = {shape: one["compiled"] / one["ours"] for shape, one in found.items()}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
