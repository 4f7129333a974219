"""Masks of a text-conditioned detector, and its numbers that only some sets have: PhraseCut's and LVIS's."""

import json
import pathlib

import numpy as np
import pytest
import torch
from test_grounding import SMALL

from pellucid import checkpoint, run
from pellucid.data.box_views import BoxTrainView
from pellucid.data.grounding import modulated
from pellucid.data.read import read
from pellucid.errors import BadData
from pellucid.nn.boxes import cxcywh_to_xyxy
from pellucid.recipe import Data, Loop, Optim, Recipe, Schedule
from pellucid.tasks.grounding.settings import GroundingSettings
from pellucid.testing import check_task

MASKS = {"masks": "per_head", "width": 128, "num_heads": 8}
DETECTOR = ("backbone", "input_proj", "text", "encoder", "decoder", "queries", "class_head", "box_head", "align_")


def filled(row):
    """The row, each object's mask being its box."""
    sides = [[round(side) for side in one["box_xyxy"]] for one in row["objects"]]
    objects = [
        {**one, "box_xyxy": [x0, y0, x1, y1], "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
        for one, (x0, y0, x1, y1) in zip(row["objects"], sides, strict=True)
    ]
    return {**row, "objects": objects}


@pytest.fixture(scope="module")
def rows():
    return [filled(row) for row in read(Data("grounding-world:train?num=6&size=64"))]


def made(rows, **changes):
    torch.manual_seed(0)
    task = GroundingSettings(**SMALL | MASKS | changes).build(rows)
    task.model.eval()
    return task


def batch_of(task, rows):
    return task.collate(task.prepare(rows, "world"))


def test_a_task_with_masks_keeps_its_promises(rows):
    asks = [{**row, "answer": {"type": "reg", "value": "2"}} for row in rows[:2]]
    task = made(asks, final=1.0, answers="clevr", measure="phrase_cut")
    check_task(task, [*asks, {**rows[2], "objects": [], "phrases": []}])


def test_masks_go_along_with_their_boxes_through_random_views(rows):
    view = BoxTrainView((48, 64, 80), 96, 0.0, 1.0, (56, 64), (52, 64))
    task = made(rows, train_view=view)
    batch = task.train_batch(task.prepare(rows, "world"), range(len(rows)))
    sizes = set()
    for masks, boxes, row in zip(batch["masks"], batch["boxes_cxcywh"], rows, strict=True):
        height, width = masks.shape[1:]
        sizes.add((height, width))
        assert len(masks) == len(boxes) == len(row["objects"])
        for mask, box in zip(masks, cxcywh_to_xyxy(boxes) * torch.tensor([width, height, width, height]), strict=True):
            down, across = (mask.any(axis).nonzero()[:, 0] for axis in (1, 0))
            edges = [float(across[0]), float(down[0]), float(across[-1]) + 1, float(down[-1]) + 1]
            assert edges == pytest.approx(box.tolist(), abs=2.5)
    assert len(sizes) > 2


def test_masks_are_learned_in_the_last_layer_and_shared_out_by_objects(rows):
    task = made(rows)
    task.model.train()
    batch = batch_of(task, rows[:2])
    parts = task.loss(task.model(batch), batch)
    num = sum(len(row["objects"]) for row in rows[:2])
    assert {name for name in parts if name.startswith(("mask", "dice"))} == {"mask", "dice"}
    assert task.amounts(batch)["mask"] == task.amounts(batch)["dice"] == num
    (parts["mask"] + parts["dice"]).backward()
    assert task.model.net.mask_head.out_lay.weight.grad.abs().max() > 0


def test_objects_without_masks_are_refused_by_their_row(rows):
    bare = read(Data("grounding-world:train?num=6&size=64"))[1]
    with pytest.raises(BadData, match=r"have no segmentation.*masks=yes"):
        batch_of(made(rows), [rows[0], bare])


def test_masks_are_told_in_the_order_of_the_boxes_at_the_size_of_the_picture(rows):
    from pycocotools import mask

    task = made(rows)
    row = {**rows[0], "objects": rows[0]["objects"][:1], "phrases": []}
    batch = batch_of(task, [row])
    output = task.model(batch)
    output["logits"] = torch.zeros_like(output["logits"])
    output["logits"][0, :, -1] = 9.0  # no object, but for query 3
    output["logits"][0, 3, -1] = -9.0
    output["mask_logits"] = torch.full_like(output["mask_logits"], -1.0)
    output["mask_logits"][0, 3, :, :8] = 1.0  # of 16 columns
    told = task.predict(output, batch)[0]
    assert told["queries"][0] == 3 and len(told["masks"]) == len(told["boxes_xyxy"]) == 5
    drawn = mask.decode([{**one, "counts": one["counts"].encode()} for one in told["masks"]]).transpose(2, 0, 1)
    assert drawn.shape == (5, row["height"], row["width"]) and not drawn[1:].any()
    assert drawn[0, :, :30].all() and not drawn[0, :, 34:].any()
    assert json.dumps(told["masks"])


def test_the_numbers_of_phrase_cut_are_of_masks_and_boxes_above_the_threshold_together(rows):
    task = made(rows, measure="phrase_cut", threshold=0.7)
    left, right = ([x, 0, x + 32, 0, x + 32, 64, x, 64] for x in (0, 32))
    row = {**rows[0], "phrase_masks": [left], "objects": [{**rows[0]["objects"][0], "box_xyxy": [0, 0, 32, 64], "segmentation": [left]}]}
    both = {"boxes_xyxy": [[0, 0, 32, 64], [32, 0, 64, 64]], "masks": [coded(left), coded(right)]}
    empty = {"token_probs": np.zeros((2, 0)), "token_spans": [], "labels": ["", ""]}
    for scores, shared in (([0.8, 0.6], 1.0), ([0.9, 0.8], 0.5)):
        metrics = task.metrics()
        assert next(iter(metrics)) == "mask_mIoU"
        for name in ("mask_mIoU", "box_mIoU"):
            metrics[name].update(both | empty | {"scores": scores}, row)
            assert metrics[name].compute() == pytest.approx(shared, abs=0.02)
    assert "mask_AP" in metrics and "mask_mIoU" not in made(rows).metrics()


def coded(polygon):
    from pellucid.metrics.detections import run_lengths

    return run_lengths([polygon], (64, 64), "a mask")


def test_a_class_that_is_asked_for_by_its_caption_has_fixed_average_precision(rows):
    task = made(rows, masks="", measure="lvis")
    metrics = task.metrics()
    assert next(iter(metrics)) == "fixed_AP" and "AP" in metrics and "fixed_AP" not in made(rows).metrics()
    found = metrics["fixed_AP50"]
    box = [1.0, 1.0, 9.0, 9.0]
    there = [{"box_xyxy": box, "spans": [[0, 3]], "label": "cup"}]
    for i, (scores, objects) in enumerate((([0.9], there), ([0.8], []), ([0.7], there))):  # the second picture shows none
        found.update({"boxes_xyxy": [box], "scores": scores}, {"id": f"{i}", "caption": "cup", "frequency": "r", "objects": objects})
    assert found.compute() == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_masks_are_learned_on_a_detector_that_stays_as_it_is(tmp_path: pathlib.Path, rows):
    stored = [{**row, "image": str(tmp_path / f"{i}.png")} for i, row in enumerate(rows)]
    for row, kept in zip(rows, stored, strict=True):
        pathlib.Path(kept["image"]).write_bytes(row["image"])
    modulated.write(stored[:4], tmp_path / "train.json", str(tmp_path))
    modulated.write(stored[4:], tmp_path / "test.json", str(tmp_path))
    train, test = (Data(f"modulated:{tmp_path}/{part}.json?masks=yes") for part in ("train", "test"))
    detector = made(read(train), masks="")
    checkpoint.save(detector.model.state_dict(), tmp_path / "detector.safetensors")
    recipe = Recipe(
        GroundingSettings(**SMALL | MASKS),
        train,
        tests={"home": test},
        optim=Optim("adamw", 1e-3, lr_scale={f"net.{name}": 0.0 for name in DETECTOR}),
        schedule=Schedule("constant", warmup=0),
        loop=Loop(1, 2),
        init=str(tmp_path / "detector.safetensors"),
        init_skip=("net.mask_head.",),
        name="./none.py:none",
    )
    done = run.train(recipe, tmp_path / "run")
    before, after = detector.model.state_dict(), done.task.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name for name in after if name not in before} == {name for name in after if name.startswith("net.mask_head.")}
    fresh = made(rows).model.state_dict()["net.mask_head.out_lay.bias"]
    assert not torch.equal(after["net.mask_head.out_lay.bias"], fresh)
    assert len(done.predict(read(test)[:1])[0]["masks"]) == 5
