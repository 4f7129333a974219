"""Attribution methods compared by deletion on a paper's sets: what `pellucid table` runs where a recipe file offers a study."""

import itertools
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from pellucid import checkpoint, run
from pellucid.data import loader
from pellucid.explain.attribution import Statistics
from pellucid.explain.deletion import DegradationScore, Deletion, deletions, rows
from pellucid.explain.methods import named
from pellucid.explain.probe import ask
from pellucid.explain.remove import Removal
from pellucid.metrics.bootstrap import draws, percentile
from pellucid.paper import Contender, Study
from pellucid.task import Example
from pellucid.train.loop import Progress

BATCH, RESAMPLES, LEVEL = 16, 2000, 0.95
Say = Callable[[str], None]


def measure(
    study: Study, folder: pathlib.Path, only: str, train: bool, watch: Callable[[Progress], None], say: Say
) -> list[dict[str, Any]]:
    """One entry per set, kept in its run's `results/study.json`; with `train`, after making what is missing.

    Args:
        only: a text that the name of a set contains; empty takes all.
    """
    found = []
    for name, recipe in study.recipes.items():
        if only.lower() not in name.lower():
            continue
        place = folder / recipe.replace(":", "_")
        kept = place / "results" / "study.json"
        asked = {"contenders": {k: [asdict(c) for c in v] for k, v in study.contenders.items()}, "num": [study.num_choose, study.num_test]}
        known = json.loads(kept.read_text()) if kept.exists() else None
        if known is None or known["asked"] != json.loads(json.dumps(asked)):
            if not train:
                continue
            trained = run.load(place) if (place / "model.safetensors").exists() else run.train(recipe, place, watch=watch)
            say(f"{name}: choosing on {study.num_choose}, measuring on {study.num_test}")
            known = {"set": name, "asked": asked, **one_set(trained, study, say)}
            checkpoint.write_json(kept, known)
        found.append(known)
    return found


def one_set(trained: run.Run, study: Study, say: Say) -> dict[str, Any]:
    """The chosen setting of each contender, its score with interval, and how far the main one is ahead."""
    chooses = spread(trained.prepared(trained.recipe.dev), study.num_choose) if trained.recipe.dev else []
    test = next(iter(trained.recipe.tests))
    measures = spread(trained.prepared(trained.recipe.tests[test]), study.num_test)
    chosen: dict[str, Contender] = {}
    for name, settings in study.contenders.items():
        tried = {f"{i}": setting for i, setting in enumerate(settings)}
        if len(tried) == 1:
            chosen[name] = settings[0]
            continue
        marks = {k: score(v) for k, v in curves(trained, chooses, tried).items()}
        chosen[name] = tried[max(marks, key=lambda k: marks[k])]
        say(f"{name}: {chosen[name].site} {dict(chosen[name].options)} of {', '.join(f'{v:.3f}' for v in marks.values())}")
    found = curves(trained, measures, chosen)
    evaluated = json.loads((trained.folder / "results" / "evaluate.json").read_text())["sets"][test]["metrics"]
    scores = {name: _interval(found, name) for name in found}
    for name, told in scores.items():
        say(f"{name} {told['mean']:.3f} [{told['low']:.3f}, {told['high']:.3f}]")
    return {
        "n": len(measures),
        "n_choosing": len(chooses),
        "accuracy": evaluated["accuracy"]["value"],
        "chosen": {name: asdict(contender) for name, contender in chosen.items()},
        "scores": scores,
        "ahead": {name: _ahead(found, study.main, name) for name in found if name != study.main},
    }


def spread(examples: Sequence[Example], num: int) -> list[Example]:
    """So many examples, drawn from all over the set with a seed of its own."""
    order = np.random.default_rng(0).permutation(len(examples))[:num]
    return [examples[i] for i in sorted(order.tolist())]


def curves(trained: run.Run, examples: Sequence[Example], contenders: Mapping[str, Contender]) -> dict[str, np.ndarray]:
    """Per contender a row of deletion scores for each example; passes in bfloat16, which moves a score by some thousandths."""
    ordered = sorted(examples, key=lambda e: -e["length"])
    found: dict[str, list[np.ndarray]] = {name: [] for name in contenders}
    known = {site: trained.statistics(site) for site in {one.site for one in contenders.values()}}
    for first in range(0, len(ordered), BATCH):
        with torch.no_grad(), torch.autocast(trained.fabric.device.type, torch.bfloat16):
            told = _some(trained, ordered[first : first + BATCH], contenders, known)
        for name, curve in told.items():
            found[name].append(rows(curve))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _some(
    trained: run.Run, examples: Sequence[Example], contenders: Mapping[str, Contender], known: Mapping[str, Statistics | None]
) -> dict[str, Deletion]:
    task = trained.task
    batch = loader.move(task.collate(examples), trained.fabric.device)
    probe = ask(task, batch)
    relevances = {}
    for name, one in contenders.items():
        answer = probe.answer if one.target == "answer" else torch.full_like(probe.answer, int(one.target))
        method = named(one.method, one.options)
        relevances[name] = method(ask(task, batch, one.site, answer), known[one.site], 0).relevance
    return deletions(Removal(probe).scaled(torch.exp), relevances)


def score(found: np.ndarray) -> float:
    """Degradation score of a set."""
    whole = DegradationScore()
    whole.found = list(found)
    return whole.compute()


def _interval(found: Mapping[str, np.ndarray], name: str) -> dict[str, float]:
    drawn = _drawn(found[name])
    low, high = percentile(drawn, LEVEL)
    return {"mean": score(found[name]), "low": low, "high": high}


def _ahead(found: Mapping[str, np.ndarray], main: str, other: str) -> dict[str, float]:
    """Difference of two scores on the same draws of the same examples."""
    low, high = percentile(_drawn(found[main]) - _drawn(found[other]), LEVEL)
    return {"mean": score(found[main]) - score(found[other]), "low": low, "high": high}


def _drawn(found: np.ndarray) -> np.ndarray:
    gathered = list(found)
    return draws(lambda: {"score": DegradationScore()}, gathered, [{}] * len(gathered), RESAMPLES, 0)["score"]


# ---- printing ---------------------------------------------------------------------------------------------------------


def markdown(title: str, notes: str, main: str, found: Sequence[Mapping[str, Any]]) -> str:
    """Methods by sets, the choices that were made, and the verdict as found."""
    names = list(dict.fromkeys(itertools.chain.from_iterable(one["scores"] for one in found)))
    sets = [one["set"] for one in found]
    lines = [f"# {title}", "", notes, "", "| method | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
    for name in names:
        cells = [f"{s['mean']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for s in (one["scores"][name] for one in found)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    told = [
        f"{one['set']}: accuracy {100 * one['accuracy']:.1f}, {one['n']} test examples, {one['n_choosing']} that chose" for one in found
    ]
    lines += ["", f"Mean with 95% interval over examples. {'; '.join(told)}.", "", f"## How far {main} is ahead", ""]
    lines += ["| of | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
    for name in names:
        if name == main:
            continue
        cells = [f"{a['mean']:+.3f} [{a['low']:+.3f}, {a['high']:+.3f}]" for a in (one["ahead"][name] for one in found)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", *(_verdict(main, name, found) for name in names if name != main), "", "## What was chosen", ""]
    for one in found:
        picks = [
            f"{name}: {c['site']} {', '.join(f'{k} {v}' for k, v in c['options'].items())}".strip() for name, c in one["chosen"].items()
        ]
        lines.append(f"- {one['set']}: {'; '.join(picks)}")
    return "\n".join(lines)


def _verdict(main: str, other: str, found: Sequence[Mapping[str, Any]]) -> str:
    """On which sets the main contender is ahead, behind, or neither, by the interval of the difference."""
    groups: dict[str, list[str]] = {"ahead on": [], "behind on": [], "neither on": []}
    for one in found:
        ahead = one["ahead"][other]
        key = "ahead on" if ahead["low"] > 0 else "behind on" if ahead["high"] < 0 else "neither on"
        groups[key].append(one["set"])
    return f"- {main} against {other}: " + ", ".join(f"{key} {' and '.join(sets)}" for key, sets in groups.items() if sets) + "."
