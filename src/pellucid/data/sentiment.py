"""Four domains of rated English sentences: movie reviews (home), product reviews, tweets, editorials.

Human valence from -4 to 4, the mean of 20 raters. Source: Hutto and Gilbert 2014, VADER, ICWSM (MIT licence).
"""

import pathlib
from typing import Any

import numpy as np

from pellucid.coerce import nearest
from pellucid.data import archive, packages
from pellucid.errors import BadData, BadUsage

FILES = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
}
SPLITS = ("train", "dev", "test", "all")
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"


def read(place: str, rated: bool = False) -> list[dict[str, Any]]:
    """Sentences of `movies/train`, `movies/dev`, `movies/test`, or all of `movies`, `amazon`, `tweets`, `editorials`.

    Args:
        rated: the label is the mean rating and every row is kept; otherwise it is "positive" from 0.5 up, "negative"
            from -0.5 down, and rows between are dropped. A rated split holds the rows of the split that is not.
    """
    name, _, split = place.partition("/")
    if name not in FILES:
        raise BadUsage(f"no sentiment set {name!r}{nearest(name, list(FILES))}")
    known = SPLITS if name == "movies" else ("all",)
    if (split or "all") not in known:
        raise BadUsage(f"sentiment set {name!r} has no split {split!r}{nearest(split, known)}")
    rows = _rows(name)
    strong = [row for row in rows if abs(row["rating"]) >= 0.5]
    if split in ("", "all"):
        chosen = rows if rated else strong
    else:
        weak = [row for row in rows if abs(row["rating"]) < 0.5] if rated else []
        chosen = _split(strong, split) + _split(weak, split)
    return [{**row, "label": row["rating"] if rated else _sign(row["rating"])} for row in chosen]


def _sign(rating: float) -> str:
    return "positive" if rating > 0 else "negative"


def _split(rows: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """80/10/10 in a fixed random order."""
    order = np.arange(len(rows))
    np.random.default_rng(0).shuffle(order)
    first, second = int(0.8 * len(rows)), int(0.9 * len(rows))
    part = {"train": order[:first], "dev": order[first:second], "test": order[second:]}[split]
    return [rows[i] for i in part]


def _rows(name: str) -> list[dict[str, Any]]:
    """Every row of a domain, as {"id", "text", "rating"}."""
    path = _folder() / FILES[name]
    rows = []
    # Differs: the benchmark this follows read latin-1, but the files are UTF-8 (133 movie rows hold accented letters)
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        fields = line.split("\t")
        if len(fields) != 3:
            raise BadData(f"{path.name} row {number}: {len(fields)} fields, expected id, rating, text; delete {path.parent} to get it anew")
        rows.append({"id": f"{path.name}:{number}", "text": fields[2], "rating": float(fields[1])})
    return rows


def _folder() -> pathlib.Path:
    """The four files, extracted once."""
    folder = packages.cache_folder() / "sentiment-3.3.2"
    if not all((folder / file).is_file() for file in FILES.values()):
        outer = packages.members(packages.VADER, [_INNER])[_INNER]
        names = {f"hutto_ICWSM_2014/{file}": file for file in FILES.values()}
        with archive.whole_folder(folder) as fresh:
            for member, content in archive.read_members(outer, names, "hutto_ICWSM_2014.tar.gz").items():
                (fresh / names[member]).write_bytes(content)
        if not all((folder / file).is_file() for file in FILES.values()):
            raise BadData(f"{folder}: a file of it has been removed; delete the folder to get it anew")
    return folder
