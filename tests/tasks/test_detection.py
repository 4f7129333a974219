"""The task detection: its promises, its answers, its loss on sets of every kind."""

import dataclasses
import math

import pytest
import torch

from pellucid.data.read import read
from pellucid.errors import BadData, BadUsage
from pellucid.explain.probe import ask
from pellucid.recipe import Data, get
from pellucid.tasks.detection.task import ANY
from pellucid.testing import check_task
from steps import gradient

SHOWN = get("updetr:shapes").task
VIEW = dataclasses.replace(SHOWN.view, short=64)
SETTINGS = dataclasses.replace(SHOWN, num_queries=7, width=32, decoder_layers=2, feedforward=32, patch=32, view=VIEW)
MASKS = {"masks": "per_head", "width": 128, "num_heads": 8}


def shapes(num=4, **options):
    query = "&".join(f"{name}={value}" for name, value in {"num": num, "sizes": "mixed", **options}.items())
    return read(Data(f"shapes:train?{query}"))


def made(**changes):
    torch.manual_seed(1)
    return dataclasses.replace(SETTINGS, **changes).build(shapes())


def batch_of(task, examples):
    return task.collate(task.prepare(examples, "shapes"))


@pytest.mark.parametrize("changes", [{}, MASKS, {"dilate": True, "position": "learned", "pre_norm": False}])
def test_the_task_keeps_its_promises(changes):
    check_task(made(**changes), shapes(3, **({"masks": "yes"} if "masks" in changes else {})))


def test_with_masks_a_picture_without_objects_is_one_of_no_masks_and_objects_without_are_refused():
    task, (full, bare) = made(**MASKS), shapes(2, masks="yes")
    batch = batch_of(task, [full, {**bare, "objects": []}])
    assert [len(masks) for masks in batch["masks"]] == [len(full["objects"]), 0]
    check_task(task, [full, {**bare, "objects": []}])
    with pytest.raises(BadData, match=r"have no segmentation.*masks=yes"):
        batch_of(task, shapes(1))


def test_without_masked_padding_a_prediction_depends_on_its_neighbours():
    with pytest.raises(AssertionError, match=r"from its examples alone|padding|neighbours"):
        check_task(made(mask_padding=False), shapes(3))


def test_the_answer_is_the_surest_box_and_the_score_its_log_probability():
    task = made()
    output = {"logits": torch.zeros(2, 7, 4), "boxes_cxcywh": torch.full((2, 7, 4), 0.5)}
    output["logits"][0, 3, 1], output["logits"][1, 6, 2] = 2.0, 1.0
    answer = task.answer(output)
    assert answer.tolist() == [[3, 1], [6, 2]]
    wanted = [2 - math.log(math.exp(2) + 3), 1 - math.log(math.e + 3)]
    assert task.score(output, answer).tolist() == pytest.approx(wanted, abs=1e-6)
    assert task.score(output, torch.tensor([[ANY, 1], [ANY, 2]])).tolist() == pytest.approx(wanted, abs=1e-6)
    assert task.score(output, torch.tensor([[0, 1], [0, 2]])).tolist() == pytest.approx([-math.log(4)] * 2, abs=1e-6)


def test_an_answer_is_named_by_label_and_query():
    task = made()
    ids = {label: i for i, label in enumerate(task.labels)}
    asked = [{"image": "x", "label": label} for label in ("disc@3", "disc")]
    assert task.gold(asked).tolist() == [[3, ids["disc"]], [ANY, ids["disc"]]]
    with pytest.raises(BadUsage, match=r"no such label.*disc"):
        task.gold([{"image": "x", "label": "disk@3"}])
    with pytest.raises(BadUsage, match="no query '9'; there are 0 to 6"):
        task.gold([{"image": "x", "label": "disc@9"}])
    with pytest.raises(BadData, match="no object"):
        task.gold([{"image": "x", "objects": []}])


def test_boxes_come_back_in_pixels_of_the_stored_picture():
    task = made(view=dataclasses.replace(SETTINGS.view, short=48))
    example = shapes(1)[0]
    batch = batch_of(task, [example])
    output = {"logits": torch.zeros(1, 7, 4), "boxes_cxcywh": batch["boxes_cxcywh"][0].repeat(7, 1)[None, :7]}
    made_boxes = task.predict(output, batch)[0]["boxes_xyxy"]
    assert made_boxes[0] == pytest.approx(example["objects"][0]["box_xyxy"], abs=1e-3)


def test_a_picture_without_objects_trains_and_so_does_one_of_one_pixel():
    from PIL import Image

    task = made()
    full, bare = shapes(2)
    file = __import__("io").BytesIO()
    Image.new("RGB", (1, 1), "red").save(file, "PNG")
    dot = {**bare, "id": "dot", "image": file.getvalue(), "width": 1, "height": 1, "objects": []}
    task.model.train()
    for examples in ([{**bare, "objects": []}], [full, dot], [dot]):
        batch = batch_of(task, examples)
        parts = task.loss(task.model(batch), batch)
        total = torch.stack(list(parts.values())).sum()
        total.backward()
        assert total.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in task.model.parameters())


def test_nine_objects_and_seven_queries_make_seven_pairs_over_nine():
    task = made()
    example = shapes(1)[0]
    one = example["objects"][0]
    nine = [{**one, "id": 100 + i, "box_xyxy": [2.0 * i, 2.0 * i, 2.0 * i + 20, 2.0 * i + 20]} for i in range(9)]
    batch = batch_of(task, [{**example, "objects": nine}])
    assert len(batch["class_index"][0]) == 9
    boxes = batch["boxes_cxcywh"][0][None, :7].clone()
    boxes[..., 0] += 0.5  # each query is half a picture to the right of its object
    parts = task.loss({"logits": torch.zeros(1, 7, 4), "boxes_cxcywh": boxes}, batch)
    assert float(parts["bbox"]) == pytest.approx(5 * 7 * 0.5 / 9, rel=0.25)
    assert task.amounts(batch)["bbox"] == 9
    assert task.amounts(batch)["ce"] == 7


def test_all_zero_logits_cost_the_logarithm_of_the_number_of_classes_whatever_the_objects():
    task = made()
    for examples in (shapes(2), [{**e, "objects": []} for e in shapes(2)]):
        batch = batch_of(task, examples)
        output = {"logits": torch.zeros(2, 7, 4), "boxes_cxcywh": torch.rand(2, 7, 4)}
        assert float(task.loss(output, batch)["ce"]) == pytest.approx(math.log(4), abs=1e-6)


def test_a_step_in_parts_has_the_gradient_of_the_whole():
    task = made()
    examples = shapes(4)
    examples[1] = {**examples[1], "objects": []}
    task.model.train()

    whole, parts = ([batch_of(task, group) for group in groups] for groups in ([examples], [examples[:1], examples[1:]]))
    torch.testing.assert_close(gradient(task, whole), gradient(task, parts), rtol=1e-4, atol=1e-5)


def test_a_label_that_training_has_not_seen_is_refused_and_so_is_a_set_without_boxes():
    task = made()
    odd = {**shapes(1)[0], "objects": [{"label": "hexagon", "box_xyxy": [1, 1, 5, 5], "area": 16, "crowd": False, "id": 1}]}
    with pytest.raises(BadData, match="hexagon"):
        task.prepare([odd], "shapes")
    with pytest.raises(BadData, match="objects"):
        SETTINGS.build([{"id": "1", "image": "x.png"}])


def test_with_stuff_every_pixel_belongs_to_one_segment_and_quality_is_counted(tmp_path):
    rows = [{**e, "stuff": ("disc",)} for e in shapes(2, masks="yes")]
    torch.manual_seed(1)
    task = dataclasses.replace(SETTINGS, **MASKS, panoptic_threshold=0.2).build(rows)
    assert task.stuff == ("disc",)
    batch = batch_of(task, rows)
    task.model.eval()
    with torch.no_grad():
        output = task.model(batch)
    output["logits"][:, :, -1] = -9.0  # every query answers for something
    for made_of, example in zip(task.predict(output, batch), rows, strict=True):
        ids, segments = made_of["panoptic"]["ids"], made_of["panoptic"]["segments"]
        assert ids.shape == (example["height"], example["width"])
        assert {s["id"]: s["area"] for s in segments} == {s["id"]: int((ids == s["id"]).sum()) for s in segments}
        assert sum(s["area"] for s in segments) == ids.size
        assert all(s["thing"] == (s["label"] != "disc") for s in segments)
        assert sum(s["label"] == "disc" for s in segments) <= 1
    assert "PQ" in task.metrics()
    task.settings.write(task, tmp_path)
    assert task.settings.read(tmp_path).stuff == ("disc",)


def test_vocs_numbers_stand_behind_cocos_where_they_are_asked_for():
    task, rows = made(average_precision="voc"), shapes(2)
    perfect = [
        {
            "labels": [o["label"] for o in e["objects"]],
            "boxes_xyxy": [o["box_xyxy"] for o in e["objects"]],
            "scores": [0.9] * len(e["objects"]),
        }
        for e in rows
    ]
    metrics = task.metrics()
    assert next(iter(metrics)) == "AP"
    for metric in metrics.values():
        for prediction, example in zip(perfect, rows, strict=True):
            metric.update(prediction, example)
    assert [round(metrics[name].compute(), 6) for name in ("AP", "voc_AP50_11point", "voc_AP50")] == [1, 1, 1]
    assert "voc_AP50" not in made().metrics()


def test_a_query_attention_comes_where_it_is_asked_and_is_of_the_cells():
    task = made()
    batch = batch_of(task, shapes(2))
    task.model.eval()
    told = task.model({**batch, "with_attention": True})["query_attention"]
    assert told.shape[:2] == (2, 7)
    assert told.shape[-1] == batch["cell_present"].shape[1]
    assert "query_attention" not in task.model(batch)


def test_what_is_asked_at_any_site_is_the_score_of_the_surest_box():
    task = made()
    batch = batch_of(task, shapes(2))
    task.model.eval()
    output = task.model(batch)
    wanted = task.score(output, task.answer(output))
    for site in task.sites:
        probe = ask(task, batch, site)
        torch.testing.assert_close(probe.score(probe.units), wanted, rtol=1e-4, atol=1e-5)


def test_settings_come_back_from_a_run_folder(tmp_path):
    task = made()
    task.settings.write(task, tmp_path)
    again = task.settings.read(tmp_path)
    assert again.labels == task.labels
    again.model.load_state_dict(task.model.state_dict())


def test_the_tasks_accept_published_weights():
    from pellucid.nn.detr_names import to_official

    task = made()
    plain = {key.removeprefix("net."): value for key, value in task.model.state_dict().items()}
    backbone = {key: value for key, value in plain.items() if not key.startswith("backbone.")}
    theirs = to_official({**backbone, "backbone.conv1.weight": plain["backbone.conv1.weight"]})
    back = task.translate(theirs)
    assert back.keys() == {f"net.{key}" for key in (*backbone, "backbone.conv1.weight")}
