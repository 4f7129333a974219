"""CPU seconds per example of degradation curves, ours beside Quantus' PixelFlipping and beside the paper's script re-stated.

MiniLM, sentences of 16 tokens, one thread, in one process, runs alternating; each peer against ours on the peer's own protocol.

- Quantus: units at layer 4 of 0..5 become 0, one more at each step, the most relevant first. Quantus runs the model once per
  step on the whole batch; a model's inner layer is none of its inputs, so the model that it is given runs whole, with a hook
  that puts the changed units in place. Told beside it, not in the result: the same at the word vectors, where nothing lies
  below, and a model cut by hand to what lies above the layer.
- The paper's script: tokens are taken out, the rest closing up, nine points, most and least relevant first. One sample and one
  text at a time through the whole model, as it runs.

The last line is of the peer over which we gain least.
"""

import dataclasses
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor, nn

LAYER, TOKENS, SAMPLES, ROUNDS, CLOSE = 4, 16, 16, 5, 1e-4


def say(line: str) -> None:
    print(line, file=sys.stderr)


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def build():
    """A classifier on MiniLM, or where its package cannot be had on a small random encoder, and sentences of 16 tokens."""
    from pellucid.data import polarity
    from pellucid.errors import BadData
    from pellucid.tasks.text_classification import task as text
    from pellucid.tasks.text_classification.settings import TextSettings

    torch.manual_seed(0)
    rows = polarity.read("train")
    try:
        task = text.build(TextSettings("minilm"), rows[:50])
    except BadData as error:
        say(f"{error}; a small model instead")
        rows = [{**e, "text": f"the {e['text']} ."} for e in rows]  # two tokens more, as MiniLM's special ones
        task = small([e["text"] for e in rows])
    task.model.eval()
    with torch.no_grad():
        task.model.head.weight.mul_(20)  # a fresh head says next to nothing: make its answers depend on the text
    return task, [e for e in task.prepare(rows, "polarity") if e["length"] == TOKENS][:SAMPLES]


def small(texts: list[str]):
    """Six narrow layers of random weights over whole words."""
    from transformers import BertConfig

    from pellucid.data.tokens import Words
    from pellucid.tasks.text_classification.model import Encoder, bare
    from pellucid.tasks.text_classification.task import TextClassification

    words = Words.learn(texts)
    sizes = {"hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 512}
    config = BertConfig(vocab_size=len(words.vocabulary), **sizes)
    return TextClassification(Encoder(bare(config), 2, False, "mean", 0.0), words, ["negative", "positive"], 128, False)


def whole(task, batch, site: str) -> nn.Module:
    """The model as a function of the units at one site, in a row as Quantus is given them; all of it runs."""
    from pellucid.explain.hooks import replaced

    class Whole(nn.Module):
        def forward(self, units: Tensor) -> Tensor:
            with replaced(task.model, task.sites[site], lambda _: rearrange(units, "b 1 (n d) -> b n d", n=TOKENS)):
                return task.model(batch)["logits"]

    return Whole().eval()


def upper(task, batch) -> nn.Module:
    """What lies above the layer, taken out of the model by hand."""
    from pellucid.tasks.text_classification.model import mean_present

    class Upper(nn.Module):
        def forward(self, units: Tensor) -> Tensor:
            hidden = rearrange(units, "b 1 (n d) -> b n d", n=TOKENS)
            for block in task.model.encoder.encoder.layer[LAYER + 1 :]:
                hidden = block(hidden)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            return task.model.head(mean_present(hidden, batch["tokens_present"]))

    return Upper().eval()


def flipping(quantus, model: nn.Module, probe, relevance: Tensor) -> Tensor:
    """Quantus' curves, b n. It flips every feature for itself: a step is as many as a token has, all of one relevance."""
    width = probe.units.shape[-1]
    metric = quantus.PixelFlipping(
        features_in_step=width, perturb_baseline=0.0, abs=False, normalise=False, disable_warnings=True, display_progressbar=False
    )
    curves = metric(
        model=model,
        x_batch=rearrange(probe.units, "b n d -> b 1 (n d)").numpy().copy(),
        y_batch=probe.answer.numpy(),
        a_batch=repeat(relevance, "b n -> b 1 (n d)", d=width).numpy(),
        softmax=True,
        channel_first=True,
        batch_size=SAMPLES,
    )
    return torch.tensor(np.asarray(curves), dtype=torch.float32)


def script(task, examples, relevance: Tensor, answers: Tensor) -> Tensor:
    """The paper's rule as its program runs it: most first, then least first, b (18)."""
    found = []
    for example, scores, answer in zip(examples, relevance.numpy(), answers.tolist(), strict=True):
        batch = task.collate([example])
        found.append([p for sign in (-1, 1) for p in one_way(task.model, batch, np.argsort(sign * scores), answer)])
    return torch.tensor(found)


@torch.no_grad()
def one_way(model: nn.Module, batch, order: np.ndarray, answer: int) -> list[float]:
    total, special = len(order), batch["word_of_token"][0] < 0
    counts = list(dict.fromkeys(int(c) for c in np.round(np.linspace(0, 1, 10) * total)))
    counts += [counts[-1]] * (10 - len(counts))
    keys = ("tokens", "tokens_present", "segments", "word_of_token")
    told = []
    for count in counts:
        gone: list[int] = []
        for token in order[: total - 1]:
            if len(gone) < count and not special[token]:
                gone.append(int(token))
        left = torch.tensor([t for t in range(total) if t not in gone])
        told.append(model({**batch, **{k: batch[k][:, left] for k in keys}})["logits"].softmax(-1)[0, answer].item())
    return told[1:]  # the untouched text is run, too, and told by itself


def against(name: str, ours: Callable[[], Tensor], peer: Callable[[], Tensor]) -> dict[str, object]:
    """Median seconds per example of both, and whether their curves agree."""
    ours(), peer()  # neither pays for first use
    rounds = [(timed(ours), timed(peer)) for _ in range(ROUNDS)]
    gap = max((mine - theirs).abs().max().item() for (_, mine), (_, theirs) in rounds)
    mine_s, peer_s = (statistics.median(pair[side][0] for pair in rounds) / SAMPLES for side in (0, 1))
    ratio = statistics.median(theirs / mine for (mine, _), (theirs, _) in rounds)
    say(f"{name}: ours {mine_s * 1e3:.1f} ms, peer {peer_s * 1e3:.1f} ms per example, {ratio:.1f}x, curves differ by {gap:.1e}")
    return {"ours": mine_s, "peer": peer_s, "peer_name": name, "unit": "CPU s per example", "ratio": ratio, "equal": gap < CLOSE}


def with_quantus(task, batch, relevance: Tensor) -> dict[str, object]:
    import quantus

    from pellucid.explain.probe import ask
    from pellucid.explain.remove import Removal

    gone = torch.arange(1, TOKENS + 1)[:, None].expand(-1, SAMPLES)

    def compare(name: str, site: str, model: nn.Module) -> dict[str, object]:
        fixed = ask(task, batch, site)

        def ours() -> Tensor:
            probe = dataclasses.replace(ask(task, batch, site), groups=None)  # every token for itself, special ones too
            removal = Removal(probe, torch.zeros_like(probe.units)).scaled(torch.exp)
            return removal.walks(-relevance[None], gone)[0]

        return against(name, ours, lambda: flipping(quantus, model, fixed, relevance))

    version = f"Quantus {importlib.metadata.version('quantus')} PixelFlipping"
    found = compare(version, f"layer.{LAYER}", whole(task, batch, f"layer.{LAYER}"))
    compare("  the same at the word vectors", "input", whole(task, batch, "input"))
    compare("  the same, the model cut by hand to what lies above the layer", f"layer.{LAYER}", upper(task, batch))
    return found


def with_script(task, examples, batch, relevance: Tensor) -> dict[str, object]:
    from pellucid.explain.deletion import deletions
    from pellucid.explain.probe import ask
    from pellucid.explain.remove import Removal

    answers = ask(task, batch).answer

    def ours() -> Tensor:
        found = deletions(Removal(ask(task, batch)).scaled(torch.exp), {"map": relevance})["map"]
        return torch.cat([found.most_first, found.least_first], 1)

    return against("the paper's script re-stated", ours, lambda: script(task, examples, relevance, answers))


def main() -> int:
    try:
        import quantus  # noqa: F401
    except ImportError:
        say("degradation: quantus is not installed; pip install 'quantus>=0.6'")
        return 1
    torch.set_num_threads(1)
    task, examples = build()
    batch = task.collate(examples)
    relevance = torch.randn(len(examples), TOKENS, generator=torch.Generator().manual_seed(1))
    found = [with_script(task, examples, batch, relevance), with_quantus(task, batch, relevance)]
    print(json.dumps({"name": "degradation", **min(found, key=lambda row: row["ratio"])}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
