"""Multi-label sets told by tables of tags: NUS-WIDE as ASL's authors prepared it, and Open Images."""

import csv
import pathlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pellucid.data import sources, tables
from pellucid.data.sources import Rows, log
from pellucid.errors import BadData

NUSWIDE: sources.Choices = {"split": (), "images": (), "missing": ("refuse", "skip"), "classes": ()}
OPENIMAGES: sources.Choices = {"split": (), "images": (), "missing": ("refuse", "skip"), "classes": ("described", "trainable")}
_FILES = ("{split}-annotations-human-imagelabels.csv", "oidv6-{split}-annotations-human-imagelabels.csv")
_BOXABLE = "{split}-annotations-human-imagelabels-boxable.csv"
_NAMES = ("oidv6-class-descriptions.csv", "class-descriptions.csv", "class-descriptions-boxable.csv")
_COLUMNS = ("ImageID", "LabelName", "Confidence")


def nuswide(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture of a table of path, list of labels (`"['clouds', 'sky']"`) and split, whatever the columns are called.

    Args:
        options: `split` keeps the rows of one split, train or val; `images`, the folder that paths begin in (the table's own);
            `classes`, a file of all names in order, where the table does not have them all.
    Raises:
        BadData: a row is not of this kind, or a picture is missing.
    """
    chosen = sources.checked("nuswide", options, NUSWIDE)
    path = pathlib.Path(place).expanduser()
    table = tables.read("csv", place)
    columns = [key for key in table[0] if key != "id"]
    if len(columns) < 2 or ("split" in chosen and len(columns) < 3):
        raise BadData(f"{path}: the columns are {', '.join(columns)}; expected path, labels and split")
    image, labels, split = (*columns, "")[:3]
    names = _all_tags(table, labels, chosen, path)
    kept = [row for row in table if "split" not in chosen or row[split] == chosen["split"]]
    if not kept:
        there = ", ".join(sorted({row[split] for row in table}))
        raise BadData(f"{path}: no row of split {chosen.get('split')!r}; there are {there}")
    folder = chosen.get("images") or str(path.parent)
    order = {name: i for i, name in enumerate(names)}
    rows = [
        {
            "id": row["id"],
            "image": sources.inside(folder, row[image].replace("\\", "/"), row["id"]),
            "labels": sorted(tags(row[labels], row["id"]), key=order.__getitem__),
            "classes": names,
        }
        for row in kept
    ]
    return sources.with_pictures(rows, chosen.get("missing", "refuse"), place)


def tags(text: str, where: str) -> list[str]:
    """The names in `['clouds', 'sky']`, quoted or not, each once.

    Raises:
        BadData: no list.
    """
    inner = text.strip()
    if not (inner.startswith("[") and inner.endswith("]")):
        raise BadData(f"{where}: expected a list like ['clouds', 'sky'], found {text[:60]!r}")
    return list(dict.fromkeys(name for part in inner[1:-1].split(",") if (name := part.strip().strip("'\"").strip())))


def _all_tags(table: Rows, column: str, chosen: Mapping[str, str], path: pathlib.Path) -> tuple[str, ...]:
    """Every tag of the table, whatever the split, so that all splits have the same classes."""
    found = {name for row in table for name in tags(row[column], row["id"])}
    if "classes" not in chosen:
        return tuple(sorted(found))
    names = sources.ordered(sources.class_names(chosen["classes"]))
    strange = sorted(found - set(names))
    if strange:
        raise BadData(f"{path}: tag {strange[0]!r} is not one of the {len(names)} of {chosen['classes']}")
    return names


# ---- Open Images --------------------------------------------------------------------------------------------------


def openimages(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture that people have verified labels of: `labels` present, `absent`; about all other `classes` nothing is known.

    Args:
        place: a folder with `SPLIT-annotations-human-imagelabels.csv` and `class-descriptions.csv`, as published.
        options: `split` (validation); `images`, the folder of `IMAGEID.jpg`; `missing=skip` leaves out pictures without a file;
            `classes=trainable` keeps the classes of `oidv6-classes-trainable.txt` (or `classes-trainable.txt`).
    Raises:
        BadData: a file is missing, a confidence is neither 0 nor 1, or a label has no description.
    """
    chosen = sources.checked("openimages", options, OPENIMAGES)
    root, split = sources.folder_of(place), chosen.get("split", "validation")
    file = _first(root, [name.format(split=split) for name in (*_FILES, _BOXABLE)])
    names = _descriptions(root, chosen.get("classes", "described"))
    images, codes, present = _verified(file)
    folder = chosen.get("images") or next(
        (str(f) for f in (root / "images" / split, root / split, root / "images") if f.is_dir()), str(root)
    )
    return sources.with_pictures(_grouped(images, codes, present, names, (folder, file)), chosen.get("missing", "refuse"), str(file))


def _first(root: pathlib.Path, names: list[str]) -> pathlib.Path:
    found = next((f for name in names for f in (root / name, root / "annotations" / name, root / "metadata" / name) if f.is_file()), None)
    if found is None:
        raise BadData(f"{root}: no file {' or '.join(names)}")
    return found


def _descriptions(root: pathlib.Path, which: str) -> dict[str, str]:
    """Machine id -> name, distinct, in the file's order."""
    path = _first(root, list(_NAMES))
    pairs = [row for row in csv.reader(sources.read_text(path).splitlines()) if row and row != ["LabelName", "DisplayName"]]
    wrong = next((row for row in pairs if len(row) != 2), None)
    if wrong:
        raise BadData(f"{path}: {','.join(wrong)[:60]!r}; expected a machine id and a name")
    names = dict(pairs)
    if which == "trainable":
        kept = sources.read_text(_first(root, ["oidv6-classes-trainable.txt", "classes-trainable.txt"])).split()
        names = {code: names.get(code, code) for code in kept}
    # a few names stand for several things: their ids tell them apart
    shared = Counter(names.values())
    return {code: f"{name} ({code})" if shared[name] > 1 else name for code, name in names.items()}


def _verified(file: pathlib.Path) -> tuple[Any, Any, Any]:
    """Picture, machine id and whether present, of every verified label, as Arrow arrays; read in parallel, it may be 60 million rows."""
    import pyarrow as pa
    from pyarrow import compute
    from pyarrow import csv as arrow

    text = pa.dictionary(pa.int32(), pa.string())
    kinds = {"ImageID": text, "LabelName": text, "Confidence": pa.float64()}
    try:
        table = arrow.read_csv(file, convert_options=arrow.ConvertOptions(column_types=kinds, include_columns=list(_COLUMNS)))
    except (pa.ArrowException, KeyError) as error:
        raise BadData(f"{file}: {str(error).splitlines()[0]}; expected columns {', '.join(_COLUMNS)}") from None
    table = table.unify_dictionaries().combine_chunks()
    sure = table["Confidence"]
    odd = table.filter(compute.invert(compute.is_in(sure, value_set=pa.array([0.0, 1.0]))))
    if len(odd):
        first = {name: odd[name][0].as_py() for name in _COLUMNS}
        said = f"{first['ImageID']} {first['LabelName']} has confidence {first['Confidence']}"
        raise BadData(f"{file}: {said}; expected 0 or 1, as in the files of labels that people have verified")
    return table["ImageID"], table["LabelName"], compute.equal(sure, 1.0)


def _grouped(images: Any, codes: Any, present: Any, names: Mapping[str, str], place: tuple[str, pathlib.Path]) -> Rows:
    """Rows by picture, in the order in which the file first names them."""
    import numpy as np

    folder, file = place
    if not len(images):
        raise BadData(f"{file}: no rows")
    (image_names, image_of), (code_names, code_of) = (_coded(column) for column in (images, codes))
    strange = [code for code in code_names if code not in names]
    if strange:
        log.warning("%s: %d machine ids are not among the classes and are left out: %s", file, len(strange), ", ".join(strange[:3]))
    rank = {code: i for i, code in enumerate(names)}
    class_of = np.array([rank.get(code, len(names)) for code in code_names])[code_of]
    # one verdict per picture and class; where people disagree there is none
    key = image_of.astype(np.int64) * (len(names) + 1) + class_of
    pairs, where = np.unique(key, return_inverse=True)
    votes = [np.bincount(where, weights=np.asarray(present.to_numpy()) == said, minlength=len(pairs)) for said in (False, True)]
    verdict = np.where(votes[0] > 0, np.where(votes[1] > 0, 0, -1), 1)
    classes = tuple(names.values())
    rows: Rows = [
        {
            "id": f"{file.name}:{name}",
            "image": sources.inside(folder, f"{name}.jpg", str(file)),
            "labels": [],
            "absent": [],
            "classes": classes,
        }
        for name in image_names
    ]
    for image, label, said in zip((pairs // (len(names) + 1)).tolist(), (pairs % (len(names) + 1)).tolist(), verdict.tolist(), strict=True):
        if label < len(names) and said:
            rows[image]["labels" if said > 0 else "absent"].append(classes[label])
    return rows


def _coded(column: Any) -> tuple[list[str], Any]:
    """The distinct values of a dictionary column and the place of each row's among them."""
    whole = column.combine_chunks()
    whole = whole.chunk(0) if hasattr(whole, "chunk") else whole
    return whole.dictionary.to_pylist(), whole.indices.to_numpy()
