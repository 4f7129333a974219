"""Feature distances: hand-worked, against scikit-learn, and what must leave them unchanged."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.neighbors import NearestNeighbors

from pellucid.shift import distance
from pellucid.shift.distance import Mahalanobis, NearestNeighbours


def clouds(n=200, d=5):
    rng = np.random.default_rng(0)
    labels = ["a", "b"] * (n // 2)
    features = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + np.where(np.array(labels)[:, None] == "a", 3.0, -3.0)
    return features, labels


def test_mahalanobis_is_its_formula_at_the_nearer_mean():
    features, labels = clouds()
    queries = np.random.default_rng(1).normal(size=(7, 5)) * 4
    means = {c: features[np.array(labels) == c].mean(0) for c in "ab"}
    covariance, _ = ledoit_wolf(features - np.stack([means[c] for c in labels]), assume_centered=True)
    expected = [min((q - m) @ np.linalg.inv(covariance) @ (q - m) for m in means.values()) for q in queries]
    assert Mahalanobis.fit(features, labels).score(queries) == pytest.approx(expected, rel=1e-9)


def test_without_labels_there_is_one_mean():
    features, _ = clouds(20_000)  # so many that hardly any shrinkage is left
    fitted = Mahalanobis.fit(features)
    assert len(fitted.means) == 1
    assert fitted.score(features.mean(0, keepdims=True)) == pytest.approx([0.0], abs=1e-12)
    assert fitted.score(features).mean() == pytest.approx(5, rel=0.03)  # one per dimension


def test_fewer_examples_than_dimensions_will_do():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(20, 50))
    near, far = rng.normal(size=(30, 50)), rng.normal(size=(30, 50)) + 3
    fitted = Mahalanobis.fit(train)
    assert fitted.score(far).min() > fitted.score(near).max()


def test_a_feature_that_never_varies_does_not_break_the_distance():
    features, labels = clouds()
    padded = np.concatenate([features, np.full((len(features), 1), 7.0)], axis=1)
    assert np.all(np.isfinite(Mahalanobis.fit(padded, labels).score(padded)))


def test_training_features_that_never_vary_give_no_scale_and_no_distance():
    assert Mahalanobis.fit(np.ones((2, 3))).score(np.arange(6.0).reshape(2, 3)).tolist() == [0, 0]


def test_neighbours_agree_with_scikit_learn_on_unit_features():
    train, queries = (np.random.default_rng(s).normal(size=(n, 6)) for s, n in ((0, 90), (1, 25)))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (train, queries)]
    expected = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(unit[0]).kneighbors(unit[1])[0][:, -1]
    assert NearestNeighbours.fit(train, 4).score(queries) == pytest.approx(expected, abs=1e-9)


def test_chunks_change_nothing(monkeypatch):
    train, queries = (np.random.default_rng(s).normal(size=(40, 6)) for s in (0, 1))
    fitted = NearestNeighbours.fit(train, 3)
    whole = fitted.score(queries)
    monkeypatch.setattr(distance, "CHUNK_CELLS", 100)
    assert fitted.score(queries) == pytest.approx(whole, abs=1e-12)


def test_neighbours_see_the_direction_and_not_the_length():
    train = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert NearestNeighbours.fit(train, 1).score(np.array([[5.0, 0.0], [0.0, -2.0]])) == pytest.approx([0.0, np.sqrt(2)], abs=1e-7)
    assert NearestNeighbours.fit(train, 10).score(np.array([[3.0, 0.0]])) == pytest.approx([2.0])  # the farthest of the three
    assert np.isfinite(NearestNeighbours.fit(train, 1).score(np.zeros((1, 2)))).all()


def test_features_that_are_not_finite_or_not_there_are_refused():
    with pytest.raises(ValueError, match="finite"):
        Mahalanobis.fit(np.array([[np.nan, 0.0]]))
    with pytest.raises(ValueError, match="no features"):
        NearestNeighbours.fit(np.empty((0, 3)))
    with pytest.raises(ValueError, match="k=0"):
        NearestNeighbours.fit(np.ones((2, 3)), 0)
    with pytest.raises(ValueError, match="1 labels for 2 rows"):
        Mahalanobis.fit(np.ones((2, 3)), ["a"])
