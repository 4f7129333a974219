"""Hugging Face datasets: a folder saved by the library, a folder of data files, or a name on the hub."""

import pathlib
from collections.abc import Mapping
from typing import Any

from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage

_OPTIONS = ("config", "split", "revision")


def read(place: str, options: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of one split; integer classes come back as their names, unlabelled ones (-1) as None.

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
    names = {column: f.names for column, f in split.features.items() if isinstance(f, datasets.ClassLabel)}
    rows = split.with_format(None).to_list()
    for row in rows:
        for column, known in names.items():
            index = row[column]
            row[column] = None if index is None or index < 0 else known[index]
    stem = pathlib.PurePath(place).name
    return [{**row, "id": f"{stem}:{number}"} for number, row in enumerate(rows, 1)]
