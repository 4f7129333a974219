from dataclasses import replace

import pytest
import torch

from pellucid.data import digits
from pellucid.data.views import TestView, TrainView
from pellucid.errors import BadData
from pellucid.tasks.multilabel.settings import MultilabelSettings
from pellucid.testing import check_task

PLAIN = MultilabelSettings(
    "resnet_tiny", pretrained="", view=TestView(32, 1.0, "squish"), train_view=TrainView(fit="squish", flip=0.0, cutout=0.5)
)


@pytest.fixture(scope="module")
def rows():
    return digits.read_grids("train")[:30]


@pytest.mark.parametrize("loss", ["asl", "asl-adaptive", "focal", "bce"])
def test_a_tagger_keeps_its_promises(loss, rows):
    task = replace(PLAIN, loss=loss).build(rows)
    check_task(task, task.prepare(rows[:3], "grids"))


def test_the_set_says_which_classes_there_are(rows):
    assert len(PLAIN.build(rows).labels) == 80
    few = [{k: v for k, v in row.items() if k != "classes"} for row in rows[:4]]
    assert set(PLAIN.build(few).labels) == {label for row in few for label in row["labels"]}


def test_a_label_of_which_nothing_is_known_costs_nothing(rows):
    task = PLAIN.build(rows)
    partly = {**rows[0], "labels": ["1 at 0,0"], "absent": ["2 at 0,0"]}
    batch = task.collate([partly])
    assert batch["known_present"].sum() == 2
    logits = torch.full((1, 80), 3.0)
    known = batch["known_present"][0]
    assert torch.equal(
        task.loss({"logits": logits}, batch)["asl"], task.loss({"logits": logits.where(known, torch.tensor(-50.0))}, batch)["asl"]
    )


def test_unverified_labels_may_count_as_absent(rows):
    task = replace(PLAIN, unlabelled="absent").build(rows)
    assert task.collate([{**rows[0], "labels": ["1 at 0,0"], "absent": []}])["known_present"].all()


def test_labels_above_the_threshold_are_predicted_the_likeliest_first(rows):
    task = PLAIN.build(rows)
    logits = torch.full((1, 80), -5.0)
    logits[0, [3, 17]] = torch.tensor([1.0, 2.0])
    made = task.predict({"logits": logits}, {})[0]
    assert made["labels"] == [task.labels[17], task.labels[3]]
    assert len(made["scores"]) == 80


def test_the_score_of_a_label_ignores_the_others(rows):
    task = PLAIN.build(rows)
    logits = torch.zeros(1, 80)
    loud = logits.clone()
    loud[0, 5] = 30.0
    assert task.score({"logits": logits}, torch.tensor([2])) == task.score({"logits": loud}, torch.tensor([2]))


def test_a_picture_without_labels_has_no_label_to_explain(rows):
    task = PLAIN.build(rows)
    with pytest.raises(BadData, match="no label whose presence could be explained"):
        task.gold([{**rows[0], "labels": []}])
    assert task.gold([{**rows[0], "labels": [], "label": "2 at 0,0"}]).item() == task.index["2 at 0,0"]


def test_an_unknown_label_is_named(rows):
    task = PLAIN.build(rows)
    with pytest.raises(BadData, match="grids: a label is unknown to training, which has 80: '1 at 9,9'"):
        task.prepare([{**rows[0], "labels": ["1 at 9,9"]}], "grids")
