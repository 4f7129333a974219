"""Explains examples with one or more methods and checks each explanation: what results/explanations.json holds."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.data import loader
from pellucid.data.read import require
from pellucid.errors import BadUsage
from pellucid.explain import probe as probes
from pellucid.explain.attribution import Attribution, Statistics, baseline
from pellucid.explain.bottleneck import Calibration
from pellucid.explain.checks import Again, Case, check_case
from pellucid.explain.methods import Method, named
from pellucid.explain.patches import grounds, over
from pellucid.explain.record import Findings, Flow, Record, records, summarise
from pellucid.explain.sanity import Setting
from pellucid.explain.words import to_words
from pellucid.task import Batch, Example, Output, Task

PIXELS = "pixel_present"  # the entry of a batch that says which pixels are a picture's and not padding
OWN = "against the example's own mean, no training set being at hand"
EACH = "each"  # the answer that asks about every predicted label, and the entry of an example that says which
POSED = {EACH, "said"}  # entries of examples that have been posed
WRITTEN = "model_wrote"  # the entry that says what the model itself wrote, whatever it is told to write
Gold = Callable[[Sequence[Example]], Tensor]


@dataclass(frozen=True)
class Question:
    """How to ask.

    Args:
        methods: names, from `pellucid list methods`, or `./mine.py:function`.
        site: where units are read and replaced.
        beside: more sites at which the same answer is explained, as the words of a picture's caption.
        answer: what to explain, `predicted`, `gold`, a label, or `each` label (of a detection each box, of a parse each word) that is
            predicted of an example.
        checks: names, from `pellucid list checks`; None takes the cheap ones.
        options: settings of methods, `{"iba.beta": "0.1"}`.
        flow: sites at which the first method draws a map as well, from below to above.
        score: what to explain instead of the task's score of the answer, as a margin between two labels.
    """

    methods: tuple[str, ...] = ("iba", "integrated_gradients", "occlusion", "lime")
    site: str = "input"
    answer: str = "predicted"
    checks: tuple[str, ...] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    flow: tuple[str, ...] = ()
    batch_size: int = 16
    seed: int = 0
    score: Callable[[Output], Tensor] | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """What explaining needs beside the task.

    Args:
        statistics: of the units at a site, over in-domain examples; None where there are none, and each example's own serve.
        anew: the same under the weights of the moment, for the check that randomises them; None makes do without.
        gold: examples -> answer, where the task knows the right one.
        methods: more methods by name, as one that was fitted.
    """

    statistics: Callable[[str], Statistics | None]
    anew: Callable[[str], Statistics | None] | None = None
    gold: Gold | None = None
    methods: Mapping[str, Method] = field(default_factory=dict)


def statistics_at(task: Task, examples: Sequence[Example], site: str, batch_size: int = 32) -> Statistics:
    """Mean and spread of the units at a site over in-domain examples; a few hundred are enough."""
    calibration, device = Calibration(), next(task.model.parameters()).device
    for first in range(0, len(examples), batch_size):
        batch = loader.move(task.collate(examples[first : first + batch_size]), device)
        _, units, present = probes.read(task, batch, site)
        calibration.update(units, present)
    return calibration.compute()


def explain(task: Task, examples: Sequence[Example], question: Question, known: Known) -> Record:
    """All records, in the order of the examples, with what they say together."""
    examples = posed(task, examples, question)
    rows: dict[int, Record] = {}
    reasons: dict[str, None] = {}
    for found, reason in explained(task, examples, question, known):
        rows |= found
        reasons |= {reason: None} if reason else {}
    return whole(task, question, [rows[i] for i in range(len(examples))], next(iter(reasons), ""))


def posed(task: Task, examples: Sequence[Example], question: Question) -> list[Example]:
    """The examples; where each label is asked about, one for each that is predicted, which it holds as `each`.

    Of an example without any the task's own answer is explained. Of a model that writes step by step, examples hold what was written
    as what is to be written, or, where the gold answer is asked about, what is right.

    Raises:
        BadUsage: predictions are not labels.
    """
    if (question.answer != EACH and not hasattr(task, "force")) or any(POSED & e.keys() for e in examples):
        return list(examples)
    found: list[Example] = []
    for first in range(0, len(examples), question.batch_size):
        some = examples[first : first + question.batch_size]
        predictions = _predictions(task, some)
        if hasattr(task, "force"):
            forced = told_right(task, some) if question.answer == "gold" else task.force(some, predictions)
            some = [{**e, WRITTEN: _said(p)} for e, p in zip(forced, predictions, strict=True)]
        if question.answer == EACH:
            found += [{**e, EACH: label} for e, p in zip(some, predictions, strict=True) for label in (_labels(p) or (None,))]
        else:
            found += some
    return found


def _predictions(task: Task, examples: Sequence[Example]) -> list[Any]:
    batch = loader.move(task.collate(examples), next(task.model.parameters()).device)
    with torch.no_grad(), probes.still(task.model):
        return task.predict(task.model(batch), batch)


def told_right(task: Task, examples: Sequence[Example]) -> list[Example]:
    """The examples; of a task that writes step by step, with what is right as what is to be written.

    Raises:
        BadData: an example has no label.
    """
    if not hasattr(task, "force"):
        return list(examples)
    require(examples, ("label",), "explaining the gold answer")
    return list(task.force(examples, [task.prediction(e["label"]) for e in examples]))  # type: ignore[attr-defined]


def _said(prediction: Any) -> Any:
    """What a prediction says: its `text`, or its `labels`, else itself."""
    if not isinstance(prediction, Mapping):
        return prediction
    return prediction.get("text", prediction.get("answers", prediction.get("labels", prediction)))


def _labels(prediction: Any) -> list[str]:
    """The labels, or answers such as LABEL@QUERY and WORD@PLACE, predicted of one example, the strongest or the first first."""
    named = prediction.get("answers", _said(prediction)) if isinstance(prediction, Mapping) else prediction
    labels = [named] if isinstance(named, str) else named
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
        raise BadUsage(f"answer each: this task predicts {type(prediction).__name__}, not labels; explain what is predicted")
    return list(labels)


def whole(task: Task, question: Question, rows: Sequence[Record], passes: str = "") -> Record:
    """The records under what they have in common."""
    head = {"site": question.site, "score_unit": task.score_unit, "num": len(rows), "passes": passes}
    several = len(rows) > 1
    told = {"summary": summarise(rows) if several else None, "examples": list(rows)}
    if question.beside:
        told["beside"] = {site: summarise([row["beside"][site] for row in rows]) if several else None for site in question.beside}
    return {**head, **told}


def explained(
    task: Task,
    examples: Sequence[Example],
    question: Question,
    known: Known,
    done: frozenset[int] = frozenset(),
    unseen: frozenset[int] = frozenset(),
) -> Iterator[tuple[dict[int, Record], str]]:
    """Batch by batch the records by place, and why the model was run whole, if it was; alike lengths go together.

    Args:
        examples: prepared, and posed; a `set` entry says which test set one comes from.
        done: places that need not be explained.
        unseen: places that no page shows; their records hold no pictures.
    Raises:
        BadUsage: no such method, option, site, check or answer; before any work.
    """
    methods = methods_of(question, known)
    for site in (question.site, *question.beside, *question.flow):
        probes.find_site(task, site)
    if question.answer != "predicted" and known.gold is None:
        raise BadUsage(f"answer {question.answer!r}: this task can explain predicted")
    order = sorted((i for i in range(len(examples)) if i not in done), key=lambda i: -examples[i].get("length", 0))
    for first in range(0, len(order), question.batch_size):
        places = order[first : first + question.batch_size]
        found, beside = _explain_batch(task, [examples[i] for i in places], methods, question, known)
        rows = records(found, [at not in unseen for at in places], beside)
        reasons = [one.probe.passes.reason for one in (found, *beside.values()) if one.probe.passes]
        yield dict(zip(places, rows, strict=True)), next((reason for reason in reasons if reason), "")


def methods_of(question: Question, known: Known) -> dict[str, Method]:
    """The question's methods, each with its settings, under the names they are shown by.

    Raises:
        BadUsage: an unknown method or setting, or a setting of a method that is not asked.
    """
    options: dict[str, dict[str, str]] = {}
    for key, value in question.options.items():
        method, _, option = key.partition(".")
        options.setdefault(method, {})[option] = value
    found = {}
    for name in question.methods:
        shown = name.rpartition(":")[2]
        found[shown] = known.methods[name] if name in known.methods else named(name, options.pop(shown, {}))
    if options:
        raise BadUsage(f"--set {next(iter(options))}...: the methods asked are {', '.join(found)}")
    return found


def _explain_batch(
    task: Task, examples: Sequence[Example], methods: Mapping[str, Method], question: Question, known: Known
) -> tuple[Findings, dict[str, Findings]]:
    """What is found at the question's site, and by name at those beside it."""
    batch = loader.move(task.collate(examples), next(task.model.parameters()).device)
    heads, answer = _heads(task, examples, batch, question, known.gold)
    beside = {
        site: _found_at(task, batch, answer, methods, replace(question, site=site, flow=()), known, heads) for site in question.beside
    }
    return _found_at(task, batch, answer, methods, question, known, heads), beside


def _found_at(
    task: Task,
    batch: Batch,
    answer: Tensor,
    methods: Mapping[str, Method],
    question: Question,
    known: Known,
    heads: Sequence[Mapping[str, Any]],
) -> Findings:
    probe = probes.ask(task, batch, question.site, answer, score=question.score)
    statistics = known.statistics(question.site)
    found, times = {}, {}
    for name, method in methods.items():
        start = time.perf_counter()
        found[name] = _told_apart(method(probe, statistics, question.seed), statistics)
        times[name] = 1000 * (time.perf_counter() - start) / len(heads)
    again = _again(task, batch, question, known, answer, methods)
    case = Case(
        probe,
        {name: a.relevance for name, a in found.items()},
        baseline(probe, "mean", statistics),
        question.seed,
        "value" if question.score else task.score_unit,
        again,
    )
    checks = check_case(case, question.checks) if question.checks != () else {}
    curves = case.curves if question.checks != () else {}
    flow = _flow(task, batch, answer, methods, question, known)
    return Findings(probe, heads, found, curves, checks, times, flow, grounds(probe, batch.get(PIXELS)))


def _told_apart(found: Attribution, statistics: Statistics | None) -> Attribution:
    """Says so where no in-domain examples stood behind it."""
    return found if statistics else replace(found, note=f"{found.note}; {OWN}" if found.note else OWN)


def _heads(
    task: Task, examples: Sequence[Example], batch: Batch, question: Question, gold: Gold | None
) -> tuple[list[dict[str, Any]], Tensor]:
    """Who each example is and what is explained of it."""
    with torch.no_grad(), probes.still(task.model):
        output = task.model(batch)
        predictions = task.predict(output, batch)
        answer, told = task.answer(output), [_first(p) for p in predictions]
        if question.answer != "predicted" and gold is not None:
            told = [_asked(e, question.answer) for e in examples]
            named = [i for i, label in enumerate(told) if label is not None or question.answer != EACH]
            asked = [examples[i] if question.answer == "gold" else {**examples[i], "label": told[i]} for i in named]
            if named:
                answer = answer.clone().index_copy(0, torch.tensor(named, device=answer.device), gold(asked).to(answer))
        scores = (question.score(output) if question.score else task.score(output, answer)).tolist()
        places = task.places(output, answer, batch) if hasattr(task, "places") else [dict[str, Any]()] * len(examples)
    return [
        {
            "set": e.get("set", "input"),
            "id": e.get("id"),
            "prediction": e.get(WRITTEN, _said(p)),
            "label": e.get("label", e.get("labels")),
            "answer": t,
            "score": s,
            **({"caption": e["caption"]} if "caption" in e else {}),
            **place,
        }
        for e, p, t, s, place in zip(examples, predictions, told, scores, places, strict=True)
    ], answer


def _first(prediction: Any) -> Any:
    """The statement that a task's own answer names: its prediction, of several labels the first; None of numbers, which name nothing."""
    several = _said(prediction)
    if isinstance(several, (float, Mapping)):
        return None
    if not isinstance(several, (list, tuple)):
        return several
    return several[0] if several else None


def _asked(example: Example, answer: str) -> Any:
    return {"gold": example.get("label"), EACH: example.get(EACH)}.get(answer, answer)


def _again(task: Task, batch: Batch, question: Question, known: Known, answer: Tensor, methods: Mapping[str, Method]) -> Again | None:
    if question.score is not None:
        return None
    return Again(methods, Setting(task, batch, question.site, answer, lambda: known.anew(question.site) if known.anew else None))


def _flow(task: Task, batch: Batch, answer: Tensor, methods: Mapping[str, Method], question: Question, known: Known) -> Flow | None:
    if not question.flow:
        return None
    name, method = next(iter(methods.items()))
    told, at = {}, {}
    for site in question.flow:
        probe = probes.ask(task, batch, site, answer, score=question.score)
        at[site] = grounds(probe, batch.get(PIXELS))
        told[site] = over(to_words(method(probe, known.statistics(site), question.seed).relevance, probe), probe, at[site])
    unit = question.options.get("iba.unit", "nats") if name == "iba" else ""
    return Flow(name, unit, told, at)
