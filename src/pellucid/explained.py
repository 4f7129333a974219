"""What `run.explain` gives back: explanations to read, to show in a notebook, and to save as a page, a picture or data."""

import html
import os
import pathlib
from collections.abc import Iterator, KeysView
from dataclasses import dataclass, field
from typing import Any

from pellucid import checkpoint
from pellucid.errors import BadUsage
from pellucid.report import page, picture, whole

LEAST_HEIGHT, MOST_HEIGHT = 320, 900  # pixels of the frame in a notebook; what is longer scrolls inside


@dataclass(frozen=True)
class Explained:
    """Explanations of some examples.

    It reads like the dict that it holds, `explained["examples"]`, which is what results/explanations.json holds.
    """

    found: dict[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.found[name]

    def __contains__(self, name: object) -> bool:
        return name in self.found

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __repr__(self) -> str:
        return f"Explained({len(self.examples)} examples by {', '.join(self.methods)}; site {self.site!r})"

    def keys(self) -> KeysView[str]:
        """The names that indexing knows; with them `dict(explained)` works."""
        return self.found.keys()

    @property
    def site(self) -> str:
        """Where relevance was read."""
        return str(self.found.get("site", ""))

    @property
    def score_unit(self) -> str:
        """Of the scores that were explained: log-probability or value."""
        return str(self.found.get("score_unit", ""))

    @property
    def examples(self) -> list[dict[str, Any]]:
        """One record per example: words, and by method their relevance and its checks."""
        return list(self.found["examples"])

    @property
    def summary(self) -> dict[str, Any]:
        """Means of the checks over all examples with intervals, and the agreement of methods; empty where there is none."""
        return dict(self.found.get("summary") or {})

    @property
    def methods(self) -> list[str]:
        """The methods that explained."""
        return list(dict.fromkeys(name for example in self.examples for name in example["methods"]))

    def top(self, method: str, k: int = 3) -> list[list[tuple[str, float]]]:
        """Per example the k words of largest relevance, for or against, with it; the strongest first.

        Raises:
            BadUsage: nothing was explained by that method.
        """
        if method not in self.methods:
            raise BadUsage(f"not explained by {method!r}; there are {', '.join(self.methods) or 'no methods'}")
        rows = []
        for example in self.examples:
            relevance = example["methods"].get(method, {}).get("relevance", [])
            pairs = [(w, float(r)) for w, r in zip(example["words"], relevance, strict=False) if r is not None]
            rows.append(sorted(pairs, key=lambda pair: -abs(pair[1]))[:k])
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The plain dict."""
        return self.found

    def html(self) -> str:
        """A page that needs nothing else."""
        return page.explanations(self.found)

    def png(self, dark: bool = False, smooth: bool = False) -> bytes:
        """A picture of the first examples; over photographs colours go over into each other where `smooth`."""
        return picture.png(self.found, dark, smooth)

    def save(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """The path, now holding a page (.html), a picture (.png) or data (.json); written whole or not at all, its folder made.

        Raises:
            BadUsage: another suffix, or a place that cannot be written.
        """
        place = pathlib.Path(path)
        suffix = place.suffix.lower()
        if suffix not in (".html", ".png", ".json"):
            raise BadUsage(f"{place}: explanations are saved as .html, .png or .json")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if suffix == ".json":
                checkpoint.write_json(place, self.found)
                return place
        except OSError as error:
            raise BadUsage(f"{place}: cannot be written ({error.strerror})") from None
        return whole.write(place, self.html().encode() if suffix == ".html" else self.png())

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that neither its style nor the notebook's spills over."""
        blocks = [len(e["methods"]) * (90 + 30 * (sum(map(len, e["words"])) // 90)) + (260 if e.get("flow") else 90) for e in self.examples]
        height = min(MOST_HEIGHT, max(LEAST_HEIGHT, 420 + sum(blocks)))
        inside = html.escape(self.html(), quote=True)
        return (
            f'<iframe title="Explanations" sandbox srcdoc="{inside}" '
            f'style="width: 100%; height: {height}px; border: 0; border-radius: 10px" loading="lazy"></iframe>'
        )
