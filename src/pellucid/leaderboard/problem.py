"""One problem with all that a method may ask of it, whatever kind of method it is."""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from pellucid.data.functional import Problem
from pellucid.explain.attribution import Statistics
from pellucid.explain.dependence import sets, truth
from pellucid.explain.dependence.game import Game
from pellucid.explain.dependence.truth import Truth
from pellucid.explain.probe import Probe, ask, read
from pellucid.tasks.synthetic import task as room
from pellucid.tasks.synthetic.mixture import OFFICIAL_EPS, Mixture
from pellucid.tasks.synthetic.settings import SyntheticSettings
from pellucid.tasks.synthetic.task import Synthetic

STATISTICS_DRAWS = 512
FIT_STEPS, FIT_DRAWS = 400, 2048


@dataclass(frozen=True)
class Form:
    """How a problem is met.

    Args:
        model: `exact`, or a `network` fitted to draws, whose wrong points are left out of the scores.
        embedding: as in the task's settings.
        score: what is explained of a class.
        official: the authors' eps, and their gradient of a wider mixture.
        certainty: take as truth the smallest sets that make the answer this certain, instead of those that decide the label.
    """

    model: Literal["exact", "network"] = "exact"
    embedding: Literal["columns", "tokens", "patches"] = "columns"
    score: Literal["log-probability", "value"] = "value"
    official: bool = False
    certainty: float | None = None


class FunctionalTask:
    """A problem as data, as a differentiable model, as conditionals, as a sampler, and as a task of this package."""

    def __init__(self, problem: Problem, form: Form = Form()):
        self.problem, self.form = problem, form
        self.table_s = 0.0

    # ---- what there is -----------------------------------------------------------------------------------------------

    @property
    def X(self) -> Float[np.ndarray, "b n"]:  # noqa: N802 - the name that users of sklearn know
        """The points to explain."""
        return self.problem.points

    @property
    def y(self) -> Shaped[np.ndarray, " b"]:
        """Their labels."""
        return self.problem.labels

    @property
    def feature_names(self) -> list[str]:
        """`x0`, `x1`, ..."""
        return [f"x{k}" for k in range(self.X.shape[1])]

    @property
    def meta(self) -> dict[str, Any]:
        """Name, columns, points, classes, width, and the shape each point belongs to."""
        n, k = self.X.shape[1], len(self.X)
        return {
            "name": self.problem.name,
            "d": n,
            "K": k,
            "classes": self.problem.classes,
            "std": self.problem.std,
            "shape": self.problem.shape,
        }

    @cached_property
    def truths(self) -> Truth:
        """What decides each point, from the definition; or, with a certainty asked for, from the exact conditionals."""
        if self.form.certainty is None:
            return truth.of_points(self.X, self.y)
        certainty = np.zeros((1 << self.X.shape[1], len(self.X)))
        for rows, game in self.games:
            certainty[:, rows] = game.certainty
        return truth.relaxed(certainty, self.form.certainty)

    def truth(self, i: int) -> list[list[int]]:
        """All right explanations of a point, as lists of columns."""
        return [sets.columns_of(mask) for mask in self.truths.sets_of(i)]

    # ---- the model ---------------------------------------------------------------------------------------------------

    @cached_property
    def mixture(self) -> Mixture:
        """The exact function, in 64 bits."""
        eps = OFFICIAL_EPS if self.form.official else 0.0
        return Mixture(torch.tensor(self.X), torch.tensor(self.y), self.problem.classes, self.problem.std, eps)

    def predict(self, points: Shaped[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Probabilities of the classes, or values; differentiable."""
        return self.mixture(points)

    def marginal(self, points: Float[np.ndarray, "b n"], mask: int) -> Float[np.ndarray, "b c"]:
        """The same when only the columns of a set are known."""
        known = torch.tensor(sets.member(np.array([mask]), points.shape[1]))
        return self.mixture.marginal(torch.tensor(points), known)[0].numpy()

    def sample(self, count: int, seed: int = 0) -> tuple[Float[np.ndarray, "m n"], Shaped[np.ndarray, " m"]]:
        """Draws and their labels."""
        points, origin = self.problem.sample(count, seed)
        return points, self.y[origin]

    @cached_property
    def games(self) -> list[tuple[np.ndarray, Game]]:
        """The points to explain by the class that is explained: class 1 of two, else each point's own; and the game of each."""
        classes = self.problem.classes
        if classes <= 2:
            return [(np.arange(len(self.X)), self._game(self.X, -1))]
        return [(rows, self._game(self.X[rows], c)) for c in range(classes) if len(rows := np.flatnonzero(self.y == c))]

    def _game(self, points: Float[np.ndarray, "p n"], column: int) -> Game:
        columns, mixture = points.shape[1], self.mixture
        known = torch.tensor(sets.member(sets.everything(columns), columns))

        @torch.no_grad()
        def predict(some: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " m"]:
            return mixture(torch.from_numpy(some))[:, column].numpy()

        @torch.no_grad()
        def gradient(some: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
            where = torch.from_numpy(some)
            return (mixture.official_gradient(where) if self.form.official else mixture.gradient(where, column)).numpy()

        def condition(some: Float[np.ndarray, "m n"]) -> tuple[Float[np.ndarray, "s m"], Float[np.ndarray, "s m"]]:
            start = time.process_time()
            found = mixture.marginal(torch.from_numpy(some), known)
            certainty = found.amax(-1).numpy() if self.problem.classes else self._explained(torch.from_numpy(some), known)
            if self.problem.classes == 2:  # as the authors: of the one number, so that ties are theirs
                certainty = np.maximum(found[..., 1].numpy(), 1 - found[..., 1].numpy())
            self.table_s += time.process_time() - start
            return found[..., column].numpy(), certainty

        chance = 1 / self.problem.classes if self.problem.classes else 0.0
        return Game(points, predict, gradient, condition, self.X, self.problem.std, chance)

    def _explained(self, points: Tensor, known: Bool[Tensor, "s n"]) -> Float[np.ndarray, "s b"]:
        """Share of the values' variance that a set explains."""
        whole = float(np.var(self.y)) or 1.0
        return (1 - self.mixture.spread(points, known) / whole).clamp(0, 1).numpy()

    # ---- as a task of this package -----------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The points as examples."""
        return [{"id": str(i), "point": p, "label": y} for i, (p, y) in enumerate(zip(self.X.tolist(), self.y.tolist(), strict=True))]

    @cached_property
    def task(self) -> Synthetic:
        """The task; its network, where it has one, is fitted."""
        target: Literal["classes", "value"] = "classes" if self.problem.classes else "value"
        settings = SyntheticSettings(self.form.model, self.form.embedding, target, self.form.score, self.problem.std)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = room.build(settings, self.rows)
            return _fitted(made, self) if self.form.model == "network" else made

    @cached_property
    def faithful(self) -> Bool[np.ndarray, " b"]:
        """Where the model's prediction is the label (a value within a tenth of their spread); other points have no truth for it."""
        batch = self.task.collate(self.rows)
        with torch.no_grad():
            told = np.array(self.task.predict(self.task.model(batch), batch))
        return told == self.y if self.problem.classes else np.abs(told - self.y) <= 0.1 * max(float(np.std(self.y)), 1e-9)

    def probe(self) -> Probe:
        """The model's own answers at all points, put to it."""
        return ask(self.task, self.task.collate(self.rows), "input")

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and spread of each column's unit over draws: columns are not alike, so each has its own."""
        rows = [{**self.rows[0], "point": p} for p in self.problem.sample(STATISTICS_DRAWS)[0].tolist()]
        _, units, _ = read(self.task, self.task.collate(rows), "input")
        return Statistics(units.mean(0), units.std(0).clamp_min(0.01), "calibrated")


def _fitted(task: Synthetic, problem: FunctionalTask) -> Synthetic:
    """Adam on draws and the points, all at a time; tokens know the points' own values alone."""
    points, labels = problem.sample(0 if problem.form.embedding == "tokens" else FIT_DRAWS)
    rows = [{"point": p, "label": y} for p, y in zip(points.tolist(), labels.tolist(), strict=True)]
    batch = task.collate(rows + [{"point": row["point"], "label": row["label"]} for row in problem.rows])
    adam = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    for step in range(FIT_STEPS):
        adam.param_groups[0]["lr"] = 3e-3 * (1 - step / FIT_STEPS)
        loss = torch.stack(list(task.loss(task.model(batch), batch).values())).sum()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        adam.step()
    task.model.eval()
    return task


def in_form(problems: list[Problem], form: Form) -> list[FunctionalTask]:
    """The problems, met so."""
    return [FunctionalTask(problem, form) for problem in problems]
