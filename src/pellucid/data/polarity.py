"""Generated sentences with one planted word of praise or blame: seconds to learn, and the truth about every word is known."""

from typing import Any

import numpy as np

from pellucid.coerce import nearest
from pellucid.errors import BadUsage

GOOD = ("wonderful", "brilliant", "delightful", "superb", "charming", "moving", "clever", "gorgeous")
BAD = ("awful", "dreadful", "boring", "clumsy", "tedious", "lifeless", "shallow", "grating")
NOUNS = {"home": ("film", "plot", "cast", "script", "ending", "score"), "away": ("kettle", "lamp", "phone", "chair", "jacket", "knife")}
FILLERS = (
    "the",
    "a",
    "this",
    "that",
    "rather",
    "quite",
    "with",
    "and",
    "of",
    "some",
    "in",
    "our",
    "town",
    "last",
    "week",
    "people",
    "said",
)
SIZES = {"train": 800, "dev": 200, "test": 200, "away": 200}


def read(part: str) -> list[dict[str, Any]]:
    """Sentences of 6 to 14 words; `planted` is the index of the word that decides the label.

    Args:
        part: train, dev or test, about films; or away, about household goods.
    Raises:
        BadUsage: another part.
    """
    if part not in SIZES:
        raise BadUsage(f"polarity:{part}: no such part" + nearest(part, list(SIZES)))
    rng = np.random.default_rng([11, list(SIZES).index(part)])
    return [_sentence(rng, part, row) for row in range(1, SIZES[part] + 1)]


def _sentence(rng: np.random.Generator, part: str, row: int) -> dict[str, Any]:
    good = bool(rng.integers(2))
    words = [str(w) for w in rng.choice(FILLERS, rng.integers(4, 13))]
    words.insert(int(rng.integers(len(words))), str(rng.choice(NOUNS["away" if part == "away" else "home"])))
    planted = int(rng.integers(len(words) + 1))
    words.insert(planted, str(rng.choice(GOOD if good else BAD)))
    label = "positive" if good else "negative"
    return {"id": f"polarity:{part}:{row}", "text": " ".join(words), "label": label, "planted": planted}
