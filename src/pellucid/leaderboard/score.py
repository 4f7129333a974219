"""Scores entries: the level chosen on tuning problems alone, every metric on the others, intervals by drawing problems again."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float

from pellucid.errors import BadUsage
from pellucid.explain.dependence import metrics
from pellucid.explain.dependence.methods import Answer
from pellucid.leaderboard.entries import Entry
from pellucid.leaderboard.problem import FunctionalTask

BY_LEVEL = tuple(f.name for f in fields(metrics.Scores))
BANDS = {"d": ((2, 3), (4, 5), (6, 7), (8, 9), (10, 16)), "K": ((1, 10), (11, 25), (26, 50), (51, 10**9))}
SIZES = ((0, 1), (2, 2), (3, 3), (4, 4), (5, 16))


@dataclass(frozen=True)
class Protocol:
    """How scores are made.

    Args:
        seeds: runs of a method that draws, for its stability; the first is the one scored.
        official: the authors' protocol: their shipped levels, against their labels.
        resamples: draws of problems for the intervals.
    """

    seeds: int = 2
    official: bool = False
    resamples: int = 1000


@dataclass(frozen=True)
class Gathered:
    """What an entry did on some problems: metric -> levels by problems; and single numbers by problem.

    Args:
        stable: problems asked with more than one seed have their overlap here.
    """

    by_level: dict[str, Float[np.ndarray, "l t"]]
    single: dict[str, Float[np.ndarray, " t"]]
    answers: list[Answer]
    time_s: float
    points: int


def gather(entry: Entry, levels: Float[np.ndarray, " l"], tasks: Sequence[FunctionalTask]) -> Gathered:
    """Asks an entry about every problem; points where the model is wrong do not count."""
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*BY_LEVEL, "stated")}
    single: dict[str, list[float]] = {"top": [], "average_precision": []}
    answers, spent, points = [], 0.0, 0
    for task in tasks:
        answer, seconds = timed(entry, task, levels)
        answers.append(answer)
        spent, points = spent + seconds, points + len(task.X)
        faithful = task.faithful if task.form.model == "network" else np.ones(len(task.X), dtype=bool)

        def mean(values: np.ndarray, faithful: np.ndarray = faithful) -> np.ndarray:
            return _mean(np.where(faithful, values, np.nan))

        scored = metrics.score(task.truths, answer.chosen)
        for name in BY_LEVEL:
            rows[name].append(mean(getattr(scored, name)))
        rows["stated"].append(mean(metrics.stated(task.problem.stated, answer.chosen)))
        known = answer.weights is not None
        single["top"].append(float(mean(metrics.top(task.truths, answer.weights))) if known else math.nan)  # type: ignore[arg-type]
        precision = float(mean(metrics.average_precision(task.truths, answer.weights))) if known else math.nan  # type: ignore[arg-type]
        single["average_precision"].append(precision)
    by_level = {name: np.stack(parts, axis=1) for name, parts in rows.items()}
    return Gathered(by_level, {k: np.array(v) for k, v in single.items()}, answers, spent, points)


def timed(entry: Entry, task: FunctionalTask, levels: Float[np.ndarray, " l"], seed: int = 0) -> tuple[Answer, float]:
    """The answer and its CPU seconds; a table of conditionals that another entry asked for before is counted again."""
    ready = task.table_s
    if entry.kind == "probe":
        _ = task.statistics  # fitting the model is not the method's work
    start = time.process_time()
    answer = entry.answer(task, levels, seed)
    return answer, time.process_time() - start + (ready if entry.kind == "set function" else 0.0)


def _mean(values: Float[np.ndarray, "*l b"]) -> Float[np.ndarray, "*l"]:
    number = (~np.isnan(values)).sum(-1)
    return np.divide(np.nansum(values, -1), number, out=np.full(values.shape[:-1], np.nan), where=number > 0)


def score(
    entry: Entry,
    tuning: Sequence[FunctionalTask],
    tasks: Sequence[FunctionalTask],
    protocol: Protocol = Protocol(),
    watch: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """One row of the leaderboard: tuned and threshold-free numbers together, with intervals and strata.

    Raises:
        BadUsage: a shipped level is asked for and there is none.
    """
    cut = not np.isnan(entry.levels).any()
    levels = entry.levels
    if protocol.official:
        if entry.official is None:
            raise BadUsage(f"{entry.name}: the authors ship no level for it")
        levels, cut = np.array([entry.official]), False
    tuned = gather(entry, levels, tuning).by_level["exact"] if cut else np.zeros((1, 1))
    watch(f"{entry.name}: tuned on {len(tuning)} problems" if cut else f"{entry.name}: no level to tune")
    found = gather(entry, levels, tasks)
    best = int(metrics.weighted(tuned, np.ones(tuned.shape[1])).argmax())
    chosen = [answer.chosen[best] for answer in found.answers]
    numbers = {name: metrics.nested(tuned, values, protocol.resamples) for name, values in found.by_level.items()}
    across = _across(entry, levels, best, tasks, chosen, protocol)
    numbers |= {name: metrics.interval(values, protocol.resamples) for name, values in (found.single | across).items()}
    if cut:
        numbers["area_over_levels"] = metrics.interval(metrics.area(levels, found.by_level["exact"]), protocol.resamples)
    watch(f"{entry.name}: exact {numbers['exact'].value:.3f}, {found.time_s:.1f} CPU s")
    return {
        "name": entry.name,
        "kind": entry.kind,
        "about": entry.about,
        "level": None if np.isnan(levels[best]) else float(levels[best]),
        "ms_per_point": 1000 * found.time_s / max(1, found.points),
        "metrics": {name: plain(asdict(one)) for name, one in numbers.items()},
        "strata": strata(tasks, found.by_level["exact"][best], chosen),
    }


def at_level(entry: Entry, level: float | None, tasks: Sequence[FunctionalTask], protocol: Protocol) -> dict[str, dict[str, Any]]:
    """The main numbers on other problems at a level that is given."""
    found = gather(entry, np.array([np.nan if level is None else level]), tasks)
    rows = {name: values[0] for name, values in found.by_level.items()} | found.single
    return {name: plain(asdict(metrics.interval(values, protocol.resamples))) for name, values in rows.items()}


def _across(
    entry: Entry,
    levels: Float[np.ndarray, " l"],
    best: int,
    tasks: Sequence[FunctionalTask],
    chosen: Sequence[np.ndarray],
    protocol: Protocol,
) -> dict[str, Float[np.ndarray, " t"]]:
    """What compares points, or runs, at the chosen level."""
    found: dict[str, list[float]] = {"violates_monotone": [], "official_property": [], "stability": []}
    for i, (task, mine) in enumerate(zip(tasks, chosen, strict=True)):
        found["violates_monotone"].append(metrics.violates_monotone(task.X, mine).mean())
        found["official_property"].append(metrics.official_property(task.X, task.problem.shape, mine).mean())
        again = entry.draws and i % 5 == 0  # every fifth problem tells enough of how much a seed moves
        others = [entry.answer(task, levels, seed).chosen[best] for seed in range(1, protocol.seeds)] if again else []
        found["stability"].append(float(metrics.stability(np.stack([mine, *others])).mean()) if again or not entry.draws else math.nan)
    return {name: np.array(values) for name, values in found.items()}


def strata(
    tasks: Sequence[FunctionalTask], exact: Float[np.ndarray, " t"], chosen: Sequence[np.ndarray]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Exact-set accuracy by columns (d), by size of the right explanation (|I*|), by points (K): means over problems."""
    sizes = {"d": np.array([t.X.shape[1] for t in tasks]), "K": np.array([len(t.X) for t in tasks])}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, size in sizes.items():
        rows = {_band(low, high): exact[(size >= low) & (size <= high)] for low, high in BANDS[name]}
        found[name] = {band: _told(values) for band, values in rows.items() if len(values)}
    parts: dict[str, list[float]] = {_band(low, high): [] for low, high in SIZES}
    for task, mine in zip(tasks, chosen, strict=True):
        right = metrics.score(task.truths, mine).exact
        for low, high in SIZES:
            inside = (task.truths.size >= low) & (task.truths.size <= high)
            if inside.any():
                parts[_band(low, high)].append(float(_mean(rearrange(right[inside], "b -> 1 b"))[0]))
    found["|I*|"] = {band: _told(np.array(values)) for band, values in parts.items() if values}
    return found


def _told(values: Float[np.ndarray, " t"]) -> dict[str, Any]:
    return plain({**asdict(metrics.interval(values, 200)), "problems": len(values)})


def _band(low: int, high: int) -> str:
    return (
        f"{high} or fewer"
        if low <= 1
        else f"{low}"
        if low == high
        else f"{low}-{high}"
        if high < 10**9 and high != 16
        else f"{low} or more"
    )


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON knows: NaN becomes null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
