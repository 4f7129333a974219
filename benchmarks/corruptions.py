"""CPU seconds of the 15 + 4 corruptions of pictures, ours beside the package imagecorruptions, in one process, one thread, alternating.

The same pictures of 224 px for both, severity 3. On current numpy and scikit-image three kinds of the package crash (they call
`numpy.float_` and an argument that are gone): `ratio` is over the kinds that work as installed; with the two names given back,
`ratio_all` is over all 19. `equal`: at every severity of every kind, means and deviations of the copies and their mean distance from
the clean picture agree (of fog and motion, which draw few numbers, on the same draws). Left out of that, and told: frost, whose
photographs we replace, and the elastic transform, which the package defines otherwise than ImageNet-C (no tilt, other numbers).
"""

import importlib.metadata
import json
import os
import pathlib
import statistics
import sys
import time
import warnings

import numpy as np
import torch
from PIL import Image

SIDE, NUM, ROUNDS, SEVERITY = 224, 8, 3, 3
CLOSE = (2.0, 2.0, 2.0)  # levels of 255: mean, deviation, distance from the clean picture
OTHERWISE = ("frost", "elastic_transform")
SAME_DRAWS = ("fog", "motion_blur")  # few numbers are drawn, and in the same order: both get the same


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def pictures() -> np.ndarray:
    """Photographs of the reference data where it is, else clouds and rectangles: b h w 3."""
    folder = pathlib.Path(os.environ.get("PELLUCID_DATA", "")) / "imagenet_sample" / "images"
    files = sorted(folder.glob("*"))[:: max(1, len(list(folder.glob("*"))) // NUM)][:NUM] if folder.is_dir() else []
    if len(files) == NUM:
        say(f"{NUM} photographs")
        return np.stack([_cropped(Image.open(file).convert("RGB")) for file in files])
    say(f"{NUM} generated pictures ($PELLUCID_DATA names no folder with imagenet_sample)")
    from pellucid.data.corrupt.filters import plasma

    rng = np.random.default_rng(0)
    found = np.stack([[plasma(256, 2.2, rng)[:SIDE, :SIDE] for _ in range(3)] for _ in range(NUM)]).transpose(0, 2, 3, 1) * 255
    for image in found:
        for top, left, high, wide in rng.integers(10, 110, (6, 4)):
            image[top : top + high, left : left + wide] = rng.uniform(0, 255, 3)
    return found.astype(np.uint8)


def _cropped(image: Image.Image) -> np.ndarray:
    left, top = ((side - SIDE) // 2 for side in image.size)
    return np.array(image.crop((left, top, left + SIDE, top + SIDE)))


def peer():
    """The package, and what must be given back to it before all of it works."""
    import cv2

    cv2.setNumThreads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from imagecorruptions import corruptions

    def give_back() -> None:
        np.float_ = np.float64
        blur = corruptions.gaussian
        corruptions.gaussian = lambda x, *args, multichannel=False, **named: blur(
            x, *args, channel_axis=-1 if multichannel else None, **named
        )

    return corruptions, give_back


def theirs(module, kind: str, severity: int, images: np.ndarray) -> np.ndarray:
    """Copies by the package, as its `corrupt` makes them."""
    return np.stack([np.uint8(getattr(module, kind)(Image.fromarray(image), severity)) for image in images])


def ours(kind: str, severity: int, images: torch.Tensor) -> torch.Tensor:
    from pellucid.data.corrupt.pictures import corrupt_images

    return corrupt_images(images, kind, severity, range(len(images)))


def ours_on_their_draws(kind: str, severity: int, images: torch.Tensor, seed: int) -> torch.Tensor:
    """Copies from the stream that `np.random.seed` starts."""
    from pellucid.data.corrupt import PICTURES, filters
    from pellucid.data.corrupt.pictures import APPLY

    rng = np.random.RandomState(seed)
    level = PICTURES[kind].levels[SIDE][severity - 1]
    return torch.stack([filters.cut(APPLY[kind](image, level, rng)) for image in images])


def timed(work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def working(module, images: np.ndarray, kinds: list[str]) -> list[str]:
    """Kinds that do not crash."""
    found = []
    for kind in kinds:
        try:
            theirs(module, kind, SEVERITY, images[:1])
            found.append(kind)
        except (AttributeError, TypeError) as error:
            say(f"imagecorruptions {kind}: {type(error).__name__}: {str(error).splitlines()[0]}")
    return found


def numbers(copies: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Mean, deviation, distance from the clean pictures, in levels."""
    copies = copies.astype(np.float64)
    return np.array([copies.mean(), copies.std(), np.abs(copies - clean).mean()])


def agree(module, kinds: list[str], clean: np.ndarray, images: torch.Tensor) -> bool:
    """Whether the numbers of all copies are near."""
    far = []
    for kind in kinds:
        for severity in range(1, 6):
            np.random.seed(severity)
            copies = ours_on_their_draws(kind, severity, images, severity) if kind in SAME_DRAWS else ours(kind, severity, images)
            mine, other = numbers(copies.numpy().transpose(0, 2, 3, 1), clean), numbers(theirs(module, kind, severity, clean), clean)
            if kind not in OTHERWISE and (np.abs(mine - other) > CLOSE).any():
                far.append(kind)
            shown = (f"{name} {m:.1f} / {o:.1f}" for name, m, o in zip(("mean", "std", "moved"), mine, other, strict=True))
            say(f"{kind} {severity}: {', '.join(shown)}")
    say(f"far: {', '.join(far) or 'none'}")
    return not far


def main() -> int:
    torch.set_num_threads(1)
    np.random.seed(0)
    from pellucid.data.corrupt import PICTURES

    kinds, clean = list(PICTURES), pictures()
    images = torch.from_numpy(np.ascontiguousarray(clean.transpose(0, 3, 1, 2)))
    module, give_back = peer()
    as_installed = working(module, clean, kinds)
    give_back()
    assert working(module, clean, kinds) == kinds
    for kind in kinds:
        ours(kind, SEVERITY, images)
    mine, other = {}, {}
    for kind in kinds:
        rounds = [
            (timed(lambda k=kind: ours(k, SEVERITY, images)), timed(lambda k=kind: theirs(module, k, SEVERITY, clean)))
            for _ in range(ROUNDS)
        ]
        mine[kind], other[kind] = (statistics.median(side) / NUM for side in zip(*rounds, strict=True))
        say(f"{kind}: ours {mine[kind] * 1e3:.2f} ms, theirs {other[kind] * 1e3:.1f} ms, {other[kind] / mine[kind]:.1f}x")
    mine_s, other_s = (sum(side[kind] for kind in as_installed) for side in (mine, other))
    result = {
        "name": "corruptions",
        "ours": mine_s,
        "peer": other_s,
        "peer_name": f"imagecorruptions {importlib.metadata.version('imagecorruptions')}, the {len(as_installed)} of 19 that work",
        "unit": "CPU s per picture",
        "ratio": other_s / mine_s,
        "equal": agree(module, kinds, clean, images),
        "ratio_all": sum(other.values()) / sum(mine.values()),
        "ratio_each": {kind: other[kind] / mine[kind] for kind in kinds},
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
