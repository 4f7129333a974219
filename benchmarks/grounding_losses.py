"""Wall seconds of MDETR's match and losses with their gradients, six decoder layers of eight captions, beside the original's procedure.

The original, restated: layer by layer, the costs of all queries of the batch with all objects of the batch, of which only the blocks on the
diagonal are assigned, picture by picture; then that layer's losses: a full table of soft targets, of the boxes' overlaps all pairs for the
sake of the diagonal, and for the alignment a table of queries and tokens that is filled box by box. It is spared looking up each span's
tokens anew for each layer. Ours takes all layers and pictures at once. Both start from the same outputs (100 queries, 256 slots, 40
tokens, codes of 64 numbers) and 1 to 14 objects a caption, and take turns in one process and one thread. `ratio` is the median of rounds,
of CPU seconds `cpu_ratio`; `forward_ratio` is without gradients. `equal`: the same pairs, each layer's losses and the gradients of all
outputs agree to 1e-5 of their size.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

LAYERS, BATCH, QUERIES, SLOTS, TOKENS, WIDTH = 6, 8, 100, 256, 40, 64
ROUNDS, CLOSE, TEMPERATURE = 25, 1e-5, 0.07
NAMES = ("ce", "bbox", "giou", "align")


@dataclass(frozen=True)
class Given:
    """What a network says of a batch, and what it should have said."""

    outputs: dict[str, Tensor]  # logits, boxes, query and token codes
    maps: list[Tensor]
    own: list[Tensor]  # the maps' tokens
    boxes: list[Tensor]


def made() -> Given:
    draw = torch.Generator().manual_seed(0)
    outputs = {
        "logits": torch.randn(LAYERS, BATCH, QUERIES, SLOTS, generator=draw),
        "boxes": torch.rand(LAYERS, BATCH, QUERIES, 4, generator=draw) * 0.5 + 0.1,
        "query": F.normalize(torch.randn(LAYERS, BATCH, QUERIES, WIDTH, generator=draw), dim=-1),
        "token": F.normalize(torch.randn(BATCH, TOKENS, WIDTH, generator=draw), dim=-1),
    }
    sizes = torch.randint(1, 15, (BATCH,), generator=draw).tolist()
    maps = [torch.zeros(n, SLOTS) for n in sizes]
    for row in [row for rows in maps for row in rows]:
        start, length = (int(torch.randint(1, high, (1,), generator=draw)) for high in (TOKENS - 5, 5))
        row[start : start + length] = 1
    boxes = [torch.rand(n, 4, generator=draw) * 0.5 + 0.1 for n in sizes]
    leaves = {name: value.requires_grad_() for name, value in outputs.items()}
    return Given(leaves, maps, [rows[:, :TOKENS] > 0 for rows in maps], boxes)


# ---- the original's procedure -----------------------------------------------------------------------------------------


def corners(boxes: Tensor) -> Tensor:
    x, y, w, h = boxes.unbind(-1)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Generalized IoU of all pairs, as torchvision-style code computes it."""
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    low, high = torch.max(a[:, None, :2], b[:, :2]), torch.min(a[:, None, 2:], b[:, 2:])
    both = (high - low).clamp(min=0).prod(2)
    union = area_a[:, None] + area_b - both
    low, high = torch.min(a[:, None, :2], b[:, :2]), torch.max(a[:, None, 2:], b[:, 2:])
    around = (high - low).clamp(min=0).prod(2)
    return both / union - (around - union) / around


@torch.no_grad()
def assigned(logits: Tensor, boxes: Tensor, given: Given) -> list[tuple[Any, Any]]:
    """Queries and objects of each picture in one layer."""
    probs, flat = logits.flatten(0, 1).softmax(-1), boxes.flatten(0, 1)
    rows, wanted = torch.cat(given.maps), torch.cat(given.boxes)
    cost = 5 * torch.cdist(flat, wanted, p=1) - probs @ rows.T - 2 * overlaps(corners(flat), corners(wanted))
    blocks = cost.view(*logits.shape[:2], -1).cpu().split([len(b) for b in given.boxes], -1)
    return [linear_sum_assignment(block[i]) for i, block in enumerate(blocks)]


def aligned(query: Tensor, token: Tensor, pairs: list[tuple[Any, Any]], given: Given) -> Tensor:
    """One layer's contrastive alignment, summed over both directions' positives."""
    scores = query @ token.transpose(1, 2) / TEMPERATURE
    right = torch.zeros(scores.shape, dtype=torch.bool)
    for i, (queries, objects) in enumerate(pairs):
        for q, t in zip(queries, objects, strict=True):
            right[i, q] |= given.own[i][t]
    found = []
    for axis in (2, 1):
        mean = scores.masked_fill(~right, 0).sum(axis) / (right.sum(axis) + 1e-6)
        apart = scores.logsumexp(axis) - mean
        found.append(apart.masked_fill(~right.any(axis), 0).sum())
    return (found[0] + found[1]) / 2


def original(given: Given) -> tuple[dict[str, Tensor], set[tuple[int, int, int, int]]]:
    out, num = given.outputs, sum(map(len, given.boxes))
    found: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    everything = set()
    for layer, (logits, boxes, query) in enumerate(zip(out["logits"], out["boxes"], out["query"], strict=True)):
        pairs = assigned(logits, boxes, given)
        everything |= {(layer, i, int(q), int(t)) for i, (qs, ts) in enumerate(pairs) for q, t in zip(qs, ts, strict=True)}
        example = torch.cat([torch.full((len(queries),), i) for i, (queries, _) in enumerate(pairs)])
        place = example, torch.cat([torch.as_tensor(queries) for queries, _ in pairs])
        target = torch.zeros_like(logits)
        target[..., -1] = 1
        target[place] = torch.cat([rows[objects] for rows, (_, objects) in zip(given.maps, pairs, strict=True)])
        weight = torch.full(logits.shape[:2], 0.1)
        weight[place] = 1
        found["ce"].append((-(logits.log_softmax(-1) * target).sum(-1) * weight).sum() / num)
        wanted = torch.cat([b[objects] for b, (_, objects) in zip(given.boxes, pairs, strict=True)])
        found["bbox"].append(F.l1_loss(boxes[place], wanted, reduction="none").sum() / num)
        found["giou"].append((1 - torch.diag(overlaps(corners(boxes[place]), corners(wanted)))).sum() / num)
        found["align"].append(aligned(query, out["token"], pairs, given) / num)
    return {name: torch.stack(values) for name, values in found.items()}, everything


# ---- ours -------------------------------------------------------------------------------------------------------------


def ours(given: Given) -> tuple[dict[str, Tensor], Any]:
    from pellucid.losses.grounding import Codes, alignment_loss, soft_token_loss
    from pellucid.losses.matching import match
    from pellucid.losses.set_prediction import Truth, Weights, box_losses

    out, truth = given.outputs, Truth(given.maps, given.boxes)
    matches = match(out["logits"], out["boxes"], truth.classes, truth.boxes)
    found = {"ce": soft_token_loss(out["logits"], truth, matches), **box_losses(out["boxes"], truth, matches, Weights(1, 1, 1))}
    found["align"] = alignment_loss(Codes(out["query"], out["token"]), given.own, truth, matches, TEMPERATURE)
    return found, matches


def pairs_of(matches: Any) -> set[tuple[int, int, int, int]]:
    return set(zip(*(getattr(matches, name).tolist() for name in ("layer", "example", "query", "target")), strict=True))


# ---- taking turns -----------------------------------------------------------------------------------------------------


def step(work: Callable[[Given], tuple[dict[str, Tensor], Any]], given: Given) -> tuple[float, float, float]:
    """Wall seconds of the losses alone and with their gradients, CPU seconds of both."""
    for value in given.outputs.values():
        value.grad = None
    cpu, start = time.process_time(), time.perf_counter()
    found, _ = work(given)
    forward = time.perf_counter() - start
    torch.stack(list(found.values())).sum().backward()
    return forward, time.perf_counter() - start, time.process_time() - cpu


def agree(given: Given) -> bool:
    told = []
    for work in (ours, original):
        step(work, given)
        found, pairs = work(given)
        found = {name: value.detach() for name, value in found.items()}
        gradients = {f"gradient of {name}": value.grad.clone() for name, value in given.outputs.items() if value.grad is not None}
        told.append(({**found, **gradients}, pairs_of(pairs) if work is ours else pairs))
    (mine, my_pairs), (theirs, pairs) = told
    apart = {name: float((mine[name] - value).abs().max() / value.abs().max()) for name, value in theirs.items()}
    print(f"furthest apart, of the largest: {apart}", file=sys.stderr)
    return my_pairs == pairs and mine.keys() == theirs.keys() and max(apart.values()) < CLOSE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    given = made()
    equal = agree(given)
    times = [(step(ours, given), step(original, given)) for _ in range(asked.rounds)]
    forward, whole, cpu = (statistics.median(theirs[i] / mine[i] for mine, theirs in times) for i in range(3))
    fast, slow = (statistics.median(one[side][1] for one in times) for side in (0, 1))
    print(f"ours {1000 * fast:.1f} ms, original {1000 * slow:.1f} ms, ratio {whole:.1f}", file=sys.stderr)
    told = {
        "name": "grounding_losses",
        "ours": fast,
        "peer": slow,
        "peer_name": "the original's procedure, restated",
        "unit": "s",
        "ratio": round(whole, 2),
        "equal": equal,
        "forward_ratio": round(forward, 2),
        "cpu_ratio": round(cpu, 2),
        "objects": sum(map(len, given.boxes)),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
