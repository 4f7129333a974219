"""COCO's average precision and recall of boxes and masks: faster-coco-eval's numbers, with wrong data refused.

Compared over IoU .5, .55 ... .95, 101 recall points, at most 100 detections of a class in a picture. A number without any object to be
found is NaN, where COCO's tool writes -1.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float

from pellucid.metrics import coco_evaluator
from pellucid.metrics.coco_evaluator import NUMBERS, Found, Kind, Matches, Tables, tables
from pellucid.metrics.coco_resample import resampled
from pellucid.metrics.detections import Picture, in_order, picture_of
from pellucid.metrics.gathered import Gathered, Memo
from pellucid.metrics.paired import once
from pellucid.task import Metric

MASK_NUMBERS = ("AP", "AP50", "AP75")


def coco_metrics(masks: bool = False, read: Callable[..., Picture] = picture_of) -> dict[str, Metric]:
    """COCO's twelve numbers, AP first; they look at the same pairs and are computed together.

    Args:
        masks: also `mask_AP`, `mask_AP50` and `mask_AP75`; predictions then hold `masks`, objects a `segmentation`.
        read: what of a pair is measured.
    """
    memo = Memo(partial(read, masks=masks))
    boxes: dict[str, Metric] = {name: CocoNumber(name, "bbox", memo) for name in NUMBERS}
    return boxes | ({f"mask_{name}": CocoNumber(name, "segm", memo) for name in MASK_NUMBERS} if masks else {})


class CocoNumber(Gathered[Picture]):
    """One of COCO's numbers.

    Args:
        name: of `AP`, `AP50`, `AP75`, `AP_small`, `AP_medium`, `AP_large`, `AR_1`, `AR_10`, `AR_100`, `AR_small`, `AR_medium`, `AR_large`.
        kind: `segm` compares masks.
        memo: shared by numbers of the same pairs.
    Raises:
        ValueError: there is no such number.
    """

    def __init__(self, name: str = "AP", kind: Kind = "bbox", memo: Memo[Picture] | None = None):
        if name not in NUMBERS:
            raise ValueError(f"no number {name!r}; there are {', '.join(NUMBERS)}")
        self.name, self.kind = name, kind
        super().__init__(memo or Memo(partial(picture_of, masks=kind == "segm")))

    def compute(self) -> float:
        """The number so far, 0 to 1; NaN where no object is to be found. BadData if a picture is there twice, or classes differ."""
        return self._found().numbers[self.name] if self.rows else float("nan")

    def per_class(self) -> dict[str, float]:
        """AP of each class; NaN of one without objects."""
        return dict(zip(self.rows[0].classes, self._found().per_class.tolist(), strict=True)) if self.rows else {}

    def resample(self, weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
        """The number for every row of multiplicities, in the order of gathering; the matches are made once."""
        key = (*self.rows, weights.shape, weights.tobytes())
        return self.memo.once(f"draws of {self.kind}", key, lambda: self._draws(weights))[self.name]

    def _found(self) -> Found:
        def work() -> Found:
            return coco_evaluator.evaluate(self._tables(), self.kind)

        return self.memo.once(f"numbers of {self.kind}", self.rows, work)

    def _tables(self) -> Tables:
        return tables([self.rows[i] for i in in_order(self.rows)], self.kind)

    def _draws(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        matched = self.memo.once(f"matches of {self.kind}", self.rows, self._matches)
        return resampled(matched, weights[:, in_order(self.rows)])

    def _matches(self) -> list[list[Matches]]:
        given = self._tables()
        evaluator = coco_evaluator.run(given, self.kind, keep=True)
        made = coco_evaluator.matches(evaluator, len(given.images), given.num_classes)
        told, again = coco_evaluator.found_in(evaluator.eval, given.num_classes).numbers, resampled(made, once(len(self.rows)))
        assert all(np.isclose(again[name][0], told[name], rtol=0, atol=1e-9, equal_nan=True) for name in NUMBERS), (
            "the matches that the evaluator keeps do not give its own numbers"
        )
        return made
