"""Recall of phrases, precision of expressions, class-agnostic AP and boxes against numbers of the original programs."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from safetensors.numpy import load_file

from pellucid.metrics.grounding import box_metrics, generalized_iou, owned, phrase_metrics, phrase_scores, referring_metrics
from pellucid.metrics.voc import iou

CLOSE = {"rel": 0, "abs": 1e-6}


@pytest.fixture(scope="module")
def folder(references):
    return references / "detection"


def told(folder, name):
    return json.loads((folder / "metrics" / f"{name}.json").read_text())


def fill(metrics, pairs):
    for pair in pairs:
        for metric in metrics.values():
            metric.update(*pair)
    return metrics


def flickr(folder):
    """The sentences of the small set by picture and number, its entities' boxes as the XML has them."""
    place, rows = folder / "metrics" / "flickr_mini", {}
    for name in (place / "val.txt").read_text().split():
        boxes = {}
        for one in ElementTree.parse(place / "Annotations" / f"{name}.xml").iter("object"):
            if (box := one.find("bndbox")) is not None:
                corners = [int(box.find(side).text) for side in ("xmin", "ymin", "xmax", "ymax")]
                boxes.setdefault(one.find("name").text, []).append(corners)
        for i, sentence in enumerate((place / "Sentences" / f"{name}.txt").read_text().splitlines()):
            found = [m.groups() for m in re.finditer(r"\[/EN#(\d+)/(\S+) [^\]]+\]", sentence)]
            phrases = [{"spans": [[0, 1]], "boxes_xyxy": boxes[entity], "kind": kind} for entity, kind in found if entity in boxes]
            rows[int(name), i] = {"id": f"{name}.{i}", "caption": sentence, "phrases": phrases}
    return rows


def test_flickr_recall_is_that_of_the_original_by_protocol_and_kind(folder):
    case, rows = told(folder, "flickr_recall"), flickr(folder)
    pairs = [({"phrase_boxes_xyxy": p["boxes"]}, rows[p["image_id"], p["sentence_id"]]) for p in case["predictions"]]
    assert len(pairs) == len(rows)
    metrics = fill(phrase_metrics(), pairs)
    for protocol, prefix in (("any_box", ""), ("merged_box", "merged_")):
        for k, expected in case["recall"][protocol].items():
            metric = metrics[f"{prefix}R_upper" if k == "-1" else f"{prefix}R@{k}"]
            assert {"all": metric.compute(), **metric.per_kind()} == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize(("key", "prefix"), [("official_giou_threshold", "giou_"), ("iou_threshold", "")])
def test_referring_precision_is_that_of_the_original_by_either_rule(folder, key, prefix):
    case = told(folder, "refexp")
    objects = {}
    for one in case["annotations"]:
        x, y, w, h = one["bbox"]
        objects.setdefault(one["image_id"], []).append({"box_xyxy": [x, y, x + w, y + h]})
    for name, expected in case[key].items():
        ids = [image["id"] for image in case["images"] if image["dataset_name"] == name]
        made = {i: case["predictions"][str(i)] for i in ids}
        pairs = [
            ({"boxes_xyxy": p["boxes"], "scores": p["scores"]}, {"id": i, "expression": True, "objects": objects[i]})
            for i, p in made.items()
        ]
        found = fill(referring_metrics(), pairs)
        assert [found[f"{prefix}P@{k}"].compute() for k in (1, 5, 10)] == pytest.approx(expected, **CLOSE)


def test_class_agnostic_average_precision_is_that_of_the_original(folder):
    case = told(folder, "coco_ap")
    pairs = []
    for image in case["gt"]["images"]:
        mine = [[one for one in entries if one["image_id"] == image["id"]] for entries in (case["gt"]["annotations"], case["detections"])]
        boxes = [[[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in part)] for part in mine]
        objects = [
            {"box_xyxy": box, "area": one["area"], "crowd": bool(one["iscrowd"]), "label": str(one["category_id"])}
            for one, box in zip(mine[0], boxes[0], strict=True)
        ]
        pairs.append(({"boxes_xyxy": boxes[1], "scores": [one["score"] for one in mine[1]]}, {"id": image["id"], "objects": objects}))
    names = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"]
    found = fill(box_metrics(), pairs)
    assert [found[name].compute() for name in names] == pytest.approx(case["stats_class_agnostic"], **CLOSE)


def test_overlaps_are_those_of_the_original(folder):
    case = told(folder, "boxes")
    a, b = np.array(case["a"]), np.array(case["b"])
    assert iou(a, b) == pytest.approx(np.array(case["iou"]), **CLOSE)
    assert generalized_iou(a, b) == pytest.approx(np.array(case["giou"]), **CLOSE)


def test_boxes_are_ranked_for_a_phrase_as_by_the_original(folder):
    case = folder / "mdetr_small"
    texts, outputs = json.loads((case / "losses.json").read_text()), load_file(case / "outputs.safetensors")
    logits = outputs["pred_logits"].astype(np.float64)
    probs = np.exp(logits - logits.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    for image, (of_char, strings) in enumerate(zip(texts["token_of_char"], texts["token_strings"], strict=True)):
        own = [[c for c, token in enumerate(of_char) if token == t] for t in range(len(strings))]
        spans = np.array([[chars[0], chars[-1] + 1] if chars else [0, 0] for chars in own])
        boxes = outputs[f"post{image}.boxes"]
        for phrase, expected in zip(texts["tokens_positive"][image], outputs[f"flickr{image}"], strict=True):
            order = np.argsort(-phrase_scores(probs[image, :, : len(spans)], owned(spans, phrase)), kind="stable")
            assert boxes[order] == pytest.approx(expected, rel=0, abs=1e-4)
