"""What a source holds, before anyone trains on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.data.copies import keys
from pellucid.data.leaks import counts, leaks
from pellucid.data.read import Rows, read
from pellucid.data.sources import log
from pellucid.recipe import Data


def about(data: Data, against: Sequence[Data] = ()) -> dict[str, Any]:
    """Rows, columns, empty texts, text lengths, broken pictures and maps, labels, repeated rows, and rows shared with other sets."""
    rows = read(data)
    columns = [key for key in dict.fromkeys(k for row in rows for k in row) if key != "id"]
    found: dict[str, Any] = {"rows": len(rows), "columns": ", ".join(columns)}
    texts = [str(row["text"]) for row in rows if row.get("text") is not None]
    if texts:
        words = sorted(len(t.split()) for t in texts)
        found["words"] = f"median {words[len(words) // 2]}, longest {words[-1]}"
        found["empty texts"] = sum(not t.strip() for t in texts)
        found["repeated"] = len(texts) - len(set(texts))
    if rows and "image" in rows[0]:
        found |= _pictures(rows, data.source)
    labels = _labels(rows)
    if labels:
        some = ", ".join(f"{label} {n}" for label, n in labels.most_common(10))
        found["labels"] = some + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
    found |= _several(rows)
    others = {other.source: read(other) for other in against}
    if others and rows:
        shared = leaks(rows, others)
        told = {name: counts(row, " exact", " near") for name, row in shared["sets"].items()}
        clips = "video" in rows[0]  # of which near ones are not searched for
        found |= {f"in {name}": f"{exact} (byte for byte)" if clips else f"{exact}, {near}" for name, (exact, near) in told.items()}
    for name, other in others.items():
        strange = sorted(set(_labels(other)) - set(labels))
        if labels and strange:
            found[f"only in {name}"] = f"{len(strange)} labels: {', '.join(strange[:5])}" + (", ..." if len(strange) > 5 else "")
    return found


def _pictures(rows: Rows, source: str) -> dict[str, Any]:
    """How many pictures are broken, as far as headers tell, and how many are there twice; the broken are logged by path."""
    from pellucid.data.images import check_images

    sound = check_images(rows, source, skip_broken=True, workers=4)
    some = keys([row["image"] for row in sound])
    return {"broken": len(rows) - len(sound), "repeated": len(some) - len(set(some)), **_maps(list(sound))}


def _maps(sound: Rows) -> dict[str, int]:
    """How many of the pictures that can be read have a map, and how many maps cannot be used, which are logged by path."""
    from pellucid.data.maps import faults, has_map

    mapped = sum(map(has_map, sound))
    found = [fault for fault in faults(sound, workers=4) if fault]
    for fault in found:
        log.warning("%s", fault)
    return {"maps": mapped, "broken maps": len(found)} if mapped else {}


def _labels(rows: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """How often each label occurs, single or among several."""
    single = Counter(str(row["label"]) for row in rows if row.get("label") is not None)
    return single + Counter(str(name) for row in rows for name in row.get("labels") or ())


def _several(rows: Rows) -> dict[str, Any]:
    """Of rows with several labels: how many each has, and what is known beside."""
    rows = [row for row in rows if isinstance(row.get("labels"), list)]
    if not rows:
        return {}
    found: dict[str, Any] = {"per picture": f"{sum(len(row['labels']) for row in rows) / len(rows):.2f} labels"}
    for key in ("absent", "unknown"):
        if any(key in row for row in rows):
            found[f"{key} labels"] = f"{sum(len(row.get(key, ())) for row in rows) / len(rows):.2f} per picture"
    without = set(rows[0].get("classes", ())) - set(_labels(rows))
    if without:
        some = sorted(without)
        found["never present"] = f"{len(some)} classes: {', '.join(some[:5])}" + (", ..." if len(some) > 5 else "")
    return found
