"""The promises that the machines rely on, checked on any task: ours and yours."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.data.loader import move
from pellucid.explain.probe import still
from pellucid.task import Batch, Example, Metric, Site, Task
from pellucid.testing.alike import close, same
from pellucid.testing.sites import Run, check_site, collated, nothing_left_behind

__all__ = ["check_task"]

UNITS = ("log-probability", "value")
MEMBERS = ("model", "sites", "score_unit", "collate", "loss", "predict", "metrics", "answer", "score")


def check_task(task: Task, examples: Sequence[Example]) -> None:
    """Raises AssertionError naming the first promise that the task breaks; the task itself is left as it was.

    Args:
        examples: labelled, at least two and better four to eight, of different sizes so that batches need padding.
    """
    missing = [name for name in MEMBERS if not hasattr(task, name)]
    assert not missing, f"the task has no {', '.join(missing)}"
    assert len(examples) > 1, "give at least two examples"
    task = copy.deepcopy(task)  # gradients and states below must not reach the caller's model
    rows = [dict(example) for example in examples]
    prepare = getattr(task, "prepare", None)
    rows = list(prepare(rows, "check_task")) if prepare else rows
    with torch.random.fork_rng():
        torch.manual_seed(0)
        check_members(task)
        check_collate(task, rows)
        check_loss(task, rows)
        if hasattr(task, "amounts"):
            check_amounts(task, rows)
        run = check_score(task, rows)
        check_predictions(run)
        check_metrics(run)
        if hasattr(task, "places"):
            check_places(run)
        check_order(run)
        check_alone(run)
        check_state(run)
        asked = check_force(run) if hasattr(task, "force") else run
        for name in task.sites:
            with nothing_left_behind(task.model, name):
                check_site(asked, name)


# ---- what goes in and what comes out ------------------------------------------------------------------------------


def check_members(task: Task) -> None:
    """The members that are values are of the right kind."""
    assert isinstance(task.model, nn.Module), f"model is {type(task.model).__name__}, not an nn.Module"
    assert task.score_unit in UNITS, f"score_unit is {task.score_unit!r}, not one of {', '.join(UNITS)}"
    assert "input" in task.sites, f"no site 'input'; there are {', '.join(task.sites) or 'none'}"
    wrong = [name for name, site in task.sites.items() if not isinstance(site, Site) or site.side not in ("input", "output")]
    assert not wrong, f"sites {', '.join(wrong)}: not a Site with side 'input' or 'output'"


def check_collate(task: Task, examples: list[Example]) -> None:
    """Every tensor and list has the example axis first; masks are bool and called `*_present`."""
    for some in (examples, examples[:1]):
        for key, value in task.collate(some).items():
            assert isinstance(value, (Tensor, list)), f"collate: {key!r} is {type(value).__name__}, not a tensor or a list"
            size = 0 if isinstance(value, Tensor) and not value.ndim else len(value)
            assert size == len(some), f"collate: {key!r} has {size} rows for {len(some)} examples; the example axis comes first"
            if key.endswith("_present"):
                assert isinstance(value, Tensor) and value.dtype == torch.bool, (
                    f"collate: mask {key!r} is not a bool tensor, true where real"
                )


def trained(task: Any, examples: list[Example]) -> Batch:
    """The batch that training sees, without random views."""
    if not hasattr(task, "force"):
        return collated(task, examples)
    return move(task.train_batch(examples, [0] * len(examples)), next(p.device for p in task.model.parameters()))


def check_loss(task: Task, examples: list[Example]) -> None:
    """Named finite scalars; their sum reaches every trainable parameter."""
    task.model.train()
    batch = trained(task, examples)
    parts = task.loss(task.model(batch), batch)
    assert isinstance(parts, dict) and parts, "loss is not a dict of named parts"
    for name, value in parts.items():
        assert isinstance(name, str) and isinstance(value, Tensor) and value.shape == (), f"loss part {name!r} is not one number"
        assert bool(value.isfinite()), f"loss part {name!r} is {value.item()}"
    total = torch.stack([value.float() for value in parts.values()]).sum()
    assert total.requires_grad, "loss has no gradient"
    total.backward()
    trainable = {name: p for name, p in task.model.named_parameters() if p.requires_grad}
    lost = [name for name, p in trainable.items() if p.grad is None]
    assert not lost, f"no gradient of the loss reaches parameter {', '.join(lost)}; use it or freeze it"
    wild = [name for name, p in trainable.items() if p.grad is not None and not p.grad.isfinite().all()]
    assert not wild, f"the gradient of the loss is not finite at {', '.join(wild)}"
    task.model.zero_grad(set_to_none=True)


def check_amounts(task: Any, examples: list[Example]) -> None:
    """Each loss is the mean of its examples' by their amounts, and from each alone it reaches every parameter."""
    groups = [examples, *([example] for example in examples)]
    whole, *alone = [task.amounts(trained(task, some)) for some in groups]
    assert all(one.keys() == whole.keys() for one in alone), f"amounts has not always the names {', '.join(whole)}"
    with torch.no_grad(), still(task.model):
        losses = [task.loss(task.model(batch), batch) for batch in (trained(task, some) for some in groups)]
    for name, value in losses[0].items():
        by = [one.get(name, 1.0) for one in alone]
        mean = sum(w * own[name].item() for w, own in zip(by, losses[1:], strict=True)) / (sum(by) or 1.0)
        assert same(mean, value), f"loss {name!r} is {value:.5g}, but {mean:.5g} from its examples alone, weighted by amounts {by}"
    task.model.train()
    for i, example in enumerate(examples):
        batch = trained(task, [example, example])
        torch.stack(list(task.loss(task.model(batch), batch).values())).sum().backward()
        lost = [name for name, p in task.model.named_parameters() if p.requires_grad and p.grad is None]
        assert not lost, f"example {i} alone gives {', '.join(lost)} no gradient, not even 0; several processes could not train so"
        task.model.zero_grad(set_to_none=True)


@torch.no_grad()
def check_score(task: Task, examples: list[Example]) -> Run:
    """One finite number per example, the same every time; a log-probability is at most 0."""
    batch = collated(task, examples)
    with still(task.model):
        output, again = task.model(batch), task.model(batch)
    assert isinstance(output, dict) and all(isinstance(v, Tensor) for v in output.values()), "the model's output is not a dict of tensors"
    answer = task.answer(output)
    scores = task.score(output, answer)
    assert len(answer) == len(examples), f"answer has {len(answer)} rows for {len(examples)} examples"
    assert scores.shape == (len(examples),), f"score has shape {tuple(scores.shape)}, not one number for each of {len(examples)} examples"
    assert bool(scores.isfinite().all()), f"score is not finite: {scores.tolist()}"
    told_again = task.score(again, answer)
    assert close(told_again, scores), f"the model in eval mode is not deterministic: score {scores.tolist()}, then {told_again.tolist()}"
    if task.score_unit == "log-probability":
        assert scores.max() <= 1e-5, f"score_unit is log-probability, but score is {scores.max().item():.4g}, above 0"
    return Run(task, examples, batch, output, scores.float())


def check_predictions(run: Run) -> None:
    """One prediction per example."""
    made = run.task.predict(run.output, run.batch)
    assert len(made) == len(run.examples), f"predict gives {len(made)} predictions for {len(run.examples)} examples"


def check_places(run: Run) -> None:
    """Where each answer lies: a name, and a box in a picture of some size or rows of cells that are equally long."""
    task = run.task
    found = task.places(run.output, task.answer(run.output), run.batch)  # type: ignore[attr-defined]
    assert len(found) == len(run.examples), f"places gives {len(found)} for {len(run.examples)} examples"
    for one in found:
        assert isinstance(one.get("answer"), str), f"places: {one} does not say what is asked for, as `answer`"
        placed = len(one.get("box_xyxy", ())) == 4 and len(one.get("size_hw", ())) == 2
        rows = one.get("region", ())
        celled = bool(rows) and len({len(row) for row in rows}) == 1 and set("".join(rows)) <= {"0", "1"}
        assert placed != celled, f"places: {one} is neither a box in a picture nor a region, or both"


def check_metrics(run: Run) -> None:
    """Fresh accumulators that share nothing; two halves merged say what the whole says."""
    task, made = run.task, run.task.predict(run.output, run.batch)
    pairs = list(zip(made, run.examples, strict=True))
    half = len(pairs) // 2
    metrics = task.metrics()
    assert metrics, "metrics() gives none"
    headlines = list(getattr(task, "headlines", ()))
    assert set(headlines) <= set(metrics) and headlines[:1] in ([], list(metrics)[:1]), (
        f"headlines {headlines} are no metrics, the first first"
    )
    for name, metric in metrics.items():
        assert isinstance(metric, Metric), f"metric {name!r} has not all of update, merge, compute and higher_is_better"
        assert isinstance(metric.higher_is_better, bool), f"metric {name!r}: higher_is_better is not a bool"

        def fresh(name: str = name) -> Metric:
            return task.metrics()[name]

        whole = filled(metric, pairs)
        value = float(whole.compute())
        empty = float(fresh().compute())
        assert math.isnan(empty), f"metric {name!r} gives {empty:.4g} before any update: not NaN, or state shared between two metrics()"
        merged = filled(fresh(), pairs[:half])
        merged.merge(filled(fresh(), pairs[half:]))
        merged.merge(fresh())  # a process without examples
        joined = float(merged.compute())
        assert same(joined, value), f"metric {name!r}: two halves merged give {joined:.6g}, the whole gives {value:.6g}"


def filled(metric: Metric, pairs: Sequence[tuple[Any, Example]]) -> Metric:
    """The metric after the pairs."""
    for prediction, example in pairs:
        metric.update(prediction, example)
    return metric


# ---- what must not matter -----------------------------------------------------------------------------------------


@torch.no_grad()
def score_examples(task: Task, examples: list[Example]) -> tuple[Float[Tensor, " b"], list[Any]]:
    """Scores and predictions in eval mode."""
    batch = collated(task, examples)
    with still(task.model):
        output = task.model(batch)
    return task.score(output, task.answer(output)).float(), task.predict(output, batch)


def check_order(run: Run) -> None:
    """Examples in another order give the same scores and predictions in that order."""
    scores, made = score_examples(run.task, run.examples[::-1])
    assert close(scores.flip(0), run.scores), (
        f"score depends on the order of the batch: {run.scores.tolist()}, reversed {scores.flip(0).tolist()}"
    )
    before = run.task.predict(run.output, run.batch)
    moved = [i for i, (a, b) in enumerate(zip(before, made[::-1], strict=True)) if not same(a, b)]
    assert not moved, f"the prediction of example {moved[:1]} depends on the order of the batch"


def check_alone(run: Run) -> None:
    """An example alone is scored and predicted as in a batch: no padding, no neighbour matters."""
    together = run.task.predict(run.output, run.batch)
    for i, example in enumerate(run.examples):
        scores, made = score_examples(run.task, [example])
        there, here = run.scores[i].item(), scores[0].item()
        assert close(scores, run.scores[i : i + 1]), (
            f"example {i} scores {here:.5g} alone but {there:.5g} in a batch: padding or its neighbours leak in"
        )
        assert same(made[0], together[i]), f"example {i} is predicted {made[0]!r} alone but {together[i]!r} in a batch"


@torch.no_grad()
def check_state(run: Run) -> None:
    """Weights saved and loaded into an emptied twin give the same scores."""
    saved = run.task.model.state_dict()
    loose = [name for name, value in saved.items() if not isinstance(value, Tensor)]
    assert not loose, f"state_dict: {', '.join(loose)} is not a tensor and cannot be saved"
    twin = copy.deepcopy(run.task.model)
    for value in [*twin.parameters(), *twin.state_dict().values()]:
        value.zero_()
    try:
        twin.load_state_dict(saved, strict=True)
    except RuntimeError as error:
        raise AssertionError(f"the model does not load its own state_dict: {error}") from None
    with still(twin):
        output = twin(run.batch)
    scores = run.task.score(output, run.task.answer(run.output)).float()
    assert close(scores, run.scores), "the model's score changes when its state_dict is saved and loaded"


@torch.no_grad()
def check_force(run: Run) -> Run:
    """What the model writes, and is then told to write, is the same and scores the same; so does what is right, as a plain value."""
    task: Any = run.task
    made = task.predict(run.output, run.batch)
    forced = check_score(task, task.force(run.examples, made))
    assert close(forced.scores, run.scores), (
        f"forced to write what it wrote, the model scores {forced.scores.tolist()}, not {run.scores.tolist()}"
    )
    again = task.predict(forced.output, forced.batch)
    moved = [i for i, (a, b) in enumerate(zip(made, again, strict=True)) if not same(a, b)]
    assert not moved, f"forced to write {made[moved[0]]!r}, the model wrote {again[moved[0]]!r}"
    right = task.force(run.examples, [task.prediction(e["label"]) for e in run.examples])
    check_score(task, right)
    return forced
