"""What an example's `label` asks a detector about: `dog@17` of one of its boxes, `dog` of whichever says so most."""

from collections.abc import Sequence

from pellucid.coerce import nearest
from pellucid.data.pictures import where
from pellucid.errors import BadData, BadUsage
from pellucid.task import Example

ANY = -1  # in an answer: the box that says it most


def asked_name(example: Example) -> str:
    """The example's `label`, else that of its first object.

    Raises:
        BadData: it has neither.
    """
    label = example.get("label") or next((o["label"] for o in example.get("objects") or ()), None)
    if label is None:
        raise BadData(f"{where(example)}: it has no object whose detection could be explained")
    return str(label)


def parted(label: str, labels: Sequence[str]) -> tuple[str, str]:
    """The label that is asked about, and what stands behind its @; labels may have an @ themselves.

    Raises:
        BadUsage: no such label.
    """
    name, _, place = label.rpartition("@") if label not in labels else (label, "", "")
    if name not in labels:
        raise BadUsage(f"answer {label!r}: no such label{nearest(name or place, labels)}")
    return name, place


def numbered(label: str, place: str, num: int, what: str) -> int:
    """Which of so many boxes the place is; `ANY` where it is empty.

    Args:
        what: messages call a box.
    Raises:
        BadUsage: none of them.
    """
    if place and not (place.isdecimal() and int(place) < num):
        raise BadUsage(f"answer {label!r}: no {what} {place!r}; there are 0 to {num - 1}")
    return int(place) if place else ANY
