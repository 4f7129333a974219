"""Pictures per CPU second from JPEG files to DETR's training views with boxes, ours beside torchvision's v2 transforms, one thread.

The 128 photographs of `$PELLUCID_DATA/coco128` (640 x 480) with their boxes; where they are not there, generated pictures of that size.
Both decode, mirror, resize and, every other time, cut a part out of a smaller copy before; both give uint8 pictures and boxes in pixels.
The peer reads with torchvision's own decoder into tensors, its fastest way; `pillow` beside is the ratio to the same transforms on
Pillow's pictures, and `measured` the ratio to the peer where each picture is only brought to 800 pixels. Both programs in one process,
rounds alternating. `equal`: after the same steps no pixel is further off than 3 of 255, and boxes are the same.
"""

import importlib.metadata
import io
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import io as tv_io
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from pellucid.data import boxes
from pellucid.data.box_views import BoxTrainView, BoxView
from pellucid.data.read import read
from pellucid.recipe import Data

ROUNDS, COMPARED = 5, 32
VIEW = BoxTrainView()
Example = dict[str, Any]
Side = Callable[[Example, int], Any]


def say(line: str) -> None:
    print(line, file=sys.stderr)


class RandomPart(v2.Transform):
    """A part whose width and height are each drawn from a range: torchvision has no such transform, DETR's authors wrote theirs."""

    def __init__(self, least: int, most: int):
        super().__init__()
        self.least, self.most = least, most

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The part, drawn."""
        height, width = tv.get_size(next(x for x in flat_inputs if isinstance(x, (Image.Image, tv_tensors.Image))))
        w, h = (random.randint(min(self.least, side), min(self.most, side)) for side in (width, height))
        return {"top": random.randint(0, height - h), "left": random.randint(0, width - w), "height": h, "width": w}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The input cut."""
        return tv.crop(inpt, **params)


def torchvisions(training: bool) -> v2.Transform:
    if not training:
        return v2.RandomShortestSize([800], max_size=1333, antialias=True)
    last = v2.RandomShortestSize(list(VIEW.shorts), max_size=VIEW.longest, antialias=True)
    part = v2.Compose([v2.RandomShortestSize(list(VIEW.crop_shorts), antialias=True), RandomPart(*VIEW.crop_range)])
    cut = v2.RandomApply([part], VIEW.crop_prob)
    return v2.Compose([v2.RandomHorizontalFlip(VIEW.flip), cut, last, v2.ClampBoundingBoxes(), v2.SanitizeBoundingBoxes()])


def tensor_of(example: Example) -> Any:
    return tv_tensors.Image(tv_io.decode_image(tv_io.read_file(example["image"]), mode="RGB"))


def pillow_of(example: Example) -> Any:
    with Image.open(example["image"]) as image:
        return image.convert("RGB")


def peer(opened: Callable[[Example], Any], training: bool = True) -> Side:
    transform = torchvisions(training)

    def seen(example: Example, seed: int) -> Any:
        picture = opened(example)
        found = tv_tensors.BoundingBoxes(
            torch.tensor([o["box_xyxy"] for o in example["objects"]], dtype=torch.float32).reshape(-1, 4),
            format="XYXY",
            canvas_size=(example["height"], example["width"]),
        )
        target = {"boxes": found, "labels": torch.arange(len(example["objects"]))}
        picture, target = transform(picture, target)
        return (tv.pil_to_tensor(picture) if isinstance(picture, Image.Image) else picture), target

    return seen


def generated(folder: str) -> list[Example]:
    """Pictures of COCO's size with waves and noise in them, as JPEG files, and seven boxes each."""
    rng, found = np.random.default_rng(0), []
    y, x = np.mgrid[:480, :640].astype(np.float32)
    for i in range(64):
        waves = [128 + 90 * np.sin(x / rng.uniform(10, 80) + k) * np.cos(y / rng.uniform(10, 80)) for k in range(3)]
        values = np.stack(waves, -1) + rng.normal(0, 12, (480, 640, 1))
        held = io.BytesIO()
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(held, "JPEG", quality=90)
        path = pathlib.Path(folder) / f"{i}.jpg"
        path.write_bytes(held.getvalue())
        corners = np.sort(rng.uniform((0, 0), (640, 480), (7, 2, 2)), axis=1).reshape(7, 4)
        objects = [{"label": "x", "box_xyxy": box, "area": 1.0, "crowd": False} for box in corners.tolist()]
        found.append({"id": str(i), "image": str(path), "width": 640, "height": 480, "objects": objects})
    return found


def run(side: Side, examples: list[Example], seed: int) -> float:
    random.seed(seed)
    torch.manual_seed(seed)
    start = time.process_time()
    for i, example in enumerate(examples):
        side(example, len(examples) * seed + i)
    return time.process_time() - start


def rates(sides: dict[str, Side], examples: list[Example]) -> dict[str, float]:
    """Pictures per CPU second of each, the median of alternating rounds."""
    for side in sides.values():
        run(side, examples[:16], 99)
    rounds = [{name: run(side, examples, seed) for name, side in sides.items()} for seed in range(ROUNDS)]
    return {name: len(examples) / statistics.median(r[name] for r in rounds) for name in sides}


def agree(example: Example, seed: int) -> bool:
    """Whether the same steps by torchvision's functions lead to the same pixels and boxes."""
    steps = boxes.draw_steps((example["width"], example["height"]), VIEW, random.Random(seed))
    framed = boxes.train_boxes(example, VIEW, seed)
    picture = tensor_of(example)
    corners = torch.tensor([example["objects"][i]["box_xyxy"] for i in framed.kept], dtype=torch.float32).reshape(-1, 4)
    found = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=picture.shape[1:])
    for step in steps:
        if isinstance(step, boxes.Mirror):
            picture, found = tv.horizontal_flip(picture), tv.horizontal_flip(found)
        elif isinstance(step, boxes.Crop):
            where = step.top, step.left, step.height, step.width
            picture, found = tv.crop(picture, *where), tv.clamp_bounding_boxes(tv.crop(found, *where))
        else:
            picture, found = (tv.resize(x, [step.height, step.width], antialias=True) for x in (picture, found))
    difference = (picture.int() - framed.picture.int()).abs()
    return bool(difference.max() <= 3) and torch.allclose(found.as_subclass(torch.Tensor), framed.boxes_xyxy, rtol=0, atol=1e-2)


def main() -> int:
    torch.set_num_threads(1)
    place = pathlib.Path(os.environ.get("PELLUCID_DATA", "data")).expanduser() / "coco128"
    with tempfile.TemporaryDirectory() as folder:
        real = place.is_dir()
        examples = read(Data(f"coco:{place}?split=train2017")) if real else generated(folder)
        return measured(examples, "coco128" if real else "generated")


def measured(examples: list[Example], pictures: str) -> int:
    training: dict[str, Side] = {
        "ours": lambda e, seed: boxes.train_boxes(e, VIEW, seed),
        "tensors": peer(tensor_of),
        "pillow": peer(pillow_of),
    }
    found = rates(training, examples)
    testing: dict[str, Side] = {"ours": lambda e, seed: boxes.test_boxes(e, BoxView()), "tensors": peer(tensor_of, training=False)}
    tested = rates(testing, examples)
    same = [agree(example, seed) for seed, example in enumerate(examples[:COMPARED])]
    say(f"{pictures}, training: " + ", ".join(f"{name} {rate:.0f}/s" for name, rate in found.items()))
    say(f"{pictures}, measuring: " + ", ".join(f"{name} {rate:.0f}/s" for name, rate in tested.items()))
    say(f"the same steps give the same on {sum(same)} of {len(same)} pictures")
    result = {
        "name": "detection_loader",
        "ours": found["ours"],
        "peer": found["tensors"],
        "peer_name": f"torchvision {importlib.metadata.version('torchvision')} v2 transforms on tensors",
        "unit": "pictures per CPU s",
        "ratio": found["ours"] / found["tensors"],
        "equal": all(same),
        "pictures": pictures,
        "pillow": found["ours"] / found["pillow"],
        "measured": tested["ours"] / tested["tensors"],
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
