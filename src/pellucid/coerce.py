"""Text and YAML values as the type of a field, or one line that says what was expected."""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import yaml

from pellucid.errors import BadUsage


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` or the list of what there is."""
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def natural(text: str) -> list[tuple[bool, int, str]]:
    """A sort key by which numbers in texts are in their own order: 2 before 10, and numbers before letters."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text) if part]


def bare(kind: Any) -> Any:
    """`X` of `X | None`."""
    args = [a for a in typing.get_args(kind) if a is not type(None)]
    return args[0] if typing.get_origin(kind) in (typing.Union, types.UnionType) and len(args) == 1 else kind


def coerce(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind`, read from text where it is a string.

    Raises:
        BadUsage: the value cannot be of that kind.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    wrong = BadUsage(f"{where}={value}: expected {_show(kind)}")
    if origin in (typing.Union, types.UnionType):
        if value is None or (value in ("null", "none", "None") and type(None) in args):
            return None
        return coerce(value, bare(kind), where)
    if origin is Literal:
        if value not in args:
            raise BadUsage(f"{where}={value}" + nearest(str(value), [str(a) for a in args]))
        return value
    if isinstance(value, str) and (origin in (tuple, Mapping, dict, list) or kind in (bool, int, float) or dataclasses.is_dataclass(kind)):
        try:
            value = yaml.safe_load(_yaml_sequence(value) if origin is tuple else value)
        except yaml.YAMLError:
            raise wrong from None
    if origin is tuple:
        return _coerce_tuple(value, args, where, wrong)
    if origin in (Mapping, dict) or kind is Mapping:
        if not isinstance(value, Mapping):
            raise wrong
        return {str(k): coerce(v, args[1], f"{where}.{k}") if args else v for k, v in value.items()}
    if dataclasses.is_dataclass(kind):
        return _coerce_dataclass(value, kind, where, wrong)
    return _coerce_plain(value, kind, wrong)


def _coerce_plain(value: Any, kind: Any, wrong: BadUsage) -> Any:
    if kind is Any:
        return value
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise wrong
        try:
            return float(value)
        except ValueError:
            raise wrong from None
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise wrong
    return value


def _coerce_tuple(value: Any, args: tuple[Any, ...], where: str, wrong: BadUsage) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise wrong
    kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    if len(kinds) != len(value):
        raise wrong
    return tuple(coerce(v, k, where) for v, k in zip(value, kinds, strict=True))


def _coerce_dataclass(value: Any, kind: Any, where: str, wrong: BadUsage) -> Any:
    if isinstance(value, kind):
        return value
    fields = dataclasses.fields(kind)
    required = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    if isinstance(value, str) and len(required) == 1:
        return kind(**{required[0]: value})
    if not isinstance(value, Mapping):
        raise wrong
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            raise BadUsage(f"no field '{where}.{key}'" + nearest(str(key), list(hints)))
    needed = [name for name in required if name not in value]
    if needed:
        raise BadUsage(f"{where}: missing {', '.join(needed)}")
    return kind(**{k: coerce(v, hints[k], f"{where}.{k}") for k, v in value.items()})


def _yaml_sequence(text: str) -> str:
    return text if text.strip().startswith("[") else f"[{text.strip().strip('()')}]"


def _show(kind: Any) -> str:
    return (
        getattr(kind, "__name__", str(kind))
        if typing.get_origin(kind) is None
        else str(kind).replace("typing.", "").replace("collections.abc.", "")
    )
