"""Features that we made, kept in shards: each written whole or not at all, told apart from features made otherwise."""

import contextlib
import json
import os
import pathlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float

from pellucid.data import sources
from pellucid.data.clips import arrays
from pellucid.data.clips.held import Held, load
from pellucid.errors import BadData, BadUsage

MANIFEST, ROWS = "manifest.json", "rows.jsonl"
NUM_CLIPS, NUM_BYTES = 256, 256 << 20  # of one shard: what is lost at most when the process is killed
_FORMAT = "pellucid features 1"
_TIMES = "times"
_STALE_S = 86400.0

Made = Mapping[str, tuple[Float[np.ndarray, "n f"], Float[np.ndarray, " n"]]]  # modality -> features, and when each was, in seconds
Index = dict[str, dict[str, tuple[Held, Held]]]  # key -> modality -> the same, where they lie


class Store:
    """A folder of features that were made in one way, by clip; several processes may add to it at once.

    Use as a context manager: leaving the block, also by an error, writes what was added.

    Args:
        manifest: how they are made: modality -> {model, layer, weights, view, rate, most, width}; and `versions`, which may differ.
    Raises:
        BadData: the folder holds features that were made otherwise, naming the field.
    """

    def __init__(self, folder: str | os.PathLike[str], manifest: Mapping[str, Any]):
        self.folder = pathlib.Path(folder)
        self._same_or_new(manifest)
        self.pending: dict[str, Made] = {}
        self.size = 0
        self._read: set[str] = set()
        self._there: Index = {}
        _clear(self.folder)
        self.refresh()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def __contains__(self, key: str) -> bool:
        return key in self._there or key in self.pending

    def __len__(self) -> int:
        return len(self._there) + len(self.pending)

    def get(self, key: str) -> dict[str, Held] | None:
        """Where the features of a clip lie, by modality; None while they are not written. Of a modality it lacks, no rows."""
        there = self._there.get(key)
        return None if there is None else {modality: features for modality, (features, _) in there.items()}

    def times(self, key: str, modality: str) -> tuple[float, ...]:
        """When in the clip each local feature was, in seconds."""
        return moments(self._there[key][modality][1])

    def add(self, key: str, made: Made) -> None:
        """Keeps features of a clip, written with the next full shard or `flush`; of a clip that is there already nothing is changed.

        Raises:
            BadData: a number is not finite.
        """
        assert key and "/" not in key
        if key in self:
            return
        for modality, (features, times) in made.items():
            assert "/" not in modality and features.ndim == 2 and times.shape == features.shape[:1]
            if not np.isfinite(features).all():
                raise BadData(f"{key}: its {modality} features are not finite; a network in float16 overflows, in float32 seldom")
        self.pending[key] = made
        self.size += sum(features.nbytes for features, _ in made.values())
        if len(self.pending) >= NUM_CLIPS or self.size >= NUM_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what was added and not yet written, as one shard.

        Raises:
            BadUsage: the folder cannot be written to.
        """
        from safetensors.numpy import save_file

        if not self.pending:
            return
        tensors = {}
        for key, made in self.pending.items():
            for modality, (features, times) in made.items():
                kept = features if features.dtype == np.float16 else features.astype(np.float32)
                tensors[f"{key}/{modality}"] = np.ascontiguousarray(kept)
                tensors[f"{key}/{modality}/{_TIMES}"] = np.ascontiguousarray(times, np.float32)
        # the number is for people, the token keeps two processes apart
        name = f"features-{len(shards(self.folder)):05d}-{secrets.token_hex(4)}.safetensors"
        with whole_file(self.folder / name) as fresh:
            save_file(tensors, fresh)
        self.pending, self.size = {}, 0
        self.refresh()

    def refresh(self) -> None:
        """Takes up what other processes have written since."""
        for path in shards(self.folder):
            if path.name not in self._read:
                for key, there in _index(path).items():
                    self._there.setdefault(key, there)
                self._read.add(path.name)

    def _same_or_new(self, manifest: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps({"format": _FORMAT, **manifest}))
        path = self.folder / MANIFEST
        if not path.exists():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadUsage(f"{self.folder}: cannot be made ({error.strerror or error})") from None
            with whole_file(path) as fresh:
                fresh.write_text(json.dumps(wanted, indent=1) + "\n")
        there = sources.read_json(path)
        if not isinstance(there, dict):
            raise BadData(f"{path}: expected an object that says how the features were made")
        if (versions := there.pop("versions", None)) != wanted.pop("versions", None):
            sources.log.warning("%s: features made with other versions are used: %s", self.folder, versions)
        fault = _difference(there, wanted)
        if fault:
            raise BadData(f"{path}: {fault}: features made otherwise; name another folder, or remove this one")


def shards(folder: pathlib.Path) -> list[pathlib.Path]:
    """The shards of a folder that are whole, in the order of their names."""
    return sorted(path for path in folder.glob("features-*.safetensors") if not path.name.startswith("."))


def index(folder: pathlib.Path) -> Index:
    """Where the features of each clip lie, of all shards of a folder.

    Raises:
        BadData: a shard is damaged.
    """
    found: Index = {}
    for path in shards(folder):
        for key, there in _index(path).items():
            found.setdefault(key, there)
    return found


def moments(times: Held) -> tuple[float, ...]:
    """The numbers of an array of times, in seconds."""
    return tuple(rearrange(load(times), "n 1 -> n").tolist())


def write_rows(folder: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Lists the clips of a folder (id, label or labels, group, and the `key` of their features), which makes it a source of data."""
    with whole_file(folder / ROWS) as fresh:
        fresh.write_text("".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@contextlib.contextmanager
def whole_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A fresh path beside the file's that becomes it when the block ends well; otherwise nothing of it stays.

    Raises:
        BadUsage: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield fresh
        with open(fresh, "rb") as file:
            os.fsync(file.fileno())  # else a machine that stops may keep the name without the bytes
        os.replace(fresh, path)
    except OSError as error:
        raise BadUsage(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        fresh.unlink(missing_ok=True)


def _index(path: pathlib.Path) -> Index:
    try:
        there = arrays.tensors(str(path))
        found: Index = {}
        for name, array in there.items():
            if len(array.shape) == 2:
                key, modality = name.split("/")
                times = there[f"{name}/{_TIMES}"]
                found.setdefault(key, {})[modality] = (_held(path, name, array), _held(path, f"{name}/{_TIMES}", times))
    except (KeyError, ValueError, OSError) as error:
        told = error if isinstance(error, BadData) else f"{path}: not a shard of features"
        raise BadData(f"{told}; remove this file, and its features are made anew") from None
    return found


def _held(path: pathlib.Path, name: str, array: arrays.Array) -> Held:
    rows, width = (*array.shape, 1)[:2]
    return Held(str(path), name, "", rows, width, array.dtype, array.offset)


def _clear(folder: pathlib.Path) -> None:
    """Removes what a process that was killed left half written; of one that still writes it is younger."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()


def _difference(there: Any, wanted: Any, name: str = "") -> str:
    """The first field that differs, and how."""
    if not (isinstance(there, dict) and isinstance(wanted, dict)):
        return "" if there == wanted else f"{name} is {json.dumps(there)}, not {json.dumps(wanted)}"
    for key in [*wanted, *(key for key in there if key not in wanted)]:
        if fault := _difference(there.get(key), wanted.get(key), f"{name}.{key}".lstrip(".")):
            return fault
    return ""
