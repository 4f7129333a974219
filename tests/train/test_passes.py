"""A step split in passes, or over processes, is the whole step, also where a loss is a mean over something else than examples."""

import json
import os
import subprocess
import sys

import pytest
import torch

from pellucid import checkpoint
from pellucid.evaluate import Pass, evaluate
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.train.loop import Trainer, start_fabric
from pellucid.train.passes import Share, own_weights, weighted
from toys import Slots, things


class Examples(Slots):
    """The same losses, told to be means over examples."""

    amounts = property()  # there is none


def trainer(kind=Slots, accumulate=1, count=21, **loop):
    """Three steps of plain descent on pictures with two, one, three and no things."""
    torch.manual_seed(0)
    settings = Loop(epochs=1, batch_size=8, accumulate=accumulate, log_every=1, **loop)
    recipe = Recipe(
        None, Data("toys"), optim=Optim("sgd", 0.5, momentum=0.0, clip_norm=None), schedule=Schedule("constant", 0), loop=settings
    )
    return Trainer(kind(), recipe, things(count), [], start_fabric("32-true"))


def apart(a, b):
    return max((a[k] - b[k]).abs().max().item() for k in a)


def fit(one, folder):
    """Its weights, and the losses of each step."""
    folder.mkdir()
    one.fit(folder)
    return told(folder)


def told(folder):
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    losses = [{k: v for k, v in row.items() if k.startswith("train/")} for row in rows if "train/loss" in row]
    assert len(losses) == 3 and list(losses[0]) == ["train/loss", "train/ce", "train/place", "train/size"]
    return checkpoint.load(folder / "model.safetensors"), losses


def assert_same_steps(a, b):
    assert apart(a[0], b[0]) < 1e-6
    for ours, theirs in zip(a[1], b[1], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("accumulate", [2, 4, 5])
def test_passes_give_the_weights_and_losses_of_the_whole_step(accumulate, tmp_path):
    assert_same_steps(fit(trainer(), tmp_path / "whole"), fit(trainer(accumulate=accumulate), tmp_path / "split"))


def test_shares_of_examples_would_give_another_step(tmp_path):
    assert apart(fit(trainer(Examples), tmp_path / "a")[0], fit(trainer(Examples, 4), tmp_path / "b")[0]) > 1e-3


def shares(*groups):
    """One pass for each group of numbers of things; the examples of an empty one are borrowed."""
    whole = things(4)
    by_number = {len(e["classes"]): e for e in whole}
    return [Share(Slots().collate([by_number[n] for n in group or (2,)]), [], len(group) / 4) for group in groups]


def test_a_loss_is_weighted_by_its_amount_and_a_borrowed_example_by_nothing():
    fabric = start_fabric("32-true")
    found = own_weights(Slots(), shares((2, 1), (3,), (0,), ()), fabric)
    assert [one["place"] for one in found] == [3 / 6, 3 / 6, 0, 0]
    assert [one["ce"] for one in found] == pytest.approx([3.3 / 6.6, 3 / 6.6, 0.3 / 6.6, 0])
    assert [one["place"] for one in own_weights(Slots(), shares((0,), (0,)), fabric)] == [1, 1]
    assert own_weights(Examples(), shares((2,), (1,)), fabric) == [{}, {}]


def test_a_pass_counts_by_its_own_weights_and_the_rest_by_its_examples():
    parts = {"a": torch.tensor(2.0), "b": torch.tensor(3.0), "c": torch.tensor(5.0)}
    assert weighted(parts, 0.5, {"b": 0.1, "gone": 9.0}, 2.0) == pytest.approx(0.5 * 2 * 7 + 0.1 * 2 * 3)
    assert weighted({"b": parts["b"]}, 0.5, {"b": 0.1}, 2.0) == pytest.approx(0.6)


def test_a_step_without_anything_to_find_has_finite_losses(tmp_path):
    one = trainer(accumulate=2)
    one.examples = [{**e, "classes": [], "places": []} for e in one.examples]
    weights, losses = fit(one, tmp_path / "run")
    assert [row["train/place"] for row in losses] == [0, 0, 0]
    assert all(v.isfinite().all() for v in weights.values())


def test_processes_give_the_weights_and_losses_of_one(tmp_path):
    """Three processes in two passes each: shares of a batch of 8 are of two and one, in the last step of 5 of one and no examples."""
    script = f"""
import pathlib, sys
sys.path[:0] = {[os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]!r}
from test_passes import trainer
one = trainer(accumulate=2)
one.fit(pathlib.Path(sys.argv[1]))
"""
    (tmp_path / "split.py").write_text(script)
    (tmp_path / "split").mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", "--master-port", "29643"]
    done = subprocess.run(
        [*launch, str(tmp_path / "split.py"), str(tmp_path / "split")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert_same_steps(fit(trainer(), tmp_path / "whole"), told(tmp_path / "split"))


def test_lists_in_batches_and_answers_pass_through_training_and_measuring(tmp_path):
    one = trainer(bucket=2)
    one.dev = things(7)
    lengths = [[one.examples[i]["length"] for i in batch] for batch in one._batches(0)]
    assert all(own == sorted(own, reverse=True) for own in lengths)
    fit(one, tmp_path / "run")
    found = evaluate(one.task, one.dev, Pass(3))
    assert found.logits is None
    assert [len(p["classes"]) for p in found.predictions] == [3] * 7
    assert found.metrics["right"] == evaluate(one.task, one.dev, Pass(7)).metrics["right"]
