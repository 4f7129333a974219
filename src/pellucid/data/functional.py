"""Tables of points whose right explanations can be computed: generated, or the published ones.

A problem is a handful of points with labels; a model of it is the mixture of one Gaussian per point. Source: Afchar et al. 2021.
"""

import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float, Int, Shaped

from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage

SPACING = 0.25  # least distance between different coordinates; Gaussians are half as wide
MOST_COLUMNS = 16  # 2^16 subsets are the most that are searched
PUBLISHED = ("univariate", "multivariate", "tuning")
PARTS = {"points": 0, "train": 2000, "dev": 400, "test": 400, "repeats": 2000}


@dataclass(frozen=True)
class Problem:
    """Points, what they are, and which columns their maker says decide it.

    Args:
        labels: whole numbers from 0 for classes, any numbers for values.
        stated: per point the maker's set of deciding columns as bits, -1 where the maker says nothing.
        shape: which of the planted shapes a point belongs to; points of different shapes share no coordinate.
        classes: how many; 0 for values.
        std: width of the Gaussian around each point.
    """

    name: str
    points: Float[np.ndarray, "b n"]
    labels: Shaped[np.ndarray, " b"]
    stated: Int[np.ndarray, " b"]
    shape: Int[np.ndarray, " b"]
    classes: int = 2
    std: float = SPACING / 2

    def sample(self, count: int, seed: int = 0) -> tuple[Float[np.ndarray, "m n"], Int[np.ndarray, " m"]]:
        """Draws of the mixture, and which point each came from."""
        rng = np.random.default_rng(seed)
        origin = rng.permutation(np.arange(count) % len(self.points))
        return self.points[origin] + rng.normal(0.0, self.std, (count, self.points.shape[1])), origin


# ---- generating ---------------------------------------------------------------------------------------------------------


def univariate(rng: np.random.Generator, columns: int, pairs: int = 10, limit: float = 2.0, tries: int = 50) -> Problem:
    """Pairs of points that differ in one random column and in their label; a pair that finds no room is left out.

    Source: the authors' generator; limit and pairs, missing there, from their task files.
    """
    points = np.zeros((0, columns))
    stated: list[int] = []
    for _ in range(pairs):
        column = int(rng.integers(columns))
        pair = _placed_pair(rng, points, column, limit, tries)
        if pair is not None:
            points, stated = np.concatenate([points, pair]), [*stated, 1 << column, 1 << column]
    count = len(points)
    return Problem(f"univariate {columns}", points, np.arange(count) % 2, np.array(stated, dtype=np.int64), np.arange(count) // 2)


def _placed_pair(
    rng: np.random.Generator, taken: Float[np.ndarray, "b n"], column: int, limit: float, tries: int
) -> Float[np.ndarray, "2 n"] | None:
    pair = np.zeros((2, taken.shape[1]))
    for k in range(taken.shape[1]):
        spots: list[float] = []
        for _ in range(2 if k == column else 1):
            others = np.concatenate([taken[:, k], spots])
            free = (s for s in rng.uniform(-limit, limit, tries) if not (np.abs(others - s) < SPACING).any())
            spot = next(free, None)
            if spot is None:
                return None
            spots.append(float(spot))
        pair[:, k] = spots
    return pair


@dataclass(frozen=True)
class Shapes:
    """What `multivariate` plants.

    Args:
        count: shapes, each a hypercube on some columns with labels by parity.
        most: columns of a shape, 1 to so many.
        drop: chance that a vertex with two or more set bits is deleted, which frees its neighbours of a column.
        target: parity (two classes), the count of set bits modulo `classes`, or a number.
    """

    count: int = 5
    most: int = 5
    drop: float = 0.5
    target: Literal["classes", "value"] = "classes"
    classes: int = 2


def multivariate(rng: np.random.Generator, columns: int, shapes: Shapes = Shapes()) -> Problem:
    """Hypercubes on random columns, their labels by parity, so that every column of a whole cube matters at every vertex.

    `stated` follows the authors' rule for deleted vertices, which is wrong where a vertex three flips away survives.
    """
    used = np.zeros(columns, dtype=np.int64)
    cells, labels, stated, owner = [], [], [], []
    for shape in range(shapes.count):
        size = int(rng.integers(1, min(shapes.most, columns) + 1))
        chosen = np.sort(rng.permutation(columns)[:size])
        bits = (np.arange(2**size)[:, None] >> np.arange(size)) & 1  # v s
        cell = repeat(used, "n -> v n", v=2**size).copy()
        used += 1
        cell[:, chosen] = np.where(bits == 1, used[chosen], cell[:, chosen])
        used[chosen] += 1
        truth, kept = _thinned(rng, bits, chosen, shapes.drop)
        cells.append(cell[kept])
        labels.append(_labels(rng, bits, shapes)[kept])
        stated.append(truth[kept])
        owner.append(np.full(int(kept.sum()), shape))
    points = _placed(rng, np.concatenate(cells), used)
    classes = shapes.classes if shapes.target == "classes" else 0
    return Problem(f"multivariate {columns}", points, np.concatenate(labels), np.concatenate(stated), np.concatenate(owner), classes)


def _labels(rng: np.random.Generator, bits: Int[np.ndarray, "v s"], shapes: Shapes) -> Shaped[np.ndarray, " v"]:
    count = bits.sum(1)
    if shapes.target == "classes":
        return (count + 1) % 2 if shapes.classes == 2 else count % shapes.classes
    steps = rng.uniform(0.5, 1.0, bits.shape[1]) * rng.choice([-1.0, 1.0], bits.shape[1])
    return bits @ steps + rng.uniform(-1.0, 1.0)  # every flip moves the value by half at least


def _thinned(
    rng: np.random.Generator, bits: Int[np.ndarray, "v s"], chosen: Int[np.ndarray, " s"], drop: float
) -> tuple[Int[np.ndarray, " v"], Bool[np.ndarray, " v"]]:
    """The maker's deciding columns of each vertex, and which vertices stay."""
    corners, size = bits.shape
    gone = (rng.random(corners) < drop) & (bits.sum(1) > 1)
    vertex = np.arange(corners)
    needed = np.stack([~gone[vertex ^ (1 << k)] for k in range(size)], axis=1)  # v s: the neighbour is still there
    truth = (needed * (1 << chosen)).sum(1)
    return truth, ~gone & (truth > 0)


def _placed(rng: np.random.Generator, cells: Int[np.ndarray, "b n"], used: Int[np.ndarray, " n"]) -> Float[np.ndarray, "b n"]:
    """Coordinates a spacing apart and centred, in an order of their own in each column."""
    points = np.zeros(cells.shape)
    for k, count in enumerate(used):
        spots = SPACING * (np.arange(count) - (count - 1) / 2)
        points[:, k] = rng.permutation(spots)[cells[:, k]]
    return points


def generated(name: str, count: int, seed: int = 0, shapes: Shapes = Shapes()) -> list[Problem]:
    """As many problems of a published set's kind as asked for, columns and difficulty spread as there; the same for the same seed.

    Args:
        shapes: of multivariate problems, but for their count.
    Raises:
        BadUsage: no such set.
    """
    if name not in PUBLISHED:
        raise BadUsage(f"no set {name!r}" + nearest(name, PUBLISHED))
    problems = []
    for i in range(count):
        columns, share = 2 + i * 10 // count, i * 10 % count / count  # 2 to 11, as the published
        rng = np.random.default_rng([seed, PUBLISHED.index(name), i])
        level = 1 + int(share * 10)
        one = univariate(rng, columns, level) if name == "univariate" else multivariate(rng, columns, replace(shapes, count=level))
        problems.append(replace(one, name=f"{name} {columns} columns, seed {seed}.{i}"))
    return [p for p in problems if len(p.points)]


# ---- making harder ------------------------------------------------------------------------------------------------------


def duplicated(problem: Problem, column: int) -> Problem:
    """The same with a copy of one column at the end: whatever needed it has two right answers."""
    points = np.concatenate([problem.points, problem.points[:, [column]]], axis=1)
    return replace(problem, name=f"{problem.name}, column {column} twice", points=points)


def with_dummies(problem: Problem, count: int = 1) -> Problem:
    """Every point at each of two values of `count` more columns, which therefore never matter."""
    bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    more = repeat(SPACING * (bits - 0.5), "v k -> (b v) k", b=len(problem.points))

    def each(value: np.ndarray) -> np.ndarray:
        return np.repeat(value, 2**count, axis=0)

    points = np.concatenate([each(problem.points), more], axis=1)
    name = f"{problem.name}, {count} dummies"
    return replace(problem, name=name, points=points, labels=each(problem.labels), stated=each(problem.stated), shape=each(problem.shape))


def with_noise(problem: Problem, share: float, seed: int = 0) -> Problem:
    """A share of the labels changed to another; what decides is then for the definition to say, so `stated` is -1.

    Raises:
        BadUsage: the problem has values, not classes.
    """
    if not problem.classes:
        raise BadUsage(f"{problem.name}: label noise is for classes")
    rng = np.random.default_rng(seed)
    hit = rng.random(len(problem.labels)) < share
    moved = (problem.labels + rng.integers(1, problem.classes, len(problem.labels))) % problem.classes
    name = f"{problem.name}, {share:.0%} label noise"
    return replace(problem, name=name, labels=np.where(hit, moved, problem.labels), stated=np.full(len(hit), -1))


def blurred(problem: Problem, std: float) -> Problem:
    """The same with wider Gaussians, so that how much certainty is asked for matters."""
    return replace(problem, name=f"{problem.name}, std {std:g}", std=std)


# ---- the published ones -------------------------------------------------------------------------------------------------


def published_folder() -> pathlib.Path:
    """Where the published problems are kept: `functional_tasks` in the folder that PELLUCID_DATA names.

    Raises:
        BadUsage: PELLUCID_DATA is not set.
    """
    if "PELLUCID_DATA" not in os.environ:
        raise BadUsage("the published problems are read from $PELLUCID_DATA/functional_tasks; set PELLUCID_DATA, or use generated ones")
    return pathlib.Path(os.environ["PELLUCID_DATA"]).expanduser() / "functional_tasks"


def published(name: str, folder: pathlib.Path | None = None) -> list[Problem]:
    """The problems of `NAME.npz`, in file order.

    Raises:
        BadUsage: no such set.
        BadData: no such file, or it is not such an archive.
    """
    if name not in PUBLISHED:
        raise BadUsage(f"no set {name!r}" + nearest(name, PUBLISHED))
    path = (folder or published_folder()) / f"{name}.npz"
    if not path.is_file():
        raise BadData(f"{path}: no such file; it holds the published problems")
    with np.load(path, allow_pickle=False) as archive:
        names = [key.removesuffix("/X") for key in archive.files if key.endswith("/X")]
        if not names or any(f"{one}/{part}" not in archive for one in names for part in "yS"):
            raise BadData(f"{path}: expected X, y and S for each problem")
        return [_published(f"{name} {one}", *(np.asarray(archive[f"{one}/{part}"]) for part in "XyS")) for one in names]


def _published(name: str, points: np.ndarray, labels: np.ndarray, stated: np.ndarray) -> Problem:
    masks = 1 << stated.astype(np.int64) if stated.ndim == 1 else stated.astype(np.int64) @ (1 << np.arange(points.shape[1]))
    return Problem(name, points.astype(np.float64), labels.astype(np.int64), masks, components(points))


def components(points: Float[np.ndarray, "b n"]) -> Int[np.ndarray, " b"]:
    """Which connected group each point is in, where points that share a coordinate are connected."""
    touching = reduce(np.abs(rearrange(points, "b n -> b 1 n") - points) < SPACING / 2, "a b n -> a b", "max")
    group = np.arange(len(points))
    while True:
        least = np.where(touching, group, len(points)).min(1)
        if (least == group).all():
            return group
        group = least


# ---- as rows ------------------------------------------------------------------------------------------------------------


def read(place: str) -> list[dict[str, Any]]:
    """Rows of `COLUMNS_DIFFICULTY/PART` (generated, as `4_20/train`) or `SET/COLUMNS_DIFFICULTY/PART` (published).

    A row has its `point` (a list of numbers), its `label`, and as `planted` the columns that its maker says decide.
    Parts: `points`, the problem's own; `train`, `dev` and `test`, draws around them; `repeats`, the points over and over.

    Raises:
        BadUsage: not such a place.
    """
    *above, part = place.split("/")
    if part not in PARTS or len(above) not in (1, 2):
        raise BadUsage(f"functional:{place}: expected [SET/]COLUMNS_DIFFICULTY/PART, as in 4_20/train; parts are {', '.join(PARTS)}")
    return list(_rows(_find(place, *above), place, part))


def _find(place: str, *above: str) -> Problem:
    if len(above) == 2:
        found = {p.name.split()[-1]: p for p in published(above[0])}
        if above[1] not in found:
            raise BadUsage(f"functional:{place}: no problem {above[1]!r}" + nearest(above[1], list(found)))
        return found[above[1]]
    columns, _, difficulty = above[0].partition("_")
    if not columns.isdigit() or not difficulty.isdigit() or not 2 <= int(columns) <= MOST_COLUMNS or int(difficulty) > 100:
        raise BadUsage(f"functional:{place}: expected 2 to {MOST_COLUMNS} columns and a difficulty of 0 to 100, as in 4_20")
    rng = np.random.default_rng([int(columns), int(difficulty)])
    return multivariate(rng, int(columns), Shapes(1 + int(difficulty) // 10))


def _rows(problem: Problem, place: str, part: str) -> Iterator[dict[str, Any]]:
    if part == "points":
        points, origin = problem.points, np.arange(len(problem.points))
    else:
        points, origin = problem.sample(PARTS[part], list(PARTS).index(part))
        points = problem.points[origin] if part == "repeats" else points
    for row, (point, i) in enumerate(zip(points.tolist(), origin, strict=True), 1):
        planted = [k for k in range(len(point)) if int(problem.stated[i]) >> k & 1]
        yield {"id": f"functional:{place}:{row}", "point": point, "label": problem.labels[i].item(), "planted": planted}
