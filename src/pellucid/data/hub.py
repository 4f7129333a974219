"""Hugging Face datasets: a folder saved by the library, a folder of data files, or a name on the hub."""

import pathlib
from collections.abc import Mapping
from typing import Any

from pellucid.coerce import nearest
from pellucid.data import paths
from pellucid.errors import BadData, BadUsage

_OPTIONS = ("config", "split", "revision")
_CAP = 16 << 30  # bytes of pictures, which rows hold in memory


def read(place: str, options: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of one split; integer classes come back as their names, unlabelled ones (-1) as None; pictures as their bytes or paths.

    The one column of pictures, whatever its name, is also there as `image`.

    Args:
        place: a local folder, or a name on the hub such as `nyu-mll/glue`.
        options: `split` (needed where there are several), `config`, and for the hub `revision`.
    Raises:
        BadUsage: an unknown option.
        BadData: the library is not installed, or no such data can be had.
    """
    for name in options:
        if name not in _OPTIONS:
            raise BadUsage(f"hf: has no option {name!r}{nearest(name, _OPTIONS)}")
    try:
        import datasets
    except ImportError:
        raise BadData(f"hf:{place} needs the package datasets: pip install 'pellucid[datasets]'") from None
    found = _load(datasets, place, options)
    split = _chosen(found, options.get("split"), place) if isinstance(found, dict) else found
    if not len(split):
        raise BadData(f"hf:{place}: no rows")
    return _rows(datasets, split, place)


def _load(datasets: Any, place: str, options: Mapping[str, str]) -> Any:
    """A dataset, or a dict of them by split."""
    folder = pathlib.Path(place).expanduser()
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        name = str(folder) if folder.is_dir() else place
        return datasets.load_dataset(name, options.get("config"), revision=options.get("revision"))
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        known = "a folder with data files, or saved by datasets"
        if not folder.exists():
            known = "a folder that exists, or a name on the hub and a network"
        raise BadData(f"hf:{place} cannot be read: {why}; expected {known}") from None


def _chosen(found: Mapping[str, Any], split: str | None, place: str) -> Any:
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    if split is None or split not in found:
        said = f"no split {split!r}" if split else "several splits"
        raise BadData(f"hf:{place}: {said}; choose one with ?split=, of {', '.join(found)}")
    return found[split]


def _rows(datasets: Any, split: Any, place: str) -> list[dict[str, Any]]:
    stem = pathlib.PurePath(place).name
    pictures = [column for column, f in split.features.items() if isinstance(f, datasets.Image)]
    for column in pictures:
        split = split.cast_column(column, datasets.Image(decode=False))
    size = split.data.nbytes if pictures else 0
    if size > _CAP:
        raise BadData(f"hf:{place}: {size >> 30} GiB of pictures do not fit in memory; write them to folders or tar shards, and read those")
    names = {column: found for column, f in split.features.items() if (found := _class_names(datasets, f))}
    rows = split.with_format(None).to_list()
    for number, row in enumerate(rows, 1):
        for column, known in names.items():
            row[column] = _named(row[column], known)
        for column in pictures:
            row[column] = paths.source_of(row[column], place, f"{stem}:{number}")
        if len(pictures) == 1:
            row["image"] = row[pictures[0]]
    return [{**row, "id": f"{stem}:{number}"} for number, row in enumerate(rows, 1)]


def _class_names(datasets: Any, feature: Any) -> list[str] | None:
    """The names of a column of class indices, or of lists of them."""
    inner = getattr(feature, "feature", None) or (feature[0] if isinstance(feature, list) else feature)
    return inner.names if isinstance(inner, datasets.ClassLabel) else None


def _named(value: Any, known: list[str]) -> Any:
    if isinstance(value, list):
        return [known[index] for index in value]
    return None if value is None or value < 0 else known[value]
