"""The task detection_segmentation: its promises for every job, what teaches what, and where boxes and maps come out."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pellucid.data.maps import encode, read_map
from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.metrics.segmentation import unpack_map
from pellucid.nn.boxes import offsets_from
from pellucid.recipe import Data, get
from pellucid.tasks.detection_segmentation.model import scales
from pellucid.testing import check_task
from steps import gradient

SHOWN = get("triplenet:shapes").task
NARROW = {"width": 16, "extra_channels": 32, "residual": 8, "squeeze": 4, "inner_widths": (4, 8, 16), "patch": 16}
VIEW = dataclasses.replace(SHOWN.view, size=64)
SETTINGS = dataclasses.replace(SHOWN, view=VIEW, finest=8, scales=(0.15, 0.25, 0.4, 0.55, 0.7), **NARROW)
SMALL = {"view": dataclasses.replace(VIEW, size=32), "patch": 8}
PAIR = {"fused": False, "inner": False, "agnostic": False, "attention": False}


def shapes(num=4, part="train", **options):
    query = "&".join(f"{name}={value}" for name, value in {"num": num, "maps": "yes", "sizes": "mixed", **options}.items())
    return read(Data(f"shapes:{part}?{query}"))


def made(**changes):
    torch.manual_seed(1)
    return dataclasses.replace(SETTINGS, **changes).build(shapes())


def batch_of(task, examples):
    return task.collate(task.prepare(examples, "shapes"))


def told(task, examples):
    batch = batch_of(task, examples)
    with torch.no_grad():
        return task.model.eval()(batch), batch


def without(example, *names):
    return {key: value for key, value in example.items() if key not in names}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        PAIR,
        {**PAIR, "pair": False, "finest": 4, "scales": (0.1, 0.15, 0.25, 0.4, 0.55, 0.7)},
        {"jobs": "detection"},
        {"jobs": "segmentation"},
        {"share_agnostic": False, "narrow": 4, "label_size": "map", "detach": True},
    ],
)
def test_the_task_keeps_its_promises(changes):
    check_task(made(**SMALL, **changes), shapes(2))


def test_it_keeps_them_where_pictures_have_boxes_only_or_a_map_only():
    both, boxes, mapped = shapes(3)
    check_task(made(**SMALL), [both, without(boxes, "map"), without(mapped, "objects")])


def test_a_picture_whose_objects_nobody_told_does_not_teach_that_there_is_none():
    task = made()
    task.model.train()
    full, other = shapes(2)

    def detection(examples):
        batch = batch_of(task, examples)
        return torch.stack([task.loss(task.model(batch), batch)[name] for name in ("loc", "conf")]), task.amounts(batch)

    alone, amount = detection([full])
    beside, same = detection([full, without(other, "objects")])
    torch.testing.assert_close(beside, alone)
    assert same["conf"] == amount["conf"] > 0
    # one that is known to be empty counts no box either, but its boxes are mined where the batch is mined as a whole
    batched = made(mine_per_image=False)
    batch = batch_of(batched, [full, {**other, "objects": []}])
    unknown = batch_of(batched, [full, without(other, "objects")])
    output = batched.model.train()(batch)
    assert not torch.equal(batched.loss(output, batch)["conf"], batched.loss(output, unknown)["conf"])


def test_a_picture_without_a_map_costs_nothing_there_and_gives_finite_gradients():
    task = made()
    task.model.train()
    batch = batch_of(task, [without(e, "map") for e in shapes(2)])
    parts = task.loss(task.model(batch), batch)
    assert [float(parts[name].detach()) for name in ("map", "aware", "agnostic")] == [0, 0, 0]
    torch.stack(list(parts.values())).sum().backward()
    assert all(p.grad.isfinite().all() for p in task.model.parameters())
    assert task.amounts(batch)["map"] == 0


def test_uniform_logits_cost_logarithms_and_every_weight_scales_its_own_part():
    task = made()
    batch = batch_of(task, shapes(2))
    num, ones = len(task.defaults), task.map_size
    output = {
        "class_logits": torch.zeros(2, num, 4),
        "offsets": torch.zeros(2, num, 4),
        "default_boxes": task.defaults.expand(2, -1, -1),
        "map_logits": torch.zeros(2, 4, *ones),
        "aware_logits_0": torch.zeros(2, 4, *ones),
        "aware_logits_1": torch.zeros(2, 4, 2, 2),
        "agnostic_logits_0": torch.zeros(2, 2, *ones),
    }
    parts = task.loss(output, batch)
    wanted = {"conf": 4 * math.log(4), "map": math.log(4), "aware": 2 * math.log(4), "agnostic": math.log(2)}
    assert {name: float(parts[name]) for name in wanted} == pytest.approx(wanted, rel=1e-5)
    weights = {"loc": 2.0, "conf": 3.0, "map": 5.0, "aware": 7.0, "agnostic": 0.5}
    task.settings = dataclasses.replace(task.settings, **{f"{name}_weight": weight for name, weight in weights.items()})
    again = task.loss(output, batch)
    assert {n: float(again[n]) for n in weights} == pytest.approx({n: w * float(parts[n]) for n, w in weights.items()}, rel=1e-5)


def test_what_only_training_needs_is_not_told_after_it():
    task, batch = made(), None
    batch = batch_of(task, shapes(2))
    learned = task.model.train()(batch)
    assert len(scales(learned, "aware_logits")) == len(scales(learned, "agnostic_logits")) == len(task.model.map_sizes())
    assert task.model.eval()(batch).keys() == {"class_logits", "offsets", "default_boxes", "map_logits"}


def perfect(task, batch, sharp=40.0):
    """An output that says what the batch's truth says."""
    from pellucid.losses.multibox import matched

    truth = [(boxes, labels) for boxes, labels in zip(batch["boxes_cxcywh"], batch["class_index"], strict=True)]
    logits = torch.zeros(len(truth), len(task.defaults), len(task.labels) + 1)
    logits[..., 0] = sharp
    offsets = torch.zeros(len(truth), len(task.defaults), 4)
    for i, (boxes, labels) in enumerate(truth):
        owner = matched(task.defaults, boxes[None], torch.ones(1, len(boxes), dtype=torch.bool))[0]
        at = (owner >= 0).nonzero()[:, 0]
        offsets[i, at] = offsets_from(task.defaults[at], boxes[owner[at]])
        logits[i, at, labels[owner[at]] + 1] = 2 * sharp
    pixels = F.one_hot(batch["map"].long().clamp(max=len(task.labels)), len(task.labels) + 1).permute(0, 3, 1, 2).float() * sharp
    return {"class_logits": logits, "offsets": offsets, "default_boxes": task.defaults.expand(len(truth), -1, -1), "map_logits": pixels}


def test_a_perfect_output_gives_the_objects_boxes_in_pixels_and_the_map_at_the_pictures_size():
    task, examples = made(), shapes(3)
    batch = batch_of(task, examples)
    for prediction, example in zip(task.predict(perfect(task, batch), batch), examples, strict=True):
        found = sorted(zip(prediction["labels"], prediction["boxes_xyxy"], strict=True))
        wanted = sorted((o["label"], o["box_xyxy"]) for o in example["objects"])
        assert [label for label, _ in found] == [label for label, _ in wanted]
        np.testing.assert_allclose([box for _, box in found], [box for _, box in wanted], atol=1e-2)
        shown = unpack_map(prediction["map"])
        assert shown.shape == (example["height"], example["width"])
        assert (shown == read_map(example)).mean() > 0.97
        answered = {answer.partition("@")[0] for answer in prediction["answers"]}
        assert answered == {label for label, _ in wanted}


def test_a_perfect_output_has_the_best_numbers():
    task, examples = made(average_precision="voc"), shapes(3)
    batch = batch_of(task, examples)
    made_of, numbers = task.predict(perfect(task, batch), batch), task.metrics()
    for metric in numbers.values():
        for prediction, example in zip(made_of, examples, strict=True):
            metric.update(prediction, example)
    assert numbers["voc_AP50"].compute() == pytest.approx(1)
    assert numbers["mIoU"].compute() > 0.9
    assert numbers["consistency"].compute() > 0.9


def test_a_map_of_many_classes_is_the_same_whether_enlarged_at_once_or_in_parts(monkeypatch):
    task = made()
    logits = torch.randn(1, 9, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = task._map(logits, (50, 70))
    monkeypatch.setattr("pellucid.tasks.detection_segmentation.task._AT_ONCE", 2 * 50 * 70)
    assert (task._map(logits, (50, 70)) == whole).all()


def test_random_views_are_a_function_of_the_seed_and_carry_the_map():
    task, examples = made(), shapes(2)
    first, again, other = (task.train_batch(examples, [seed, seed]) for seed in (3, 3, 4))
    assert torch.equal(first["picture"], again["picture"]) and torch.equal(first["map"], again["map"])
    assert not torch.equal(first["picture"], other["picture"])
    assert first["map"].shape == (2, 64, 64) and {0, 255} & set(first["map"].unique().tolist())


def test_a_step_in_parts_has_the_gradient_of_the_whole():
    task = made()
    examples = [e if i else without(e, "objects") for i, e in enumerate(shapes(3))]
    task.model.train()

    whole, parts = ([batch_of(task, group) for group in groups] for groups in ([examples], [examples[:1], examples[1:]]))
    torch.testing.assert_close(gradient(task, whole), gradient(task, parts), rtol=1e-3, atol=1e-5)


def test_sets_that_do_not_teach_a_job_and_maps_that_do_not_fit_are_refused():
    rows = shapes(2)
    with pytest.raises(BadData, match=r"no picture has a map; read them with \?maps=yes.*jobs=detection"):
        SETTINGS.build([without(e, "map") for e in rows])
    with pytest.raises(BadData, match=r"no picture tells its objects.*jobs=segmentation"):
        SETTINGS.build([without(e, "objects") for e in rows])
    assert dataclasses.replace(SETTINGS, jobs="detection").build([without(e, "map") for e in rows]).labels == rows[0]["classes"]
    with pytest.raises(BadData, match=r"1 of 1 maps cannot be used.*the map is 5 x 4 pixels"):
        made(check="full").prepare([{**rows[0], "map": encode(np.zeros((4, 5), np.uint8))}], "shapes")
    with pytest.raises(BadUsage, match="patch=12: patches do not fill a view of 64"):
        made(patch=12)
    with pytest.raises(BadUsage, match="inner=True needs"):
        made(pair=False)


def test_norms_of_the_backbone_learn_or_stay_and_the_stem_can_be_frozen():
    small = {**SMALL, "backbone": "resnet18"}
    for changes, norms, stem in (({}, True, True), ({"train_norms": False}, False, True), ({"frozen": "stem"}, True, False)):
        names = {name for name, p in made(**small, **changes).model.named_parameters() if p.requires_grad}
        assert ("net.backbone.layer4.0.bn1.weight" in names) == norms
        assert ("net.backbone.conv1.weight" in names) == stem
    assert not any(name.startswith("net.backbone") for name, p in made(**small, frozen="all").model.named_parameters() if p.requires_grad)


def test_any_network_of_timms_can_be_the_backbone():
    task = made(backbone="timm:resnet10t", norm="batch")
    output, batch = told(task, shapes(2))
    assert output["map_logits"].shape == (2, 4, 8, 8)
    assert len(task.predict(output, batch)) == 2


def test_settings_come_back_from_a_run_folder(tmp_path):
    task = made()
    task.settings.write(task, tmp_path)
    again = task.settings.read(tmp_path)
    assert again.labels == task.labels
    again.model.load_state_dict(task.model.state_dict())


@torch.no_grad()
def test_a_run_that_is_read_tells_the_same_with_no_convolution_copied_in_a_pass(tmp_path):
    task = made()
    task.settings.write(task, tmp_path)
    again = task.settings.read(tmp_path)
    again.model.load_state_dict(task.model.state_dict())
    batch = batch_of(task, shapes(2))
    output = task.model.eval()(batch)
    with torch.profiler.profile(record_shapes=True) as watched:
        same = again.model.eval()(batch)
    for name, value in output.items():
        torch.testing.assert_close(same[name], value, rtol=1e-5, atol=1e-5)
    kernels = {str(list(p.shape)) for p in task.model.parameters() if p.ndim == 4 and p.shape[-1] > 1}
    copied = {str(event.input_shapes[0]) for event in watched.events() if event.name == "aten::copy_" and event.input_shapes}
    assert kernels and not kernels & copied
