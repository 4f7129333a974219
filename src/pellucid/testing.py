"""The promises that the machines rely on, checked on any task: ours and yours."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from einops import EinopsError, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.data.loader import move
from pellucid.errors import BadUsage
from pellucid.explain.attribution import baseline
from pellucid.explain.bottleneck import Settings, bottleneck, of_sample
from pellucid.explain.gradient import integrated_gradients
from pellucid.explain.perturb import occlusion
from pellucid.explain.probe import Probe, ask, replaced, still, unit_axes
from pellucid.task import Batch, Example, Metric, Output, Site, Task

UNITS = ("log-probability", "value")
MEMBERS = ("model", "sites", "score_unit", "collate", "loss", "predict", "metrics", "answer", "score")
RTOL = ATOL = 1e-4


@dataclass(frozen=True)
class Run:
    """A task, its examples, and what its model made of them in eval mode."""

    task: Task
    examples: list[Example]
    batch: Batch
    output: Output
    scores: Float[Tensor, " b"]


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
        check_order(run)
        check_alone(run)
        check_state(run)
        for name in task.sites:
            with nothing_left_behind(task.model, name):
                check_site(run, name)


def collated(task: Task, examples: list[Example]) -> Batch:
    """The batch, on the model's device."""
    device = next((p.device for p in task.model.parameters()), torch.device("cpu"))
    return move(task.collate(examples), device)


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


def check_loss(task: Task, examples: list[Example]) -> None:
    """Named finite scalars; their sum reaches every trainable parameter."""
    task.model.train()
    batch = collated(task, examples)
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
    whole, *alone = [task.amounts(task.collate(some)) for some in groups]
    assert all(one.keys() == whole.keys() for one in alone), f"amounts has not always the names {', '.join(whole)}"
    with torch.no_grad(), still(task.model):
        losses = [task.loss(task.model(batch), batch) for batch in (collated(task, some) for some in groups)]
    for name, value in losses[0].items():
        by = [one.get(name, 1.0) for one in alone]
        mean = sum(w * own[name].item() for w, own in zip(by, losses[1:], strict=True)) / (sum(by) or 1.0)
        assert same(mean, value), f"loss {name!r} is {value:.5g}, but {mean:.5g} from its examples alone, weighted by amounts {by}"
    task.model.train()
    for i, example in enumerate(examples):
        batch = collated(task, [example, example])
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


def check_metrics(run: Run) -> None:
    """Fresh accumulators that share nothing; two halves merged say what the whole says."""
    task, made = run.task, run.task.predict(run.output, run.batch)
    pairs = list(zip(made, run.examples, strict=True))
    half = len(pairs) // 2
    metrics = task.metrics()
    assert metrics, "metrics() gives none"
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


# ---- sites --------------------------------------------------------------------------------------------------------


def check_site(run: Run, name: str) -> None:
    """Units can be read and put back, padding there is dead, and methods that know no task work."""
    for some in (run.examples, run.examples[:1]):
        check_layout(run.task, collated(run.task, some), len(some), name)
    probe = attempt(lambda: ask(run.task, run.batch, name), name)
    assert bool(probe.present.any(1).all()), f"site {name!r}: an example has no real unit; is its mask true where real?"
    check_replacement(run, probe, name)
    check_names(probe, name)
    check_methods(probe, name)


def check_layout(task: Task, batch: Batch, size: int, name: str) -> None:
    """The tensor at the site reads as `b n d`, its mask as `b n`."""
    site, found = task.sites[name], []

    def keep(value: Tensor) -> Tensor:
        found.append(value)
        return value

    def run_once() -> None:
        with torch.no_grad(), still(task.model), replaced(task.model, site, keep):
            task.model(batch)

    attempt(run_once, name)
    (raw,) = found
    assert raw.is_floating_point(), f"site {name!r} carries {raw.dtype}, not features; name a module after the embedding"
    units = attempt(lambda: rearrange(raw, f"{site.layout} -> {unit_axes(site)}", **site.axes), name)
    told = f"site {name!r}: layout {site.layout!r} of a tensor of shape {tuple(raw.shape)}"
    assert len(units) == size, f"{told} gives {len(units)} examples, the batch has {size}"
    for kind, key in (("present", site.present), ("groups", site.groups)):
        if key is not None:
            assert key in batch, f"site {name!r}: collate gives no {key!r}, named as its {kind}"
            assert batch[key].shape == units.shape[:2], f"{told} has units {tuple(units.shape[:2])}, {key!r} {tuple(batch[key].shape)}"
    if site.present is not None:
        assert batch[site.present].dtype == torch.bool, f"site {name!r}: mask {site.present!r} is not bool, true where real"
    if site.picture is not None:
        seen = batch.get(site.picture)
        assert isinstance(seen, Tensor) and seen.dtype == torch.uint8 and seen.ndim == 4 and seen.shape[1] == 3, (
            f"site {name!r}: picture {site.picture!r} is not a uint8 tensor `b 3 h w`"
        )


@torch.no_grad()
def check_replacement(run: Run, probe: Probe, name: str) -> None:
    """The model's own units give its own score, in any number of copies, whatever stands in the padding."""
    whole = attempt(lambda: probe.score(probe.units), name)
    assert close(whole, run.scores), f"site {name!r}: putting the units back changes the score: {run.scores.tolist()} to {whole.tolist()}"
    other = probe.units + torch.randn_like(probe.units) * probe.units.std().clamp_min(0.1)
    noise = other.where(~probe.present[..., None], probe.units)
    padded = probe.score(noise)
    assert close(padded, whole), f"site {name!r}: noise in padded units changes the score: {whole.tolist()} to {padded.tolist()}"
    disturbed = other.where(probe.present[..., None], probe.units)
    alone = probe.score(disturbed)
    assert not torch.equal(alone, whole), f"site {name!r}: the score does not depend on the units there; name a module on its way"
    both = probe.score(torch.cat([probe.units, disturbed]))
    assert close(both, torch.cat([whole, alone])), f"site {name!r}: two copies scored together differ from each alone"


def check_names(probe: Probe, name: str) -> None:
    """Words line up with the units or the groups that they name."""
    if probe.groups is not None:
        padded = probe.groups.where(~probe.present, -1)
        assert bool((padded == -1).all()) and probe.groups.min() >= -1, f"site {name!r}: groups are 0, 1, ... at words, -1 elsewhere"
    if probe.pictures is not None:
        assert len(probe.grid) == 2, f"site {name!r}: units of a picture lie on a grid of rows and columns, not {probe.grid}"
    for i, words in enumerate(probe.names or []):
        if probe.groups is None:
            count, what = int(probe.present[i].sum()), "real units"
            assert len(words) == count, f"site {name!r}: example {i} has {len(words)} names for {count} {what}"
        else:
            last = int(probe.groups[i].max())
            assert last < len(words), f"site {name!r}: example {i} has a unit in group {last} but {len(words)} names"


def check_methods(probe: Probe, name: str) -> None:
    """A gradient method adds up, occlusion and the information bottleneck give finite numbers."""
    start = baseline(probe, "mean")
    near = probe.units + 0.1 * (start - probe.units)  # nearer to the baseline a sound model can be steep and need 1,000 steps
    try:
        total = integrated_gradients(probe, near, steps=16).relevance.sum(1)
    except RuntimeError as error:
        raise AssertionError(f"site {name!r}: no gradient of the score reaches the units: {error}") from None
    with torch.no_grad():
        change = probe.score(probe.units) - probe.score(near)
    assert torch.allclose(total, change, rtol=0.05, atol=1e-3), (
        f"site {name!r}: integrated gradients add up to {total.tolist()}, the score changes by {change.tolist()}"
    )
    bits = bottleneck(probe, of_sample(probe.units, probe.present), Settings(steps=2, copies=2))
    for method, relevance in (("occlusion", occlusion(probe, start).relevance), ("iba", bits.relevance)):
        assert bool(relevance.isfinite().all()), f"site {name!r}: {method} is not finite"
        assert bool((relevance[~probe.present] == 0).all()), f"site {name!r}: {method} finds padding relevant"


@contextmanager
def nothing_left_behind(model: nn.Module, name: str) -> Iterator[None]:
    """Fails if hooks, modes or gradients differ after the block."""
    model.train()

    def state() -> dict[str, Any]:
        modules, parameters = list(model.modules()), list(model.parameters())
        return {
            "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules],
            "training modes": [m.training for m in modules],
            "requires_grad flags": [p.requires_grad for p in parameters],
            "parameter gradients": [p.grad is None for p in parameters],
            "fused attention": torch.backends.mha.get_fastpath_enabled(),
        }

    before = state()
    yield
    changed = [what for what, value in state().items() if value != before[what]]
    assert not changed, f"site {name!r}: explaining changes the model's {', '.join(changed)}"


def attempt(work: Callable[[], Any], name: str) -> Any:
    """The work's result; an error that the site's description causes becomes an AssertionError naming the site."""
    try:
        return work()
    except (BadUsage, EinopsError) as error:
        raise AssertionError(f"site {name!r}: {' '.join(str(error).split())}") from error


# ---- alike --------------------------------------------------------------------------------------------------------


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal shapes and equal up to rounding."""
    return found.shape == expected.shape and torch.allclose(found.float(), expected.float(), RTOL, ATOL)


def same(found: Any, expected: Any) -> bool:
    """Equal up to rounding, through lists, dicts, tensors and arrays; NaN equals NaN."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    if isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(same(a, b) for a, b in zip(found, expected, strict=True))
    if isinstance(found, (int, float, Tensor)) or hasattr(found, "__array__"):
        a, b = torch.as_tensor(found).double(), torch.as_tensor(expected).double()
        return a.shape == b.shape and torch.allclose(a, b, RTOL, ATOL, equal_nan=True)
    return bool(found == expected)
