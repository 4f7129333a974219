"""One picture, many captions: the backbone sees the picture once, and each caption is asked about what it has seen."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.data.grounding.spans import shown
from pellucid.data.loader import move
from pellucid.errors import BadUsage
from pellucid.task import Batch, Example
from pellucid.tasks.grounding.captions import caption_batch, tokenised
from pellucid.tasks.grounding.task import Grounding

TOGETHER = 16  # captions in one pass
_OF_PICTURE = ("size_hw", "pixel_present", "patch_present", "cell_present")


def ground(task: Grounding, picture: str | Example, captions: Sequence[str], together: int = TOGETHER) -> list[dict[str, Any]]:
    """What `task.predict` says of each caption of one picture.

    Args:
        picture: its path, or an example, whose own caption and objects play no part.
        together: captions in one pass; changes no result.
    Raises:
        BadData: an empty caption, or one of too many tokens; a picture that cannot be read.
        BadUsage: no captions.
    """
    bare = {"id": picture, "image": picture} if isinstance(picture, str) else {k: v for k, v in picture.items() if k != "objects"}
    if not captions:
        raise BadUsage(f"{bare['id']}: no captions; give the words that name what is looked for")
    first = tokenised([{**bare, "caption": captions[0]}], task.reader.tokenizer, task.settings)
    device = next(task.model.parameters()).device
    return ask(task, look(task, move(task.collate(first), device)), captions, together)


@torch.no_grad()
def look(task: Grounding, batch: Batch) -> Batch:
    """What `ask` needs of a collated batch of one picture; its caption plays no part."""
    assert len(batch["picture"]) == 1, "one picture is looked at"
    return task.model.look(batch) | {name: batch[name] for name in _OF_PICTURE}


@torch.no_grad()
def ask(task: Grounding, looked: Batch, captions: Sequence[str], together: int = TOGETHER) -> list[dict[str, Any]]:
    """What `task.predict` says of each caption of the picture that `look` has seen.

    Raises:
        BadData: an empty caption, or one of too many tokens.
    """
    rows = [{"id": f"caption {shown(caption)}", "caption": caption} for caption in captions]
    ready = tokenised(rows, task.reader.tokenizer, task.settings)
    places = sorted(range(len(ready)), key=lambda i: len(ready[i]["tokens"].tokens))  # alike lengths together: less padding
    found: dict[int, dict[str, Any]] = {}
    for first in range(0, len(places), together):
        some = places[first : first + together]
        batch = _joined(looked, [ready[i] for i in some])
        found |= dict(zip(some, task.predict(task.model.ask(batch), batch), strict=True))
    return [found[i] for i in range(len(captions))]


def _joined(looked: Batch, some: Sequence[Example]) -> Batch:
    """A batch of the captions, whose picture is told for each of them and was seen once."""
    device = looked["size_hw"].device
    of_picture = {name: _spread(looked[name], len(some)) for name in _OF_PICTURE}
    return looked | of_picture | move(caption_batch(some), device)


def _spread(values: Tensor, count: int) -> Tensor:
    """One picture's, for each caption, without a copy."""
    return values.expand(count, *values.shape[1:])
