"""What `run.explain` gives back: explanations to read, to show in a notebook, and to save as a page, a picture or data."""

import html
import os
import pathlib
from collections.abc import Iterator, KeysView
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from pellucid import checkpoint
from pellucid.errors import BadUsage
from pellucid.report import matrix, page, picture, whole

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
    def texts(self) -> list[list[dict[str, Any]]]:
        """The records, all that was asked about one text together."""
        return matrix.texts(self.found["examples"])  # type: ignore[return-value]

    @property
    def summary(self) -> dict[str, Any]:
        """Means of the checks over all examples with intervals, and the agreement of methods; empty where there is none."""
        return dict(self.found.get("summary") or {})

    @property
    def beside(self) -> dict[str, dict[str, Any]]:
        """The same means at each site beside the first, as at the words of a picture's caption."""
        return {site: dict(told or {}) for site, told in (self.found.get("beside") or {}).items()}

    @property
    def methods(self) -> list[str]:
        """The methods that explained."""
        return list(dict.fromkeys(name for example in self.examples for name in example["methods"]))

    def top(self, method: str, k: int = 3, site: str = "") -> list[list[tuple[str, float]]]:
        """Per example the k words of largest relevance, for or against, with it; the strongest first.

        Args:
            site: one beside the first.
        Raises:
            BadUsage: nothing was explained by that method, or at that site.
        """
        self._require(method)
        rows = []
        for example in self._at(site):
            relevance = example["methods"].get(method, {}).get("relevance", [])
            pairs = [(w, float(r)) for w, r in zip(example["words"], relevance, strict=False) if r is not None]
            rows.append(sorted(pairs, key=lambda pair: -abs(pair[1]))[:k])
        return rows

    def matrix(self, method: str, example: int | str = 0) -> tuple[list[str], list[str], Float[np.ndarray, "m n"]]:
        """Words written, words read, and the relevance of each word read to each word written, of a text asked about with `each`.

        Args:
            example: which text, by place or id.
        Raises:
            BadUsage: no such text, or nothing was explained by that method.
        """
        self._require(method)
        texts = self.texts
        names = [group[0]["id"] for group in texts]
        place = names.index(example) if example in names else example
        if not isinstance(place, int) or not -len(texts) <= place < len(texts):
            raise BadUsage(f"no example {example!r}; there are {len(texts)} texts: {', '.join(map(str, names[:6]))}")
        group = texts[place]
        rows = [[float("nan") if r is None else r for r in row["methods"][method]["relevance"]] for row in group]
        return [matrix.answer_of(str(row.get("answer")))[1] for row in group], list(group[0]["words"]), np.asarray(rows, float)

    def _at(self, site: str) -> list[dict[str, Any]]:
        if site in ("", self.site):
            return self.examples
        if site not in self.beside:
            raise BadUsage(f"not explained at {site!r}; it was at {', '.join([self.site, *self.beside])}")
        return [example["beside"][site] for example in self.examples]

    def _require(self, method: str) -> None:
        if method not in self.methods:
            raise BadUsage(f"not explained by {method!r}; there are {', '.join(self.methods) or 'no methods'}")

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
        height = min(MOST_HEIGHT, max(LEAST_HEIGHT, 420 + sum(map(_height, self.examples))))
        inside = html.escape(self.html(), quote=True)
        return (
            f'<iframe title="Explanations" sandbox srcdoc="{inside}" '
            f'style="width: 100%; height: {height}px; border: 0; border-radius: 10px" loading="lazy"></iframe>'
        )


def _height(example: dict[str, Any]) -> int:
    """About how many pixels an example takes in a notebook."""
    methods, more = len(example["methods"]), 260 if example.get("flow") else 90
    if example.get("film"):
        return more + 320 + (1 + len(example["film"]) // 15) * (90 + 32 * methods)
    return more + methods * (90 + 30 * (sum(map(len, example["words"])) // 90))
