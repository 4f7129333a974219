"""What corruptions cost: values by kind and severity, and the mean corruption error against a baseline."""

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pellucid.data.corrupt import PICTURES, SEVERITIES
from pellucid.errors import BadData, BadUsage
from pellucid.shift.corruption import set_name

Errors = Mapping[str, Mapping[int, float]]  # by kind and severity, each 0 to 1
COUNTED = tuple(kind for kind, one in PICTURES.items() if not one.extra)  # the 15 of the mean corruption error
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Baseline:
    """The error rates that errors are divided by.

    Args:
        clean: on the set as it was.
    """

    name: str
    clean: float
    errors: Errors


def _by_severity(*errors: float) -> dict[int, float]:
    return dict(enumerate(errors, 1))


ALEXNET = Baseline(  # top-1 error on ImageNet-C, the published baseline
    "AlexNet",
    0.435,
    {
        "gaussian_noise": _by_severity(0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
        "shot_noise": _by_severity(0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
        "impulse_noise": _by_severity(0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
        "defocus_blur": _by_severity(0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
        "glass_blur": _by_severity(0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
        "motion_blur": _by_severity(0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
        "zoom_blur": _by_severity(0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
        "snow": _by_severity(0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
        "frost": _by_severity(0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
        "fog": _by_severity(0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
        "brightness": _by_severity(0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
        "contrast": _by_severity(0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
        "elastic_transform": _by_severity(0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
        "pixelate": _by_severity(0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
        "jpeg_compression": _by_severity(0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
    },
)


def corruption_errors(errors: Errors, baseline: Baseline = ALEXNET) -> dict[str, float]:
    """Error over the baseline's error of every kind that both have, each summed over the severities that both have (1 is as bad)."""
    shared = {kind: sorted(set(found) & set(baseline.errors.get(kind, {}))) for kind, found in errors.items()}
    sums = {k: (sum(errors[k][s] for s in at), sum(baseline.errors[k][s] for s in at)) for k, at in shared.items() if at}
    return {kind: mine / theirs for kind, (mine, theirs) in sums.items() if theirs > 0}


def mean_corruption_error(errors: Errors, baseline: Baseline = ALEXNET) -> float:
    """The mean of `corruption_errors` over those of the paper's 15 kinds that are there.

    Where none is, over the kinds of texts and of moving pictures; the four extra kinds of pictures are left out always.

    Source: Hendrycks & Dietterich 2019, section 4, over all 15 kinds and five severities.
    Raises:
        ValueError: no kind in common.
    """
    return _mean(corruption_errors(errors, baseline))


def relative_mean_corruption_error(errors: Errors, clean: float, baseline: Baseline = ALEXNET) -> float:
    """The same of what corruptions add to the error on the clean set.

    Args:
        clean: error on the set as it was.
    Raises:
        ValueError: no kind in common that costs the baseline anything.
    """
    return _mean(_added(errors, clean, baseline))


def _added(errors: Errors, clean: float, baseline: Baseline) -> dict[str, float]:
    mine = {kind: {s: e - clean for s, e in found.items()} for kind, found in errors.items()}
    theirs = {kind: {s: e - baseline.clean for s, e in found.items()} for kind, found in baseline.errors.items()}
    return corruption_errors(mine, Baseline(baseline.name, 0.0, theirs))


def _mean(found: Mapping[str, float]) -> float:
    counted = _counted(found)
    if not counted:
        raise ValueError("no kind of corruption in common with the baseline")
    return fmean(found[kind] for kind in counted)


def _counted(kinds: Iterable[str]) -> list[str]:
    told = list(kinds)
    return [kind for kind in told if kind in COUNTED] or [kind for kind in told if kind not in PICTURES]


def baseline_for(kinds: Sequence[str], num_classes: int | None) -> Baseline | None:
    """AlexNet where ImageNet's 1,000 classes are told apart in pictures; elsewhere none is published."""
    return ALEXNET if num_classes == IMAGENET_CLASSES and any(kind in COUNTED for kind in kinds) else None


def summary(
    told: Mapping[str, Any], kinds: Sequence[str], severities: Sequence[int], baseline: Baseline | None, beside: Sequence[str] = ()
) -> dict[str, Any] | None:
    """The `corruption` part of `results/shift.json`: the first metric by kind and severity, its mean, and errors against the baseline.

    None where the first metric is not a share of which more is better, so that 1 less it is no error. A copy in which nothing is left to be
    measured, as a set of negated captions, has None and counts in no mean.

    Args:
        told: what `compare` found.
        beside: metrics that are told as well, without errors.
    """
    metric, clean = next(iter(told["sets"][told["home"]]["metrics"].items()))
    values = _values(told, metric, kinds, severities)
    every = [clean["value"], *(v for found in values.values() for v in found.values() if v is not None)]
    if not clean["higher_is_better"] or not all(0 <= v <= 1 for v in every):
        return None
    errors = {kind: {s: 1 - v for s, v in found.items() if v is not None} for kind, found in values.items()}
    against = corruption_errors(errors, baseline) if baseline else {}
    rows = {kind: {**row, "error": against.get(kind)} for kind, row in _rows(values).items()}
    added = _added(errors, 1 - clean["value"], baseline) if baseline else {}
    wanted = COUNTED if any(k in PICTURES for k in kinds) else kinds
    return {
        "metric": metric,
        "clean": clean["value"],
        "kinds": rows,
        "mean": _mean_known(row["mean"] for row in rows.values()),
        "baseline": baseline.name if baseline and _counted(against) else None,
        "mce": _mean(against) if _counted(against) else None,
        "relative_mce": _mean(added) if _counted(added) else None,
        "complete": set(wanted) <= set(against) and set(severities) == set(SEVERITIES),
        **({"beside": {name: _beside(told, name, kinds, severities) for name in beside}} if beside else {}),
    }


def _beside(told: Mapping[str, Any], metric: str, kinds: Sequence[str], severities: Sequence[int]) -> dict[str, Any]:
    rows = _rows(_values(told, metric, kinds, severities))
    clean = _known(told["sets"][told["home"]]["metrics"][metric]["value"])
    return {"clean": clean, "kinds": rows, "mean": _mean_known(row["mean"] for row in rows.values())}


def _values(told: Mapping[str, Any], metric: str, kinds: Sequence[str], severities: Sequence[int]) -> dict[str, dict[int, float | None]]:
    sets, home = told["sets"], told["home"]
    return {k: {s: _known(sets[set_name(home, k, s)]["metrics"][metric]["value"]) for s in severities} for k in kinds}


def _rows(values: Mapping[str, Mapping[int, float | None]]) -> dict[str, dict[str, Any]]:
    return {kind: {"values": {str(s): v for s, v in found.items()}, "mean": _mean_known(found.values())} for kind, found in values.items()}


def _known(value: float) -> float | None:
    return value if value == value else None


def _mean_known(values: Iterable[float | None]) -> float | None:
    told = [v for v in values if v is not None]
    return fmean(told) if told else None


def of_run(folder: pathlib.Path, metric: str) -> Baseline:
    """Another run's errors, from its `results/shift.json`.

    Raises:
        BadData: the run was not measured on corruptions.
        BadUsage: it was measured by another metric.
    """
    path = folder / "results" / "shift.json"
    found = json.loads(path.read_text(encoding="utf-8")).get("corruption") if path.is_file() else None
    if not found:
        raise BadData(f"{path}: no corruptions measured there; `pellucid shift {folder} --corrupt 1-5` does")
    if found["metric"] != metric:
        raise BadUsage(f"{folder} was measured by {found['metric']}, this run by {metric}; their errors do not compare")
    errors = {kind: {int(s): 1 - v for s, v in row["values"].items() if v is not None} for kind, row in found["kinds"].items()}
    return Baseline(str(folder), 1 - found["clean"], errors)
