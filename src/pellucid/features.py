"""Local features of clips in a folder of their own, made by a recipe's or a run's backbones, which any later training starts from."""

import os
import pathlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from pellucid import recipe as recipes
from pellucid import run
from pellucid.data.clips.clip import clip_of
from pellucid.data.clips.held import load
from pellucid.data.clips.shards import Store, write_rows
from pellucid.data.read import read, require
from pellucid.errors import BadUsage
from pellucid.recipe import Data
from pellucid.task import Example
from pellucid.tasks.video.extract import Utilisation, entry_key, extract, manifest, versions
from pellucid.tasks.video.settings import VideoSettings
from pellucid.tasks.video.streams import stream
from pellucid.train.loop import start_fabric

KEPT = ("label", "labels", "group", "classes")  # of a row, beside its id


@dataclass(frozen=True)
class Made:
    """What became of a source.

    Args:
        clips: in the folder, one for each row of it.
        left_out: rows whose clips cannot be read.
        features: modality -> how many there are.
        used: where the time went; what had been made before took none.
    """

    folder: str
    clips: int
    left_out: int
    features: dict[str, int]
    used: Utilisation

    @property
    def network_busy(self) -> float:
        """Share of the time in which the network worked; NaN where it was not asked."""
        return self.used.network_s / self.used.wall_s if self.used.wall_s else float("nan")

    @property
    def decoder_busy(self) -> float:
        """Share of the time in which its threads decoded, and did not wait for the network."""
        return self.used.decode_s / (self.used.threads * self.used.wall_s) if self.used.wall_s else float("nan")

    def told(self) -> dict[str, Any]:
        """All of it as plain values."""
        busy = {} if not self.used.clips else {"network_busy": self.network_busy, "decoder_busy": self.decoder_busy}
        mine = {"folder": self.folder, "clips": self.clips, "left_out": self.left_out, "features": self.features}
        used = {key: round(value, 3) for key, value in asdict(self.used).items() if key not in ("clips", "features")}
        return {**mine, "made": self.used.clips, **used, **{key: round(value, 3) for key, value in busy.items()}}

    def __str__(self) -> str:
        each = ", ".join(f"{count} {name}" for name, count in self.features.items())
        head = f"{self.folder}: {self.clips} clips, {each} features"
        if not self.used.clips:
            return f"{head}; all had been made before"
        before = f" ({self.clips - self.used.clips} made before)" if self.clips > self.used.clips else ""
        busy = f"network busy {self.network_busy:.0%}, {self.used.threads} decoding threads {self.decoder_busy:.0%}"
        return f"{head}{before}, {self.used.wall_s:.1f} s; {busy}"


def make(
    name: str, source: Data, out: str | os.PathLike[str], settings: Mapping[str, Any] | None = None, skip_broken: bool = False
) -> Made:
    """Makes the local features of a source of videos and keeps them in a folder, which `features:FOLDER` reads.

    Features are made in the cache (`task.cache`), where an interrupted call goes on and a recipe's training finds them, and copied.

    Args:
        name: a recipe, or the folder of a run, whose backbones may have learned.
        settings: fields of the recipe by dotted name.
        skip_broken: clips that cannot be read are left out instead of refused.
    Raises:
        BadUsage: no backbones, or settings for a run.
        BadData: a clip cannot be read, or the folder holds features that were made otherwise.
    """
    rows = read(source)
    require(rows, ("video",), source.source)
    chosen, streams, device = _backbones(name, settings or {})
    told = replace(chosen, broken="skip" if skip_broken else chosen.broken)
    about = {at: manifest(at, module, told.streams[at]) for at, module in streams.items()}
    with Store(out, {**about, "versions": versions()}) as store:
        kept, used = extract(rows, source.source, streams, told, device)
        written = [_copied(example, store, streams) for example in kept]
    write_rows(store.folder, written)
    counts = {at: sum(len(example["times_s"][at]) for example in kept) for at in streams}
    return Made(str(out), len(kept), len(rows) - len(kept), counts, used)


def _backbones(name: str, settings: Mapping[str, Any]) -> tuple[VideoSettings, dict[str, nn.Module], torch.device]:
    """How features are made, by what, and where."""
    streams: dict[str, nn.Module] = {}
    if pathlib.Path(name).is_dir():
        if settings:
            raise BadUsage(f"--set {next(iter(settings))}: {name} is a run, whose backbones are what they are; settings go with a recipe")
        done = run.load(name)
        told, device = done.recipe.task, done.fabric.device
        if isinstance(told, VideoSettings):
            streams = dict(done.task.model.streams.named_children())  # type: ignore[union-attr]
    else:
        told, device = recipes.override(recipes.get(name), settings).task, start_fabric("32-true").device
        if isinstance(told, VideoSettings):
            streams = {at: stream(at, one) for at, one in told.streams.items()}
    if not isinstance(told, VideoSettings) or not streams:
        raise BadUsage(f"{name}: it has no backbone that makes features of clips; give one that has task.streams")
    return told, streams, device


def _copied(example: Example, store: Store, modalities: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Adds an example's features to the store; gives its row."""
    key = entry_key(clip_of(example), next(iter(modalities)))
    if key not in store:
        times = {name: np.asarray(example["times_s"][name], np.float32) for name in modalities}
        store.add(key, {name: (load(example["local"][name]), times[name]) for name in modalities})
    return {"id": example["id"], **{name: example[name] for name in KEPT if name in example}, "key": key}
