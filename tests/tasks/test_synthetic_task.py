"""The task keeps its promises in every form, and every form says the same of the same point."""

import pytest
import torch

from pellucid.data import functional
from pellucid.errors import BadData
from pellucid.explain.probe import ask
from pellucid.tasks.synthetic import task as room
from pellucid.tasks.synthetic.settings import SyntheticSettings
from pellucid.testing import check_task

ROWS = functional.read("4_20/points")
VALUES = [{**row, "label": float(i)} for i, row in enumerate(ROWS)]
FORMS = [(model, embedding) for model in ("exact", "network") for embedding in ("columns", "tokens", "patches")]


@pytest.mark.parametrize(("model", "embedding"), FORMS)
@pytest.mark.parametrize("target", ["classes", "value"])
def test_every_form_keeps_the_promises(model, embedding, target):
    rows = ROWS if target == "classes" else VALUES
    check_task(room.build(SyntheticSettings(model, embedding, target, width=8), rows), rows[:5])


def test_probabilities_can_be_explained_and_doubles_used():
    task = room.build(SyntheticSettings("exact", score="value", double=True), ROWS)
    check_task(task, ROWS[:5])
    assert task.model(task.collate(ROWS))["logits"].dtype == torch.float64


def test_the_exact_model_is_one_function_behind_any_embedding():
    scores = []
    for embedding in ("columns", "tokens", "patches"):
        task = room.build(SyntheticSettings("exact", embedding, score="value", width=16), ROWS)
        output = task.model(task.collate(ROWS))
        assert task.predict(output, {}) == [row["label"] for row in ROWS]
        scores.append(task.score(output, task.answer(output)))
    assert torch.allclose(scores[0], scores[1], atol=1e-4)
    assert torch.allclose(scores[0], scores[2], atol=1e-4)


@pytest.mark.parametrize(("embedding", "width"), [("columns", 1), ("tokens", 8), ("patches", 8)])
def test_a_unit_is_a_column_whatever_it_is_made_of(embedding, width):
    task = room.build(SyntheticSettings("exact", embedding, width=8), ROWS)
    probe = ask(task, task.collate(ROWS[:3]))
    assert probe.units.shape == (3, 4, width)
    assert probe.names == [["x0", "x1", "x2", "x3"]] * 3
    moved = probe.units.clone()
    moved[0, 2] = probe.units[1, 2]
    twin = [{**ROWS[0], "point": [*ROWS[0]["point"][:2], ROWS[1]["point"][2], ROWS[0]["point"][3]]}]
    expected = task.score(task.model(task.collate(twin)), probe.answer[:1])
    assert torch.allclose(probe.score(moved)[:1], expected, atol=1e-4)


def test_the_exact_model_knows_every_class_there_is():
    rows = [{"id": str(i), "point": [0.25 * i, 0.0], "label": i} for i in range(3)]
    task = room.build(SyntheticSettings("exact", score="value"), rows)
    output = task.model(task.collate(rows))
    probs = output["logits"].softmax(-1)
    assert task.predict(output, {}) == [0, 1, 2]
    assert probs[0, 2] < probs[0, 1] < probs[0, 0]
    assert torch.allclose(output["logits"].exp() / output["logits"].exp().sum(-1, keepdim=True), probs)


@pytest.mark.parametrize("form", [("exact", "columns"), ("exact", "tokens"), ("network", "tokens"), ("network", "patches")])
def test_what_is_written_is_restored(form, tmp_path):
    settings = SyntheticSettings(*form, width=8)
    task = room.build(settings, ROWS)
    settings.write(task, tmp_path)
    twin = settings.read(tmp_path)
    twin.model.load_state_dict(task.model.state_dict())
    batch, again = task.collate(ROWS), twin.collate(ROWS)
    assert torch.equal(task.model(batch)["logits"], twin.model(again)["logits"])


def test_a_draw_gets_the_token_of_the_nearest_value():
    task = room.build(SyntheticSettings("exact", "tokens"), ROWS)
    near = torch.tensor([row["point"] for row in ROWS]) + 0.05
    assert torch.equal(task.embed.tokens(near), task.collate(ROWS)["tokens"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"point": [0.0, 1.0], "label": 0}, "expected 4 finite numbers"),
        ({"point": [0.0, 1.0, 2.0, float("nan")], "label": 0}, "expected 4 finite numbers"),
        ({"point": [0.0] * 4, "label": 7}, "expected a class from 0 to 1"),
        ({"point": "0 0 0 0", "label": 0}, "row 9"),
    ],
)
def test_a_wrong_row_is_named(row, said):
    task = room.build(SyntheticSettings(), ROWS)
    with pytest.raises(BadData, match=said):
        task.prepare([{"id": "9", **row}], "mine")


def test_rows_of_another_kind_are_refused_before_training():
    with pytest.raises(BadData, match="need a point"):
        room.build(SyntheticSettings(), [{"id": "1", "text": "a", "label": 1}])
