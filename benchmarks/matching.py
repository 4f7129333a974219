"""Wall seconds of matching queries to objects in six decoder layers of sixteen pictures, beside the original's procedure.

The original, restated: layer by layer, the costs of all queries of the batch with all objects of the batch, copied to the CPU, of which
only the blocks on the diagonal are then assigned. Ours computes the costs of each picture's queries with its own objects, all layers in
one go. Both take turns in one process on the same outputs; objects are 1 to 14 a picture, about COCO's number. `ratio` is at 100
queries, `ratio_300` at 300; equal means the same pairs everywhere.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

LAYERS, BATCH, CLASSES, ROUNDS = 6, 16, 91, 15


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


def original(logits: Tensor, boxes: Tensor, classes: list[Tensor], truth: list[Tensor]) -> list[list[Any]]:
    sizes, found = [len(c) for c in classes], []
    for layer_logits, layer_boxes in zip(logits, boxes, strict=True):
        probs, flat = layer_logits.flatten(0, 1).softmax(-1), layer_boxes.flatten(0, 1)
        ids, wanted = torch.cat(classes), torch.cat(truth)
        cost = 5 * torch.cdist(flat, wanted, p=1) - probs[:, ids] - 2 * overlaps(corners(flat), corners(wanted))
        blocks = cost.view(*layer_logits.shape[:2], -1).cpu().split(sizes, -1)
        found.append([linear_sum_assignment(block[i]) for i, block in enumerate(blocks)])
    return found


def ours(logits: Tensor, boxes: Tensor, classes: list[Tensor], truth: list[Tensor]) -> Any:
    from pellucid.losses.matching import match

    return match(logits, boxes, classes, truth)


def outputs(queries: int) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    draw = torch.Generator().manual_seed(queries)
    logits = torch.randn(LAYERS, BATCH, queries, CLASSES + 1, generator=draw)
    boxes = torch.rand(LAYERS, BATCH, queries, 4, generator=draw) * 0.5 + 0.1
    sizes = torch.randint(1, 15, (BATCH,), generator=draw).tolist()
    classes = [torch.randint(CLASSES, (n,), generator=draw) for n in sizes]
    return logits, boxes, classes, [torch.rand(n, 4, generator=draw) * 0.5 + 0.1 for n in sizes]


def pairs_of(found: list[list[Any]]) -> list[tuple[int, int, int, int]]:
    return [
        (i, j, int(q), int(t))
        for i, layer in enumerate(found)
        for j, (rows, columns) in enumerate(layer)
        for q, t in zip(rows, columns, strict=True)
    ]


def seconds(work: Callable[..., Any], given: tuple[Any, ...]) -> float:
    start = time.perf_counter()
    work(*given)
    return time.perf_counter() - start


def compared(queries: int, rounds: int) -> dict[str, Any]:
    given = outputs(queries)
    m = ours(*given)
    mine = list(zip(m.layer.tolist(), m.example.tolist(), m.query.tolist(), m.target.tolist(), strict=True))
    equal = sorted(mine) == sorted(pairs_of(original(*given)))
    times = [(seconds(ours, given), seconds(original, given)) for _ in range(rounds)]
    fast, slow = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print(f"{queries} queries: ours {1000 * fast:.1f} ms, original {1000 * slow:.1f} ms, ratio {ratio:.1f}", file=sys.stderr)
    return {"ours": fast, "peer": slow, "ratio": ratio, "equal": equal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    few, many = (compared(queries, given.rounds) for queries in (100, 300))
    told = {
        "name": "matching",
        "ours": few["ours"],
        "peer": few["peer"],
        "peer_name": "the original's procedure, restated",
        "unit": "s",
        "ratio": round(few["ratio"], 2),
        "ratio_300": round(many["ratio"], 2),
        "equal": few["equal"] and many["equal"],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
