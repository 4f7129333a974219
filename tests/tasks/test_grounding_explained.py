"""Which pixels and which words made this box for this phrase: one answer explained at both inputs, each removed while the other stays."""

import dataclasses

import pytest
import torch

from pellucid import grids, run
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.read import read
from pellucid.errors import BadUsage
from pellucid.explain.explain import Known, Question, explain
from pellucid.explain.methods import METHODS
from pellucid.explain.probe import ask, cut_out
from pellucid.explain.words import by_player, players, to_words
from pellucid.nn.queries import queries_of
from pellucid.recipe import Data, Loop, Recipe
from pellucid.report import page, words
from pellucid.tasks.grounding.settings import GroundingSettings

SETTINGS = GroundingSettings(
    **{"backbone": "resnet_tiny", "pretrained": "", "text": "words", "frozen": "", "num_tokens": 31, "align_width": 16, "num_queries": 5},
    **{"width": 32, "num_heads": 4, "encoder_layers": 1, "decoder_layers": 2, "feedforward": 48, "patch": 16, "threshold": 0.01},
    view=BoxView(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    train_view=BoxTrainView((64,), 64, 0.0, 0.0),
    measure="expressions",
)
WORLD = "grounding-world:{}?num={}&size=64&kinds=plain,relation"


@pytest.fixture(scope="module")
def rows():
    return read(Data(WORLD.format("train", 8)))


@pytest.fixture(scope="module")
def task(rows):
    torch.manual_seed(0)
    made = SETTINGS.build(rows)
    made.model.eval()
    with torch.no_grad():
        made.model.net.class_head.bias[3:-1] -= 20  # slots that no caption here has words for, and which training would close
    return made


@pytest.fixture(scope="module")
def ready(task, rows):
    return task.prepare(rows[:3], "world")


def told(task, examples, site="input", beside=("words",), methods=("occlusion",), answer="predicted", checks=None):
    question = Question(methods, site, answer, checks, beside=beside)
    return explain(task, examples, question, Known(lambda site: None, gold=task.gold))


def test_the_same_answer_is_explained_over_patches_and_words_as_if_each_had_been_asked_alone(task, ready):
    both, alone = told(task, ready), told(task, ready, "words", ())
    assert both["site"] == "input" and list(both["beside"]) == ["words"] and both["beside"]["words"]["n"] == 3
    for row, other in zip(both["examples"], alone["examples"], strict=True):
        here = row["beside"]["words"]
        assert here["words"] == other["words"] == row["caption"].split() and row["answer"] == other["answer"]
        assert here["methods"]["occlusion"]["relevance"] == pytest.approx(other["methods"]["occlusion"]["relevance"], abs=1e-5)
        assert len(row["words"]) == 16 == len(row["methods"]["occlusion"]["relevance"]) and row["picture"]["grid"] == [4, 4]


def test_both_are_checked_and_words_alone_can_be_taken_out(task, ready):
    row = told(task, ready)["examples"][0]
    over, under = row["methods"]["occlusion"], row["beside"]["words"]["methods"]["occlusion"]
    assert set(under["checks"]) == {"deletion", *over["checks"]}
    starts = [one["degradation"]["most_first"][0] for one in (over, under)]
    assert starts[0] == pytest.approx(starts[1], rel=1e-4)  # nothing is removed yet
    assert over["degradation"]["most_first"][-1] != pytest.approx(under["degradation"]["most_first"][-1], rel=1e-4)


def test_a_word_that_is_taken_out_is_read_by_nothing_and_the_answer_s_place_stays(task, ready):
    batch = task.collate(ready[:1])
    site, answer = task.sites["words"], task.gold(ready[:1])
    out = torch.zeros_like(batch["tokens_present"])
    out[0, 1] = True
    other = {**batch, "tokens": batch["tokens"].clone()}
    other["tokens"][0, 1] = (other["tokens"][0, 1] + 1) % len(task.reader.tokenizer.vocabulary)
    scores = [task.score(task.model(cut_out(some, site, out)), answer).item() for some in (batch, other)]
    whole = [task.score(task.model(some), answer).item() for some in (batch, other)]
    assert scores[0] == scores[1] and abs(whole[0] - whole[1]) > 1e-4
    assert scores[0] != pytest.approx(whole[0], abs=1e-5)
    probe = ask(task, batch, "words", answer)
    assert probe.cut(out[None])[0, 0].item() == pytest.approx(scores[0], abs=1e-5)


def test_special_tokens_are_no_words_and_the_pieces_of_a_word_are_removed_as_one(task, ready):
    batch = task.collate(ready[:1])
    length = batch["tokens"].shape[1]
    assert length >= 3
    batch["word_of_token"] = torch.tensor([[-1, 0, 0, *range(1, length - 2)]])  # a token of its own before, a word of two pieces
    batch["words"] = [["first", *(f"word{i}" for i in range(1, length - 2))]]
    probe = ask(task, batch, "words", task.gold(ready[:1]))
    assert players(probe)[0].tolist() == [-1, 0, 0, *range(1, length - 2)]
    found = METHODS["occlusion"](probe, None, 0).relevance
    assert found[0, 0] == 0 and found[0, 1] == found[0, 2]  # shared equally
    names, values = to_words(found, probe)[0]
    assert names == batch["words"][0] and values == pytest.approx(by_player(found, players(probe))[0].tolist(), abs=1e-5)


def test_words_and_a_query_are_answered_with_that_querys_box_and_words_alone_with_the_surest_ones(task, ready):
    word = ready[0]["caption"].split()[-1]
    with torch.no_grad():
        prediction = task.predict(task.model(task.collate(ready[:1])), task.collate(ready[:1]))[0]
    (row,) = told(task, ready[:1], answer=f"{word}@3", checks=())["examples"]
    assert row["answer"] == f"{word}@3"
    assert row["box_xyxy"] == pytest.approx(prediction["boxes_xyxy"][prediction["queries"].index(3)], abs=1e-3)
    (row,) = told(task, ready[:1], answer=word.upper(), checks=())["examples"]
    assert row["answer"] == word
    surest = prediction["token_probs"][:, len(ready[0]["tokens"].tokens) - 1].argmax()
    assert row["box_xyxy"] == pytest.approx(prediction["boxes_xyxy"][surest], abs=1e-3)


def test_where_no_box_is_sure_the_likeliest_is_explained_and_named_so_that_it_can_be_asked_for(task, ready):
    task.settings = dataclasses.replace(task.settings, threshold=1.0)
    try:
        (row,) = told(task, ready[:1], checks=())["examples"]
        assert row["prediction"] == [] and row["answer"].rpartition("@")[0]
        (again,) = told(task, ready[:1], answer=row["answer"], checks=())["examples"]
    finally:
        task.settings = SETTINGS
    assert again["score"] == pytest.approx(row["score"], abs=1e-5) and again["box_xyxy"] == row["box_xyxy"]


def test_the_query_of_an_answer_of_words_is_the_one_that_says_them_most():
    logits = torch.full((2, 3, 5), -4.0)
    logits[0, 1, 2] = logits[1, 2, [0, 1]] = 3.0
    answer = torch.tensor([[-1, 0, 0, 1, 0], [-1, 1, 1, 0, 0]])
    assert queries_of(logits, answer).tolist() == [1, 2]
    assert queries_of(logits, answer.index_fill(1, torch.tensor([0]), 0)).tolist() == [0, 0]


def test_a_query_looks_at_cells_and_words_and_its_shares_make_one(task, ready):
    batch = task.collate(ready[:2])
    parts = {site: METHODS["query_attention"](ask(task, batch, site), None, 0).relevance for site in ("encoder", "words")}
    torch.testing.assert_close(sum(part.sum(1) for part in parts.values()), torch.ones(2))
    assert (parts["words"] * ~batch["tokens_present"] == 0).all() and (parts["words"].sum(1) > 0).all()


def test_the_page_has_the_words_under_each_map_with_the_checks_of_both_whichever_was_asked_first(task, ready):
    for site, beside in (("input", "words"), ("words", "input")):
        found = told(task, ready, site, (beside,), ("occlusion", "random"))
        view = words.view(found, "here")
        assert view.site == "input" and view.of_pictures and [one.site for one in view.beside] == ["words"]
        (first, second) = view.examples[0].photo.rows[0][1]
        assert [word.text for word in first.beside[0][1].words] == ready[0]["caption"].split()
        values = {check.name: told for check, told in first.checks}
        assert values["deletion"][0] == "" and all(values["replacement"]) and first.beside[0][1].words != second.beside[0][1].words
        html = page.explanations(found)
        assert html.count('class="said"') == 3 * (1 + 2) and ready[0]["caption"] in html


# ---- a run ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    data = Data(WORLD.format("train", 6))
    recipe = Recipe(SETTINGS, data, data_of("dev"), {"test": data_of("test")}, loop=Loop(epochs=1, batch_size=6))
    return run.train(recipe, tmp_path_factory.mktemp("runs") / "run")


def data_of(part):
    return Data(WORLD.format(part, 4))


def test_a_run_is_explained_at_both_inputs_unless_one_is_named(trained):
    found = trained.explain(num=2, methods=("occlusion",), checks=())
    assert found.site == "input" and list(found.beside) == ["words"]
    caption = found.examples[0]["caption"].split()
    assert {word for word, _ in found.top("occlusion", 99, "words")[0]} == set(caption) and len(found.top("occlusion", 99)[0]) == 16
    one = trained.explain(num=1, methods=("occlusion",), checks=(), site="words", flow="all")
    assert one.site == "words" and not one.beside and one.examples[0]["flow"]["sites"] == ["words"]
    with pytest.raises(BadUsage, match="not explained at 'encoder'; it was at input, words"):
        found.top("occlusion", 1, "encoder")
    with pytest.raises(BadUsage, match="readout is fitted to one site"):
        trained.explain(num=1, methods=("readout",))


def test_a_run_is_measured_on_spoiled_pictures_and_captions_each_in_the_table(trained):
    kinds = ("typos", "case", "drop", "swap", "paraphrase", "negation", "word_order", "gaussian_noise")
    found = trained.shift(corrupt=(2, 5), kinds=kinds, resamples=20)
    table = found["corruption"]
    assert table["metric"] == "P@1" and list(table["kinds"]) == list(kinds)
    assert table["kinds"]["negation"]["values"]["5"] is None  # what is negated is there no more
    assert all(0 <= v <= 1 for kind in kinds if kind != "negation" for v in table["kinds"][kind]["values"].values())
    assert found["sets"]["test/negation-5"]["n"] == found["sets"]["test/typos-5"]["n"] == 4
    assert "negation" in [str(cell) for cell in grids.corruption(table)[0].columns[0].cells]
    html = trained.report().read_text()
    assert "word order" in html and "gaussian noise" in html
