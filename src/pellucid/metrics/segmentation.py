"""Segmentation by classes: how well each pixel is told, from one confusion matrix over a whole set, at the pictures' own size.

A prediction's `map` holds per pixel 0 for background and k for the k-th class: an array, or its run lengths (`pack_map`). The classes are
the example's, unless the prediction names its own as `classes`. Where the example's map says 255 nobody knows, and nothing counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from pellucid.errors import BadData
from pellucid.metrics.gathered import Gathered, Memo
from pellucid.metrics.paired import once
from pellucid.task import Example, Metric

VOID = 255
NUMBERS = ("mIoU", "pixel_accuracy", "class_accuracy")
BACKGROUND = "background"

Truth = Callable[[Example], UInt8[np.ndarray, "h w"] | None]  # an example's map, None where it has none


def segmentation_metrics(truth: Truth) -> dict[str, Metric]:
    """Mean IoU, the share of pixels that are told right, and the mean of that share over classes.

    Args:
        truth: reads an example's map; a function of a module, so that processes can hand metrics on.
    """
    memo = Memo(Tallying(truth))
    return {name: MapNumber(name, truth, memo) for name in NUMBERS}


@dataclass(frozen=True, eq=False)
class Counts:
    """One picture's confusion matrix, of which the places with pixels are kept: true class * number of classes + class told.

    Args:
        classes: without the background.
    """

    classes: tuple[str, ...]
    places: Int[np.ndarray, " m"]
    pixels: Int[np.ndarray, " m"]


class MapNumber(Gathered[Counts]):
    """One of the numbers; a picture without a map of the truth counts nothing.

    A class that no pixel has and none is told to have takes no part in a mean; the background is a class.

    Args:
        name: of `mIoU`, `pixel_accuracy`, `class_accuracy`.
        truth: as of `segmentation_metrics`.
        memo: shared by numbers of the same pairs.
    Raises:
        ValueError: there is no such number.
    """

    def __init__(self, name: str, truth: Truth, memo: Memo[Counts] | None = None):
        if name not in NUMBERS:
            raise ValueError(f"no number {name!r}; there are {', '.join(NUMBERS)}")
        self.name = name
        super().__init__(memo or Memo(Tallying(truth)))

    def per_class(self) -> dict[str, float]:
        """IoU of each class, the background first (of `class_accuracy` the share of its pixels); NaN of one that was not met."""
        if not self.rows:
            return {}
        table = self.confusion()
        found = recalls(table) if self.name == "class_accuracy" else ious(table)
        return dict(zip((BACKGROUND, *self.rows[0].classes), found.tolist(), strict=True))

    def confusion(self) -> Float[np.ndarray, "c c"]:
        """Pixels by true class and class told, over all pictures."""
        return self._confusions(once(len(self.rows)))[0]

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities."""
        tables = self._confusions(weights)
        if self.name == "pixel_accuracy":
            return _share(np.trace(tables, axis1=1, axis2=2), tables.sum((1, 2)))
        found = ious(tables) if self.name == "mIoU" else recalls(tables)
        met = ~np.isnan(found)
        return _share(np.nansum(found, 1), met.sum(1))

    def _confusions(self, weights: np.ndarray) -> Float[np.ndarray, "r c c"]:
        classes = self.rows[0].classes
        if any(row.classes != classes for row in self.rows):
            raise BadData("examples have different classes; measure them apart")
        num = len(classes) + 1
        found = np.zeros((len(weights), num * num))
        for row, drawn in zip(self.rows, weights.T, strict=True):
            found[:, row.places] += np.multiply.outer(drawn, row.pixels)
        return found.reshape(-1, num, num)


def ious(confusion: Float[np.ndarray, "*r c c"]) -> Float[np.ndarray, "*r c"]:
    """Of each class the pixels told right over all that have it or are told to; NaN where there are none."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _share(right, confusion.sum(-1) + confusion.sum(-2) - right)


def recalls(confusion: Float[np.ndarray, "*r c c"]) -> Float[np.ndarray, "*r c"]:
    """Of each class the share of its pixels that are told right; NaN where it has none."""
    return _share(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


# ---- one picture --------------------------------------------------------------------------------------------------


class Tallying:
    """Counts of a pair."""

    def __init__(self, truth: Truth):
        self.truth = truth

    def __call__(self, prediction: Any, example: Example) -> Counts:
        """The picture's counts; none where the example has no map.

        Raises:
            BadData: no map, one of another size, an index that is no class.
        """
        name = name_of(example)
        if "classes" not in example:
            raise BadData(f"example {name!r} has no classes; a map is measured against those of its example")
        classes = tuple(example["classes"])
        known = self.truth(example)
        if known is None:
            return Counts(classes, np.zeros(0, np.int64), np.zeros(0, np.int64))
        made = told_map(prediction, example)
        if made.shape != known.shape:
            raise BadData(f"prediction of example {name!r} is a map of {made.shape}, the example of {known.shape}; expected the same")
        num = len(classes) + 1
        counted = known != VOID
        if counted.any() and known[counted].max() >= num:
            raise BadData(f"example {name!r} has a pixel of class {known[counted].max()}; there are {len(classes)}")
        found = np.bincount(known[counted].astype(np.int64) * num + made[counted], minlength=num * num)
        places = np.flatnonzero(found)
        return Counts(classes, places, found[places])


def told_map(prediction: Any, example: Example) -> Int[np.ndarray, "h w"]:
    """What a prediction says of each pixel, in the order of the example's classes.

    Raises:
        BadData: no map, or an index or a class of it that the example does not know.
    """
    says = f"prediction of example {name_of(example)!r}"
    given = prediction.get("map") if isinstance(prediction, Mapping) else None
    if given is None:
        raise BadData(f"{says} has no map")
    made = unpack_map(given, says) if isinstance(given, Mapping) else np.asarray(given)
    if made.ndim != 2 or made.dtype.kind not in "iu":
        raise BadData(f"{says} has a map of shape {made.shape} and type {made.dtype}; expected rows of class indices")
    classes, own = tuple(example["classes"]), tuple(prediction.get("classes", example["classes"]))
    if made.size and not (made.min() >= 0 and made.max() <= len(own)):
        wrong = made.min() if made.min() < 0 else made.max()
        raise BadData(f"{says} has a pixel of class {wrong}; expected 0 for background to {len(own)}")
    if own == classes:
        return made.astype(np.int64)
    place = {label: i for i, label in enumerate(classes, 1)}
    strange = next((own[k - 1] for k in np.unique(made).tolist() if k and own[k - 1] not in place), None)
    if strange is not None:
        raise BadData(f"{says} has a pixel of class {strange!r}, which is none of the {len(classes)} classes")
    return np.array([0, *(place.get(label, 0) for label in own)])[made]


def name_of(example: Example) -> str:
    """What messages call an example."""
    return str(example.get("id", example.get("image_id", "without id")))


# ---- run lengths --------------------------------------------------------------------------------------------------


def pack_map(indices: UInt8[np.ndarray, "h w"]) -> dict[str, Any]:
    """The map as `size` [h, w], `values` and `counts` of its runs, row after row: a hundredth of the memory, and JSON can hold it."""
    flat = indices.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]])) if flat.size else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, flat.size))
    return {"size": list(indices.shape), "values": flat[starts].tolist(), "counts": counts.tolist()}


def unpack_map(packed: Mapping[str, Any], says: str = "a map") -> UInt8[np.ndarray, "h w"]:
    """What `pack_map` packed.

    Raises:
        BadData: the runs are no such, or do not add up.
    """
    size, values, counts = (packed.get(key) for key in ("size", "values", "counts"))
    if not (_whole(size) and len(size or ()) == 2 and _whole(values) and _whole(counts) and len(values or ()) == len(counts or ())):
        raise BadData(f"{says} has the map {str(dict(packed))[:60]}; expected size, values and counts")
    assert size is not None and values is not None and counts is not None
    if sum(counts) != size[0] * size[1] or max(values, default=0) > VOID:
        raise BadData(
            f"{says} has a map whose runs have {sum(counts)} pixels, of classes up to {max(values, default=0)}; its size is {size}"
        )
    return np.repeat(np.array(values, dtype=np.uint8), counts).reshape(size)


def _whole(numbers: Any) -> bool:
    return isinstance(numbers, Sequence) and all(isinstance(x, int) and x >= 0 for x in numbers)
