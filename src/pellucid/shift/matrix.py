"""Train domains by test domains: the mean over seeds, its interval, and the drop from home."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from pellucid.errors import BadUsage


def matrix(values: Mapping[tuple[str, str], Sequence[float]], level: float = 0.95) -> dict[str, Any]:
    """Summarises one metric over (train domain, test domain), a value per seed each.

    A cell holds `mean`, `low` and `high` (Student's t over seeds, None from one seed), `n` seeds and `drop`, the mean
    less that of the test domain called as the row's train domain (None where there is no such, 0 at home itself).
    `mean_drop` averages a row's drops over the other domains.

    Raises:
        BadUsage: no values, or a cell without any.
    """
    if not values:
        raise BadUsage("no values for a matrix; give (train, test) -> one number per seed")
    empty = [cell for cell, seeds in values.items() if not len(seeds)]
    if empty:
        raise BadUsage(f"no value for trained on {empty[0][0]}, tested on {empty[0][1]}")
    trains, tests = (list(dict.fromkeys(cell[side] for cell in values)) for side in (0, 1))
    cells: dict[str, dict[str, dict[str, Any]]] = {train: {} for train in trains}
    for (train, test), seeds in values.items():
        home = values.get((train, train))
        drop = None if home is None else float(np.mean(seeds) - np.mean(home))
        cells[train][test] = {**_summary(seeds, level), "drop": drop}
    return {"trains": trains, "tests": tests, "cells": cells, "mean_drop": {train: _mean_drop(cells[train], train) for train in trains}}


def markdown(summary: Mapping[str, Any], digits: int = 1, scale: float = 100.0) -> str:
    """The matrix as a Markdown table: mean, half the interval where there is one, and each row's mean drop."""
    header = ["trained on", *summary["tests"], "mean drop"]
    rows = [
        [train, *(_cell(summary["cells"][train].get(test), digits, scale) for test in summary["tests"]), drop]
        for train in summary["trains"]
        for drop in [_number(summary["mean_drop"][train], digits, scale)]
    ]
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(_escaped(cell) for cell in line)} |\n" for line in lines)


def _summary(seeds: Sequence[float], level: float) -> dict[str, Any]:
    numbers = np.asarray(seeds, dtype=np.float64)
    mean, n = float(numbers.mean()), len(numbers)
    if n < 2:
        return {"mean": mean, "low": None, "high": None, "n": n}
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * numbers.std(ddof=1) / np.sqrt(n))
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n}


def _mean_drop(row: Mapping[str, Mapping[str, Any]], train: str) -> float | None:
    drops = [cell["drop"] for test, cell in row.items() if test != train and cell["drop"] is not None]
    return float(np.mean(drops)) if drops else None


def _number(value: float | None, digits: int, scale: float) -> str:
    return "" if value is None else f"{value * scale:.{digits}f}"


def _cell(cell: Mapping[str, Any] | None, digits: int, scale: float) -> str:
    if cell is None:
        return ""
    half = "" if cell["low"] is None else f" ± {_number(cell['high'] - cell['mean'], digits, scale)}"
    return _number(cell["mean"], digits, scale) + half


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
