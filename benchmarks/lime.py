"""CPU seconds per example of LIME and Kernel SHAP, ours beside captum's, in one process, runs alternating, one thread.

500 perturbations of the 64 pixels of scikit-learn's digits, 256 of them per call in captum; what is explained is the logit that a
network of one hidden layer gives its answer, from the mean picture. captum's LIME gets our kernel and ridge. Each program draws its
own perturbations, so the two agree as far as 500 perturbations tell: `equal` is a mean rank correlation over pictures of 0.95 or
more (on the same perturbations the numbers are the same; the tests hold that). The last line is of the method on which we gain
least. Beside it, told only to stderr: the same on a text of 64 words through MiniLM, where the model's own time is nearly all.
"""

import importlib.metadata
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import torch
from integrated_gradients import minilm, plain
from torch import Tensor, nn

SAMPLES, PICTURES, PEER_PICTURES, ROUNDS, PER_CALL, CLOSE = 500, 64, 12, 5, 256, 0.95


def say(line: str) -> None:
    print(line, file=sys.stderr)


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def digits() -> tuple[nn.Sequential, Tensor, Tensor]:
    """A network trained on 1,500 digits, pictures it has not seen, and the mean of those it has."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    data = load_digits()
    pixels, labels = torch.tensor(data.data / 16).float(), torch.tensor(data.target)
    net = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 10))
    adam = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=0.1)
    for _ in range(100):
        adam.zero_grad()
        nn.functional.cross_entropy(net(pixels[:1500]), labels[:1500]).backward()
        adam.step()
    right = (net(pixels[1500:]).argmax(-1) == labels[1500:]).float().mean()
    say(f"network: {right:.1%} of unseen digits right")
    return net.requires_grad_(False), pixels[1500 : 1500 + PICTURES], pixels[:1500].mean(0)


class Digits(nn.Module):
    """The network as the model of a task."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One logit per digit."""
        return {"logits": self.net(batch["pixels"])}


def task_of(net: nn.Module) -> SimpleNamespace:
    from pellucid.task import Site

    return SimpleNamespace(
        model=Digits(net),
        sites={"input": Site("net", "b (n d)", side="input", axes={"d": 1})},
        answer=lambda output: output["logits"].argmax(-1),
        score=lambda output, answer: output["logits"].gather(1, answer[:, None])[:, 0],
        score_unit="value",
    )


def peers(forward) -> dict:
    from captum._utils.models.linear_model import SkLearnRidge
    from captum.attr import KernelShap, Lime
    from captum.attr._core.lime import get_exp_kernel_similarity_function

    from pellucid.explain.surrogate import KERNEL_WIDTH, RIDGE

    near = get_exp_kernel_similarity_function("cosine", KERNEL_WIDTH)
    return {"lime": Lime(forward, SkLearnRidge(alpha=RIDGE), near), "kernel_shap": KernelShap(forward)}


def on_digits() -> dict[str, tuple[float, float, float]]:
    """Seconds per picture of ours and of captum's, and their mean rank correlation, by method."""
    from scipy.stats import spearmanr

    from pellucid.explain import surrogate
    from pellucid.explain.probe import ask

    net, pictures, mean = digits()
    task, target = task_of(net), net(pictures[:PEER_PICTURES]).argmax(-1)
    found = {}
    for name, peer in peers(net).items():

        def ours(name=name) -> Tensor:
            probe = ask(task, {"pixels": pictures})
            return getattr(surrogate, name)(probe, mean[:, None].expand_as(probe.units), SAMPLES).relevance

        def captums(peer=peer) -> Tensor:
            few = pictures[:PEER_PICTURES]
            return peer.attribute(few, mean[None], target=target, n_samples=SAMPLES, perturbations_per_eval=PER_CALL)

        ours(), captums()
        rounds = [(timed(ours), timed(captums)) for _ in range(ROUNDS)]
        alike = [spearmanr(m, t).statistic for (_, mine), (_, theirs) in rounds for m, t in zip(mine, theirs, strict=False)]
        mine_s = statistics.median(seconds for (seconds, _), _ in rounds) / PICTURES
        peer_s = statistics.median(seconds for _, (seconds, _) in rounds) / PEER_PICTURES
        found[name] = (mine_s, peer_s, statistics.mean(alike))
        spent = f"ours {mine_s * 1e3:.2f} ms, captum {peer_s * 1e3:.1f} ms, {peer_s / mine_s:.0f}x"
        say(f"{name}: {spent}; rank correlation {found[name][2]:.3f}")
    return found


def on_minilm() -> None:
    """The same on one text of 64 words, one run each."""
    from pellucid.data import polarity
    from pellucid.explain import surrogate
    from pellucid.explain.attribution import baseline
    from pellucid.explain.probe import ask
    from pellucid.explain.words import player_counts, players

    words = " ".join(row["text"] for row in polarity.read("train")[:20]).split()[:64]
    built = minilm([" ".join(words)] * 2)
    if built is None:
        say("MiniLM is not in the cache; `pellucid demo` fetches it")
        return
    task, batch = built
    batch = {key: value[:1] for key, value in batch.items()}
    first = ask(task, batch)
    start, owner = baseline(first), players(first)
    features = owner.where(owner >= 0, owner.max() + 1)[..., None].expand_as(first.units).contiguous()
    for name, peer in peers(plain(task)).items():

        def captums(peer=peer) -> Tensor:
            told = (batch["tokens_present"], batch["segments"])
            settings = {"n_samples": SAMPLES, "perturbations_per_eval": PER_CALL, "feature_mask": features}
            return peer.attribute(first.units, start, target=first.answer, additional_forward_args=told, **settings)

        mine_s, _ = timed(lambda name=name: getattr(surrogate, name)(ask(task, batch), start, SAMPLES).relevance)
        peer_s, _ = timed(captums)
        say(f"{name}, MiniLM, {int(player_counts(owner))} words: ours {mine_s:.1f} s, captum {peer_s:.1f} s, {peer_s / mine_s:.2f}x")


def main() -> int:
    warnings.filterwarnings("ignore", "You are providing multiple inputs for Lime")
    torch.set_num_threads(1)
    found = on_digits()
    on_minilm()
    least = min(found, key=lambda name: found[name][1] / found[name][0])
    mine_s, peer_s, _ = found[least]
    result = {
        "name": "lime",
        "ours": mine_s,
        "peer": peer_s,
        "peer_name": f"captum {importlib.metadata.version('captum')} {least}",
        "unit": "CPU s per example",
        "ratio": peer_s / mine_s,
        "equal": all(alike >= CLOSE for _, _, alike in found.values()),
        "rank_correlation": {name: alike for name, (_, _, alike) in found.items()},
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
