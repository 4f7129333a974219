"""Corrupted copies of a test set, so that a model can be measured on its home texts and pictures gone bad."""

import hashlib
from collections.abc import Sequence

from pellucid.coerce import nearest
from pellucid.data.corrupt import PICTURES, TEXT, corrupt_text, find
from pellucid.errors import BadUsage
from pellucid.task import Example

CACHED = ("tokens", "length")  # made from the clean text by a task's `prepare`; wrong for a corrupted copy
TEXT_FIELDS = ("text", "text_pair")


def kinds_of(examples: Sequence[Example]) -> list[str]:
    """The corruptions that exist for every one of the examples, told by their fields: texts', pictures', or both.

    Raises:
        BadUsage: an example has neither text nor image.
    """
    found: list[str] | None = None
    for example in examples:
        kinds = _kinds(example)
        if not kinds:
            raise BadUsage(f"example {example.get('id', '?')!r} has no {', '.join(TEXT_FIELDS)} or image; corruptions need one")
        found = kinds if found is None else [k for k in found if k in kinds]
    return found or []


def corrupted(examples: Sequence[Example], kind: str, severity: int, seed: int = 0, fields: Sequence[str] = TEXT_FIELDS) -> list[Example]:
    """Corrupted copies of the examples; a copy does not depend on the others.

    Texts are spoiled at once, and the copies are not yet prepared. Pictures are left where they lie: the copy carries
    `corruption` (kind, severity, seed), which the task's collate applies to the pixels.

    Args:
        fields: of text; those an example has are spoiled, each by a draw of its own.
    Raises:
        BadUsage: no such kind or severity, or an example that has no id or nothing that this kind could spoil.
    """
    if kind in PICTURES:
        find("image", kind, severity)
        return [_spoiled_picture(example, kind, severity, seed) for example in examples]
    if kind not in TEXT:
        raise BadUsage(f"no corruption {kind!r}" + nearest(kind, [*TEXT, *PICTURES]))
    return [_spoiled_text(example, kind, severity, seed, fields) for example in examples]


def corrupted_sets(
    examples: Sequence[Example], kinds: Sequence[str], severities: Sequence[int], seed: int = 0, name: str = "home"
) -> dict[str, list[Example]]:
    """A corrupted copy of the set for each kind and severity, called `name/kind-severity`."""
    return {set_name(name, kind, severity): corrupted(examples, kind, severity, seed) for kind in kinds for severity in severities}


def set_name(home: str, kind: str, severity: int) -> str:
    """What a corrupted copy of home is called."""
    return f"{home}/{kind}-{severity}"


def _kinds(example: Example) -> list[str]:
    text = any(isinstance(example.get(f), str) for f in TEXT_FIELDS)
    return [*(TEXT if text else ()), *(PICTURES if "image" in example else ())]


def _spoiled_picture(example: Example, kind: str, severity: int, seed: int) -> Example:
    if "image" not in example or "id" not in example:
        missing = "id" if "image" in example else "image"
        raise BadUsage(f"example {example.get('id', '?')!r} has no {missing}; image corruptions need it")
    if "corruption" in example:
        raise BadUsage(f"example {example['id']!r} is a corrupted copy already")
    named = f"{seed}\0{example['id']}".encode()  # 63 bits: a seed fits the integers of every file format
    own = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest()) >> 1
    return {**example, "corruption": {"kind": kind, "severity": severity, "seed": own}}


def _spoiled_text(example: Example, kind: str, severity: int, seed: int, fields: Sequence[str]) -> Example:
    present = [f for f in fields if isinstance(example.get(f), str)]
    if not present or "id" not in example:
        missing = "id" if present else " or ".join(fields)
        raise BadUsage(f"example {example.get('id', '?')!r} has no {missing}; text corruptions need it")
    # the id tells the examples apart, the field the two sentences of one
    spoiled: Example = {f: corrupt_text(example[f], kind, severity, seed, f"{example['id']}\0{f}") for f in present}
    return {k: v for k, v in example.items() if k not in CACHED} | spoiled
