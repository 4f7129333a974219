"""The losses of MDETR: which words each query answers, whether its box is what the caption asks for, and what the answer is.

Of a set's losses those of boxes are `set_prediction`'s, and the match is `matching`'s, told rows of words in the place of classes. What
depends on a decoder layer comes of all layers at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from pellucid.losses.matching import Matches
from pellucid.losses.set_prediction import Truth, per_object, wide

SMALL = 1e-6  # of the authors, added to what a number of tokens or queries is divided by


# ---- words ------------------------------------------------------------------------------------------------------------


def word_targets(positive: Sequence[Float[Tensor, "_ _c"]], kind: Literal["binary", "uniform"]) -> list[Float[Tensor, "_ _c"]]:
    """What a matched query should say of each slot: 1 for each of its words (`binary`), or these together 1 (`uniform`).

    Args:
        positive: of each example, a row for each object, above 0 where a slot's token is its own.
    Source: Kamath et al. 2021, section 2.1.1, spread the target evenly. Their program means to, but its batches hold bool, so that it was
        trained with `binary`, of which an object of k words cannot cost less than k ln k.
    """
    ones = [(rows > 0).to(rows) for rows in positive]
    return ones if kind == "binary" else [rows / (rows.sum(-1, keepdim=True) + SMALL) for rows in ones]


def soft_token_loss(
    logits: Float[Tensor, "l b q c"], truth: Truth, matches: Matches, no_object: float = 0.1, amount: float | None = None
) -> Float[Tensor, " l"]:
    """Cross-entropy of each layer, in nats: of matched queries with their words, of the others with the last slot, summed.

    Args:
        truth: its classes are rows of `word_targets`.
        no_object: weight of queries that answer for nothing.
        amount: what the sum is divided by; by default the number of objects, at least 1, as published. See `word_amount`.
    Source: Kamath et al. 2021, section 2.1.1. Unlike DETR's it is no mean by weights.
    """
    log_probs = wide(logits).log_softmax(-1)
    matched = matches.layer, matches.example, matches.query
    weight = torch.full(logits.shape[:-1], no_object, dtype=log_probs.dtype, device=logits.device)
    weight[matched] = 0
    nothing = (log_probs[..., -1] * weight).sum((1, 2))
    words = (log_probs[matched] * truth.matched(truth.classes, matches).to(log_probs)).sum(-1)
    return -nothing.index_add(0, matches.layer, words) / (max(1, truth.num) if amount is None else amount)


def word_amount(num_objects: Sequence[int]) -> float:
    """What makes the soft token loss a mean that can be taken over several passes: the objects, a picture without any counting as one.

    Differs: the authors divide by the number of objects in the whole batch. It is the same where each picture has one; but a pass whose
    pictures have none has no share in a mean by objects, and what it should learn, that no query answers, would be lost.
    """
    return float(sum(max(1, num) for num in num_objects))


# ---- alignment --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Codes:
    """What queries and tokens are aligned by.

    Args:
        query: of each layer, of length 1, as are the tokens'.
        present: true for tokens that count in a box's denominator; all of the batch by default, padding among them, as published.
    """

    query: Float[Tensor, "l b q e"]
    token: Float[Tensor, "b t e"]
    present: Bool[Tensor, "b t"] | None = None


def alignment_loss(
    codes: Codes, own_tokens: Sequence[Bool[Tensor, "_ _t"]], truth: Truth, matches: Matches, temperature: float = 0.07
) -> Float[Tensor, " l"]:
    """How badly boxes find their tokens and tokens their boxes, the mean of both, by the number of objects, of each layer, in nats.

    Args:
        own_tokens: of each example's objects, in the order of the batch's tokens.
    Source: Kamath et al. 2021, equations 1 and 2. As in the authors' code, all that is right stays in the denominator, and the mean
        over it stands outside of the logarithm.
    """
    with torch.autocast(codes.query.device.type, enabled=False):
        scores = wide(codes.query) @ wide(codes.token).mT / temperature  # l b q t
    rows = scores[matches.layer, matches.example, matches.query]  # m t
    own = truth.matched(own_tokens, matches)
    candidates = rows
    if codes.present is not None:
        candidates = rows.masked_fill(~codes.present[matches.example], torch.finfo(rows.dtype).min)
    counts, right = own.to(rows), rows * own
    boxes = _contrast(candidates.logsumexp(-1), right.sum(-1), counts.sum(-1))
    place = matches.layer, matches.example
    of_token = scores.new_zeros(*scores.shape[:2], scores.shape[-1])  # l b t
    sums, num = (of_token.index_put(place, values, accumulate=True) for values in (right, counts))
    tokens = _contrast(scores.logsumexp(2), sums, num).sum((1, 2))
    return (per_object(boxes, matches, len(scores), truth.num) + tokens / max(1, truth.num)) / 2


def _contrast(everything: Float[Tensor, "*n"], right: Float[Tensor, "*n"], num: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The logarithm of all candidates' sum less the mean of the right ones; 0 where none is right."""
    return (everything - right / (num + SMALL)).masked_fill(num == 0, 0)


# ---- the whole caption ------------------------------------------------------------------------------------------------


def final_loss(
    final: Float[Tensor, "l b q"], wanted: Sequence[Bool[Tensor, " _"] | Float[Tensor, " _"]], truth: Truth, matches: Matches
) -> Float[Tensor, " l"]:
    """Binary cross-entropy of matched queries with whether their object is what the whole caption asks for, by the number of objects."""
    given = wide(final[matches.layer, matches.example, matches.query])
    entries = F.binary_cross_entropy_with_logits(given, truth.matched(wanted, matches).to(given), reduction="none")
    return per_object(entries, matches, len(final), truth.num)


def contrast_loss(picture: Float[Tensor, "b e"], caption: Float[Tensor, "b e"], temperature: float = 0.07) -> Float[Tensor, ""]:
    """How badly pictures find their captions among the batch's and captions their pictures, the mean of both, in nats.

    What it is for a batch does not follow from what it is for its parts: of a picture alone it is 0.

    Source: Oord et al. 2018, both ways.
    """
    with torch.autocast(picture.device.type, enabled=False):
        logits = F.normalize(wide(picture), dim=-1) @ F.normalize(wide(caption), dim=-1).mT / temperature
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.mT, own)) / 2


# ---- answers to questions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replies:
    """What each example's question asks for.

    Args:
        heads: names of the kinds of answers, in the order of the head that says which is asked for.
        kind: place among the heads; -1 where there is no answer.
        value: number of the answer in its head; 1 and 0 for yes and no.
    """

    heads: Sequence[str]
    kind: Int[Tensor, " b"]
    value: Int[Tensor, " b"]

    def asked(self) -> dict[str, Bool[Tensor, " b"]]:
        """Of which examples each head has an answer, and under `type` which have any."""
        return {"type": self.kind >= 0} | {name: self.kind == i for i, name in enumerate(self.heads)}


def reply_losses(output: Mapping[str, Tensor], replies: Replies) -> dict[str, Float[Tensor, ""]]:
    """Cross-entropy of each head over the examples that ask for its kind of answer, 0 where none does; and of `reply_type`, of the kinds.

    Args:
        output: under `reply_` and a head's name its logits (b c), or (b) where it says yes or no; without `reply_type` if there is
            but one kind.
    Source: Kamath et al. 2021, section 4.3.
    """
    return {f"reply_{name}": _head_loss(output[f"reply_{name}"], *told) for name, told in _told(output, replies).items()}


def reply_accuracies(output: Mapping[str, Tensor], replies: Replies) -> dict[str, Float[Tensor, ""]]:
    """Shares of right answers, under the losses' names; of a head that nobody asked, 1. `reply_total`: kind and answer are right."""
    found, total = {}, replies.asked()["type"]
    right = torch.zeros_like(total)
    for name, (asked, value) in _told(output, replies).items():
        logits = output[f"reply_{name}"]
        hit = asked & ((logits > 0 if logits.ndim == 1 else logits.argmax(-1)) == value)
        found[f"reply_{name}"] = _share(hit, asked)
        right, total = (right, total & hit) if name == "type" else (right | hit, total)
    return found | {"reply_total": _share(right & total, replies.asked()["type"])}


def reply_amounts(replies: Replies) -> dict[str, float]:
    """How many examples each of `reply_losses` is a mean over."""
    return {f"reply_{name}": float(asked.sum()) for name, asked in replies.asked().items()}


def _told(output: Mapping[str, Tensor], replies: Replies) -> dict[str, tuple[Bool[Tensor, " b"], Int[Tensor, " b"]]]:
    """For each head, which examples ask for it and what they should be told, 0 where they do not."""
    asked = {name: rows for name, rows in replies.asked().items() if name != "type" or "reply_type" in output}
    return {name: (rows, (replies.kind if name == "type" else replies.value).masked_fill(~rows, 0)) for name, rows in asked.items()}


def _head_loss(logits: Float[Tensor, "b ..."], asked: Bool[Tensor, " b"], value: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    told = wide(logits)
    if told.ndim == 1:
        entries = F.binary_cross_entropy_with_logits(told, value.to(told), reduction="none")
    else:
        entries = F.cross_entropy(told, value, reduction="none")
    return entries.masked_fill(~asked, 0).sum() / asked.sum().clamp_min(1)


def _share(hit: Bool[Tensor, " b"], among: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """1 of nothing."""
    return hit.sum() / among.sum() if among.any() else torch.ones((), device=hit.device)
