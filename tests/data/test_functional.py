"""Generated problems: what their maker promises, held against the definition."""

import numpy as np
import pytest

from pellucid.data import functional
from pellucid.errors import BadData, BadUsage
from pellucid.explain.dependence import properties, sets, truth


@pytest.mark.parametrize("columns", [2, 5, 8])
def test_without_deletions_the_stated_truth_is_the_only_one(columns):
    for seed in range(5):
        problem = functional.multivariate(np.random.default_rng(seed), columns, functional.Shapes(4, drop=0.0))
        found = truth.of_points(problem.points, problem.labels)
        assert (found.smallest[:, 0] == problem.stated).all()
        assert (found.smallest[:, 1:] == -1).all()


def test_labels_are_parity_and_shapes_share_no_coordinate():
    problem = functional.multivariate(np.random.default_rng(3), 6, functional.Shapes(5, drop=0.0))
    for shape in np.unique(problem.shape):
        mine, others = problem.points[problem.shape == shape], problem.points[problem.shape != shape]
        flips = sets.size(truth.differing(mine)[0])
        assert (problem.labels[problem.shape == shape] == (flips + 1) % 2).all()
        assert not (np.abs(mine[:, None] - others) < functional.SPACING / 2).any()
        assert len(mine) == 2 ** int(sets.size(problem.stated[problem.shape == shape])[0])


def test_coordinates_are_a_spacing_apart_and_centred():
    points = functional.multivariate(np.random.default_rng(4), 4).points
    for column in points.T:
        values = np.unique(column)
        gaps = np.diff(values) / functional.SPACING
        assert np.allclose(gaps, gaps.round(), atol=1e-9) and gaps.min() > 0.9


def test_deletions_free_neighbours_and_sometimes_mislead_the_maker():
    """After a deletion the stated set never needs a column that the definition does not."""
    wrong = 0
    for seed in range(40):
        problem = functional.multivariate(np.random.default_rng(seed), 6, functional.Shapes(6))
        found = truth.of_points(problem.points, problem.labels)
        sound = properties.sound(found, problem.stated)
        assert (found.smallest[sound, 0] == problem.stated[sound]).all()
        assert (found.size[~sound] > sets.size(problem.stated[~sound])).all()
        wrong += int((~sound).sum())
    assert wrong > 0


def test_a_pair_differs_in_one_column_and_in_its_label():
    problem = functional.univariate(np.random.default_rng(0), 5, limit=4.0)
    found = truth.of_points(problem.points, problem.labels)
    assert len(problem.points) == 20
    assert (found.smallest == problem.stated[:, None]).all()
    assert (problem.labels == np.arange(20) % 2).all()
    assert np.abs(problem.points).max() <= 4


@pytest.mark.parametrize(("target", "classes"), [("classes", 3), ("value", 2)])
def test_more_classes_and_values_need_every_column_too(target, classes):
    shapes = functional.Shapes(3, drop=0.0, target=target, classes=classes)
    problem = functional.multivariate(np.random.default_rng(2), 5, shapes)
    found = truth.of_points(problem.points, problem.labels)
    assert problem.classes == (classes if target == "classes" else 0)
    assert (found.smallest == problem.stated[:, None]).all()


def test_the_same_seed_makes_the_same_problems():
    for name in ("univariate", "multivariate"):
        here, there, other = (functional.generated(name, 6, seed) for seed in (0, 0, 1))
        assert all(np.array_equal(a.points, b.points) and np.array_equal(a.labels, b.labels) for a, b in zip(here, there, strict=True))
        assert not all(np.array_equal(a.points, b.points) for a, b in zip(here, other, strict=False))


def test_noise_changes_the_share_of_labels_asked_for():
    problem = functional.multivariate(np.random.default_rng(0), 5, functional.Shapes(9, drop=0.0))
    noisy = functional.with_noise(problem, 0.3)
    assert 0.15 < (noisy.labels != problem.labels).mean() < 0.45
    assert (noisy.stated == -1).all()
    assert truth.of_points(noisy.points, noisy.labels).size.min() >= 0


def test_draws_lie_a_standard_deviation_around_their_points():
    problem = functional.multivariate(np.random.default_rng(0), 4)
    points, origin = problem.sample(4000, seed=1)
    apart = points - problem.points[origin]
    assert abs(apart.mean()) < 0.01
    assert apart.std() == pytest.approx(problem.std, rel=0.03)
    assert np.bincount(origin).min() >= 4000 // len(problem.points)


def test_rows_are_read_by_place():
    rows = functional.read("4_20/points")
    again = functional.read("4_20/train")
    assert len(again) == 2000
    assert all(len(row["point"]) == 4 and row["label"] in (0, 1) and row["planted"] for row in rows)
    for place in ("4_20/all", "4/points", "99_0/points", "a/b/c/points"):
        with pytest.raises(BadUsage):
            functional.read(place)


def test_published_problems_come_from_an_archive(tmp_path, monkeypatch):
    points = np.array([[0.0, 0.25], [0.25, 0.25], [1.0, 1.0], [1.0, 1.25]])
    np.savez(
        tmp_path / "tuning.npz", **{"2_0/X": points, "2_0/y": np.array([1, 0, 1, 0]), "2_0/S": np.array([[1, 0], [1, 0], [0, 1], [0, 1]])}
    )
    (problem,) = functional.published("tuning", tmp_path)
    assert problem.stated.tolist() == [1, 1, 2, 2]
    assert problem.shape.tolist() == [0, 0, 2, 2]
    with pytest.raises(BadData, match=r"multivariate\.npz: no such file"):
        functional.published("multivariate", tmp_path)
    monkeypatch.delenv("PELLUCID_DATA", raising=False)
    with pytest.raises(BadUsage, match="set PELLUCID_DATA"):
        functional.published("tuning")
