"""Sets of clips whose local features somebody has made: our own shards, tables of files, folders of files, HDF5, Parquet."""

import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pellucid.data import folders, paths, sources, tables
from pellucid.data.clips import arrays, shards
from pellucid.data.clips.held import Held, load
from pellucid.data.sources import Rows, log
from pellucid.errors import BadData, BadUsage, UnsafeInput

SHARED: sources.Choices = {"modalities": (), "missing": ("refuse", "skip"), "check": ("header", "all")}
_OURS: sources.Choices = {**SHARED, "name": (), "files": (), "labels": ()}
_MODALITIES = ("rgb", "flow", "audio")  # columns, or groups of HDF5, that are known to hold features
_PICKLES = (".pkl", ".pickle", ".p", ".pt", ".pth")
_LONE = "features"

Files = dict[str, dict[str, arrays.Array]]


class Missing(BadData):
    """A clip lacks a file or an array, which may be skipped; damaged ones may not."""


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per clip: `features`, modality -> where its n x f numbers lie, and `label` or `labels` where the set tells them.

    Args:
        place: a folder of shards that pellucid wrote; a table with a column `features`, or a column a modality (`rgb`, `flow`, `audio`),
            of .npy, .npz, .h5 (FILE.h5, FILE.h5:KEY) or .safetensors files, relative to it; a Parquet file whose cells are lists of
            lists of numbers; an .h5 file of groups ID/MODALITY (or MODALITY/ID), labels being their attributes or in a table beside
            it; or a folder of class folders (or a flat one) of such files, a file a clip.
        options: `modalities=A,B` reads only these; `missing=skip` leaves out clips without all of them; `check=all` reads every number
            first, `header` only what files say of their arrays. `name`, what an array is called that has no name of its own (`features`).
            Of tables `files`, the folder of the files, and MODALITY=COLUMN; of an .h5 file `labels`, its table of id and label; of folders
            those of folder:.
    Raises:
        BadData: a file is missing or damaged, an array has not two dimensions, or widths differ; naming file and row.
        UnsafeInput: a file of Python objects.
    """
    path = pathlib.Path(place).expanduser()
    if not path.exists():
        raise BadData(f"no file {place}")
    safe(str(path))
    if path.is_dir():
        made = (path / shards.ROWS).is_file()
        chosen = sources.checked("features", options, SHARED if made else {**_OURS, **folders.OPTIONS})
        return finished(_made(path) if made else _folder(path, chosen), chosen, place)
    kind = tables.kind_of(place)
    if path.suffix.lower() in arrays.HDF5:
        chosen = sources.checked("features", options, _OURS)
        return finished(_hdf5(path, chosen), chosen, place)
    if kind is None or kind == "lines":
        endings = ", ".join(ending for ending in tables.SUFFIXES if ending != ".txt")
        raise BadUsage(f"features:{place}: expected a folder, an .h5 file, or a table ending in {endings}")
    named = {name: value for name, value in options.items() if name not in _OURS}
    chosen = sources.checked("features", {name: value for name, value in options.items() if name in _OURS}, _OURS)
    rows = _cells(str(path), named) if kind == "parquet" else None
    return finished(_table(kind, path, chosen, named) if rows is None else rows, chosen, place)


def safe(path: str) -> None:
    """Refuses files that only unpickling would read.

    Raises:
        UnsafeInput: it is one, by its ending.
    """
    if path.lower().endswith(_PICKLES):
        raise UnsafeInput(
            f"{path}: a pickle, which could run code; refused. Write its arrays as .npy, .npz or .h5; "
            "of YouTube-8M, name the TFRecord files that such pickles were made of: youtube8m:FOLDER"
        )


def finished(rows: Iterable[dict[str, Any] | Missing], options: Mapping[str, str], place: str) -> Rows:
    """The rows with the modalities that are wanted, each as wide in all of them.

    Args:
        rows: a clip each, or what is missing of it.
        options: those of `SHARED`.
    Raises:
        BadData: a clip lacks a file or a modality and may not be skipped, or widths differ.
    """
    found = list(rows)
    whole = [row for row in found if not isinstance(row, Missing)]
    asked = [name for name in options.get("modalities", "").split(",") if name]
    wanted = asked or list(dict.fromkeys(modality for row in whole for modality in row["features"]))
    kept: Rows = []
    for row in found:
        fault = row if isinstance(row, Missing) else _lacks(row, wanted)
        if fault is None and not isinstance(row, Missing):
            kept.append({**row, "features": {modality: row["features"][modality] for modality in wanted}})
        elif options.get("missing") != "skip" and fault is not None:
            raise BadData(f"{fault}; add ?missing=skip to leave such clips out")
    if not kept:
        raise BadData(f"{place}: no clip has {' and '.join(wanted) or 'features'}")
    if len(kept) < len(found):
        log.warning("%s: %d of %d clips lack features and are left out", place, len(found) - len(kept), len(found))
    _agree(kept, wanted)
    if options.get("check") == "all":
        for row in kept:
            for held in row["features"].values():
                load(held)
    return kept


def _lacks(row: Mapping[str, Any], wanted: Sequence[str]) -> Missing | None:
    lost = next((modality for modality in wanted if modality not in row["features"]), None)
    if lost is None:
        return None
    others = ", ".join(row["features"]) or "none"
    return Missing(f"{row['id']}: no features {lost!r}, there are {others}; ?modalities=A,B reads only those that are named")


def _agree(rows: Rows, modalities: Sequence[str]) -> None:
    first = rows[0]
    for modality in modalities:
        width = first["features"][modality].width
        odd = next((row for row in rows if row["features"][modality].width != width), None)
        if odd is not None:
            held = odd["features"][modality]
            told = f"{modality} has {held.width} numbers a local feature, and {width} in {first['id']}"
            raise BadData(f"{held.name}: {told}; expected one width")


# ---- tables -------------------------------------------------------------------------------------------------------


def _table(kind: str, path: pathlib.Path, chosen: Mapping[str, str], named: Mapping[str, str]) -> list[dict[str, Any] | Missing]:
    ours = {name: value for name, value in named.items() if name in tables.OPTIONS[kind]}
    rows = tables.by_number(kind, str(path), ours)
    there = list(dict.fromkeys(key for row in rows.values() for key in row))
    columns = _columns(there, {name: value for name, value in named.items() if name not in ours}, str(path))
    folder = os.path.expanduser(chosen.get("files", str(path.parent)))
    listed = paths.lists([{"id": f"{path.name}:{number}", **_clip(row)} for number, row in rows.items()], {"labels": "labels"})
    files: Files = {}
    found: list[dict[str, Any] | Missing] = []
    for row in listed:
        try:
            found.append({**_rest(row, columns), "features": _features(row, columns, folder, files, chosen.get("name", _LONE))})
        except Missing as fault:
            found.append(fault)
    return found


def _clip(row: Mapping[str, Any]) -> dict[str, Any]:
    """A table's own `id`, which its row in the file goes before, is the clip's name."""
    return {("clip" if key == "id" else key): value for key, value in row.items()}


def _rest(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row without its files, a label that is a number being a name."""
    kept = {key: value for key, value in row.items() if key not in columns.values()}
    if isinstance(kept.get("label"), int):
        kept["label"] = str(kept["label"])
    return kept


def _columns(there: Sequence[str], asked: Mapping[str, str], place: str) -> dict[str, str]:
    """Modality -> column; under "" the column of files that hold all modalities."""
    for modality, column in asked.items():
        if column not in there:
            raise BadUsage(f"{place}: {modality}={column}: no such column; the columns are {', '.join(there)}")
    if asked:
        return dict(asked)
    found = {name: name for name in _MODALITIES if name in there}
    if found or _LONE in there:
        return found or {"": _LONE}
    raise BadData(f"{place}: no column features, {' or '.join(_MODALITIES)}; the columns are {', '.join(there)}: name one with ?rgb=COLUMN")


def _features(row: Mapping[str, Any], columns: Mapping[str, str], folder: str, files: Files, lone: str) -> dict[str, Held]:
    found: dict[str, Held] = {}
    for modality, column in columns.items():
        where = row["id"]
        value = row.get(column)
        if value in (None, ""):
            raise Missing(f"{where}: no file under {column}")
        if not isinstance(value, str):
            raise BadData(f"{where}: expected the path of a file under {column}, found {str(value)[:40]}")
        path, key = _place(os.path.join(folder, os.path.expanduser(value)))
        keys = _chosen(_opened(path, where, files), key, str(row.get("clip", "")), modality, lone)
        if not keys:
            some = ", ".join(list(files[path])[:10]) or "none"
            wanted = " or ".join(dict.fromkeys(name for name in (key, str(row.get("clip", "")), modality) if name)) or "of local features"
            raise Missing(f"{where}: {path} has no array {wanted}; there are {some}")
        found |= {name: arrays.held(path, key, files[path][key], where) for name, key in keys.items()}
    return found


def _place(value: str) -> tuple[str, str]:
    """Path and key of FILE.h5:KEY."""
    match = re.fullmatch(r"(.+\.(?:h5|hdf5|hdf|npz|safetensors)):(.+)", value, re.IGNORECASE)
    return (match[1], match[2].strip("/")) if match and not os.path.exists(value) else (value, "")


def _opened(path: str, where: str, files: Files) -> dict[str, arrays.Array]:
    """What lies in a file, each asked once."""
    safe(path)
    if path not in files:
        if not os.path.isfile(path):
            raise Missing(f"{where}: no file {path}")
        try:
            files[path] = arrays.found(path)
        except (BadData, UnsafeInput) as fault:
            raise type(fault)(f"{where}: {fault}") from None
    return files[path]


def _chosen(there: Mapping[str, arrays.Array], key: str, clip: str, modality: str, lone: str) -> dict[str, str]:
    """Modality -> the array of a file that holds it for this clip: under the key or the clip's name, or in a file of the clip's own."""
    if modality:
        bases = [base for base in (key, clip) if base]
        names = [name for base in bases for name in (base, f"{base}/{modality}", f"{modality}/{base}")]
        found = next((name for name in (*names, *([] if key else (modality, ""))) if name in there), None)
        alone = next(iter(there)) if len(there) == 1 and not key and "/" not in next(iter(there)) else None
        return {modality: name} if (name := alone if found is None else found) is not None else {}
    for base in (name for name in (key, clip) if name):
        if base in there:
            return {lone: base}
        below = {name.removeprefix(f"{base}/"): name for name in there if name.startswith(f"{base}/")}
        above = {name.removesuffix(f"/{base}"): name for name in there if name.endswith(f"/{base}")}
        if below or above:
            return below or above
    return {} if key else {name or lone: name for name in there if "/" not in name}


def _cells(path: str, named: Mapping[str, str]) -> list[dict[str, Any] | Missing] | None:
    """The rows of a Parquet file that holds the numbers themselves; None of another."""
    from pellucid.data.clips import cells

    columns = cells.nested(path)
    if not columns:
        return None
    for modality, column in named.items():
        if column not in columns:
            raise BadUsage(f"{path}: {modality}={column}: no column of lists of lists of numbers; there are {', '.join(columns)}")
    wanted = dict(named) or {column: column for column in columns}
    label = pathlib.Path(path).name
    rows = cells.plain(path, columns)
    held = {modality: cells.held(path, column, label) for modality, column in wanted.items()}
    return [
        {**_rest({**_clip(row), "id": f"{label}:{n + 1}"}, {}), "features": {modality: there[n] for modality, there in held.items()}}
        for n, row in enumerate(rows)
    ]


# ---- folders ------------------------------------------------------------------------------------------------------


def _made(folder: pathlib.Path) -> list[dict[str, Any] | Missing]:
    """The rows of shards that we wrote."""
    index, path = shards.index(folder), folder / shards.ROWS
    rows: list[dict[str, Any] | Missing] = []
    classes: dict[tuple[str, ...], tuple[str, ...]] = {}
    for number, row in tables.by_number("jsonl", str(path)).items():
        where, key = f"{path}:{number}", row.get("key")
        if not isinstance(key, str):
            raise BadData(f"{where}: no key of features")
        if key not in index:
            rows.append(Missing(f"{where}: no features of key {key} in {folder}"))
            continue
        there = index[key]
        features = {modality: held for modality, (held, _) in there.items()}
        times = {modality: shards.moments(times) for modality, (_, times) in there.items()}
        more = {name: value for name, value in row.items() if name != "key"}
        if isinstance(more.get("classes"), list):
            more["classes"] = classes.setdefault(tuple(more["classes"]), tuple(more["classes"]))  # one for all rows
        rows.append({"id": where, **more, "features": features, "times_s": times})
    return rows


def _folder(root: pathlib.Path, chosen: Mapping[str, str]) -> list[dict[str, Any] | Missing]:
    """The rows of class folders, or of a flat folder, of files of arrays."""
    base = folders.chosen_split(root, chosen.get("split"))
    files, below = folders.walk(base)
    pickled = next((name for name in files if name.lower().endswith(_PICKLES)), None)
    is_array: Callable[[str], bool] = lambda name: name.lower().endswith(arrays.ENDINGS)  # noqa: E731
    if pickled and not any(map(is_array, files)):
        safe(f"{base}/{pickled}")
    kept = folders.of_kind(files, str(base), "files of features", is_array, f"files ending in {', '.join(arrays.ENDINGS)}")
    pairs = folders.arrange(kept, below, chosen, str(base), "files of features")
    rows = [_file(f"{base.name}/{name}", f"{base}/{name}", chosen.get("name", _LONE)) for name, _ in pairs]
    return list(folders.label(rows, [folder for _, folder in pairs], chosen))


def _file(where: str, path: str, lone: str) -> dict[str, Any]:
    there = _opened(path, where, {})
    return {"id": where, "features": {name or lone: arrays.held(path, name, array, where) for name, array in there.items()}}


# ---- one HDF5 file ------------------------------------------------------------------------------------------------


def _hdf5(path: pathlib.Path, chosen: Mapping[str, str]) -> list[dict[str, Any] | Missing]:
    """The rows of a file of groups ID/MODALITY, MODALITY/ID, or data sets ID."""
    there = arrays.found(str(path))
    clips: dict[str, dict[str, str]] = {}
    for name in there:
        first, _, last = name.rpartition("/")
        clip, modality = (last, first) if first in _MODALITIES or not first else (first, last)
        clips.setdefault(clip, {})[modality or chosen.get("name", _LONE)] = name
    labels = _labels(path, chosen, clips)
    rows: list[dict[str, Any] | Missing] = []
    for clip, names in clips.items():
        where = f"{path.name}:{clip}"
        features = {modality: arrays.held(str(path), name, there[name], where) for modality, name in names.items()}
        if labels and clip not in labels:
            rows.append(Missing(f"{where}: no row of the table of labels has this id"))
        else:
            rows.append({"clip": clip, **labels.get(clip, {}), "id": where, "features": features})
    return rows


def _labels(path: pathlib.Path, chosen: Mapping[str, str], clips: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """What a table says of each clip by its id, else what attributes of the file do."""
    table = chosen.get("labels") or next((str(p) for end in (".csv", ".tsv", ".jsonl") if (p := path.with_suffix(end)).is_file()), "")
    if not table:
        return _attributes(path, clips)
    kind = tables.kind_of(table)
    if kind is None or kind == "lines":
        raise BadUsage(f"features: labels={table}: expected a table ending in .csv, .tsv, .jsonl, .json or .parquet")
    rows = tables.by_number(kind, table)
    column = next((name for name in ("id", "clip", "video_id", "name") if name in rows[min(rows)]), None)
    if column is None:
        raise BadData(f"{table}: no column id; the columns are {', '.join(rows[min(rows)])}")
    listed = paths.lists([{**row, "id": str(row[column])} for row in rows.values()], {"labels": "labels"})
    if (twice := sources.repeated(row["id"] for row in listed)) is not None:
        raise BadData(f"{table}: two rows have the id {twice!r}")
    if not any(row["id"] in clips for row in listed):
        raise BadData(f"{table}: no id of it is in {path}, as {listed[0]['id']!r}; there are {', '.join(list(clips)[:3])}")
    return {row["id"]: _rest(row, {}) for row in listed}


def _attributes(path: pathlib.Path, clips: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    found = {}
    with arrays.hdf5(str(path)) as file:
        for clip, names in clips.items():
            owner = file[clip] if clip in file else file[next(iter(names.values()))]
            told = {name: owner.attrs[name] for name in ("label", "labels", "group") if name in owner.attrs}
            if told:
                found[clip] = {name: [_text(v) for v in value] if name == "labels" else _text(value) for name, value in told.items()}
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
