"""What can be asked about a picture's boxes and map: `dog@17`, a default box; `dog`, whichever says so most; `dog@map`, a region.

An answer is a row of numbers: the default box, or `ANY` or `REGION`; the class, 0 for background; then for each cell of the finest map
whether it is of the region, which is what the map says of the whole picture and stays while parts of it are taken away.
"""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from pellucid.coerce import nearest
from pellucid.data.asked import ANY, numbered, parted
from pellucid.errors import BadUsage
from pellucid.metrics.segmentation import BACKGROUND
from pellucid.task import Output

REGION, MAP = -2, "map"


def cells_of(output: Output) -> Int[Tensor, "b n"]:
    """The likeliest class of each cell of the map."""
    return rearrange(output["map_logits"].argmax(1), "b h w -> b (h w)")


def regions(output: Output) -> Int[Tensor, "b c"]:
    """How many cells are of each class."""
    return reduce(F.one_hot(cells_of(output), output["map_logits"].shape[1]), "b n c -> b c", "sum")


def surest(output: Output, threshold: float) -> Int[Tensor, "b s"]:
    """The surest box; where none is as sure as that, the largest region that is not background; where there is none, the surest box.

    Without boxes the largest region, be it background.
    """
    region = _largest(output) if "map_logits" in output else None
    if "class_logits" not in output:
        assert region is not None
        return region
    probs = output["class_logits"].float().softmax(-1)[..., 1:]
    flat = rearrange(probs, "b n c -> b (n c)")
    most, best = flat.max(-1)
    box = torch.stack([best // probs.shape[-1], best % probs.shape[-1] + 1], -1)
    if region is None:
        return box
    box = F.pad(box, (0, region.shape[1] - 2))
    vague = (most < threshold) & (region[:, 1] > 0)
    return torch.where(rearrange(vague, "b -> b 1"), region, box)


def _largest(output: Output) -> Int[Tensor, "b s"]:
    label = regions(output)[:, 1:].argmax(1) + 1
    cells = cells_of(output)
    found = (cells == rearrange(label, "b -> b 1")).any(1)
    label = label * found
    return region_of(cells, label)


def region_of(cells: Int[Tensor, "b n"], labels: Int[Tensor, " b"]) -> Int[Tensor, "b s"]:
    """The answer that these cells are of one class each."""
    own = rearrange(labels, "b -> b 1")
    return torch.cat([torch.full_like(own, REGION), own, (cells == own).long()], -1)


def strength(output: Output, answer: Int[Tensor, "b s"]) -> Float[Tensor, " b"]:
    """log p in nats of the class at the box, of any box at the surest; of a region its mean over the region's cells."""
    place, label, every = answer[:, 0], answer[:, 1], torch.arange(len(answer), device=answer.device)
    told = answer.new_zeros(len(answer), dtype=torch.float32)
    if "class_logits" in output:
        log_probs = output["class_logits"].float().log_softmax(-1)[every, :, label]  # b n
        at = log_probs.gather(1, rearrange(place.clamp_min(0), "b -> b 1"))[:, 0]
        told = torch.where(place == ANY, log_probs.amax(1), at)
    if "map_logits" not in output:
        return told
    pixels = output["map_logits"].float().log_softmax(1)[every, label]
    cells = answer[:, 2:]
    mean = (rearrange(pixels, "b h w -> b (h w)") * cells).sum(1) / cells.sum(1).clamp_min(1)
    return torch.where(place == REGION, mean, told)


def read_answer(name: str, labels: Sequence[str], num_boxes: int, num_cells: int) -> tuple[int, int]:
    """The box, or `ANY` or `REGION`, and the class that a name says.

    Args:
        num_boxes: 0 where no boxes are told, and a label alone is a region.
        num_cells: 0 where no map is told.
    Raises:
        BadUsage: no such label or box, or a region where no map is told.
    """
    background = f"{BACKGROUND}@{MAP}"
    if name in {background, *({BACKGROUND} if not num_boxes else {})} and name not in labels:
        label, place, index = BACKGROUND, MAP, 0
    else:
        label, place = parted(name, labels)
        index = labels.index(label) + 1
    if place == MAP or not num_boxes:
        if not num_cells:
            raise BadUsage(f"answer {name!r}: the model tells no map; ask about a box, as {label}@17, or about {label}")
        if place not in ("", MAP):
            raise BadUsage(f"answer {name!r}: the model tells no boxes; ask about a region: {label}@{MAP}")
        return REGION, index
    if place and not place.isdecimal():
        raise BadUsage(f"answer {name!r}: no box {place!r}{nearest(place, [MAP])}")
    return numbered(name, place, num_boxes, "box"), index


def written(answer: Sequence[int], labels: Sequence[str]) -> str:
    """The name that `read_answer` reads."""
    place, label = answer[:2]
    name = labels[label - 1] if label else BACKGROUND
    return {ANY: name, REGION: f"{name}@{MAP}"}.get(place, f"{name}@{place}")


def answers_of(labels: Sequence[str], boxes: Sequence[int], scores: Sequence[float], threshold: float) -> list[str]:
    """The boxes that are as sure as that, as they can be asked about."""
    return [f"{label}@{box}" for label, box, score in zip(labels, boxes, scores, strict=True) if score >= threshold]


def regions_of(counts: Int[Tensor, " c"], labels: Sequence[str]) -> list[str]:
    """The regions of a picture that are not background, as they can be asked about, the largest first."""
    order: Any = counts[1:].argsort(descending=True, stable=True).tolist()
    return [f"{labels[i]}@{MAP}" for i in order if counts[i + 1]]
