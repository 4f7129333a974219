"""From prepared clips to a batch: which features are seen, padded, with the names and pictures that explanations show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pellucid.data.clips.held import load, shape
from pellucid.data.corrupt.moving import VIDEO, moved, noised
from pellucid.task import Batch, Example
from pellucid.tasks.video.extract import film_of, frames_batch
from pellucid.tasks.video.places import places
from pellucid.tasks.video.settings import VideoSettings


def clip_batch(
    examples: Sequence[Example], widths: Mapping[str, int], settings: VideoSettings, seeds: Sequence[int] | None = None
) -> Batch:
    """The batch without targets.

    Args:
        seeds: of training, one per example; None when measuring, which is even and has names and films.
    """
    batch: Batch = {}
    for at, (name, width) in enumerate(widths.items()):
        seen = [_seen(e, name, settings.num_local, None if seeds is None else [seeds[i], at]) for i, e in enumerate(examples)]
        if settings.end_to_end:
            batch |= frames_batch(examples, name, seen, settings)
        else:
            batch |= _padded(name, [_values(e, name, chosen, width) for e, chosen in zip(examples, seen, strict=True)])
        if seeds is None:
            times = [_times(e, name, chosen) for e, chosen in zip(examples, seen, strict=True)]
            batch[f"{name}_time"] = [_named(chosen, told) for chosen, told in zip(seen, times, strict=True)]
            batch[f"{name}_film"] = [
                film_of(e, name, told) if told and _has_pictures(e) else None for e, told in zip(examples, times, strict=True)
            ]
    return batch


def _local(example: Example, name: str) -> Any:
    """Where the features of a modality lie; None where the clip has none."""
    return (example["local"] if "local" in example else example["features"]).get(name)


def _seen(example: Example, name: str, num: int, seed: Sequence[int] | None) -> list[int]:
    """Places of the features that are looked at, of those frames that a corruption leaves.

    A shuffle comes after the choice: it is the same frames that are seen, in another order.
    """
    held = _local(example, name)
    if held is None:
        return []
    spoiled, there = example.get("corruption"), list(range(shape(held)[0]))
    rng = None if seed is None else np.random.default_rng(seed)
    if spoiled and spoiled["kind"] in VIDEO and spoiled["kind"] != "frame_shuffle":
        there = moved(len(there), spoiled["kind"], spoiled["severity"], spoiled["seed"])
    chosen = [there[i] for i in places(len(there), num, rng)]
    if spoiled and spoiled["kind"] == "frame_shuffle":
        chosen = [chosen[i] for i in moved(len(chosen), spoiled["kind"], spoiled["severity"], spoiled["seed"])]
    return chosen


def _values(example: Example, name: str, seen: Sequence[int], width: int) -> Float[Tensor, "n f"]:
    held = _local(example, name)
    if held is None:
        return torch.zeros(0, width)
    spoiled, found = example.get("corruption"), load(held)
    if spoiled and spoiled["kind"] == "feature_noise":
        found = noised(found, spoiled["severity"], spoiled["seed"], name)
    return torch.from_numpy(found[list(seen)])


def _padded(name: str, rows: Sequence[Float[Tensor, "_ f"]]) -> Batch:
    """Features side by side, at least one wide, and which are real."""
    counts = torch.tensor([len(row) for row in rows])
    longest = max(1, int(counts.max()))
    features = torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows])
    return {name: features, f"{name}_present": torch.arange(longest) < counts[:, None]}


def _times(example: Example, name: str, seen: Sequence[int]) -> list[float] | None:
    """When the features that are seen began, in seconds; None where nobody knows."""
    times = example.get("times_s", {}).get(name)
    return None if times is None else [float(times[i]) for i in seen]


def _has_pictures(example: Example) -> bool:
    """Whether anything was made of the clip's pictures: of sound alone nothing can be shown."""
    return any(times for name, times in example.get("times_s", {}).items() if name != "audio")


def _named(seen: Sequence[int], times: Sequence[float] | None) -> list[str]:
    """Times, or places; the second of two alike is told apart."""
    names = [str(i) for i in seen] if times is None else [f"{t:.2f} s" for t in times]
    return [n if names.index(n) == i else f"{n} ({names[:i].count(n) + 1})" for i, n in enumerate(names)]
