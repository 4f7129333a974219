"""What a run keeps of the objects it found, for its page."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from pellucid import showing
from pellucid.evaluate import Evaluation, evaluate
from pellucid.metrics.coco import coco_metrics
from toy_detection import Detector, scene


def examples(count):
    rows = []
    for i in range(count):
        into = io.BytesIO()
        Image.fromarray(scene(80, 64, red=(8, 16, 12), blue=(48, 4, 16))).save(into, "PNG")
        places = {"red": [8, 16, 20, 28], "blue": [48, 4, 64, 20], "green": [0, 40, 20, 60]}  # there is no green one to be seen
        things = [
            {"label": name, "box_xyxy": box, "area": 100.0, "crowd": False, "id": 3 * i + k} for k, (name, box) in enumerate(places.items())
        ]
        size = {"image_id": i, "width": 80, "height": 64, "classes": Detector.labels, "category_ids": (1, 2, 3)}
        rows.append({"id": f"{i}", "image": into.getvalue(), "objects": things, **size})
    return rows


class Measured(Detector):
    def metrics(self):
        return coco_metrics()


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(Measured(), examples(20))


def test_precision_by_class_is_the_metrics_own_and_an_unseen_class_has_none(found):
    told = showing.objects(Measured(), {"home": found})["classes"]["home"]
    assert told == {"red": pytest.approx(1), "green": pytest.approx(0), "blue": pytest.approx(1)}
    assert found.metrics["AP"] == pytest.approx(np.mean(list(told.values())))


def test_pictures_are_from_all_over_the_first_set_with_what_was_found_and_what_is_there(found):
    told = showing.objects(Measured(), {"home": found, "away": found})
    assert told["set"] == "home" and list(told["classes"]) == ["home", "away"]
    assert [p["id"] for p in told["pictures"]] == ["0", "2", "5", "7", "10", "12", "15", "17"]
    one = told["pictures"][0]
    assert [o["label"] for o in one["found"]] == ["blue", "red"] and one["found"][1]["box_xyxy"] == [8, 16, 20, 28]
    assert [o["label"] for o in one["objects"]] == ["red", "blue", "green"] and (one["width"], one["height"]) == (80, 64)


def test_what_finds_no_objects_keeps_none(found):
    assert showing.objects(Measured(), {"home": dataclasses.replace(found, predictions=["cat"] * 20)}) is None


def test_a_run_keeps_objects_under_their_name(found):
    assert showing.shown(Measured(), {"home": found}).keys() == {"objects"}
