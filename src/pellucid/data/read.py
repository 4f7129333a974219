"""Examples from wherever a `Data` says they are, under the names that a task reads."""

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pellucid.coerce import nearest
from pellucid.data import layouts, paths, sources, tables
from pellucid.data.subset import Renamed
from pellucid.errors import BadData, BadUsage
from pellucid.recipe import Data

Rows = list[dict[str, Any]]

_KINDS = {
    "csv": "comma-separated file, plain or .gz; options ?encoding=latin-1&header=no&quoting=none&extra=drop",
    "tsv": "tab-separated file, plain or .gz; the options of csv",
    "jsonl": "JSON Lines, plain or .gz: one object a line; options ?encoding=latin-1&broken=drop",
    "json": "JSON list of objects, plain or .gz; option ?encoding=latin-1",
    "parquet": "Parquet file",
    "lines": "text file, plain or .gz, a row a line; option ?pattern=(?P<text>.*) names columns by a regular expression",
    "table": "any of the above, told by the file's ending",
    "polarity": "train, dev, test, away: generated sentences with one planted word of praise or blame; no download",
    "digits": "train, test: the handwritten digits that scikit-learn carries, 32 x 32 pixels; no download",
    "digit-grid": "train, test: up to eight of these digits in a picture, 80 labels; no download",
    "shapes": "train, test, away: generated discs, squares and triangles with their boxes; options ?num=N&sizes=mixed&masks=yes"
    "&maps=yes (or a share: &boxes=0.8&maps=0.3)",
    "textures": "train, test: generated pictures without labels, patched together of textures; options ?num=N&sizes=mixed",
    "grounding-world": "train, dev, test, combinations: generated coloured shapes and captions about them;"
    " options ?num=N&size=128&seed=S&held=red-square,blue-circle&absent=0.1&captions=N&kinds=plain,relation&mentioned=no&group=no",
    "distorted": "photographs of a folder or another source, each beside its distorted copies; options ?num=5&seed=0&size=256&kinds=A,B"
    "&without_kinds=A,B&levels=1-5&every=yes",
    "flash": "train, test: Flash-MNIST, generated films of digits that flash up in noise; options ?digits=FOLDER of MNIST's files&classes=N"
    "&length=N&per_class=N&seed=S; of scikit-learn's digits without",
    "functional": "4_20/points, 4_20/train and so on: generated points whose right explanations are known, COLUMNS_DIFFICULTY/PART",
    "scan": "SCAN: SPLIT/train, SPLIT/test (simple, addprim_jump ...) or all, ?least=N&most=N actions; longer/test?parts=N&over=N; a file",
    "cogs": "COGS: a tsv file, plain or .gz, of sentence, logical form, type; options ?to_depth=D&part=train|test or ?to_depth=D&with=FILE",
    "cogs-like": "train, dev, test, gen or a kind: new sentences of COGS's grammar; options ?num=N&seed=S&depth=D (or FROM-TO)",
    "hf": "Hugging Face datasets: a local folder or a hub name; options ?config=NAME&split=NAME&revision=NAME",
    "sentiment": "movies/train, movies/dev, movies/test, amazon, tweets, editorials: sentences, positive or negative",
    "sentiment-rating": "the same with the mean human rating, -4 to 4, as label, and no row left out",
    **layouts.KINDS,
}
_RESERVED = ("id", "length")  # ours in every example: a file's columns of these names are read through `columns` only


def kinds() -> dict[str, str]:
    """Every kind of source and what it reads."""
    return dict(_KINDS)


def read(data: Data) -> Rows:
    """The examples of a source: rows chosen, columns and labels under the task's names, each with its "id".

    Every other column stays under its own name. A table's column of picture files is also there as `image`, a whole path,
    and of pairs as `reference` and `other`; one of videos as `video`.

    Raises:
        BadUsage: an unknown kind, option or set.
        BadData: the file or a row is not what was promised, or lacks a column that was named.
    """
    with sources.no_collection():
        return _read(data)


def _read(data: Data) -> Rows:
    kind, path, options = _parts(data.source)
    about_pictures, options = paths.split_options(options) if kind in tables.OPTIONS else ({}, options)
    file_rows = _rows(kind, path, options)
    if kind in tables.OPTIONS:
        file_rows = paths.lists(file_rows, data.columns)
    place = _place(data.source)
    columns = list(dict.fromkeys(key for row in file_rows for key in row if key != "id"))
    for role, column in {**data.columns, **{key: key for key in data.where}}.items():
        if any(part not in columns for part in _joined(column, columns)):
            asked = f" (asked for as {role})" if role in data.columns else ""
            raise BadData(f"{place}: no column {column!r}{asked}{_suggest(column, columns)}")
    labels = _checked_labels(data, file_rows, place)
    kept = _limited(_part(_where(data, file_rows, place), data), data)
    if kind in tables.OPTIONS:
        kept = paths.whole(kept, data.columns, os.path.expanduser(path), about_pictures)
        data = dataclasses.replace(data, columns={role: column for role, column in data.columns.items() if role not in paths.ROLES})
    renamed = Renamed(labels)
    examples = (_example(row, data, labels) for row in kept)
    return [renamed(example) for example in examples] if labels else list(examples)


def require(examples: Sequence[Mapping[str, Any]], roles: Iterable[str], source: str) -> None:
    """Checks that every example has a value for each role that a task reads.

    Raises:
        BadData: naming the source, the row, the columns there are, and the flag that names another.
    """
    found = list(dict.fromkeys(key for row in examples for key in row if key not in _RESERVED))
    for role in roles:
        if role not in found:
            raise BadData(f"{source}: no column {role!r}; the columns are {', '.join(found)}: say which is meant with --column {role}=NAME")
        for row in examples:
            if row.get(role) is None:
                raise BadData(f"{row['id']}: the row has no {role}")


# ---- sources ------------------------------------------------------------------------------------------------------


def _rows(kind: str, place: str, options: dict[str, str]) -> Rows:
    if kind in tables.OPTIONS:
        return tables.read(kind, place, options)
    if kind in layouts.KINDS:
        return layouts.read(kind, place, options)
    if kind == "hf":
        from pellucid.data import hub

        return hub.read(place, options)
    if kind in ("shapes", "textures"):
        from pellucid.data import scenes

        return scenes.read_shapes(place, options) if kind == "shapes" else scenes.read_textures(place, options)
    if kind == "grounding-world":
        from pellucid.data.grounding import world

        return world.read(place, options)
    if kind == "distorted":
        from pellucid.data.distort import pairs

        return pairs.read(place, options, lambda source: _read(Data(source)))
    if kind == "flash":
        from pellucid.data import flash

        return flash.read(place, options)
    if kind == "scan":
        from pellucid.data import scan

        return scan.read(place, options)
    if kind in ("cogs", "cogs-like"):
        from pellucid.data import cogs

        return cogs.read(place, options) if kind == "cogs" else cogs.generated(place, options)
    if options:
        raise BadUsage(f"{kind}:{place}: {kind}: takes no options")
    if kind == "polarity":
        from pellucid.data import polarity

        return polarity.read(place)
    if kind.startswith("digit"):
        from pellucid.data import digits

        return digits.read(place) if kind == "digits" else digits.read_grids(place)
    if kind == "functional":
        from pellucid.data import functional

        return functional.read(place)
    from pellucid.data import sentiment

    return sentiment.read(place, rated=kind == "sentiment-rating")


def _parts(source: str) -> tuple[str, str, dict[str, str]]:
    """Kind, place and options of `kind:place?name=value&name=value`."""
    source = expanded(source)
    kind, colon, rest = source.partition(":")
    bare = source.partition("?")[0]
    told = tables.kind_of(bare) or layouts.kind_of(bare)
    if not colon or (kind not in _KINDS and told and (os.path.exists(bare) or not kind.isalpha())):
        kind, rest = "table", source  # a plain path
    if kind not in _KINDS:
        raise BadUsage(f"{source}: no kind of data {kind!r}{nearest(kind, list(_KINDS))}")
    place, _, query = (rest, "", "") if os.path.isfile(rest) else rest.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    options = {name: value for name, _, value in pairs}
    if not place:
        raise BadUsage(f"{source}: nothing after {kind}:")
    if kind == "table":
        found = tables.kind_of(place) or layouts.kind_of(place)
        if not found:
            endings = ", ".join(tables.SUFFIXES)
            raise BadUsage(f"{source}: the ending does not tell the kind ({endings}); write KIND:PATH, one of {', '.join(_KINDS)}")
        kind = found
    return kind, place, options


def expanded(source: str) -> str:
    """The source with `${NAME}` read from the environment.

    Raises:
        BadUsage: it is not set.
    """
    for name in re.findall(r"\$\{(\w+)\}", source):
        if name not in os.environ:
            raise BadUsage(f"{source}: set {name} to the folder it stands for, as in {name}=~/data pellucid ...")
        source = source.replace(f"${{{name}}}", os.path.expanduser(os.environ[name]))
    return source


def _place(source: str) -> str:
    """What messages call the source."""
    kind, place, _ = _parts(source)
    generated = ("functional", "flash", "shapes", "textures", "scan", "cogs-like", "grounding-world")
    return source if kind.startswith(("sentiment", "hf", *generated)) else place


def _joined(column: str, columns: list[str]) -> list[str]:
    """`title+body` names two columns whose texts are joined, unless a column is called so."""
    return [column] if column in columns else column.split("+")


# ---- choosing and renaming ----------------------------------------------------------------------------------------


def _suggest(column: str, columns: list[str]) -> str:
    close = difflib.get_close_matches(column, columns, 1, 0.5)
    return (f"; did you mean {close[0]!r}?" if close else "") + f" The columns are {', '.join(columns)}"


def _where(data: Data, rows: Rows, place: str) -> Rows:
    for column, value in data.where.items():
        kept = [row for row in rows if _text(row.get(column)) == value]
        if not kept:
            raise BadData(f"{place}: no row has {column} = {value!r}; its values are {_some(row.get(column) for row in rows)}")
        rows = kept
    return rows


def _checked_labels(data: Data, rows: Rows, place: str) -> dict[str, str]:
    """The labels mapping; one that fits no row at all is a mistake."""
    column = data.columns.get("label", "label")
    values = {_text(row.get(column)) for row in rows} if data.labels else set()
    lists = [data.columns.get(role, role) for role in ("labels", "absent", "unknown")]
    if data.labels and any(isinstance(row.get(lists[0]), list) for row in rows):
        values = {_text(value) for row in rows for key in lists for value in row.get(key) or ()} | set(rows[0].get("classes", ()))
    if data.labels and not values & {*data.labels, *data.labels.values()}:  # a set that has the wanted names already is fine
        raise BadData(f"{place}: no {column} is {' or '.join(map(repr, data.labels))}; the values are {_some(values)}")
    return dict(data.labels)


def _part(rows: Rows, data: Data) -> Rows:
    """Its tenths of the rows: eight to train, one to dev, one to test, drawn with the seed, in file order.

    Pictures with originals are drawn by original.
    """
    if not data.part:
        return rows
    from pellucid.data import groups

    if found := groups.groups_of(rows, data.columns):
        return [row for row, here in zip(rows, groups.part_of(found, data.part, data.seed), strict=True) if here]
    import numpy as np

    tenth = np.random.default_rng([data.seed, 10]).permutation(len(rows)) * 10 // max(1, len(rows))
    wanted = {"train": range(8), "dev": (8,), "test": (9,)}[data.part]
    return [row for row, t in zip(rows, tenth.tolist(), strict=True) if t in wanted]


def _limited(rows: Rows, data: Data) -> Rows:
    if data.limit is None or data.limit >= len(rows):
        return rows
    if data.limit < 1:
        raise BadUsage(f"limit {data.limit}: expected at least 1")
    import numpy as np

    drawn = np.random.default_rng(data.seed).permutation(len(rows))[: data.limit]
    return [rows[i] for i in sorted(drawn)]


def _example(row: dict[str, Any], data: Data, labels: dict[str, str]) -> dict[str, Any]:
    example = {key: value for key, value in row.items() if key not in _RESERVED}
    for role, column in data.columns.items():
        parts = _joined(column, list(row))
        absent = [part for part in parts if part not in row]
        if absent:
            raise BadData(f"{row['id']}: the row has no {absent[0]!r}")
        example[role] = row[column] if len(parts) == 1 else " ".join(_text(row[part]) for part in parts)
    if labels:
        value = _text(example.get("label"))
        example["label"] = labels.get(value, example.get("label"))
    return {**example, "id": row["id"]}


def _text(value: Any) -> str:
    """A value as a mapping or a filter spells it: True is true, 1 is 1, and so is 1.0."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _some(values: Iterable[Any]) -> str:
    known = sorted({_text(value) for value in values})
    return ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
