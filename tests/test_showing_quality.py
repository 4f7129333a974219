"""What a run keeps of judged pictures, for its page."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from pellucid import showing
from pellucid.evaluate import Evaluation
from pellucid.metrics.quality import quality_metrics
from pellucid.qualities import ALL_MISSES, ALL_POINTS, LEAST_MISSES, qualities
from toys import Sentences


def picture(grey, size=(40, 30)):
    into = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(into, "PNG")
    return into.getvalue()


def judged(count=24, worst=5, **more):
    """Quality is the label, but of one pair whose quality is that of the best."""
    rows = [
        {
            "id": f"{i}",
            "image": picture(i),
            "reference": picture(200),
            "label": i / count,
            "kind": ("blur", "noise")[i % 2],
            "level": 1 + i // 12,
        }
        for i in range(count)
    ]
    predictions = [{"quality": 1.0 if i == worst else i / count, "spread": 0.01} for i in range(count)]
    return evaluation([row | more for row in rows], predictions)


def evaluation(examples, predictions):
    metrics = quality_metrics()
    for prediction, example in zip(predictions, examples, strict=True):
        for metric in metrics.values():
            metric.update(prediction, example)
    numbers = {name: float(metric.compute()) for name, metric in metrics.items()}
    return Evaluation(numbers, dict.fromkeys(numbers, True), predictions, np.zeros(len(examples)), "value", examples=examples)


def pixel(source):
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB").getpixel((0, 0))


@pytest.fixture(scope="module")
def told():
    return qualities({"home": judged()})["sets"]["home"]


def test_the_pair_furthest_from_its_label_is_shown_first_with_its_own_pictures(told):
    first = told["misses"][0]
    assert first["id"] == "5" and first["over"] > 0.3 and len(told["misses"]) == 6
    assert pixel(first["image"]) == (5, 5, 5) and pixel(first["reference"]) == (200, 200, 200)
    assert (first["width"], first["height"]) == (40, 30)


def test_points_levels_and_kinds_are_those_of_the_rows(told):
    assert len(told["points"]) == told["n"] == 24
    assert told["points"][7] == {"id": "7", "label": pytest.approx(7 / 24, abs=1e-6), "quality": pytest.approx(7 / 24, abs=1e-6)} | {
        "spread": 0.01,
        "kind": "noise",
        "level": 1,
    }
    first, second = told["levels"]
    assert (first["n"], second["n"]) == (12, 12) and second["label"] == pytest.approx(17.5 / 24, abs=1e-6)
    assert first["quality"] - first["label"] == pytest.approx((1 - 5 / 24) / 12, abs=1e-5)
    assert told["kinds"]["blur"]["srocc"] == 1 > told["kinds"]["noise"]["srocc"]


def test_the_curve_is_told_as_labels_and_qualities_from_the_least_to_the_best():
    found = judged(worst=-1)
    for prediction in found.predictions:
        prediction["quality"] = 3 * prediction["quality"] - 1  # the curve undoes it
    curve = np.array(qualities({"home": found})["sets"]["home"]["curve"])
    assert curve[0, 1] == pytest.approx(-1) and curve[-1, 1] == pytest.approx(3 * 23 / 24 - 1)
    assert curve[:, 0] == pytest.approx((curve[:, 1] + 1) / 3, abs=0.01)


def test_of_many_rows_and_sets_few_are_drawn_the_same_each_time():
    rows = judged().examples
    many = evaluation([{**rows[i % 24], "id": str(i)} for i in range(1000)], [{"quality": i % 24 / 24} for i in range(1000)])
    sets = {str(i): many for i in range(12)}
    one, two = qualities(sets), qualities(sets)
    assert one == two
    assert len(one["sets"]["0"]["points"]) == ALL_POINTS // 12 and len(one["sets"]["3"]["misses"]) == max(LEAST_MISSES, ALL_MISSES // 12)
    kinds = [point["kind"] for point in one["sets"]["0"]["points"]]
    assert 0.3 < kinds.count("blur") / len(kinds) < 0.7  # rows come in turns of two kinds


def test_preferences_have_no_points_and_only_decided_ones_agree_or_not():
    rows = [{"id": str(i), "image": b"", "reference": b"", "other": b"", "preference": p} for i, p in enumerate((0.9, 0.1, 0.8, 0.55))]
    made = [{"quality": q, "other_quality": 0.5} for q in (0.7, 0.2, 0.3, 0.1)]
    found = qualities({"pairs": evaluation(rows, made)})["sets"]["pairs"]
    assert found["preferences"] == {"n": 4, "decided": 3, "agreement": pytest.approx(2 / 3, abs=1e-6)}
    assert found["n"] == 0 and found["points"] == [] and found["curve"] is None and found["misses"] == []


def test_labels_of_generated_pairs_are_told_as_weak_and_what_is_kept_is_json():
    found = qualities({"made": judged(8, distortion={"kind": "mean_shift", "level": 2, "seed": 0})})
    assert qualities({"read": judged(8)})["sets"]["read"]["weak"] is False
    assert found["sets"]["made"]["weak"] is True and json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_judges_no_quality_or_has_nothing_to_judge_by_keeps_none():
    found = judged(4)
    assert qualities({"home": Evaluation({}, {}, [0.5] * 4, found.scores, "value", examples=found.examples)}) is None
    bare = [{"id": "0", "image": b"", "reference": b""}]
    assert qualities({"home": Evaluation({}, {}, [{"quality": 0.5}], found.scores, "value", examples=bare)}) is None
    assert showing.shown(Sentences(), {"home": found}).keys() == {"qualities"}
