"""Parsing: texts and targets to tokens and back, what is refused, and training that resumes and is shared exactly."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from pellucid import checkpoint, recipe, run
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import override
from pellucid.tasks.parsing.data import Rewritten, Words, places
from pellucid.tasks.parsing.settings import ParsingSettings
from pellucid.testing import check_task

ROWS = [
    {"id": "mine:1", "text": "jump left", "label": "LEFT JUMP"},
    {"id": "mine:2", "text": "walk", "label": "WALK"},
    {"id": "mine:3", "text": "walk and run twice", "label": "WALK RUN RUN"},
]
SMALL = {"train.limit": 201, "tests.home.limit": 41, "tests.longer.limit": 31, "loop.epochs": 2, "loop.log_every": 1, "loop.save_every": 1}


@pytest.fixture
def task():
    torch.manual_seed(0)
    return ParsingSettings("recurrent", width=16, max_target=5).build(ROWS)


@pytest.mark.parametrize("model", ["recurrent", "transformer"])
def test_both_small_parsers_keep_the_promises_of_tasks(model):
    torch.manual_seed(0)
    check_task(ParsingSettings(model, width=32, max_target=7).build(ROWS), ROWS)


def test_words_are_parted_by_blanks_and_an_unknown_one_is_known_as_such():
    words = Words.learn(["a b b", "B ."])
    assert words.vocabulary == ["<pad>", "<s>", "</s>", "<unk>", "b", ".", "B", "a"]
    assert [ids.tolist() for ids in words.write(["b  B", "b z"])] == [[4, 6, 2], [4, 3, 2]]
    assert words.decode([1, 4, 6, 2, 0]) == "b B"
    [read] = words.read(["a  z b"], 2)
    assert (read.tokens.tolist(), read.truncated) == ([7, 3], True)
    assert read.words("a  z b", None) == ["a", "z"]


def test_rewritten_words_are_read_back_and_a_clash_is_refused():
    words = Rewritten(Words.learn(["left walk x"]), {"I_LEFT": "left", "I_WALK": "walk"})
    [ids] = words.write(["I_LEFT I_WALK x"])
    assert Words.decode(words.inner, ids.tolist()) == "left walk x"
    assert words.decode(ids.tolist()) == "I_LEFT I_WALK x"
    with pytest.raises(BadData, match="'left' for another word"):
        words.write(["left I_WALK"])
    with pytest.raises(BadUsage, match="written alike"):
        Rewritten(words.inner, {"A": "x", "B": "x"})


def test_tokens_of_an_output_are_told_to_its_words():
    words = Words.learn(["a b"])
    assert places(words, words.write(["a b a"])[0].tolist()) == [0, 1, 2, -1]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": " ", "label": "WALK"}, "bad:7: its source is ' '"),
        ({"text": "walk", "label": ""}, "bad:7: its target is ''"),
        ({"text": "walk", "label": 3}, "bad:7: its target is 3"),
        ({"text": "walk", "label": "WALK " * 5}, r"bad:7: its target is 6 tokens long, task.max_target=5; raise that"),
    ],
)
def test_a_row_that_cannot_be_learned_is_named(task, row, told):
    with pytest.raises(BadData, match=told):
        task.prepare([*ROWS, {"id": "bad:7", **row}], "bad")


def test_a_target_of_words_that_training_lacks_is_marked(task):
    rows = task.prepare([*ROWS, {"id": "4", "text": "sing", "label": "SING WALK"}], "more")
    assert [row["unknown"] for row in rows] == [False, False, False, True]


def test_the_loss_is_a_mean_over_all_tokens_of_the_batch_and_the_end_counts(task):
    rows = task.prepare(ROWS, "rows")
    batch = task.train_batch(rows, [0, 0, 0])
    assert task.amounts(batch) == {"cross_entropy": 3 + 2 + 4}
    output = task.model(batch)
    each = [-output["token_log_probs"][i].sum().item() for i in range(3)]
    assert task.loss(output, batch)["cross_entropy"].item() == pytest.approx(sum(each) / 9, rel=1e-5)
    assert (output["token_log_probs"][~batch["said_present"]] == 0).all()


def test_a_span_of_the_output_is_named_by_its_word_and_place(task):
    rows = task.force(task.prepare(ROWS[2:], "rows"), [task.prediction("WALK RUN RUN")])
    asked = [{**rows[0], "label": label} for label in ("WALK@1", "RUN@3", "WALK RUN RUN")]
    assert task.gold(asked).tolist() == [[0, 1], [2, 3], [0, 4]]
    with pytest.raises(BadData, match="'WALK@2': not a word of what is written; there are WALK@1, RUN@2, RUN@3"):
        task.gold([{**rows[0], "label": "WALK@2"}])


def test_a_string_of_another_program_becomes_a_prediction(task):
    made = task.prediction(" WALK   RUN ")
    assert (made["text"], made["answers"]) == ("WALK RUN", ["WALK@1", "RUN@2"])
    assert made["tokens"] == task.prepare([{"id": "1", "text": "walk", "label": "WALK RUN"}], "")[0]["target"].tolist()


# ---- training ---------------------------------------------------------------------------------------------------------


class StopHere(Exception):
    pass


def losses(folder):
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row["train/loss"] for row in rows if "train/loss" in row]


def test_a_parser_stopped_and_resumed_ends_in_the_same_weights(tmp_path):
    small = override(recipe.get("parsing:tiny"), {**SMALL, "task.dropout": 0.2})

    def stop(at):
        if at.step == 3 and not at.dev:
            raise StopHere

    whole = run.train(small, tmp_path / "whole")
    with pytest.raises(StopHere):
        run.train(small, tmp_path / "cut", watch=stop)
    cut = run.train(small, tmp_path / "cut")
    assert losses(whole.folder) == losses(cut.folder)
    assert checkpoint.same(*(checkpoint.load(one.folder / "model.safetensors") for one in (whole, cut)))


def test_two_processes_and_two_passes_train_a_parser_as_one_does(tmp_path):
    """Targets differ in length, so that a mean over each process's own tokens would give other losses."""
    alone = run.train(override(recipe.get("parsing:tiny"), SMALL), tmp_path / "alone")
    shared = {**SMALL, "loop.accumulate": 2}
    sets = [part for key, value in shared.items() for part in ("--set", f"{key}={value}")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29617", "-m", "pellucid"]
    command = [*launch, "train", "parsing:tiny", *sets, "--out", str(tmp_path / "two"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert np.allclose(losses(tmp_path / "two"), losses(alone.folder), atol=1e-4)
    told = [json.loads((folder / "results/evaluate.json").read_text())["sets"] for folder in (tmp_path / "two", alone.folder)]
    assert told[0] == told[1]


def test_a_test_pair_that_training_has_is_counted_as_a_leak(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\nwalk left,LEFT WALK\nrun,RUN\njump,JUMP\nlook,LOOK\n")
    (tmp_path / "test.csv").write_text("text,label\nwalk left,LEFT WALK\nrun twice,RUN RUN\n")
    data = {name: recipe.Data(f"csv:{tmp_path}/{file}.csv") for name, file in (("train", "train"), ("dev", "test"), ("home", "test"))}
    run.train("parsing:tiny", tmp_path / "run", {"loop.epochs": 1, "loop.batch_size": 2}, data)
    told = json.loads((tmp_path / "run/results/leaks.json").read_text())["sets"]["home"]
    assert (told["n"], told["exact"], told["examples"][0]["test_id"]) == (2, 1, "test.csv:1")
