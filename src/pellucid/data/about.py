"""What a source holds, before anyone trains on it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pellucid.data.leaks import leaks
from pellucid.data.read import read
from pellucid.recipe import Data


def about(data: Data, against: Sequence[Data] = ()) -> dict[str, Any]:
    """Rows, columns, empty texts, text lengths, labels, repeated rows, and rows shared with other sets."""
    rows = read(data)
    columns = [key for key in dict.fromkeys(k for row in rows for k in row) if key != "id"]
    found: dict[str, Any] = {"rows": len(rows), "columns": ", ".join(columns)}
    texts = [str(row["text"]) for row in rows if row.get("text") is not None]
    if texts:
        words = sorted(len(t.split()) for t in texts)
        found["words"] = f"median {words[len(words) // 2]}, longest {words[-1]}"
        found["empty texts"] = sum(not t.strip() for t in texts)
        found["repeated"] = len(texts) - len(set(texts))
    labels = Counter(str(row["label"]) for row in rows if row.get("label") is not None)
    if labels:
        some = ", ".join(f"{label} {n}" for label, n in labels.most_common(10))
        found["labels"] = some + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
    if against:
        shared = leaks(rows, {other.source: read(other) for other in against})
        found |= {f"in {name}": f"{row['exact']} exact, {row['near']} near" for name, row in shared["sets"].items()}
    return found
