"""What a run's page shows of judged pictures: their quality against the scores, by kind and level, and the pairs most misjudged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from pellucid.evaluate import Evaluation
from pellucid.explain.patches import encoded
from pellucid.metrics import fits
from pellucid.metrics.quality import Agreement, by_kind, has_label, quality_of
from pellucid.task import Example

POINTS, ALL_POINTS, LEAST_POINTS = 300, 1200, 60  # drawn of a set, of all sets together, of a set always
MISSES, ALL_MISSES, LEAST_MISSES = 6, 18, 2  # pairs shown, likewise
LARGEST = 200  # pixels of a shown picture's longer side
STEPS = 41  # places at which a curve is told


@dataclass(frozen=True)
class _Row:
    """One scored example; `over` is how far the curve of all takes its quality above its label."""

    example: Example
    quality: float
    label: float
    spread: float
    over: float


def is_quality(prediction: Any) -> bool:
    """Whether a prediction is a picture's quality: a dict with `quality`."""
    return isinstance(prediction, Mapping) and "quality" in prediction


def qualities(found: Mapping[str, Evaluation]) -> dict[str, Any] | None:
    """What results/qualities.json holds; None where nothing was judged, or nothing that was has a score or preference."""
    judged = {name: e for name, e in found.items() if e.predictions and all(map(is_quality, e.predictions)) and _told(e)}
    if not judged:
        return None
    points = max(LEAST_POINTS, min(POINTS, ALL_POINTS // len(judged)))
    misses = max(LEAST_MISSES, min(MISSES, ALL_MISSES // len(judged)))
    return {"sets": {name: _set(e, points, misses) for name, e in judged.items()}}


def _told(found: Evaluation) -> bool:
    return any(has_label(e) or e.get("preference") is not None for e in found.examples)


def _set(found: Evaluation, points: int, misses: int) -> dict[str, Any]:
    pairs = [(p, e) for p, e in zip(found.predictions, found.examples, strict=True) if has_label(e)]
    values = np.array([quality_of(p, e) for p, e in pairs], dtype=np.float64)
    labels = np.array([float(e["label"]) for _, e in pairs], dtype=np.float64)
    curve = fits.fit("logistic5", values, labels) if len(pairs) >= fits.LEAST else None
    over = (values if curve is None else curve(values)) - labels
    rows = [
        _Row(e, float(v), float(y), float(p.get("spread") or 0.0), float(o))
        for (p, e), v, y, o in zip(pairs, values, labels, over, strict=True)
    ]
    kinds = by_kind(found.predictions, found.examples)
    return {
        "n": len(rows),
        "weak": bool(rows) and all("distortion" in row.example for row in rows),
        "numbers": {name: _real(found.metrics[name]) for name in ("srocc", "plcc_5", "rmse_5") if name in found.metrics},
        "points": [_point(rows[i]) for i in _drawn(len(rows), points)],
        "curve": _curve(curve, values),
        "kinds": {kind: {name: n if name == "n" else _real(n) for name, n in row.items()} for kind, row in kinds.items()},
        "levels": _levels(rows),
        "misses": [_miss(row) for row in sorted(rows, key=lambda row: -abs(row.over))[:misses]],
        "preferences": _preferences(found),
    }


def _real(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _drawn(count: int, most: int) -> list[int]:
    """Places of the points that are drawn, the same each time; by chance, since rows often come in rounds of kinds and levels."""
    if count <= most:
        return list(range(count))
    return sorted(np.random.default_rng(0).choice(count, most, replace=False).tolist())


def _point(row: _Row) -> dict[str, Any]:
    told = {"id": str(row.example.get("id", "")), "label": _real(row.label), "quality": _real(row.quality), "spread": _real(row.spread)}
    return told | {name: row.example[name] for name in ("kind", "level") if row.example.get(name) is not None}


def _curve(curve: fits.Curve | None, values: Float[np.ndarray, " n"]) -> list[list[float]] | None:
    """Label and quality along the curve that takes quality to labels, over the qualities there are."""
    if curve is None:
        return None
    along = np.linspace(values.min(), values.max(), STEPS)
    return [[round(float(label), 5), round(float(value), 5)] for label, value in zip(curve(along), along, strict=True)]


def _levels(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """Mean label and mean quality of each level of distortion."""
    levels = sorted({int(row.example["level"]) for row in rows if row.example.get("level") is not None})
    found: list[dict[str, Any]] = []
    for level in levels:
        some = [row for row in rows if row.example.get("level") == level]
        label, quality = (_real(sum(values) / len(some)) for values in ([r.label for r in some], [r.quality for r in some]))
        found.append({"level": level, "n": len(some), "label": label, "quality": quality})
    return found


def _miss(row: _Row) -> dict[str, Any]:
    """A pair with both its pictures, small."""
    from pellucid.tasks.quality.data import open_pair

    pair = open_pair(row.example)
    height, width = pair.image.shape[1:]
    pictures = {"image": encoded(pair.image, LARGEST), "reference": encoded(pair.reference, LARGEST)}
    return _point(row) | {"over": _real(row.over), "width": width, "height": height} | pictures


def _preferences(found: Evaluation) -> dict[str, Any] | None:
    """In how many decided pairs the preferred picture has the better quality; None where no pair was compared."""
    if all(e.get("preference") is None for e in found.examples):
        return None
    agreement = Agreement()
    for prediction, example in zip(found.predictions, found.examples, strict=True):
        agreement.update(prediction, example)
    compared = sum(e.get("preference") is not None for e in found.examples)
    return {"n": compared, "decided": sum(counted for _, counted in agreement.rows), "agreement": _real(agreement.compute())}
