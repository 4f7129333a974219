"""CPU seconds per explained sample, ours beside the paper's own loop re-stated, in one process, runs alternating.

MiniLM, layer 4 of 0..5, 16 tokens, 10 steps, one thread. The paper's loop explains one sample at a time: the sample is repeated once
per copy of the noise, the whole model runs forward and backward at every step, and every parameter gathers a gradient. Ours explains
16 samples at a time and runs only what lies above the layer. Both get the same noise, statistics and beta, so their maps must agree.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from einops import reduce
from torch import Tensor

LAYER, TOKENS, SAMPLES, ROUNDS, PEER_SAMPLES = 4, 16, 16, 3, 3


def say(line: str) -> None:
    print(line, file=sys.stderr)


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def paper_loop(task, batch, statistics, beta: float, copies: int) -> Tensor:
    """Nats per token of the batch's only sample."""
    from pellucid.explain.bottleneck import capacity
    from pellucid.explain.draw import Draw

    model, found = task.model, {}
    model.eval()
    block = model.get_submodule(task.sites[f"layer.{LAYER}"].module)
    handle = block.register_forward_hook(lambda *call: found.update(units=call[2]))
    with torch.no_grad():
        target = model(batch)["logits"].argmax(-1)
    handle.remove()
    units = found["units"]
    alpha = torch.full_like(units, 5.0, requires_grad=True)
    adam = torch.optim.Adam([alpha], lr=1.0)
    present = batch["tokens_present"]
    draw = Draw(present.sum(1), 0)
    many = {k: torch.cat([v] * copies) if isinstance(v, Tensor) else v * copies for k, v in batch.items()}
    for _ in range(10):
        noise = draw.normal(copies, present, units.shape[-1])[:, 0]

        def narrow(_module, _args, units, noise=noise):
            keep = alpha.sigmoid()
            signal = (units - statistics.mean) / statistics.std
            return statistics.mean + statistics.std * (keep * signal + (1 - keep) * noise)

        handle = block.register_forward_hook(narrow)
        logits = model(many)["logits"]
        handle.remove()
        nats = capacity((units - statistics.mean) / statistics.std, alpha)
        loss = torch.nn.functional.cross_entropy(logits, target.repeat(copies)) + beta * nats.mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    model.zero_grad(set_to_none=True)
    return reduce(capacity((units - statistics.mean) / statistics.std, alpha.detach()), "b n d -> b n", "sum")[0]


def build():
    """MiniLM with a fresh head, sentences of 16 tokens, and the layer's statistics over them."""
    from pellucid.data import polarity
    from pellucid.explain.explain import statistics_at
    from pellucid.tasks.text_classification import task as text
    from pellucid.tasks.text_classification.settings import TextSettings

    torch.manual_seed(0)
    rows = polarity.read("train")
    task = text.build(TextSettings("minilm"), rows[:50])
    examples = [e for e in task.prepare(rows, "polarity") if e["length"] == TOKENS][:SAMPLES]
    return task, examples, statistics_at(task, examples, f"layer.{LAYER}")


def measure(copies: int) -> tuple[float, float, bool]:
    """Seconds per sample of ours and of the paper's loop, and whether their maps agree."""
    from pellucid.explain.bottleneck import Settings, bottleneck
    from pellucid.explain.probe import ask

    task, examples, known = build()
    batch = task.collate(examples)

    def ours() -> Tensor:
        return bottleneck(ask(task, batch, f"layer.{LAYER}"), known, Settings(copies=copies)).relevance

    def peer() -> Tensor:
        return torch.stack([paper_loop(task, task.collate([e]), known, 0.01, 10) for e in examples[:PEER_SAMPLES]])

    ours()
    mine, theirs, agree = [], [], True
    for _ in range(ROUNDS):
        (mine_s, nats), (peer_s, told) = timed(ours), timed(peer)
        mine.append(mine_s / SAMPLES)
        theirs.append(peer_s / PEER_SAMPLES)
        gap = ((nats[:PEER_SAMPLES] - told).abs().max() / told.abs().max()).item()
        agree &= copies != 10 or gap < 1e-3
        ratio = f"{theirs[-1] / mine[-1]:.1f}x, largest difference {gap:.1e}"
        say(f"{copies} copies: ours {mine[-1]:.4f} s, the paper's loop {theirs[-1]:.3f} s, {ratio}")
    return statistics.median(mine), statistics.median(theirs), agree


def main() -> int:
    torch.set_num_threads(1)
    four, ten = measure(4), measure(10)
    say(f"at 4 copies {four[1] / four[0]:.1f} times fewer CPU seconds than the paper's loop at its 10")
    result = {
        "name": "iba",
        "ours": ten[0],
        "peer": ten[1],
        "peer_name": "the paper's loop re-stated",
        "unit": "CPU s per sample",
        "ratio": ten[1] / ten[0],
        "ratio_at_4_copies": four[1] / four[0],
        "equal": ten[2],
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
