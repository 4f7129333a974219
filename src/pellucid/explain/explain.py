"""Explains examples with one or more methods and checks each explanation: what results/explanations.json holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pellucid.coerce import nearest
from pellucid.data import loader
from pellucid.errors import BadUsage
from pellucid.explain import probe as probes
from pellucid.explain.attribution import Statistics, baseline
from pellucid.explain.bottleneck import Calibration
from pellucid.explain.catalog import METHODS as CATALOG
from pellucid.explain.degrade import degradations, on_scale
from pellucid.explain.methods import METHODS, Method
from pellucid.explain.render import as_record
from pellucid.task import Example, Task


@dataclass(frozen=True)
class Question:
    """How to ask.

    Args:
        methods: names, from `pellucid list methods`.
        site: where units are read and replaced.
        answer: what to explain, `predicted` or `gold`.
        check: also draw the degradation curves.
    """

    methods: tuple[str, ...] = ("iba", "integrated_gradients", "occlusion", "lime")
    site: str = "input"
    answer: str = "predicted"
    check: bool = True
    batch_size: int = 16
    seed: int = 0


def method_of(name: str) -> Method:
    """The method of that name.

    Raises:
        BadUsage: there is none; the message gives the nearest.
    """
    if name not in METHODS:
        raise BadUsage(f"no method {name!r}" + nearest(name, list(CATALOG)))
    return METHODS[name]


def statistics_at(task: Task, examples: Sequence[Example], site: str, batch_size: int = 32) -> Statistics:
    """Mean and spread of the units at a site over in-domain examples; a few hundred are enough."""
    calibration, device = Calibration(), next(task.model.parameters()).device
    for first in range(0, len(examples), batch_size):
        batch = loader.move(task.collate(examples[first : first + batch_size]), device)
        _, units, present = probes.read(task, batch, site)
        calibration.update(units, present)
    return calibration.compute()


def explain(
    task: Task,
    examples: Sequence[Example],
    question: Question,
    statistics: Statistics,
    gold: Callable[[Sequence[Example]], torch.Tensor] | None = None,
) -> dict[str, Any]:
    """One record per example, in order.

    Args:
        examples: prepared; a `set` entry says which test set one comes from.
        gold: examples -> answer, needed for `question.answer == "gold"`.
    """
    methods = {name: method_of(name) for name in question.methods}
    probes.find_site(task, question.site)
    if question.answer not in ("predicted", "gold") or (question.answer == "gold" and gold is None):
        raise BadUsage(f"answer {question.answer!r}: this task can explain {'predicted or gold' if gold else 'predicted'}")
    records: list[dict[str, Any]] = []
    for first in range(0, len(examples), question.batch_size):
        some = examples[first : first + question.batch_size]
        records += _explain_batch(task, some, methods, question, statistics, gold(some) if gold and question.answer == "gold" else None)
    return {"site": question.site, "score_unit": task.score_unit, "examples": records}


def _explain_batch(
    task: Task,
    examples: Sequence[Example],
    methods: Mapping[str, Method],
    question: Question,
    statistics: Statistics,
    answer: torch.Tensor | None,
) -> list[dict[str, Any]]:
    device = next(task.model.parameters()).device
    batch = loader.move(task.collate(examples), device)
    with torch.no_grad(), probes.still(task.model):
        output = task.model(batch)
        predictions = task.predict(output, batch)
        answer = task.answer(output) if answer is None else answer.to(device)
        scores = task.score(output, answer).tolist()
    probe = probes.ask(task, batch, question.site, answer)
    found = {name: method(probe, statistics, question.seed) for name, method in methods.items()}
    curves = {}
    if question.check:
        relevances = {name: a.relevance for name, a in found.items()}
        start = baseline(probe, "mean", statistics)
        curves = degradations(on_scale(probe, task.score_unit), relevances, start, seed=question.seed)
    heads = [
        {"set": e.get("set", "input"), "id": e.get("id"), "prediction": p, "label": e.get("label"), "score": s}
        for e, p, s in zip(examples, predictions, scores, strict=True)
    ]
    return [as_record(head, probe, i, found, curves) for i, head in enumerate(heads)]
