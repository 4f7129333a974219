"""Numbers for patches that are to be found again: how many are, how well, and what the queries say of their features.

A prediction has `boxes_xyxy` and, one entry per patch, `best` (the place of the patch's surest box among them), `patches_xyxy` (where it
was cut out) and, where features are reconstructed, `cosines` (of what the query of that box says of the patch and what the backbone says).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from pellucid.errors import BadData
from pellucid.metrics.paired import once
from pellucid.task import Example, Metric

NUMBERS = ("recall_iou50", "mean_iou", "feature_cosine")


def patch_metrics() -> dict[str, Metric]:
    """All of `NUMBERS`, recall first."""
    return {name: PatchNumber(name) for name in NUMBERS}


class PatchNumber:
    """A mean over all patches of all pictures.

    Args:
        name: `recall_iou50` is the share of patches whose box overlaps by half or more, `mean_iou` the overlap (0 to 1),
            `feature_cosine` the cosine of the features (-1 to 1), NaN where they are not reconstructed.
    Raises:
        ValueError: there is no such number.
    """

    higher_is_better = True

    def __init__(self, name: str = "recall_iou50"):
        if name not in NUMBERS:
            raise ValueError(f"no number {name!r}; there are {', '.join(NUMBERS)}")
        self.name = name
        self.rows: list[tuple[float, int]] = []  # sum over a picture's patches, and their count

    def update(self, prediction: Any, example: Example) -> None:
        """Counts one picture.

        Raises:
            BadData: it is not known where its patches were cut out.
        """
        values = self._values(prediction, example)
        self.rows.append((float(values.sum()), len(values)))

    def _values(self, prediction: Mapping[str, Any], example: Example) -> Float[np.ndarray, " p"]:
        if self.name == "feature_cosine":
            return np.asarray(prediction.get("cosines", ()), dtype=np.float64)
        if "patches_xyxy" not in prediction:
            raise BadData(f"{example.get('id', 'an example')}: its patches come from elsewhere, so nobody knows where they should be found")
        overlap = ious([prediction["boxes_xyxy"][row] for row in prediction["best"]], prediction["patches_xyxy"])
        return overlap if self.name == "mean_iou" else (overlap >= 0.5).astype(np.float64)

    def merge(self, other: "PatchNumber") -> None:
        """Appends what another has gathered."""
        self.rows += other.rows

    def compute(self) -> float:
        """The mean so far; NaN of no patches."""
        return float(self.resample(once(len(self.rows)))[0]) if self.rows else float("nan")

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The mean for every row of multiplicities, pictures in the order of the updates."""
        sums, counts = np.asarray(self.rows, dtype=np.float64).reshape(-1, 2).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ sums) / (weights @ counts)


def ious(found: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]]) -> Float[np.ndarray, " p"]:
    """Intersection over union of boxes that stand opposite each other, both xyxy; 0 where both have no area."""
    a, b = (np.asarray(boxes, dtype=np.float64).reshape(-1, 4) for boxes in (found, wanted))
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = sides.clip(0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    return shared / union.clip(np.finfo(np.float64).tiny)
