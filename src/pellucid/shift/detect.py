"""How well sets of outliers are told from home, by what a model says (logits) and by what it sees (features).

Every score is higher for stranger inputs and is computed in float64 without passing through a probability, which for
float32 logits rounds to exactly 1 from a margin of 17 on and would tie most confident examples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float
from scipy.special import logsumexp

from pellucid.errors import BadUsage
from pellucid.evaluate import Evaluation
from pellucid.metrics import outlier
from pellucid.shift.distance import Mahalanobis, NearestNeighbours

LOG_PROBABILITY = "log-probability"


def max_softmax(logits: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " n"]:
    """Log odds against the likeliest class: orders as 1 - max probability does, and never saturates.

    Source: Hendrycks & Gimpel 2017. Differs: the log odds instead of minus the probability, same order.
    Raises:
        ValueError: fewer than two classes.
    """
    best, others = _split(logits)
    return logsumexp(others, axis=1) - best


def max_logit(logits: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " n"]:
    """Minus the largest logit."""
    return -logits.astype(np.float64).max(1)


def energy(logits: Float[np.ndarray, "n c"], temperature: float = 1.0) -> Float[np.ndarray, " n"]:
    """Free energy of the logits (Liu et al. 2020).

    Raises:
        ValueError: a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}; it must be positive")
    return -temperature * logsumexp(logits.astype(np.float64) / temperature, axis=1)


def entropy(logits: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " n"]:
    """Entropy of the probabilities in nats, exact to its last digits however small (margins to about 700).

    Raises:
        ValueError: fewer than two classes.
    """
    best, others = _split(logits)
    against = np.log1p(np.exp(logsumexp(others, axis=1) - best))  # -log of the largest probability, no cancellation
    log_probs = others - rearrange(best + against, "n -> n 1")
    probs = np.exp(log_probs)
    return np.exp(-against) * against - np.sum(probs * np.where(probs > 0, log_probs, 0.0), axis=1)


def detect(
    home: Evaluation, outliers: Mapping[str, Evaluation], train: Evaluation | None = None, home_name: str = "home", neighbours: int = 10
) -> dict[str, Any]:
    """Detection of every set of outliers against home, as `results/detection.json` holds it.

    Classifiers are scored by logits, other tasks with a log-probability by that; where all sets, `train` among them,
    come with features, also by the distance of features to those of training.

    Raises:
        BadUsage: some of the sets have logits (features) and others have none.
    """
    scored = {name: _scores(e) for name, e in {home_name: home, **outliers}.items()}
    for name, scores in _distances(home, outliers, train, home_name, neighbours).items():
        scored[name] |= scores
    methods = list(scored[home_name])
    odd = [name for name in outliers if list(scored[name]) != methods]
    if odd:
        raise BadUsage(f"{odd[0]}: evaluated otherwise than {home_name}; both need logits, or both none")
    sets = {
        name: {"n": len(e.predictions), "methods": {m: _numbers(scored[name][m], scored[home_name][m]) for m in methods}}
        for name, e in outliers.items()
    }
    return {"home": home_name, "positive": "ood", "sets": sets}


def _split(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest logit, and all with that one taken out."""
    if logits.shape[1] < 2:
        raise ValueError(f"{logits.shape[1]} class; confidence needs two or more logits")
    others = logits.astype(np.float64)
    place = rearrange(others.argmax(1), "n -> n 1")
    best = np.take_along_axis(others, place, axis=1)[:, 0]
    np.put_along_axis(others, place, -np.inf, axis=1)
    return best, others


def _scores(evaluation: Evaluation) -> dict[str, np.ndarray]:
    if evaluation.score_unit != LOG_PROBABILITY:
        return {}
    logits = evaluation.logits
    if logits is None or logits.shape[1] < 2:
        return {"max_softmax": -evaluation.scores.astype(np.float64)}
    return {f.__name__: f(logits) for f in (max_softmax, max_logit, energy, entropy)}


def _distances(
    home: Evaluation, outliers: Mapping[str, Evaluation], train: Evaluation | None, home_name: str, neighbours: int
) -> dict[str, dict[str, np.ndarray]]:
    if train is None or train.features is None:
        return {}
    found = {name: e.features for name, e in {home_name: home, **outliers}.items()}
    missing = [name for name, features in found.items() if features is None]
    if missing:
        raise BadUsage(f"{missing[0]}: the training set has features and this set has none; evaluate both at the same site")
    methods: dict[str, Mahalanobis | NearestNeighbours] = {
        "mahalanobis": Mahalanobis.fit(train.features, _labels(train)),
        "nearest_neighbours": NearestNeighbours.fit(train.features, neighbours),
    }
    return {name: {m: method.score(f) for m, method in methods.items()} for name, f in found.items() if f is not None}


def _labels(train: Evaluation) -> list[Any] | None:
    """Training labels where they are classes; values are no classes."""
    if train.logits is None or train.score_unit != LOG_PROBABILITY:
        return None
    labels = [example.get("label") for example in train.examples]
    return None if any(label is None for label in labels) else labels


def _numbers(ood: np.ndarray, home: np.ndarray) -> dict[str, Any]:
    return {**outlier.detection_numbers(ood, home), "roc": outlier.roc_points(ood, home).tolist()}
