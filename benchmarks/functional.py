"""Shapley values of conditional means for whole problems, against one point and one set at a time.

The peer restates how the paper's program works: a Python loop over points and sets, each a fresh evaluation of the mixture, then
Shapley values by a loop over sets. Both take the same generated problems; CPU seconds, one thread, runs alternating. On the way it
tells, on stderr, how long all deterministic methods take at every level.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from math import comb

import numpy as np
import torch

from pellucid.data import functional
from pellucid.explain.dependence import weights
from pellucid.explain.dependence.methods import DETERMINISTIC
from pellucid.leaderboard import entries, score
from pellucid.leaderboard.problem import Form, FunctionalTask, in_form

PROBLEMS, ROUNDS, TUNING = 10, 3, 110


def timed(work: Callable[[], list[np.ndarray]]) -> tuple[float, list[np.ndarray]]:
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def one_at_a_time(problem: functional.Problem) -> np.ndarray:
    points, columns = problem.points, problem.points.shape[1]
    found = np.zeros(points.shape)
    for row, x in enumerate(points):
        known = []
        for mask in range(2**columns):
            inside = [k for k in range(columns) if mask >> k & 1]
            near = np.exp(-np.square(points[:, inside] - x[inside]).sum(1) / (2 * problem.std**2))
            known.append((near * problem.labels).sum() / near.sum())
        for k in range(columns):
            for mask in range(2**columns):
                if not mask >> k & 1:
                    share = 1 / (columns * comb(columns - 1, mask.bit_count()))
                    found[row, k] += share * (known[mask | 1 << k] - known[mask])
    return found


def main() -> int:
    torch.set_num_threads(1)
    problems = functional.generated("multivariate", PROBLEMS)

    def ours() -> list[np.ndarray]:
        return [weights.shapley_mean_function(game) for p in problems for _, game in FunctionalTask(p).games]

    def peer() -> list[np.ndarray]:
        return [one_at_a_time(p) for p in problems]

    ours()  # the first use warms torch
    mine, theirs, gaps = [], [], []
    for _ in range(ROUNDS):
        (mine_s, a), (peer_s, b) = timed(ours), timed(peer)
        gaps.append(max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True)))
        mine.append(mine_s)
        theirs.append(peer_s)
        print(f"ours {mine_s:.3f} s, one at a time {peer_s:.3f} s, largest difference {gaps[-1]:.1e}", file=sys.stderr)
    tasks = in_form(functional.generated("multivariate", TUNING, 1), Form())
    start, cpu = time.perf_counter(), time.process_time()
    for name in DETERMINISTIC:
        entry = entries.of_game(name, name)
        score.gather(entry, entry.levels, tasks)
    spent = f"{time.perf_counter() - start:.1f} s, {time.process_time() - cpu:.1f} CPU s"
    points = sum(len(t.X) for t in tasks)
    print(
        f"all {len(DETERMINISTIC)} deterministic methods at every level on {len(tasks)} problems ({points} points): {spent}",
        file=sys.stderr,
    )
    ours_s, peer_s = statistics.median(mine), statistics.median(theirs)
    result = {
        "name": "functional",
        "ours": ours_s,
        "peer": peer_s,
        "peer_name": "one point and one set at a time",
        "unit": "CPU s",
        "ratio": peer_s / ours_s,
        "equal": max(gaps) < 1e-9,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
