"""Labels of generated pairs by several classic metrics, each brought to the share of generated pairs that it finds worse.

KADIS-700k stores the scores of several metrics beside its pairs; a network learns from them before it meets people's. Every metric has its
own unit and crowds its values elsewhere, so each is read through a table of quantiles, measured over all kinds and levels by
`docs/weak_labels.py`: half of those pairs get less than about one half. The label is the mean over the metrics.
"""

import functools
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import pathlib
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from pellucid.coerce import nearest
from pellucid.data import distort, packages
from pellucid.data.decode import Source, read_bytes
from pellucid.errors import BadData, BadUsage
from pellucid.task import Example
from pellucid.tasks.quality.classic import find, measure

NAMES = ("haarpsi", "mdsi", "gmsd")
log = logging.getLogger("pellucid")
_MANY = 100  # pairs to be measured: from here on it takes a while and is told
_VERSION = 1  # of how a pair is opened and measured here; beside it the cache knows the generator's source and the library's version


class Opened(Protocol):
    """A pair as pixels."""

    @property
    def reference(self) -> UInt8[Tensor, "3 h w"]:
        """The pristine picture."""

    @property
    def image(self) -> UInt8[Tensor, "3 h w"]:
        """The distorted one."""


@dataclass(frozen=True)
class Table:
    """A metric's values, from the worst to that of identical pictures, and the quality of each; in between it is linear."""

    values: tuple[float, ...]
    qualities: tuple[float, ...]


@functools.lru_cache(1)
def tables() -> Mapping[str, Table]:
    """The measured table of each metric that has one."""
    told = json.loads(pathlib.Path(__file__).with_name("weak.json").read_text(encoding="utf-8"))
    return {name: Table(tuple(one["values"]), tuple(one["qualities"])) for name, one in told["tables"].items()}


def table_of(name: str, values: Float[np.ndarray, " n"], num: int = 33) -> Table:
    """The table by which a metric's values over many distorted pairs become evenly spread qualities below 1.

    Args:
        num: quantiles; what lies beyond the value of identical pictures, or on another quantile, is left out.
    """
    best, sign = find(name).best, _sign(name)
    quantiles = np.quantile(sign * values, np.linspace(0, 1, num)).round(6)
    shares = np.arange(num) / num  # identical pictures are one step beyond the best of the others
    kept = [i for i in range(num) if quantiles[i] < sign * best and (i == 0 or quantiles[i] > quantiles[i - 1])]
    told = (float(sign * quantiles[i]) for i in kept)
    return Table((*told, best), (*(round(float(shares[i]), 6) for i in kept), 1.0))


def graded(name: str, value: float) -> float:
    """The quality from 0 to 1 that the metric's table gives a value: 1 that of identical pictures, 0 the worst measured and all below.

    Raises:
        BadUsage: the metric has no table.
    """
    known = tables()
    if name not in known:
        raise BadUsage(f"no weak labels by {name!r}{nearest(name, list(known))}")
    table, sign = known[name], _sign(name)
    return float(np.interp(sign * value, sign * np.array(table.values), table.qualities))


def weak_label(scores: Mapping[str, float]) -> float:
    """The mean quality over the metrics, from the values they gave."""
    return math.fsum(graded(name, value) for name, value in scores.items()) / len(scores)


def weak_scores(
    image: Float[Tensor, "b 3 h w"], reference: Float[Tensor, "b 3 h w"], names: Sequence[str] = NAMES
) -> list[dict[str, float]]:
    """The raw value of each metric, per pair, of pixels from 0 to 1."""
    with torch.no_grad():
        columns = [measure(name, image, reference).tolist() for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def weak_labels(image: Float[Tensor, "b 3 h w"], reference: Float[Tensor, "b 3 h w"], names: Sequence[str] = NAMES) -> Float[Tensor, " b"]:
    """The label of each pair, of pixels from 0 to 1: 1 for identical pictures, higher is better."""
    return torch.tensor([weak_label(row) for row in weak_scores(image, reference, names)], device=image.device)


def _sign(name: str) -> int:
    return 1 if find(name).higher_is_better else -1


# ---- whole sets ---------------------------------------------------------------------------------------------------


def labelled(
    examples: Sequence[Example], open_pair: Callable[[Example], Opened], names: Sequence[str] = NAMES, source: str = "data"
) -> list[Example]:
    """The examples; those with a `distortion` and no `label` get one, and `scores`, the raw value of each metric.

    What was measured stays in the cache, one small file a pair, so a second pass opens no picture.

    Args:
        names: classic metrics that have a table.
        source: what messages call the examples.
    Raises:
        BadUsage: no metric is named, one twice, or one that has no table.
        BadData: a pair cannot be opened or is too small, or the cache cannot be written.
    """
    _checked(names)
    places = _places([example for example in examples if _wants(example)], names)
    missing = sum(not path.is_file() for path in places.values())
    if missing >= _MANY:
        log.warning("%s: measuring %s of %d generated pairs, once, a few a second", source, ", ".join(names), missing)
    found, done = [], 0
    for example in examples:
        if not _wants(example):
            found.append(example)
            continue
        path = places[id(example)]
        scores = _kept(path, names)
        if scores is None:
            scores = _measured(example, open_pair, names)
            _keep(path, scores)
            done += 1
            if missing >= _MANY and done % (missing // 10) == 0:
                log.info("%s: weak labels, %d of %d", source, done, missing)
        found.append({**example, "label": weak_label(scores), "scores": scores})
    return found


def _wants(example: Example) -> bool:
    return "distortion" in example and example.get("label") is None


def _checked(names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise BadUsage(
            f"weak labels by {', '.join(names) or 'no metric'}: expected one or more, each once; there are {', '.join(tables())}"
        )
    for name in names:
        graded(name, find(name).best)


def _measured(example: Example, open_pair: Callable[[Example], Opened], names: Sequence[str]) -> dict[str, float]:
    pair = open_pair(example)
    image, reference = (rearrange(picture, "c h w -> 1 c h w").float() / 255 for picture in (pair.image, pair.reference))
    try:
        scores = weak_scores(image, reference, names)[0]
    except BadData as error:
        raise BadData(f"{example.get('id', 'a generated pair')}: {error}") from None
    odd = [name for name, value in scores.items() if not math.isfinite(value)]
    if odd:
        raise BadData(
            f"{example.get('id', 'a generated pair')}: {odd[0]} is not finite on it; leave the picture out, or choose other metrics"
        )
    return scores


# ---- the cache ----------------------------------------------------------------------------------------------------


def _places(examples: Sequence[Example], names: Sequence[str]) -> dict[int, pathlib.Path]:
    """Where the scores of each example lie, by its `id()`; each photograph is read once."""
    folder, digests = packages.cache_folder() / "weak-labels", {}
    maker = _maker() if examples else ""
    found = {}
    for example in examples:
        photo: Source = example["reference"]
        key: Hashable = os.fspath(photo) if isinstance(photo, os.PathLike) else photo
        if key not in digests:
            digests[key] = hashlib.sha256(read_bytes(photo, str(example.get("id", "")))).hexdigest()
        told = [maker, digests[key], example["distortion"], example.get("short"), example.get("corruption"), list(names)]
        named = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
        found[id(example)] = folder / named[:2] / f"{named[2:32]}.json"
    return found


@functools.lru_cache(1)
def _maker() -> str:
    """What the scores depend on beside the pair: the source of the generator, the library, ourselves."""
    total = hashlib.sha256(f"{_VERSION} {importlib.metadata.version('piq')}".encode())
    for file in sorted(pathlib.Path(distort.__file__).parent.glob("*.py")):
        if file.name != "pairs.py":  # which says what is asked for, not what comes of it
            total.update(file.read_bytes())
    return total.hexdigest()


def _kept(path: pathlib.Path, names: Sequence[str]) -> dict[str, float] | None:
    """The scores that lie there; nothing where there is no whole file of them."""
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict) or sorted(told) != sorted(names):
        return None
    whole = all(isinstance(value, float) and math.isfinite(value) for value in told.values())
    return {name: told[name] for name in names} if whole else None


def _keep(path: pathlib.Path, scores: Mapping[str, float]) -> None:
    """Writes the file whole or not at all, whoever else writes it too."""
    fresh = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", suffix=".tmp", delete=False, encoding="utf-8") as file:
            fresh = file.name
            json.dump(scores, file)
        os.replace(fresh, path)
    except OSError as error:
        if fresh:
            pathlib.Path(fresh).unlink(missing_ok=True)
        raise BadData(
            f"cannot write {path.parent}: {error.strerror or error}; set PELLUCID_CACHE to a folder that can be written"
        ) from None
