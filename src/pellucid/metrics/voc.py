"""PASCAL VOC's average precision of boxes: IoU above .5, difficult objects neither to be found nor errors.

Our boxes are edges (a pixel of the file's `xmin` begins at xmin - 1), so that plain IoU is the number of VOC's tool, which adds one to
every width and height because its corners are pixels that belong to the box.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.metrics.curves import interpolated, under
from pellucid.metrics.detections import Picture, in_order, picture_of
from pellucid.metrics.gathered import Gathered, Memo
from pellucid.metrics.paired import once
from pellucid.task import Example, Metric

IOU = 0.5
RECALLS = np.arange(0, 1.1, 0.1)  # floats as VOC's evaluators in Python have them: 3 of 10 do not reach the fourth, 0.30000000000000004


def voc_metrics(read: Callable[[Any, Example], Picture] = picture_of) -> dict[str, Metric]:
    """VOC's two numbers: precision at eleven recalls (until 2009) and the area under the curve (from 2010).

    Args:
        read: what of a pair is measured.
    """
    memo = Memo(Judging(read))
    return {"voc_AP50_11point": VocAveragePrecision(True, memo), "voc_AP50": VocAveragePrecision(False, memo)}


@dataclass(frozen=True, eq=False)
class Judged:
    """A picture's detections, each right, wrong or (having found a difficult object) neither.

    Args:
        positives: objects that count, per class.
    """

    picture: Picture
    hit: Bool[np.ndarray, " n"]
    counted: Bool[np.ndarray, " n"]
    positives: Int[np.ndarray, " c"]


class VocAveragePrecision(Gathered[Judged]):
    """Average precision of each class that has objects, averaged.

    A class without objects takes no part. Of equal scores the picture that comes first by number or id counts first.

    Args:
        eleven: precision at recall 0, .1 ... 1 instead of the area.
        memo: shared by numbers of the same pairs.
    """

    def __init__(self, eleven: bool = False, memo: Memo[Judged] | None = None):
        self.eleven = eleven
        super().__init__(memo or Memo(Judging(picture_of)))

    def per_class(self) -> dict[str, float]:
        """Average precision of each class; NaN of one without objects."""
        if not self.rows:
            return {}
        return dict(zip(self.rows[0].picture.classes, self._by_class(once(len(self.rows)))[:, 0].tolist(), strict=True))

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean for every row of multiplicities; a class without objects in a row takes no part in it."""
        found = self._by_class(weights)
        num = (~np.isnan(found)).sum(0)
        return np.divide(np.nansum(found, 0), num, out=np.full(len(weights), np.nan), where=num > 0)

    def _by_class(self, weights: np.ndarray) -> Float[np.ndarray, "c r"]:
        order = in_order([row.picture for row in self.rows])
        rows, drawn = [self.rows[i] for i in order], weights[:, order].T  # n r
        made = [row.picture.found for row in rows]
        label, scores = (np.concatenate(parts) for parts in ([m.label for m in made], [m.scores for m in made]))
        hit, counted = (np.concatenate(parts) for parts in ([row.hit for row in rows], [row.counted for row in rows]))
        picture = np.repeat(np.arange(len(rows)), [len(m.label) for m in made])
        totals = np.stack([row.positives for row in rows], axis=1) @ drawn  # c r
        found = np.full(totals.shape, np.nan)
        ranked = np.argsort(-scores, kind="stable")
        for c in np.flatnonzero(totals.any(1)).tolist():
            places = ranked[(label[ranked] == c) & counted[ranked]]
            here = drawn[picture[places]]
            seen, hits = np.cumsum(here, axis=0), np.cumsum(here * hit[places].reshape(-1, 1), axis=0)
            right = hit[places]
            values = average_precision(hits[right], seen[right], totals[c], self.eleven)
            found[c] = np.where(totals[c] > 0, values, np.nan)
        return found


def average_precision(
    hits: Float[np.ndarray, "p r"], seen: Float[np.ndarray, "p r"], total: Float[np.ndarray, " r"], eleven: bool = False
) -> Float[np.ndarray, " r"]:
    """VOC's average precision of a ranking, for every row of multiplicities.

    Args:
        hits: how many are right down to each place.
        seen: how many count down to it.
        total: how many are to be found.
        eleven: precision at recall 0, .1 ... 1 instead of the area under the curve.
    """
    return interpolated(hits, seen, total, RECALLS) if eleven else under(hits, seen, total)


class Judging:
    """A pair's detections, judged."""

    def __init__(self, read: Callable[[Any, Example], Picture]):
        self.read = read

    def __call__(self, prediction: Any, example: Example) -> Judged:
        """What `judged` says of what is read."""
        return judged(self.read(prediction, example))


def judged(picture: Picture) -> Judged:
    """Each detection looks at the object of its class that it covers best; of those above IoU .5 the strongest finds it."""
    objects, found = picture.objects, picture.found
    hit, counted = np.zeros(len(found.label), dtype=bool), np.ones(len(found.label), dtype=bool)
    sure = ~objects.difficult
    positives = np.bincount(objects.label[sure], minlength=len(picture.classes))
    if len(objects.label) and len(found.label):
        covered = np.where(_outer(found.label, objects.label, np.equal), iou(found.boxes_xyxy, objects.boxes_xyxy), 0)
        best = covered.argmax(1)
        claims = np.flatnonzero(covered.max(1) > IOU)
        claims = claims[np.argsort(-found.scores[claims], kind="stable")]
        counted[claims[~sure[best[claims]]]] = False
        claims = claims[sure[best[claims]]]
        _, first = np.unique(best[claims], return_index=True)
        hit[claims[first]] = True
    return Judged(picture, hit, counted, positives)


def iou(found: Float[np.ndarray, "n 4"], objects: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Intersection over union of boxes given by their edges; 0 for two boxes without area."""
    low, high = (_outer(found[:, part], objects[:, part], op) for part, op in ((slice(2), np.maximum), (slice(2, 4), np.minimum)))
    both = (high - low).clip(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (found, objects)]
    either = _outer(areas[0], areas[1], np.add) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def _outer(rows: np.ndarray, columns: np.ndarray, op: Any) -> np.ndarray:
    """An operation on each row with each column; further axes are kept."""
    return op(np.expand_dims(rows, 1), np.expand_dims(columns, 0))
