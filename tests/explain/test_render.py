"""What a person reads: colours, the legend, the record of an example."""

import json

import torch
from rich.console import Console

from pellucid.explain.attribution import baseline
from pellucid.explain.degrade import degradations
from pellucid.explain.methods import METHODS
from pellucid.explain.probe import ask
from pellucid.explain.render import as_record, coloured, legend
from toys import Sentences, sentences


def test_words_for_are_blue_words_against_orange_and_the_strongest_is_full():
    text = coloured(["good", "dull", "and", "fine"], [2.0, -2.0, 0.0, 1.0])
    assert text.plain == "good dull and fine"
    grounds = [span.style.bgcolor and tuple(span.style.bgcolor.triplet) for span in text.spans]
    assert grounds == [(33, 113, 181), (217, 95, 2), (144, 184, 218)]  # "and" has no ground


def test_markup_in_the_words_is_only_text():
    console = Console(force_terminal=True, color_system="truecolor", width=200)
    with console.capture() as capture:
        console.print(coloured(["[red]", "x[/]"], [1.0, 0.0]))
    assert "[red]" in capture.get() and "x[/]" in capture.get()


def test_nothing_relevant_has_no_colour():
    assert all(not span.style for span in coloured(["a", "b"], [0.0, 0.0]).spans)


def test_the_legend_tells_the_strongest_words_in_figures():
    text = legend(["good", "dull", "and", "fine"], [2.0, -2.5, 0.0, 1.0]).plain
    assert "for" in text and "against" in text
    assert text.endswith("strongest: dull -2.5, good +2, fine +1")


def test_a_record_holds_words_methods_and_curves_as_json():
    task = Sentences()
    probe = ask(task, task.collate(sentences()))
    found = {name: METHODS[name](probe, None, 0) for name in ("iba", "integrated_gradients")}
    curves = degradations(probe, {"iba": found["iba"].relevance}, baseline(probe))
    head = {"set": "movies", "id": "reviews.csv:3", "prediction": 1.5, "label": 2.0, "score": 1.5}
    record = as_record(head, probe, 2, found, curves)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["words"] == ["bad", "and", "very", "long", "indeed"] and record["id"] == "reviews.csv:3"
    iba, gradients = record["methods"]["iba"], record["methods"]["integrated_gradients"]
    assert len(iba["relevance"]) == 5 and iba["gap"] is None and "sample statistics" in iba["note"]
    assert abs(gradients["gap"]) < 0.05 and gradients["degradation"] is None
    assert iba["degradation"]["area"] == float(f"{curves['iba'].area[2].item():.6g}")
    assert torch.tensor(iba["relevance"]).ge(0).all()
