"""Local features of clips: decoded ahead in threads, made in batches across clips, kept on disk; and the frames of end to end training."""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import pathlib
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from pellucid.data import packages
from pellucid.data.clips.clip import Clip, Film, clip_of
from pellucid.data.clips.shards import Store
from pellucid.data.corrupt import PICTURES
from pellucid.errors import BadData, UnsafeInput
from pellucid.task import Batch, Example
from pellucid.tasks.video.ahead import Ahead, Done
from pellucid.tasks.video.settings import Stream, VideoSettings
from pellucid.tasks.video.streams import picture_shape, weights_sha256
from pellucid.tasks.video.views import pieces

log = logging.getLogger("pellucid")
FORMAT = 1  # of what is made of the same clip under the same settings; other views, other number
_BATCH, _CHUNK = 32, 8  # pictures in a forward pass, and in what one thread hands over
_TELL_S = 30.0  # between lines of progress
_SHOWN = 3
_OF = {"rgb": ("view", "rate", "most"), "flow": ("view", "rate", "most", "stack", "bound"), "audio": ("rate", "most", "window_s", "mels")}


@dataclass
class Utilisation:
    """Where the time of an extraction went, in seconds; those of decoding are summed over its threads.

    Args:
        starved_s: the network waited for pictures.
        blocked_s: decoding waited for the network.
    """

    clips: int = 0
    features: int = 0
    threads: int = 0
    wall_s: float = 0.0
    decode_s: float = 0.0
    network_s: float = 0.0
    starved_s: float = 0.0
    blocked_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.features} features of {self.clips} clips in {self.wall_s:.1f} s: the network worked {self.network_s:.1f} s and waited "
            f"{self.starved_s:.1f} s, {self.threads} threads decoded {self.decode_s:.1f} s and waited {self.blocked_s:.1f} s"
        )


class Counted(nn.Module):
    """In the place of a network where only the number of pieces is asked for."""

    width = 1


def extracted(
    examples: Sequence[Example], source: str, streams: Mapping[str, nn.Module], settings: VideoSettings, device: torch.device | str
) -> list[Example]:
    """The examples with `local`, where the features of each modality lie, and `times_s`, when each begins; made once, and kept.

    Raises:
        BadData, UnsafeInput: a clip cannot be read, and such are not left out, or none can; the message names it.
    """
    return extract(examples, source, streams, settings, device)[0]


def checked(examples: Sequence[Example], source: str, settings: VideoSettings) -> list[Example]:
    """The examples with `times_s` of the pieces in each clip, and `local` of as many rows without meaning; for end to end training.

    Raises:
        BadData, UnsafeInput: as `extracted`.
    """
    plain = [{key: value for key, value in e.items() if key != "corruption"} for e in examples]  # which moves nothing in time
    found = extract(plain, source, {name: Counted() for name in settings.streams}, settings, "cpu")[0]
    spoiled = {e["id"]: e["corruption"] for e in examples if "corruption" in e}
    return [{**e, **({"corruption": spoiled[e["id"]]} if e["id"] in spoiled else {})} for e in found]


def extract(
    examples: Sequence[Example],
    source: str,
    streams: Mapping[str, nn.Module],
    settings: VideoSettings,
    device: torch.device | str,
    threads: int = 0,
) -> tuple[list[Example], Utilisation]:
    """`extracted`, and where the time went.

    Args:
        threads: that decode; 0 takes as many as there are cores, at most 8.
    Raises:
        BadData, UnsafeInput: as `extracted`.
    """
    stores = {name: _store(name, stream, settings) for name, stream in streams.items()}
    found, faults = _jobs(examples, settings, stores)
    todo = {tuple(job.keys.values()): job for job in found if job is not None and job.missing}
    used = Utilisation(threads=threads or min(8, os.cpu_count() or 1))
    if todo and not (faults and settings.broken == "refuse"):
        making = _Making({n: s.to(device).eval() for n, s in streams.items()}, stores, torch.device(device), used)
        broken = making.run(list(todo.values()), settings)
        log.info("%s: %s", source, used)
        faults |= {i: broken[key] for i, job in enumerate(found) if job and (key := tuple(job.keys.values())) in broken}
    _tell(examples, faults, source, settings.broken)
    return [_with(e, job, stores) for i, (e, job) in enumerate(zip(examples, found, strict=True)) if i not in faults and job], used


# ---- what is to be made -------------------------------------------------------------------------------------------------


@dataclass
class _Job:
    """A clip, and what is known of its features so far.

    Args:
        keys: modality -> key in its store.
        missing: modalities that are to be made.
        rows: of each of these the features so far, and `times` of all its pieces so far.
        decoded: whether all pieces have been seen.
    """

    clip: Clip
    corruption: Mapping[str, Any] | None
    keys: dict[str, str]
    missing: list[str]
    rows: dict[str, list[Float[np.ndarray, "n f"]]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)
    made: int = 0
    decoded: bool = False


def _jobs(
    examples: Sequence[Example], settings: VideoSettings, stores: Mapping[str, Store]
) -> tuple[list[_Job | None], dict[int, BadData | UnsafeInput]]:
    """A job of each example, and the faults of those that cannot even be found."""
    found: list[_Job | None] = []
    faults: dict[int, BadData | UnsafeInput] = {}
    for i, example in enumerate(examples):
        try:
            clip = clip_of(example)
            keys = {name: entry_key(clip, name, example.get("corruption")) for name in stores}
            missing = [name for name, key in keys.items() if stores[name].get(key) is None]
            found.append(_Job(clip, example.get("corruption"), keys, missing))
        except (BadData, UnsafeInput) as fault:
            faults[i] = fault
            found.append(None)
            if settings.broken == "refuse":
                break
    return found + [None] * (len(examples) - len(found)), faults


def entry_key(clip: Clip, name: str, corruption: Mapping[str, Any] | None = None) -> str:
    """Name of a clip's features in the cache: of what it is read from, and of what is done to its pixels."""
    spoiled = corruption if corruption and corruption["kind"] in PICTURES and name != "audio" else None
    told = {key: spoiled[key] for key in ("kind", "severity", "seed")} if spoiled else None
    return hashlib.sha256(json.dumps([clip.key(), told]).encode()).hexdigest()


def manifest(name: str, stream: nn.Module, settings: Stream) -> dict[str, Any]:
    """All that the features of a modality depend on, beside the clips."""
    told, made = asdict(settings), {"model": "", "layer": "none", "weights": ""}
    if not isinstance(stream, Counted):
        made = {"model": settings.model, "layer": "pooled", "weights": weights_sha256(stream)}
    return {**made, "width": _width(stream), "format": FORMAT, **{key: told[key] for key in _OF[name]}}


def _width(stream: nn.Module) -> int:
    return cast(int, stream.width)


def _store(name: str, stream: nn.Module, settings: VideoSettings) -> Store:
    about = manifest(name, stream, settings.streams[name])
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    base = pathlib.Path(settings.cache).expanduser() if settings.cache else packages.cache_folder() / "clips"
    return Store(base / f"{name}-{digest}", {name: about, "versions": versions()})


def versions() -> dict[str, str]:
    """Of the programs that the last bits of a feature depend on."""
    found = {}
    for program in ("torch", "timm", "av"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[program] = importlib.metadata.version(program)
    return found


def _with(example: Example, job: _Job, stores: Mapping[str, Store]) -> Example:
    local, times = {}, {}
    for name, key in job.keys.items():
        held = stores[name].get(key)
        assert held is not None, f"{job.clip.name}: its features were made, and are gone"
        local[name], times[name] = held[name], tuple(float(t) for t in stores[name].times(key, name))
    return {**example, "local": local, "times_s": times}


def _tell(examples: Sequence[Example], faults: Mapping[int, BadData | UnsafeInput], source: str, broken: str) -> None:
    """Refuses broken clips, or says once how many are left out.

    Raises:
        BadData, UnsafeInput: they are not to be left out, or there is nothing else.
    """
    if not faults:
        return
    told = {i: (str(examples[i]["id"]), str(fault)) for i, fault in sorted(faults.items())}
    lines = [fault if fault.startswith(name) else f"{name}: {fault}" for name, fault in told.values()]
    some = "; ".join(lines[:_SHOWN]) + ("; ..." if len(lines) > _SHOWN else "")
    if broken == "refuse" or len(faults) == len(examples):
        kind = UnsafeInput if any(isinstance(fault, UnsafeInput) for fault in faults.values()) else BadData
        raise kind(some if broken == "refuse" else f"{source}: none of {len(examples)} clips can be used: {some}")
    log.warning("%s: %d of %d clips cannot be used; left out: %s", source, len(faults), len(examples), some)


# ---- making it ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chunk:
    """Some successive pieces of a clip."""

    name: str
    times: list[float]
    pictures: Shaped[Tensor, "n c h w"] | None  # none where no network is asked


def _chunks(job: _Job, settings: VideoSettings, blind: bool) -> Generator[_Chunk, None, None]:
    """What a clip's networks are shown, a few pieces at a time."""
    for name in job.missing:
        times: list[float] = []
        pictures: list[Tensor] = []
        for piece in pieces(name, job.clip, settings.streams[name], job.corruption):
            times.append(piece.time_s)
            if not blind:
                pictures.append(piece.picture())
            if len(times) == _CHUNK:
                yield _Chunk(name, times, None if blind else torch.stack(pictures))
                times, pictures = [], []
        if times:
            yield _Chunk(name, times, None if blind else torch.stack(pictures))


class _Making:
    """Brings pictures of many clips together for the networks, and their rows back to the clips."""

    def __init__(self, streams: Mapping[str, nn.Module], stores: Mapping[str, Store], device: torch.device, used: Utilisation):
        self.streams, self.stores, self.device, self.used = streams, stores, device, used
        self.waiting: dict[str, list[tuple[_Job, Tensor]]] = {name: [] for name in streams}

    def run(self, jobs: Sequence[_Job], settings: VideoSettings) -> dict[tuple[str, ...], BadData | UnsafeInput]:
        """Makes all that is missing; gives the faults by the clips' keys. What is finished stays, whatever comes after it."""
        blind = any(isinstance(stream, Counted) for stream in self.streams.values())
        depth, start = 2 * self.used.threads + _BATCH // _CHUNK, time.perf_counter()
        ahead = Ahead(jobs, lambda job: _chunks(job, settings, blind), self.used.threads, depth)
        try:
            with ahead:
                return self._all(jobs, self._timed(ahead, len(jobs)), settings.broken == "refuse")
        finally:
            self.used.threads, self.used.wall_s = ahead.threads, time.perf_counter() - start
            self.used.decode_s, self.used.blocked_s = ahead.spent.working_s, ahead.spent.blocked_s
            for store in self.stores.values():
                store.flush()

    def _all(
        self, jobs: Sequence[_Job], items: Iterator[tuple[int, _Chunk | Done]], refuse: bool
    ) -> dict[tuple[str, ...], BadData | UnsafeInput]:
        """Takes all that was decoded; gives the faults, or the first of them."""
        faults: dict[tuple[str, ...], BadData | UnsafeInput] = {}
        for at, item in items:
            if isinstance(item, _Chunk):
                self._take(jobs[at], item)
            elif item.fault is None:
                jobs[at].decoded = True
                self._finish(jobs[at])
            else:
                faults[tuple(jobs[at].keys.values())] = item.fault
                if refuse:
                    return faults
        for name in self.streams:
            self._ask(name, 1)
        return faults

    def _timed(self, ahead: Ahead[_Job, _Chunk], num_jobs: int) -> Iterator[tuple[int, _Chunk | Done]]:
        """The same, with the time counted that it had to be waited for, and a line of progress now and then."""
        start = told = now = time.perf_counter()
        for at, item in ahead:
            self.used.starved_s += time.perf_counter() - now
            yield at, item
            now = time.perf_counter()
            if now - told > _TELL_S:
                told = now
                self._progress(num_jobs, now - start)

    def _take(self, job: _Job, chunk: _Chunk) -> None:
        job.times.setdefault(chunk.name, []).extend(chunk.times)
        if chunk.pictures is None:
            self._give(job, chunk.name, np.zeros((len(chunk.times), 1), np.float32))
            return
        self.waiting[chunk.name].append((job, chunk.pictures))
        self._ask(chunk.name, _BATCH)

    def _ask(self, name: str, least: int) -> None:
        """Asks the network about what waits, while that is at least so many pictures."""
        waiting = self.waiting[name]
        while sum(len(pictures) for _, pictures in waiting) >= least:
            now, count = [], 0
            while waiting and count < _BATCH:
                now.append(waiting.pop(0))
                count += len(now[-1][1])
            start = time.perf_counter()
            with torch.no_grad():
                rows = self.streams[name](torch.cat([pictures for _, pictures in now]).to(self.device)).float().cpu().numpy()
            self.used.network_s += time.perf_counter() - start
            for (job, _), part in zip(now, np.split(rows, np.cumsum([len(pictures) for _, pictures in now])[:-1]), strict=True):
                self._give(job, name, part)

    def _give(self, job: _Job, name: str, rows: Float[np.ndarray, "n f"]) -> None:
        job.rows.setdefault(name, []).append(rows)
        job.made += len(rows)
        self._finish(job)

    def _finish(self, job: _Job) -> None:
        """Keeps the features of a clip that are complete."""
        if not job.decoded or job.made < sum(map(len, job.times.values())):
            return
        for name in job.missing:
            rows = job.rows.pop(name, None) or [np.zeros((0, _width(self.streams[name])), np.float32)]
            self.stores[name].add(job.keys[name], {name: (np.concatenate(rows), np.asarray(job.times.get(name, []), np.float32))})
        self.used.clips += 1
        self.used.features += job.made

    def _progress(self, of: int, seconds: float) -> None:
        done = self.used.clips
        left = (of - done) * seconds / max(1, done) / 60
        log.info("features: %d of %d clips, %.1f a second; about %.0f minutes to go", done, of, done / seconds, left)


# ---- without features -----------------------------------------------------------------------------------------------------


def frames_batch(examples: Sequence[Example], name: str, seen: Sequence[Sequence[int]], settings: VideoSettings) -> Batch:
    """`NAME_frames` (b n c h w), what the modality's network is shown, and `NAME_present` (b n); at least one wide.

    Args:
        seen: of each example the places of its pieces, in any order, perhaps several times.
    Raises:
        BadData: a clip cannot be read, or has become shorter.
    """
    told = settings.streams[name]
    longest = max(1, *map(len, seen))
    kind = torch.float32 if name == "audio" else torch.uint8
    frames = torch.zeros(len(examples), longest, *picture_shape(name, told), dtype=kind)
    for row, example, places in zip(frames, examples, seen, strict=True):
        found = _pictures(example, name, set(places), told)
        for i, place in enumerate(places):
            row[i] = found[place]
    counts = torch.tensor([len(places) for places in seen])
    return {f"{name}_frames": frames, f"{name}_present": torch.arange(longest) < rearrange(counts, "b -> b 1")}


def _pictures(example: Example, name: str, places: set[int], settings: Stream) -> dict[int, Shaped[Tensor, "c h w"]]:
    """What is seen at those places of a clip."""
    found: dict[int, Tensor] = {}
    if not places:
        return found
    for i, piece in enumerate(pieces(name, clip_of(example), settings, example.get("corruption"))):
        if i in places:
            found[i] = piece.picture()
        if len(found) == len(places):
            return found
    raise BadData(f"{example.get('id', 'a clip')}: piece {max(places) + 1} is not there any more; has {clip_of(example).name} changed?")


def film_of(example: Example, name: str, times_s: Sequence[float]) -> Film | None:
    """Small pictures of the clip at those times; None of an example that has no clip."""
    if "video" not in example:
        return None
    return Film(clip_of(example), tuple(times_s), tuple(f"{t:.2f} s" for t in times_s))
