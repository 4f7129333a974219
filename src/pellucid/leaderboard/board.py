"""Makes a leaderboard: which problems, which methods, in which form; its numbers, and its pages."""

import math
import pathlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from pellucid import checkpoint
from pellucid.data import functional
from pellucid.data.functional import Problem
from pellucid.errors import BadUsage
from pellucid.explain.dependence.methods import SET_METHODS
from pellucid.explain.dependence.trained import SELECTORS, Budget
from pellucid.leaderboard import entries, page, score
from pellucid.leaderboard.problem import Form, in_form

KINDS = ("plain", "duplicated", "dummies", "noise", "classes", "value")
COUNTS = {False: (30, 60, 20), True: (10, 20, 10)}  # tuning, multivariate, univariate, by quick
MOST_POINTS = 200  # one published problem has 1,045 points; it is left out, as in the authors' table restated


@dataclass(frozen=True)
class Asked:
    """Which leaderboard.

    Args:
        names: methods, or `./mine.py:function`; `all` for every method but the trained ones, `trained` for those.
        problems: `generated`, or the `published` ones in $PELLUCID_DATA/functional_tasks.
        kind: plain, or made harder: a column twice, two columns that never matter, a tenth of the labels changed, three
            classes, or values; the last two are generated.
        std: width of the Gaussians; None keeps a half spacing.
        quick: a third of the generated problems.
        every: of the published problems, one in so many of each number of columns.
    """

    names: tuple[str, ...]
    problems: Literal["generated", "published"] = "generated"
    kind: str = "plain"
    std: float | None = None
    quick: bool = False
    every: int = 5
    form: Form = field(default_factory=Form)
    protocol: score.Protocol = field(default_factory=score.Protocol)
    budget: Budget = field(default_factory=Budget)


FLAGS = {
    "method": "all",
    "tasks": "generated",
    "kind": "plain",
    "model": "exact",
    "embedding": "columns",
    "score": "value",
    "std": None,
    "certainty": None,
    "quick": False,
    "official": False,
    "steps": 5000,
    "seeds": 2,
}


def from_flags(**flags: Any) -> Asked:
    """What the flags of `pellucid check-method` ask for; those not given are as FLAGS has them.

    Raises:
        BadUsage: a number that cannot be.
    """
    given = FLAGS | flags
    for name, low, high in (("steps", 1, math.inf), ("seeds", 1, 100), ("std", 1e-6, math.inf), ("certainty", 0.0, 1.0)):
        if given[name] is not None and not low <= given[name] <= high:
            raise BadUsage(
                f"--{name} {given[name]}: expected {low:g} to {high:g}" if high < math.inf else f"--{name} {given[name]}: too small"
            )
    names = tuple(name.strip() for name in given["method"].split(",") if name.strip())
    if not names:
        raise BadUsage("no method named; `all` takes every one")
    return Asked(
        names,
        given["tasks"],
        given["kind"],
        given["std"],
        given["quick"],
        form=Form(given["model"], given["embedding"], given["score"], given["official"], given["certainty"]),
        protocol=score.Protocol(given["seeds"], given["official"]),
        budget=Budget(given["steps"]),
    )


def command(asked: Asked, folder: str) -> str:
    """The command that asks for this."""
    form = asked.form
    told = {
        "tasks": asked.problems,
        "kind": asked.kind,
        "model": form.model,
        "embedding": form.embedding,
        "score": form.score,
        "std": asked.std,
        "certainty": form.certainty,
        "quick": asked.quick,
        "official": form.official,
        "steps": asked.budget.steps,
        "seeds": asked.protocol.seeds,
    }
    flags = [f"--{k}" if v is True else f"--{k} {v}" for k, v in told.items() if v != FLAGS[k]]
    return " ".join(["pellucid check-method", ",".join(asked.names), *flags, f"--write {folder}"])


def chosen(asked: Asked) -> list[entries.Entry]:
    """The methods asked for, in order."""
    if asked.protocol.official:
        names = [n.removeprefix("game:") for n in asked.names]
        names = list(SET_METHODS) if "all" in names else names
        unknown = [n for n in names if n not in SET_METHODS]
        if unknown:
            raise BadUsage(f"{unknown[0]}: the authors' protocol knows {', '.join(SET_METHODS)}")
        return [entries.of_game(name, name, official=True) for name in names]
    found: list[str] = []
    for name in asked.names:
        several = {"all": [n for n in entries.names() if n not in SELECTORS], "trained": list(SELECTORS)}
        found += several.get(name, [name])
    return [entries.entry(name, asked.budget) for name in dict.fromkeys(found)]


def problems(asked: Asked) -> dict[str, list[Problem]]:
    """`tuning`, `multivariate` and `univariate`.

    Raises:
        BadUsage: an unknown kind, or one that the published problems do not have.
    """
    if asked.kind not in KINDS:
        raise BadUsage(f"no kind of problems {asked.kind!r}; there are {', '.join(KINDS)}")
    if asked.problems == "published":
        if asked.kind in ("classes", "value"):
            raise BadUsage(f"the published problems have two classes; kind {asked.kind} is generated")
        plain = {name: _some(functional.published(name), 1 if name == "tuning" else asked.every) for name in functional.PUBLISHED}
    else:
        tuning, multivariate, univariate = COUNTS[asked.quick]
        made = replace(
            functional.Shapes(), target="value" if asked.kind == "value" else "classes", classes=3 if asked.kind == "classes" else 2
        )
        plain = {
            "tuning": functional.generated("multivariate", tuning, 1, made),
            "multivariate": functional.generated("multivariate", multivariate, 0, made),
            "univariate": functional.generated("univariate", univariate, 0),
        }
    return {name: [_harder(p, asked, i) for i, p in enumerate(some)] for name, some in plain.items()}


def _some(found: list[Problem], every: int) -> list[Problem]:
    """By the number after the columns in a problem's name, as the authors' table restated."""
    return [p for p in found if int(p.name.split("_")[-1]) % every == 0 and len(p.points) <= MOST_POINTS]


def _harder(problem: Problem, asked: Asked, seed: int) -> Problem:
    if asked.kind == "duplicated":
        problem = functional.duplicated(problem, int(np.random.default_rng(seed).integers(problem.points.shape[1])))
    elif asked.kind == "dummies":
        problem = functional.with_dummies(problem, 2 if len(problem.points) <= 50 else 1)
    elif asked.kind == "noise" and problem.classes:
        problem = functional.with_noise(problem, 0.1, seed)
    return functional.blurred(problem, asked.std) if asked.std else problem


def measure(asked: Asked, watch: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Every row: the numbers on multivariate problems, and the main ones on univariate problems at the same level.

    A method that cannot be asked, where several are, has a row that says why.
    """
    found = problems(asked)
    tasks = {name: in_form(some, asked.form) for name, some in found.items()}
    rows = []
    several = chosen(asked)
    for entry in several:
        try:
            row = score.score(entry, tasks["tuning"], tasks["multivariate"], asked.protocol, watch)
            row["univariate"] = score.at_level(entry, row["level"], tasks["univariate"], asked.protocol)
        except BadUsage as why:
            if len(several) == 1:
                raise
            row = {"name": entry.name, "kind": entry.kind, "about": entry.about, "skipped": str(why)}
            watch(f"{entry.name}: left out: {why}")
        rows.append(row)
    scored = sorted((r for r in rows if "metrics" in r), key=lambda r: -(r["metrics"]["exact"]["value"] or 0.0))
    return {
        "name": "functional",
        "problems": asked.problems,
        "kind": asked.kind,
        "form": {k: getattr(asked.form, k) for k in ("model", "embedding", "score", "official", "certainty")},
        "std": asked.std,
        "sizes": {name: {"problems": len(some), "points": sum(len(p.points) for p in some)} for name, some in found.items()},
        "determined": float(np.mean(np.concatenate([t.truths.size >= 0 for t in tasks["multivariate"]]))),
        "fidelity": _fidelity(tasks["multivariate"]) if asked.form.model == "network" else None,
        "rows": scored + [r for r in rows if "metrics" not in r],
    }


def _fidelity(tasks: list[Any]) -> float:
    """Share of points at which the network says the label, mean over problems; the others are left out of every number."""
    return float(np.mean([task.faithful.mean() for task in tasks]))


def write(found: dict[str, Any], folder: pathlib.Path, command: str) -> None:
    """Writes `functional.json`, `functional.md` and `functional.html`."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(folder / f"{found['name']}.json", {**found, "command": command})
    checkpoint.write_text(folder / f"{found['name']}.md", page.markdown(found, command))
    checkpoint.write_text(folder / f"{found['name']}.html", page.html(found, command))
