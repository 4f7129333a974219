"""Measures the tables of weak labels, `tasks/quality/weak.json`, over generated pairs: `python docs/weak_labels.py PHOTOS...`.

Every kind at every level on as many photographs, shorter side 256; takes minutes on one core. The tables in the repository were measured
on the photographs of COCO128 and of the ImageNet sample that the reference data holds.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
import torch
from einops import rearrange

from pellucid.data.distort import KINDS
from pellucid.data.sources import is_picture
from pellucid.tasks.quality import weak
from pellucid.tasks.quality.classic import METRICS
from pellucid.tasks.quality.data import open_pair

SHORT, LEVELS = 256, (1, 2, 3, 4, 5)
NAMES = [name for name in METRICS if name not in ("vif", "lpips")]  # one has no end above its best, the other was itself trained


def measured(photos: list[pathlib.Path], times: int) -> dict[str, np.ndarray]:
    """The values of every metric that labels, over all pairs."""
    pairs = [(kind, level) for kind in KINDS for level in LEVELS for _ in range(times)]
    rows, started = [], time.monotonic()
    for at, (kind, level) in enumerate(pairs):
        photo = str(photos[at % len(photos)])
        distortion = {"kind": kind, "level": level, "seed": at}
        pair = open_pair({"id": f"{photo} {kind} {level}", "reference": photo, "image": photo, "distortion": distortion, "short": SHORT})
        image, reference = (rearrange(picture, "c h w -> 1 c h w").float() / 255 for picture in (pair.image, pair.reference))
        rows += weak.weak_scores(image, reference, NAMES)
        if at % 50 == 49:
            print(f"{at + 1} of {len(pairs)} pairs, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return {name: np.array([row[name] for row in rows]) for name in NAMES}


def main() -> None:
    """Writes the file."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("photos", nargs="+", type=pathlib.Path, help="folders of photographs")
    given.add_argument("--times", type=int, default=8, help="pairs of each kind and level")
    told = given.parse_args()
    torch.set_num_threads(1)
    photos = sorted(file for folder in told.photos for file in folder.rglob("*") if is_picture(file.name))
    np.random.default_rng(0).shuffle(photos)
    values = measured(photos, told.times)
    found = {name: weak.table_of(name, column) for name, column in values.items()}
    about = {"short": SHORT, "photographs": len(photos), "pairs": len(values["psnr"]), "command": "python docs/weak_labels.py PHOTOS..."}
    lines = [f'  "{name}": {json.dumps({"values": one.values, "qualities": one.qualities})}' for name, one in found.items()]
    text = f'{{"about": {json.dumps(about)},\n "tables": {{\n' + ",\n".join(lines) + "\n}}\n"
    pathlib.Path(weak.__file__).with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
