"""Whether a confidence of 0.8 is right 8 times in 10: reliability, expected calibration error, temperature."""

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

SPAN = 12.0  # natural logarithm; temperatures looked at lie within e^-12 .. e^12 of the logits' own spread


def reliability(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], bins: int = 15) -> list[dict[str, float]]:
    """Mean confidence and accuracy in bins of equal width, `low < confidence <= high`; empty bins are left out.

    Raises:
        ValueError: a confidence that is NaN or outside [0, 1].
    """
    if not np.all((confidence >= 0) & (confidence <= 1)):
        raise ValueError("confidences must be probabilities; there is one that is NaN or outside [0, 1]")
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence)
    counts = np.bincount(place, minlength=bins)
    confidences, hits = (np.bincount(place, weights=v, minlength=bins) for v in (confidence, correct.astype(np.float64)))
    return [
        {
            "low": float(edges[i]),
            "high": float(edges[i + 1]),
            "confidence": float(confidences[i] / counts[i]),
            "accuracy": float(hits[i] / counts[i]),
            "n": int(counts[i]),
        }
        for i in np.flatnonzero(counts)
    ]


def expected_calibration_error(confidence: Float[np.ndarray, " n"], correct: Bool[np.ndarray, " n"], bins: int = 15) -> float:
    """Gap between confidence and accuracy, averaged over bins by their number of examples; NaN of no examples.

    Source: Guo et al. 2017. Biased upwards by about sqrt(bins / n) in small sets.
    Raises:
        ValueError: a confidence that is NaN or outside [0, 1].
    """
    gaps = [b["n"] * abs(b["confidence"] - b["accuracy"]) for b in reliability(confidence, correct, bins)]
    return float(sum(gaps) / len(confidence)) if len(confidence) else float("nan")


def fit_temperature(logits: Float[np.ndarray, "n c"], labels: Int[np.ndarray, " n"]) -> float:
    """The number that logits should be divided by for the least negative log-likelihood of the labels.

    The likelihood has one hill in the temperature, so a bounded search over its logarithm finds the top. Where no
    finite temperature is best (every answer right, or no better than chance) the end of the search is returned.

    Raises:
        ValueError: no examples, a non-finite logit, or a label that names no logit.
    """
    if not len(labels) or not np.all(np.isfinite(logits)):
        raise ValueError("a temperature needs at least one example and finite logits")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels must lie in 0..{logits.shape[1] - 1}, got {labels.min()}..{labels.max()}")
    centred = logits.astype(np.float64) - logits.max(1, keepdims=True)
    spread = float(np.mean(-centred))
    if spread == 0:  # all logits equal: every temperature says the same
        return 1.0
    own = np.take_along_axis(centred, rearrange(labels, "n -> n 1"), axis=1)[:, 0]

    def negative_log_likelihood(log_ratio: float) -> float:
        temperature = spread * np.exp(log_ratio)
        return float(np.mean(logsumexp(centred / temperature, axis=1) - own / temperature))

    found = minimize_scalar(negative_log_likelihood, bounds=(-SPAN, SPAN), method="bounded", options={"xatol": 1e-8})
    return float(spread * np.exp(found.x))
