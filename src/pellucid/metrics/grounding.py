"""Numbers of text-conditioned detection: recall of phrases, precision of referring expressions, average precision of boxes of any kind.

A prediction has `boxes_xyxy` and `scores`, the surest first, and for phrases `token_probs`, how likely each box answers each token of
the caption, and `token_spans`, the characters of these. An example has `id` and `objects` (`box_xyxy`, `spans`), perhaps `phrases`
(`spans`, `boxes_xyxy`, `kind`), and `expression` where the whole caption asks for one box. Boxes are edges in pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int

from pellucid.errors import BadData
from pellucid.metrics.coco import coco_metrics
from pellucid.metrics.detections import Picture, picture_of
from pellucid.metrics.gathered import Memo
from pellucid.metrics.shares import Part, Share
from pellucid.metrics.voc import iou
from pellucid.task import Example, Metric

OVERLAP = 0.5  # from which a box is found
TOP = (1, 5, 10)  # boxes that are looked at, the best
ANY_KIND = "object"
NOTHING: dict[str, Any] = {"labels": [], "scores": [], "boxes_xyxy": []}
Rule = Literal["iou", "giou"]
RULES: tuple[Rule, ...] = ("iou", "giou")


# ---- metrics ------------------------------------------------------------------------------------------------------


def phrase_metrics() -> dict[str, Metric]:
    """Flickr30k's recall of phrases among the 1, 5, 10 best and all boxes, by any box of the entity and by one box around all of them.

    The boxes are ranked anew for each phrase, by their most likely token of it; of equal ones the surer box is the better. Phrases are
    the example's `phrases`, else the different `spans` of its objects; one without boxes does not count, one of whose tokens none was
    read is missed. `per_kind` tells the recall by kind of entity. Predictions of another program may have `phrase_boxes_xyxy`, for each
    phrase its boxes, the best first, in the place of `token_probs`.

    Source: Plummer et al. 2015, Flickr30k Entities; Kamath et al. 2021, MDETR, for the two protocols.
    """
    memo = Memo(recalled)
    places = [f"R@{k}" for k in TOP] + ["R_upper"]
    return {
        f"{prefix}{name}": Share(partial(_recall, protocol=i, place=place), memo)
        for i, prefix in enumerate(("", "merged_"))
        for place, name in enumerate(places)
    }


def referring_metrics(hit: Rule = "iou") -> dict[str, Metric]:
    """How often one of the 1, 5, 10 best boxes is what the expression asks for: IoU of .5 and more, and the same by GIoU.

    Boxes are ranked by `final_scores` where the prediction has them, else by `scores`; of equal ones the first is the better. Only
    examples with `expression` count, and of their objects, where these tell it, only those that are `final`; without any, they do not.
    `per_kind` tells them by the examples' `kind`.

    Args:
        hit: the rule whose numbers come first. The authors' program calls its GIoU precision too; it is the stricter.
    """
    memo = Memo(referred)
    ordered = sorted(RULES, key=lambda rule: rule != hit)
    return {
        f"{'' if rule == 'iou' else 'giou_'}P@{k}": Share(partial(_precision, rule=RULES.index(rule), place=place), memo)
        for rule in ordered
        for place, k in enumerate(TOP)
    }


def box_metrics(masks: bool = False) -> dict[str, Metric]:
    """COCO's numbers as if all objects were of one class: a box is right wherever an object is, whichever words it answers."""
    return coco_metrics(masks, read=of_any_kind)


# ---- phrases ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Recalled:
    """Which phrases of a caption are found, by protocol (any box, merged box) and number of best boxes (1, 5, 10, all).

    Args:
        tied: whether the order of equal scores decides it.
    """

    kinds: list[tuple[str, ...]]
    hit: Bool[np.ndarray, "p s k"]
    tied: Bool[np.ndarray, "p s k"]


@dataclass(frozen=True)
class Phrase:
    """An entity that a caption names, and where it is."""

    spans: list[tuple[int, int]]
    boxes_xyxy: Float[np.ndarray, "m 4"]
    kinds: tuple[str, ...]
    place: int


def recalled(prediction: Any, example: Example) -> Recalled:
    """The phrases of a pair, ranked.

    Raises:
        BadData: boxes that are not finite, a phrase without spans, probabilities that are not one per box and token, or none at all.
    """
    phrases = _phrases(example)
    hit, tied = (np.zeros((len(phrases), 2, len(TOP) + 1), dtype=bool) for _ in range(2))
    ranked = _ranked(prediction, example, phrases) if phrases else []
    for i, (phrase, (boxes, scores)) in enumerate(zip(phrases, ranked, strict=True)):
        around = np.concatenate([phrase.boxes_xyxy[:, :2].min(0), phrase.boxes_xyxy[:, 2:].max(0)])
        for protocol, sought in enumerate((phrase.boxes_xyxy, rearrange(around, "d -> 1 d"))):
            hit[i, protocol], tied[i, protocol] = among_best(iou(boxes, sought).max(1) >= OVERLAP, scores)
    return Recalled([phrase.kinds for phrase in phrases], hit, tied)


def _phrases(example: Example) -> list[Phrase]:
    """The phrases that have boxes, boxes checked."""
    name = example.get("id", "without id")
    listed = example["phrases"] if "phrases" in example else _named(example.get("objects", ()))
    boxes = [(i, box) for i, phrase in enumerate(listed) for box in phrase["boxes_xyxy"]]
    objects = [{"id": f"{j} of phrase {i}", "label": ANY_KIND, "box_xyxy": box} for j, (i, box) in enumerate(boxes)]
    checked = picture_of(NOTHING, {"id": name, "classes": (ANY_KIND,), "objects": objects}).objects.boxes_xyxy
    owner = np.array([i for i, _ in boxes], dtype=np.int64)
    found = []
    for i, phrase in enumerate(listed):
        if not phrase.get("spans"):
            raise BadData(f"example {name!r}: phrase {i} has no spans; expected the characters of the caption that it is made of")
        kinds = tuple(str(phrase["kind"]).split("/")) if phrase.get("kind") else ()
        if (owner == i).any():
            found.append(Phrase([(int(b), int(e)) for b, e in phrase["spans"]], checked[owner == i], kinds, i))
    return found


def _named(objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Objects that the same words name, as one phrase; those that no words name, and crowds, are in none."""
    found: dict[tuple[tuple[int, int], ...], list[Any]] = {}
    for one in objects:
        spans = tuple(sorted((int(b), int(e)) for b, e in one.get("spans", ())))
        if spans and not one.get("crowd"):
            found.setdefault(spans, []).append(one.get("box_xyxy"))
    return [{"spans": spans, "boxes_xyxy": boxes} for spans, boxes in found.items()]


def _ranked(prediction: Any, example: Example, phrases: Sequence[Phrase]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each phrase the boxes, best first, and their scores."""
    if isinstance(prediction, Mapping) and "phrase_boxes_xyxy" in prediction:
        return _given_order(prediction["phrase_boxes_xyxy"], example, phrases)
    boxes = of_any_kind(prediction, example).found.boxes_xyxy
    probs, spans = _tokens(prediction, example, len(boxes))
    found = []
    for phrase in phrases:
        scores = phrase_scores(probs, owned(spans, phrase.spans))
        order = np.argsort(-scores, kind="stable")
        found.append((boxes[order], scores[order]))
    return found


def _given_order(lists: Any, example: Example, phrases: Sequence[Phrase]) -> list[tuple[np.ndarray, np.ndarray]]:
    listed = len(example["phrases"]) if "phrases" in example else len(phrases)
    if len(lists) != listed:
        raise BadData(f"prediction of example {_name(example)} has boxes of {len(lists)} phrases; the caption has {listed}")
    found = []
    for phrase in phrases:
        best = lists[phrase.place]
        ranked = {"boxes_xyxy": best, "scores": [-float(i) for i in range(len(best))]}
        made = of_any_kind(ranked, {"id": example.get("id", "without id")}).found
        found.append((made.boxes_xyxy, made.scores))
    return found


def _tokens(prediction: Mapping[str, Any], example: Example, num_boxes: int) -> tuple[Float[np.ndarray, "n t"], Int[np.ndarray, "t 2"]]:
    missing = [key for key in ("token_probs", "token_spans") if key not in prediction]
    if missing:
        raise BadData(f"prediction of example {_name(example)} has no {', '.join(missing)}; phrases are ranked by the words of each box")
    listed = [(int(begin), int(end)) for begin, end in prediction["token_spans"]]
    spans = np.array(listed, dtype=np.int64) if listed else np.empty((0, 2), dtype=np.int64)
    try:
        probs = np.asarray(prediction["token_probs"], dtype=np.float64) if num_boxes else np.empty((0, len(spans)))
    except ValueError:  # rows of different lengths
        probs = np.empty(0)
    if probs.shape != (num_boxes, len(spans)) or not np.isfinite(probs).all():
        raise BadData(
            f"prediction of example {_name(example)} has token_probs that are not {num_boxes} rows, one of each box, "
            f"of {len(spans)} finite numbers, one of each token"
        )
    return probs, spans


def owned(token_spans: Int[np.ndarray, "t 2"], spans: Sequence[Sequence[int]]) -> Bool[np.ndarray, " t"]:
    """Which tokens have a character in one of the spans; special tokens have no characters."""
    begin, end = token_spans[:, 0], token_spans[:, 1]
    inside = [(begin < high) & (end > low) & (end > begin) for low, high in spans]
    return np.logical_or.reduce(inside) if inside else np.zeros(len(token_spans), dtype=bool)


def phrase_scores(token_probs: Float[np.ndarray, "n t"], own: Bool[np.ndarray, " t"]) -> Float[np.ndarray, " m"]:
    """Of each box the probability of the likeliest token of the phrase; nothing where the phrase has no token."""
    return token_probs[:, own].max(1) if own.any() else np.empty(0)


def _recall(row: Recalled, protocol: int, place: int) -> list[Part]:
    hit, tied = row.hit[:, protocol, place].tolist(), row.tied[:, protocol, place].tolist()
    return [Part(float(right), 1.0, kinds, tie) for right, kinds, tie in zip(hit, row.kinds, tied, strict=True)]


# ---- expressions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Referred:
    """Whether an expression is found, by rule (IoU, GIoU) and number of best boxes (1, 5, 10); no rows of what does not count."""

    kinds: tuple[str, ...]
    hit: Bool[np.ndarray, "n s k"]
    tied: Bool[np.ndarray, "n s k"]


def referred(prediction: Any, example: Example) -> Referred:
    """The expression of a pair, boxes ranked.

    Raises:
        BadData: boxes or scores that are not finite, `final_scores` that are not one per box.
    """
    wanted = _wanted(example)
    kinds = (str(example["kind"]),) if example.get("kind") else ()
    if not wanted:
        return Referred(kinds, *(np.zeros((0, len(RULES), len(TOP)), dtype=bool) for _ in range(2)))
    picture = of_any_kind(prediction, {**example, "objects": wanted})
    boxes, objects, scores = picture.found.boxes_xyxy, picture.objects.boxes_xyxy, picture.found.scores
    if "final_scores" in prediction:
        scores = np.asarray(prediction["final_scores"], dtype=np.float64)
        if scores.shape != (len(boxes),) or not np.isfinite(scores).all():
            raise BadData(f"prediction of example {_name(example)} has final_scores that are not one finite number for each of its boxes")
    order = np.argsort(-scores, kind="stable")
    told = [among_best(overlap(boxes, objects)[order].max(1) >= OVERLAP, scores[order]) for overlap in (iou, generalized_iou)]
    hit, tied = (rearrange(np.stack(each), "s k -> 1 s k")[..., : len(TOP)] for each in zip(*told, strict=True))
    return Referred(kinds, hit, tied)


def _wanted(example: Example) -> list[Mapping[str, Any]]:
    """What the expression asks for; nothing of another example."""
    objects = list(example.get("objects", ())) if example.get("expression") else []
    told = any("final" in one for one in objects)
    return [one for one in objects if one.get("final") or not told]


def _precision(row: Referred, rule: int, place: int) -> list[Part]:
    return [Part(float(hit[rule, place]), 1.0, row.kinds, bool(tied[rule, place])) for hit, tied in zip(row.hit, row.tied, strict=True)]


# ---- both ---------------------------------------------------------------------------------------------------------


def of_any_kind(prediction: Any, example: Example, masks: bool = False) -> Picture:
    """A pair, checked, as if all objects were of one class; two captions of a picture are two pictures.

    Args:
        masks: objects and detections must have masks too.
    Raises:
        BadData: no finite boxes and scores, a negative side, a mask of another size; with the example and the place.
    """
    known: dict[str, Any] = {key: example[key] for key in ("height", "width") if key in example}
    objects = [{**{k: v for k, v in one.items() if k != "id"}, "label": ANY_KIND} for one in example.get("objects", ())]
    told = {**prediction, "labels": [ANY_KIND] * len(prediction.get("boxes_xyxy", ()))} if isinstance(prediction, Mapping) else prediction
    return picture_of(told, {"id": example.get("id", "without id"), "classes": (ANY_KIND,), "objects": objects, **known}, masks)


def among_best(right: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> tuple[Bool[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
    """Whether one of the best 1, 5, 10 and of all is right, and whether the order of equal scores decides that.

    Args:
        right: of a ranking, best first.
        scores: of the same; falling.
    """
    hit, tied = np.zeros(len(TOP) + 1, dtype=bool), np.zeros(len(TOP) + 1, dtype=bool)
    hit[-1] = right.any()
    for place, k in enumerate(TOP):
        hit[place] = right[:k].any()
        if k < len(right) and scores[k] == scores[k - 1]:
            above, level = right[scores > scores[k - 1]], right[scores == scores[k - 1]]
            tied[place] = not above.any() and level.any() and (~level).sum() >= k - len(above)
    return hit, tied


def generalized_iou(found: Float[np.ndarray, "n 4"], objects: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """IoU less the share of the smallest box around both that neither fills, -1 to 1.

    Source: Rezatofighi et al. 2019.
    """
    a, b = rearrange(found, "n d -> n 1 d"), rearrange(objects, "m d -> 1 m d")
    both = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(min=0).prod(-1)
    either = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    around = (np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])).prod(-1)
    empty = np.divide(around - either, around, out=np.zeros_like(both), where=around > 0)
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0) - empty


def _name(example: Example) -> str:
    return repr(example.get("id", "without id"))
