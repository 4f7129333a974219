import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pellucid.data import loader
from pellucid.data.patch_views import PatchView
from pellucid.errors import BadData, BadUsage
from pellucid.nn.boxes import cxcywh_to_xyxy
from pellucid.nn.queries import queries_of
from pellucid.nn.resnet import ResNet
from pellucid.tasks.patch_detection.one_shot import drawn, questions
from pellucid.tasks.patch_detection.settings import PatchSettings
from pellucid.tasks.patch_detection.task import PatchDetection, network
from pellucid.testing import check_task

TINY = PatchSettings(
    pretrained="",
    view=PatchView(patch_size=32, short_sides=(48, 64), test_side=64, longest=96),
    num_patches=3,
    num_queries=9,
    width=32,
    num_heads=4,
    encoder_layers=1,
    decoder_layers=2,
    feedforward=48,
    dropout=0.0,
)
ONE_SHOT = replace(TINY, one_shot=True)


def task_of(settings):
    """The task on a ResNet of a few channels."""
    backbone = ResNet((1, 1, 1, 1), (8, 8, 16, 16), 8)
    backbone.freeze(all_of_it=settings.frozen == "all")
    return PatchDetection(network(settings, backbone), settings)


def picture(height, width, seed):
    """Smooth colours that differ everywhere, so that a patch has one place."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    held = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(held, "PNG")
    return held.getvalue()


@pytest.fixture(scope="module")
def rows():
    sizes = [(60, 80), (70, 64), (90, 60), (64, 64)]
    return [{"id": f"photos/{i}", "image": picture(*size, i), "label": "whatever"} for i, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def labelled(rows):
    """Two dogs and a crowd of them in the first picture, a dog and a cat in the second, nothing in the third, a fox in the last."""

    def thing(label, *box, crowd=False):
        return {"label": label, "box_xyxy": list(box), "area": 400.0, "crowd": crowd, "id": int(sum(box))}

    objects = [
        [thing("dog", 5, 5, 25, 25), thing("dog", 40, 20, 60, 40), thing("dog", 0, 0, 80, 60, crowd=True)],
        [thing("dog", 10, 30, 30, 50), thing("cat", 30, 0, 64, 30)],
        [],
        [thing("fox", 20, 20, 50, 60)],
    ]
    return [{**row, "image_id": i, "objects": things} for i, (row, things) in enumerate(zip(rows, objects, strict=True))]


# ---- promises ---------------------------------------------------------------------------------------------------------


def test_a_patch_detector_keeps_its_promises(rows):
    check_task(task_of(TINY), rows[:3])


def test_without_reconstruction_and_with_a_backbone_that_learns_it_keeps_them_too(rows):
    check_task(task_of(replace(TINY, reconstruct=False, frozen="", match_own_group=True)), rows[:2])


def test_a_one_shot_detector_keeps_its_promises(labelled):
    check_task(task_of(ONE_SHOT), labelled[:2])


def test_patches_of_different_number_in_one_batch_score_as_alone(rows):
    task = task_of(TINY)
    task.model.eval()
    some = [{**rows[0], "patches": [picture(30, 20, 7)]}, {**rows[1], "patches": [picture(20, 20, 8), rows[2]["image"]]}]
    together, batch = run(task, some)
    first, second = task.predict(together, batch)
    assert first["labels"] == ["patch 1"] * 3 and len(first["best"]) == 1
    assert sorted(second["queries"]) == list(range(6)) and len(second["best"]) == 2
    for i, example in enumerate(some):
        alone, own = run(task, [example])
        assert task.score(alone, task.answer(alone)).item() == pytest.approx(
            task.score(together, task.answer(together))[i].item(), abs=1e-5
        )
        assert task.predict(alone, own)[0]["queries"] == task.predict(together, batch)[i]["queries"]


def run(task, examples):
    batch = task.collate(examples)
    with torch.no_grad():
        return task.model(batch), batch


# ---- data -------------------------------------------------------------------------------------------------------------


def test_boxes_to_be_found_are_shares_of_the_picture_without_its_padding(rows):
    batch = task_of(TINY).collate(rows)
    scale = batch["size_hw"].flip(1).repeat(1, 2)
    for boxes, size in zip(batch["boxes_cxcywh"], scale, strict=True):
        corners = cxcywh_to_xyxy(boxes) * size
        assert torch.allclose(corners, corners.round(), atol=1e-3), "corners are whole pixels of the stored picture"
        assert (corners >= -1e-3).all() and (corners <= size + 1e-3).all()
    assert batch["query_patch"].shape == (4, 3, 3, 32, 32) and batch["query_patch_present"].all()
    assert [len(c) for c in batch["class_index"]] == [3] * 4 and all((c == 1).all() for c in batch["class_index"])


def test_training_views_depend_on_the_seeds_alone_for_any_number_of_workers(rows):
    task = task_of(replace(TINY, query_shuffle=True))
    lists, seeds = [[0, 1], [2, 3]], [[1, 2], [3, 4]]
    torch.manual_seed(5)
    alone = list(loader.load(task, rows, lists, 0, seeds))
    torch.manual_seed(6)
    helped = list(loader.load(task, rows, lists, 2, seeds))
    for a, b in zip(alone, helped, strict=True):
        assert a.keys() == b.keys() >= {"query_keep", "query_order"}
        assert all(torch.equal(a[k], b[k]) for k in a if isinstance(a[k], torch.Tensor))
        assert all(torch.equal(x, y) for x, y in zip(a["boxes_cxcywh"], b["boxes_cxcywh"], strict=True))
    reverse = task.train_batch(rows[1::-1], [2, 1])
    assert torch.equal(reverse["query_patch"].flip(0), alone[0]["query_patch"])


def test_one_query_in_ten_is_not_told_its_patch(rows):
    task = task_of(replace(TINY, num_queries=900))
    kept = task.train_batch(rows, range(4))["query_keep"]
    assert kept.float().mean().item() == pytest.approx(0.9, abs=0.02)
    assert (kept[0] != kept[1]).any()


def test_measured_patches_are_the_same_in_any_batch_and_after_any_training(rows):
    task = task_of(TINY)
    together = task.collate(rows)
    task.train_batch(rows, range(4))
    assert all(torch.equal(task.collate([row])["query_patch"][0], together["query_patch"][i]) for i, row in enumerate(rows))


def test_pictures_too_small_for_patches_are_left_out(rows, caplog):
    task = task_of(TINY)
    kept = task.prepare([*rows, {"id": "dot", "image": picture(16, 40, 0)}], "photos")
    assert [e["id"] for e in kept] == [e["id"] for e in rows] and "1 pictures with a side of 16" in caplog.text
    assert all(
        "label" not in e and e["length"] == round(1000 * w / h)
        for e, (h, w) in zip(kept, [(60, 80), (70, 64), (90, 60), (64, 64)], strict=True)
    )


def test_more_patches_than_the_model_looks_for_are_refused(rows):
    with pytest.raises(BadUsage, match="photos/0: 4 patches, but the model was trained to look for 3 at once"):
        task_of(TINY).prepare([{**rows[0], "patches": [rows[1]["image"]] * 4}], "photos")
    with pytest.raises(BadUsage, match="10 queries cannot be shared evenly by 3 patches"):
        task_of(replace(TINY, num_queries=10))


# ---- losses and answers -----------------------------------------------------------------------------------------------


def hand_made(task, rows):
    """A batch of one picture and the perfect output for it: the first query of each group finds its patch."""
    batch = task.collate(rows[:1])
    boxes = torch.full((1, 9, 4), 0.5)
    boxes[0, 0::3] = batch["boxes_cxcywh"][0]
    logits = torch.zeros(1, 9, 3)
    logits[..., 2], logits[0, 0::3, 2], logits[0, 0::3, 1] = 30.0, 0.0, 30.0
    targets = torch.randn(1, 3, 64)
    features = torch.randn(1, 9, 64)
    features[0, 0::3] = targets[0] * 5
    present = torch.ones(1, 9, dtype=torch.bool)
    return batch, {"logits": logits, "boxes_cxcywh": boxes, "features": features, "patch_features": targets, "query_present": present}


def test_finding_every_patch_costs_nothing_and_scores_best(rows):
    task = task_of(TINY)
    batch, output = hand_made(task, rows)
    assert all(value.item() == pytest.approx(0, abs=1e-5) for value in task.loss(output, batch).values())
    (found,) = task.predict(output, batch)
    assert [found["queries"][row] for row in found["best"]] == [0, 3, 6]
    assert [found["labels"][row] for row in found["best"]] == ["patch 1", "patch 2", "patch 3"]
    assert found["answers"] == ["patch 1@0", "patch 2@3", "patch 3@6"] and len(found["queries"]) == 9
    assert np.allclose([found["boxes_xyxy"][row] for row in found["best"]], found["patches_xyxy"], atol=1e-3)
    assert np.allclose(found["cosines"], 1)
    metrics = task.metrics()
    for metric in metrics.values():
        metric.update(found, rows[0])
    assert {name: metric.compute() for name, metric in metrics.items()} == pytest.approx(
        {"recall_iou50": 1, "mean_iou": 1, "feature_cosine": 1}, abs=1e-4
    )


def test_knowing_nothing_costs_the_logarithm_of_three(rows):
    task = task_of(TINY)
    batch, output = hand_made(task, rows)
    output["logits"] = torch.zeros(1, 9, 3)
    assert task.loss(output, batch)["ce"].item() == pytest.approx(math.log(3), abs=1e-6)


def test_a_patch_may_be_matched_by_another_groups_query_unless_told_otherwise(rows):
    boxes = torch.full((1, 9, 4), 0.5)
    for own, expected in ((False, 0.0), (True, 1.0)):
        task = task_of(replace(TINY, match_own_group=own, reconstruct=False))
        batch, output = hand_made(task, rows)
        target = batch["boxes_cxcywh"][0]
        moved = boxes.clone()
        moved[0, 6:9] = target[[0, 1, 2]]  # the last group's queries have all the boxes
        output = {"logits": torch.zeros(1, 9, 3), "boxes_cxcywh": moved, "query_present": output["query_present"]}
        far = sum((0.5 - target[i]).abs().sum().item() for i in (0, 1)) * 5 / 3
        assert task.loss(output, batch)["bbox"].item() == pytest.approx(far * expected, abs=1e-4)


def test_the_answer_names_the_surest_query_and_any_may_be_asked_about(rows):
    task = task_of(TINY)
    output, batch = run(task, rows)
    log_probs = F.log_softmax(output["logits"], -1)[..., 1]
    answer = task.answer(output)
    assert torch.equal(answer[:, 0], log_probs.argmax(-1)) and torch.equal(answer[:, 1], answer[:, 0] // 3)
    assert torch.allclose(task.score(output, answer), log_probs.amax(-1))
    first = [(p["queries"][0], p["labels"][0]) for p in task.predict(output, batch)]
    assert first == [(q, task.labels[i]) for q, i in answer.tolist()], "the first prediction is the answer"
    asked = task.gold([{**rows[0], "label": text} for text in ("patch 2@3", "patch 2@4", "patch 3@8", "patch 1@0")])
    assert task.score(output, asked).tolist() == pytest.approx([log_probs[i, q].item() for i, q in enumerate((3, 4, 8, 0))])
    wrong = {
        "patch 4@3": "no such patch",
        "patch 2@6": "expected .*, patch 2@3 to patch 2@5",
        "patch 1@x": "expected",
        "patch 1": "expected",
    }
    for text, message in wrong.items():
        with pytest.raises(BadUsage, match=message):
            task.gold([{**rows[0], "label": text}])


def test_the_box_of_any_patch_is_placed_and_its_query_found(rows):
    task = task_of(replace(TINY, num_patches=4, num_queries=8))
    output, batch = run(task, rows)
    answer = task.gold([{**row, "label": "patch 4@7"} for row in rows])  # a patch beyond the three classes of a query
    assert queries_of(output["logits"], answer).tolist() == [7] * 4
    for place, told in zip(task.places(output, answer, batch), task.predict(output, batch), strict=True):
        assert place["answer"] == "patch 4@7"
        assert place["box_xyxy"] == pytest.approx(told["boxes_xyxy"][told["queries"].index(7)], abs=1e-3)


# ---- one-shot ---------------------------------------------------------------------------------------------------------


def test_every_class_in_a_picture_is_asked_about_with_a_patch_of_another_picture(labelled):
    asked = questions(labelled, "pets")
    assert [(e["id"], len(e["objects"])) for e in asked] == [
        ("photos/0@dog", 3),
        ("photos/1@cat", 1),
        ("photos/1@dog", 1),
        ("photos/3@fox", 1),
    ]
    dog = asked[0]
    assert {drawn(dog, seed)["image"] for seed in range(20)} == {labelled[1]["image"]}
    assert {tuple(drawn(asked[2], seed)["box_xyxy"]) for seed in range(20)} == {(5, 5, 25, 25), (40, 20, 60, 40)}, "a crowd is no patch"
    assert drawn(asked[3], 0)["image"] == labelled[3]["image"], "of the only fox, itself"
    with pytest.raises(BadData, match="pets: no picture has an object"):
        questions(labelled[2:3], "pets")


def test_one_shot_learns_all_objects_of_the_patchs_class_and_no_others(labelled):
    task = task_of(ONE_SHOT)
    ready = task.prepare(labelled, "pets")
    batch = task.train_batch(ready, range(len(ready)))
    assert [len(b) for b in batch["boxes_cxcywh"]] == [2, 1, 1, 1]
    first = cxcywh_to_xyxy(batch["boxes_cxcywh"][0]) * torch.tensor([80, 60, 80, 60])
    assert torch.allclose(first, torch.tensor([[5.0, 5, 25, 25], [40, 20, 60, 40]]), atol=1e-4)
    assert batch["query_patch"].shape[1] == 1


def test_one_shot_tells_the_patch_to_every_query(rows):
    """Another patch changes what every query says; and a picture with nothing else to go by scores patches of one kind alike."""
    task = task_of(ONE_SHOT)
    task.model.eval()
    first, second = ({**rows[0], "patches": [patch]} for patch in (rows[1]["image"], rows[2]["image"]))
    a, b = (run(task, [e])[0]["logits"] for e in (first, second))
    assert ((a - b).abs().amax(-1) > 1e-6).all()
    two, one = run(task, [{**rows[0], "patches": [rows[1]["image"]] * 2}])[0], run(task, [first])[0]
    assert torch.allclose(two["logits"], one["logits"], atol=1e-5), "several patches count as their mean"


def test_one_shot_without_anything_to_look_for_says_so(rows):
    with pytest.raises(BadData, match="photos: neither patches nor objects"):
        task_of(ONE_SHOT).prepare(rows, "photos")
