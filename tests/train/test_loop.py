import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from pellucid import checkpoint, recipe, run, starting
from pellucid.errors import BadUsage, Interrupted, PellucidError
from pellucid.recipe import Data, Schedule, override
from pellucid.train.loop import Trainer, start_fabric, swapped
from pellucid.train.passes import Share

# an LSTM has dropout nowhere, so the generator's state would not matter: this recipe drops words' vectors
TRAINING = {"loop.epochs": 2, "loop.batch_size": 64, "loop.log_every": 1, "loop.save_every": 3, "train.limit": 320, "dev.limit": 50}
RECIPE = """
from dataclasses import dataclass
import torch
from pellucid import recipe
from pellucid.tasks.text_classification.settings import TextSettings

@dataclass(frozen=True)
class Dropping(TextSettings):
    def build(self, train):
        task = super().build(train)
        task.model.embedding = torch.nn.Sequential(task.model.embedding, torch.nn.Dropout(0.3))
        task.sites = {}
        return task

def dropping() -> recipe.Recipe:
    from dataclasses import replace
    base = recipe.get("robustness:tiny")
    return replace(base, task=Dropping("bow", max_length=32), tests={})
"""


@pytest.fixture
def dropping(tmp_path):
    """A recipe whose training draws random numbers at every step."""
    (tmp_path / "mine.py").write_text(RECIPE)
    return override(recipe.get(f"{tmp_path}/mine.py:dropping"), TRAINING)


def weights(folder):
    return checkpoint.load(folder / "model.safetensors")


class StopHere(Exception):
    pass


@pytest.mark.parametrize("step", [1, 3, 5, 7])
def test_a_run_stopped_anywhere_ends_in_the_same_weights(dropping, tmp_path, step):
    settled = override(dropping, {"loop.ema": 0.9, "loop.keep_start": 0.2})

    def stop(at):
        if at.step == step and not at.dev:
            raise StopHere

    whole = run.train(settled, tmp_path / "whole")
    with pytest.raises(StopHere):
        run.train(settled, tmp_path / "cut", watch=stop)
    resumed = run.train(settled, tmp_path / "cut")
    assert checkpoint.same(weights(whole.folder), weights(resumed.folder))
    rows = [[json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in ("whole", "cut")]
    assert [{k: v for k, v in r.items() if k != "time_s"} for r in rows[0]] == [
        {k: v for k, v in r.items() if k != "time_s"} for r in rows[1]
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_killed_in_mid_epoch_goes_on_to_the_same_weights(dropping, tmp_path, number):
    killer = f"""
import os, sys
from pellucid import run
from pellucid.errors import Interrupted
def watch(at):
    if at.step == 4:
        os.kill(os.getpid(), {int(number)})
try:
    run.train({str(tmp_path / "cut" / "recipe.yaml")!r}, {str(tmp_path / "cut")!r}, watch=watch)
except Interrupted as stopped:
    sys.exit(stopped.exit_status)
"""
    starting.claim(tmp_path / "cut", dropping)
    died = subprocess.run([sys.executable, "-c", killer], capture_output=True, text=True, check=False)
    assert died.returncode == (-9 if number == signal.SIGKILL else 130), died.stderr
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    state = checkpoint.load_state(tmp_path / "cut" / "checkpoints" / "last")
    assert state["at"]["step"] == (3 if number == signal.SIGKILL else 4)
    run.train(dropping, tmp_path / "cut")
    run.train(dropping, tmp_path / "whole")
    assert checkpoint.same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_an_interruption_is_told_with_its_step(dropping, tmp_path):
    def stop(at):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped at step 1 of 10; the same command goes on from here"):
        run.train(dropping, tmp_path / "run", watch=stop)


def test_two_runs_of_one_seed_are_the_same_to_the_last_bit_and_another_seed_is_not(dropping, tmp_path):
    first, second = run.train(dropping, tmp_path / "a"), run.train(dropping, tmp_path / "b")
    other = run.train(override(dropping, {"loop.seed": 1}), tmp_path / "c")
    assert checkpoint.same(weights(first.folder), weights(second.folder))
    assert not checkpoint.same(weights(first.folder), weights(other.folder))


def losses(folder):
    return [r["train/loss"] for r in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "train/loss" in r]


@pytest.mark.parametrize("changed", [{"loop.accumulate": 3}, {"loop.workers": 2}, {"loop.eval_batch_size": 7}])
def test_how_a_step_is_computed_does_not_change_it(tmp_path, changed):
    plain = override(recipe.get("robustness:tiny"), TRAINING)
    run.train(plain, tmp_path / "plain")
    run.train(override(plain, changed), tmp_path / "changed")
    assert losses(tmp_path / "changed") == pytest.approx(losses(tmp_path / "plain"), abs=1e-5)


def test_out_of_distribution_labels_never_choose_the_checkpoint(tmp_path):
    plain = override(recipe.get("robustness:tiny"), TRAINING)
    flipped = dataclasses.replace(plain.tests["household"], labels={"positive": "negative", "negative": "positive"})
    other = dataclasses.replace(plain, tests={**plain.tests, "household": flipped})
    found = [
        hashlib.sha256((run.train(one, tmp_path / name).folder / "model.safetensors").read_bytes()).hexdigest()
        for one, name in ((plain, "a"), (other, "b"))
    ]
    assert found[0] == found[1]
    accuracy = [
        json.loads((tmp_path / n / "results/evaluate.json").read_text())["sets"]["household"]["metrics"]["accuracy"]["value"] for n in "ab"
    ]
    assert accuracy[0] == pytest.approx(1 - accuracy[1])


# ---- one fact per setting -------------------------------------------------------------------------------------------------


def trainer(changes, dropped=None):
    chosen = override(recipe.get("robustness:tiny"), {**TRAINING, **changes})
    rows = run.read(chosen.train)
    torch.manual_seed(0)
    task = chosen.task.build(rows)
    ready = run.prepare(task, rows, "train")
    return Trainer(task, chosen, ready, ready[:40], start_fabric("32-true"))


def fit(one, folder):
    (folder / "checkpoints").mkdir(parents=True)
    return one.fit(folder)


def test_the_average_follows_its_formula(tmp_path):
    one = trainer({"loop.ema": 0.5, "loop.epochs": 1, "train.limit": 128})
    start = one.task.model.head.weight.detach().clone()
    seen = []
    inner = one.ema.update_parameters
    one.ema.update_parameters = lambda model: (seen.append(model.head.weight.detach().clone()), inner(model))
    fit(one, tmp_path / "run")
    # torch's average takes the first weights whole, then halves towards each next
    assert len(seen) == 2
    torch.testing.assert_close(one.ema.module.head.weight, (seen[0] + seen[1]) / 2)
    assert not torch.equal(start, one.ema.module.head.weight)


def test_keeping_all_of_the_start_trains_nothing(tmp_path):
    one = trainer({"loop.keep_start": 1.0})
    start = {k: v.clone() for k, v in one.task.model.state_dict().items()}
    fit(one, tmp_path / "run")
    kept = checkpoint.load(tmp_path / "run" / "model.safetensors")
    assert all(torch.allclose(kept[k], start[k]) for k in start)


def test_training_stops_when_home_gets_no_better(tmp_path):
    one = trainer({"loop.patience": 1, "loop.epochs": 9, "optim.lr": 0.0})
    assert fit(one, tmp_path / "run").epoch == 2


def test_a_loss_that_is_not_finite_is_told_with_its_step(tmp_path):
    one = trainer({})
    with torch.no_grad():
        one.task.model.head.bias[0] = float("nan")
    with pytest.raises(PellucidError, match="step 1: loss cross_entropy is not finite"):
        fit(one, tmp_path / "run")


def test_the_gradient_is_cut_to_its_norm(tmp_path):
    one = trainer({"optim.clip_norm": 1e-3, "optim.name": "sgd", "optim.lr": 1.0, "optim.momentum": 0.0, "optim.weight_decay": 0.0})
    before = {k: v.clone() for k, v in one.task.model.named_parameters()}
    one._step([Share(one.task.collate(one.examples[:64]), list(range(64)), 1.0)])
    # the first rate of warm-up is below 1
    rate = one.inner.param_groups[0]["lr"]
    moved = torch.cat([(p - before[k]).flatten() for k, p in one.task.model.named_parameters()]).norm() / rate
    assert moved.item() == pytest.approx(1e-3, rel=1e-3)


def test_a_step_moves_each_part_by_its_own_schedule():
    """A hundredth of the rate for the head alone: with plain SGD it moves a hundredth as far as its gradient."""
    plain = {"optim.name": "sgd", "optim.lr": 1.0, "optim.momentum": 0.0, "optim.weight_decay": 0.0, "optim.clip_norm": None}
    steady, slow = Schedule("constant", warmup=0), Schedule("constant", warmup=10, warmup_start=0.01)
    one = trainer(plain | {"schedule": steady, "schedules": {"head.": slow}})
    before = {k: v.clone() for k, v in one.task.model.named_parameters()}
    share = Share(one.task.collate(one.examples[:64]), list(range(64)), 1.0)
    one.task.loss(one.task.model(share.batch), share.batch)["cross_entropy"].backward()
    wanted = {k: p.grad.clone() * (0.01 if k.startswith("head.") else 1.0) for k, p in one.task.model.named_parameters()}
    one.task.model.zero_grad()
    one._step([share])
    for name, parameter in one.task.model.named_parameters():
        torch.testing.assert_close(before[name] - parameter, wanted[name], rtol=1e-3, atol=1e-7)
    assert wanted["head.weight"].abs().max() > 1e-5


def test_swapped_weights_are_given_back_after_an_error():
    model = torch.nn.Linear(2, 2)
    own = {k: v.clone() for k, v in model.state_dict().items()}
    with contextlib.suppress(StopHere), swapped(model, {k: v + 1 for k, v in own.items()}):
        assert torch.equal(model.weight, own["weight"] + 1)
        raise StopHere
    assert checkpoint.same(own, model.state_dict())


def test_no_training_rows_are_refused():
    chosen = recipe.get("robustness:tiny")
    with pytest.raises(BadUsage, match="no training examples"):
        Trainer(trainer({}).task, chosen, [], [], start_fabric("32-true"))


def test_init_takes_weights_and_names_what_does_not_fit(tmp_path):
    first = run.train(override(recipe.get("robustness:tiny"), TRAINING), tmp_path / "first")
    again = override(recipe.get("robustness:tiny"), {**TRAINING, "init": str(first.folder), "optim.lr": 0.0, "loop.epochs": 1})
    second = run.train(again, tmp_path / "second")
    assert checkpoint.same(weights(first.folder), weights(second.folder))
    fewer = dataclasses.replace(again, train=Data("polarity:train", limit=20))
    with pytest.raises(PellucidError, match=r"weights do not fit; other shape: embedding\.weight"):
        run.train(fewer, tmp_path / "third")


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 3)])
def test_the_weights_shipped_are_of_the_best_or_of_the_last_epoch(tmp_path, keep, epoch):
    one = trainer({"loop.keep": keep, "loop.epochs": 3, "optim.lr": 0.05})
    one.dev = [{**row, "label": "negative" if row["label"] == "positive" else "positive"} for row in one.dev]  # learning makes it worse
    seen = []
    one.watch = lambda at: seen.append({k: v.clone() for k, v in one.task.model.state_dict().items()}) if at.dev else None
    fit(one, tmp_path / "run")
    assert checkpoint.same(checkpoint.load(tmp_path / "run" / "model.safetensors"), seen[epoch - 1])
