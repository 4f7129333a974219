"""Evaluation and training over several processes, workers and batch sizes give the same numbers."""

import json
import os
import subprocess
import sys

import pytest

from pellucid import recipe, run
from pellucid.recipe import override

# 131 test rows: odd, so that two and three processes get unequal shares
ODD = {"tests.films.limit": 131, "loop.epochs": 1, "loop.batch_size": 48, "loop.log_every": 1, "train.limit": 401}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    return run.train(override(recipe.get("robustness:tiny_average"), ODD), folder)


def told(folder):
    return json.loads((folder / "results" / "evaluate.json").read_text())["sets"]


def losses(folder):
    return [r["train/loss"] for r in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "train/loss" in r]


def scores(one, batch_size, workers):
    one.recipe = override(one.recipe, {"loop.eval_batch_size": batch_size, "loop.workers": workers})
    return one.measure(one.prepared(one.recipe.tests["films"])).scores


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_batch_size_and_workers_change_no_number(alone, batch_size, workers):
    again = run.load(alone.folder)
    assert scores(again, batch_size, workers) == pytest.approx(scores(alone, 64, 0), abs=1e-6)
    assert again.measured({"films": again.recipe.tests["films"]})["sets"]["films"] == told(alone.folder)["films"]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_change_no_number(alone, processes, tmp_path):
    """Each example counted once, odd sizes too; the same losses for the same steps."""
    sets = [part for key, value in ODD.items() for part in ("--set", f"{key}={value}")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(29600 + processes)]
    command = [*launch, "-m", "pellucid", "train", "robustness:tiny_average", *sets, "--out", str(tmp_path / "run"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert told(tmp_path / "run") == told(alone.folder)
    assert told(tmp_path / "run")["films"]["n"] == 131
    assert losses(tmp_path / "run") == pytest.approx(losses(alone.folder), abs=1e-4)
    assert json.loads((tmp_path / "run/results/environment.json").read_text())["processes"] == processes
