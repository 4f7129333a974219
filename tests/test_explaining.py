"""Whole test sets: the same records in any batch, taken up where a killed run was."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pellucid import explaining, run
from pellucid.errors import BadData, BadUsage
from pellucid.explain.readout import ReadoutSettings
from pellucid.explained import Explained

METHODS = ("iba", "integrated_gradients", "lime", "occlusion")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run.train("iba:tiny", tmp_path_factory.mktemp("runs") / "tiny", {"loop.epochs": "1"})


def numbers(found):
    return [
        v
        for row in found["examples"]
        for one in row["methods"].values()
        for v in (*one["relevance"], *(c for c in one["checks"].values() if c is not None))
    ]


def test_explanations_do_not_depend_on_the_batch_size(trained):
    texts = [row["text"] for row in trained._some_of_each(20)]
    one, many = (trained.explain(texts, methods=METHODS, batch_size=size) for size in (1, 7))
    assert numbers(one) == pytest.approx(numbers(many), rel=1e-4, abs=1e-4)


def test_a_killed_run_goes_on_and_ends_with_the_same_records(trained, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pellucid",
        "explain",
        str(trained.folder),
        "--num",
        "200",
        "--method",
        "iba,lime",
        "--batch-size",
        "2",
    ]
    command += ["--out", str(tmp_path / "killed"), "--quiet"]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while started.poll() is None and sum(len(p.read_bytes().splitlines()) for p in (tmp_path / "killed").glob("*.jsonl")) < 10:
        time.sleep(0.05)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    (kept,) = (tmp_path / "killed").glob("*.jsonl")
    with kept.open("a") as file:
        file.write('{"at": 3, "rec')  # as if killed within a line
    begun = kept.read_text().splitlines()[1:9]
    seen = []
    found = trained.explain(num=200, methods=("iba", "lime"), out=tmp_path / "killed", watch=lambda at, of: seen.append((at, of)))
    assert seen[0][0] >= 8 and seen[-1] == (200, 200)
    assert kept.read_text().splitlines()[1:9] == begun
    whole = trained.explain(num=200, methods=("iba", "lime"), out=tmp_path / "whole")
    assert numbers(found) == pytest.approx(numbers(whole), rel=1e-4, abs=1e-4)
    assert len(json.loads((tmp_path / "killed" / "explanations.json").read_text())["examples"]) == explaining.SHOWN
    assert found["num"] == found.summary["n"] == 200


def test_another_question_is_another_file(trained, tmp_path):
    for options in ({}, {"iba.beta": "0.1"}):
        trained.explain(["a superb film"], methods=("iba",), options=options, out=tmp_path)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_a_line_that_is_no_explanation_is_named(trained, tmp_path):
    trained.explain(["a superb film"], methods=("random",), out=tmp_path)
    (kept,) = tmp_path.glob("*.jsonl")
    kept.write_text(kept.read_text() + "gibberish\n")
    with pytest.raises(BadData, match="line 3: not an explanation"):
        trained.explain(["a superb film"], methods=("random",), out=tmp_path)


def test_what_comes_back_can_be_read_shown_and_saved(trained, tmp_path):
    found = trained.explain(["a superb film last week"], methods=("iba", "ig"), flow="all")
    assert isinstance(found, Explained) and found.methods == ["iba", "integrated_gradients"]
    assert found.examples[0]["flow"]["sites"] == list(trained.task.sites)
    assert "<iframe" in found._repr_html_()
    for suffix in ("html", "png", "json"):
        assert found.save(tmp_path / f"page.{suffix}").stat().st_size > 500


def test_a_given_label_and_the_gold_one_can_be_explained(trained):
    rows = [{"text": "a superb film", "label": "positive"}]
    negative, positive, gold = (
        trained.explain(rows, methods=("occlusion",), answer=a)["examples"][0] for a in ("negative", "positive", "gold")
    )
    assert gold["score"] == positive["score"] != negative["score"]
    with pytest.raises(BadData, match="not one of negative, positive"):
        trained.explain(rows, answer="excellent")


def test_any_score_can_be_explained(trained):
    def margin(output):
        return output["logits"][:, 1] - output["logits"][:, 0]

    found = trained.explain(["a superb film"], methods=("integrated_gradients",), score=margin, checks=())["examples"][0]
    assert sum(found["methods"]["integrated_gradients"]["relevance"]) != 0
    flipped = trained.explain(["a superb film"], methods=("integrated_gradients",), score=lambda o: -margin(o), checks=())["examples"][0]
    ours, theirs = (one["methods"]["integrated_gradients"]["relevance"] for one in (found, flipped))
    assert ours == pytest.approx([-v for v in theirs], abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": ("ibb",)}, "did you mean"),
        ({"options": {"lime.samples": "9"}, "methods": ("iba",)}, "the methods asked are iba"),
        ({"options": {"iba.bata": "9"}, "methods": ("iba",)}, "beta"),
        ({"checks": ("deletoin",)}, "deletion"),
        ({"flow": ("layer.9",)}, "no site"),
        ({"method": ("iba",)}, "no argument 'method'"),
    ],
)
def test_a_wrong_question_is_refused_in_one_line(trained, asked, message):
    with pytest.raises(BadUsage, match=message) as refused:
        trained.explain(["a film"], **asked)
    assert "\n" not in str(refused.value)


def test_every_check_can_be_asked_for(trained):
    from pellucid.explain.checks import CHECKS

    found = trained.explain(["a superb film last week", "a dreadful plot"], methods=("occlusion", "gradient"), checks=tuple(CHECKS))
    assert all(set(one["checks"]) == set(CHECKS) for row in found["examples"] for one in row["methods"].values())


def test_a_readout_is_trained_once_and_kept(trained, monkeypatch):
    monkeypatch.setattr(run, "train_readout", lambda *a, made=run.train_readout: made(*a, ReadoutSettings(steps=5)))
    first = trained.explain(["a superb film"], methods=("readout",))
    monkeypatch.setattr(run, "train_readout", None)
    again = trained.explain(["a superb film"], methods=("readout",))
    assert numbers(first) == numbers(again)
    assert min(first["examples"][0]["methods"]["readout"]["relevance"]) >= 0
