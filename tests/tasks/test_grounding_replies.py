"""Questions answered by a text-conditioned detector: what its heads learn, and what they say."""

import json
import math

import pytest
import torch
from test_grounding import SMALL

from pellucid import checkpoint
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.nn.mdetr import ANSWERS
from pellucid.recipe import Data
from pellucid.tasks.grounding.replies import TYPES, known
from pellucid.tasks.grounding.settings import GroundingSettings
from pellucid.testing import check_task

GQA = [("attr", "red"), ("obj", "yes"), ("rel", "dog"), ("attr", "blue")]
CLEVR = [("attr", "red"), ("binary", "yes"), ("reg", "3"), ("binary", "no")]


@pytest.fixture(scope="module")
def rows():
    return read(Data("grounding-world:train?num=4&size=64"))


def asked(rows, answers):
    return [{**row, "answer": {"type": kind, "value": value}} for row, (kind, value) in zip(rows, answers, strict=False)]


def made(rows, **changes):
    torch.manual_seed(0)
    task = GroundingSettings(**SMALL | changes).build(rows)
    task.model.eval()
    return task


def batch_of(task, rows):
    return task.collate(task.prepare(rows, "world"))


@pytest.mark.parametrize(
    ("changes", "answers"),
    [
        ({"answers": "gqa", "answer_weight": 25.0}, GQA),
        ({"answers": "gqa_unified", "measure": "replies"}, GQA),
        ({"answers": "clevr"}, CLEVR),
        ({"answers": "clevr", "detect": False, "final": 1.0}, CLEVR),
    ],
)
def test_a_task_that_answers_keeps_its_promises(rows, changes, answers):
    asks = asked(rows, answers)
    without = {**rows[3], "objects": [], "phrases": []}
    check_task(made(asks, **changes), [*asks[:2], {**asks[2], "objects": [], "phrases": []}, without])


def test_what_is_learned_of_answers_reaches_the_first_decoder_layer_alone(rows):
    asks = asked(rows, CLEVR)
    task = made(asks, answers="clevr", decoder_layers=3)
    task.model.train()
    batch = batch_of(task, asks)
    parts = task.loss(task.model(batch), batch)
    torch.stack([value for name, value in parts.items() if name.startswith("reply_")]).sum().backward()
    layers = [[p.grad for p in layer.parameters() if p.grad is not None] for layer in task.model.net.decoder.layers]
    reached = [max((grad.abs().max().item() for grad in grads), default=0) for grads in layers]
    assert reached[0] > 0 and reached[1:] == [0, 0]
    assert task.model.net.answer_queries.weight.grad.abs().sum(1).min() > 0


def test_heads_that_know_nothing_cost_the_logarithm_of_their_answers(rows):
    asks = asked(rows, CLEVR)
    task = made(asks, answers="clevr", answer_weight=3.0)
    batch = batch_of(task, [*asks, {**rows[0], "id": "no question"}])
    output = task.model(batch)
    output |= {name: torch.zeros_like(value) for name, value in output.items() if name.startswith("reply_")}
    parts, amounts = task.loss(output, batch), task.amounts(batch)
    wanted = {"reply_type": 3, "reply_binary": 2, "reply_attr": 15, "reply_reg": 20}
    assert {name: float(parts[name]) / 3 for name in wanted} == pytest.approx({name: math.log(num) for name, num in wanted.items()})
    assert {name: amounts[name] for name in wanted} == {"reply_type": 4, "reply_binary": 2, "reply_attr": 1, "reply_reg": 1}


def test_with_one_head_for_all_answers_no_type_is_learned_or_measured(rows):
    asks = asked(rows, GQA)
    task = made(asks, answers="gqa_unified")
    batch = batch_of(task, asks)
    assert [name for name in task.loss(task.model(batch), batch) if name.startswith("reply")] == ["reply_answer"]
    assert [name for name in task.amounts(batch) if name.startswith("reply")] == ["reply_answer"]
    accuracy = task.metrics()["answer_accuracy"]
    for value, example in zip(("red", "no", "dog", "blue"), asks, strict=True):
        accuracy.update({"reply": {"type": "answer", "value": value}, "boxes_xyxy": [], "scores": []}, example)
    assert accuracy.compute() == 0.75 and "answer_type_accuracy" not in task.metrics()
    assert "answer_type_accuracy" in made(asks, answers="gqa").metrics()


def test_the_likeliest_answer_of_the_likeliest_type_is_told(rows):
    asks = asked(rows, GQA)
    task = made(asks, answers="gqa")
    output = task.model(batch_of(task, asks[:2]))
    output |= {name: torch.zeros_like(value) for name, value in output.items() if name.startswith("reply_")}
    output["reply_type"][0, TYPES["gqa"].index("attr")] = math.log(2)  # of attr, obj, rel; no example has another type
    output["reply_attr"][0, :2] = torch.tensor([math.log(3), 0.0])  # blue, red
    output["reply_attr"][0, 2:] = 9.0  # which nobody has named
    output["reply_type"][0, TYPES["gqa"].index("cat")] = 9.0
    output["reply_type"][1, TYPES["gqa"].index("rel")] = math.log(8)
    first, second = (one["reply"] for one in task.predict(output, batch_of(task, asks[:2])))
    assert first == {"type": "attr", "value": "blue", "score": pytest.approx(0.5 * 0.75)}
    assert second == {"type": "rel", "value": "dog", "score": pytest.approx(0.8)}


@pytest.mark.parametrize(("logit", "value", "score"), [(math.log(4), "yes", 0.8), (-math.log(4), "no", 0.8)])
def test_yes_and_no_are_one_number(rows, logit, value, score):
    asks = asked(rows, CLEVR)
    task = made(asks, answers="clevr")
    batch = batch_of(task, asks[:1])
    output = task.model(batch)
    output["reply_type"] = torch.tensor([[99.0, 0, 0]])
    output["reply_binary"] = torch.tensor([logit])
    assert task.predict(output, batch)[0]["reply"] == {"type": "binary", "value": value, "score": pytest.approx(score)}


def test_without_boxes_answers_alone_are_learned_and_rows_need_no_objects(rows):
    asks = [{key: value for key, value in row.items() if key != "objects"} for row in asked(rows, CLEVR)]
    task = made(asks, answers="clevr", detect=False)
    batch = batch_of(task, asks)
    wanted = {"reply_type", "reply_binary", "reply_attr", "reply_reg"}
    assert task.loss(task.model(batch), batch).keys() == wanted == task.amounts(batch).keys()
    assert set(task.metrics()) == {"answer_accuracy", "answer_type_accuracy"}
    whole = made(asked(rows, CLEVR), answers="clevr")
    assert whole.model.state_dict().keys() == task.model.state_dict().keys()  # so that weights of the one begin the other
    with pytest.raises(BadData, match="objects"):
        made(asks, answers="clevr")


# ---- what can be said -------------------------------------------------------------------------------------------------


def test_answers_are_learned_in_an_order_that_does_not_depend_on_the_examples(rows):
    asks = asked(rows, GQA)
    told = made(asks, answers="gqa").replies
    assert told.values == made(asks[::-1], answers="gqa").replies.values
    assert list(told.values) == list(TYPES["gqa"]) and told.values["attr"] == ("blue", "red")
    assert made(asks, answers="gqa_unified").replies.values == {"answer": ("blue", "dog", "red", "yes")}


def test_a_new_answer_is_no_error_and_no_part_of_the_loss(rows):
    asks = asked(rows, GQA)
    task = made(asks, answers="gqa")
    new = [asks[0], {**asks[1], "answer": {"type": "attr", "value": "mauve"}}]
    batch = batch_of(task, new)
    assert batch["reply_kind"].tolist() == [1, -1] and task.amounts(batch)["reply_attr"] == 1


def test_clevrs_answers_have_the_published_order():
    told = known("clevr", "")
    assert told.values["attr"][:3] == ("small", "large", "gray") and told.values["attr"][-1] == "metal"
    places = [told.place({"type": kind, "value": value}) for kind, value in CLEVR]
    assert places == [(1, 3), (0, 1), (2, 3), (0, 0)]
    assert {kind: len(values) for kind, values in told.values.items()} == {k: v or 2 for k, v in ANSWERS["clevr"].items() if k != "type"}


def test_the_authors_numbers_of_answers_are_kept_and_what_is_not_among_them_is_unknown(tmp_path, rows):
    file = tmp_path / "gqa_answer2id_by_type.json"
    lists = {"answer_obj": {"yes": 1, "no": 0, "unknown": 2}, "answer_attr": {"red": 2, "unknown": 0, "blue": 1}}
    file.write_text(json.dumps(lists | {f"answer_{kind}": {"unknown": 0} for kind in ("rel", "global", "cat")}))
    told = made(asked(rows, GQA), answers="gqa", answer_list=str(file)).replies
    assert told.values["obj"] == ("no", "yes", "unknown") and told.values["attr"] == ("unknown", "blue", "red")
    assert told.place({"type": "attr", "value": "red"}) == (1, 2) and told.place({"type": "rel", "value": "dog"}) == (2, 0)
    file.write_text(json.dumps(lists))
    with pytest.raises(BadData, match="no answers of type rel, global, cat"):
        known("gqa", str(file))
    file.write_text(json.dumps({"red": 0, "blue": 2}))
    with pytest.raises(BadData, match="numbers from 0 on"):
        known("gqa_unified", str(file))
    file.write_text(json.dumps(["red", "blue", "yes"]))
    with pytest.raises(BadData, match=r"the answer 'dog' is not known"):
        made(asked(rows, GQA), answers="gqa_unified", answer_list=str(file))


@pytest.mark.parametrize(
    ("answers", "given", "message"),
    [
        ("gqa", [("colour", "red")], "the answer is of type 'colour'; this model's are obj, attr, rel, global, cat"),
        ("clevr", [("attr", "mauve")], "the answer 'mauve' is not known of type 'attr'"),
        ("gqa", [("obj", value) for value in "abcd"], "4 different answers of type 'obj'; its head can give 3"),
        ("gqa", [("obj", 3)], r"the answer is .*3.*expected .*both text"),
        ("gqa", [], "no training example has an answer"),
    ],
)
def test_answers_that_no_head_gives_are_refused_before_training(rows, answers, given, message):
    with pytest.raises(BadData, match=message):
        made([*asked(rows, given), rows[0]], answers=answers)


def test_a_run_knows_its_answers(tmp_path, rows):
    asks = asked(rows, GQA)
    task = made(asks, answers="gqa")
    task.settings.write(task, tmp_path)
    checkpoint.save(task.model.state_dict(), tmp_path / "model.safetensors")
    again = task.settings.read(tmp_path)
    checkpoint.load_into(again.model, checkpoint.load(tmp_path / "model.safetensors"), "model")
    again.model.eval()
    assert again.replies.values == task.replies.values
    batch = batch_of(task, asks)
    first, second = ([made_of["reply"] for made_of in one.predict(one.model(batch), batch)] for one in (task, again))
    assert first == second


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": "per_head", "contrast": 0.1}, "task.masks=per_head, task.contrast=0.1"),
        ({"masks": "per_head", "answers": "gqa", "detect": False}, "task.masks=per_head needs boxes"),
        ({"detect": False}, "nothing is learned without task.answers"),
        ({"measure": "replies"}, "there are no heads that answer"),
        ({"answer_list": "answers.json"}, "there are no heads that answer"),
        ({"answers": "clevr", "answer_list": "answers.json"}, "CLEVR's answers are known"),
        ({"answers": "clevr", "detect": False, "measure": "lvis"}, "task.measure=lvis is of boxes"),
    ],
)
def test_settings_that_do_not_go_together_are_told_in_one_line(rows, changes, message):
    with pytest.raises(BadUsage, match=message) as told:
        made(asked(rows, CLEVR), **changes)
    assert "\n" not in str(told.value)
