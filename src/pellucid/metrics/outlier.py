"""How well anomaly scores tell outliers from home. The outlier is the positive class; higher means more anomalous.

Each class is sorted once; the place of every outlier score among the home scores gives all the numbers.
Differs: much of the vision literature takes home as positive, which changes AUPR and FAR95 (not AUROC).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

DETECTED_PERCENT = 95


@dataclass(frozen=True)
class Ranking:
    """Both classes in rising order.

    Args:
        below: home scores strictly below each outlier score.
    """

    ood: Float[np.ndarray, " p"]
    home: Float[np.ndarray, " q"]
    below: Int[np.ndarray, " p"]


def auroc(ood: Float[np.ndarray, " p"], home: Float[np.ndarray, " q"]) -> float:
    """P(outlier scores higher than home) + P(they tie) / 2.

    Raises:
        ValueError: a NaN score, or an empty class.
    """
    return _auroc(_rank(ood, home))


def aupr(ood: Float[np.ndarray, " p"], home: Float[np.ndarray, " q"]) -> float:
    """Average precision of the outliers; chance level is their share of all scores.

    Raises:
        ValueError: a NaN score, or an empty class.
    """
    return _aupr(_rank(ood, home))


def far95(ood: Float[np.ndarray, " p"], home: Float[np.ndarray, " q"]) -> float:
    """Share of home that raises a false alarm at the highest threshold that still detects 95% of the outliers.

    A score at the threshold raises the alarm. Chance level is 0.95.

    Raises:
        ValueError: a NaN score, or an empty class.
    """
    ood, home = _checked(ood, "ood"), _checked(home, "home")
    if np.isnan(ood.max()) or np.isnan(home.max()):
        raise _nan("ood" if np.isnan(ood.max()) else "home")
    place = _threshold_place(len(ood))
    return float(np.mean(home >= np.partition(ood, place)[place]))


def detection_numbers(ood: Float[np.ndarray, " p"], home: Float[np.ndarray, " q"]) -> dict[str, float]:
    """`auroc`, `aupr`, `base_rate` (chance level of `aupr`) and `far95` from one sort of each class.

    Raises:
        ValueError: a NaN score, or an empty class.
    """
    ranking = _rank(ood, home)
    base_rate = len(ood) / (len(ood) + len(home))
    return {"auroc": _auroc(ranking), "aupr": _aupr(ranking), "base_rate": base_rate, "far95": _far95(ranking)}


def roc_points(ood: Float[np.ndarray, " p"], home: Float[np.ndarray, " q"], points: int = 100) -> Float[np.ndarray, "k 2"]:
    """Corners of the ROC curve, (false alarms, detections) from (0, 0) to (1, 1), thinned evenly along the curve.

    Raises:
        ValueError: a NaN score, an empty class, or fewer than two points.
    """
    if points < 2:
        raise ValueError(f"points={points}; a curve needs at least 2")
    ranking = _rank(ood, home)
    thresholds = np.unique(np.concatenate([ranking.ood, ranking.home]))[::-1]
    alarms = [1 - np.searchsorted(scores, thresholds) / len(scores) for scores in (ranking.home, ranking.ood)]
    curve = np.concatenate([np.zeros((1, 2)), np.stack(alarms, axis=1)])
    length = curve.sum(1)  # each step goes right or up, so this grows strictly
    keep = np.searchsorted(length, np.linspace(0, length[-1], points) - 1e-12) if len(curve) > points else np.arange(len(curve))
    return curve[np.unique(keep)]


def _checked(scores: np.ndarray, name: str) -> np.ndarray:
    if scores.size == 0:
        raise ValueError(f"no {name} scores; both classes need at least one")
    return scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float64)


def _nan(name: str) -> ValueError:
    return ValueError(f"NaN among the {name} scores; a NaN has no rank")


def _rank(ood: np.ndarray, home: np.ndarray) -> Ranking:
    ood, home = np.sort(_checked(ood, "ood")), np.sort(_checked(home, "home"))
    for name, scores in (("ood", ood), ("home", home)):
        if np.isnan(scores[-1]):  # NaN sorts last
            raise _nan(name)
    # searching a sorted list for sorted values walks memory in order: no slower than a merge in numpy
    return Ranking(ood, home, np.searchsorted(home, ood))


def _auroc(ranking: Ranking) -> float:
    ood, home, below = ranking.ood, ranking.home, ranking.below
    tied = home[np.minimum(below, len(home) - 1)] == ood  # only these need the second search
    ties = int(np.searchsorted(home, ood[tied], side="right").sum() - below[tied].sum())
    return (int(below.sum()) + ties / 2) / (len(ood) * len(home))


def _aupr(ranking: Ranking) -> float:
    """Mean, over outliers, of the precision at the threshold that just admits each."""
    num_ood, num_home = len(ranking.ood), len(ranking.home)
    first = np.arange(num_ood)
    first[1:][ranking.ood[1:] == ranking.ood[:-1]] = 0
    detected = num_ood - np.maximum.accumulate(first)  # ties enter together
    return float(np.mean(detected / (detected + (num_home - ranking.below))))


def _far95(ranking: Ranking) -> float:
    num_home = len(ranking.home)
    return int(num_home - ranking.below[_threshold_place(len(ranking.ood))]) / num_home


def _threshold_place(num_ood: int) -> int:
    """Index, in rising order, of the threshold; in whole numbers, since 0.95 n is not exact in floats."""
    return num_ood - -(-DETECTED_PERCENT * num_ood // 100)
