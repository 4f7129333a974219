"""A record tells one example, a summary many."""

import json

import pytest
import torch

from pellucid.explain.attribution import baseline
from pellucid.explain.degrade import degradations
from pellucid.explain.methods import METHODS
from pellucid.explain.probe import ask
from pellucid.explain.record import Findings, Flow, records, summarise
from pellucid.explain.words import to_words
from toys import Sentences, sentences


def test_a_record_holds_words_methods_checks_and_layers_as_json():
    task = Sentences()
    probe = ask(task, task.collate(sentences()))
    found = {name: METHODS[name](probe, None, 0) for name in ("iba", "integrated_gradients")}
    curves = degradations(probe, {"iba": found["iba"].relevance}, baseline(probe))
    heads = [{"set": "movies", "id": str(i), "prediction": 1.5, "label": 2.0, "answer": 1.5, "score": 1.5} for i in range(4)]
    checks = {"iba": {"deletion": torch.tensor([0.1, torch.nan, 0.3, 0.4])}}
    told = {site: to_words(factor * found["iba"].relevance, probe) for site, factor in (("input", 1), ("encoder", 2))}
    flow = Flow("iba", "nats", told)
    rows = records(Findings(probe, heads, found, curves, checks, {"iba": 3.0, "integrated_gradients": 1.0}, flow))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    record = rows[2]
    assert record["words"] == ["bad", "and", "very", "long", "indeed"] and record["id"] == "2"
    iba, gradients = record["methods"]["iba"], record["methods"]["integrated_gradients"]
    assert len(iba["relevance"]) == 5 and iba["gap"] is None and "sample statistics" in iba["note"]
    assert abs(gradients["gap"]) < 0.05 and gradients["degradation"] is None and gradients["checks"] == {}
    assert iba["degradation"]["area"] == float(f"{curves['iba'].area[2].item():.6g}")
    assert iba["checks"] == {"deletion": 0.3} and rows[1]["methods"]["iba"]["checks"] == {"deletion": None}
    assert record["flow"]["sites"] == ["input", "encoder"]
    assert record["flow"]["relevance"][1] == pytest.approx([2 * v for v in record["flow"]["relevance"][0]], rel=1e-5)


def row(one, two, checks):
    methods = {"a": one, "b": two}
    return {
        "words": ["w"] * len(one),
        "methods": {m: {"relevance": r, "checks": {"deletion": c}, "ms": 2.0} for (m, r), c in zip(methods.items(), checks, strict=True)},
    }


def test_a_summary_gives_means_intervals_and_agreement_over_the_words_of_each_example():
    rows = [row([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], (0.2, None)), row([1.0, 2.0], [2.0, 1.0], (0.4, 0.5))]
    found = summarise(rows)
    assert found["n"] == 2 and found["ms_per_example"] == {"a": 2.0, "b": 2.0}
    assert found["checks"]["a"]["deletion"]["mean"] == pytest.approx(0.3)
    assert found["checks"]["b"]["deletion"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "n": 1}
    assert found["agreement"] == {"methods": ["a", "b"], "spearman": [[1.0, 0.0], [0.0, 1.0]]}  # the same order, and the opposite
