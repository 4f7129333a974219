"""PieAPP: pairs of distorted pictures with how many people prefer the first, and errors of single ones for its test."""

import re
from collections.abc import Mapping

from pellucid.data import sources, tables
from pellucid.data.iqa import pairs
from pellucid.data.iqa.names import readable
from pellucid.data.iqa.pairs import SCALES, Files, Scale
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

_NAME = re.compile(r"distort_\d+_(.+)_(?:inter|intra)_[^_]+\.\w+", re.IGNORECASE)


def read(place: str, options: Mapping[str, str]) -> Rows:
    """Preferences of PieAPP's train and val, or the errors of its test.

    A row of preferences has `image`, `other` and `preference`, the share of people to whom `image` looks more like the original: the
    column that its authors filled by maximum likelihood, in the test set the one of human votes. A row of errors has a `label`: high
    is bad, 0 is the original. The authors state no range; ours is -2 to 10.

    Args:
        place: the folder of `reference_images`, `distorted_images` and `labels`, each with train, val and test.
        options: `split` train, val or test; `label` scores or preferences, of the test set alone; those of all readers.
    """
    extra: sources.Choices = {"split": ("train", "val", "test"), "label": ("scores", "preferences")}
    chosen = sources.checked("pieapp", options, {**pairs.OPTIONS, **extra})
    files, scale, split = Files(), SCALES["pieapp"].ranged(chosen), chosen.get("split", "train")
    wanted = chosen.get("label", "scores" if split == "test" else "preferences")
    if wanted == "scores" and split != "test":
        raise BadUsage(f"pieapp: label=scores: {split} has preferences alone; scores are in split=test")
    root = pairs.root_of(place, files, "reference_images", "distorted_images", "labels")
    ending = "_per_image_score.csv" if wanted == "scores" else "_pairwise_labels.csv"
    tables_there = sorted(p for p in sources.folder_of(files.find(root, f"labels/{split}")).iterdir() if p.name.endswith(ending))
    if not tables_there:
        raise BadData(f"{root}/labels/{split}: no file NAME{ending}")
    rows = []
    for path in tables_there:
        for row in tables.read("csv", str(path)):
            where, fields = row["id"], [value.strip() for key, value in row.items() if key != "id"]
            rows.append(_score(where, fields, root, files, scale) if wanted == "scores" else _pair(where, fields, root, split, files))
    return pairs.finished(rows, chosen, place)


def _score(where: str, fields: list[str], root: str, files: Files, scale: Scale) -> dict[str, object]:
    if len(fields) != 3:
        raise BadData(f"{where}: {len(fields)} columns; expected the original, a distorted picture and its score")
    reference, image = _paths(fields[0], fields[1:2], root, "test", files, where)
    score = pairs.number(fields[2], where)
    return pairs.pair(where, "pieapp", image, reference, label=scale.quality(score, where), score=score, kind=_kind(fields[1]))


def _pair(where: str, fields: list[str], root: str, split: str, files: Files) -> dict[str, object]:
    num = 4 if split == "test" else 5
    if len(fields) != num:
        raise BadData(f"{where}: {len(fields)} columns; expected {num}: the original, two distorted pictures and who prefers the first")
    reference, image, other = _paths(fields[0], fields[1:3], root, split, files, where)
    preference = pairs.number(fields[-1], where, "preference")
    if not 0 <= preference <= 1:
        raise BadData(f"{where}: preference {preference:g}; expected a share from 0 to 1")
    return pairs.pair(where, "pieapp", image, reference, other=other, preference=preference, kind=_kind(fields[1]))


def _paths(reference: str, names: list[str], root: str, split: str, files: Files, where: str) -> list[str]:
    """The original and the pictures compared, of which one may be the original itself."""
    originals = f"reference_images/{split}"
    distorted = f"distorted_images/{split}/{reference.rpartition('.')[0]}"
    asked = [(originals, reference), *((originals if name == reference else distorted, name) for name in names)]
    return [files.inside(root, f"{folder}/{name}", where) for folder, name in asked]


def _kind(name: str) -> str | None:
    match = _NAME.fullmatch(name)
    return readable(match[1]) if match else None
