"""Test rows that the training set has already shown: exact duplicates and near ones."""

import itertools
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, Int64
from scipy import sparse

from pellucid.data.copies import clip_copies, copies

WIDTH = 5  # bytes of text in a shingle
BANDS, ROWS = 24, 6  # a pair at Jaccard 0.8 escapes all bands once in 1,500, one at 0.85 once in 80,000
_PAIRS = 100_000  # candidate pairs compared at once
_BLOCK = 1 << 22  # bytes of text cut into shingles at once

Examples = Sequence[Mapping[str, Any]]


def leaks(
    train: Examples, tests: Mapping[str, Examples], fields: Sequence[str] = ("text", "text_pair"), threshold: float = 0.8
) -> dict[str, Any]:
    """Per test set, how many of its rows are in the training set, and five of them, as results/leaks.json holds it.

    Exact: equal but for case, spaces and punctuation. Near: not exact, and the sets of 5-byte shingles have a Jaccard
    similarity of at least `threshold` with some training row. Candidates come from MinHash bands, so that a row close to
    the threshold may in rare cases be missed, but each that is counted has been compared in full.

    Where all rows have a `label`, of the exact ones `same_label` says how many have the label of such a training row, letter for
    letter, and `other_label` how many have it of none, which contradict the training set; of the near ones `near_same_label` says
    how many have the label of a training row near them. The examples then tell it too, those of the same label first.

    Of pictures and clips, exact means the same bytes, of a clip the same part of them, of a folder of frames as many of them and the
    same bytes of the first, the middle and the last; near ones are not searched for, and none are counted, nor labels compared.
    """
    kind = next((kind for kind in ("image", "video") if train and kind in train[0]), None)
    if kind and not any(field in train[0] for field in fields):
        found = copies(train, tests) if kind == "image" else clip_copies(train, tests)
        same = {name: {t: _Found(s, "exact") for t, s in pairs.items()} for name, pairs in found.items()}
        return {"train": len(train), "sets": {name: _told(same[name], train, tests[name], False) for name in tests}}
    known = _Known(train, fields, threshold)
    sets = {name: _told(known.find(rows), train, rows, bool(known.labels and labels_of(rows))) for name, rows in tests.items()}
    return {"train": len(train), "sets": sets}


def counts(found: Mapping[str, Any], exact: str = "", near: str = "") -> tuple[str, str]:
    """How many rows of a set are exact and near, each with its word behind it, and how many of them have the same label."""
    first, second = f"{found['exact']:,}{exact}", f"{found['near']:,}{near}"
    if "same_label" in found and found["exact"]:
        first += f" ({found['same_label']:,} same label, {found['exact'] - found['same_label']:,} other)"
    if "near_same_label" in found and found["near"]:
        second += f" ({found['near_same_label']:,} same label)"
    return first, second


class _Found(NamedTuple):
    """What a test row repeats: the training row, exact or near, and whether the label is the same, None where there are none."""

    row: int
    kind: str
    same: bool | None = None


def _told(found: Mapping[int, _Found], train: Examples, examples: Examples, labelled: bool) -> dict[str, Any]:
    """One set of results/leaks.json."""
    order = sorted(found, key=lambda t: (not found[t].same, t))
    told: dict[str, Any] = {"n": len(examples), **{kind: sum(f.kind == kind for f in found.values()) for kind in ("exact", "near")}}
    if labelled:
        same = {kind: sum(bool(f.same) for f in found.values() if f.kind == kind) for kind in ("exact", "near")}
        told |= {"same_label": same["exact"], "other_label": told["exact"] - same["exact"], "near_same_label": same["near"]}
    return {**told, "examples": [_pair(examples[t], train[found[t].row], found[t]) for t in order[:5]]}


def _pair(test: Mapping[str, Any], train: Mapping[str, Any], found: _Found) -> dict[str, Any]:
    label = {} if found.same is None else {"label": "same" if found.same else "other"}
    return {"test_id": test["id"], "train_id": train["id"], "kind": found.kind, **label}


class _Known:
    """The training texts, each once with each of its labels."""

    def __init__(self, train: Examples, fields: Sequence[str], threshold: float):
        self.fields = fields
        self.labels = labels_of(train)
        pairs: dict[tuple[str, Any], int] = {}
        for row, example in enumerate(train):
            if key := _key(example, fields):
                pairs.setdefault((key, self.labels[row] if self.labels else None), row)
        self.pairs, self.rows = pairs, list(pairs.values())
        self.first: dict[str, int] = {}
        for (key, _), row in pairs.items():
            self.first.setdefault(key, row)
        self.index = _Index([key for key, _ in pairs], threshold)

    def find(self, examples: Examples) -> dict[int, _Found]:
        """Test row -> what it repeats."""
        keys = [_key(example, self.fields) for example in examples]
        labels = labels_of(examples) if self.labels else []
        exact = {t: self._exact(key, labels[t] if labels else None) for t, key in enumerate(keys) if key in self.first}
        rest = [t for t, key in enumerate(keys) if key and t not in exact]
        near = self._near([keys[t] for t in rest], [labels[t] for t in rest] if labels else [])
        return exact | {rest[i]: found for i, found in near.items()}

    def _exact(self, key: str, label: Any) -> _Found:
        row = self.pairs.get((key, label))
        return _Found(self.first[key] if row is None else row, "exact", None if label is None else row is not None)

    def _near(self, keys: list[str], labels: list[Any]) -> dict[int, _Found]:
        near = self.index.near(keys)
        if not labels:
            return {t: _Found(self.rows[s], "near") for t, s in near.items()}
        numbers = {label: number for number, label in enumerate(dict.fromkeys([label for _, label in self.pairs] + labels))}
        theirs, ours = np.array([numbers[label] for _, label in self.pairs]), np.array([numbers[label] for label in labels])
        others = [t for t, s in near.items() if ours[t] != theirs[s]]  # another training row near them may have their label
        asked = ours[others]
        better = self.index.near([keys[t] for t in others], lambda t, s: asked[t] == theirs[s])
        near |= {others[i]: s for i, s in better.items()}
        return {t: _Found(self.rows[s], "near", bool(ours[t] == theirs[s])) for t, s in near.items()}


def labels_of(examples: Examples) -> list[Any]:
    """The label of each row; none unless every row has one that is a text or a number."""
    labels = [example.get("label") for example in examples]
    return labels if all(isinstance(label, (str, int, float)) for label in labels) else []


def _key(example: Mapping[str, Any], fields: Sequence[str]) -> str:
    """The text without what does not count; text of punctuation alone stays as it is."""
    texts = [str(example[field]) for field in fields if example.get(field) is not None]
    return "\x00".join(_normal(text) for text in texts).strip("\x00")


def _normal(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(c if c.isalnum() else " " for c in folded).split()
    return " ".join(words) if words else folded.strip()


# ---- near duplicates ----------------------------------------------------------------------------------------------


class _Index:
    """Training texts as sets of shingles, and in bands of MinHash signatures to look them up by (Broder 1997)."""

    def __init__(self, texts: list[str], threshold: float):
        self.threshold = threshold
        codes, starts = _shingles(texts)
        self.sets = _csr(codes, starts)
        self.sizes = np.diff(starts)
        self.bands = [_sorted(band) for band in _bands(codes, starts)]

    def near(self, texts: list[str], wanted: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None) -> dict[int, int]:
        """Text -> a training text near it, the earliest of those that the first band to find any holds.

        Args:
            wanted: which pairs of text and training text count; all unless told.
        """
        if not texts or not len(self.sizes):
            return {}
        codes, starts = _shingles(texts)
        sets = _csr(codes, starts)
        sizes, found = np.diff(starts), np.full(len(texts), -1)
        for (values, owners), mine in zip(self.bands, _bands(codes, starts), strict=True):
            rows = np.flatnonzero(found < 0)  # a text once found costs nothing more
            low, high = np.searchsorted(values, mine[rows], "left"), np.searchsorted(values, mine[rows], "right")
            for part in _parts(high - low):
                test, train = _pairs(rows[part], low[part], high[part], owners)
                if wanted:
                    keep = wanted(test, train)
                    test, train = test[keep], train[keep]
                hit = self._alike(sets, sizes, test, train)
                # the least training row wins whatever the order: -1 stands for none yet
                np.minimum.at(found.view(np.uint64), test[hit], train[hit].astype(np.uint64))
        return {int(row): int(found[row]) for row in np.flatnonzero(found >= 0)}

    def _alike(self, sets: sparse.csr_matrix, sizes: np.ndarray, test: np.ndarray, train: np.ndarray) -> np.ndarray:
        """Which pairs have a Jaccard similarity of at least the threshold, counted in full."""
        alike = np.minimum(sizes[test], self.sizes[train]) >= self.threshold * np.maximum(sizes[test], self.sizes[train])
        t, s = test[alike], train[alike]
        common = np.asarray(sets[t].multiply(self.sets[s]).sum(1)).ravel()
        alike[alike] = common >= self.threshold * (sizes[t] + self.sizes[s] - common)
        return alike


def _bands(codes: Int32[np.ndarray, " k"], starts: Int64[np.ndarray, " n_1"]) -> Iterator[Int64[np.ndarray, " n"]]:
    """One number per text and band, equal where the texts share all of the band's least hashes."""
    rng = np.random.default_rng(0)
    numbers = codes.astype(np.uint32)
    for _ in range(BANDS):
        joined = np.zeros(len(starts) - 1, dtype=np.uint64)
        for _ in range(ROWS):
            factor, shift = (int(x) for x in rng.integers(0, 2**32, 2))
            hashes = numbers * np.uint32(factor | 1) + np.uint32(shift)
            least = np.minimum.reduceat(hashes, starts[:-1]) if len(joined) else joined
            joined = (joined ^ least) * np.uint64(0xD6E8FEB86659FD93)
            joined ^= joined >> np.uint64(32)
        yield joined.view(np.int64)


def _sorted(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(band, kind="stable")
    return band[order], order


def _parts(num: Int64[np.ndarray, " n"]) -> list[slice]:
    """Slices of rows with about `_PAIRS` candidates each; none where there is no candidate."""
    total = np.cumsum(num)
    if not len(num) or not total[-1]:
        return []
    cuts = np.searchsorted(total, np.arange(_PAIRS, total[-1] + _PAIRS, _PAIRS), "left") + 1
    edges = np.unique(np.concatenate([[0], cuts.clip(max=len(num))]))
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def _pairs(rows: np.ndarray, low: np.ndarray, high: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every row with every owner between its low and high."""
    num = high - low
    offset = np.arange(num.sum()) - np.repeat(np.cumsum(num) - num, num)
    return np.repeat(rows, num), owners[np.repeat(low, num) + offset]


def _csr(codes: np.ndarray, starts: np.ndarray) -> sparse.csr_matrix:
    """One row per set, a one at each member."""
    return sparse.csr_matrix((np.ones(len(codes), dtype=np.int32), codes, starts), shape=(len(starts) - 1, 2**31 - 1))


def _shingles(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct shingles of each text as ascending 31-bit numbers, one text after another, and where each begins."""
    encoded = [text.encode().ljust(WIDTH) for text in texts]
    ends = np.cumsum([0, *map(len, encoded)])
    cuts = [0, *np.flatnonzero(np.diff(ends // _BLOCK)) + 1, len(encoded)]
    parts = [_cut(encoded[a:b]) for a, b in itertools.pairwise(cuts) if b > a]
    if not parts:
        return np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64)
    sizes = np.concatenate([sizes for _, sizes in parts])
    return np.concatenate([codes for codes, _ in parts]), np.cumsum([0, *sizes])


def _cut(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct shingles of a few texts and how many each has."""
    flat = np.frombuffer(b"".join(texts), dtype=np.uint8).astype(np.uint64)
    owner = np.repeat(np.arange(len(texts), dtype=np.uint64), [len(text) for text in texts])
    code = np.zeros(len(flat) - WIDTH + 1, dtype=np.uint64)
    for i in range(WIDTH):
        code = (code << np.uint64(8)) | flat[i : len(code) + i]
    inside = owner[: len(code)] == owner[WIDTH - 1 :]  # a shingle does not reach into the next text
    # five bytes to 31 bits, which a sparse matrix can index; of two texts' thousands hardly one pair collides
    number = (code ^ (code >> np.uint64(21))) * np.uint64(0xFF51AFD7ED558CCD) >> np.uint64(33)
    keys = np.sort((owner[: len(code)] << np.uint64(31) | number)[inside])  # sorts by text, then number
    keys = keys[np.diff(keys, prepend=keys[:1] + np.uint64(1)) != 0]
    sizes = np.bincount((keys >> np.uint64(31)).astype(np.int64), minlength=len(texts))
    return (keys & np.uint64(2**31 - 1)).astype(np.int32), sizes
