"""Numbers that are not finite are told with the place where they begin and the examples at fault."""

import math
import os
import pathlib
import subprocess
import sys

import pytest
import torch
from torch import nn

from pellucid.errors import PellucidError
from pellucid.explain.hooks import first_fault
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.train.blame import overflow
from pellucid.train.loop import Trainer, start_fabric
from toys import PictureNet, Pictures, Slots, things


class Inverse(nn.Module):
    """Of what it is given."""

    def forward(self, values):
        return 1 / values


class DarkNet(PictureNet):
    """Divides by the picture's mean: a black one has none."""

    def __init__(self):
        super().__init__()
        self.inverse, self.after = Inverse(), nn.Linear(1, 1)

    def forward(self, batch):
        logits = super().forward(batch)["logits"]
        return {"logits": logits + 0 * self.after(self.inverse(batch["image"].mean((1, 2, 3)).unsqueeze(1)))}


class Between(PictureNet):
    """The same in the model's own code, between two modules."""

    def forward(self, batch):
        pooled = self.body(self.stem(batch["image"])).mean((2, 3))
        return {"logits": self.head(torch.sqrt(-1 - pooled.abs()))}


class Unlucky(PictureNet):
    """Fails for examples that it draws, and remembers them."""

    def __init__(self):
        super().__init__()
        self.noise, self.drawn = nn.Identity(), []

    def forward(self, batch):
        lucky = torch.rand(len(batch["image"]), 1, device=batch["image"].device) > 0.3
        self.drawn.append((~lucky).nonzero()[:, 0].tolist())
        return {"logits": self.noise(super().forward(batch)["logits"] * torch.where(lucky, 1.0, math.nan))}


class Once(PictureNet):
    """Fails the first time only."""

    def forward(self, batch):
        logits = super().forward(batch)["logits"]
        self.failed, first = True, not hasattr(self, "failed")
        return {"logits": logits * (math.nan if first else 1)}


class Steep(PictureNet):
    """A finite value without a finite slope."""

    def forward(self, batch):
        return {"logits": super().forward(batch)["logits"] + torch.sqrt(self.body.bias * 0).sum()}


class Ratio(Slots):
    """A loss that cannot be had where a place is 0."""

    def loss(self, output, batch):
        return super().loss(output, batch) | {"ratio": sum((1 / own).sum() for own in batch["places"]) * output["places"].mean() ** 2}


def trainer(task, rows, accumulate=1, clip_norm=None, agc=None, precision="32-true"):
    loop = Loop(epochs=1, batch_size=len(rows), accumulate=accumulate, log_every=1, precision=precision)
    optim = Optim("sgd", 0.1, momentum=0.0, clip_norm=clip_norm, agc=agc)
    return Trainer(
        task, Recipe(None, Data("toys"), optim=optim, schedule=Schedule("constant", 0), loop=loop), rows, [], start_fabric(precision)
    )


def told(one, folder):
    (folder / "checkpoints").mkdir()
    with pytest.raises(PellucidError) as error:
        one.fit(folder)
    return str(error.value)


def rows(count=9):
    return [{"id": f"photo {i}", "image": torch.rand(3, 8, 8) + 0.1, "label": i % 5} for i in range(count)]


class Named(Pictures):
    """Pictures in files, read by name."""

    def __init__(self, model, pixels):
        super().__init__(model)
        self.pixels = pixels

    def collate(self, examples):
        return super().collate([{**e, "image": self.pixels[e["image"]]} for e in examples])


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_module_and_the_examples_are_named_with_their_files(accumulate, tmp_path):
    pixels = {f"photos/{i}.jpg": torch.rand(3, 8, 8) + 0.1 for i in range(9)}
    pixels["photos/4.jpg"] *= 0
    examples = [{"id": f"{i}", "image": name, "label": i % 5} for i, name in enumerate(pixels)]
    line = told(trainer(Named(DarkNet(), pixels), examples, accumulate), tmp_path)
    start = "step 1: loss cross_entropy is not finite: first the output of inverse, for example 4 (photos/4.jpg); lower optim.lr"
    assert line.startswith(start)
    assert "\n" not in line and "32-true" not in line


def test_what_arises_between_modules_is_told_at_the_next(tmp_path):
    assert "first the input of head, for all 9 examples of the pass" in told(trainer(Pictures(Between()), rows()), tmp_path)


def test_precision_is_a_remedy_where_there_is_more_to_have(tmp_path):
    examples = rows()
    examples[7]["image"] *= 0
    line = told(trainer(Pictures(DarkNet()), examples, precision="bf16-mixed"), tmp_path)
    assert "the output of inverse, for example photo 7; lower optim.lr, or use loop.precision=32-true" in line


def test_a_parameter_that_is_not_finite_is_named(tmp_path):
    one = trainer(Pictures(), rows())
    with torch.no_grad():
        one.task.model.body.bias[3] = -math.inf
    assert "parameter body.bias is not" in told(one, tmp_path)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_batch_that_is_not_finite_is_told_by_key_and_example(accumulate, tmp_path):
    examples = things(8)
    examples[2]["places"][1] = math.nan
    line = told(trainer(Slots(), examples, accumulate), tmp_path)
    assert "loss place is not finite: 'places' of the batch is not, for example 2; check what is written there" in line
    examples = rows()
    examples[5]["image"][0, 0, 0] = math.inf
    (tmp_path / "other").mkdir()
    assert "'image' of the batch is not, for example photo 5;" in told(trainer(Pictures(), examples, accumulate), tmp_path / "other")


class Unknown(Ratio):
    def collate(self, examples):
        return super().collate(examples) | {"unused": torch.tensor([math.nan if e["id"] == "3" else 0.0 for e in examples])}


@pytest.mark.parametrize("kind", [Ratio, Unknown])
def test_a_loss_that_alone_is_not_finite_is_told_with_its_examples(kind, tmp_path):
    examples = things(8)
    examples[4]["places"] = [0.0, 1.0]
    for example in examples:
        example["places"] = [v + 0.1 if example["id"] != "4" else v for v in example["places"]]
    line = told(trainer(kind(), examples, 2), tmp_path)
    assert "loss ratio is not finite: only the loss, all that the model gives is, for example 4; check" in line


def test_the_step_is_run_again_with_the_same_random_numbers(tmp_path):
    one = trainer(Pictures(Unlucky()), rows(), 3)
    order = one._batches(0)[0]
    line = told(one, tmp_path)
    first, again = one.task.model.drawn[:3], one.task.model.drawn[3:]
    assert again == first[: len(again)]
    at = next(i for i, lost in enumerate(first) if lost)
    assert f"the input of noise, for example {', '.join(f'photo {order[at::3][i]}' for i in first[at])};" in line


def test_what_cannot_be_found_again_is_said_to_be_so(tmp_path):
    assert "loss cross_entropy is not finite: it is when the step is run again; lower" in told(trainer(Pictures(Once()), rows()), tmp_path)


@pytest.mark.parametrize("agc", [None, 0.1])
def test_a_gradient_that_is_not_finite_stops_before_it_spoils_the_weights(agc, tmp_path):
    one = trainer(Pictures(Steep()), rows(), clip_norm=1.0, agc=agc)
    line = told(one, tmp_path)
    assert line.startswith("step 1: the loss is finite, its gradient is not: first at parameter body.bias; lower optim.lr")
    assert all(p.isfinite().all() for p in one.task.model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="half precision needs a GPU")
def test_in_half_precision_the_scaler_skips_a_step_and_what_overflows_is_named(tmp_path):
    one = trainer(Pictures(Steep()), rows(), clip_norm=1.0, precision="16-mixed")
    before = {k: v.clone() for k, v in one.task.model.state_dict().items()}
    (tmp_path / "a").mkdir()
    one.fit(tmp_path / "a")
    assert all(torch.equal(v, before[k]) for k, v in one.task.model.state_dict().items())
    examples = rows()
    examples[3]["image"] *= 1e6
    (tmp_path / "b").mkdir()
    line = told(trainer(Pictures(), examples, precision="16-mixed"), tmp_path / "b")
    assert "first the input of stem, for example photo 3; lower optim.lr, or use loop.precision=32-true" in line


def test_a_norm_that_overflows_is_told_as_such():
    model = nn.Linear(2, 1)
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e30)
    assert overflow(model, "lower optim.lr").startswith("the gradient is too large for its norm")
    model.weight.grad[0, 1] = -math.inf
    assert "first at parameter weight;" in overflow(model, "lower optim.lr")


def test_rows_are_found_along_whatever_axis_the_examples_lie():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Identity(), nn.Identity()

        def forward(self, x, how):
            return self.a(x.movedim(0, 1)) if how == "second" else self.b(x.flatten(0, 1)) if how == "joint" else self.a(x.sum())

    model, values = Turned(), torch.zeros(3, 5, 7)
    values[1, 4, 2] = math.nan
    for how, module, expected in (("second", "a", [1]), ("joint", "b", [1]), ("none", "a", [])):
        with first_fault(model, 3) as faults:
            model(values, how)
        assert [(f.module, f.side, f.rows) for f in faults] == [(module, "input", expected)]
    masked = torch.zeros(3, 5, 7).masked_fill(torch.rand(3, 5, 7) > 0.5, -math.inf)
    with first_fault(model, 3) as faults:
        model(masked, "second")
    assert faults == []
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_all_processes_stop_with_the_line_of_the_one_at_fault(tmp_path):
    """The example at fault is in the share of one process; the other does not train on, nor wait for ever."""
    here = pathlib.Path(__file__).parent
    (tmp_path / "spoiled.py").write_text(f"""
import math, pathlib, sys
import torch.distributed
sys.path[:0] = [{str(here)!r}, {str(here.parent)!r}]
from pellucid.errors import PellucidError
from test_blame import Slots, things, trainer
examples = things(8)
examples[2]["places"][1] = math.nan
one = trainer(Slots(), examples, 2)
try:
    one.fit(pathlib.Path(sys.argv[1]))
except PellucidError as error:
    pathlib.Path(sys.argv[1], f"told{{one.fabric.global_rank}}").write_text(str(error))
torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads may abort the process
""")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29661"]
    done = subprocess.run(
        [*launch, str(tmp_path / "spoiled.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [(tmp_path / f"told{rank}").read_text() for rank in (0, 1)]
    assert lines[0] == lines[1]
    assert "loss place is not finite: 'places' of the batch is not, for example 2;" in lines[0]
