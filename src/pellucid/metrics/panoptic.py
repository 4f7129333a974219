"""Panoptic quality: how well every pixel is told which thing or stuff it belongs to.

A prediction's `panoptic` holds `ids`, a map of whole numbers, and `segments`, each with `id`, `label` and `thing`; an example's holds the
same, its segments with `crowd` too, and `ids` may be the path of a PNG as COCO has them (R + 256 G + 65536 B). 0 is no segment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from pellucid.errors import BadData
from pellucid.metrics.gathered import Gathered, Memo
from pellucid.metrics.paired import once
from pellucid.task import Example, Metric

IOU = 0.5  # above which two segments are the same; at most one can be
VOID = 0
Part = Literal["PQ", "SQ", "RQ"]
Among = Literal["all", "things", "stuff"]


def panoptic_metrics() -> dict[str, Metric]:
    """PQ, segmentation quality SQ, recognition quality RQ, and PQ of things and of stuff."""
    memo = Memo(tally)
    return {
        "PQ": PanopticQuality("PQ", memo=memo),
        "SQ": PanopticQuality("SQ", memo=memo),
        "RQ": PanopticQuality("RQ", memo=memo),
        "PQ_things": PanopticQuality("PQ", "things", memo),
        "PQ_stuff": PanopticQuality("PQ", "stuff", memo),
    }


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of one picture, per label: segments found, made up, overlooked, and the summed IoU of those found."""

    thing: dict[str, bool]
    counts: dict[str, Float[np.ndarray, " 4"]]


class PanopticQuality(Gathered[Tally]):
    """One of the panoptic numbers: per label summed IoU / (found + made up / 2 + overlooked / 2), averaged over the labels seen.

    Args:
        part: SQ is the mean IoU of what was found, RQ the F1 of finding, PQ of a label their product.
        among: average over things or stuff alone.
        memo: shared by numbers of the same pairs.
    """

    def __init__(self, part: Part = "PQ", among: Among = "all", memo: Memo[Tally] | None = None):
        if part not in ("PQ", "SQ", "RQ") or among not in ("all", "things", "stuff"):
            raise ValueError(f"part={part!r}, among={among!r}; there are PQ, SQ and RQ, among all, things and stuff")
        self.part, self.among = part, among
        super().__init__(memo or Memo(tally))

    def per_class(self) -> dict[str, float]:
        """The number of each label that was seen."""
        labels = self._labels()
        return dict(zip(labels, self._by_label(labels, once(len(self.rows)))[0].tolist(), strict=True))

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities; a label without segments in a row takes no part in it."""
        found = self._by_label(self._labels(), weights)
        num = (~np.isnan(found)).sum(1)
        return np.divide(np.nansum(found, 1), num, out=np.full(len(weights), np.nan), where=num > 0)

    def _labels(self) -> list[str]:
        thing: dict[str, bool] = {}
        for row in self.rows:
            for label, flag in row.thing.items():
                if thing.setdefault(label, flag) != flag:
                    raise BadData(f"label {label!r} is a thing in some segments and stuff in others; expected one of them")
        return sorted(label for label, flag in thing.items() if self.among == "all" or flag == (self.among == "things"))

    def _by_label(self, labels: Sequence[str], weights: np.ndarray) -> Float[np.ndarray, "r c"]:
        none = np.zeros(4)
        table = np.array([[row.counts.get(label, none) for label in labels] for row in self.rows]).reshape(len(self.rows), len(labels), 4)
        found, extra, missed, covered = np.moveaxis(np.tensordot(weights, table, axes=1), -1, 0)  # r c each
        all_seen = found + (extra + missed) / 2
        over, under = {"PQ": (covered, all_seen), "SQ": (covered, found), "RQ": (found, all_seen)}[self.part]
        value = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
        return np.where(all_seen > 0, value, np.nan)


# ---- one picture --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Segments:
    """A map's segments; `place` has, per pixel, the segment's place + 1, 0 where there is none."""

    labels: list[str]
    thing: list[bool]
    crowd: Bool[np.ndarray, " n"]
    place: Int[np.ndarray, "h w"]


def tally(prediction: Any, example: Example) -> Tally:
    """Counts of a pair.

    Raises:
        BadData: maps of different sizes, segments without pixels, pixels without a segment, an id twice.
    """
    name = str(example.get("id", example.get("image_id", "without id")))
    truth = _segments(example, f"example {name!r}", of_example=True)
    made = _segments(prediction, f"prediction of example {name!r}", of_example=False)
    if truth.place.shape != made.place.shape:
        raise BadData(
            f"prediction of example {name!r} is a map of {made.place.shape}, the example of {truth.place.shape}; expected the same"
        )
    rows, columns = len(truth.labels) + 1, len(made.labels) + 1
    shared = np.bincount((truth.place * columns + made.place).ravel(), minlength=rows * columns).reshape(rows, columns)
    thing = dict(zip(truth.labels + made.labels, truth.thing + made.thing, strict=True))
    both = zip(truth.labels + made.labels, truth.thing + made.thing, strict=True)
    if any(thing[label] != flag for label, flag in both):
        raise BadData(f"example {name!r}: a label is a thing in some segments and stuff in others; expected one of them")
    return Tally(thing, _counts(truth, made, shared))


def _counts(truth: _Segments, made: _Segments, shared: Int[np.ndarray, "n m"]) -> dict[str, Float[np.ndarray, " 4"]]:
    same = np.array([[a == b for b in made.labels] for a in truth.labels], dtype=bool).reshape(len(truth.labels), len(made.labels))
    void = shared[0, 1:]
    both, area, made_area = shared[1:, 1:], shared[1:].sum(1), shared[:, 1:].sum(0)
    iou = both / (area.reshape(-1, 1) + (made_area - void) - both)  # what lies where nothing is known counts neither way
    found = same & (iou > IOU) & ~truth.crowd.reshape(-1, 1)
    in_crowd = (both * (same & truth.crowd.reshape(-1, 1))).sum(0)
    extra = ~found.any(0) & ~((void + in_crowd) / np.maximum(made_area, 1) > IOU)
    missed = ~found.any(1) & ~truth.crowd
    counts = {label: np.zeros(4) for label in truth.labels + made.labels}
    for i, j in np.argwhere(found).tolist():
        counts[truth.labels[i]] += (1, 0, 0, iou[i, j])
    for j in np.flatnonzero(extra).tolist():
        counts[made.labels[j]] += (0, 1, 0, 0)
    for i in np.flatnonzero(missed).tolist():
        counts[truth.labels[i]] += (0, 0, 1, 0)
    return counts


def _segments(given: Any, says: str, of_example: bool) -> _Segments:
    panoptic = given.get("panoptic") if isinstance(given, Mapping) else None
    if not isinstance(panoptic, Mapping) or not {"ids", "segments"} <= panoptic.keys():
        raise BadData(f"{says} has no panoptic with ids and segments")
    ids = _map(panoptic["ids"], says, of_example)
    listed = list(panoptic["segments"])
    poor = next((segment for segment in listed if not {"id", "label", "thing"} <= segment.keys()), None)
    if poor is not None:
        raise BadData(f"{says} has the segment {poor}; expected id, label and thing")
    known = np.array([segment["id"] for segment in listed], dtype=np.int64)
    order = np.argsort(known)
    ranked = known[order]
    if (ranked == VOID).any() or (ranked[1:] == ranked[:-1]).any():
        raise BadData(f"{says} has segments with the ids {known.tolist()}; expected each once, and none {VOID}, which is no segment")
    place = np.searchsorted(ranked, ids).clip(max=max(len(ranked) - 1, 0))
    there = ranked[place] == ids if len(ranked) else np.zeros(ids.shape, dtype=bool)
    stray = ids[~there & (ids != VOID)]
    if stray.size:
        raise BadData(f"{says} has pixels of segment {stray[0]}, which is not among its segments")
    filled = np.bincount(place[there], minlength=len(ranked)) > 0
    if not filled.all():
        raise BadData(f"{says} has no pixel of segment {ranked[~filled][0]}")
    segments = [listed[i] for i in order]
    crowd = np.array([bool(segment.get("crowd", False)) and of_example for segment in segments], dtype=bool)
    labels, thing = [str(segment["label"]) for segment in segments], [bool(segment["thing"]) for segment in segments]
    return _Segments(labels, thing, crowd, np.where(there, place + 1, 0))


def _map(ids: Any, says: str, of_example: bool) -> Int[np.ndarray, "h w"]:
    if of_example and isinstance(ids, (str, Path)):
        from PIL import Image

        try:
            with Image.open(ids) as picture:
                return decode_panoptic_png(np.asarray(picture.convert("RGB")))
        except OSError as error:
            raise BadData(f"{says}: the map {ids} cannot be read ({error})") from None
    found = np.asarray(ids)
    if found.ndim != 2 or found.dtype.kind not in "iu":
        raise BadData(f"{says} has ids of shape {found.shape} and type {found.dtype}; expected rows of whole numbers")
    return found.astype(np.int64)


def decode_panoptic_png(image: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
    """The segments' ids in a picture as COCO stores them: R + 256 G + 65536 B."""
    return image.astype(np.int64) @ np.array([1, 256, 65536])


def encode_panoptic(ids: Int[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The picture that stores the ids.

    Raises:
        ValueError: an id that 24 bits do not hold.
    """
    if ids.size and not (ids.min() >= 0 and ids.max() < 1 << 24):
        raise ValueError(f"ids from {ids.min()} to {ids.max()}; a picture holds 0 to {(1 << 24) - 1}")
    return np.stack([ids >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
