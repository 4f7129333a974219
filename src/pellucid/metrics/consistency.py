"""Whether the boxes and the map that a network gives of one picture say the same; no truth is needed.

Each surely detected box is compared with the smallest box around the pixels of its class inside it: a box on nothing, or around much more
than the map has there, lowers the first number. Pixels of an object class in no box of that class lower the second.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.metrics.detections import picture_of
from pellucid.metrics.gathered import Gathered, Memo
from pellucid.metrics.segmentation import told_map
from pellucid.metrics.voc import iou
from pellucid.task import Example, Metric

THRESHOLD = 0.5  # score from which a detection is taken at its word
NUMBERS = ("consistency", "pixels_in_boxes")


def consistency_metrics(threshold: float = THRESHOLD) -> dict[str, Metric]:
    """`consistency`, the mean IoU of boxes and of what the map has in them, and `pixels_in_boxes`, the share of object pixels in boxes."""
    memo = Memo(Comparing(threshold))
    return {name: Consistency(name, threshold, memo) for name in NUMBERS}


@dataclass(frozen=True)
class Agreement:
    """Of one picture: boxes compared and their summed IoU, pixels of object classes and how many of them lie in a box of their class."""

    boxes: int
    summed: float
    pixels: int
    covered: int


class Consistency(Gathered[Agreement]):
    """One of the two numbers, over all boxes, or pixels, of the set.

    Args:
        name: `consistency` or `pixels_in_boxes`.
        threshold: the score from which a detection counts.
        memo: shared by numbers of the same pairs.
    Raises:
        ValueError: there is no such number.
    """

    def __init__(self, name: str = "consistency", threshold: float = THRESHOLD, memo: Memo[Agreement] | None = None):
        if name not in NUMBERS:
            raise ValueError(f"no number {name!r}; there are {', '.join(NUMBERS)}")
        self.name = name
        super().__init__(memo or Memo(Comparing(threshold)))

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities."""
        boxes = self.name == "consistency"
        pairs = np.array([(row.summed, row.boxes) if boxes else (row.covered, row.pixels) for row in self.rows], dtype=np.float64)
        part, whole = (weights @ pairs).T
        return np.divide(part, whole, out=np.full(len(weights), np.nan), where=whole > 0)


class Comparing:
    """The agreement of a prediction with itself."""

    def __init__(self, threshold: float):
        self.threshold = threshold

    def __call__(self, prediction: Any, example: Example) -> Agreement:
        """Of the boxes with the threshold's score and more, and of the map."""
        # the objects of the truth play no part: there may be none
        found = picture_of(prediction, {**example, "objects": []}).found
        sure = found.scores >= self.threshold
        return agreement(found.boxes_xyxy[sure], found.label[sure] + 1, told_map(prediction, example))


def agreement(boxes: Float[np.ndarray, "n 4"], index: Int[np.ndarray, " n"], told: Int[np.ndarray, "h w"]) -> Agreement:
    """How well boxes agree with a map; a pixel lies in a box if its middle does.

    Args:
        index: of each box, its class in the map.
    """
    covered: Bool[np.ndarray, "h w"] = np.zeros(told.shape, dtype=bool)
    summed = 0.0
    for box, one in zip(boxes, index.tolist(), strict=True):
        left, top, right, bottom = np.ceil(box - 0.5).astype(np.int64).clip(min=0).tolist()
        here = told[top:bottom, left:right] == one
        covered[top:bottom, left:right] |= here
        if here.any():
            down, across = np.flatnonzero(here.any(1)), np.flatnonzero(here.any(0))
            tight = [[left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1]]
            summed += float(iou(box.reshape(1, 4), np.array(tight, dtype=np.float64))[0, 0])
    return Agreement(len(boxes), summed, int((told > 0).sum()), int(covered.sum()))
