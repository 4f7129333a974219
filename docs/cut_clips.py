"""Cuts a folder of films into a small set of videos to classify: `python docs/cut_clips.py VIDEOS OUT` writes OUT/train and OUT/test.

Each film is a class. Its training clips lie in the first part of it, its test clips in the last, a little apart, so that no frame is in
both. Every clip is another cut: where it begins, how long it is, which part of the picture it shows, how fast it plays, and whether
it is mirrored are drawn with a seed.
"""

import argparse
import pathlib
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pellucid.data import sources, video
from pellucid.errors import BadData, PellucidError

SPLITS = {"train": (0.0, 0.68), "test": (0.72, 1.0)}  # the part of a film that clips of each side come from
RATE = Fraction(15)
SPEEDS = (0.75, 1.5)  # of the film's own
LENGTHS_S = (1.0, 2.0)  # of a clip
SHOWN = (0.7, 1.0)  # of a picture's sides
SIDE, ROOM = 128, 192  # shorter side of a clip's pictures; of those that are held in memory


@dataclass(frozen=True)
class Film:
    """The frames of a film, small, and when each is shown."""

    name: str
    times_s: Sequence[float]
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]]

    @property
    def length_s(self) -> float:
        """Until its last frame ends."""
        steps = max(1, len(self.times_s) - 1)
        return self.times_s[-1] * (1 + 1 / steps)


def films(folder: pathlib.Path, least_s: float) -> list[Film]:
    """The films of a folder that are long enough, by name."""
    paths = [path for path in sorted(sources.folder_of(str(folder)).iterdir()) if sources.is_video(path.name)]
    stems = [path.stem for path in paths]
    found = [load(path, path.stem if stems.count(path.stem) == 1 else path.name.replace(".", "_")) for path in paths]
    kept = [film for film in found if film.length_s >= least_s]
    for film in found:
        if film not in kept:
            sys.stderr.write(f"{film.name}: {film.length_s:.1f} s long, left out; --least {least_s:g} asks for more\n")
    if len(kept) < 2:
        raise BadData(f"{folder}: {len(kept)} films of {least_s:g} s or more; expected two at least")
    return kept


def load(path: pathlib.Path, name: str) -> Film:
    """A film with pictures of a shorter side of ROOM pixels at most."""
    shown = [(frame.time_s, shrunk(frame.picture, ROOM)) for frame in video.frames(path)]
    return Film(name, [time_s for time_s, _ in shown], [picture for _, picture in shown])


def shrunk(picture: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The picture with a shorter side of so many pixels, and even sides; never enlarged by `ROOM`."""
    height, width, _ = picture.shape
    scale = side / min(height, width)
    if scale >= 1 and side == ROOM:
        return picture
    size = [2 * max(1, round(length * scale / 2)) for length in (width, height)]
    return np.asarray(Image.fromarray(picture).resize((size[0], size[1]), Image.Resampling.BILINEAR))


def cut(film: Film, part: tuple[float, float], path: pathlib.Path, draw: np.random.Generator) -> None:
    """Writes one clip of a part of the film."""
    begin, end = (share * film.length_s for share in part)
    speed, length_s = draw.uniform(*SPEEDS), draw.uniform(*LENGTHS_S)
    length_s = min(length_s, (end - begin) / speed)
    start = draw.uniform(begin, end - length_s * speed)
    height, width, _ = film.pictures[0].shape
    high, wide = (round(length * draw.uniform(*SHOWN)) for length in (height, width))
    top, left = draw.integers(0, height - high + 1), draw.integers(0, width - wide + 1)
    mirrored = draw.random() < 0.5
    with video.Writer(path, RATE) as clip:
        for step in range(max(1, round(length_s * RATE))):
            index = int(np.searchsorted(film.times_s, start + step / float(RATE) * speed, "right")) - 1
            shown = film.pictures[index][top : top + high, left : left + wide]
            clip.add(shrunk(shown[:, ::-1] if mirrored else shown, SIDE))


def write(film: Film, out: pathlib.Path, num: Mapping[str, int], seed: int) -> None:
    """The clips of one film; they do not depend on which other films there are, nor on how many clips."""
    for split, count in num.items():
        folder = out / split / film.name
        folder.mkdir(parents=True)
        for number in range(count):
            draw = np.random.default_rng([seed, zlib.crc32(f"{split}/{film.name}".encode()), number])
            cut(film, SPLITS[split], folder / f"{number:02d}.mp4", draw)


def main() -> None:
    """Reads what was asked for and writes the clips."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("videos", type=pathlib.Path, help="folder of films")
    asked.add_argument("out", type=pathlib.Path, help="folder to write, which is not there yet")
    asked.add_argument("--train", type=int, default=20, help="training clips of a class")
    asked.add_argument("--test", type=int, default=8, help="test clips of a class")
    asked.add_argument("--least", type=float, default=5.0, help="shorter films, in seconds, are left out")
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    if given.out.exists():
        asked.error(f"{given.out} is there already; name another folder, or remove it")
    try:
        found = films(given.videos, given.least)
    except PellucidError as error:
        asked.exit(error.exit_status, f"{error}\n")
    for film in found:
        write(film, given.out, {"train": given.train, "test": given.test}, given.seed)


if __name__ == "__main__":
    main()
