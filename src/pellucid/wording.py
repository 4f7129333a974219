"""The words that pictures are searched for: captions, each answered by itself, or an open list of labels; a picture is looked at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.data import loader
from pellucid.errors import BadData, BadUsage
from pellucid.explain import probe
from pellucid.nn.boxes import iou
from pellucid.task import Example, Task

SAME = 0.7  # overlap from which boxes of two labels are one thing
REMEDY = 'give --text "the red cup", --labels cup,laptop, or a table with the columns image and caption'


@dataclass(frozen=True)
class Words:
    """What each picture is searched for.

    Args:
        captions: each is asked by itself.
        labels: the captions are names, and an answer has the boxes of all of them, each called by its name.
    """

    captions: tuple[str, ...]
    labels: bool = False


def takes_words(task: Task) -> bool:
    """Whether a task's examples have a caption each."""
    return "caption" in getattr(task, "needs", ())


def wanted(task: Task, texts: Sequence[str] = (), labels: Sequence[str] = ()) -> Words | None:
    """The words that were given, checked; None where there are none.

    Raises:
        BadUsage: words for a task that takes none, texts and labels both, or none among the labels.
        BadData: one is empty, or has too many tokens.
    """
    flag = "--text" if texts else "--labels"
    if not texts and not labels:
        return None
    if not takes_words(task):
        raise BadUsage(f"{flag}: {type(task).__name__} searches for no words; leave it out")
    if texts and labels:
        raise BadUsage("--text and --labels: both say what to look for; give one of them")
    captions = tuple(dict.fromkeys(texts or (label.strip() for label in labels)))
    if not all(caption.strip() for caption in captions):
        raise BadData(f"{flag}: {'the caption' if texts else 'a label'} is empty; give the words that name what is looked for")
    _tokenised(task, [{"id": flag, "caption": caption} for caption in captions])
    return Words(captions, bool(labels))


def worded(task: Task, examples: Sequence[Example | str], words: Words | None) -> list[Example | str]:
    """The examples, for a task that takes words each with a caption: its own, or the first of those that are asked.

    Raises:
        BadUsage: an example without words, or with some of its own beside those that are asked.
    """
    if not takes_words(task):
        return list(examples)
    rows = [{"id": e, "image": e} if isinstance(e, str) else e for e in examples]
    for row in rows:
        name = row["image"] if isinstance(row.get("image"), str) else row.get("id", "a picture")
        if words is None and row.get("caption") is None:
            raise BadUsage(f"{name}: no words to look for; {REMEDY}")
        if words and row.get("caption") is not None:
            raise BadUsage(f"{row.get('id', name)}: it has a caption of its own; leave --text and --labels out")
    return [{**row, "caption": words.captions[0]} for row in rows] if words else list(rows)


def answered(run: Any, rows: Sequence[Example], words: Words, threshold: float) -> Iterator[list[tuple[Example, dict[str, Any]]]]:
    """Of each picture its answers, each with the example that it is of: one for each caption, or one for all labels.

    Args:
        rows: prepared.
        threshold: score from which a box of a label is one.
    """
    from pellucid.tasks.grounding.looking import ask, look

    task, loop = run.task, run.recipe.loop
    device = next(task.model.parameters()).device
    half = torch.autocast(device.type, torch.bfloat16, enabled=loop.precision == "bf16-mixed")
    for row, batch in zip(rows, loader.load(task, rows, [[i] for i in range(len(rows))], loop.workers), strict=True):
        with probe.still(task.model), half:
            found = ask(task, look(task, loader.move(batch, device)), words.captions, loop.eval_batch_size)
        if words.labels:
            bare = {key: value for key, value in row.items() if key != "caption"}
            yield [(bare, labelled(found, words.captions, threshold))]
        else:
            yield [({**row, "caption": caption}, one) for caption, one in zip(words.captions, found, strict=True)]


def labelled(found: Sequence[dict[str, Any]], labels: Sequence[str], threshold: float) -> dict[str, Any]:
    """The boxes that answer each label, the surest first, called by it; a box that several claim is the surest one's.

    Args:
        found: what was said of each label, as a caption.
        threshold: score from which a box is one; those below are left out.
    """
    every = [(score, label, one, i) for one, label in zip(found, labels, strict=True) for i, score in enumerate(one["scores"])]
    every = sorted((row for row in every if row[0] >= threshold), key=lambda row: -row[0])
    kept: list[tuple[float, str, dict[str, Any], int]] = []
    for row, overlaps in zip(every, _overlaps([one["boxes_xyxy"][i] for _, _, one, i in every]), strict=True):
        claimed = {every[at][1] for at, overlap in enumerate(overlaps) if overlap >= SAME and any(every[at] is other for other in kept)}
        if not claimed - {row[1]}:
            kept.append(row)
    told: dict[str, Any] = {"labels": [label for _, label, _, _ in kept]}
    for key in ("scores", "boxes_xyxy", "queries", "final_scores", "masks"):
        if found and key in found[0]:
            told[key] = [one[key][i] for _, _, one, i in kept]
    return told


def _overlaps(boxes_xyxy: Sequence[Sequence[float]]) -> list[list[float]]:
    boxes: Tensor = torch.tensor(boxes_xyxy, dtype=torch.float64).reshape(-1, 4)
    return iou(boxes, boxes).tolist()


def _tokenised(task: Any, rows: list[Example]) -> None:
    """Raises what is wrong with the captions."""
    from pellucid.tasks.grounding.captions import tokenised

    tokenised(rows, task.reader.tokenizer, task.settings)
