"""Corrupted copies of a test set, so that a model can be measured on its home texts, pictures and clips gone bad."""

import hashlib
from collections.abc import Mapping, Sequence

from pellucid.coerce import nearest
from pellucid.data.corrupt import CAPTIONS, FEATURES, FRAMES, PICTURES, TEXT, VIDEO, corrupt_caption, corrupt_text, find
from pellucid.errors import BadUsage
from pellucid.task import Example

CACHED = ("tokens", "length")  # made from the clean text by a task's `prepare`; wrong for a corrupted copy
EXTRACTED = ("local", "times_s")  # made from clean pixels; wrong where these are spoiled, right where only other frames are seen
TEXT_FIELDS = ("text", "text_pair")
CAPTION = "caption"  # a text that has spans
CARRIED: Mapping[str, tuple[str, ...]] = {  # kind -> of which fields an example needs one to carry it
    **dict.fromkeys(FRAMES, ("video", "features")),
    **dict.fromkeys(FEATURES, ("features",)),
    **dict.fromkeys(PICTURES, ("image", "video")),
}


def kinds_of(examples: Sequence[Example]) -> list[str]:
    """The corruptions that exist for every one of the examples, told by their fields: of texts, captions, pictures, clips, local features.

    Raises:
        BadUsage: an example has none of these.
    """
    found: list[str] | None = None
    for example in examples:
        kinds = _kinds(example)
        if not kinds:
            fields = "text, text_pair, caption, image, video or features"
            raise BadUsage(f"example {example.get('id', '?')!r} has no {fields}; corruptions need one")
        found = kinds if found is None else [k for k in found if k in kinds]
    return found or []


def corrupted(examples: Sequence[Example], kind: str, severity: int, seed: int = 0, fields: Sequence[str] = TEXT_FIELDS) -> list[Example]:
    """Corrupted copies of the examples; a copy does not depend on the others.

    Texts are spoiled at once, captions with their spans, and the copies are not yet prepared. Pictures, clips and features are left
    where they lie: the copy carries `corruption` (kind, severity, seed), which the task applies when it reads them.

    Args:
        fields: of text; those an example has are spoiled, each by a draw of its own. A `caption` always is.
    Raises:
        BadUsage: no such kind or severity, or an example that has no id or nothing that this kind could spoil.
    """
    if kind in CARRIED:
        find("video" if kind in VIDEO else "image", kind, severity)
        return [_carrying(example, kind, severity, seed) for example in examples]
    if kind in CAPTIONS:
        fields = ()
    elif kind not in TEXT:
        raise BadUsage(f"no corruption {kind!r}" + nearest(kind, [*TEXT, *CAPTIONS, *CARRIED]))
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
    caption = isinstance(example.get(CAPTION), str)
    text = caption or any(isinstance(example.get(f), str) for f in TEXT_FIELDS)
    return [
        *(TEXT if text else ()),
        *(CAPTIONS if caption else ()),
        *(kind for kind, fields in CARRIED.items() if any(f in example for f in fields)),
    ]


def _carrying(example: Example, kind: str, severity: int, seed: int) -> Example:
    present = any(f in example for f in CARRIED[kind])
    if not present or "id" not in example:
        missing = "id" if present else " or ".join(CARRIED[kind])
        raise BadUsage(f"example {example.get('id', '?')!r} has no {missing}; {kind} needs it")
    if "corruption" in example:
        raise BadUsage(f"example {example['id']!r} is a corrupted copy already")
    named = f"{seed}\0{example['id']}".encode()  # 63 bits: a seed fits the integers of every file format
    own = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest()) >> 1
    kept = {k: v for k, v in example.items() if k not in EXTRACTED} if kind in PICTURES else example
    return {**kept, "corruption": {"kind": kind, "severity": severity, "seed": own}}


def _spoiled_text(example: Example, kind: str, severity: int, seed: int, fields: Sequence[str]) -> Example:
    present = [f for f in (*fields, CAPTION) if isinstance(example.get(f), str)]
    if not present or "id" not in example:
        missing = "id" if present else " or ".join((*fields, CAPTION))
        raise BadUsage(f"example {example.get('id', '?')!r} has no {missing}; {kind} needs it")
    # the id tells the examples apart, the field the two sentences of one
    spoiled: Example = {f: corrupt_text(example[f], kind, severity, seed, f"{example['id']}\0{f}") for f in present if f != CAPTION}
    kept = {k: v for k, v in example.items() if k not in CACHED} | spoiled
    return corrupt_caption(kept, kind, severity, seed) if CAPTION in present else kept
