"""Reads a run folder; a file that is not what it should be is refused by name."""

import json
import pathlib
import types
import typing
from dataclasses import dataclass
from typing import Any, cast

import yaml

from pellucid.errors import BadData
from pellucid.report import rated, records


@dataclass(frozen=True)
class Run:
    """A run folder in memory; None or empty where a file is absent."""

    name: str
    recipe: dict[str, Any]
    logged: list[dict[str, Any]]
    environment: records.Environment
    evaluate: records.Evaluate | None
    shift: records.Shift | None
    detection: records.Detection | None
    leaks: records.Leaks | None
    explanations: records.Explanations | None
    comparison: records.Comparison | None
    objects: records.Objects | None = None
    parses: records.Parses | None = None
    qualities: rated.QualitySets | None = None

    def higher_is_better(self, metric: str) -> bool:
        """As the measured sets say; true where none has the metric."""
        sets = [*(self.shift["sets"].values() if self.shift else ()), *(self.evaluate["sets"].values() if self.evaluate else ())]
        return next((s["metrics"][metric]["higher_is_better"] for s in sets if metric in s["metrics"]), True)


def read(run: pathlib.Path) -> Run:
    """Everything a report is made of.

    Raises:
        BadData: `run` has no recipe.yaml, or a file is cut short or holds something else; the message names file and field.
    """
    results = run / "results"
    return Run(
        run.resolve().name,
        _recipe(run / "recipe.yaml"),
        _logged(run / "metrics.jsonl"),
        cast(records.Environment, _result(results / "environment.json", records.Environment) or {}),
        _result(results / "evaluate.json", records.Evaluate),
        _result(results / "shift.json", records.Shift),
        _result(results / "detection.json", records.Detection),
        _result(results / "leaks.json", records.Leaks),
        _result(results / "explanations.json", records.Explanations),
        _result(results / "comparison.json", records.Comparison),
        _result(results / "objects.json", records.Objects),
        _result(results / "parses.json", records.Parses),
        _result(results / "qualities.json", rated.QualitySets),
    )


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadData(f"{path}: not UTF-8 text; delete it or write it again") from None
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror})") from None


def _recipe(path: pathlib.Path) -> dict[str, Any]:
    """The tree of values only: a report runs no code of the recipe."""
    if not path.is_file():
        raise BadData(f"{path.parent}: not a run (no recipe.yaml); `pellucid train RECIPE --out {path.parent}` makes one")
    try:
        tree = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise BadData(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(tree, dict):
        raise BadData(f"{path}: expected `recipe: NAME` and fields, found {type(tree).__name__}")
    return {str(key): value for key, value in tree.items()}


def _logged(path: pathlib.Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = [(i, line) for i, line in enumerate(_text(path).split("\n"), 1) if line.strip()]
    return [_log_line(line, f"{path}:{i}") for i, line in lines]


def _log_line(line: str, where: str) -> dict[str, Any]:
    row = fitted(_parsed(line, where), dict[str, Any], where)
    known = {"step": fitted(row.get("step"), float, where, "step")}
    for name, value in row.items():
        if name.startswith(("train/", "dev/")) or name in ("epoch", "lr"):
            known[name] = fitted(value, records.Number, where, name)
    return known


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{where}: not JSON, perhaps cut short ({error}); delete it or run the command that wrote it again") from None


def _result(path: pathlib.Path, kind: Any) -> Any:
    return fitted(_parsed(_text(path), str(path)), kind, str(path)) if path.is_file() else None


# ---- the check ----------------------------------------------------------------------------------------------------


def fitted(value: Any, kind: Any, source: str, field: str = "") -> Any:
    """A value read from JSON as a type of `records`: whole numbers become real where the type says so, fields that the
    type does not know stay as they are.

    Raises:
        BadData: it is something else; the message names source and field.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or (value is None and types.NoneType in args):
        return value
    if origin in (types.UnionType, typing.Union):
        return fitted(value, next(a for a in args if a is not types.NoneType), source, field)
    if typing.is_typeddict(kind):
        return _fields(_plain(value, dict, source, field), kind, source, field)
    if origin is list:
        return [fitted(v, args[0], source, f"{field}[{i}]") for i, v in enumerate(_plain(value, list, source, field))]
    if origin is dict:
        return {name: fitted(v, args[1], source, _joined(field, name)) for name, v in _plain(value, dict, source, field).items()}
    return _plain(value, kind, source, field)


def _fields(value: dict[str, Any], kind: Any, source: str, field: str) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    for name in sorted(kind.__required_keys__ - set(value)):
        raise BadData(f"{source}: no field {_joined(field, name)!r}; something else wrote it, run the command of that result again")
    return {name: fitted(v, hints.get(name, Any), source, _joined(field, name)) for name, v in value.items()}


def _plain(value: Any, kind: type, source: str, field: str) -> Any:
    accepted: tuple[type, ...] = (int, float) if kind is float else (kind,)
    fits = isinstance(value, accepted) and (kind is bool or not isinstance(value, bool))
    try:
        if fits:
            return float(value) if kind is float else value
    except OverflowError:  # a whole number of more than 308 digits
        pass
    shown = json.dumps(value, default=str)
    shown = shown if len(shown) <= 40 else shown[:40] + "…"
    raise BadData(f"{source}: {field or 'it'} is {shown}, expected {_KINDS.get(kind, kind.__name__)}")


def _joined(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


_KINDS: dict[Any, str] = {float: "a number", int: "a whole number", str: "text", bool: "true or false", list: "a list", dict: "an object"}
