"""Corrupted copies of a test set, so that a model can be measured on its home text gone bad."""

from collections.abc import Sequence

from pellucid.data import corrupt
from pellucid.errors import BadUsage
from pellucid.task import Example

CACHED = ("tokens", "length")  # made from the clean text by a task's `prepare`; wrong for a corrupted copy


def corrupted(
    examples: Sequence[Example], kind: str, severity: int, seed: int = 0, fields: Sequence[str] = ("text", "text_pair")
) -> list[Example]:
    """Copies of the examples with their text spoiled, not yet prepared; a copy does not depend on the others.

    Args:
        fields: those an example has are spoiled, each by a draw of its own.
    Raises:
        BadUsage: no such kind or severity, or an example that has no id or none of the fields.
    """
    return [_corrupted(example, kind, severity, seed, fields) for example in examples]


def corrupted_sets(
    examples: Sequence[Example], kinds: Sequence[str], severities: Sequence[int], seed: int = 0, name: str = "home"
) -> dict[str, list[Example]]:
    """A corrupted copy of the set for each kind and severity, called `name/kind-severity`."""
    return {f"{name}/{kind}-{severity}": corrupted(examples, kind, severity, seed) for kind in kinds for severity in severities}


def _corrupted(example: Example, kind: str, severity: int, seed: int, fields: Sequence[str]) -> Example:
    present = [f for f in fields if isinstance(example.get(f), str)]
    if not present or "id" not in example:
        missing = "id" if present else " or ".join(fields)
        raise BadUsage(f"example {example.get('id', '?')!r} has no {missing}; text corruptions need it")
    # the id tells the examples apart, the field the two sentences of one
    spoiled = {f: corrupt.corrupt_text(example[f], kind, severity, seed, f"{example['id']}\0{f}") for f in present}
    return {k: v for k, v in example.items() if k not in CACHED} | spoiled
