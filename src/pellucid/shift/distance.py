"""Distance of features to those of training: Mahalanobis and nearest neighbours. Far is strange."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

CHUNK_CELLS = 8_000_000  # distances held at once


@dataclass(frozen=True)
class Mahalanobis:
    """Squared distance to the nearest class mean under one covariance for all classes (Lee et al. 2018).

    Args:
        means: of each class, whitened.
        whitening: features times this have unit covariance within classes.
    """

    means: Float[np.ndarray, "c d"]
    whitening: Float[np.ndarray, "d d"]

    @classmethod
    def fit(cls, features: Float[np.ndarray, "n d"], labels: Sequence[Any] | None = None) -> "Mahalanobis":
        """Means and covariance of training features; no labels, one mean.

        Differs: the covariance is shrunk (Ledoit & Wolf 2004), so that fewer examples than dimensions will do.
        Raises:
            ValueError: no features, one that is not finite, or labels of another length.
        """
        features = _finite(features)
        if labels is not None and len(labels) != len(features):
            raise ValueError(f"{len(labels)} labels for {len(features)} rows of features")
        order = {label: i for i, label in enumerate(dict.fromkeys(labels if labels is not None else [None]))}
        group = np.array([order[label] for label in labels]) if labels is not None else np.zeros(len(features), dtype=np.int64)
        means = np.stack([features[group == i].mean(0) for i in range(len(order))])
        from sklearn.covariance import ledoit_wolf  # a second to import

        covariance, _ = ledoit_wolf(features - means[group], assume_centered=True)
        whitening = _inverse_root(np.atleast_2d(covariance))
        return cls(means @ whitening, whitening)

    def score(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Squared distance to the nearest mean."""
        return cdist(_finite(features) @ self.whitening, self.means, "sqeuclidean").min(1)


@dataclass(frozen=True)
class NearestNeighbours:
    """Distance to the k-th nearest training example, features scaled to length 1 (Sun et al. 2022).

    Args:
        bank: training features of length 1.
    """

    bank: Float[np.ndarray, "m d"]
    k: int

    @classmethod
    def fit(cls, features: Float[np.ndarray, "m d"], k: int = 10) -> "NearestNeighbours":
        """Keeps the training features; with fewer than k of them, the farthest counts.

        Raises:
            ValueError: no features, one that is not finite, or k below 1.
        """
        if k < 1:
            raise ValueError(f"k={k}; a neighbour is at least the first")
        return cls(_unit(features), min(k, len(features)))

    def score(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Euclidean distance, 0 to 2; a training example counts itself as its first neighbour."""
        queries, rows = _unit(features), max(1, CHUNK_CELLS // len(self.bank))
        return np.concatenate([self._score(queries[i : i + rows]) for i in range(0, len(queries), rows)])

    def _score(self, queries: np.ndarray) -> np.ndarray:
        place = len(self.bank) - self.k
        similarity = np.partition(queries @ self.bank.T, place, axis=1)[:, place]
        return np.sqrt(np.maximum(2 - 2 * similarity, 0))


def _finite(features: np.ndarray) -> np.ndarray:
    if not features.size or not np.all(np.isfinite(features)):
        raise ValueError("features must be finite, and at least one row" if features.size else "no features to measure a distance from")
    return features.astype(np.float64)


def _unit(features: np.ndarray) -> np.ndarray:
    features = _finite(features)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _inverse_root(covariance: np.ndarray) -> np.ndarray:
    """Of the directions that vary at all; the others count nothing."""
    values, vectors = np.linalg.eigh(covariance)
    keep = values > values[-1] * 1e-12
    return vectors @ np.diag(np.where(keep, 1 / np.sqrt(np.where(keep, values, 1.0)), 0.0)) @ vectors.T
