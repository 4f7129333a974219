"""Text-conditioned detection keeps a task's promises, and its answers are words of the caption."""

import pathlib

import pytest
import torch

from pellucid import checkpoint, run
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.grounding.captions import reader
from pellucid.tasks.grounding.settings import GroundingSettings
from pellucid.testing import check_task

HALF = (0.5, 0.5, 0.5)
SMALL = {
    "backbone": "resnet_tiny",
    "pretrained": "",
    "text": "words",
    "frozen": "",
    "view": BoxView(64, 64, HALF, HALF),
    "train_view": BoxTrainView((64,), 64, 0.0, 0.0),
    "num_queries": 5,
    "width": 32,
    "num_heads": 4,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "feedforward": 48,
    "num_tokens": 31,
    "align_width": 16,
}


@pytest.fixture(scope="module")
def rows():
    return read(Data("grounding-world:train?num=8&size=64"))


def made(rows, **changes):
    torch.manual_seed(0)
    task = GroundingSettings(**SMALL | changes).build(rows)
    task.model.eval()
    return task


@pytest.mark.parametrize("changes", [{}, {"target": "uniform", "final": 1.0, "mask_padding": False}, {"align": 0.0}])
def test_the_task_keeps_its_promises(rows, changes):
    check_task(made(rows, **changes), [*rows[:3], {**rows[3], "objects": [], "phrases": []}])


def test_pictures_and_captions_are_contrasted_where_that_is_asked_for(rows):
    task = made(rows, contrast=0.1)
    batch = task.collate(task.prepare(rows[:4], "world"))
    parts = task.loss(task.model(batch), batch)
    parts["contrast"].backward()
    assert parts["contrast"] > 0 and task.model.net.summary.weight.grad.abs().max() > 0
    assert task.model.net.text.encoder.pooler.dense.weight.grad.abs().max() > 0
    assert "contrast" not in made(rows).loss(made(rows).model(batch), batch)


def test_a_box_is_told_with_the_words_that_it_answers(rows):
    task = made(rows)
    ready = task.prepare(rows[:2], "world")
    batch = task.collate(ready)
    output = task.model(batch)
    length = len(ready[0]["tokens"].tokens)
    output["logits"] = torch.full_like(output["logits"], -9.0)
    output["logits"][..., -1] = 9.0
    output["logits"][0, 3, length - 1] = 20.0  # query 3 answers the caption's last word
    first = task.predict(output, batch)[0]
    last = rows[0]["caption"].split()[-1]
    assert first["queries"][0] == 3 and first["labels"][0] == last and first["answers"] == [f"{last}@3"]
    assert first["scores"][0] == pytest.approx(1, abs=1e-4) and first["token_probs"].shape == (5, length)
    begin, end = first["spans"][0][0]
    assert rows[0]["caption"][begin:end] == last
    output["logits"][0, 3, :length] = 9.0
    output["logits"][0, 3, length:-1] = 12.0  # a box that is sure, of no word in particular
    output["logits"][0, 3, 0] = 9.5
    vague = task.predict(output, batch)[0]
    assert vague["scores"][0] > 0.9 and vague["token_probs"][0].max() < 0.1
    assert vague["answers"] == [f"{rows[0]['caption'].split()[0]}@3"]


def test_words_and_a_query_can_be_asked_about(rows):
    task = made(rows)
    example = task.prepare(rows[:1], "world")[0]
    caption = example["caption"]
    words = caption.split()[-1]
    anywhere, there = task.gold([{**example, "label": words}, {**example, "label": f"{words}@2"}])
    assert anywhere[0] == -1 and there[0] == 2 and torch.equal(anywhere[1:], there[1:])
    assert anywhere[1:].nonzero()[:, 0].tolist() == [len(example["tokens"].tokens) - 1]
    output = task.model(task.collate([example]))
    shares = output["logits"].softmax(-1)[0, :, int(anywhere[1:].nonzero()[0, 0])]
    assert task.score(output, there[None])[0].exp().item() == pytest.approx(shares[2].item(), rel=1e-5)
    assert task.score(output, anywhere[None])[0].exp().item() == pytest.approx(shares.max().item(), rel=1e-5)
    with pytest.raises(BadUsage, match="no such words in the caption"):
        task.gold([{**example, "label": "elephant"}])
    with pytest.raises(BadUsage, match="no query '9'"):
        task.gold([{**example, "label": f"{words}@9"}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": "  "}, "the caption is empty"),
        ({"caption": "word " * 400}, "a caption of 400 words has more than 31 tokens"),
        ({"caption": "a cup"}, r"object 1: .*span"),
        ({"caption": "...... - -!", "objects": [{"box_xyxy": [1, 1, 9, 9], "spans": [[6, 7]]}]}, "no token is of the span"),
        ({"objects": [{"box_xyxy": [1, 1, 9, 9]}]}, "object 1"),
    ],
)
def test_a_caption_that_cannot_be_used_is_told_by_its_row(rows, change, message):
    with pytest.raises(BadData, match=message) as told:
        made(rows).prepare([{**rows[0], **change}], "world")
    assert rows[0]["id"] in str(told.value)


def test_a_long_caption_is_cut_only_where_that_is_asked_for(rows):
    long = {**rows[0], "caption": rows[0]["caption"] + " word" * 400}
    [ready] = made(rows, long="cut").prepare([long], "world")
    assert len(ready["tokens"].tokens) == 31


def test_a_run_comes_back_and_says_the_same(tmp_path: pathlib.Path):
    train, test = (Data(f"grounding-world:{part}?num=8&size=64") for part in ("train", "test"))
    recipe = Recipe(
        GroundingSettings(**SMALL),
        train,
        tests={"home": test},
        optim=Optim("adamw", 1e-3, lr_scale={"net.text.": 0.5}),
        schedule=Schedule("constant", warmup=0),
        loop=Loop(1, 4),
        name="./none.py:none",
    )
    done = run.train(recipe, tmp_path / "run")
    example = read(test)[0]
    task = recipe.task.read(done.folder / "preprocessing")
    checkpoint.load_into(task.model, checkpoint.load(done.folder / "model.safetensors"), "model")
    again = run.Run(done.folder, recipe, task, done.fabric)
    first, second = (one.predict([example])[0] for one in (done, again))
    assert first["boxes_xyxy"] == second["boxes_xyxy"] and first["labels"] == second["labels"]


def test_a_run_that_is_told_its_words_knows_them_whatever_its_captions_and_another_encoder_refuses_them():
    told = GroundingSettings(**SMALL | {"words": ("red", "heron", "the")})
    known = [reader(told, captions).tokenizer.vocabulary for captions in (["the red cup"], ["a blue cup", "a cup"])]
    assert known[0] == known[1] and set(known[0][1:]) == set(told.words)
    with pytest.raises(BadUsage, match=r"^task\.words: task\.text=minilm has words of its own"):
        reader(GroundingSettings(**SMALL | {"words": told.words, "text": "minilm"}), ["the red cup"])


def test_without_soft_tokens_queries_learn_whether_there_is_an_object_and_their_alignment_says_which_words(rows):
    task = made(rows, soft_tokens=0.0)
    check_task(task, rows[:3])
    batch = task.collate(task.prepare(rows[:2], "world"))
    output = task.model(batch)
    bare = task.model.net(*task.model._shown(batch), batch["tokens"], batch["tokens_present"], False)
    torch.testing.assert_close(output["logits"].softmax(-1)[..., -1], bare["logits"].softmax(-1)[..., -1])
    words = output["logits"].softmax(-1)[0, 2, :-1]
    shares = (bare["query_code"][0, 2] @ bare["token_code"][0].mT / 0.07)[batch["tokens_present"][0]].softmax(-1)
    torch.testing.assert_close(words[: len(shares)] / words.sum(), shares)
    assert words[len(shares) :].max() == 0
    with pytest.raises(BadUsage, match="nothing would say which words"):
        made(rows, soft_tokens=0.0, align=0.0)
