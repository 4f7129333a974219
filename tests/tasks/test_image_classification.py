from dataclasses import replace

import pytest
import torch

from pellucid import checkpoint, recipe, run
from pellucid.data import digits, loader
from pellucid.data.views import Mix, TestView, TrainView
from pellucid.errors import BadData, BadUsage
from pellucid.tasks.image_classification.settings import ImageSettings
from pellucid.testing import check_task

PLAIN = ImageSettings(
    "resnet_tiny",
    pretrained="",
    view=TestView(32, 1.0),
    train_view=TrainView(fit="pad", rand_augment="rand-m6-mstd0.5-inc1"),
    mix=Mix(0.1, 1.0),
)


@pytest.fixture(scope="module")
def rows():
    return digits.read("train")[:40]


@pytest.fixture
def task(rows):
    return PLAIN.build(rows)


@pytest.mark.parametrize("settings", [PLAIN, replace(PLAIN, loss="bce", threshold=0.2), replace(PLAIN, model="vit_tiny_patch16_224")])
def test_a_picture_classifier_keeps_its_promises(settings, rows):
    task = settings.build(rows)
    check_task(task, task.prepare(rows[:3], "digits"))


def test_random_views_depend_on_the_seeds_alone(task, rows):
    torch.manual_seed(0)
    first = task.train_batch(rows[:8], range(8))
    torch.manual_seed(1)
    again, other = task.train_batch(rows[:8], range(8)), task.train_batch(rows[:8], range(8, 16))
    assert torch.equal(first["picture"], again["picture"]) and torch.equal(first["target"], again["target"])
    assert not torch.equal(first["picture"], other["picture"])


def test_batches_are_the_same_with_any_number_of_workers(task, rows):
    lists, seeds = [[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]]
    alone, helped = (list(loader.load(task, rows, lists, workers, seeds)) for workers in (0, 2))
    assert all(torch.equal(a["picture"], b["picture"]) for a, b in zip(alone, helped, strict=True))


def test_mixing_shares_the_target_out(task, rows):
    target = task.train_batch(rows[:8], range(8))["target"]
    assert torch.allclose(target.sum(1), torch.ones(8))
    assert ((target > 0).sum(1) == 2).any()


def test_a_threshold_makes_both_parts_of_a_mixture_whole(task, rows):
    one = replace(PLAIN, loss="bce", threshold=0.2).build(rows)
    batch = {"target": torch.tensor([[0.7, 0.3, *[0.0] * 8], [0.9, 0.1, *[0.0] * 8]])}
    sure = torch.full((2, 10), -20.0)
    sure[0, :2], sure[1, 0] = 20.0, 20.0
    assert one.loss({"logits": sure}, batch)["binary_cross_entropy"] < 1e-6


def test_classes_that_a_test_set_lacks_are_never_predicted(task, rows):
    task.model.eval().requires_grad_(False)
    few = ("3", "8")
    batch = task.collate([{**rows[0], "among": few}, rows[1]])
    output = task.model(batch)
    assert task.predict(output, batch)[0] in few
    probs = output["logits"].softmax(-1)[0]
    assert probs[[3, 8]].sum() == pytest.approx(1.0, abs=1e-6)
    assert (output["logits"].softmax(-1)[1] > 0).all()


def test_a_binary_classifier_scores_a_label_whatever_the_others(rows):
    task = replace(PLAIN, loss="bce").build(rows)
    logits = torch.tensor([[2.0, 5.0, *[0.0] * 8]])
    assert task.score({"logits": logits}, torch.tensor([0])).item() == pytest.approx(-0.126928, abs=1e-6)


def test_a_label_that_training_did_not_have_is_named(task, rows):
    with pytest.raises(BadData, match="photos: a label is unknown to training, which has 10: 'eight'"):
        task.prepare([{**rows[0], "label": "eight"}], "photos")


def test_smoothing_that_a_threshold_would_undo_is_refused(rows):
    with pytest.raises(BadUsage, match="the threshold undoes smoothing"):
        replace(PLAIN, loss="bce", smoothing=0.1, threshold=0.2).build(rows)


def test_training_goes_on_where_it_stopped_to_the_same_weights(tmp_path, rows):
    one = recipe.get("rsb:digits")
    loop = replace(one.loop, epochs=2, batch_size=16, save_every=3)
    one = replace(one, train=replace(one.train, limit=64), tests={}, dev=None, loop=loop)
    whole = run.train(one, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.step == 5:
            raise Stop

    interrupted = replace(one, loop=replace(one.loop, log_every=1))
    with pytest.raises(Stop):
        run.train(interrupted, tmp_path / "parts", watch=stop)
    parts = run.train(interrupted, tmp_path / "parts")
    assert checkpoint.same(whole.task.model.state_dict(), parts.task.model.state_dict())


def test_a_run_is_restored_with_its_labels(tmp_path, rows):
    one = recipe.get("rsb:digits")
    trained = run.train(replace(one, train=replace(one.train, limit=48), dev=None, loop=replace(one.loop, epochs=1)), tmp_path / "run")
    again = run.load(tmp_path / "run")
    assert again.task.labels == tuple("0123456789")
    some = digits.read("test")[:5]
    assert [p["prediction"] for p in again.predict(some)] == [p["prediction"] for p in trained.predict(some)]
