"""What a parser wrote is explained word by word; of a parser that turns sentences round it is known what each word rests on."""

import json
import math

import numpy as np
import pytest
import torch
from einops import rearrange, repeat
from torch import nn
from torch.nn import functional as F

from pellucid import cli, explaining, run
from pellucid import recipe as recipes
from pellucid.errors import BadData, BadUsage
from pellucid.explain.explain import WRITTEN, Known, Question, explain, posed, statistics_at, told_right
from pellucid.explained import Explained
from pellucid.recipe import Data, Recipe
from pellucid.tasks.parsing.data import Words
from pellucid.tasks.parsing.model import Parser
from pellucid.tasks.parsing.recurrent import Recurrent
from pellucid.tasks.parsing.settings import ParsingSettings
from pellucid.tasks.parsing.task import Parsing
from pellucid.train.loop import start_fabric
from untrained import made

VOCABULARY = ["<pad>", "<s>", "</s>", "<unk>", "walk", "left", "and", "run", "WALK", "LEFT", "AND", "RUN"]
SURE = 12.0  # the logit of the word that stands there


class Turner(nn.Module):
    """Writes the words read in capitals, the last first: word t of n rests on the word read at place n - 1 - t and on no other."""

    start_id, end_id, pad_id = Words.start_id, Words.end_id, Words.pad_id

    def __init__(self):
        super().__init__()
        size = len(VOCABULARY)
        self.source_embedding = nn.Embedding.from_pretrained(torch.eye(size), freeze=False)
        self.memory = nn.Identity()
        self.capitals = nn.Linear(size, size, bias=False)
        with torch.no_grad():
            self.capitals.weight.zero_()
            for lower in range(4, 8):
                self.capitals.weight[lower + 4, lower] = SURE

    def encode(self, tokens, present):
        memory = self.memory(self.source_embedding(tokens)).where(present[..., None], 0.0)
        return {"memory": memory, "length": present.sum(1), "done": torch.zeros(len(tokens), dtype=torch.long)}

    def _at(self, state, place):
        """Logits of what is written at some places, b t."""
        back = state["length"][:, None] - 1 - place
        read = state["memory"].gather(1, repeat(back.clamp_min(0), "b t -> b t d", d=state["memory"].shape[-1]))
        end = SURE * F.one_hot(torch.tensor(self.end_id), len(VOCABULARY))
        return torch.where(rearrange(back >= 0, "b t -> b t 1"), self.capitals(read), end)

    def forced(self, state, said):
        return self._at(state, torch.arange(said.shape[1]).expand(said.shape))

    def step(self, state, tokens):
        return self._at(state, state["done"][:, None])[:, 0], {**state, "done": state["done"] + 1}

    def select(self, state, rows):
        return {key: value[rows] for key, value in state.items()}


@pytest.fixture
def turner():
    return Parsing(Parser(Turner(), 8), Words(VOCABULARY), ParsingSettings())


@pytest.fixture
def random():
    """A parser that has learned nothing, so that all that it is forced to write has odd probabilities."""
    torch.manual_seed(0)
    net = Recurrent(len(VOCABULARY), len(VOCABULARY), 16, 1, 0.0, Words.start_id, Words.end_id, Words.pad_id)
    return Parsing(Parser(net, 8), Words(VOCABULARY), ParsingSettings())


TEXTS = {"walk left": "LEFT WALK", "run and walk left": "LEFT WALK AND RUN", "run": "RUN"}


def examples(**more):
    return [{"id": str(i), "text": text, "label": label} | more for i, (text, label) in enumerate(TEXTS.items())]


def known(task):
    told = told_right(task, task.prepare(examples(), "examples"))
    return Known(lambda site: statistics_at(task, told, site), gold=task.gold)


def rows(task, some=None, answer="each", methods=("occlusion",), site="input", **more):
    return explain(task, task.prepare(some or examples(), "examples"), Question(methods, site, answer, (), **more), known(task))["examples"]


# ---- word by word -----------------------------------------------------------------------------------------------------


def test_each_word_that_was_written_is_asked_about_once_and_in_order(turner):
    asked = [(row["id"], row["answer"]) for row in rows(turner, batch_size=2)]
    assert asked == [(str(i), f"{w}@{k}") for i, label in enumerate(TEXTS.values()) for k, w in enumerate(label.split(), 1)]


@pytest.mark.parametrize("site", ["input", "memory"])
@pytest.mark.parametrize("method", ["iba", "integrated_gradients", "occlusion", "kernel_shap"])
def test_each_word_written_rests_on_the_word_it_stands_for_and_on_no_other(turner, site, method):
    found = Explained({"examples": rows(turner, methods=(method,), site=site)})
    for i, (text, label) in enumerate(TEXTS.items()):
        written, read, relevance = found.matrix(method, str(i))
        assert (written, read) == (label.split(), text.split())
        turned = np.fliplr(np.abs(relevance))
        own = turned.diagonal().copy()
        np.fill_diagonal(turned, 0)
        assert (own > 1e-3).all() and turned.max() < 0.02 * own.min()


def test_what_integrated_gradients_finds_adds_up_to_what_the_mean_takes_away(turner):
    for row in rows(turner, methods=("integrated_gradients",), options={"integrated_gradients.steps": "128"}):
        one = row["methods"]["integrated_gradients"]
        assert abs(one["gap"]) < 0.01 and sum(one["relevance"]) > 1


def test_the_words_and_the_end_have_the_probability_of_the_whole(random):
    outputs = ["LEFT WALK RUN", "RUN AND", "walk"]
    prepared = random.prepare(examples(), "examples")
    forced = random.force(prepared, [random.prediction(text) for text in outputs])
    asked = [{**e, "each": word} for e, text in zip(forced, outputs, strict=True) for word in random.prediction(text)["answers"]]
    each = explain(random, asked, Question(("random",), "input", "each", ()), known(random))["examples"]
    whole = explain(random, forced, Question(("random",), "input", "predicted", ()), known(random))["examples"]
    with torch.no_grad():
        end = [random.model.eval()(random.collate([e]))["token_log_probs"][0, -1].item() for e in forced]
    for i, row in enumerate(whole):
        words = [one["score"] for one in each if one["id"] == row["id"]]
        assert len(words) == len(outputs[i].split()) and sum(words) + end[i] == pytest.approx(row["score"], abs=1e-4)
    assert len({round(one["score"], 3) for one in each}) == len(each)


# ---- what is forced ---------------------------------------------------------------------------------------------------


def test_the_gold_answer_is_explained_though_the_model_says_otherwise(turner):
    some = [{"id": "0", "text": "walk left", "label": "LEFT RUN"}]
    (gold,), (own,) = rows(turner, some, "gold"), rows(turner, some, "predicted")
    assert (gold["prediction"], gold["answer"], gold["label"]) == ("LEFT WALK", "LEFT RUN", "LEFT RUN")
    assert (own["prediction"], own["answer"]) == ("LEFT WALK", "LEFT WALK")
    assert gold["score"] == pytest.approx(own["score"] - SURE, abs=0.01)
    assert gold["methods"]["occlusion"]["relevance"][0] < -1  # walk speaks against RUN
    assert gold["methods"]["occlusion"]["relevance"][1] > 1


def test_a_word_is_named_by_its_place_and_another_there_is_refused_in_one_line(turner):
    (row,) = rows(turner, examples()[:1], "WALK@2")
    walk, left = row["methods"]["occlusion"]["relevance"]
    assert row["answer"] == "WALK@2" and walk > 1 > 1000 * abs(left)
    for wrong in ("RUN@2", "WALK@1", "WALK@3", "WALK@0", "nonsense"):
        with pytest.raises(BadData, match=f"answer '{wrong}': not a word of what is written; there are LEFT@1, WALK@2$"):
            rows(turner, examples()[:1], wrong)


def test_the_verb_explains_each_word_and_says_which_there_are(tmp_path, capsys):
    (tmp_path / "made").mkdir()
    table = tmp_path / "made" / "commands.csv"
    table.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in TEXTS.items()))
    sets = {"train.source": f"csv:{table}", "tests": "{}", "task.width": "16", "task.max_target": "4"}
    made("parsing:recurrent_scan", tmp_path / "run", **sets)
    ask = ["explain", str(tmp_path / "run"), "--input", "walk left", "--method", "occlusion", "--check", "none"]
    assert cli.main([*ask, "--answer", "each", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["examples"]
    assert [row["answer"].rpartition("@")[2] for row in found] == [str(i + 1) for i in range(len(found[0]["prediction"].split()))]
    assert cli.main([*ask, "--answer", "JUMP@9"]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main([*ask, "--answer", "gold"]) == 3


def test_what_the_model_writes_is_shown_beside_what_it_is_forced_to_and_is_not_written_twice(turner):
    prepared = turner.prepare(examples(), "examples")
    once = posed(turner, prepared, Question(answer="each"))
    assert posed(turner, once, Question(answer="each")) == once
    assert [e[WRITTEN] for e in posed(turner, prepared, Question(answer="gold"))] == list(TEXTS.values())


# ---- kept and taken up again ------------------------------------------------------------------------------------------


def test_a_journal_of_words_goes_on_where_it_was(turner, tmp_path):
    asked = (
        turner,
        turner.prepare(examples(), "examples"),
        Question(("occlusion",), answer="each", batch_size=2, checks=()),
        known(turner),
    )
    whole = explaining.explain_all(*asked, tmp_path)
    (kept,) = tmp_path.glob("*.jsonl")
    lines = kept.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 7
    kept.write_text("".join(lines[:5]))
    seen = []
    again = explaining.explain_all(*asked, tmp_path, lambda at, of: seen.append((at, of)))
    strip = lambda found: [(row["id"], row["answer"], row["methods"]["occlusion"]["relevance"]) for row in found["examples"]]  # noqa: E731
    assert strip(again) == strip(whole) and seen[0] == (4, 7) and seen[-1] == (7, 7)


def test_long_outputs_fill_a_page_sooner_and_their_words_stay_together(turner, monkeypatch):
    monkeypatch.setattr(explaining, "RECORDS", 3)
    found = {"examples": rows(turner)}
    assert [row["id"] for row in explaining.shown(found)["examples"]] == ["0", "0"]


def test_statistics_come_from_what_is_right_and_nothing_is_written_for_them(turner, tmp_path, monkeypatch):
    table = tmp_path / "commands.csv"
    table.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in TEXTS.items()))
    chosen = Recipe(ParsingSettings(), Data(f"csv:{table}"), None, {})
    done = run.Run(tmp_path, chosen, turner, start_fabric("32-true"))
    assert sorted(turner.tokenizer.decode(e["said"].tolist()) for e in done._training_rows(3)) == sorted(TEXTS.values())

    def step(state, tokens):
        raise AssertionError("a token is written")

    monkeypatch.setattr(turner.model.net, "step", step)
    found = done.statistics("memory")
    words = torch.tensor([turner.tokenizer.index[w] for text in TEXTS for w in text.split()])
    torch.testing.assert_close(found.mean, torch.eye(len(VOCABULARY))[words].mean(0))


# ---- other ways out ---------------------------------------------------------------------------------------------------


def test_a_parser_is_not_exported_and_the_line_says_why_and_what_to_do(turner, tmp_path):
    done = run.Run(tmp_path, recipes.get("parsing:recurrent_scan"), turner, start_fabric("32-true"))
    for to in ("onnx", "torch-export"):
        with pytest.raises(BadUsage, match=r"Parsing writes its answer word by word.*pellucid predict") as told:
            done.export(to)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "export").exists()


def test_an_output_of_nothing_is_explained_as_a_whole(turner):
    turner.model.net.capitals.weight.data[Words.end_id] = 2 * SURE
    (row,) = rows(turner, examples()[:1])
    assert (row["prediction"], row["answer"]) == ("", None) and math.isfinite(row["score"]) and row["score"] < 0
