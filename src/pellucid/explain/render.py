"""Explanations for the terminal and for results/explanations.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.color import Color
from rich.style import Style
from rich.text import Text

from pellucid.explain.attribution import Attribution
from pellucid.explain.degrade import Curves, short
from pellucid.explain.probe import Probe
from pellucid.explain.words import to_words

FOR, AGAINST = (33, 113, 181), (217, 95, 2)  # blue and orange: told apart by colour-blind readers too


def coloured(words: Sequence[str], values: Sequence[float]) -> Text:
    """The words on a ground of blue where they speak for the answer, of orange where against; the strongest is full."""
    peak = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    text = Text()
    for word, value in zip(words, values, strict=True):
        text.append(word, _style(value / peak if peak else 0.0))
        text.append(" ")
    text.rstrip()
    return text


def legend(words: Sequence[str], values: Sequence[float]) -> Text:
    """What the colours mean, and the three strongest words in figures, for readers without colour."""
    strongest = sorted(zip(words, values, strict=True), key=lambda pair: -abs(pair[1]))[:3]
    told = ", ".join(f"{word} {value:+.3g}" for word, value in strongest)
    return Text.assemble((" for ", _style(1.0)), " ", (" against ", _style(-1.0)), f" strongest: {told}" if told else "")


def _style(share: float) -> Style:
    """Ground between white (0) and full colour (1 or -1), with letters that stay readable; none where it would be white."""
    strength = min(1.0, abs(share)) if math.isfinite(share) else 0.0
    if strength < 0.05:
        return Style()
    red, green, blue = (round(255 + strength * (c - 255)) for c in (FOR if share > 0 else AGAINST))
    letters = "white" if strength > 0.6 else "black"
    return Style(color=letters, bgcolor=Color.from_rgb(red, green, blue).name)


def as_record(
    head: Mapping[str, Any], probe: Probe, i: int, attributions: Mapping[str, Attribution], curves: Mapping[str, Curves]
) -> dict[str, Any]:
    """One example's entry of results/explanations.json.

    Args:
        head: its set, id, prediction, label and score.
        i: its place in the probe's batch.
        attributions: by method.
        curves: by method; a method without curves gets null.
    """
    methods = {}
    words: list[str] = []
    for name, found in attributions.items():
        words, values = to_words(found.relevance, probe)[i]
        methods[name] = {
            "relevance": [short(v) for v in values],
            "gap": None if found.gap is None else short(found.gap[i].item()),
            "note": found.note or None,
            "degradation": curves[name].as_dict(i) if name in curves else None,
        }
    return {**head, "words": words, "methods": methods}
