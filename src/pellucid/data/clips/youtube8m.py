"""YouTube-8M and sets kept as it is: features of frames, or of whole videos, in TFRecord files."""

import csv
import glob
import pathlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pellucid.data import sources
from pellucid.data.clips import features, tfrecord
from pellucid.data.clips.held import Held
from pellucid.data.shards import expanded
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

OPTIONS: sources.Choices = {**features.SHARED, "labels": (), "num_labels": (), "level": ("frame", "video")}
NUM_LABELS = 3862  # of the vocabulary since 2018
_IDS = ("id", "video_id")


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per video: `features` (of frames rgb and audio), `labels`, and its `video_id`.

    Frames of 8 bits are read as numbers from -2 to 2. Only lengths and labels are read here; the frames when they are asked for.

    Args:
        place: a folder of .tfrecord files, one file, a pattern `train*.tfrecord`, or a range `train{0000..0099}.tfrecord`.
        options: `labels`, the vocabulary (csv with Index and Name), without which labels are called 0 to 3861, or as many as
            `num_labels` says; `level=video` for files of a mean feature a video; and those of features:, `check=all` also comparing all
            checksums.
    Raises:
        BadData: a file is damaged or cut short, or a label is not in the vocabulary; naming file and record.
        UnsafeInput: pickles.
    """
    chosen = sources.checked("youtube8m", options, OPTIONS)
    names = _vocabulary(chosen)
    rows: Rows = []
    for path in files(place):
        rows += _rows(path, names, chosen.get("level", "frame"), chosen.get("check") == "all")
    if not rows:
        raise BadData(f"{place}: no records")
    return features.finished(rows, chosen, place)


def files(place: str) -> list[str]:
    """The files that a pattern names, in order.

    Raises:
        BadData: there is none, or one that a range names is missing.
        UnsafeInput: pickles.
    """
    found: list[str] = []
    for name in (str(pathlib.Path(name).expanduser()) for name in expanded(place)):
        if pathlib.Path(name).is_dir():
            there = sorted(str(path) for path in pathlib.Path(name).iterdir() if path.is_file() and not sources.is_hidden(path.name))
            records = [path for path in there if ".tfrecord" in pathlib.Path(path).name]
            for path in [] if records else there:
                features.safe(path)
            found += records
        else:
            found += sorted(glob.glob(name)) if glob.has_magic(name) and not pathlib.Path(name).exists() else [name]
    for path in found:
        features.safe(path)
        if not pathlib.Path(path).is_file():
            raise BadData(f"no file {path}")
    if not found:
        raise BadData(f"{place}: no .tfrecord files")
    return found


def _rows(path: str, names: tuple[str, ...], level: str, check: bool) -> Rows:
    label, rows = pathlib.Path(path).name, []
    with tfrecord.mapped(path) as raw:
        if raw[:2] == b"\x1f\x8b":
            raise BadData(f"{path}: compressed as a whole, so that no video can be read from its place; gunzip it first")
        for number, record in enumerate(tfrecord.records(raw, path, check), 1):
            try:
                rows.append(_row(raw, record, (path, f"{label}:{number}"), names, level))
            except BadData as error:
                raise BadData(f"{path}: record {number}: {error}") from None
    return rows


def _row(raw: tfrecord.Bytes, record: tfrecord.Span, where: tuple[str, str], names: tuple[str, ...], level: str) -> dict[str, Any]:
    path, name = where
    about = tfrecord.context(raw, record)
    lists = tfrecord.sequences(raw, record)
    if level == "frame" and not lists:
        raise BadData("no lists of frames; files of a feature a video are read with ?level=video")
    if level == "video" and lists:
        raise BadData("lists of frames; they are read with ?level=frame")
    row: dict[str, Any] = {"id": name}
    video = next((texts[0] for key in _IDS if key in about and (texts := tfrecord.texts(raw, about[key]))), None)
    if video is not None:
        row["video_id"] = video.decode("utf-8", "replace")
    if (told := tfrecord.whole_numbers(raw, about["labels"]) if "labels" in about else []) is None:
        raise BadData("labels are no whole numbers")
    if "labels" in about:
        row |= {"labels": _labels(told, names), "classes": names}
    found = {}
    for key, span in (lists if level == "frame" else about).items():
        where_numbers = _numbers(raw, key, span, level)
        if where_numbers is not None:
            modality = key if level == "frame" else key.removeprefix("mean_")
            rows, width, dtype, offset, lead = where_numbers
            found[modality] = Held(path, key, name, rows, width, dtype, offset, lead, quantised=dtype == "|u1")
    return {**row, "features": found}


def _numbers(raw: tfrecord.Bytes, key: str, span: tfrecord.Span, level: str) -> tfrecord.Rows | None:
    if level == "video" and (key in (*_IDS, "labels") or tfrecord.texts(raw, span) is not None):
        return None
    try:
        return tfrecord.frames(raw, span) if level == "frame" else tfrecord.numbers(raw, span)
    except BadData as error:
        raise BadData(f"{key}: {error}") from None


# ---- labels -------------------------------------------------------------------------------------------------------


def _labels(told: list[int], names: tuple[str, ...]) -> list[str]:
    odd = next((index for index in told if not 0 <= index < len(names)), None)
    if odd is not None:
        raise BadData(f"label {odd} of a vocabulary of {len(names)}; name its file with ?labels=FILE.csv, or its size with ?num_labels=N")
    return [names[index] for index in dict.fromkeys(told)]


def _vocabulary(options: Mapping[str, str]) -> tuple[str, ...]:
    """Names by index; the index itself where the vocabulary has no name for it, and both where it has one name twice."""
    size = options.get("num_labels", str(NUM_LABELS))
    if not size.isdecimal() or not int(size):
        raise BadUsage(f"youtube8m: num_labels={size}: expected a number of labels, as {NUM_LABELS}")
    if "labels" not in options:
        return tuple(str(index) for index in range(int(size)))
    path = pathlib.Path(options["labels"]).expanduser()
    rows = list(csv.DictReader(sources.read_text(path).splitlines()))
    columns = list(rows[0]) if rows else []
    if not {"Index", "Name"} <= set(columns):
        raise BadData(f"{path}: no vocabulary with columns Index and Name; the columns are {', '.join(map(str, columns)) or 'none'}")
    named = {int(row["Index"]): (row["Name"] or "").strip() for row in rows if (row["Index"] or "").isdecimal()}
    if len(named) < len(rows):
        raise BadData(f"{path}: an index is no number, or is there twice")
    count = max(int(size) if "num_labels" in options else 0, max(named) + 1)
    shared = Counter(named.values())
    return tuple(name if (name := named.get(i, "")) and shared[name] == 1 else f"{name} ({i})" if name else str(i) for i in range(count))
