"""Anything that explains, made alike: an entry answers for all points of a problem at once, at every level of its threshold."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pellucid.coerce import nearest
from pellucid.errors import BadUsage
from pellucid.explain import catalog
from pellucid.explain.attribution import Attribution
from pellucid.explain.dependence import select, sets
from pellucid.explain.dependence.methods import NO_LEVEL, SET_METHODS, Answer
from pellucid.explain.dependence.trained import DEFAULT, SELECTORS, Budget
from pellucid.explain.methods import METHODS, Method
from pellucid.leaderboard.problem import FunctionalTask
from pellucid.recipe import file_module

CLASS_FORMS = "fit(self, sampler) with weights(self, points) or select(self, points)"
FORMS = {
    "probe": "function(probe, statistics, seed) -> Attribution",
    "subset": "select(task, x) -> columns of one point: indices, names or booleans",
    "captum": "attribute(model, inputs, target, baselines) -> a tensor like inputs",
    "black box": "explain(f, x, background) -> one number per column of one point x",
    "trained": f"a class with {CLASS_FORMS}",
}
BACKGROUND_ROWS = 100


@dataclass(frozen=True)
class Entry:
    """One line of a leaderboard.

    Args:
        kind: how the method is asked: a key of FORMS, or "set function".
        answer: what it says, by problem, levels and seed.
        levels: of its threshold; one NaN where it has none.
        draws: whether another seed may change the answer.
        official: the level that the authors ship, where they do.
    """

    name: str
    kind: str
    about: str
    answer: Callable[[FunctionalTask, Float[np.ndarray, " l"], int], Answer]
    levels: Float[np.ndarray, " l"] = field(default_factory=select.GRID.copy)
    draws: bool = True
    official: float | None = None


def weighed(weights: Float[np.ndarray, "b n"], levels: Float[np.ndarray, " l"]) -> Answer:
    """Sets by the authors' share rule."""
    if not np.isfinite(weights).all():
        raise BadUsage("the method gave numbers that are not finite")
    return Answer(select.by_share(weights, levels), weights)


# ---- ours ---------------------------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Every method there is: of a probe, of a set function, trained."""
    return [*METHODS, *(_alias(name) for name in SET_METHODS), *SELECTORS]


def _alias(name: str) -> str:
    """A set function that shares its name with a method of a probe is called `game:NAME`."""
    return f"game:{name}" if name in METHODS else name


def entry(name: str, budget: Budget = DEFAULT) -> Entry:
    """A method by its name, or `./mine.py:function`.

    Raises:
        BadUsage: no such method, file or function, or its parameters say no known form.
    """
    if ":" in name and not name.startswith("game:"):
        return of_file(name)
    if name in METHODS:
        return of_probe(name, catalog.METHODS.get(name, ""), METHODS[name])
    bare = name.removeprefix("game:")
    if bare in SET_METHODS:
        return of_game(name, bare)
    if name in SELECTORS:
        return trained(name, f"trained selector, {budget.steps} steps", SELECTORS[name], budget)
    raise BadUsage(f"no method {name!r}" + nearest(name, names()))


def of_game(name: str, bare: str, official: bool = False) -> Entry:
    """A set function; `official` restates the authors' program."""
    method = SET_METHODS[bare]

    def answer(task: FunctionalTask, levels: Float[np.ndarray, " l"], seed: int) -> Answer:
        parts = [(rows, method.answer(game, levels, seed, official)) for rows, game in task.games]
        chosen = np.zeros((len(levels), len(task.X)), dtype=np.int64)
        weights = np.zeros(task.X.shape)
        for rows, part in parts:
            chosen[:, rows] = part.chosen
            if part.weights is not None:
                weights[rows] = part.weights
        return Answer(chosen, weights if method.weigh is not None else None)

    return Entry(name, "set function", method.about, answer, method.levels, method.draws, select.OFFICIAL_LEVELS.get(bare))


def of_probe(name: str, about: str, method: Method) -> Entry:
    """A method of a probe, asked at the task's input; a column is what its units are."""

    def answer(task: FunctionalTask, levels: Float[np.ndarray, " l"], seed: int) -> Answer:
        found = method(task.probe(), task.statistics, seed)
        if not isinstance(found, Attribution) or found.relevance.shape != task.X.shape:
            shape = tuple(found.relevance.shape) if isinstance(found, Attribution) else type(found).__name__
            raise BadUsage(f"{name} gave {shape}; expected an Attribution with one number per unit, {task.X.shape}")
        return weighed(found.relevance.detach().double().cpu().numpy(), levels)

    return Entry(name, "probe", about, answer)


def trained(name: str, about: str, build: Callable[..., Any], budget: Budget) -> Entry:
    """A selector fitted on draws of each problem; its logits are cut by their ratio to the largest."""

    def answer(task: FunctionalTask, levels: Float[np.ndarray, " l"], seed: int) -> Answer:
        fitted = build(task.X, task.problem.classes, seed, budget).fit(task.sample)
        logits = fitted.weights(task.X)
        return Answer(select.by_ratio(logits, levels), 1 / (1 + np.exp(-logits)))

    return Entry(name, "trained", about, answer, select.HALF_GRID, True, select.OFFICIAL_LEVELS.get(name))


# ---- yours --------------------------------------------------------------------------------------------------------------


def of_file(name: str) -> Entry:
    """A function or class of a user's file; which form it has is told by its parameters' names.

    Raises:
        BadUsage: no such file or function, or no known form.
    """
    place, _, function = name.rpartition(":")
    module = file_module(place)
    found = getattr(module, function, None)
    if not callable(found):
        raise BadUsage(f"no function {function!r} in {place}" + nearest(function, [k for k, v in vars(module).items() if callable(v)]))
    return of_callable(name, found)


def of_callable(name: str, found: Any) -> Entry:
    """The same of a Python object."""
    about = (inspect.getdoc(found) or "").split("\n")[0]
    kind = form_of(found)
    if kind == "probe":
        return of_probe(name, about, found)
    if kind == "trained":
        return Entry(name, kind, about, lambda task, levels, seed: _fitted(name, found, task, levels), levels_of(found))
    if kind == "subset":
        return Entry(name, kind, about, lambda task, levels, seed: Answer(_selected(name, found, task)), NO_LEVEL)
    ask = _captum if kind == "captum" else _black_box
    return Entry(name, kind, about, lambda task, levels, seed: weighed(_seeded(ask, found, task, seed), levels))


def form_of(found: Any) -> str:
    """The key of FORMS that a callable has.

    Raises:
        BadUsage: none.
    """
    if inspect.isclass(found):
        if callable(getattr(found, "fit", None)) and (hasattr(found, "weights") or hasattr(found, "select")):
            return "trained"
        raise BadUsage(f"class {found.__name__} is no selector: it needs {CLASS_FORMS}")
    parameters = list(inspect.signature(found).parameters)
    first = {"probe": "probe", "task": "subset", "model": "captum", "f": "black box"}
    if not parameters or parameters[0] not in first:
        told = "; ".join(FORMS.values())
        raise BadUsage(f"{getattr(found, '__name__', 'the method')}({', '.join(parameters)}) has no known form; write one of: {told}")
    return first[parameters[0]]


def levels_of(found: Any) -> Float[np.ndarray, " l"]:
    """No levels for a class that selects by itself."""
    return NO_LEVEL if hasattr(found, "select") else select.GRID


def _seeded(ask: Callable[..., Float[np.ndarray, "b n"]], found: Any, task: FunctionalTask, seed: int) -> Float[np.ndarray, "b n"]:
    """Asked with torch's and numpy's global generators seeded, and left as they were."""
    state = np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            weights = ask(found, task)
        finally:
            np.random.set_state(state)
    if weights.shape != task.X.shape:
        raise BadUsage(f"the method gave {weights.shape}; expected one number per column, {task.X.shape}")
    return weights


class Told(nn.Module):
    """Points in, what is said of each class out: the model as captum's methods want it."""

    def __init__(self, task: FunctionalTask):
        super().__init__()
        self.task = task.task
        self.model = task.task.model

    def forward(self, points: Float[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Probabilities, or the value."""
        output = self.model({"point": points})
        return output["logits"].softmax(-1) if "logits" in output else output["value"][:, None]


def _captum(found: Callable[..., Any], task: FunctionalTask) -> Float[np.ndarray, "b n"]:
    columns_only(task)
    inputs = torch.tensor(task.X, dtype=torch.float32, requires_grad=True)
    model = Told(task)
    with torch.no_grad():
        target = model(inputs).argmax(-1)
    baselines = torch.tensor(task.X.mean(0, keepdims=True), dtype=torch.float32).expand_as(inputs)
    given = found(model, inputs, target, baselines)
    return torch.as_tensor(given).detach().double().cpu().numpy()


def _black_box(found: Callable[..., Any], task: FunctionalTask) -> Float[np.ndarray, "b n"]:
    columns_only(task)
    model = Told(task)

    @torch.no_grad()
    def probs(points: Any) -> Float[np.ndarray, "m c"]:
        return model(torch.as_tensor(np.atleast_2d(np.asarray(points, dtype=np.float32)))).double().numpy()

    told = probs(task.X).argmax(-1)
    background = task.problem.sample(BACKGROUND_ROWS)[0]
    rows = [
        np.asarray(found(lambda points, c=int(c): probs(points)[:, c], x.copy(), background), dtype=np.float64).reshape(-1)
        for x, c in zip(task.X, told, strict=True)
    ]
    return np.stack(rows)


def columns_only(task: FunctionalTask) -> None:
    """Such methods meet columns, not tokens or patches."""
    if task.form.embedding != "columns":
        raise BadUsage(f"a {task.form.embedding} model reads no plain points; such a method is scored on --embedding columns")


def _selected(name: str, found: Callable[..., Any], task: FunctionalTask) -> Shaped[np.ndarray, "1 b"]:
    return np.array([[set_of(name, found(task, x.copy()), task.feature_names) for x in task.X]], dtype=np.int64)


def set_of(name: str, given: Iterable[Any], columns: Sequence[str]) -> int:
    """Bits of a selection told by indices, names, or one boolean per column.

    Raises:
        BadUsage: something else.
    """
    some = list(given)
    if len(some) == len(columns) and all(isinstance(v, (bool, np.bool_)) for v in some):
        return sets.mask_of(k for k, v in enumerate(some) if v)
    wanted = [columns.index(v) if v in columns else v for v in some]
    if any(isinstance(v, (str, bool)) or int(v) != v or not 0 <= int(v) < len(columns) for v in wanted):
        raise BadUsage(
            f"{name} selected {some}; expected indices below {len(columns)}, names ({', '.join(columns)}) or {len(columns)} booleans"
        )
    return sets.mask_of(int(v) for v in wanted)


def _fitted(name: str, build: Any, task: FunctionalTask, levels: Float[np.ndarray, " l"]) -> Answer:
    made = build()
    made.fit(task.sample)
    if hasattr(made, "select"):
        return Answer(np.array([[set_of(name, row, task.feature_names) for row in made.select(task.X)]], dtype=np.int64))
    return weighed(np.asarray(made.weights(task.X), dtype=np.float64), levels)
