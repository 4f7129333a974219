"""Labels of one set seen from another: a set that has only some of the classes, and labels that training has never seen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.coerce import nearest
from pellucid.data.map_sources import recoded
from pellucid.errors import BadData


def kept_classes(labels: Sequence[str], among: Sequence[str], where: str) -> tuple[bool, ...]:
    """Which of the model's labels a set has, in the model's order; a model is measured on it over these alone.

    Args:
        among: the classes that the set has (the key "among" of its rows).
    Raises:
        BadData: the set has a class that the model does not know, or the model's classes are named otherwise.
    """
    known = set(labels)
    strange = [name for name in among if name not in known]
    if strange:
        raise BadData(f"{where}: {_told(strange, labels)}")
    wanted = set(among)
    return tuple(name in wanted for name in labels)


def known_labels(examples: Sequence[Mapping[str, Any]], labels: Sequence[str], where: str) -> None:
    """Checks that every label of a set, single or several, is one that training has.

    Raises:
        BadData: naming the labels unknown to training, each with the nearest known one, and how many rows have them.
    """
    known = set(labels)
    strange: Counter[str] = Counter()
    for row in examples:
        names = [*row.get("labels", ()), *row.get("absent", ()), *row.get("unknown", ())]
        names += [str(row["label"])] if row.get("label") is not None else []
        strange.update(name for name in names if name not in known)
    if strange:
        raise BadData(f"{where}: {_told([name for name, _ in strange.most_common()], labels)} ({strange.total()} times)")


def first_labels(examples: Sequence[Mapping[str, Any]], labels: Sequence[str], what: str) -> list[str]:
    """Each example's `label`, else the first of its `labels`.

    Raises:
        BadData: an example has neither, or one that is not among the model's.
    """
    names = [e.get("label") or next(iter(e.get("labels", ())), None) for e in examples]
    for name, example in zip(names, examples, strict=True):
        if name is None:
            raise BadData(f"{example.get('id', what)}: it has no label whose presence could be explained")
    known_labels([{"label": name} for name in names], labels, what)
    return list(map(str, names))


def _told(strange: Sequence[str], labels: Sequence[str]) -> str:
    """`3 labels are unknown to training: 'cta' (did you mean 'cat'?), ...; map them with --label NAME=KNOWN`."""
    some = "; ".join(f"{name!r}{_hint(name, labels)}" for name in strange[:3]) + ("; ..." if len(strange) > 3 else "")
    count = f"{len(strange)} labels are" if len(strange) > 1 else "a label is"
    return f"{count} unknown to training, which has {len(labels)}: {some}; rename the folders, or map with --label {strange[0]}=NAME"


def _hint(name: str, labels: Sequence[str]) -> str:
    hint = nearest(name, labels)
    return f" ({hint.removeprefix('; ').removesuffix('?')}?)" if "did you mean" in hint else ""


# ---- other names --------------------------------------------------------------------------------------------------

_LISTS = ("labels", "absent", "unknown")
_SHARED = ("classes", "among", "right", "stuff")


class Renamed:
    """Rows with their lists of classes under other names; two names may become one.

    Args:
        labels: name in the file -> name wanted; others stay.
    """

    def __init__(self, labels: Mapping[str, str]):
        self.labels = labels
        self.shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # the rows of a set hold one tuple, before and after
        self.ids: dict[tuple[tuple[str, ...], tuple[int, ...]], tuple[int, ...]] = {}

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """The example renamed; of a class that is present and absent under two old names, present counts."""
        changed: dict[str, Any] = {key: self._names(example[key]) for key in _LISTS if isinstance(example.get(key), list)}
        present = set(changed.get("labels", ()))
        changed |= {key: [name for name in changed[key] if name not in present] for key in ("absent", "unknown") if key in changed}
        changed |= {key: self._tuple(example[key]) for key in _SHARED if isinstance(example.get(key), tuple)}
        if "classes" in changed and "category_ids" in example:
            changed["category_ids"] = self._ids(example["classes"], example["category_ids"])
        if isinstance(example.get("objects"), list):
            changed["objects"] = self._labelled(example["objects"])
        if isinstance(example.get("panoptic"), dict):
            changed["panoptic"] = {**example["panoptic"], "segments": self._labelled(example["panoptic"]["segments"])}
        if example.get("map") is not None and changed.get("classes", example.get("classes")) != example.get("classes"):
            names = [self.labels.get(name, name) for name in example["classes"]]
            changed["map"] = recoded(example["map"], names, changed["classes"])
        return {**example, **changed}

    def _labelled(self, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{**one, "label": self.labels.get(one["label"], one["label"])} for one in found]

    def _names(self, names: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(self.labels.get(str(name), name) for name in names))

    def _tuple(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if names not in self.shared:
            self.shared[names] = tuple(self._names(names))
        return self.shared[names]

    def _ids(self, names: tuple[str, ...], ids: tuple[int, ...]) -> tuple[int, ...]:
        """The ids of the classes that are left: of several under one name the first."""
        if (names, ids) not in self.ids:
            first: dict[str, int] = {}
            for name, number in zip(names, ids, strict=True):
                first.setdefault(self.labels.get(name, name), number)
            self.ids[names, ids] = tuple(first.values())
        return self.ids[names, ids]
