"""Seconds that twenty phrases of one picture take a text-conditioned detector: one look at the picture, beside a full pass for each phrase.

Ours is what `pellucid.tasks.grounding.looking` does for a user: the backbone sees the picture once, then the phrases are asked about what
it saw, sixteen to a pass, those of like length together. The peer is the same network on picture and phrase, twenty times, as the
original's program would be run. Both begin at prepared pictures and end at boxes in pixels with their words, and take turns in one
process. The encoder over cells and words and the decoder work for each phrase on both sides: what is spared is the backbone.

`full` is MDETR as published (ResNet-101, a text encoder of RoBERTa-base's sizes, six and six layers of width 256, 100 queries) on 800 x
1066 pixels; `r50` the same with a ResNet-50; `small` the network of the generated world. All have random weights, scaled so that no layer
drowns another. `ratio` is the median of rounds, of wall seconds; `cpu_ratio` of CPU seconds; `look` and `ask` are the parts of ours.
`equal`: of every phrase and query the boxes, as shares of the picture, and the scores are less than 1e-5 apart (`apart`). They would be if
phrases changed nothing, too: `phrases_apart` is how far one phrase's are from the next one's, where they are nearest.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

PHRASES = (
    "the red cup left of the laptop",
    "a laptop",
    "two dogs",
    "the man in the blue coat who holds an umbrella",
    "the second bicycle from the right",
    "a small brown dog on the sofa",
    "the woman",
    "the largest window of the house behind the tree",
    "an open book",
    "the traffic light over the crossing",
    "three birds on a wire",
    "the plate with the bread",
    "a white van parked beside the fence",
    "the chair that nobody sits on",
    "the child's left hand",
    "a bottle",
    "the boat farthest from the shore",
    "the clock on the wall above the door",
    "yellow flowers in the glass vase",
    "the cat under the table",
)
ROUNDS, CLOSE, HEIGHT, WIDTH = 3, 1e-5, 800, 1066
SMALL = {"width": 64, "num_heads": 4, "encoder_layers": 2, "decoder_layers": 2, "feedforward": 128, "num_queries": 12}
ROBERTA = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
Batch = dict[str, Any]


def made(network: str) -> Any:
    """The task, with random weights."""
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    from pellucid.data.tokens import Words
    from pellucid.tasks.grounding import task as room
    from pellucid.tasks.grounding.captions import Reader
    from pellucid.tasks.grounding.settings import GroundingSettings

    words, backbone = Words.learn(PHRASES), {"full": "resnet101", "r50": "resnet50", "small": "resnet_tiny"}[network]
    settings = GroundingSettings(backbone, "", frozen="", **(SMALL if network == "small" else {}))
    if network == "small":
        sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
        read = Reader(words, BertModel(BertConfig(**sizes), add_pooling_layer=False), 64)
    else:
        read = Reader(words, RobertaModel(RobertaConfig(**ROBERTA), add_pooling_layer=False), 768)
    model = room.network(settings, read, "").eval()
    for name, value in model.net.backbone.state_dict().items():
        if name.endswith("bn3.weight"):
            value.fill_(0.2)  # else random weights grow through a hundred layers
    return room.Grounding(model, read, settings)


def batches(task: Any, height: int, width: int) -> list[Batch]:
    """The picture with each phrase, as `collate` makes a batch of one."""
    from pellucid.data.padded import picture_batch
    from pellucid.tasks.grounding.captions import caption_batch, tokenised

    picture = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = picture_batch([picture], [(height, width)], task.settings.patch, task.model.net.backbone.stride)
    rows = tokenised([{"id": phrase, "caption": phrase} for phrase in PHRASES], task.reader.tokenizer, task.settings)
    return [seen | caption_batch([row]) for row in rows]


def each_in_full(task: Any, given: list[Batch]) -> list[Any]:
    return [task.predict(task.model(batch), batch)[0] for batch in given]


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, and its wall and CPU seconds."""
    cpu, start = time.process_time(), time.perf_counter()
    found = work()
    return found, time.perf_counter() - start, time.process_time() - cpu


def apart(ours: list[Any], theirs: list[Any], size: torch.Tensor) -> float:
    """The furthest that a query's box, as shares of the picture, or score is from the other side's."""
    found = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        told = []
        for one in (mine, other):
            order = torch.tensor(one["queries"]).argsort()
            told.append(torch.cat([torch.tensor(one["boxes_xyxy"])[order] / size, torch.tensor(one["scores"])[order, None]], 1))
        found = max(found, float((told[0] - told[1]).abs().max()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--network", choices=["full", "r50", "small"], default="full")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    from pellucid.tasks.grounding import looking

    height, width = (64, 64) if asked.network == "small" else (HEIGHT, WIDTH)
    task = made(asked.network)
    given, size = batches(task, height, width), torch.tensor([width, height, width, height])
    times, furthest = [], 0.0
    with torch.no_grad():
        looking.ask(task, looking.look(task, given[0]), PHRASES[:1])  # first passes are slower
        for _ in range(asked.rounds):
            looked, *look = timed(lambda: looking.look(task, given[0]))
            mine, *ask = timed(lambda seen=looked: looking.ask(task, seen, PHRASES))
            theirs, *full = timed(lambda: each_in_full(task, given))
            furthest = max(furthest, apart(mine, theirs, size))
            times.append((look, ask, full))
            print(f"look {look[0]:.3f} s, ask {ask[0]:.3f} s, in full {full[0]:.3f} s", file=sys.stderr)
    wall, cpu = (statistics.median(full[i] / (look[i] + ask[i]) for look, ask, full in times) for i in (0, 1))
    look, ask, full = (statistics.median(one[part][0] for one in times) for part in range(3))
    between = min(apart([a], [b], size) for a, b in itertools.pairwise(theirs))
    told = {
        "name": "grounding",
        "ours": round(look + ask, 4),
        "peer": round(full, 4),
        "peer_name": "a full pass for each phrase",
        "unit": "s",
        "ratio": round(wall, 2),
        "equal": furthest < CLOSE < between,
        "cpu_ratio": round(cpu, 2),
        "look": round(look, 4),
        "ask": round(ask, 4),
        "apart": furthest,
        "phrases_apart": round(between, 5),
        "network": asked.network,
        "phrases": len(PHRASES),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
