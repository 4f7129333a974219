"""LVIS's average precision of boxes, fixed: each class has the same number of detections in the whole set, whatever a picture has.

An example asks one picture for one class: its `category`, or else its caption, with `frequency` (`r`, `c` or `f`: rare, common, frequent)
and the class's `objects`, none where the class is known to be absent. `exhaustive` is False where not all objects are marked: then a
detection that finds none is no error. `listed` is False where nobody looked for the class: then detections are neither right nor wrong,
but take places of the class. A prediction has `boxes_xyxy` and `scores`.

Source: Dave et al. 2021, Evaluating Large-Vocabulary Object Detectors; Gupta et al. 2019, LVIS.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.errors import BadData
from pellucid.metrics.coco_evaluator import RECALLS
from pellucid.metrics.curves import interpolated
from pellucid.metrics.gathered import Gathered, Memo
from pellucid.metrics.grounding import of_any_kind
from pellucid.metrics.paired import once
from pellucid.metrics.voc import iou
from pellucid.task import Example, Metric

OVERLAPS = np.linspace(0.5, 0.95, 10)
MOST = 10_000  # detections of a class in the whole set, the best
CELLS = 8_000_000  # of detections x resamples held at once
GROUPS = {"r": "rare", "c": "common", "f": "frequent"}


@dataclass(frozen=True)
class View:
    """Which classes, and which overlaps, a number is the mean of; None for all."""

    group: str | None = None
    overlap: int | None = None


NUMBERS = {"AP": View(), "AP50": View(overlap=0), "AP75": View(overlap=5), **{f"AP{group}": View(group=group) for group in GROUPS}}


def fixed_metrics(most: int = MOST) -> dict[str, Metric]:
    """`fixed_AP`, at IoU .5 (`fixed_AP50`) and .75, of rare (`fixed_APr`), common and frequent classes.

    Args:
        most: detections of a class that count, the best.
    """
    memo = Memo(asked)
    return {f"fixed_{name}": FixedAveragePrecision(name, most, memo) for name in NUMBERS}


@dataclass(frozen=True, eq=False)
class Asked:
    """What one picture was answered with when asked for one class, the surest first.

    Args:
        places: of the detections that find an object at some overlap.
        hit: at which of the overlaps they do.
        firm: a detection without an object is wrong.
        positives: objects to be found.
    """

    key: int | str
    category: str
    group: str | None
    scores: Float[np.ndarray, " n"]
    places: Int[np.ndarray, " k"]
    hit: Bool[np.ndarray, "t k"]
    firm: bool
    positives: int


class FixedAveragePrecision(Gathered[Asked]):
    """Mean over classes of the average precision among the class's best detections of all pictures.

    A class without objects takes no part. Of equal scores the example that comes first by id counts first.

    Args:
        name: of `AP`, `AP50`, `AP75`, `APr`, `APc`, `APf`.
        most: detections of a class that count.
        memo: shared by numbers of the same pairs.
    Raises:
        ValueError: there is no such number.
    """

    def __init__(self, name: str = "AP", most: int = MOST, memo: Memo[Asked] | None = None):
        if name not in NUMBERS:
            raise ValueError(f"no number {name!r}; there are {', '.join(NUMBERS)}")
        self.name, self.most = name, most
        super().__init__(memo or Memo(asked))

    def per_class(self) -> dict[str, float]:
        """Average precision of each class; NaN of one without objects."""
        found = self._curves(once(len(self.rows))) if self.rows else {}
        return {category: float(values.mean(0)[0]) for category, (_, values) in found.items()}

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean for every row of multiplicities; a class without objects in a row takes no part in it."""
        view = NUMBERS[self.name]
        listed = [values for group, values in self._curves(weights).values() if view.group in (None, group)]
        if not listed:
            return np.full(len(weights), np.nan)
        each = np.stack([values.mean(0) if view.overlap is None else values[view.overlap] for values in listed])  # c r
        num = (~np.isnan(each)).sum(0)
        return np.divide(np.nansum(each, 0), num, out=np.full(len(weights), np.nan), where=num > 0)

    def _curves(self, weights: np.ndarray) -> dict[str, tuple[str | None, Float[np.ndarray, "t r"]]]:
        """Group and average precision of each class."""
        key = (*self.rows, self.most, weights.shape, weights.tobytes())
        return self.memo.once("curves", key, lambda: self._measure(weights))

    def _measure(self, weights: np.ndarray) -> dict[str, tuple[str | None, np.ndarray]]:
        found = {}
        for category, places in _by_class(self.rows).items():
            rows = [self.rows[i] for i in places]
            size = sum(len(row.scores) for row in rows)
            step = max(1, CELLS // max(size, 1))
            drawn = weights[:, places].T  # n r
            parts = [precisions(rows, drawn[:, start : start + step], self.most) for start in range(0, len(weights), step)]
            found[category] = rows[0].group, np.concatenate(parts, axis=1)
        return found


def _by_class(rows: Sequence[Asked]) -> dict[str, list[int]]:
    """Places of the rows of each class, in the order of the examples' ids."""
    found: dict[str, list[int]] = {}
    known: dict[int | str, Asked] = {}
    for i in sorted(range(len(rows)), key=lambda i: (isinstance(rows[i].key, str), rows[i].key)):
        row = rows[i]
        if row.key in known:
            raise BadData(f"example {row.key!r} is there twice; count each once")
        first = rows[found.setdefault(row.category, [i])[0]]
        if first.group != row.group:
            raise BadData(f"class {row.category!r} is of frequency {first.group!r} in example {first.key!r}, {row.group!r} in {row.key!r}")
        known[row.key] = row
        if first is not row:
            found[row.category].append(i)
    return found


def precisions(rows: Sequence[Asked], drawn: Float[np.ndarray, "n r"], most: int) -> Float[np.ndarray, "t r"]:
    """Average precision of one class at each overlap, for every column of multiplicities; NaN where there are no objects."""
    total = np.array([row.positives for row in rows], dtype=np.float64) @ drawn
    if not total.any():
        return np.full((len(OVERLAPS), drawn.shape[1]), np.nan)
    start = np.cumsum([0] + [len(row.scores) for row in rows])
    owner = np.repeat(np.arange(len(rows)), np.diff(start))
    order = np.argsort(-np.concatenate([row.scores for row in rows]), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    reached = np.minimum(np.cumsum(drawn[owner[order]], axis=0), most)  # of the places that count, how many are taken
    taken = np.diff(reached, axis=0, prepend=0)  # n r
    firm = np.array([row.firm for row in rows])[owner[order]]
    seen = reached if firm.all() else np.cumsum(taken * firm.reshape(-1, 1), axis=0)
    places = rank[np.concatenate([row.places + first for row, first in zip(rows, start.tolist(), strict=False)])]
    hit, lead = np.concatenate([row.hit for row in rows], axis=1), np.argsort(places)
    places, hit = places[lead], hit[:, lead]
    found = np.empty((len(OVERLAPS), drawn.shape[1]))
    for t, right in enumerate(hit):
        mine = places[right]
        gained = taken[mine]
        more = np.cumsum(gained * ~firm[mine].reshape(-1, 1), axis=0)
        found[t] = interpolated(np.cumsum(gained, axis=0), seen[mine] + more, total, RECALLS)
    return np.where(total > 0, found, np.nan)


# ---- reading ------------------------------------------------------------------------------------------------------


def asked(prediction: Any, example: Example) -> Asked:
    """A pair, checked and matched.

    Raises:
        BadData: no class, a frequency that is none of r, c, f, boxes or scores that are not finite.
    """
    picture = of_any_kind(prediction, example)
    category, group = example.get("category", example.get("caption")), example.get("frequency")
    if not isinstance(category, str):
        raise BadData(f"example {picture.name!r} names no class that is asked for; expected a category, or a caption")
    if group is not None and group not in GROUPS:
        raise BadData(
            f"example {picture.name!r} has the frequency {group!r}; expected {', '.join(f'{k} ({v})' for k, v in GROUPS.items())}"
        )
    listed = bool(example.get("listed", True))
    objects = picture.objects.boxes_xyxy[~picture.objects.crowd] if listed else np.empty((0, 4))
    order = np.argsort(-picture.found.scores, kind="stable")
    places, hit = matched(picture.found.boxes_xyxy[order], objects)
    firm = listed and bool(example.get("exhaustive", True))
    return Asked(picture.key, category, group, picture.found.scores[order], places, hit, firm, len(objects))


def matched(found: Float[np.ndarray, "n 4"], objects: Float[np.ndarray, "m 4"]) -> tuple[Int[np.ndarray, " k"], Bool[np.ndarray, "t k"]]:
    """Places of the detections that find an object, and at which overlaps: each takes the free object that it covers best.

    Args:
        found: the surest first.
        objects: of equally covered ones the last is taken, as by LVIS's tool.
    """
    covered = iou(found, objects)[:, ::-1] if len(objects) else np.zeros((len(found), 1))
    near = np.flatnonzero(covered.max(1) >= OVERLAPS[0])
    free = np.ones((len(OVERLAPS), covered.shape[1]), dtype=bool)
    hit, each = np.zeros((len(OVERLAPS), len(near)), dtype=bool), np.arange(len(OVERLAPS))
    for j, i in enumerate(near.tolist()):
        left = np.where(free, covered[i], -1.0)  # t m
        best = left.argmax(1)
        hit[:, j] = left[each, best] >= OVERLAPS
        free[each[hit[:, j]], best[hit[:, j]]] = False
    some = hit.any(0)
    return near[some], hit[:, some]
