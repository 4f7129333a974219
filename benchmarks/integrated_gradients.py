"""CPU seconds per text of integrated gradients, ours beside captum's, in one process, runs alternating, one thread.

MiniLM with a fresh head, 16 texts of different lengths, 50 places on the way by Gauss and Legendre's rule (captum's own), from the
mean word vector, at the word vectors. captum gets the plain model (`inputs_embeds`), the whole batch, and the fastest of three
`internal_batch_size`. Both must have the same relevance and the same completeness error.
"""

import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

TEXTS, STEPS, ROUNDS, PASS_ROWS = 16, 50, 5, (32, 128, 512)


def say(line: str) -> None:
    print(line, file=sys.stderr)


def timed(work: Callable[[], tuple[Tensor, Tensor]]) -> tuple[float, tuple[Tensor, Tensor]]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def minilm(texts: list[str]):
    """MiniLM as a task, and a batch of the texts; None where its package is not kept here."""
    from pellucid.data import packages
    from pellucid.tasks.text_classification import task as text
    from pellucid.tasks.text_classification.settings import TextSettings

    if not (packages.cache_folder() / "encoders" / f"minilm-{packages.MINILM.version}" / "model.safetensors").is_file():
        return None
    torch.manual_seed(0)
    rows = [{"id": str(i), "text": t, "label": ("bad", "good")[i % 2]} for i, t in enumerate(texts)]
    task = text.build(TextSettings("minilm"), rows)
    task.model.eval()
    return task, task.collate(task.prepare(rows, "benchmark"))


def plain(task) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The same model as a function of word vectors, written as a user of captum writes it."""

    def log_probs(vectors: Tensor, present: Tensor, segments: Tensor) -> Tensor:
        hidden = task.model.encoder(inputs_embeds=vectors, attention_mask=present.long(), token_type_ids=segments)[0]
        weight = present[..., None].float()
        return task.model.head((hidden * weight).sum(1) / weight.sum(1)).log_softmax(-1)

    return log_probs


def texts() -> list[str]:
    from pellucid.data import polarity

    return [row["text"] for row in polarity.read("train")[:TEXTS]]


def main() -> int:
    from captum.attr import IntegratedGradients

    from pellucid.explain.attribution import baseline
    from pellucid.explain.gradient import integrated_gradients
    from pellucid.explain.probe import ask

    torch.set_num_threads(1)
    built = minilm(texts())
    if built is None:
        say("integrated_gradients: MiniLM is not in the cache; `pellucid demo` fetches it")
        return 1
    task, batch = built
    first = ask(task, batch)
    start, units = baseline(first), first.units
    with torch.no_grad():
        change = first.score(units) - first.score(start)
    peer = IntegratedGradients(plain(task))

    def ours() -> tuple[Tensor, Tensor]:
        found = integrated_gradients(ask(task, batch), start, STEPS, "gausslegendre")
        return found.relevance, found.gap

    def captums(rows: int) -> tuple[Tensor, Tensor]:
        found, delta = peer.attribute(
            units,
            start,
            target=first.answer,
            additional_forward_args=(batch["tokens_present"], batch["segments"]),
            n_steps=STEPS,
            internal_batch_size=rows,
            return_convergence_delta=True,
        )
        return found.sum(-1).float().detach(), delta.float() / change

    ours()
    rows = min(PASS_ROWS, key=lambda r: timed(lambda: captums(r))[0])
    lengths = first.present.sum(1).tolist()
    say(f"{TEXTS} texts of {min(lengths)} to {max(lengths)} tokens; captum is fastest at internal_batch_size {rows}")
    mine, theirs, equal = [], [], True
    for _ in range(ROUNDS):
        (mine_s, (relevance, gap)), (peer_s, (told, delta)) = timed(ours), timed(lambda: captums(rows))
        mine.append(mine_s / TEXTS)
        theirs.append(peer_s / TEXTS)
        apart = ((relevance - told).abs().max() / told.abs().max()).item()
        equal &= apart < 1e-3 and (gap - delta).abs().max().item() < 1e-3
        say(
            f"ours {mine[-1]:.3f} s, captum {theirs[-1]:.3f} s, {theirs[-1] / mine[-1]:.2f}x; median gap {gap.abs().median():.2e} and "
            f"{delta.abs().median():.2e} of the change, relevance apart by {apart:.1e} of the peak"
        )
    result = {
        "name": "integrated_gradients",
        "ours": statistics.median(mine),
        "peer": statistics.median(theirs),
        "peer_name": f"captum {importlib.metadata.version('captum')}",
        "unit": "CPU s per text",
        "ratio": statistics.median(p / m for p, m in zip(theirs, mine, strict=True)),
        "equal": equal,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
