"""A detector from the command line: COCO's files in and out, and the numbers that other programs find in them."""

import contextlib
import io
import json
import pathlib

import pytest

from pellucid import cli, run
from pellucid.data.read import read
from pellucid.metrics.coco_files import evaluate_files
from pellucid.recipe import Data


def coco_of(rows, folder: pathlib.Path) -> pathlib.Path:
    """Generated pictures as a COCO set on disk, ids with gaps."""
    images, annotations = [], []
    ids = dict(zip(rows[0]["classes"], (3, 17, 90), strict=True))
    for i, row in enumerate(rows):
        (folder / f"{i}.png").write_bytes(row["image"])
        images.append({"id": 10 * i + 7, "file_name": f"{i}.png", "width": row["width"], "height": row["height"]})
        for o in row["objects"]:
            x0, y0, x1, y1 = o["box_xyxy"]
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": o["area"], "iscrowd": 0, "id": len(annotations) + 1}
            annotations.append({**box, "image_id": 10 * i + 7, "category_id": ids[o["label"]]})
    file = folder / "instances.json"
    categories = [{"id": key, "name": name} for name, key in ids.items()]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def by_pycocotools(truth: pathlib.Path, found: pathlib.Path) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        real = COCO(str(truth))
        counted = COCOeval(real, real.loadRes(str(found)), "bbox")
        counted.evaluate()
        counted.accumulate()
        counted.summarize()
    return counted.stats.tolist()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A detector of sixty steps and the set that it was trained on."""
    folder = tmp_path_factory.mktemp("detector")
    file = coco_of(read(Data("shapes:train?num=8")), folder)
    settings = {"loop.epochs": "60", "schedule.name": "constant"}
    done = run.train("updetr:tiny", folder / "run", settings, {"train": Data(f"coco:{file}"), "home": Data(f"coco:{file}")})
    return done, file


def test_the_run_the_file_and_pycocotools_find_the_same_numbers_in_the_same_predictions(trained, capsys):
    done, file = trained
    results = file.with_name("results.json")
    assert cli.main(["predict", str(done.folder), f"coco:{file}", "--coco", str(results)]) == 0
    entries = json.loads(results.read_text())
    assert len(entries) == 8 * done.task.settings.num_queries
    assert {e["category_id"] for e in entries} <= {3, 17, 90}
    ours, theirs = list(evaluate_files(file, results).values()), by_pycocotools(file, results)
    told = list(done.evaluate()["sets"]["home"]["metrics"].values())
    assert ours[0] > 0
    for a, b, c in zip(ours, theirs, told, strict=True):
        assert (a == pytest.approx(b, abs=1e-12)) or (a != a and b == -1)
        assert c["value"] == pytest.approx(a, abs=1e-6, nan_ok=True)


def test_results_of_pictures_without_ids_are_refused(trained, capsys):
    done, file = trained
    assert cli.main(["predict", str(done.folder), str(file.with_name("0.png")), "--coco", "x.json"]) == 2
    assert "name pictures and categories by COCO's ids" in capsys.readouterr().err


def test_a_detector_goes_to_onnx_and_says_the_same_there_for_any_batch(trained):
    done, _ = trained
    assert cli.main(["export", str(done.folder), "--to", "onnx"]) == 0
    told = json.loads((done.folder / "export" / "model.json").read_text())
    assert told["parity"]["largest_relative"] < 1e-4


def test_corruptions_become_a_table_of_average_precision(trained):
    done, _ = trained
    found = done.shift(corrupt=[3], kinds=("fog", "pixelate"), site=None, resamples=10)
    assert set(found["corruption"]["kinds"]) == {"fog", "pixelate"}
    assert next(iter(found["sets"]["home"]["metrics"])) == "AP"


def test_pre_trained_weights_begin_a_detector_and_every_key_is_told(tmp_path):
    few = Data("shapes:train?num=8")
    before = run.train(
        "updetr:shapes_pretrain", tmp_path / "before", {"loop.epochs": "1", "loop.batch_size": "8"}, {"train": few, "held out": few}
    )
    settings = {"loop.epochs": "1", "init": str(before.folder)}
    after = run.train("updetr:shapes", tmp_path / "after", settings, {"train": few, "home": few})
    told = json.loads((after.folder / "results" / "init.json").read_text())
    assert set(told["fresh"]) == {"net.class_head.weight", "net.class_head.bias"}
    assert {key.rsplit(".", 1)[0] for key in told["dropped"]} == {"net.patch_to_query"}
