"""CPU seconds from COCO's two JSON files to the twelve numbers, ours beside pycocotools, in one process, runs alternating.

The set is generated: 80 classes, about seven objects a picture, a few of them crowds, and 100 detections a picture as a detector without
a threshold leaves them, some near an object and most anywhere; scores of three digits, so that many are equal. Ours is `evaluate_files`,
its checks of every entry included; the peer loads, evaluates, accumulates and summarises as its own example does. `--images` sets the size.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WIDTH, HEIGHT, CLASSES, DETECTIONS = 640, 480, 80, 100
CLOSE = 1e-12


def say(line: str) -> None:
    print(line, file=sys.stderr)


def random_box(rng: np.random.Generator) -> list[float]:
    side = np.exp(rng.uniform(np.log(8), np.log(400), 2))
    return [*(rng.random(2) * (np.array([WIDTH, HEIGHT]) - side).clip(1)).tolist(), *side.tolist()]


def near(box: list[float], rng: np.random.Generator) -> list[float]:
    corner, side = np.array(box[:2]), np.array(box[2:])
    return [*(corner + rng.normal(size=2) * side * 0.1).tolist(), *(side * np.exp(rng.normal(size=2) * 0.1)).tolist()]


def rounded(box: list[float]) -> list[float]:
    return [round(x, 2) for x in box]


def picture(image_id: int, rng: np.random.Generator) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Objects and detections of one picture."""
    several = rng.integers(1, CLASSES + 1, size=4)
    objects = [(int(rng.choice(several)), random_box(rng)) for _ in range(rng.integers(0, 15))]
    truth: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": c, "bbox": rounded(box), "area": 0.7 * box[2] * box[3], "iscrowd": int(rng.random() < 0.02)}
        for c, box in objects
    ]
    made = []
    for _ in range(DETECTIONS):
        if objects and rng.random() < 0.4:
            category, box = objects[rng.integers(len(objects))]
            box, score = near(box, rng), rng.beta(3, 3)
        else:
            category, box, score = int(rng.integers(1, CLASSES + 1)), random_box(rng), rng.beta(1, 6)
        made.append({"image_id": image_id, "category_id": category, "bbox": rounded(box), "score": round(float(score), 3)})
    return truth, made


def write(folder: pathlib.Path, num_images: int) -> tuple[pathlib.Path, pathlib.Path]:
    rng = np.random.default_rng(0)
    ids = (np.arange(num_images) * 7 + 3).tolist()
    parts = [picture(i, rng) for i in ids]
    annotations = [entry | {"id": number} for number, entry in enumerate((entry for truth, _ in parts for entry in truth), 1)]
    images = [{"id": i, "width": WIDTH, "height": HEIGHT} for i in ids]
    categories = [{"id": c, "name": f"class {c}"} for c in range(1, CLASSES + 1)]
    truth, made = folder / "instances.json", folder / "results.json"
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    made.write_text(json.dumps([entry for _, found in parts for entry in found]))
    return truth, made


def ours(truth: pathlib.Path, made: pathlib.Path) -> list[float]:
    from pellucid.metrics.coco_files import evaluate_files

    return list(evaluate_files(truth, made).values())


def peer(truth: pathlib.Path, made: pathlib.Path) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        evaluator = COCOeval(known, known.loadRes(str(made)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return np.where(evaluator.stats == -1, np.nan, evaluator.stats).tolist()


def timed(work: Callable[..., list[float]], *files: pathlib.Path) -> tuple[float, list[float]]:
    start = time.process_time()
    numbers = work(*files)
    return time.process_time() - start, numbers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1000, help="pictures in the generated set")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small = write(pathlib.Path(folder), 2)
        ours(*small), peer(*small)  # neither pays for first use
        files = write(pathlib.Path(folder), chosen.images)
        rounds = [(timed(ours, *files), timed(peer, *files)) for _ in range(chosen.rounds)]
    for (mine_s, mine), (peer_s, theirs) in rounds:
        say(f"ours {mine_s:6.2f} s  AP {mine[0]:.12f}   peer {peer_s:6.2f} s  AP {theirs[0]:.12f}")
    equal = all(np.allclose(mine, theirs, rtol=0, atol=CLOSE, equal_nan=True) for (_, mine), (_, theirs) in rounds)
    result = {
        "name": "coco_ap",
        "ours": statistics.median(mine_s for (mine_s, _), _ in rounds),
        "peer": statistics.median(peer_s for _, (peer_s, _) in rounds),
        "peer_name": f"pycocotools {importlib.metadata.version('pycocotools')}",
        "unit": "CPU s",
        "ratio": statistics.median(peer_s / mine_s for (mine_s, _), (peer_s, _) in rounds),
        "equal": equal,
        "images": chosen.images,
        "detections": chosen.images * DETECTIONS,
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
