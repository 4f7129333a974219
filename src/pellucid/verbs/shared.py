"""What verbs share: flags to values, JSON, gates."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pellucid import grids
from pellucid import recipe as recipes
from pellucid.coerce import nearest
from pellucid.errors import BadUsage, GateMissed
from pellucid.recipe import Data

Given = argparse.Namespace


def names(text: str) -> tuple[str, ...]:
    """`a, b` as its parts."""
    return tuple(m.strip() for m in text.split(",") if m.strip())


def pairs(flag: str, given: Sequence[str]) -> dict[str, str]:
    """`["a=b"]` as a dict.

    Raises:
        BadUsage: an entry without `=`.
    """
    wrong = [entry for entry in given if "=" not in entry]
    if wrong:
        raise BadUsage(f"{flag} {wrong[0]}: expected {'NAME=VALUE'}")
    return dict(entry.split("=", 1) for entry in given)


def opened(given: Given) -> Any:
    """The run, or the classic metric, that was named; loading pictures and texts in so many processes as were asked for.

    Raises:
        BadUsage: a number of processes below 0.
    """
    from pellucid import run

    done, workers = run.opened(given.run), getattr(given, "workers", None)
    if workers is None:
        return done
    if workers < 0:
        raise BadUsage(f"--workers {workers}: expected 0, to load in the same process, or more")
    return replace(done, recipe=replace(done.recipe, loop=replace(done.recipe.loop, workers=workers)))


def data_of(given: Given, source: str) -> Data:
    """The source with the command line's columns, labels and limit."""
    return Data(source, columns=pairs("--column", given.column), labels=pairs("--label", given.label), limit=given.limit)


def settings_of(given: Given) -> dict[str, str]:
    """The `--set` flags."""
    return recipes.parse_settings(given.set)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def hold_gates(found: Mapping[str, Any], gates: Sequence[str]) -> None:
    """Raises GateMissed where a number is worse than `SET/METRIC=VALUE` asks."""
    for name, wanted in pairs("--gate", gates).items():
        place, _, metric = name.rpartition("/")
        if metric not in found.get(place, {}).get("metrics", {}):
            known = [f"{s}/{m}" for s, row in found.items() for m in row["metrics"]]
            raise BadUsage(f"--gate {name}" + nearest(name, known))
        number = found[place]["metrics"][metric]
        try:
            bound = float(wanted)
        except ValueError:
            raise BadUsage(f"--gate {name}={wanted}: expected a number") from None
        value = number["value"]
        if value is None or ((value < bound) if number["higher_is_better"] else (value > bound)):
            raise GateMissed(f"{name} is {grids.figure(number['value'])}, the gate is {wanted}")
