"""Draws docs/quality.png from a run: where it says that quality is lost in two drawn pictures, one spoiled in one place only.

`python docs/quality.py runs/photos`
"""

import pathlib
import sys
import tempfile

import torch
from corruptions import scene
from einops import rearrange
from PIL import Image
from torch import Tensor

import pellucid
from pellucid.data.distort import distort

SPOILED = (slice(None), slice(100, 180), slice(120, 220))  # rows and columns of the place


def saved(picture: Tensor, path: pathlib.Path) -> str:
    """The path, the picture in it."""
    Image.fromarray(rearrange(picture, "c h w -> h w c").numpy()).save(path)
    return str(path)


def main(run: pathlib.Path) -> None:
    """Explains both pictures by two methods."""
    reference = scene()[0]
    spot = reference.clone()
    spot[SPOILED] = distort(reference, "white_noise", 5, 0)[SPOILED]
    pictures = {"spot": spot, "blurred": distort(reference, "gaussian_blur", 3, 0)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        beside = saved(reference, folder / "reference.png")
        rows = [{"id": name, "image": saved(p, folder / f"{name}.png"), "reference": beside} for name, p in pictures.items()]
        torch.manual_seed(0)
        found = pellucid.load(run).explain(rows, methods=("integrated_gradients", "occlusion"))
        found.save(pathlib.Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
